"""What is true among the cells of a damaged store, put into a new one.

A row is carried over if its seal is right, with its place in the order and its state; nothing else is. What an index
still knows of a row that is not there is counted and named as lost. A record whose state or batch is damaged goes back
to `stored`, as does one whose batch is gone: it is sent again rather than not at all. A record of forms 2 and 3 is
known by its own seal, and gets today's. The rows of form 1 had none: they are held against what they say of themselves.
Where the cells come from is `sqlite_pages.py`'s matter, and the files are `rebuild.py`'s.
"""

import hashlib
import re
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fieldedge.contract.batches import MAX_UNPACKED_BYTES, PERIOD_KEY, batch_id, unpack
from fieldedge.storage.recovery.sqlite_pages import Row, Value
from fieldedge.storage.schema import (
    BATCH_STATES,
    COLUMNS,
    RECORD_3,
    SEALED,
    SEALED_3,
    STATES,
    Merit,
    is_consistent_1,
    merit_of,
    seal,
)
from fieldedge.system.errors import DataError
from fieldedge.system.plain_files import read_own

MAX_NAMED = 50
MAX_SEQUENCE = 1 << 40  # a greater one was never counted to

_NAMED = re.compile(r"[a-z_]{1,40} of \d{4}-\d{2}-\d{2}")
_FORM_1 = (
    "CREATE TEMP TABLE records_1 (record_id TEXT PRIMARY KEY, episode, table_name, date, body, state, batch_id)",
    "CREATE TEMP TABLE batches_1 (batch_id TEXT PRIMARY KEY, sequence, episode, bytes, state)",
    "CREATE TEMP TABLE rejects_1 (reject_id TEXT PRIMARY KEY, where_, error, body)",
)


class Salvage:
    """Takes cells, in any order, into an open transaction of a new store; `merit` is asked of older forms' records."""

    def __init__(self, connection: sqlite3.Connection, merit: Merit | None = None) -> None:
        self._connection = connection
        self._merit = merit
        self._displaced: list[Mapping[str, Value]] = []
        self._last: dict[str, int] = {}
        self.damaged_rows = 0
        connection.execute(
            "CREATE TEMP TABLE known (kind TEXT, sequence INTEGER, name TEXT, PRIMARY KEY (kind, sequence))"
        )
        for statement in _FORM_1:
            connection.execute(statement)

    def take(self, row: Row) -> None:
        """Carry over what a cell holds, if it is ours and true."""
        if row.values is None:
            self.damaged_rows += row.rowid is not None
        elif row.rowid is None:
            self._take_index_entry(row.values)
        elif len(row.values) == 2:
            self._count_from(*row.values)
        elif len(row.values) == len(RECORD_3):
            self.damaged_rows += not self._take_record_3(row.rowid, row.values)
        else:
            tables = [table for table, columns in COLUMNS.items() if len(columns) == len(row.values)]
            is_taken = any(self._take_row(table, row.rowid, row.values) for table in tables)
            self.damaged_rows += bool(tables) and not is_taken

    def finish(self, form: int | None) -> None:
        """Put in what could not go in at once, and let each table count on from where it was."""
        for values in self._displaced:
            self._insert("records", {**values, "sequence": None})
        if form in (1, None):
            self._carry_over_1()
        for kind, sequence in self._connection.execute("SELECT kind, max(sequence) FROM known GROUP BY kind"):
            self._last[kind] = max(sequence, self._last.get(kind, 0))
        for table, sequence in self._last.items():
            self._connection.execute(
                "INSERT INTO sqlite_sequence SELECT ?, 0 WHERE ? NOT IN (SELECT name FROM sqlite_sequence)",
                (table, table),
            )
            self._connection.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (sequence, table))
        self._name_origins()

    def saved(self) -> dict[str, int]:
        """How many rows of each table are in the new store."""
        return {table: self._count(f"SELECT count(*) FROM {table}") for table in COLUMNS}  # noqa: S608 - ours

    def lost(self) -> tuple[dict[str, int], tuple[str, ...]]:
        """What an index knows of and is not there: how many rows by table, and the first records by name."""
        rows: dict[str, int] = {}
        for kind in ("records", "samples"):
            rows[kind] = self._count(
                f"SELECT count(*) FROM known WHERE kind = '{kind}' AND sequence NOT IN (SELECT sequence FROM {kind})"  # noqa: S608
            )
        names = self._connection.execute(
            "SELECT name FROM known WHERE kind = 'records' AND sequence NOT IN (SELECT sequence FROM records)"
            " ORDER BY sequence"
        )
        return rows, tuple(name for (name,) in names if _NAMED.fullmatch(name))[:MAX_NAMED]

    def _take_row(self, table: str, rowid: int, found: tuple[Value, ...]) -> bool:
        columns = COLUMNS[table]
        values = dict(zip(columns, found, strict=True))
        if isinstance(whole := values.get("merit"), int):
            values["merit"] = float(whole)  # SQLite keeps a whole number so
        if seal(table, [values[name] for name in SEALED[table]]) != values["crc"]:
            return False
        values[columns[0]] = rowid if 0 < rowid < MAX_SEQUENCE else None
        if table == "records":
            self._take_record(values)
        elif not self._insert(table, values) and table == "batches" and values["state"] == "acknowledged":
            self._connection.execute(  # of two copies of a batch, the one that has come further
                "UPDATE batches SET state = 'acknowledged', crc = ? WHERE batch_id = ?",
                (values["crc"], values["batch_id"]),
            )
        return True

    def _take_record_3(self, rowid: int, found: tuple[Value, ...]) -> bool:
        values = dict(zip(RECORD_3, found, strict=True))
        if seal("records", [values[name] for name in SEALED_3["records"]]) != values["crc"]:
            return False
        values["sequence"] = rowid if 0 < rowid < MAX_SEQUENCE else None
        self._take_record(self._with_merit(values))
        return True

    def _with_merit(self, values: dict[str, Value]) -> dict[str, Value]:
        """A record of an older form under today's seal."""
        merit = merit_of(self._merit, str(values["table_name"]), str(values["body"]))
        values |= {"episode": str(values["episode"]), "merit": merit}
        return {**values, "crc": seal("records", [values[name] for name in SEALED["records"]])}

    def _take_record(self, values: dict[str, Value]) -> None:
        if values["state"] not in STATES or not isinstance(values["batch_id"], str | None):
            values["state"], values["batch_id"] = "stored", None
            self.damaged_rows += 1
        values["bytes"] = len(str(values["body"]).encode())
        if self._insert("records", values):
            return
        stored = self._connection.execute(
            "SELECT sequence, state, crc FROM records WHERE record_id = ?", (values["record_id"],)
        ).fetchone()
        if stored is None:
            self._displaced.append(values)  # its place in the order is taken: it goes to the end
            return
        place = values["sequence"] if isinstance(values["sequence"], int) else 0
        is_further = STATES.index(str(values["state"])) > STATES.index(stored[1])
        if is_further if stored[2] == values["crc"] else place > stored[0]:
            self._connection.execute("DELETE FROM records WHERE record_id = ?", (values["record_id"],))
            self._insert("records", {**values, "sequence": max(place, stored[0])})

    def _take_index_entry(self, values: tuple[Value, ...]) -> None:
        """An index has no row's content, but knows of the row. The tables of form 1 were indexes themselves."""
        kinds = tuple(type(value) for value in values)
        if kinds in ((str, str, str, int), (int, str, str, int)):  # forms 2 and 3 had a number for an episode
            self._know("records", values[3], f"{values[1]!s} of {values[2]!s}")
        elif kinds == (str, int, int) and seal("origins", values[:1]) == values[1]:
            self._insert("origins", dict(zip(("name", "crc", "origin"), values, strict=True)))
        elif kinds == (str, int, int):
            self._know("samples", values[2], "")
        elif len(values) == 8:
            self._take_record_1(values)
        elif kinds == (str, int, int, int, str) and values[4] in BATCH_STATES:
            self._connection.execute("INSERT OR IGNORE INTO batches_1 VALUES (?, ?, ?, ?, ?)", values)
        elif kinds == (str, str, str, str) and _reject_id(*values[2:]) == values[0]:
            self._connection.execute("INSERT OR IGNORE INTO rejects_1 VALUES (?, ?, ?, ?)", values)

    def _know(self, kind: str, sequence: Value, name: str) -> None:
        if isinstance(sequence, int) and 0 < sequence < MAX_SEQUENCE:
            self._connection.execute("INSERT OR IGNORE INTO known VALUES (?, ?, ?)", (kind, sequence, name))

    def _count_from(self, table: Value, sequence: Value) -> None:
        """How far a table had counted: what was lost must not be counted anew."""
        if isinstance(table, str) and table in COLUMNS and isinstance(sequence, int) and 0 < sequence < MAX_SEQUENCE:
            self._last[table] = max(sequence, self._last.get(table, 0))

    def _take_record_1(self, values: tuple[Value, ...]) -> None:
        record_id, episode, table, date, body, _, state, batch = values
        if not is_consistent_1(values[:6]):
            self.damaged_rows += 1
            return
        if state not in STATES or not isinstance(batch, str | None):
            state, batch = "stored", None
        self._connection.execute(
            "INSERT OR IGNORE INTO records_1 VALUES (?, ?, ?, ?, ?, ?, ?)",
            (record_id, episode, table, date, body, state, batch),
        )

    def _carry_over_1(self) -> None:
        """Into the order that the migration from form 1 gives them."""
        for *said, state, batch in self._connection.execute(
            "SELECT * FROM records_1 ORDER BY date, record_id"
        ).fetchall():
            values = dict(zip(SEALED_3["records"], (*said, None, None, None, 0), strict=True))
            self._take_record(self._with_merit({**values, "sequence": None, "state": state, "batch_id": batch}))
        for _, *said in self._connection.execute(
            "SELECT sequence, batch_id, episode, bytes, state FROM batches_1 ORDER BY sequence"
        ).fetchall():
            self._insert_sealed("batches", said)
        for said in self._connection.execute("SELECT * FROM rejects_1 ORDER BY where_, reject_id").fetchall():
            self._insert_sealed("rejects", (*said, None, None))

    def _insert_sealed(self, table: str, said: Sequence[Value]) -> None:
        self._insert(table, {**dict(zip(SEALED[table], said, strict=True)), "crc": seal(table, said)})

    def _name_origins(self) -> None:
        """The samples of a logger are kept even where its name is lost in both places where it stood."""
        nameless = self._connection.execute(
            "SELECT DISTINCT origin FROM samples WHERE origin NOT IN (SELECT origin FROM origins)"
        )
        for (origin,) in nameless.fetchall():
            name = f"logger {origin} (its name was lost)"
            self._insert("origins", {"origin": origin, "name": name, "crc": seal("origins", (name,))})

    def _insert(self, table: str, values: Mapping[str, Value]) -> bool:
        marks = ", ".join("?" * len(values))
        found = self._connection.execute(
            f"INSERT OR IGNORE INTO {table} ({', '.join(values)}) VALUES ({marks})",  # noqa: S608 - ours
            tuple(values.values()),
        )
        return found.rowcount == 1

    def _count(self, sql: str) -> int:
        count: int = self._connection.execute(sql).fetchone()[0]
        return count


def restore_batches(connection: sqlite3.Connection, outbox: Path) -> int:
    """Take up the batches in the outbox that the store has forgotten, and that its records still need; how many.

    A batch is known by its own bytes. It is needed where a record was chosen for it, or is in it and nowhere else.
    """
    restored = 0
    for file in sorted(outbox.glob("*.batch")):
        try:
            data = read_own(file, MAX_UNPACKED_BYTES)
            content = unpack(data)
        except (OSError, DataError):
            continue
        identity, period = batch_id(data), content.get(PERIOD_KEY)
        if not isinstance(period, int | str) or not (episode := str(period)).isprintable():
            continue
        if file.stem != identity or not _is_needed(connection, identity, content):
            continue
        sealed = (identity, episode, len(data), "prepared")
        restored += connection.execute(
            "INSERT OR IGNORE INTO batches (batch_id, episode, bytes, state, crc) VALUES (?, ?, ?, ?, ?)",
            (*sealed, seal("batches", sealed)),
        ).rowcount
    return restored


def _is_needed(connection: sqlite3.Connection, identity: str, content: Mapping[str, Any]) -> bool:
    if connection.execute("SELECT 1 FROM records WHERE batch_id = ?", (identity,)).fetchone():
        return True
    identities = [record.get("record_id") for rows in content["tables"].values() for record in rows]
    return any(
        connection.execute("SELECT 1 FROM records WHERE record_id = ?", (str(record_id),)).fetchone() is None
        for record_id in identities
    )


def return_records(connection: sqlite3.Connection) -> int:
    """Give back the records whose batch is gone; how many. Those of an acknowledged batch have arrived."""
    connection.execute(
        "UPDATE records SET state = 'acknowledged' WHERE state = 'selected'"
        " AND batch_id IN (SELECT batch_id FROM batches WHERE state = 'acknowledged')"
    )
    return connection.execute(
        "UPDATE records SET state = 'stored', batch_id = NULL WHERE state = 'selected'"
        " AND (batch_id IS NULL OR batch_id NOT IN (SELECT batch_id FROM batches))"
    ).rowcount


def _reject_id(error: Value, body: Value) -> str:
    return hashlib.sha256(f"{error!s}\n{body!s}".encode()).hexdigest()
