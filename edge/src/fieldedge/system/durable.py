"""Files that survive a power cut.

A file written here is either wholly the old one or wholly the new one: temporary file, fsync, rename, fsync of the
directory. Callers choose the names; locking is in `locks.py`.
"""

import errno
import os
import re
import secrets
import shutil
from pathlib import Path

from fieldedge.system.plain_files import NotPlainError

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def write_durably(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put `data` at `path` atomically and wait until the disk has it.

    Raises:
        NotPlainError: a folder is there.
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except IsADirectoryError:
        temporary.unlink(missing_ok=True)
        raise NotPlainError(errno.EISDIR, "is a folder; expected a plain file: remove it", str(path)) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


def fsync_directory(path: Path) -> None:
    """Wait until the disk has the directory's entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def empty_folder(path: Path) -> None:
    """An empty folder at `path`, in place of whatever is there."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)


def sweep_temporaries(directory: Path, name: str = "") -> list[Path]:
    """Delete the temporary files that a killed process left in a directory; those that went.

    For who may write there alone, under the lock of its job: another process's file may be in the making. With a
    `name` only those that were to become the file of that name.
    """
    if not directory.is_dir():
        return []
    found = (path for path in directory.iterdir() if _TEMPORARY.fullmatch(path.name) and path.is_file())
    left = sorted(path for path in found if not name or path.name.startswith(f".{name}."))
    for path in left:
        path.unlink(missing_ok=True)
    return left
