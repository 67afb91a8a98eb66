"""Files read without waiting: a plain file of a bounded size, or an error. Every read of the device goes through here.

What lies where a file is expected may be a folder, a device, a link that leads elsewhere or in a circle, or a pipe, on
which reading waits for ever. Nothing here blocks, and no more is read than is asked for. What others may have put there
(a stick, a loggers' folder) is `plain`: no link is followed. What is the device's `own`, or named by a person, may be a
link to a plain file. Writing is `durable.py`'s.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fieldedge.system.errors import PermanentError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a link",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_EXPECTED = "expected a plain file"
_PIECE_BYTES = 262_144  # what is read at once: room is made for all of it before anything comes
_REFUSED = (errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR)  # a link, a socket, a device that is not there


class NotPlainError(PermanentError, OSError):
    """What lies there is no plain file, or a larger one than is taken."""


@contextmanager
def open_plain(path: Path) -> Iterator[BinaryIO]:
    """The file at `path`, to be read from within a `with` block.

    Raises:
        NotPlainError: it is a folder, a link, a pipe or the like.
        OSError: it is not there, or cannot be read.
    """
    with os.fdopen(descriptor_of(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0) as file:
        yield file


@contextmanager
def open_own(path: Path) -> Iterator[BinaryIO]:
    """As `open_plain`, through links too."""
    with os.fdopen(descriptor_of(path, os.O_RDONLY), "rb", buffering=0) as file:
        yield file


def descriptor_of(path: Path, flags: int, mode: int = 0o666) -> int:
    """A plain file, opened with these flags and without waiting.

    Raises:
        NotPlainError: it is a folder, a pipe or the like; a link only where the flags follow none.
        OSError: it is not there, or cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno in _REFUSED and (found := not_plain(path, follows=not flags & os.O_NOFOLLOW)):
            raise NotPlainError(error.errno, f"is {found}; {_EXPECTED}", str(path)) from None
        raise
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise NotPlainError(errno.EINVAL, f"is {_KINDS.get(kind, 'no file')}; {_EXPECTED}", str(path))
    return descriptor


def not_plain(path: Path, *, follows: bool = True) -> str:
    """What lies there instead of a plain file, in words; nothing where it is one, or nothing is there.

    A link counts as what it leads to if it `follows` links. Nothing is opened.
    """
    try:
        kind = stat.S_IFMT(path.stat(follow_symlinks=follows).st_mode)
    except OSError as error:
        return "a link in a circle" if error.errno == errno.ELOOP else ""
    return "" if kind == stat.S_IFREG else _KINDS.get(kind, "no file")


def read_plain(path: Path, max_bytes: int) -> bytes:
    """The content of the file at `path`.

    Raises:
        NotPlainError: it is no plain file, or has more than `max_bytes`.
        OSError: it is not there, or cannot be read.
    """
    with open_plain(path) as file:
        return _bounded(file, path, max_bytes)


def read_own(path: Path, max_bytes: int) -> bytes:
    """As `read_plain`, through links too."""
    with open_own(path) as file:
        return _bounded(file, path, max_bytes)


def holds(path: Path, data: bytes) -> bool:
    """Whether the disk itself, not the memory in front of it, has a plain file of exactly these bytes there.

    Raises:
        OSError: a plain file that is there cannot be read.
    """
    try:
        with open_plain(path) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return _read(file, len(data) + 1) == data
    except (FileNotFoundError, NotPlainError):
        return False


def digest(path: Path) -> str:
    """The SHA-256 of the plain file that the disk itself has there, read in pieces.

    Raises:
        NotPlainError: it is no plain file.
        OSError: it is not there, or cannot be read.
    """
    found = hashlib.sha256()
    with open_plain(path) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while piece := file.read(_PIECE_BYTES):
            found.update(piece)
    return found.hexdigest()


def _bounded(file: BinaryIO, path: Path, max_bytes: int) -> bytes:
    content = _read(file, max_bytes + 1)
    if len(content) > max_bytes:
        raise NotPlainError(errno.EFBIG, f"has more than {max_bytes} bytes, which is the most that is taken", str(path))
    return content


def _read(file: BinaryIO, size: int) -> bytes:
    content = bytearray()
    while len(content) < size and (chunk := file.read(min(size - len(content), _PIECE_BYTES))):
        content += chunk
    return bytes(content)
