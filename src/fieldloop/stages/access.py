"""What stages read of this clone: the accepted tables, and what names their content."""

import hashlib
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fieldedge.system.errors import DataError
from fieldloop.data import AcceptedStore, open_store
from fieldloop.evaluation.terms import Terms
from fieldloop.gateway.owners import UnitOwners
from fieldloop.stages.context import Loop, contract_of, words_of
from fieldloop.stages.refs import SnapshotRef
from fieldloop.validation import Ownership

_log = logging.getLogger(__name__)


def open_accepted(loop: Loop) -> AcceptedStore:
    paths, settings = loop.paths, loop.settings
    return open_store(settings.root, paths.accepted, contract_of(loop), paths.quarantine, settings.is_deployment)


def training_periods(loop: Loop, data: SnapshotRef) -> list[int]:
    held_out = set(loop.params.gates.held_out_periods)
    return [s for s in open_accepted(loop).periods() if s < data.period and s not in held_out]


def terms_of(loop: Loop, data: SnapshotRef) -> Terms:
    """What champion and challenger must have in common."""
    return Terms(contract_of(loop).hash, data.period, tuple(sorted(loop.params.gates.held_out_periods)))


def ownership_of(loop: Loop, devices: Collection[str] = ()) -> Ownership:
    """Whose the episodes are that are accepted; `devices` are those that may send."""
    owners = UnitOwners.beside(loop.paths.device_registry)
    opened = open_accepted(loop).read(contract_of(loop).context_table.name)
    return Ownership.of(owners.registered(), opened, devices, owners.former())


def read_tables(loop: Loop, periods: Sequence[int]) -> dict[str, Any]:
    store = open_accepted(loop)
    return {table.name: store.read(table.name, periods) for table in contract_of(loop).tables}


def read_judging_tables(loop: Loop, periods: Sequence[int]) -> dict[str, Any]:
    """The same without the units that nobody registered: what a stranger says of them judges no model.

    Raises:
        DataError: nothing is left.
    """
    tables, strangers = read_tables(loop, periods), _not_vouched_for(loop, periods)
    episode, words = contract_of(loop).episode, words_of(loop)
    if strangers:
        for name, rows in tables.items():
            named = pd.MultiIndex.from_arrays([rows[episode.period].astype(int), rows[episode.unit]])
            tables[name] = rows[~named.isin(strangers)].reset_index(drop=True)
    if tables[contract_of(loop).context_table.name].empty:
        raise DataError(
            f"no model can be judged on {', '.join(map(str, periods))}: of these {words.periods} only {words.units} "
            "that nobody registered are accepted. Say whose they are: fieldloop register-device DEVICE KEY --unit UNIT"
        )
    return tables


def unjudging(loop: Loop, periods: Sequence[int]) -> str:
    """What names the units of some periods that nobody registered; empty where there are none."""
    names = _not_vouched_for(loop, periods)
    if not names:
        return ""
    told = ", ".join(f"{period}/{unit}" for period, unit in names[:3])
    _log.warning(
        "%d %s of %s that nobody registered judge no model (%s first): fieldloop register-device DEVICE KEY "
        "--unit UNIT",
        len(names),
        words_of(loop).periods,
        words_of(loop).units,
        told,
    )
    return hashlib.sha256(repr(names).encode()).hexdigest()[:12]


def _not_vouched_for(loop: Loop, periods: Sequence[int]) -> list[tuple[int, str]]:
    ownership = ownership_of(loop)
    return sorted(name for name in ownership.holders if name[0] in periods and not ownership.is_vouched_for(*name))


def accepted_content(loop: Loop, before: int | None = None) -> str:
    """What names everything that is accepted by now, whoever it came from; or all of it from before a period."""
    return folder_hash(loop.paths.accepted, "*.parquet") if before is None else learnable_hash(loop, before)


def learnable_hash(loop: Loop, period: int) -> str:
    return content_hash(loop, [accepted for accepted in open_accepted(loop).periods() if accepted < period])


def content_hash(loop: Loop, periods: Sequence[int]) -> str:
    """SHA-256 over the accepted rows of some periods, as they lie on disk."""
    digest = hashlib.sha256()
    for period in sorted(periods):
        folder = loop.paths.accepted / f"{contract_of(loop).episode.period}={period}"
        digest.update(f"{period} {folder_hash(folder, '*.parquet')}".encode())
    return digest.hexdigest()


def folder_hash(folder: Path, pattern: str) -> str:
    """SHA-256 over the names and bytes of a folder's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob(pattern)):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
