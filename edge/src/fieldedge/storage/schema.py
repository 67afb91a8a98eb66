"""The tables of the device's store, and the way there from every older form.

A store says its form in `user_version`, and once more in `application_id`, so that a damaged number is not taken for a
newer form. Each step is one transaction: a power cut leaves the old form or the new one, and what an older agent stored
is carried over whole. Every row carries a seal over what it says, by which `rebuild.py` knows its own rows without this
schema: a later form may add tables, but must keep the seals and the order of these columns. Form 2 cut the times of
samples to whole seconds; form 3 has the same tables, and keeps those times as `instants.in_order` writes them.
"""

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence

from fieldedge.system.errors import DataError, StoreDamaged

SCHEMA_VERSION = 3
CUT_FORM = 2  # its samples' times are cut to whole seconds
MIGRATED, LAST_CUT_SAMPLE = "migrated", "last_cut_sample"  # an event, and in it which sample was the last of those
APPLICATION = 0x46450000  # "FE", and the form in the lower half
PAGE_BYTES = 4096
STATES = ("stored", "selected", "acknowledged")
BATCH_STATES = ("prepared", "acknowledged")

TABLES = (
    """
    CREATE TABLE boots (
        boot      INTEGER PRIMARY KEY AUTOINCREMENT,
        boot_id   TEXT UNIQUE NOT NULL,
        first_utc TEXT NOT NULL,
        crc       INTEGER NOT NULL
    )""",
    """
    CREATE TABLE records (
        sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
        record_id  TEXT UNIQUE NOT NULL,
        season     INTEGER NOT NULL,
        table_name TEXT NOT NULL,
        date       TEXT NOT NULL,
        state      TEXT NOT NULL DEFAULT 'stored' CHECK (state IN ('stored', 'selected', 'acknowledged')),
        batch_id   TEXT,
        bytes      INTEGER NOT NULL,
        boot       INTEGER,
        stored_utc TEXT,
        is_time_trusted INTEGER NOT NULL DEFAULT 0,
        crc        INTEGER NOT NULL,
        flags      TEXT,
        body       TEXT NOT NULL
    )""",
    "CREATE INDEX records_by_season ON records (season, table_name, date)",
    "CREATE INDEX records_by_batch ON records (batch_id) WHERE batch_id IS NOT NULL",
    """
    CREATE TABLE batches (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        batch_id TEXT UNIQUE NOT NULL,
        season   INTEGER NOT NULL,
        bytes    INTEGER NOT NULL,
        state    TEXT NOT NULL DEFAULT 'prepared' CHECK (state IN ('prepared', 'acknowledged')),
        crc      INTEGER NOT NULL
    )""",
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
)

COLUMNS = {
    "boots": ("boot", "boot_id", "first_utc", "crc"),
    "records": (
        *("sequence", "record_id", "season", "table_name", "date", "state", "batch_id", "bytes"),
        *("boot", "stored_utc", "is_time_trusted", "crc", "flags", "body"),
    ),
    "batches": ("sequence", "batch_id", "season", "bytes", "state", "crc"),
    "rejects": ("sequence", "reject_id", "repeats", "boot", "stored_utc", "crc", "where_", "error", "body"),
    "origins": ("origin", "name", "crc"),
    "samples": ("sequence", "origin", "time_utc", "body", "flags", "boot", "crc"),
    "events": ("sequence", "kind", "boot", "time_utc", "last_utc", "times", "crc", "text", "body"),
}

# What a row's seal covers. A record's state moves on by itself and is not among it; that of a batch is.
SEALED = {
    "boots": ("boot_id", "first_utc"),
    "records": (
        *("record_id", "season", "table_name", "date", "body", "flags", "boot", "stored_utc", "is_time_trusted"),
    ),
    "batches": ("batch_id", "season", "bytes", "state"),
    "rejects": ("reject_id", "where_", "error", "body", "boot", "stored_utc"),
    "origins": ("name",),
    "samples": ("origin", "time_utc", "body", "flags", "boot"),
    "events": ("kind", "text", "body", "boot", "time_utc", "last_utc", "times"),
}


def seal(table: str, values: Iterable[object]) -> int:
    """The checksum by which a row of a table is known to be the one that was stored."""
    said = "\x1f".join(["\x00" if value is None else str(value) for value in values])
    return zlib.crc32(f"{table}\x1e{said}".encode(errors="surrogatepass"))


def prepare(connection: sqlite3.Connection, name: str, utc: Callable[[], str]) -> int:
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
        found = _migrate(connection, name, utc)
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != 2:
        _make_shrinkable(connection)
    return found


def _migrate(connection: sqlite3.Connection, name: str, utc: Callable[[], str]) -> int:
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = form_of(connection, name)  # another process may have been faster
        if found != SCHEMA_VERSION:
            if found == 1:
                _check_1(connection, name)
                _set_aside_1(connection)
            for statement in TABLES if found < 2 else ():
                connection.execute(statement)
            if found == 1:
                _carry_over_1(connection)
            if found:
                text = f"the store was brought from form {found} to form {SCHEMA_VERSION}; nothing was left behind"
                note_migration(connection, utc(), text)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute(f"PRAGMA application_id = {APPLICATION + SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return found


def note_migration(connection: sqlite3.Connection, utc: str, text: str) -> None:
    """Keep an event of a store that was brought to this form: its samples up to now are of an older agent."""
    (last,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM samples").fetchone()
    event = (MIGRATED, text, json.dumps({LAST_CUT_SAMPLE: last}), None, utc, utc, 1)
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
    for row in connection.execute("SELECT record_id, season, table_name, date, body, bytes FROM records"):
        if not is_consistent_1(row):
            raise StoreDamaged(f"{name} is damaged: {row[0]!r} is not the record that is stored under that name")


def is_consistent_1(row: Sequence[object]) -> bool:
    """Whether a row of form 1 (identity, season, table, date, body, bytes) agrees with the record in it."""
    record_id, season, table, date, body, size = row
    if not isinstance(body, str) or not isinstance(table, str) or len(body.encode()) != size:
        return False
    try:
        record = json.loads(body)
    except ValueError:
        return False
    if not isinstance(record, dict):
        return False
    said = record.get("record_id"), record.get("season"), record.get("date") or record.get("planting_date")
    return said == (record_id, season, date)


def _set_aside_1(connection: sqlite3.Connection) -> None:
    connection.execute("DROP INDEX IF EXISTS records_by_season")
    for name in ("records", "batches", "rejects"):
        connection.execute(f"ALTER TABLE {name} RENAME TO {name}_1")


def _carry_over_1(connection: sqlite3.Connection) -> None:
    """Form 1 had no order of arrival; date and identity stand in for it."""
    connection.create_function("seal", -1, lambda table, *values: seal(table, values), deterministic=True)
    connection.execute(
        "INSERT INTO records (record_id, season, table_name, date, body, bytes, crc, state, batch_id)"
        " SELECT record_id, season, table_name, date, body, bytes,"
        " seal('records', record_id, season, table_name, date, body, NULL, NULL, NULL, 0), state, batch_id"
        " FROM records_1 ORDER BY date, record_id"
    )
    connection.execute(
        "INSERT INTO batches (batch_id, season, bytes, state, crc)"
        " SELECT batch_id, season, bytes, state, seal('batches', batch_id, season, bytes, state)"
        " FROM batches_1 ORDER BY sequence"
    )
    connection.execute(
        "INSERT INTO rejects (reject_id, where_, error, body, crc)"
        " SELECT reject_id, where_, error, body, seal('rejects', reject_id, where_, error, body, NULL, NULL)"
        " FROM rejects_1 ORDER BY where_, reject_id"
    )
    for name in ("records", "batches", "rejects"):
        connection.execute(f"DROP TABLE {name}_1")
