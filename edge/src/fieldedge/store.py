"""The device's records in one SQLite file.

What `add` has returned for is on disk (write-ahead log, synchronous FULL). A record is identified by its `record_id`:
the same one again changes nothing, and a different one under the same identity is refused. Its state only moves
forward, stored → selected → acknowledged, and only an acknowledgement moves it last; nothing is deleted here.
The exception is `withdraw`: a batch whose file was lost before it was acknowledged gives its records back.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fieldedge.contract import Record
from fieldedge.errors import DataError, StoreBusy

BUSY_TIMEOUT_S = 10.0
SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    record_id  TEXT PRIMARY KEY,
    season     INTEGER NOT NULL,
    table_name TEXT NOT NULL,
    date       TEXT NOT NULL,
    body       TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    state      TEXT NOT NULL DEFAULT 'stored' CHECK (state IN ('stored', 'selected', 'acknowledged')),
    batch_id   TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_by_season ON records (season, table_name, date);
CREATE TABLE IF NOT EXISTS batches (
    batch_id TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    season   INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    state    TEXT NOT NULL DEFAULT 'prepared' CHECK (state IN ('prepared', 'acknowledged'))
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rejects (
    reject_id TEXT PRIMARY KEY,
    where_    TEXT NOT NULL,
    error     TEXT NOT NULL,
    body      TEXT NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class SeasonTotals:
    """How much of a season the device holds, and how far it has come."""

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
    season: int
    bytes: int


class Store:
    """The records of one device. Open it once per process; close it when done.

    Raises:
        StoreBusy: another process holds the database for longer than the timeout.
        DataError: the file is not a readable store.
    """

    def __init__(self, path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._path = path
        self._connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
        with self._named_errors():
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            found = self._one("PRAGMA user_version")[0]
            if found not in (0, SCHEMA_VERSION):
                raise DataError(f"{path} has format {found}; this fieldedge reads format {SCHEMA_VERSION}: update it")
            if found == 0:
                self._connection.executescript(_SCHEMA)
                self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def add(self, table: str, record: Mapping[str, Any]) -> bool:
        """Store a record durably. False when exactly this record was there already.

        `record` has `record_id` and `season`, and `date` or, for a field, `planting_date`.

        Raises:
            DataError: another record with this identity is stored. The stored one stays.
        """
        body = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        identity = record["record_id"]
        row = (
            identity,
            record["season"],
            table,
            record.get("date") or record["planting_date"],
            body,
            len(body.encode()),
        )
        with self._transaction():
            stored = self._one("SELECT body FROM records WHERE record_id = ?", identity)
            if stored is None:
                self._connection.execute(
                    "INSERT INTO records (record_id, season, table_name, date, body, bytes) VALUES (?, ?, ?, ?, ?, ?)",
                    row,
                )
        if stored is not None and json.loads(stored[0]) != json.loads(body):
            raise DataError(f"{identity} is stored with other content; the stored record stays as it is")
        return stored is None

    def get(self, record_id: str) -> Record | None:
        """The record of that identity, exactly as it was stored."""
        row = self._one("SELECT body FROM records WHERE record_id = ?", record_id)
        return None if row is None else json.loads(row[0])

    def records(self, season: int, table: str, state: str | None = None) -> list[Record]:
        """A season's records of one table by date; only those in `state`, if one is given."""
        rows = self._all(
            "SELECT body FROM records WHERE season = ? AND table_name = ? AND state = coalesce(?, state)"
            " ORDER BY date, record_id",
            season,
            table,
            state,
        )
        return [json.loads(body) for (body,) in rows]

    def seasons(self) -> list[int]:
        """The seasons with records, oldest first."""
        return [season for (season,) in self._all("SELECT DISTINCT season FROM records ORDER BY season")]

    def totals(self, season: int) -> SeasonTotals:
        """A season in figures. `bytes_collected` counts the records as stored, `bytes_sent` what was acknowledged."""
        collected, selected, acknowledged, bytes_collected = self._one(
            "SELECT count(*), coalesce(sum(state <> 'stored'), 0), coalesce(sum(state = 'acknowledged'), 0),"
            " coalesce(sum(bytes), 0) FROM records WHERE season = ?",
            season,
        )
        batches, bytes_sent = self._one(
            "SELECT count(*), coalesce(sum(bytes), 0) FROM batches WHERE season = ? AND state = 'acknowledged'", season
        )
        return SeasonTotals(collected, selected, acknowledged, bytes_collected, bytes_sent, batches)

    def reject(self, where: str, error: str, body: str) -> None:
        """Keep what could not be accepted, with the reason. The same once more adds nothing."""
        identity = hashlib.sha256(f"{error}\n{body}".encode(errors="replace")).hexdigest()
        with self._transaction():
            self._connection.execute(
                "INSERT OR IGNORE INTO rejects (reject_id, where_, error, body) VALUES (?, ?, ?, ?)",
                (identity, where, error, body),
            )

    def rejects(self) -> list[Record]:
        """What was rejected: `where`, `error`, `body`."""
        rows = self._all("SELECT where_, error, body FROM rejects ORDER BY where_, reject_id")
        return [{"where": where, "error": error, "body": body} for where, error, body in rows]

    def mark_selected(self, batch_id: str, season: int, size_bytes: int, record_ids: Sequence[str]) -> None:
        """A batch with these records is durable in the outbox: from now on exactly its bytes are sent."""
        with self._transaction():
            self._connection.execute(
                "INSERT INTO batches (batch_id, sequence, season, bytes)"
                " VALUES (?, (SELECT coalesce(max(sequence), 0) + 1 FROM batches), ?, ?)",
                (batch_id, season, size_bytes),
            )
            self._connection.executemany(
                "UPDATE records SET state = 'selected', batch_id = ? WHERE record_id = ? AND state = 'stored'",
                [(batch_id, record_id) for record_id in record_ids],
            )

    def mark_acknowledged(self, batch_id: str) -> None:
        """The gateway has said that it holds this batch."""
        with self._transaction():
            self._connection.execute("UPDATE batches SET state = 'acknowledged' WHERE batch_id = ?", (batch_id,))
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
        rows = self._all("SELECT batch_id, season, bytes FROM batches WHERE state = 'prepared' ORDER BY sequence")
        return [PreparedBatch(*row) for row in rows]

    def bytes_prepared(self, season: int) -> int:
        """The size of all batches of a season, sent or waiting."""
        size: int = self._one("SELECT coalesce(sum(bytes), 0) FROM batches WHERE season = ?", season)[0]
        return size

    def states(self) -> dict[str, int]:
        """How many records are in each state."""
        return dict(self._all("SELECT state, count(*) FROM records GROUP BY state ORDER BY state"))

    def _one(self, sql: str, *values: object) -> Any:
        with self._named_errors():
            return self._connection.execute(sql, values).fetchone()

    def _all(self, sql: str, *values: object) -> list[Any]:
        with self._named_errors():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._named_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise StoreBusy(f"{self._path} is in use by another process; try again") from error
            raise DataError(f"{self._path}: {error}; check the disk's space and rights") from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self._path} is not a readable store: {error}; move it aside and run again") from error


def record_ids(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """The identities of records, in their order."""
    return [record["record_id"] for record in records]
