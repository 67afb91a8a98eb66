"""The tables of the device's store, and the way there from every older form.

A store says its form in `user_version`, and once more in `application_id`, so that a damaged number is not taken for a
newer form. Each step is one transaction: a power cut leaves the old form or the new one, and what an older agent stored
is carried over whole. Every row carries a seal over what it says, by which `rebuild.py` knows its own rows without this
schema: a later form may add tables and columns, but no two kinds of row may have the same columns or the same number of
them under one seal. Form 2 cut the times of samples to whole seconds; form 3 has the same tables, and keeps those times
as `instants.in_order` writes them. Form 4 names an episode by a text, where form 3 had a number, and says of a record
how much it would teach. Form 5 keeps what was seen of a model while it was on watch.
"""

import json
import logging
import math
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fieldedge.system.errors import DataError, StoreDamaged
from fieldedge.system.stored_names import PERIOD

_log = logging.getLogger(__name__)

SCHEMA_VERSION = 5
UNWATCHED_FORM = 4  # the last one without the table `watched`
NUMBERED_FORM = 3  # the last one that named an episode by a number, in the column PERIOD
CUT_FORM = 2  # its samples' times are cut to whole seconds
MIGRATED, LAST_CUT_SAMPLE = "migrated", "last_cut_sample"  # an event, and in it which sample was the last of those
APPLICATION = 0x46450000  # "FE", and the form in the lower half
PAGE_BYTES = 4096
STATES = ("stored", "selected", "acknowledged")
BATCH_STATES = ("prepared", "acknowledged")
ROWS_AT_ONCE = 500
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:]{8}Z)?")

# How much a record of that table would teach, as far as a workload can say.
Merit = Callable[[str, Mapping[str, Any]], float | None]

OF_EPISODES = (
    """
    CREATE TABLE records (
        sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
        record_id  TEXT UNIQUE NOT NULL,
        episode    TEXT NOT NULL,
        table_name TEXT NOT NULL,
        date       TEXT NOT NULL,
        state      TEXT NOT NULL DEFAULT 'stored' CHECK (state IN ('stored', 'selected', 'acknowledged')),
        batch_id   TEXT,
        bytes      INTEGER NOT NULL,
        boot       INTEGER,
        stored_utc TEXT,
        is_time_trusted INTEGER NOT NULL DEFAULT 0,
        merit      REAL,
        crc        INTEGER NOT NULL,
        flags      TEXT,
        body       TEXT NOT NULL
    )""",
    "CREATE INDEX records_by_episode ON records (episode, table_name, date)",
    "CREATE INDEX records_by_batch ON records (batch_id) WHERE batch_id IS NOT NULL",
    """
    CREATE TABLE batches (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        batch_id TEXT UNIQUE NOT NULL,
        episode  TEXT NOT NULL,
        bytes    INTEGER NOT NULL,
        state    TEXT NOT NULL DEFAULT 'prepared' CHECK (state IN ('prepared', 'acknowledged')),
        crc      INTEGER NOT NULL
    )""",
)
WATCHED = """
    CREATE TABLE watched (
        sequence      INTEGER PRIMARY KEY AUTOINCREMENT,
        bundle_sha256 TEXT NOT NULL,
        time_utc      TEXT NOT NULL,
        body          TEXT NOT NULL,
        crc           INTEGER NOT NULL
    )"""
TABLES = (
    """
    CREATE TABLE boots (
        boot      INTEGER PRIMARY KEY AUTOINCREMENT,
        boot_id   TEXT UNIQUE NOT NULL,
        first_utc TEXT NOT NULL,
        crc       INTEGER NOT NULL
    )""",
    *OF_EPISODES,
    """
    CREATE TABLE rejects (
        sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
        reject_id  TEXT UNIQUE NOT NULL,
        repeats    INTEGER NOT NULL DEFAULT 0,
        boot       INTEGER,
        stored_utc TEXT,
        crc        INTEGER NOT NULL,
        where_     TEXT NOT NULL,
        error      TEXT NOT NULL,
        body       TEXT NOT NULL
    )""",
    # the checksum in its index makes of that a second copy: without the names all samples would be nobody's
    """
    CREATE TABLE origins (
        origin INTEGER PRIMARY KEY AUTOINCREMENT,
        name   TEXT NOT NULL,
        crc    INTEGER NOT NULL,
        UNIQUE (name, crc)
    )""",
    """
    CREATE TABLE samples (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        origin   INTEGER NOT NULL,
        time_utc TEXT NOT NULL, -- by time as a text: 12:15:00Z, 12:15:00Z.5, 12:15:01Z
        body     TEXT NOT NULL,
        flags    TEXT NOT NULL,
        boot     INTEGER,
        crc      INTEGER NOT NULL,
        UNIQUE (time_utc, origin)
    )""",
    """
    CREATE TABLE events (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        kind     TEXT NOT NULL,
        boot     INTEGER,
        time_utc TEXT NOT NULL,
        last_utc TEXT NOT NULL,
        times    INTEGER NOT NULL DEFAULT 1,
        crc      INTEGER NOT NULL,
        text     TEXT NOT NULL,
        body     TEXT NOT NULL
    )""",
    "CREATE INDEX events_by_kind ON events (kind)",
    WATCHED,
)

COLUMNS = {
    "boots": ("boot", "boot_id", "first_utc", "crc"),
    "records": (
        *("sequence", "record_id", "episode", "table_name", "date", "state", "batch_id", "bytes"),
        *("boot", "stored_utc", "is_time_trusted", "merit", "crc", "flags", "body"),
    ),
    "batches": ("sequence", "batch_id", "episode", "bytes", "state", "crc"),
    "rejects": ("sequence", "reject_id", "repeats", "boot", "stored_utc", "crc", "where_", "error", "body"),
    "origins": ("origin", "name", "crc"),
    "samples": ("sequence", "origin", "time_utc", "body", "flags", "boot", "crc"),
    "events": ("sequence", "kind", "boot", "time_utc", "last_utc", "times", "crc", "text", "body"),
    "watched": ("sequence", "bundle_sha256", "time_utc", "body", "crc"),
}

# What a row's seal covers. A record's state moves on by itself and is not among it; that of a batch is.
SEALED = {
    "boots": ("boot_id", "first_utc"),
    "records": (
        *("record_id", "episode", "table_name", "date", "body", "flags", "boot", "stored_utc", "is_time_trusted"),
        "merit",
    ),
    "batches": ("batch_id", "episode", "bytes", "state"),
    "rejects": ("reject_id", "where_", "error", "body", "boot", "stored_utc"),
    "origins": ("name",),
    "samples": ("origin", "time_utc", "body", "flags", "boot"),
    "events": ("kind", "text", "body", "boot", "time_utc", "last_utc", "times"),
    "watched": ("bundle_sha256", "time_utc", "body"),
}
SEALED_4 = {table: names for table, names in SEALED.items() if table != "watched"}

# Forms 2 and 3 had no merit. A number is written into a seal as its text is: batches kept theirs.
RECORD_3 = tuple(name for name in COLUMNS["records"] if name != "merit")
SEALED_3 = {**SEALED_4, "records": tuple(name for name in SEALED["records"] if name != "merit")}


def seal(table: str, values: Iterable[object]) -> int:
    """The checksum by which a row of a table is known to be the one that was stored."""
    said = "\x1f".join(["\x00" if value is None else str(value) for value in values])
    return zlib.crc32(f"{table}\x1e{said}".encode(errors="surrogatepass"))


def first_day(record: Mapping[str, Any]) -> str:
    """The first day that a record names.

    Raises:
        LookupError: it names none.
    """
    for value in record.values():
        if isinstance(value, str) and _MOMENT.fullmatch(value):
            return value[:10]
    raise LookupError(f"{record.get('record_id')} names no day")


def merit_of(merit: Merit | None, table: str, body: str) -> float | None:
    """What a workload says of a stored record, as `asked`."""
    return None if merit is None else asked(merit, table, json.loads(body))


def asked(merit: Merit, table: str, record: Mapping[str, Any]) -> float | None:
    """What a workload says of a record; None where it cannot, as of one that is too old for it."""
    try:
        return as_merit(merit(table, record))
    except (LookupError, TypeError, ValueError):
        return None
    except Exception as error:  # noqa: BLE001  (a guest's mistake costs no record)
        _log.warning("nobody says what %s would teach: %r", record.get("record_id"), error)
        return None


def as_merit(found: float | None) -> float | None:
    """A merit as it is read again, so that its seal stays true; None for what is no number."""
    return float(found) if found is not None and math.isfinite(found) else None


def prepare(connection: sqlite3.Connection, name: str, utc: Callable[[], str], merit: Merit | None = None) -> int:
    """Bring a store to this form, from nothing or from an older one, and keep an event of it at `utc`.

    Returns:
        The form that it had, 0 for nothing.

    Raises:
        DataError: the store is of a newer form.
        StoreDamaged: it says no form that there can be.
    """
    connection.execute("PRAGMA secure_delete = ON")  # what was deleted is not found again when a store is rebuilt
    found = form_of(connection, name)
    if found == 0:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # these two only count before the first table
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    if found != SCHEMA_VERSION:
        found = _migrate(connection, name, utc, merit)
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != 2:
        _make_shrinkable(connection)
    return found


def _migrate(connection: sqlite3.Connection, name: str, utc: Callable[[], str], merit: Merit | None) -> int:
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = form_of(connection, name)  # another process may have been faster
        if found != SCHEMA_VERSION:
            if found == 1:
                _check_1(connection, name)
                _set_aside(connection, "records", "batches", "rejects")
            elif found and found <= NUMBERED_FORM:
                check_database(connection, name)  # nothing damaged is sealed as if it were true
                _set_aside(connection, "records", "batches")
            for statement in _new_tables(found):
                connection.execute(statement)
            if found and found <= NUMBERED_FORM:
                _let_sql_seal(connection, merit)
                (_carry_over_1 if found == 1 else _carry_over_3)(connection)
            if found:
                text = f"the store was brought from form {found} to form {SCHEMA_VERSION}; nothing was left behind"
                note_migration(connection, found, utc(), text)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute(f"PRAGMA application_id = {APPLICATION + SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return found


def _new_tables(form: int) -> tuple[str, ...]:
    """What is made anew where a store had that form."""
    if form <= 1:
        return TABLES
    return (*OF_EPISODES, WATCHED) if form <= NUMBERED_FORM else (WATCHED,)


def note_migration(connection: sqlite3.Connection, form: int, utc: str, text: str) -> None:
    """Keep an event of a store that was brought here from an older form, and which of its samples were cut there."""
    (last,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM samples").fetchone()
    values = {LAST_CUT_SAMPLE: last} if form <= CUT_FORM else {}
    event = (MIGRATED, text, json.dumps(values), None, utc, utc, 1)
    connection.execute(
        "INSERT INTO events (kind, text, body, boot, time_utc, last_utc, times, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*event, seal("events", event)),
    )


def form_of(connection: sqlite3.Connection, name: str) -> int:
    """The form of a store, 0 for nothing.

    Raises:
        DataError: it is newer than this one.
        StoreDamaged: it says no form that there can be.
    """
    form: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if (form, application) == (0, 0):
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise StoreDamaged(f"{name} is damaged: it has tables, but says no form")
    elif (form, application) != (1, 0) and application != APPLICATION + form:
        raise StoreDamaged(f"{name} is damaged: it says form {form} and application {application:#x}")
    if form > SCHEMA_VERSION:
        raise DataError(f"{name} has form {form}; this fieldedge reads up to form {SCHEMA_VERSION}: update it")
    return form


def _make_shrinkable(connection: sqlite3.Connection) -> None:
    """Write the file anew, so that it can give pages back. Where that cannot be now, the next start tries again."""
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")
    except sqlite3.OperationalError:
        return  # no room for a second copy, or another process reads: the store works as it is


def _check_1(connection: sqlite3.Connection, name: str) -> None:
    """Nothing damaged is sealed as if it were true."""
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreDamaged(f"{name} is damaged: {found[:200]}")
    for row in connection.execute(f"SELECT record_id, {PERIOD}, table_name, date, body, bytes FROM records"):  # noqa: S608
        if not is_consistent_1(row):
            raise StoreDamaged(f"{name} is damaged: {row[0]!r} is not the record that is stored under that name")


def is_consistent_1(row: Sequence[object]) -> bool:
    """Whether a row of form 1 (identity, period, table, date, body, bytes) agrees with the record in it."""
    record_id, period, table, date, body, size = row
    if not isinstance(body, str) or not isinstance(table, str) or len(body.encode()) != size:
        return False
    try:
        record = json.loads(body)
    except ValueError:
        return False
    if not isinstance(record, dict):
        return False
    said = record.get("record_id"), record.get(PERIOD), record.get("date") or record.get("planting_date")
    return said == (record_id, period, date)


def check_database(connection: sqlite3.Connection, name: str) -> None:
    """Read every page and every seal of a store.

    Raises:
        StoreDamaged: something is not as it was written.
        sqlite3.DatabaseError: it cannot be read, for one or another reason.
    """
    found = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if found != [("ok",)]:
        raise StoreDamaged(f"{name} is damaged: {str(found[0][0])[:200]}")
    form = form_of(connection, name)
    if form <= 1:
        return
    former = {"episode": PERIOD} if form <= NUMBERED_FORM else {}
    sealed = SEALED_3 if form <= NUMBERED_FORM else SEALED_4 if form <= UNWATCHED_FORM else SEALED
    for table, names in sealed.items():
        columns = ", ".join(former.get(column, column) for column in (*names, "crc"))
        check_seals(name, table, connection.execute(f"SELECT {columns} FROM {table}"))  # noqa: S608 - ours


def check_seals(name: str, table: str, rows: Iterable[Sequence[Any]]) -> None:
    """See that rows, each what its seal covers and the seal, are as they were stored.

    Raises:
        StoreDamaged: one is not.
    """
    for row in rows:
        if seal(table, row[:-1]) != row[-1]:
            raise StoreDamaged(f"{name} is damaged: {row[0]!r} of its {table} is not as it was stored")


def _set_aside(connection: sqlite3.Connection, *tables: str) -> None:
    connection.execute(f"DROP INDEX IF EXISTS records_by_{PERIOD}")
    connection.execute("DROP INDEX IF EXISTS records_by_batch")
    for table in tables:
        connection.execute(f"ALTER TABLE {table} RENAME TO former_{table}")


def _let_sql_seal(connection: sqlite3.Connection, merit: Merit | None) -> None:
    connection.create_function("seal", -1, lambda table, *values: seal(table, values), deterministic=True)
    connection.create_function("merit_of", 2, lambda table, body: merit_of(merit, table, body), deterministic=True)


def _carry_over_1(connection: sqlite3.Connection) -> None:
    """Form 1 had no order of arrival; date and identity stand in for it."""
    connection.execute(
        "INSERT INTO records (record_id, episode, table_name, date, body, bytes, merit, crc, state, batch_id)"  # noqa: S608
        f" SELECT record_id, {PERIOD}, table_name, date, body, bytes, merit,"
        f" seal('records', record_id, {PERIOD}, table_name, date, body, NULL, NULL, NULL, 0, merit), state, batch_id"
        " FROM (SELECT *, merit_of(table_name, body) AS merit FROM former_records) ORDER BY date, record_id"
    )
    connection.execute(
        "INSERT INTO batches (batch_id, episode, bytes, state, crc)"  # noqa: S608 - ours
        f" SELECT batch_id, {PERIOD}, bytes, state, seal('batches', batch_id, {PERIOD}, bytes, state)"
        " FROM former_batches ORDER BY sequence"
    )
    connection.execute(
        "INSERT INTO rejects (reject_id, where_, error, body, crc)"
        " SELECT reject_id, where_, error, body, seal('rejects', reject_id, where_, error, body, NULL, NULL)"
        " FROM former_rejects ORDER BY where_, reject_id"
    )
    for name in ("records", "batches", "rejects"):
        connection.execute(f"DROP TABLE former_{name}")


def _carry_over_3(connection: sqlite3.Connection) -> None:
    """A few rows at a time, so that the pages of those before take in the next: the file does not double."""
    first = f"SELECT sequence FROM former_records ORDER BY sequence LIMIT {ROWS_AT_ONCE}"  # noqa: S608 - ours
    said = ", ".join(SEALED_3["records"]).replace("episode", PERIOD)
    kept = ", ".join(name for name in RECORD_3 if name != "crc")
    while connection.execute(
        f"INSERT INTO records ({kept}, merit, crc)"  # noqa: S608 - ours
        f" SELECT {kept.replace('episode', PERIOD)}, merit, seal('records', {said}, merit)"
        f" FROM (SELECT *, merit_of(table_name, body) AS merit FROM former_records WHERE sequence IN ({first}))"
    ).rowcount:
        connection.execute(f"DELETE FROM former_records WHERE sequence IN ({first})")  # noqa: S608 - ours
    connection.execute("INSERT INTO batches SELECT * FROM former_batches")
    for table in ("records", "batches"):
        connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))  # it counts on from where it was
        connection.execute("UPDATE sqlite_sequence SET name = ? WHERE name = ?", (table, f"former_{table}"))
        connection.execute(f"DROP TABLE former_{table}")
