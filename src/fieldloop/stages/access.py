"""What stages read of this clone: the accepted tables, and what names their content."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fieldloop.core.settings import Settings, WorkloadParams
from fieldloop.data import SeasonStore, check_last_version, open_store, restore
from fieldloop.stages.context import Loop, contract_of
from fieldloop.stages.refs import SnapshotRef


def new_loop(settings: Settings, workload: str, params: WorkloadParams) -> Loop:
    """The loop of these parameters, over what this clone has: nothing that was kept is moved.

    Accepted data that was deleted by hand is brought back from its last version, and data of a former contract is
    migrated.

    Raises:
        DataError: a part of the accepted data is gone; the message says which, and how to bring it back.
    """

    loop = Loop(settings, workload, params)
    space = loop.workspace
    space.prepare()
    if not space.seasons.exists():
        restore(settings.root, space.seasons)
    else:
        check_last_version(settings.root, space.seasons)
    open_accepted(loop)  # data of a former contract is migrated before anything is named by its content
    return loop


def open_accepted(loop: Loop) -> SeasonStore:
    space, settings = loop.workspace, loop.settings
    return open_store(settings.root, space.seasons, contract_of(loop), space.quarantine, settings.is_deployment)


def training_seasons(loop: Loop, data: SnapshotRef) -> list[int]:
    held_out = set(loop.params.gates.holdout_seasons)
    return [s for s in open_accepted(loop).seasons() if s < data.season and s not in held_out]


def read_tables(loop: Loop, seasons: Sequence[int]) -> dict[str, Any]:
    store = open_accepted(loop)
    return {table.name: store.read(table.name, seasons) for table in contract_of(loop).tables}


def learnable_hash(loop: Loop, season: int) -> str:
    return content_hash(loop, [accepted for accepted in open_accepted(loop).seasons() if accepted < season])


def content_hash(loop: Loop, seasons: Sequence[int]) -> str:
    """SHA-256 over the accepted rows of some seasons, as they lie on disk."""
    digest = hashlib.sha256()
    for season in sorted(seasons):
        digest.update(f"{season} {folder_hash(loop.workspace.seasons / f'season={season}', '*.parquet')}".encode())
    return digest.hexdigest()


def folder_hash(folder: Path, pattern: str) -> str:
    """SHA-256 over the names and bytes of a folder's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob(pattern)):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
