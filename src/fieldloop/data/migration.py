"""Accepted data of a former contract, made today's: a version of the former state first, then file by file.

Each file is replaced as a whole and says itself of which contract it is, and the store says that it is today's only
when all files are; so a migration that was cut off anywhere is continued by the next one. Quarantined rows keep the
columns that they came with. The way back is the version from before, under the code from before (ADR 0031).
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from fieldedge.contract import Contract
from fieldedge.system.durable import write_durably
from fieldedge.system.errors import DataError
from fieldloop.core.paths import pointer_of
from fieldloop.data.accepted import AcceptedStore
from fieldloop.data.versions import snapshot

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Migrated:
    """What a migration did. `pointer` names the version of the former state."""

    former: str
    files: int
    pointer: Path


def open_store(
    repo_root: Path, path: Path, contract: Contract, quarantine_dir: Path, is_deployment: bool
) -> AcceptedStore:
    """The accepted data under today's contract, migrated first where it is of a former one.

    Args:
        repo_root: the project's clone, whose DVC keeps the former state.
        path: the folder of accepted data, inside the clone.
        contract: today's.
        quarantine_dir: where refused rows go.
        is_deployment: commit and tag the version of the former state.

    Raises:
        DataError: the data is damaged, or of a contract that is not known here.
        ConfigError: the clone has no DVC to keep the former state in.
        StoreBusy: another process works on the data.
    """
    store = AcceptedStore(path, contract, quarantine_dir)
    migrate(repo_root, store, is_deployment)
    return store


def migrate(repo_root: Path, store: AcceptedStore, is_deployment: bool) -> Migrated | None:
    """Rewrite accepted data of a former contract as today's; None where there is nothing to do. Repeatable.

    Raises:
        DataError: the data is damaged, or of a contract that is not known here.
        ConfigError: the clone has no DVC to keep the former state in.
        StoreBusy: another process works on the data.
    """
    former = store.contract_hash()
    if former is None or former == store.contract.hash:
        return None
    store.check_known(former, store.root)
    with store.alone():
        contracts = {path: store.contract_of(path) for _, path in store.partitions()}
        for _, path in store.partitions():
            store.check_known(contracts[path], path)
        pointer = store.root.with_name(f"{store.root.name}-{former[:12]}.pointer")
        if set(contracts.values()) == {former}:  # else a migration was cut off, and the version is there
            _keep_version(repo_root, store, pointer, is_deployment)
        elif contracts and not pointer.is_file():
            raise DataError(
                f"{store.root} is between two contracts and {pointer} is missing: the version from before the "
                f"migration cannot be named. Bring back the last version: dvc checkout {store.root.name}.dvc in "
                f"{store.root.parent}"
            )
        files = 0
        for table, path in store.partitions():
            if contracts[path] != store.contract.hash:
                store.rewrite(table, path)
                files += 1
        store.say_contract()
    _log.warning(
        "%s was of the contract %s and is of %s now: %d files rewritten; the version from before is named in %s",
        store.root,
        former[:12],
        store.contract.hash[:12],
        files,
        pointer,
    )
    return Migrated(former, files, pointer)


def _keep_version(repo_root: Path, store: AcceptedStore, pointer: Path, is_deployment: bool) -> None:
    """A version of the data as it is, with its pointer under a name that no later version takes."""
    path = store.root.resolve().relative_to(repo_root.resolve())
    message = "Data: as it was before its contract changed"
    snapshot(repo_root, path, message, is_deployment, max(store.periods()))
    write_durably(pointer, pointer_of(store.root).read_bytes())
