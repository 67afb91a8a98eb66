"""What the pages of a damaged SQLite database still hold, read without SQLite.

SQLite stops at the first broken page, and cannot reach what hangs below it. Here every page is looked at by itself: a
leaf of a table or an index gives the rows that its cells hold, wherever its parents are. Whether a row is true is not
decided here. The write-ahead log counts first, each of its frames by its own checksum. Everything is bounded by what
there is: no number in a page is believed before it fits.

The format: https://www.sqlite.org/fileformat2.html
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fieldedge.storage.schema import APPLICATION, PAGE_BYTES
from fieldedge.system.plain_files import descriptor_of, not_plain, read_own

MAX_PAYLOAD_BYTES = 10_000_000
_LOG_HEADER, _FRAME_HEADER = struct.Struct(">8I"), struct.Struct(">6I")
_LOG_MAGIC, _ORDER = 0x377F0682, "<>"  # the lowest bit says in which order of bytes the checksums were made
_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR = 0x0D, 0x0A, 0x02
_SIZES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}

Value = None | int | float | str | bytes


class Log:
    """SQLite's write-ahead log.

    A frame's checksum goes on from that of the frame before it, as stored there: so each can be judged by itself, also
    behind a broken one, where SQLite reads no further.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.page_bytes = PAGE_BYTES
        count = 0
        if len(data) >= _LOG_HEADER.size:
            magic, _, page_bytes, _, *salts, first, second = _LOG_HEADER.unpack_from(data)
            self.page_bytes = page_bytes if is_page_size(page_bytes) else PAGE_BYTES
            count = (len(data) - _LOG_HEADER.size) // (_FRAME_HEADER.size + self.page_bytes)
        self._frames = np.frombuffer(
            data, np.uint8, count * (_FRAME_HEADER.size + self.page_bytes), _LOG_HEADER.size if count else 0
        ).reshape(count, _FRAME_HEADER.size + self.page_bytes)
        if not count:
            self._pages = self._commits = np.zeros(0, np.int64)
            self._is_ours = self._is_whole = np.zeros(0, bool)
            self._is_headed = True
            return
        heads = self._frames[:, : _FRAME_HEADER.size].copy().view(">u4").astype(np.uint32)
        self._pages, self._commits = heads[:, 0].astype(np.int64), heads[:, 1].astype(np.int64)
        seeds = np.vstack([np.array([[first, second]], np.uint32), heads[:-1, 4:6]])
        self._is_headed = magic & ~1 == _LOG_MAGIC and _header_sums(data, magic) == (first, second)
        self._is_ours = (heads[:, 2:4] == (salts if self._is_headed else _commonest(heads[:, 2:4]))).all(axis=1)
        self._is_whole = np.zeros(count, bool)
        for order in "<>" if not self._is_headed else _ORDER[magic & 1]:
            sums = _checksums(self._words(order), seeds)
            self._is_whole |= self._is_ours & (sums == heads[:, 4:6]).all(axis=1)

    def _words(self, order: str) -> NDArray[np.uint32]:
        """What a frame's checksum is over: the first eight bytes of its header, and its page."""
        covered = np.concatenate([self._frames[:, :8], self._frames[:, _FRAME_HEADER.size :]], axis=1)
        return covered.view(f"{order}u4").astype(np.uint32, copy=False)

    def is_damaged(self) -> bool:
        """Whether SQLite would leave out something that was synced.

        The last transaction may be torn: a power cut does that, and nobody was told that it was stored. But one is
        begun only when the one before is on disk: whole frames after the end of a broken one mean damage.
        """
        if not self._is_headed:
            return bool(self._is_whole.any())
        broken = np.flatnonzero(~self._is_whole)
        if not len(broken):
            return False
        ends = np.flatnonzero((self._commits > 0) & (np.arange(len(self._commits)) >= broken[0]) & self._is_ours)
        return bool(len(ends) and self._is_whole[ends[0] + 1 :].any())

    def committed(self) -> tuple[dict[int, int], int | None]:
        """Where in the log each page stands last, and how many pages the database had then; None without a commit."""
        ends = np.flatnonzero(self._is_whole & (self._commits > 0))
        if not len(ends):
            return {}, None
        numbers = np.flatnonzero(self._is_whole[: ends[-1] + 1])
        step = _FRAME_HEADER.size + self.page_bytes
        places = {int(self._pages[at]): _LOG_HEADER.size + int(at) * step + _FRAME_HEADER.size for at in numbers}
        return places, int(self._commits[ends[-1]])

    def broken_frames(self) -> int:
        """How many frames of this log, up to its last commit, are not as they were written."""
        ends = np.flatnonzero(self._is_whole & (self._commits > 0))
        return int((~self._is_whole[: ends[-1] + 1]).sum()) if len(ends) else 0


def is_page_size(size: int) -> bool:
    """Whether SQLite has pages of that size."""
    return 512 <= size <= 65536 and size & (size - 1) == 0


def _header_sums(data: bytes, magic: int) -> tuple[int, int]:
    words = np.frombuffer(data[:24], f"{_ORDER[magic & 1]}u4").astype(np.uint32)
    first, second = _checksums(words[np.newaxis], np.zeros((1, 2), np.uint32))[0]
    return int(first), int(second)


def _commonest(salts: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The salts that most frames carry: those of the log, where its header cannot say them."""
    values, counts = np.unique(salts, axis=0, return_counts=True)
    found: NDArray[np.uint32] = values[counts.argmax()]
    return found


def _checksums(words: NDArray[np.uint32], seeds: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """SQLite's checksum of each row (F, 2N) from its seed (F, 2), modulo 2^32.

    With v = (s0, s1) and a pair x = (a, b), each step is v' = A v + B x: after N pairs A^N v + sum A^(N-1-i) B x_i.
    """
    step, pair = np.array([[1, 1], [1, 2]], np.uint32), np.array([[1, 0], [1, 1]], np.uint32)
    count = words.shape[1] // 2
    weights = np.zeros((2 * count, 2), np.uint32)
    power = np.eye(2, dtype=np.uint32)
    for at in range(count - 1, -1, -1):
        weights[2 * at : 2 * at + 2] = (power @ pair).T
        power = power @ step
    sums: NDArray[np.uint32] = words @ weights + seeds @ power.T
    return sums


class Pages:
    """The pages of a database as its last transaction left them: from its log first, else from its file."""

    def __init__(self, path: Path) -> None:
        log = path.with_name(path.name + "-wal")
        self._log = read_own(log, log.stat().st_size) if _is_file(log) else b""
        frames = Log(self._log)
        self._places, count = frames.committed()
        self.broken_frames = frames.broken_frames()
        self._file = os.fdopen(descriptor_of(path, os.O_RDONLY), "rb") if _is_file(path) else None
        size = 0 if self._file is None else os.fstat(self._file.fileno()).st_size
        header = self._read(0, 100)
        stated = int.from_bytes(header[16:18], "big")
        stated = 65536 if stated == 1 else stated
        is_header_sound = header.startswith(b"SQLite format 3\x00") and is_page_size(stated)
        self.page_bytes = frames.page_bytes if self._places or not is_header_sound else stated
        in_file = -(-size // self.page_bytes)
        named = int.from_bytes(header[28:32], "big")
        is_count_valid = is_header_sound and header[24:28] == header[92:96] and 0 < named <= in_file
        self.count = count if count is not None else named if is_count_valid else in_file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def page(self, number: int) -> bytes | None:
        """One page, from 1 on; None where the disk does not give it."""
        place = self._places.get(number)
        if place is not None:
            return self._log[place : place + self.page_bytes]
        data = self._read((number - 1) * self.page_bytes, self.page_bytes)
        return data if len(data) == self.page_bytes else None

    def form(self) -> int | None:
        """The form of the store, if its first page says one that there can be."""
        first = self.page(1)
        if first is None or not first.startswith(b"SQLite format 3\x00"):
            return None
        form, application = int.from_bytes(first[60:64], "big"), int.from_bytes(first[68:72], "big")
        return form if application == APPLICATION + form or (form, application) == (1, 0) else None

    def _read(self, offset: int, size: int) -> bytes:
        if self._file is None:
            return b""
        try:
            self._file.seek(offset)
            return self._file.read(size)
        except OSError:
            return b""


def _is_file(path: Path) -> bool:
    return path.exists() and not not_plain(path)


class Row(NamedTuple):
    """What one cell holds. `rowid` is None in an index. `values` is None where the cell is broken."""

    page: int
    rowid: int | None
    values: tuple[Value, ...] | None


def rows(pages: Pages) -> Iterator[Row]:
    """Every cell of every leaf of a table, and of every page of an index, in the order of the file."""
    for number in range(1, pages.count + 1):
        page = pages.page(number)
        if page is not None:
            yield from page_rows(pages, number, page)


def page_rows(pages: Pages, number: int, page: bytes) -> Iterator[Row]:
    """The cells of one page."""
    at = 100 if number == 1 else 0
    kind = page[at]
    if kind not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR):
        return
    first = at + (12 if kind == _INDEX_INTERIOR else 8)
    count = int.from_bytes(page[at + 3 : at + 5], "big")
    count = min(count, (len(page) - first) // 2)
    for cell in range(count):
        place = int.from_bytes(page[first + 2 * cell : first + 2 * cell + 2], "big")
        try:
            yield _row(pages, number, page, kind, place)
        except (ValueError, IndexError, struct.error):
            yield Row(number, 0 if kind == _TABLE_LEAF else None, None)


def payload_pages(pages: Pages, number: int) -> list[list[int]]:
    """For each cell of a page, the overflow pages that it goes on in."""
    page = pages.page(number)
    found: list[list[int]] = []
    if page is not None and page[100 if number == 1 else 0] == _TABLE_LEAF:
        at = 100 if number == 1 else 0
        for cell in range(int.from_bytes(page[at + 3 : at + 5], "big")):
            place = int.from_bytes(page[at + 8 + 2 * cell : at + 10 + 2 * cell], "big")
            size, place = _varint(page, place)
            _, place = _varint(page, place)
            found.append(_payload(pages, page, place, size, _TABLE_LEAF)[1])
    return found


def _row(pages: Pages, number: int, page: bytes, kind: int, place: int) -> Row:
    rowid = None
    if kind == _INDEX_INTERIOR:
        place += 4
    size, place = _varint(page, place)
    if kind == _TABLE_LEAF:
        rowid, place = _varint(page, place)
    payload, _ = _payload(pages, page, place, size, kind)
    return Row(number, rowid, _values(payload))


def _payload(pages: Pages, page: bytes, place: int, size: int, kind: int) -> tuple[bytes, list[int]]:
    if not 0 < size <= MAX_PAYLOAD_BYTES:
        raise ValueError("a cell of no possible size")
    usable = pages.page_bytes
    least = (usable - 12) * 32 // 255 - 23
    most = usable - 35 if kind == _TABLE_LEAF else (usable - 12) * 64 // 255 - 23
    local = size
    if size > most:
        local = least + (size - least) % (usable - 4)
        local = local if local <= most else least
    payload = page[place : place + local]
    if len(payload) < local:
        raise ValueError("a cell beyond its page")
    parts, left, through = [payload], size - local, list[int]()
    following = int.from_bytes(page[place + local : place + local + 4], "big")
    while left > 0:
        more = pages.page(following) if 1 < following <= pages.count else None
        if more is None:
            raise ValueError("a cell whose rest is missing")
        through.append(following)
        part = more[4 : 4 + left]
        parts.append(part)
        left -= len(part)
        following = int.from_bytes(more[:4], "big")
    return b"".join(parts), through


def _values(payload: bytes) -> tuple[Value, ...]:
    """The columns of a record.

    Raises:
        ValueError: the payload is not exactly one.
    """
    end, at = _varint(payload, 0)
    if end > len(payload):
        raise ValueError("a header longer than its record")
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if at != end:
        raise ValueError("a header that does not end where it says")
    values: list[Value] = []
    for kind in kinds:
        size = _SIZES.get(kind, (kind - 12) // 2)
        data = payload[at : at + size]
        if size < 0 or len(data) < size:
            raise ValueError("a column of no possible size")
        values.append(_value(kind, data))
        at += size
    if at != len(payload):
        raise ValueError("a record longer than its columns")
    return tuple(values)


def _value(kind: int, data: bytes) -> Value:
    if kind == 0:
        return None
    if kind in (8, 9):
        return kind - 8
    if kind <= 6:
        return int.from_bytes(data, "big", signed=True)
    if kind == 7:
        value: float = struct.unpack(">d", data)[0]
        return value
    if kind in (10, 11):
        raise ValueError("a column of a kind that there is not")
    return data.decode() if kind & 1 else data


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for _ in range(8):
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    value = value << 8 | data[at]
    return (value - (1 << 64) if value >= 1 << 63 else value), at + 1
