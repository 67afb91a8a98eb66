"""Batches that wait for an acknowledgement.

Once a batch is prepared its bytes are fixed: a retry sends the same file, so the gateway knows it again. The file is
durable before the store says so, and is deleted only after the store says that it was acknowledged; a file that the
store does not know was never sent. What one batch cannot hold is several; a record that none can hold stays, and is
told of. What is marked as sent is what was read, by its sequence: a record that was
corrected meanwhile is read anew. A season's days are selected once, when its outcome is known; outcomes go at
every occasion.
"""

import hashlib
import logging
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fieldedge.contract import ALWAYS_SENT_ROLES, CHOSEN_ROLES, Contract, Record
from fieldedge.contract.batches import MAX_UNPACKED_BYTES, as_header, batch_id, check_batch, pack
from fieldedge.device.config import DeviceConfig
from fieldedge.inference.bundles import Reference
from fieldedge.storage.store import Entry, PreparedBatch, Store
from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import DataError
from fieldedge.system.plain_files import NotPlainError, not_plain, read_own
from fieldedge.transfer.selection import DayCandidate, season_seed, select
from fieldedge.transfer.summary import MEASURED, season_summary
from fieldedge.workload import Workload

ATTEMPTS = 3
NOT_SENT = "not_sent"
BUNDLE_NAME_BYTES = 32  # by which two hashes may differ in their compressed size, with a margin

Entries = Mapping[str, Sequence[Entry]]

_log = logging.getLogger(__name__)


class Outbox:
    """The outbox directory together with what the store knows of it."""

    def __init__(self, path: Path, store: Store) -> None:
        self._path = path
        self._store = store
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            fsync_directory(path.parent)  # a batch is durable only where its directory is

    def settle(self) -> None:
        """Bring files and store together after whatever happened: nothing lost, nothing left over."""
        waiting = {batch.batch_id for batch in self._store.prepared_batches()}
        for file in self._path.iterdir():
            if file.name.removesuffix(".batch") not in waiting and (file.is_symlink() or not file.is_dir()):
                file.unlink()  # a folder is none of ours: a disk's lost+found lies where the disk is mounted
        for identity in sorted(waiting):
            fault = self._fault(identity)
            if fault is not None:
                _log.error("batch %s %s; its records are selected anew", identity[:12], fault)
                self._store.withdraw(identity)
                _remove(self._file(identity))

    def _fault(self, identity: str) -> str | None:
        """Why a batch must not be sent: it is damaged, or a former agent made it larger than the gateway takes."""
        data = self._read(identity)
        if data is None:
            return "is damaged on disk"
        try:
            check_batch(data)
        except DataError as error:
            return f"would never be taken: {error}"
        return None

    def put(self, data: bytes, episode: str, read: Iterable[Entry]) -> set[str]:
        """Make a batch of what was read durable, then take exactly that out of the next selection.

        Returns:
            The identities of the records that were corrected meanwhile. Where there are any, nothing was put.
        """
        identity = batch_id(data)
        write_durably(self._file(identity), data)
        changed = self._store.mark_selected(identity, episode, len(data), read)
        if identity not in {batch.batch_id for batch in self._store.prepared_batches()}:
            _remove(self._file(identity))
        return changed

    def waiting(self) -> list[tuple[PreparedBatch, bytes]]:
        """The batches to send, oldest first."""
        found = [(batch, self._read(batch.batch_id)) for batch in self._store.prepared_batches()]
        return [(batch, data) for batch, data in found if data is not None]

    def acknowledged(self, identity: str) -> None:
        """The gateway holds this batch: free it."""
        self._store.mark_acknowledged(identity)
        _remove(self._file(identity))

    def _file(self, identity: str) -> Path:
        return self._path / f"{identity}.batch"

    def _read(self, identity: str) -> bytes | None:
        try:
            data = read_own(self._file(identity), MAX_UNPACKED_BYTES)
        except (FileNotFoundError, NotPlainError):
            return None
        return data if batch_id(data) == identity else None


class Packer:
    """Makes an episode's next batch from what the store holds."""

    def __init__(
        self,
        config: DeviceConfig,
        workload: Workload,
        store: Store,
        model_version: str,
        reference: Reference | None,
    ) -> None:
        self._config = config
        self._workload = workload
        self._contract: Contract = workload.contract
        self._always_sent = workload.contract.tables_of(*ALWAYS_SENT_ROLES)
        self._chosen_from = workload.contract.tables_of(*CHOSEN_ROLES)
        self._store = store
        self._model_version = model_version
        self._reference = reference

    def prepare(self, outbox: Outbox, episode: str) -> bool:
        """Put what is next of the episode into the outbox. False when there is nothing to send.

        What is corrected while it is packed is read again. What is corrected all the time goes with a later batch.
        """
        entries = self._due(episode)
        return bool(entries) and self._put(outbox, episode, entries, ATTEMPTS)

    def _put(self, outbox: Outbox, episode: str, entries: Entries, attempts: int) -> bool:
        parts, unfit = self._parts(episode, entries)
        if unfit:
            self._store.add_event(
                NOT_SENT,
                f"{len(unfit)} records of season {episode} fit into no batch and stay here, such as {unfit[0]}; "
                "report it with the device's log",
            )
        is_put = False
        for data, part in parts:
            changed = outbox.put(data, episode, _all(part))
            if not changed:
                is_put = True
                continue
            again = {
                table: [entry for entry in rows if entry.record["record_id"] not in changed]
                + (self._among(episode, table, changed) if attempts > 1 else [])
                for table, rows in part.items()
            }
            again = {table: rows for table, rows in again.items() if rows}
            is_put = (bool(again) and self._put(outbox, episode, again, attempts - 1)) or is_put
        return is_put

    def _parts(self, episode: str, entries: Entries) -> tuple[list[tuple[bytes, Entries]], list[str]]:
        """The batches of these records, one nearly always, and why single records fit into none."""
        try:
            return [(self._pack(episode, entries), entries)], []
        except DataError as error:
            if len(rows := _all(entries)) == 1:
                return [], [f"{rows[0].record['record_id']}: {error}"]
            self._pack(episode, {})  # what is wrong with every batch is no record's fault
        parts: list[tuple[bytes, Entries]] = []
        unfit: list[str] = []
        for half in _halves(entries, self._chosen_from):
            found = self._parts(episode, half)
            parts += found[0]
            unfit += found[1]
        return parts, unfit

    def _size_bytes(self, episode: str, entries: Entries) -> int:
        """The size of all that these records take to send. Days are chosen once, so they must fit into one batch."""
        parts, _ = self._parts(episode, entries)
        is_divided = sum(not part.keys().isdisjoint(self._chosen_from) for _, part in parts) > 1
        return sys.maxsize if is_divided else sum(len(data) for data, _ in parts)

    def _due(self, episode: str) -> dict[str, list[Entry]]:
        """What is to be sent: all that always goes, the days that are chosen, and what came late of a chosen day."""
        tables = (*self._always_sent, *self._chosen_from)
        found = {table: self._store.entries(episode, table, "stored") for table in tables}
        return self._on(self._dates(episode, found), found)

    def _on(self, dates: Collection[str], entries: Entries) -> dict[str, list[Entry]]:
        """All that is sent in any case, and the rows of these days."""
        wanted = set(dates)
        kept = {
            table: [entry for entry in rows if table in self._always_sent or entry.record["date"] in wanted]
            for table, rows in entries.items()
        }
        return {table: rows for table, rows in kept.items() if rows}

    def _among(self, episode: str, table: str, identities: Collection[str]) -> list[Entry]:
        stored = self._store.entries(episode, table, "stored")
        return [entry for entry in stored if entry.record["record_id"] in identities]

    def _dates(self, episode: str, found: Entries) -> set[str]:
        chosen = {
            record["date"]
            for table in self._chosen_from
            for state in ("selected", "acknowledged")
            for record in self._store.records(episode, table, state)
        }
        return chosen or (self._choose_dates(episode, found) if self._is_over(episode) else set())

    def _is_over(self, episode: str) -> bool:
        """Days teach with their outcome: once that is known, or the device has gone on to a later episode."""
        outcomes = self._contract.tables_of("outcome")
        return any(self._store.records(episode, table) for table in outcomes) or (
            episode in self._store.past_episodes(self._chosen_from)
        )

    def _choose_dates(self, episode: str, found: Entries) -> set[str]:
        """The days whose batch fits into what is left of the budget.

        Which bundle advised is known by a hash that no two releases share: the size is taken with one of the model's
        version instead, so that the same readings choose the same days whenever their model was released.
        """
        sized = {table: [row._replace(record=_as_sized(row.record)) for row in rows] for table, rows in found.items()}
        chosen = select(
            self._candidates({table: found[table] for table in self._chosen_from}),
            self._config.upload_budget_bytes - self._store.bytes_prepared(episode) - BUNDLE_NAME_BYTES,
            self._config.audit_fraction,
            season_seed(self._config.device_id, episode),
            lambda dates: self._size_bytes(episode, self._on(dates, sized)),
        )
        return {day.date for day in chosen}

    def _candidates(self, days: Entries) -> list[DayCandidate]:
        decided = {entry.record["date"]: entry for entry in days[self._contract.decision_table.name]}
        dates = sorted({entry.record["date"] for entries in days.values() for entry in entries})
        return [self._candidate(date, decided.get(date)) for date in dates]

    def _candidate(self, date: str, decision: Entry | None) -> DayCandidate:
        if decision is None:
            return DayCandidate(date, 0.0, None)
        return DayCandidate(date, decision.merit, self._position(decision.record))

    def _position(self, recommendation: Record) -> NDArray[np.float64]:
        """The day's features in standard deviations from the training mean; scaled ones where there is no bundle.

        A feature that hardly varied in training is measured in twentieths of its contract range instead.
        """
        row = np.array([recommendation[f"x_{name}"] for name in self._contract.feature_names], np.float32)
        if self._reference is None:
            return np.asarray(self._contract.scale(row[np.newaxis])[0], dtype=np.float64)
        floor = np.array([(f.maximum - f.minimum) / 20.0 for f in self._contract.features])
        position: NDArray[np.float64] = (row - self._reference.mean) / np.maximum(self._reference.std, floor)
        return position

    def _pack(self, episode: str, entries: Entries) -> bytes:
        """The batch of these records. Nothing in it was measured about this machine: its size chooses records."""
        summary = season_summary(self._store, self._workload, episode, self._model_version)
        header = {
            "device_id": self._config.device_id,
            "workload": self._contract.workload,
            "contract_hash": self._contract.hash,
            "bundle_version": self._model_version,
            "season": as_header(episode),
            "summary": {name: value for name, value in summary.items() if name not in MEASURED},
        }
        tables = {
            table: [self._contract.current(table, entry.record) for entry in rows] for table, rows in entries.items()
        }
        return pack(header, tables, self._contract)


def _remove(file: Path) -> None:
    """Delete a batch's file; a folder in its place stays, as any other in the outbox does."""
    if not_plain(file, follows=False) != "a folder":
        file.unlink(missing_ok=True)


def _as_sized(record: Record) -> Record:
    if not record.get("bundle_sha256"):
        return record
    return {**record, "bundle_sha256": hashlib.sha256(str(record["model_version"]).encode()).hexdigest()}


def _halves(entries: Entries, chosen_from: Collection[str]) -> tuple[Entries, Entries]:
    """Days and the rest where there are both, else one half of the rows and the other."""
    days = {table: rows for table, rows in entries.items() if table in chosen_from}
    others = {table: rows for table, rows in entries.items() if table not in chosen_from}
    if days and others:
        return others, days
    rows = [(table, entry) for table, of_table in entries.items() for entry in of_table]
    middle = len(rows) // 2
    return _by_table(rows[:middle]), _by_table(rows[middle:])


def _by_table(rows: Sequence[tuple[str, Entry]]) -> Entries:
    found: dict[str, list[Entry]] = {}
    for table, entry in rows:
        found.setdefault(table, []).append(entry)
    return found


def _all(entries: Entries) -> list[Entry]:
    return [entry for rows in entries.values() for entry in rows]
