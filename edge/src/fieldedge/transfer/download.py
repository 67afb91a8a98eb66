"""A file that comes in parts, over a link that breaks and through power cuts: what came once is not fetched again.

It lies under its SHA-256 until it is whole, and is read by nobody before it was verified as a whole. Every
`RANGE_BYTES` it is synced, so that a power cut costs no more than the range that was coming: whoever resumes goes back
to where the last synced range ends for certain. How many bytes may come is known from the signed metadata, and how long
it may take is the fetcher's to say; a server that is too slow is left, and what it sent is kept for the next time.
"""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from tuf.api.exceptions import DownloadError, DownloadLengthMismatchError

from fieldedge.system.plain_files import not_plain

RANGE_BYTES = 16_384
WORTH_TRYING_AGAIN_BYTES = 4 * RANGE_BYTES  # who sent less before it broke off is left until the next update
SUFFIX = ".part"

_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)")


class Ranged(Protocol):
    """Something that can be asked for the rest of a file."""

    def fetch_from(self, url: str, offset: int) -> AbstractContextManager[tuple[int, Iterator[bytes]]]:
        """From where on the bytes come, 0 or `offset`, and the bytes.

        Raises:
            DownloadError: nothing comes, or it broke off; also while the bytes are read.
        """


def fetch(fetcher: Ranged, url: str, part: Path, length: int) -> bool:
    """Bring the file at `part` to its length; whether some of it was there before.

    Raises:
        DownloadError: it broke off, or took too long. What came is kept.
        DownloadLengthMismatchError: more came than there may be. Nothing is kept.
    """
    had = began_at = _certain_bytes(part, length)
    if not length:
        part.touch()
    while had < length:
        before = had
        try:
            had = _fetch_on(fetcher, url, part, had, length)
        except DownloadLengthMismatchError:
            part.unlink(missing_ok=True)
            raise
        except DownloadError:
            had = part.stat().st_size if part.exists() else 0
            if had - before < WORTH_TRYING_AGAIN_BYTES:
                raise
        else:
            if had == before:
                raise DownloadError(f"{url} ended after {had} of {length} bytes")
    return began_at > 0


def can_go_on(part: Path) -> bool:
    """Whether enough of a file is there that the next download begins behind it."""
    return not part.is_symlink() and part.is_file() and part.stat().st_size > RANGE_BYTES


def first_byte(content_range: str | None) -> int | None:
    """Where the part that an answer holds begins, by its header Content-Range; None where that is none."""
    found = _CONTENT_RANGE.fullmatch(content_range or "")
    return None if found is None else int(found[1])


def _certain_bytes(part: Path, length: int) -> int:
    """How much of the file was certainly synced; what lies there and is no part of it is removed."""
    if not_plain(part, follows=False) or not part.exists():
        part.unlink(missing_ok=True)
        return 0
    size = part.stat().st_size
    if size == length:
        return length  # it is verified as a whole, and fetched anew where that fails
    return max((min(size, length) - 1) // RANGE_BYTES * RANGE_BYTES, 0)


def _fetch_on(fetcher: Ranged, url: str, part: Path, had: int, length: int) -> int:
    """Write on from `had`, or from the beginning where the server knows no ranges; how much there is then."""
    with fetcher.fetch_from(url, had) as (start, chunks):
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.truncate(start)
            file.seek(start)
            at = start
            for chunk in chunks:
                if at + len(chunk) > length:
                    raise DownloadLengthMismatchError(f"{url} sends more than the {length} bytes that are signed for")
                at = _append(file.fileno(), at, chunk)
    return at


def _append(descriptor: int, at: int, data: bytes) -> int:
    """Write on, syncing where a range ends before anything of the next one is written; how much there is then."""
    left = memoryview(data)
    while left:
        if at and at % RANGE_BYTES == 0:
            os.fsync(descriptor)
        written = os.write(descriptor, left[: RANGE_BYTES - at % RANGE_BYTES])
        at, left = at + written, left[written:]
    return at
