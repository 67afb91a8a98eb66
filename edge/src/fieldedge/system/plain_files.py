"""Files that others may have put there, read without waiting: a plain file, or an error.

What lies where a file is expected may be a folder, a link that leads elsewhere or in a circle, or a pipe, on which
reading waits for ever. Nothing here blocks and no link is followed. Writing is `durable.py`'s.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fieldedge.system.errors import PermanentError


class NotPlainError(PermanentError, OSError):
    """What lies there is no plain file, or a larger one than is taken."""


@contextmanager
def open_plain(path: Path) -> Iterator[BinaryIO]:
    """The file at `path`, to be read from within a `with` block.

    Raises:
        NotPlainError: it is a folder, a link, a pipe or the like.
        OSError: it is not there, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise NotPlainError(error.errno, "is a link or a socket; expected a plain file", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotPlainError(errno.EINVAL, "is a folder, a pipe or the like; expected a plain file", str(path))
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        yield file


def read_plain(path: Path, max_bytes: int) -> bytes:
    """The content of the file at `path`.

    Raises:
        NotPlainError: it is no plain file, or has more than `max_bytes`.
        OSError: it is not there, or cannot be read.
    """
    with open_plain(path) as file:
        content = _read(file, max_bytes + 1)
    if len(content) > max_bytes:
        raise NotPlainError(errno.EFBIG, f"has more than {max_bytes} bytes, which is the most that is taken", str(path))
    return content


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


def _read(file: BinaryIO, size: int) -> bytes:
    content = bytearray()
    while len(content) < size and (chunk := file.read(size - len(content))):
        content += chunk
    return bytes(content)
