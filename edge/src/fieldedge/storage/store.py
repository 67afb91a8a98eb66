"""The device's records in one SQLite file.

What a call has returned for is on disk (write-ahead log, synchronous FULL). A record is identified by its `record_id`:
the same one again changes nothing, and a different one under the same identity is refused. Its state only moves
forward, stored → selected → acknowledged, and only an acknowledgement moves it last. Two things go back or away:
`withdraw` gives the records of a lost batch back, and `evict` makes room by the rules of `eviction.py`.
Rows carry the order of their arrival and the boot they came in, so that order survives a wrong clock, and a seal: a
broken one is `StoreDamaged`, never an answer. Its form is `schema.py`'s, mending it `rebuild.py`'s.
"""

import functools
import hashlib
import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from fieldedge.contract import Record, kept_under
from fieldedge.contract.samples import FlaggedSample, Sample
from fieldedge.storage.files import StoreLock, beside, check_files, make_private, put_in_place
from fieldedge.storage.schema import (
    LAST_CUT_SAMPLE,
    MIGRATED,
    PAGE_BYTES,
    SEALED,
    Merit,
    as_merit,
    check_database,
    check_seals,
    first_day,
    prepare,
    seal,
)
from fieldedge.system.clock import Stamp, format_utc, read_boot_id, system_time
from fieldedge.system.errors import DataError, StoreBusy, StoreDamaged, StoreFailed
from fieldedge.system.instants import from_order, in_order, whole_second

BUSY_TIMEOUT_S = 10.0
LOG_KEPT_BYTES = 500_000  # what the log keeps of the disk when all of it is in the database
LOG_MAX_BYTES = 8_000_000  # where nobody calls `checkpoint`, the commit that reaches this does it
SHRINK_PAGES = 250
WATCHED_KEPT = 2_000  # the longest watch, and some before it

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNREADABLE = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)
_BROKEN_SCHEMA = ("malformed", "no such table", "no such column", "Could not decode")
_RECORD = ", ".join([*SEALED["records"], "crc"])
_BY_FIRST_DAY = "FROM records GROUP BY episode ORDER BY min(date), min(sequence), episode"
_SAMPLE = ", ".join(f"s.{name}" for name in [*SEALED["samples"], "crc"])


@dataclass(frozen=True)
class EpisodeTotals:
    """How much of an episode the device holds, and how far it has come."""

    records_collected: int
    records_selected: int
    records_acknowledged: int
    bytes_collected: int
    bytes_sent: int
    batches: int


@dataclass(frozen=True)
class PreparedBatch:
    """A batch that waits in the outbox for its acknowledgement."""

    batch_id: str
    episode: str
    bytes: int


@dataclass(frozen=True)
class SampleCounts:
    """What became of some samples: stored, known already, or kept aside because the moment is taken."""

    new: int
    repeated: int
    conflicting: int


class Entry(NamedTuple):
    """A record as it was read: its place in the order of arrival, which a correction does not keep, its content, how
    much it would teach, and the day or the moment that it is kept under."""

    sequence: int
    record: Record
    merit: float | None
    date: str


class Watched(NamedTuple):
    """What was seen of a bundle on watch when a decision was made; `body` is `inference/watch.py`'s."""

    bundle_sha256: str
    body: Mapping[str, Any]


class _Now(NamedTuple):
    """What a row of the current transaction says of when it came."""

    boot: int
    utc: str
    is_trusted: int


class Store:
    """The records of one device. Open it once per process and thread; close it when done.

    `stamp` gives the time. `merit` is asked of each record of a store that an older agent left.

    Raises:
        StoreBusy: another process holds the database, or rebuilds it, for longer than the timeout.
        StoreDamaged: the file is not a readable store; `rebuild.open_store` mends it.
        StoreFailed: the disk does not let it be read or written.
        DataError: a newer agent wrote it.
    """

    def __init__(
        self,
        path: Path,
        stamp: Callable[[], Stamp] | None = None,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        merit: Merit | None = None,
    ) -> None:
        self.path = path
        self._stamp = stamp or system_stamp
        self._boots: dict[str, int] = {}
        self._origins: dict[str, int] = {}
        self._last_cut_sample = 0
        with self._named_errors():
            self._lock = StoreLock(path)
            try:
                self._look_at_files(busy_timeout_s)
                self._connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
                try:
                    self._open(merit)
                except BaseException:
                    self._connection.close()
                    raise
            except BaseException:
                self._lock.free()
                raise

    def _look_at_files(self, busy_timeout_s: float) -> None:
        """Whoever is the first to open the store sees to what was left of it; then the lock is shared."""
        if self._lock.try_alone():
            put_in_place(self.path)
            make_private(self.path)
            check_files(self.path)
        self._lock.share(busy_timeout_s)

    def _open(self, merit: Merit | None) -> None:
        execute = self._connection.execute
        execute("PRAGMA synchronous = FULL")
        prepare(self._connection, str(self.path), lambda: self._stamp().utc, merit)
        if execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StoreFailed(f"{self.path} lies where SQLite cannot keep a log; use a local disk")
        execute(f"PRAGMA journal_size_limit = {LOG_KEPT_BYTES}")
        execute(f"PRAGMA wal_autocheckpoint = {LOG_MAX_BYTES // PAGE_BYTES}")
        execute("PRAGMA temp_store = MEMORY")  # a full disk must not keep room from being made
        self._last_cut_sample = max((event.get(LAST_CUT_SAMPLE, 0) for event in self.events(kind=MIGRATED)), default=0)

    def close(self) -> None:
        self._connection.close()
        self._lock.free()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Records

    def add(
        self,
        table: str,
        record: Mapping[str, Any],
        flags: Mapping[str, Any] | None = None,
        merit: float | None = None,
        day: str | None = None,
        watched: Watched | None = None,
    ) -> bool:
        """Store a record durably. False when exactly this record was there already.

        `record` has `record_id`, which begins with its episode. Beside it are kept `flags`, what quality control said
        of it, `merit`, how much it would teach, and `day`, the one that it is for, or the moment where moments are
        chosen to be sent; None: the first day that it names. What was `watched` with it is stored with it or not at
        all.

        Raises:
            DataError: another record with this identity is stored. The stored one stays.
        """
        body = _record_json(record)
        with self._transaction() as now:
            is_new = self._insert(now, table, record, body, day or first_day(record), flags, merit)
            if is_new and watched is not None:
                self._watch(now, watched)
            stored = None if is_new else self._one("SELECT body FROM records WHERE record_id = ?", record["record_id"])
        if stored is not None and json.loads(stored[0]) != json.loads(body):
            raise DataError(f"{record['record_id']} is stored with other content; the stored record stays as it is")
        return is_new

    def _insert(
        self,
        now: _Now,
        table: str,
        record: Mapping[str, Any],
        body: str,
        day: str,
        flags: Mapping[str, Any] | None,
        merit: float | None,
    ) -> bool:
        identity = record["record_id"]
        sealed = (
            *(identity, kept_under(identity, table), table, day, body),
            *(_json(flags) if flags else None, *now, as_merit(merit)),
        )
        found = self._connection.execute(
            f"INSERT INTO records ({_RECORD}, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - ours
            " ON CONFLICT (record_id) DO NOTHING",
            (*sealed, seal("records", sealed), len(body.encode())),
        )
        return found.rowcount == 1

    def replace(self, table: str, record: Mapping[str, Any], why: str, flags: Mapping[str, Any] | None = None) -> None:
        """Put a corrected record in the place of one that has not been sent. The former one stays in an event.

        It arrives anew: who follows the store by sequence sees it. The former one's flags are gone with it.

        Raises:
            DataError: there is no such record, or it is on its way home already.
        """
        identity = record["record_id"]
        body = _record_json(record)
        with self._transaction() as now:
            row = self._one(
                "SELECT body, state, date FROM records WHERE record_id = ? AND table_name = ?", identity, table
            )
            if row is None:
                raise DataError(f"{identity} is not stored; add it instead")
            if row[1] != "stored":
                raise DataError(f"{identity} was {row[1]} for sending already; what was sent cannot be changed")
            self._connection.execute("DELETE FROM records WHERE record_id = ?", (identity,))
            self._insert(now, table, record, body, row[2], flags, None)
            self._event(now, "replaced", f"{identity} was corrected: {why}", {"former": json.loads(row[0])})

    def _watch(self, now: _Now, watched: Watched) -> None:
        sealed = (watched.bundle_sha256, now.utc, _json(watched.body))
        found = self._connection.execute(
            "INSERT INTO watched (bundle_sha256, time_utc, body, crc) VALUES (?, ?, ?, ?)",
            (*sealed, seal("watched", sealed)),
        )
        self._connection.execute("DELETE FROM watched WHERE sequence <= ?", ((found.lastrowid or 0) - WATCHED_KEPT,))

    def watched(self, bundle_sha256: str) -> list[Record]:
        """What was seen of a bundle while it was on watch, in the order in which it was, each with its `time_utc`."""
        rows = self._all(
            "SELECT bundle_sha256, time_utc, body, crc FROM watched WHERE bundle_sha256 = ? ORDER BY sequence",
            bundle_sha256,
        )
        self._check_seals("watched", rows)
        return [{**json.loads(row[2]), "time_utc": row[1]} for row in rows]

    def utc(self) -> str:
        """The time under which a row would be stored now."""
        return self._stamp().utc

    def get(self, record_id: str) -> Record | None:
        """The record of that identity, exactly as it was stored."""
        row = self._one(f"SELECT {_RECORD} FROM records WHERE record_id = ?", record_id)  # noqa: S608 - ours
        return None if row is None else self._sound(row)

    def state(self, record_id: str) -> str | None:
        """How far a record is on its way home; None where it is not stored."""
        row = self._one("SELECT state FROM records WHERE record_id = ?", record_id)
        return None if row is None else str(row[0])

    def records(self, episode: str, table: str, state: str | None = None) -> list[Record]:
        """An episode's records of one table by date; only those in `state`, if one is given."""
        return [entry.record for entry in self.entries(episode, table, state)]

    def entries(self, episode: str, table: str, state: str | None = None) -> list[Entry]:
        """As `records`, each with the sequence under which exactly this content is stored."""
        rows = self._all(
            f"SELECT sequence, {_RECORD} FROM records WHERE episode = ? AND table_name = ?"  # noqa: S608 - ours
            " AND state = coalesce(?, state) ORDER BY date, record_id",
            episode,
            table,
            state,
        )
        return [Entry(row[0], self._sound(row[1:]), row[-2], row[4]) for row in rows]

    def records_after(self, sequence: int, tables: Sequence[str]) -> list[tuple[int, str, Record]]:
        """What came into these tables after that sequence, in the order of its arrival: sequence, table, record."""
        rows = self._all(_after(len(tables)), sequence, *tables)
        return [(row[0], row[3], self._sound(row[1:])) for row in rows]

    def last_sequence(self) -> int:
        """The sequence of the record that came last; 0 where there is none."""
        sequence: int = self._one("SELECT coalesce(max(sequence), 0) FROM records")[0]
        return sequence

    def flags(self, episode: str, table: str) -> dict[str, Record]:
        """What quality control said of an episode's records, by their identity; only where it said anything."""
        rows = self._all(
            f"SELECT {_RECORD} FROM records WHERE episode = ? AND table_name = ? AND flags IS NOT NULL"  # noqa: S608
            " ORDER BY date",
            episode,
            table,
        )
        self._check_seals("records", rows)
        return {row[0]: json.loads(row[5]) for row in rows}

    def episodes(self) -> list[str]:
        """The episodes with records, by the first day that is stored of each, then as they were told."""
        return [episode for (episode,) in self._all(f"SELECT episode {_BY_FIRST_DAY}")]

    def past_episodes(self, tables: Sequence[str]) -> list[str]:
        """Those before the last one that has rows in these tables; where none has, before the last of all.

        An episode that was only described has not begun: it may have been told ahead.
        """
        marks = ", ".join("?" * len(tables))
        known = self._all(f"SELECT episode, max(table_name IN ({marks})) {_BY_FIRST_DAY}", *tables)
        under_way = max((at for at, (_, has_begun) in enumerate(known) if has_begun), default=len(known) - 1)
        return [episode for episode, _ in known[: max(under_way, 0)]]

    def totals(self, episode: str) -> EpisodeTotals:
        """An episode in figures. `bytes_collected` counts the records as stored, `bytes_sent` what was acknowledged."""
        collected, selected, acknowledged, bytes_collected = self._one(
            "SELECT count(*), coalesce(sum(state <> 'stored'), 0), coalesce(sum(state = 'acknowledged'), 0),"
            " coalesce(sum(bytes), 0) FROM records WHERE episode = ?",
            episode,
        )
        batches, bytes_sent = self._one(
            "SELECT count(*), coalesce(sum(bytes), 0) FROM batches WHERE episode = ? AND state = 'acknowledged'",
            episode,
        )
        return EpisodeTotals(collected, selected, acknowledged, bytes_collected, bytes_sent, batches)

    def states(self) -> dict[str, int]:
        """How many records are in each state."""
        return dict(self._all("SELECT state, count(*) FROM records GROUP BY state ORDER BY state"))

    # What could not be accepted

    def reject(self, where: str, error: str, body: str) -> None:
        """Keep what could not be accepted, with the reason. The same once more adds to its count alone."""
        self.reject_all([(where, error, body)])

    def reject_all(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """As `reject`, for many at once: where, error, body."""
        with self._transaction() as now:
            for where, error, body in rows:
                self._reject(now, where, error, body)

    def _reject(self, now: _Now, *said: str) -> None:
        where, error, body = (text.encode(errors="backslashreplace").decode() for text in said)
        identity = hashlib.sha256(f"{error}\n{body}".encode()).hexdigest()
        sealed = (identity, where, error, body, now.boot, now.utc)
        self._connection.execute(
            "INSERT INTO rejects (reject_id, where_, error, body, boot, stored_utc, crc) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (reject_id) DO UPDATE SET repeats = repeats + 1",
            (*sealed, seal("rejects", sealed)),
        )

    def rejects(self) -> list[Record]:
        """What was rejected, in the order in which it first came: `where`, `error`, `body`, `repeats`."""
        rows = self._all("SELECT where_, error, body, repeats FROM rejects ORDER BY sequence")
        return [dict(zip(("where", "error", "body", "repeats"), row, strict=True)) for row in rows]

    def rejected_since(self, since_utc: str) -> tuple[int, Record | None]:
        """How many messages were first rejected since then, and the last of them: `where`, `error`."""
        (row,) = self._all("SELECT count(*), max(sequence) FROM rejects WHERE stored_utc >= ?", since_utc)
        count, last = row
        if not count:
            return 0, None
        (found,) = self._all("SELECT where_, error FROM rejects WHERE sequence = ?", last)
        return count, {"where": found[0], "error": found[1]}

    # Batches

    def mark_selected(self, batch_id: str, episode: str, size_bytes: int, read: Iterable[Entry]) -> set[str]:
        """A batch of what was read is durable in the outbox: from now on exactly its bytes are sent.

        Where a record was corrected, or is in another batch, since it was read, nothing is marked. What was evicted
        meanwhile is in the batch all the same. The very batch that is known already takes the records in as they are.

        Returns:
            The identities of the records that are not as they were read; none when all is marked.
        """
        entries = list(read)
        with self._transaction():
            changed = {entry.record["record_id"] for entry in entries if self._is_changed(entry)}
            if changed:
                return changed
            known = self._one("SELECT state FROM batches WHERE batch_id = ?", batch_id)
            if known is None:
                sealed = (batch_id, episode, size_bytes, "prepared")
                self._connection.execute(
                    "INSERT INTO batches (batch_id, episode, bytes, state, crc) VALUES (?, ?, ?, ?, ?)",
                    (*sealed, seal("batches", sealed)),
                )
            state = "acknowledged" if known == ("acknowledged",) else "selected"
            self._connection.executemany(
                "UPDATE records SET state = ?, batch_id = ? WHERE sequence = ? AND state = 'stored'",
                [(state, batch_id, entry.sequence) for entry in entries],
            )
        return set()

    def _is_changed(self, entry: Entry) -> bool:
        now = self._one("SELECT sequence, state FROM records WHERE record_id = ?", entry.record["record_id"])
        return now is not None and now != (entry.sequence, "stored")

    def mark_acknowledged(self, batch_id: str) -> None:
        """The gateway has said that it holds this batch."""
        with self._transaction():
            row = self._one("SELECT batch_id, episode, bytes FROM batches WHERE batch_id = ?", batch_id)
            if row is not None:
                self._connection.execute(
                    "UPDATE batches SET state = 'acknowledged', crc = ? WHERE batch_id = ?",
                    (seal("batches", (*row, "acknowledged")), batch_id),
                )
            self._connection.execute(
                "UPDATE records SET state = 'acknowledged' WHERE batch_id = ? AND state = 'selected'", (batch_id,)
            )

    def withdraw(self, batch_id: str) -> None:
        """The file of an unacknowledged batch is lost: its records may be selected anew."""
        with self._transaction():
            self._connection.execute(
                "UPDATE records SET state = 'stored', batch_id = NULL WHERE batch_id = ? AND state = 'selected'",
                (batch_id,),
            )
            self._connection.execute("DELETE FROM batches WHERE batch_id = ? AND state = 'prepared'", (batch_id,))

    def prepared_batches(self) -> list[PreparedBatch]:
        """The batches that wait for an acknowledgement, oldest first."""
        rows = self._all("SELECT batch_id, episode, bytes FROM batches WHERE state = 'prepared' ORDER BY sequence")
        return [PreparedBatch(*row) for row in rows]

    def bytes_prepared(self, episode: str) -> int:
        """The size of all batches of an episode, sent or waiting."""
        size: int = self._one("SELECT coalesce(sum(bytes), 0) FROM batches WHERE episode = ?", episode)[0]
        return size

    # Samples

    def add_samples(
        self,
        samples: Sequence[FlaggedSample],
        amended: Sequence[FlaggedSample] = (),
        rejects: Iterable[tuple[str, str, str]] = (),
    ) -> SampleCounts:
        """Store samples durably, the changed flags of earlier ones, and the rejects that came with them: all or none.

        A sample is identified by its origin and its time, to the microsecond. The same again is counted; another one
        for a moment that is taken is kept among the rejects.
        """
        repeated = conflicting = 0
        with self._transaction() as now:
            for flagged in samples:
                stored = self._add_sample(now, flagged)
                if stored is None:
                    continue
                body = _json(flagged.sample.values)
                if stored == body:
                    repeated += 1
                else:
                    conflicting += 1
                    where = f"{flagged.sample.origin} {flagged.sample.time_utc}"
                    self._reject(now, where, "another sample of this moment is stored; that one stays", body)
            for flagged in amended:
                self._amend(flagged)
            for where, error, body in rejects:
                self._reject(now, where, error, body)
        return SampleCounts(len(samples) - repeated - conflicting, repeated, conflicting)

    def _add_sample(self, now: _Now, flagged: FlaggedSample) -> str | None:
        """Insert a sample. Where its moment is taken already, the body that is stored there."""
        sample = flagged.sample
        origin = self._origin(sample.origin)
        time_ = in_order(sample.time_utc)
        sealed = (origin, time_, _json(sample.values), _bad_flags(flagged), now.boot)
        found = self._connection.execute(
            "INSERT INTO samples (origin, time_utc, body, flags, boot, crc) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (*sealed, seal("samples", sealed)),
        )
        if found.rowcount == 1:
            return None
        body: str = self._one("SELECT body FROM samples WHERE time_utc = ? AND origin = ?", time_, origin)[0]
        return body

    def _amend(self, flagged: FlaggedSample) -> None:
        key = (in_order(flagged.sample.time_utc), self._origin(flagged.sample.origin))
        row = self._one(f"SELECT {_SAMPLE} FROM samples s WHERE time_utc = ? AND origin = ?", *key)  # noqa: S608 - ours
        if row is not None:
            self._check_seals("samples", [row])
            sealed = (*row[:3], _bad_flags(flagged), row[4])
            self._connection.execute(
                "UPDATE samples SET flags = ?, crc = ? WHERE time_utc = ? AND origin = ?",
                (sealed[3], seal("samples", sealed), *key),
            )

    def samples(
        self, first_utc: str, last_utc: str, origin: str | None = None, limit: int | None = None
    ) -> list[FlaggedSample]:
        """The samples of a span of time, its end excluded, by time: the first `limit`, or the last ones if below 0."""
        order = "DESC" if limit is not None and limit < 0 else "ASC"
        rows = self._all(
            f"SELECT {_SAMPLE}, o.name FROM samples s JOIN origins o USING (origin)"  # noqa: S608 - ours
            " WHERE s.time_utc >= ? AND s.time_utc < ? AND o.name = coalesce(?, o.name)"
            f" ORDER BY s.time_utc {order}, s.origin {order} LIMIT ?",
            in_order(first_utc),
            in_order(last_utc),
            origin,
            -1 if limit is None else abs(limit),
        )
        return self._flagged(rows if order == "ASC" else rows[::-1])

    def sample(self, origin: str, time_utc: str) -> FlaggedSample | None:
        """The sample of an origin at that very time."""
        rows = self._samples_at(origin, time_utc)
        return self._flagged(rows)[0] if rows else None

    def as_stored(self, sample: Sample) -> Sample:
        """A sample that is told again, as it is known here: former agents cut its time to whole seconds."""
        whole = whole_second(sample.time_utc)
        if not self._last_cut_sample or whole == sample.time_utc:
            return sample
        rows = self._samples_at(sample.origin, whole, self._last_cut_sample)
        cut = Sample(sample.origin, whole, sample.values)
        return cut if rows and self._flagged(rows)[0].sample == cut else sample

    def _samples_at(self, origin: str, time_utc: str, last_sequence: int | None = None) -> list[Any]:
        return self._all(
            f"SELECT {_SAMPLE}, o.name FROM samples s JOIN origins o USING (origin)"  # noqa: S608 - ours
            " WHERE s.time_utc = ? AND o.name = ? AND s.sequence <= coalesce(?, s.sequence)",
            in_order(time_utc),
            origin,
            last_sequence,
        )

    def last_samples(self, origin: str, count: int) -> list[FlaggedSample]:
        """The last samples of an origin by time, newest last."""
        rows = self._all(
            f"SELECT {_SAMPLE}, ? FROM samples s"  # noqa: S608 - ours
            " WHERE s.origin = (SELECT origin FROM origins WHERE name = ?) ORDER BY s.time_utc DESC LIMIT ?",
            origin,
            origin,
            count,
        )
        return self._flagged(rows[::-1])

    def last_with(self, origin: str, name: str, first_utc: str, last_utc: str) -> FlaggedSample | None:
        """The last sample of an origin in a span of time, its end included, that says something of that name."""
        row = self._one(
            f"SELECT {_SAMPLE}, ? FROM samples s"  # noqa: S608 - ours
            " WHERE s.origin = (SELECT origin FROM origins WHERE name = ?) AND s.time_utc >= ? AND s.time_utc <= ?"
            " AND instr(s.body, ?) AND NOT instr(s.body, ?) ORDER BY s.time_utc DESC LIMIT 1",
            origin,
            origin,
            in_order(first_utc),
            in_order(last_utc),
            f"{_json({name: 0})[1:-2]}",
            f"{_json({name: None})[1:-1]}",
        )
        return None if row is None else self._flagged([row])[0]

    def _flagged(self, rows: Sequence[Any]) -> list[FlaggedSample]:
        self._check_seals("samples", [row[:6] for row in rows])
        return [_flagged(row[6], row[1], row[2], row[3]) for row in rows]

    def origins(self) -> list[str]:
        """The loggers that ever sent a sample."""
        return [name for (name,) in self._all("SELECT name FROM origins ORDER BY name")]

    def sample_times(self, since: str = "") -> list[str]:
        """The times of samples, from `since` on, oldest first."""
        rows = self._all("SELECT DISTINCT time_utc FROM samples WHERE time_utc >= ? ORDER BY 1", in_order(since))
        return [from_order(time_) for (time_,) in rows]

    def _origin(self, name: str) -> int:
        if name not in self._origins:
            self._connection.execute(
                "INSERT INTO origins (name, crc) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, seal("origins", (name,)))
            )
            self._origins[name] = self._one("SELECT origin FROM origins WHERE name = ?", name)[0]
        return self._origins[name]

    # Events

    def add_event(self, kind: str, text: str, values: Mapping[str, Any] | None = None) -> None:
        """Keep what happened to the device. The same again, right after, adds to the count of the first."""
        with self._transaction() as now:
            self._event(now, kind, text, values or {})

    def _event(self, now: _Now, kind: str, text: str, values: Mapping[str, Any]) -> None:
        last = self._one(
            "SELECT sequence, text, boot, time_utc, times FROM events WHERE kind = ? ORDER BY sequence DESC LIMIT 1",
            kind,
        )
        if last is not None and last[1] == text:
            self._rewrite_event(last[0], (kind, text, _json(values), last[2], last[3], now.utc, last[4] + 1))
        else:
            self._new_event((kind, text, _json(values), now.boot, now.utc, now.utc, 1))

    def _new_event(self, sealed: tuple[object, ...]) -> None:
        self._connection.execute(
            "INSERT INTO events (kind, text, body, boot, time_utc, last_utc, times, crc)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*sealed, seal("events", sealed)),
        )

    def _rewrite_event(self, sequence: int, sealed: tuple[object, ...]) -> None:
        self._connection.execute(
            "UPDATE events SET kind = ?, text = ?, body = ?, boot = ?, time_utc = ?, last_utc = ?, times = ?, crc = ?"
            " WHERE sequence = ?",
            (*sealed, seal("events", sealed), sequence),
        )

    def events(self, limit: int = 100, kind: str | None = None) -> list[Record]:
        """What happened last, newest first: `time_utc`, `last_utc`, `times`, `kind`, `text`, and its values."""
        columns = ", ".join([*SEALED["events"], "crc"])
        where = "" if kind is None else "WHERE kind = ?"
        rows = self._all(
            f"SELECT {columns} FROM events {where} ORDER BY sequence DESC LIMIT ?",  # noqa: S608 - ours
            *(() if kind is None else (kind,)),
            limit,
        )
        self._check_seals("events", rows)
        return [
            {
                **json.loads(body),
                "time_utc": time_utc,
                "last_utc": last_utc,
                "times": times,
                "kind": kind_,
                "text": text,
            }
            for kind_, text, body, _, time_utc, last_utc, times, _ in rows
        ]

    # Room

    def newest_day_of(self, table: str) -> str | None:
        """The latest day that a record of a table is for."""
        day: str | None = self._one("SELECT substr(max(date), 1, 10) FROM records WHERE table_name = ?", table)[0]
        return day

    def last_moment(self, episode: str, tables: Sequence[str], until: str) -> str | None:
        """The last day or moment, no later than `until`, that a record of these tables is kept under; of a day that
        `until` names, also the moments in it."""
        found = [
            self._one(
                "SELECT max(date) FROM records WHERE episode = ? AND table_name = ? AND date < ?",
                episode,
                table,
                f"{until}~",
            )[0]
            for table in tables
        ]
        return max((moment for moment in found if moment is not None), default=None)

    def newest_day(self) -> str | None:
        """The latest day of which anything is stored."""
        (day,) = self._one(
            "SELECT max(day) FROM (SELECT substr(max(date), 1, 10) AS day FROM records"
            " UNION ALL SELECT substr(max(time_utc), 1, 10) FROM samples)"
        )
        found: str | None = day
        return found

    def used_bytes(self) -> int:
        """What the store needs of the disk: the pages that hold anything, and what its log keeps."""
        pages, free, page_bytes = (
            self._one(f"PRAGMA {name}")[0] for name in ("page_count", "freelist_count", "page_size")
        )
        used: int = (pages - free) * page_bytes + LOG_KEPT_BYTES
        return used

    def has(self, table: str, where: str, values: Mapping[str, Any]) -> bool:
        """Whether any row `t` of a table fits, by the SQL in `where`."""
        with self._named_errors():
            found = self._connection.execute(f"SELECT 1 FROM {table} t WHERE {where} LIMIT 1", values)  # noqa: S608 - ours
            return found.fetchone() is not None

    def evict(
        self,
        what: str,
        table: str,
        where: str,
        order: str,
        values: Mapping[str, Any],
        limit: int,
        enough_bytes: float = math.inf,
    ) -> tuple[int, int]:
        """Delete the first rows of a table that fit, and keep an event of it; how many, and the bytes of their bodies.

        `where` and `order` are SQL over the row `t`. No more go than make up `enough_bytes`. One small transaction, and
        none where nothing fits: `eviction.py` says what may go.
        """
        chosen = f"SELECT t.sequence, length(t.body) FROM {table} t WHERE {where} ORDER BY {order} LIMIT {limit}"  # noqa: S608
        if not self.has(table, where, values):
            return 0, 0
        with self._transaction() as now:
            rows, size = [], 0
            for sequence, length in self._connection.execute(chosen, values):
                if size >= enough_bytes:
                    break
                rows.append(sequence)
                size += length
            if rows:
                self._connection.executemany(
                    f"DELETE FROM {table} WHERE sequence = ?",  # noqa: S608 - ours
                    [(sequence,) for sequence in rows],
                )
                self._evicted(now, what, len(rows), size)
        return len(rows), size

    def _evicted(self, now: _Now, what: str, rows: int, size_bytes: int) -> None:
        """What went on one day is one event for each kind of thing."""
        last = self._one(
            "SELECT sequence, body, boot, time_utc, times FROM events WHERE kind = 'evicted'"
            " AND json_extract(body, '$.what') = ? AND substr(time_utc, 1, 10) = substr(?, 1, 10)"
            " ORDER BY sequence DESC LIMIT 1",
            what,
            now.utc,
        )
        if last is not None:
            known = json.loads(last[1])
            rows, size_bytes = rows + known["rows"], size_bytes + known["bytes"]
        body = _json({"what": what, "rows": rows, "bytes": size_bytes})
        text = f"made room: {rows} {what} ({size_bytes / 1000.0:.0f} kB)"
        if last is None:
            self._new_event(("evicted", text, body, now.boot, now.utc, now.utc, 1))
        else:
            self._rewrite_event(last[0], ("evicted", text, body, last[2], last[3], now.utc, last[4] + 1))

    def checkpoint(self, at_bytes: int = 0) -> None:
        """Bring what is in the log, if it has at least so many bytes, into the database: commits need not do it then.

        It waits for nobody: what another process still reads stays in the log until the next time.
        """
        with self._named_errors():
            if self._log_bytes() >= at_bytes:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def shrink(self) -> None:
        """Give freed pages back to the disk, in small steps."""
        with self._named_errors():
            free = self._connection.execute("PRAGMA freelist_count").fetchone()[0]
            while free > 0:
                self._connection.execute(f"PRAGMA incremental_vacuum({SHRINK_PAGES})").fetchall()
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                before, free = free, self._connection.execute("PRAGMA freelist_count").fetchone()[0]
                if free >= before:
                    break  # a file that cannot give pages back; they are used again
            if self._log_bytes() > LOG_KEPT_BYTES:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _log_bytes(self) -> int:
        try:
            return beside(self.path, "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def check(self) -> None:
        """Read every page and every seal. It takes seconds where there is much, and holds up no writer.

        Raises:
            StoreDamaged: something is not as it was written.
        """
        with self._named_errors():
            check_database(self._connection, str(self.path))

    # How it is done

    def _now(self, stamp: Stamp) -> _Now:
        if stamp.boot_id not in self._boots:
            sealed = (stamp.boot_id, stamp.utc)
            self._connection.execute(
                "INSERT INTO boots (boot_id, first_utc, crc) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (*sealed, seal("boots", sealed)),
            )
            self._boots[stamp.boot_id] = self._one("SELECT boot FROM boots WHERE boot_id = ?", stamp.boot_id)[0]
        return _Now(self._boots[stamp.boot_id], stamp.utc, int(stamp.is_trusted))

    def _sound(self, row: Sequence[Any]) -> Record:
        """The record of a row of `_RECORD`."""
        if seal("records", row[:-1]) != row[-1]:
            raise StoreDamaged(f"{self.path} is damaged: {row[0]!r} is not as it was stored")
        record: Record = json.loads(row[4])
        return record

    def _check_seals(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        check_seals(str(self.path), table, rows)

    def _one(self, sql: str, *values: object) -> Any:
        with self._named_errors():
            return self._connection.execute(sql, values).fetchone()

    def _all(self, sql: str, *values: object) -> list[Any]:
        with self._named_errors():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[_Now]:
        stamp = self._stamp()  # before it begins: the clock may have something to tell, and that is an event
        with self._named_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._now(stamp)
                self._connection.execute("COMMIT")
            except BaseException:
                self._boots.clear()  # what was learned in the transaction is gone with it
                self._origins.clear()
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # a mistake of the caller: a closed store, another thread's
        except sqlite3.DatabaseError as error:
            said, code = str(error), getattr(error, "sqlite_errorcode", 0)
            if code & 0xFF in _DAMAGE or code in _UNREADABLE or any(word in said for word in _BROKEN_SCHEMA):
                raise StoreDamaged(f"{self.path} is damaged: {said}") from error
            if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise StoreBusy(f"{self.path} is in use by another process; try again") from error
            raise StoreFailed(f"{self.path}: {said}; check the disk's space and rights") from error
        except OSError as error:
            raise StoreFailed(f"{self.path}: {error.strerror or error}; check the disk's space and rights") from error


def _record_json(record: Mapping[str, Any]) -> str:
    try:
        body = _json(record)
        body.encode()
    except ValueError as error:
        raise DataError(f"{record['record_id']!r} cannot be stored: {error}") from error
    return body


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _bad_flags(flagged: FlaggedSample) -> str:
    """Only what is not good: nearly always nothing."""
    bad = {name: flag for name, flag in flagged.flags.items() if flag != "good"}
    return _json(bad) if bad else ""


def _flagged(origin: str, time_: str, body: str, flags: str) -> FlaggedSample:
    values = json.loads(body)
    bad = json.loads(flags) if flags else {}
    return FlaggedSample(Sample(origin, from_order(time_), values), {name: bad.get(name, "good") for name in values})


def system_stamp() -> Stamp:
    """The system clock's time, which nobody has confirmed."""
    return Stamp(_system_boot_id(), format_utc(system_time()), False)


@functools.cache
def _system_boot_id() -> str:
    return read_boot_id()


@functools.cache
def _after(tables: int) -> str:
    marks = ", ".join("?" * tables)
    return f"SELECT sequence, {_RECORD} FROM records WHERE sequence > ? AND table_name IN ({marks}) ORDER BY sequence"  # noqa: S608
