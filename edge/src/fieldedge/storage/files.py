"""The files of one store: the database, what SQLite keeps beside it, its lock, and what was set aside.

Whoever has a store open holds its lock shared; whoever looks at its files by hand holds it alone. So nobody reads a
database file while SQLite has it open: closing it would free SQLite's own locks in that process. A rebuilt store takes
the place of a damaged one in steps that the next start finishes. What pages hold is `sqlite_pages.py`'s matter.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from fieldedge.system.durable import fsync_directory
from fieldedge.system.errors import StoreBusy, StoreDamaged, StoreFailed
from fieldedge.system.plain_files import NotPlainError, descriptor_of, not_plain, open_own, read_own

BESIDE = ("", "-journal", "-wal", "-shm")
_RETRY_S = 0.01
_DAMAGED, _REBUILT = ".damaged-", ".rebuilt-"

# SQLite's file format 1.3: what never changes in a store of ours, by its offset in the first page.
_MAGIC = b"SQLite format 3\x00"
_CONSTANTS = ((20, b"\x00\x40\x20\x20"), (44, b"\x00\x00\x00\x04"), (56, b"\x00\x00\x00\x01"))
_HEADER_BYTES = 100


class StoreLock:
    """The lock of one store, for this holder alone: two of one process keep each other out as well."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lock = beside(path, "-lock")
        try:
            self._descriptor = descriptor_of(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except NotPlainError as error:
            raise StoreFailed(f"{lock} {error.strerror}: remove it") from error
        except OSError:
            self._descriptor = descriptor_of(lock, os.O_RDONLY)  # a disk that is read-only now can be locked too

    def try_alone(self) -> bool:
        """Take the store for this holder alone, if nobody has it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def alone(self, timeout_s: float) -> None:
        """Take the store for this holder alone.

        Raises:
            StoreBusy: somebody has it open all that time.
        """
        self._take(fcntl.LOCK_EX, timeout_s)

    def share(self, timeout_s: float) -> None:
        """Take the store together with others.

        Raises:
            StoreBusy: it is being rebuilt all that time.
        """
        self._take(fcntl.LOCK_SH, timeout_s)

    def free(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _take(self, kind: int, timeout_s: float) -> None:
        end_s = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end_s:
                    raise StoreBusy(f"{self._path} is in use by another process; try again") from None
                time.sleep(_RETRY_S)
            else:
                return


def beside(path: Path, suffix: str) -> Path:
    """The file of that suffix beside a database."""
    return path.with_name(path.name + suffix)


def make_private(path: Path) -> None:
    """Its user's alone: the database, which gives what SQLite keeps beside it its mode. For who holds the lock alone.

    Where the disk does not let that be, opening the store says so, or works all the same.
    """
    with suppress(OSError):
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        for file in (beside(path, suffix) for suffix in (*BESIDE, "-lock")):
            if file.exists() and file.stat().st_mode & 0o077:
                file.chmod(0o600)


def check_files(path: Path) -> None:
    """Look for damage that SQLite would not see, or take for something else. For who holds the lock alone.

    Raises:
        StoreDamaged: one of its files is none, or the database's first bytes or its log are not as they were written.
    """
    for file in (beside(path, suffix) for suffix in BESIDE):
        if found := not_plain(file):  # SQLite would wait for what a pipe brings
            raise StoreDamaged(f"{file} is {found}; expected a plain file")
    journal = beside(path, "-journal")
    if journal.exists() and journal.stat().st_size:
        return  # the power went while the store was being made: SQLite undoes that before anybody reads it
    size = path.stat().st_size if path.exists() else 0
    log = beside(path, "-wal")
    log_bytes = log.stat().st_size if log.exists() else 0
    if size == 0:
        if log_bytes:
            raise StoreDamaged(f"{path} is damaged: it is empty, and its log is not")
        return
    with open_own(path) as database:
        header = database.read(_HEADER_BYTES)
    versions = header[18:20]
    if not header.startswith(_MAGIC) or versions not in (b"\x01\x01", b"\x02\x02") or len(header) < _HEADER_BYTES:
        raise StoreDamaged(f"{path} is damaged: it does not begin as a database does")
    if any(header[at : at + len(value)] != value for at, value in _CONSTANTS if header[44:48] != bytes(4)):
        raise StoreDamaged(f"{path} is damaged: its header is not as it was written")
    if log_bytes:
        from fieldedge.storage.recovery.sqlite_pages import Log

        if Log(read_own(log, log_bytes)).is_damaged():
            raise StoreDamaged(f"{log} is damaged: what was stored last would be lost")


def rebuilt_path(path: Path, utc: str) -> Path:
    """Where a rebuilt store waits for the place of a damaged one; its name says under which the latter is set aside."""
    stem = utc.replace("-", "").replace(":", "")
    taken = {name.removeprefix(path.name + _DAMAGED) for name in _names(path, _DAMAGED)}
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return beside(path, _REBUILT + name)


def aside_of(path: Path, rebuilt: Path) -> Path:
    """Where the damaged store goes whose place a rebuilt one takes."""
    return beside(path, _DAMAGED + rebuilt.name.removeprefix(path.name + _REBUILT))


def put_in_place(path: Path) -> Path | None:
    """Let a rebuilt store that waits take its place; where the damaged one is now. For who holds the lock alone.

    Each step may be the last before a power cut: the next call goes on from there.
    """
    waiting = sorted(_names(path, _REBUILT))
    if not waiting:
        return None
    rebuilt = path.with_name(waiting[-1])
    aside = aside_of(path, rebuilt)
    for suffix in BESIDE:
        file = beside(path, suffix)
        if os.path.lexists(file):
            file.replace(beside(aside, suffix))
    fsync_directory(path.parent)  # the old log must be gone for good before the new database stands there
    rebuilt.replace(path)
    for leftover in waiting[:-1]:
        path.with_name(leftover).unlink(missing_ok=True)
    fsync_directory(path.parent)
    return aside


def set_aside(path: Path) -> list[Path]:
    """The damaged stores that were set aside here, oldest first."""
    found = [path.with_name(name) for name in _names(path, _DAMAGED)]
    databases = [file for file in found if not file.name.endswith(BESIDE[1:])]
    return sorted(databases, key=lambda file: (file.stat().st_mtime, file.name))


def forget(aside: Path) -> int:
    """Delete a store that was set aside; the bytes that it took. A folder that lay in a file's place stays."""
    size = 0
    for suffix in BESIDE:
        file = beside(aside, suffix)
        if os.path.lexists(file) and not_plain(file, follows=False) != "a folder":
            size += file.lstat().st_size
            file.unlink()
    return size


def _names(path: Path, infix: str) -> list[str]:
    return [file.name for file in path.parent.iterdir() if file.name.startswith(path.name + infix)]
