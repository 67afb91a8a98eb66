"""What an episode's next batch holds: which records go, and what fits.

An episode's days are selected once, when its outcome is known, or its moments where there are many windows a day;
outcomes go at every occasion. What one batch cannot hold is several; a record that none can hold stays, and is told of.
"""

import hashlib
import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fieldedge.contract import ALWAYS_SENT_ROLES, CHOSEN_ROLES, Contract, Record
from fieldedge.contract.batches import PERIOD_KEY, as_header, pack
from fieldedge.device.config import DeviceConfig
from fieldedge.inference.bundles import Reference
from fieldedge.storage.store import Entry, Store
from fieldedge.system.errors import DataError
from fieldedge.transfer.outbox import Outbox
from fieldedge.transfer.selection import DayCandidate, episode_seed, rank, select
from fieldedge.transfer.summary import MEASURED, episode_summary
from fieldedge.workload import Workload, chosen_roles, is_chosen_by_day

ATTEMPTS = 3
NOT_SENT, UNFITTING = "not_sent", "unfitting"
BUNDLE_NAME_BYTES = 32  # by which two hashes may differ in their compressed size, with a margin

Entries = Mapping[str, Sequence[Entry]]
Header = Callable[[], Record]  # made once for all that is packed of an episode, and only where anything is
DatedEntries = Mapping[str, Sequence[tuple[str, Entry]]]  # each with the day or the moment with which it is chosen


class Packer:
    """Makes an episode's next batch from what the store holds. `unfitting` says of which episodes nothing fitted."""

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
        self._is_by_day, roles = is_chosen_by_day(workload), chosen_roles(workload)
        self._chosen_from = workload.contract.tables_of(*roles)
        self._always_sent = workload.contract.tables_of(*(role for role in ALWAYS_SENT_ROLES if role not in roles))
        self._store = store
        self.unfitting: list[str] = []
        self._model_version = model_version
        self._reference = reference

    def prepare(self, outbox: Outbox, episode: str) -> bool:
        """Put what is next of the episode into the outbox. False when there is nothing to send.

        What is corrected while it is packed is read again. What is corrected all the time goes with a later batch.
        """
        header = cache(lambda: self._header(episode))
        entries = self._due(episode, header)
        return bool(entries) and self._put(outbox, episode, header, entries, ATTEMPTS)

    def _put(self, outbox: Outbox, episode: str, header: Header, entries: Entries, attempts: int) -> bool:
        parts, unfit = self._parts(header, entries)
        if unfit:
            self._store.add_event(
                NOT_SENT,
                f"{len(unfit)} records of episode {episode} fit into no batch and stay here, such as {unfit[0]}; "
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
            is_put = (bool(again) and self._put(outbox, episode, header, again, attempts - 1)) or is_put
        return is_put

    def _parts(self, header: Header, entries: Entries) -> tuple[list[tuple[bytes, Entries]], list[str]]:
        """The batches of these records, one nearly always, and why single records fit into none."""
        try:
            return [(self._pack(header, entries), entries)], []
        except DataError as error:
            if len(rows := _all(entries)) == 1:
                return [], [f"{rows[0].record['record_id']}: {error}"]
            self._pack(header, {})  # what is wrong with every batch is no record's fault
        parts: list[tuple[bytes, Entries]] = []
        unfit: list[str] = []
        for half in _halves(entries, self._chosen_from):
            found = self._parts(header, half)
            parts += found[0]
            unfit += found[1]
        return parts, unfit

    def _size_bytes(self, header: Header, entries: Entries) -> int:
        """The size of all that these records take to send. Days are chosen once, so they must fit into one batch."""
        parts, _ = self._parts(header, entries)
        is_divided = sum(not part.keys().isdisjoint(self._chosen_from) for _, part in parts) > 1
        return sys.maxsize if is_divided else sum(len(data) for data, _ in parts)

    def _due(self, episode: str, header: Header) -> Entries:
        """What is to be sent: all that always goes, the days that are chosen, and what came late of a chosen day."""
        tables = (*self._always_sent, *self._chosen_from)
        found = {
            table: [(self._day(table, entry), entry) for entry in self._store.entries(episode, table, "stored")]
            for table in tables
        }
        return self._on(self._chosen(episode, header, found), found)

    def _day(self, table: str, entry: Entry) -> str:
        """With what a row is chosen: its day or its moment. A former agent kept all rows under their days."""
        if self._is_by_day or table in self._always_sent:
            return self._contract.day(table, entry.record)
        return max(entry.date, self._contract.moment(table, entry.record), key=len)

    def _on(self, days: Collection[str], found: DatedEntries) -> Entries:
        """All that is sent in any case, and the rows of these days."""
        wanted = set(days)
        kept = {
            table: [entry for day, entry in rows if table in self._always_sent or day in wanted]
            for table, rows in found.items()
        }
        return {table: rows for table, rows in kept.items() if rows}

    def _among(self, episode: str, table: str, identities: Collection[str]) -> list[Entry]:
        stored = self._store.entries(episode, table, "stored")
        return [entry for entry in stored if entry.record["record_id"] in identities]

    def _chosen(self, episode: str, header: Header, found: DatedEntries) -> set[str]:
        """The days that were chosen before, else those that are now. What was said of a decision chooses none: a former
        agent sent it of all."""
        chosen = {
            self._day(table, entry)
            for table in self._contract.tables_of(*CHOSEN_ROLES)
            for state in ("selected", "acknowledged")
            for entry in self._store.entries(episode, table, state)
        }
        return chosen or (self._choose(episode, header, found) if self._is_over(episode) else set())

    def _is_over(self, episode: str) -> bool:
        """Days teach with their outcome: once that is known, or the device has gone on to a later episode."""
        outcomes = self._contract.tables_of("outcome")
        return any(self._store.records(episode, table) for table in outcomes) or (
            episode in self._store.past_episodes(self._chosen_from)
        )

    def _choose(self, episode: str, header: Header, found: DatedEntries) -> set[str]:
        """The days whose batch fits into what is left of the budget.

        Which bundle advised is known by a hash that no two releases share: the size is taken with one of the model's
        version instead, so that the same readings choose the same days whenever their model was released.
        """
        candidates = self._candidates({table: found[table] for table in self._chosen_from})
        sent_bytes = self._store.bytes_prepared(episode) + BUNDLE_NAME_BYTES
        ranking = self._config.audit_fraction, episode_seed(self._config.device_id, episode)

        def size_bytes(days: Collection[str]) -> int:
            return self._size_bytes(header, _as_sized(self._on(days, found)))

        chosen = select(candidates, self._config.upload_budget_bytes - sent_bytes, *ranking, size_bytes)
        if candidates and not chosen and self._config.upload_budget_bytes:
            first = next(rank(candidates, *ranking)).date
            always = self._on([], found)
            sent_bytes += self._size_bytes(header, always) if always else 0
            alone = {table: rows for table, rows in self._on([first], found).items() if table in self._chosen_from}
            self._tell_unfitting(episode, first, self._size_bytes(header, _as_sized(alone)), sent_bytes)
        return {day.date for day in chosen}

    def _tell_unfitting(self, episode: str, first: str, size_bytes: int, sent_bytes: int) -> None:
        budget_bytes = self._config.upload_budget_bytes
        said = f"nothing is chosen of episode {episode}: {first}, the first to go, "
        if size_bytes == sys.maxsize:
            said += "does not fit into one batch; report it with the device's log"
        else:
            said += (
                f"takes {size_bytes} B, and after what always goes {max(budget_bytes - sent_bytes, 0)} B are left of "
                f"{budget_bytes} B; set upload_budget_bytes in device.toml to {size_bytes + sent_bytes} or more"
            )
        self.unfitting.append(said)
        self._store.add_event(UNFITTING, said)

    def _candidates(self, found: DatedEntries) -> list[DayCandidate]:
        """The days of these rows. Of several decisions of a day the one that would teach most speaks for it."""
        by_merit = sorted(
            found[self._contract.decision_table.name],
            key=lambda row: -math.inf if row[1].merit is None else row[1].merit,
        )
        decided = dict(by_merit)
        days = sorted({day for rows in found.values() for day, _ in rows})
        return [self._candidate(day, decided.get(day)) for day in days]

    def _candidate(self, day: str, decision: Entry | None) -> DayCandidate:
        if decision is None:
            return DayCandidate(day, 0.0, None)
        return DayCandidate(day, decision.merit, self._position(decision.record))

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

    def _header(self, episode: str) -> Record:
        """What a batch says of itself. Nothing in it was measured about this machine: its size chooses records."""
        summary = episode_summary(self._store, self._workload, episode, self._model_version)
        return {
            "device_id": self._config.device_id,
            "workload": self._contract.workload,
            "contract_hash": self._contract.hash,
            "bundle_version": self._model_version,
            PERIOD_KEY: as_header(episode),
            "summary": {name: value for name, value in summary.items() if name not in MEASURED},
        }

    def _pack(self, header: Header, entries: Entries) -> bytes:
        """The batch of these records."""
        tables = {
            table: [self._contract.current(table, entry.record) for entry in rows] for table, rows in entries.items()
        }
        return pack(header(), tables, self._contract)


def _as_sized(entries: Entries) -> Entries:
    return {
        table: [row._replace(record=_sized(row.record)) if row.record.get("bundle_sha256") else row for row in rows]
        for table, rows in entries.items()
    }


def _sized(record: Record) -> Record:
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
