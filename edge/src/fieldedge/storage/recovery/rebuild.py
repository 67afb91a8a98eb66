"""Mending the store: what is intact of a damaged one goes into a new one, and the damaged one is kept aside.

The damaged files are not touched before the new store is whole on disk; a kill at any moment leaves the one, to be
rebuilt again, or the other. What counts as intact is `salvage.py`'s matter. What was saved and what was not is an event
of the new store.
"""

import json
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from fieldedge.storage.files import (
    BESIDE,
    StoreLock,
    aside_of,
    beside,
    check_files,
    forget,
    put_in_place,
    rebuilt_path,
    set_aside,
)
from fieldedge.storage.recovery.salvage import Salvage, restore_batches, return_records
from fieldedge.storage.recovery.sqlite_pages import Pages, rows
from fieldedge.storage.schema import SCHEMA_VERSION, Merit, check_database, note_migration, prepare, seal
from fieldedge.storage.store import BUSY_TIMEOUT_S, Store, system_stamp
from fieldedge.system.clock import Stamp
from fieldedge.system.durable import fsync_directory
from fieldedge.system.errors import DataError, StoreDamaged, StoreFailed

KEPT_ASIDE = 3
_HALF_DONE = "-rebuilding"
_COUNTED = ("records", "batches", "samples", "rejects", "events")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RebuildReport:
    """What became of a damaged store.

    `saved` and `lost_rows` count rows by table; lost are those that an index still knows, and `lost` names the first of
    the records among them. `damaged_rows` were there, but not as they were written; `damaged_frames` are pages in the
    log that were not. `returned` records were chosen for a batch that is gone, and will be chosen anew; `batches` were
    found in the outbox alone.
    """

    set_aside: str
    saved: Mapping[str, int]
    lost_rows: Mapping[str, int]
    lost: tuple[str, ...]
    damaged_rows: int
    damaged_frames: int
    returned: int
    batches: int

    def text(self) -> str:
        """One sentence for the events."""
        saved = ", ".join(f"{self.saved[table]} {table}" for table in _COUNTED)
        lost = ", ".join(f"{count} {table}" for table, count in self.lost_rows.items() if count) or "nothing known"
        return (
            f"the store was damaged and has been rebuilt: saved {saved}; lost {lost}; "
            f"the damaged one is kept as {self.set_aside}"
        )


def open_store(
    path: Path,
    stamp: Callable[[], Stamp] | None = None,
    *,
    is_damaged: bool = False,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    merit: Merit | None = None,
) -> tuple[Store, RebuildReport | None]:
    """Open the store, mending it first where it is damaged; what was mended, if anything.

    `is_damaged` says that reading it has shown damage that opening it may not show. Close your own `Store` before.
    `merit` is asked of each record that an older agent left.

    Raises:
        StoreBusy: it is in use, or it is damaged and another process has it open.
        StoreFailed: the disk does not let it be read, written or mended.
        DataError: a newer agent wrote it.
    """
    if not is_damaged:
        try:
            return Store(path, stamp, busy_timeout_s, merit), None
        except StoreDamaged as error:
            _log.error("%s", error)
    report = rebuild(path, stamp, busy_timeout_s=busy_timeout_s, merit=merit)
    return Store(path, stamp, busy_timeout_s, merit), report


def rebuild(
    path: Path,
    stamp: Callable[[], Stamp] | None = None,
    *,
    outbox: Path | None = None,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    merit: Merit | None = None,
) -> RebuildReport | None:
    """Set a damaged store aside and put what is intact of it into a new one. None where there is nothing to mend.

    `outbox` is where its batches wait; beside the store where it is not given.

    Raises:
        StoreBusy: somebody has the store open.
        StoreFailed: the disk does not let it be read or written. The damaged store is still there.
        DataError: a newer agent wrote it.
    """
    with _named_errors(path):
        lock = StoreLock(path)
        try:
            lock.alone(busy_timeout_s)
            put_in_place(path)
            if _is_sound(path):
                return None  # another process was faster, or the disk could not be read for a moment
            return _rebuild(path, stamp or system_stamp, outbox or path.with_name("outbox"), merit)
        finally:
            lock.free()


def _is_sound(path: Path) -> bool:
    try:
        check_files(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            check_database(connection, str(path))
    except (StoreDamaged, sqlite3.DatabaseError, UnicodeDecodeError):
        return False
    return True


def _rebuild(path: Path, stamp: Callable[[], Stamp], outbox: Path, merit: Merit | None) -> RebuildReport:
    new, utc = beside(path, _HALF_DONE), stamp().utc
    rebuilt = rebuilt_path(path, utc)
    for suffix in BESIDE:
        beside(new, suffix).unlink(missing_ok=True)
    try:
        with Pages(path) as pages:
            if (pages.form() or 0) > SCHEMA_VERSION:
                raise DataError(f"{path} is damaged, and of form {pages.form()}: the newer fieldedge has to mend it")
            with closing(sqlite3.connect(new, isolation_level=None)) as connection:
                report = _fill(connection, pages, outbox, utc, aside_of(path, rebuilt).name, merit)
        _sync(new)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    new.replace(rebuilt)
    fsync_directory(path.parent)  # from here on the new store is the store
    put_in_place(path)
    for old in set_aside(path)[:-KEPT_ASIDE]:
        forget(old)
    _log.error("%s", report.text())
    return report


def _fill(
    connection: sqlite3.Connection, pages: Pages, outbox: Path, utc: str, aside: str, merit: Merit | None
) -> RebuildReport:
    """Fill the new store, in one transaction, and say what came of it."""
    connection.execute("PRAGMA journal_mode = OFF")  # a half-done file is thrown away
    connection.execute("PRAGMA synchronous = OFF")
    prepare(connection, aside, lambda: utc)
    connection.execute("BEGIN")
    salvage = Salvage(connection, merit)
    for row in rows(pages):
        salvage.take(row)
    salvage.finish(pages.form())
    batches = restore_batches(connection, outbox)
    returned = return_records(connection)
    lost_rows, lost = salvage.lost()
    report = RebuildReport(
        aside, salvage.saved(), lost_rows, lost, salvage.damaged_rows, pages.broken_frames, returned, batches
    )
    form = pages.form()
    if form is not None and 1 < form < SCHEMA_VERSION:
        text = f"the store was brought from form {form} to form {SCHEMA_VERSION} while it was rebuilt"
        note_migration(connection, form, utc, text)
    event = ("rebuilt", report.text(), json.dumps(asdict(report)), None, utc, utc, 1)
    connection.execute(
        "INSERT INTO events (kind, text, body, boot, time_utc, last_utc, times, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*event, seal("events", event)),
    )
    connection.execute("COMMIT")
    return report


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.DatabaseError) as error:
        raise StoreFailed(f"{path} cannot be rebuilt: {error}; check the disk's space and rights") from error
