"""What stages read of this clone: the accepted tables, and what names their content."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fieldedge.system.durable import write_durably
from fieldedge.system.errors import DataError
from fieldloop.core.settings import Settings, WorkloadParams
from fieldloop.data import SeasonStore, check_last_version, open_store, restore
from fieldloop.evaluation.terms import Terms
from fieldloop.gateway.owners import FieldOwners
from fieldloop.stages.context import Loop, contract_of
from fieldloop.stages.refs import SnapshotRef
from fieldloop.validation import Ownership

_log = logging.getLogger(__name__)


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
    if not space.pointer.exists() and space.kept_pointer.exists():
        write_durably(space.pointer, space.kept_pointer.read_bytes())
    if not space.seasons.exists():
        if not restore(settings.root, space.seasons):
            _check_nothing_came_home(loop)
    else:
        check_last_version(settings.root, space.seasons)
    open_accepted(loop)  # data of a former contract is migrated before anything is named by its content
    keep_pointer(loop)
    return loop


def keep_pointer(loop: Loop) -> None:
    """Keep a copy of the pointer, so that deleting it together with the data does not make the data forgotten."""
    space = loop.workspace
    if space.pointer.is_file() and _content(space.kept_pointer) != space.pointer.read_bytes():
        write_durably(space.kept_pointer, space.pointer.read_bytes())


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _check_nothing_came_home(loop: Loop) -> None:
    """No data and no pointer: as in a new clone, unless seasons came home to this one.

    Raises:
        DataError: they did.
    """
    space = loop.workspace
    came = sorted(space.sample.root.glob("world-*/seasons/*/sync.json"))
    if came:
        raise DataError(
            f"{space.seasons} and {space.pointer} are gone, though records were accepted here ({came[-1]}) and "
            f"acknowledged to devices. Bring the pointer back (git checkout {space.pointer.name}, or a backup), then "
            f"the data: dvc checkout {space.pointer.name}. To begin anew on purpose: fieldloop reset"
        )


def open_accepted(loop: Loop) -> SeasonStore:
    space, settings = loop.workspace, loop.settings
    return open_store(settings.root, space.seasons, contract_of(loop), space.quarantine, settings.is_deployment)


def training_seasons(loop: Loop, data: SnapshotRef) -> list[int]:
    held_out = set(loop.params.gates.holdout_seasons)
    return [s for s in open_accepted(loop).seasons() if s < data.season and s not in held_out]


def terms_of(loop: Loop, data: SnapshotRef) -> Terms:
    """What champion and challenger must have in common."""
    return Terms(contract_of(loop).hash, data.season, tuple(sorted(loop.params.gates.holdout_seasons)))


def ownership_of(loop: Loop) -> Ownership:
    """Whose the seasons of fields are that are accepted."""
    owners = FieldOwners.beside(loop.workspace.device_registry)
    opened = open_accepted(loop).read(contract_of(loop).context_table.name)
    return Ownership.of(owners.registered(), opened, (), owners.former())


def read_tables(loop: Loop, seasons: Sequence[int]) -> dict[str, Any]:
    store = open_accepted(loop)
    return {table.name: store.read(table.name, seasons) for table in contract_of(loop).tables}


def read_judging_tables(loop: Loop, seasons: Sequence[int]) -> dict[str, Any]:
    """The same without the fields that nobody registered: what a stranger says of them judges no model.

    Raises:
        DataError: nothing is left.
    """
    tables, strangers = read_tables(loop, seasons), _not_vouched_for(loop, seasons)
    if strangers:
        for name, rows in tables.items():
            named = pd.MultiIndex.from_arrays([rows["season"].astype(int), rows["field_id"]])
            tables[name] = rows[~named.isin(strangers)].reset_index(drop=True)
    if tables[contract_of(loop).context_table.name].empty:
        raise DataError(
            f"no model can be judged on {', '.join(map(str, seasons))}: of these seasons only fields that nobody "
            "registered are accepted. Say whose they are: fieldloop register-device DEVICE KEY --field FIELD"
        )
    return tables


def unjudging(loop: Loop, seasons: Sequence[int]) -> str:
    """What names the fields of some seasons that nobody registered; empty where there are none."""
    names = _not_vouched_for(loop, seasons)
    if not names:
        return ""
    told = ", ".join(f"{season}/{field_id}" for season, field_id in names[:3])
    _log.warning(
        "%d seasons of fields that nobody registered judge no model (%s first): fieldloop register-device DEVICE KEY "
        "--field FIELD",
        len(names),
        told,
    )
    return hashlib.sha256(repr(names).encode()).hexdigest()[:12]


def _not_vouched_for(loop: Loop, seasons: Sequence[int]) -> list[tuple[int, str]]:
    ownership = ownership_of(loop)
    return sorted(name for name in ownership.holders if name[0] in seasons and not ownership.is_vouched_for(*name))


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
