"""The form in which records travel: one compressed file, named by the SHA-256 of its bytes.

A batch is self-describing JSON, tables as columns and rows, compressed with xz. Packing the same content gives the
same bytes. A float travels with the digits that its column asks for, and exactly where it asks for none. One set of
bounds holds for both ends: what `pack` makes, the gateway takes and `unpack` opens. Signing and sending are in
`keys.py` and `uploads.py`.
"""

import hashlib
import json
import lzma
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fieldedge.contract import Contract, Record, Table
from fieldedge.system import strict_json
from fieldedge.system.errors import DataError
from fieldedge.system.stored_names import PERIOD

FORMAT = 1
PERIOD_KEY = PERIOD  # what headers, reports and the stick's files have called an episode since the first
XZ_PRESET = 6
# An episode of one unit is some thousand rows and a hundred thousand values.
MAX_PACKED_BYTES = 5_000_000
MAX_UNPACKED_BYTES = 20_000_000
MAX_ROWS = 50_000
MAX_VALUES = 2_000_000
MAX_XZ_BYTES = 64_000_000  # what unpacking itself may take; our own batches need nine
MAX_DEPTH = 50  # far from what a reader's stack allows
_OTHER_CONTAINERS = 1_000  # tables, their columns, and what a summary nests
_PIECE_BYTES = 262_144


def pack(header: Mapping[str, Any], tables: Mapping[str, Sequence[Record]], contract: Contract) -> bytes:
    """The batch with this header and these records, each table with its contract's columns, empty ones left out.

    Raises:
        DataError: it would be over the bounds, or something in it cannot travel: the other end would never take it.
    """
    content = {
        "format": FORMAT,
        **header,
        "tables": {name: _as_rows(contract.table(name), rows) for name, rows in tables.items() if rows},
    }
    if _is_deep(header, MAX_DEPTH):
        raise DataError(f"the batch's header is nested more than {MAX_DEPTH} levels deep; expected a flat one")
    try:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as error:
        raise DataError(f"a value of the batch cannot be written as JSON: {error}") from error
    _check_bounds(len(text), *_counted(text), MAX_UNPACKED_BYTES)
    _check_rows(sum(len(rows) for rows in tables.values()))
    data = lzma.compress(text, preset=XZ_PRESET)
    _check_packed(data)
    return data


def check_batch(data: bytes) -> None:
    """See that the other end can take a batch.

    Raises:
        DataError: it cannot.
    """
    _check_packed(data)
    open_batch(data)


@dataclass(frozen=True)
class Rows:
    """A table as it travels: the columns' names, and per row its values in that order."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]

    def column(self, name: str) -> list[Any]:
        """One column's values, of whatever type the sender gave them.

        Raises:
            ValueError: there is no such column.
        """
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def records(self) -> Iterator[Record]:
        """The rows as records, made one at a time."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)


def open_batch(data: bytes, max_bytes: int = MAX_UNPACKED_BYTES) -> tuple[Record, dict[str, Rows]]:
    """The header of a batch, and its tables as they travel. What the values are is not judged.

    It takes memory in proportion to the limits, whatever the sender packed: the content is counted while it is
    unpacked, before anything is made of it.

    Raises:
        DataError: the bytes are not a batch of this format, or hold more than a batch may.
    """
    content = _decompressed_json(data, max_bytes)
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("tables"), dict):
        raise DataError(f"the content is not a batch of format {FORMAT}")
    tables = {name: _rows(name, table) for name, table in content.pop("tables").items()}
    _check_rows(sum(len(table.rows) for table in tables.values()))
    return content, tables


def unpack(data: bytes, max_bytes: int = MAX_UNPACKED_BYTES) -> Record:
    """The content of a batch: its header, and `tables` as lists of records.

    Raises:
        DataError: the bytes are not a batch of this format, or hold more than a batch may.
    """
    header, tables = open_batch(data, max_bytes)
    return {**header, "tables": {name: list(table.records()) for name, table in tables.items()}}


def as_header(episode: str | None) -> int | str | None:
    """A store's episode as headers and reports say it: a number where its text is that of one, such as a year's."""
    return int(episode) if episode is not None and episode.isdecimal() and str(int(episode)) == episode else episode


def batch_id(data: bytes) -> str:
    """The name of a batch: SHA-256 of its bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def _rows(name: str, table: Any) -> Rows:
    columns, rows = (table.get("columns"), table.get("rows")) if isinstance(table, dict) else (None, None)
    if not isinstance(columns, list) or not isinstance(rows, list):
        raise DataError(f"the batch holds a broken table {name!r:.80}: expected its columns and rows as lists")
    if not all(isinstance(column, str) for column in columns) or len(set(columns)) != len(columns):
        raise DataError(f"the batch holds a broken table {name!r:.80}: expected its columns as names, each once")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            raise DataError(f"the batch holds a broken table {name!r:.80}: row {number} has not {len(columns)} values")
    return Rows(tuple(columns), rows)


def _decompressed_json(data: bytes, max_bytes: int) -> Any:
    text = _decompressed(data, max_bytes)
    try:
        return strict_json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the batch is not readable JSON: {error}") from error


def _decompressed(data: bytes, max_bytes: int) -> bytes:
    """The content, unpacked piece by piece and counted on the way: brackets and commas say what JSON will take."""
    text = bytearray()
    values = containers = 0
    try:
        decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MAX_XZ_BYTES)
        piece = decompressor.decompress(data, max_length=_PIECE_BYTES)
        while piece:
            text += piece
            more_values, more_containers = _counted(piece)
            values, containers = values + more_values, containers + more_containers
            _check_bounds(len(text), values, containers, max_bytes)
            piece = b"" if decompressor.eof else decompressor.decompress(b"", max_length=_PIECE_BYTES)
    except (lzma.LZMAError, EOFError) as error:
        raise DataError(f"the batch is not readable xz: {error}") from error
    if not decompressor.eof:
        raise DataError("the batch is cut short")
    return bytes(text)


def _counted(text: bytes) -> tuple[int, int]:
    """What JSON can make of a text, at most: so many values, and so many lists and objects."""
    return text.count(b","), text.count(b"[") + text.count(b"{")


def _check_bounds(size_bytes: int, values: int, containers: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise DataError(f"the batch unpacks to more than {max_bytes} bytes")
    if values > MAX_VALUES or containers > MAX_ROWS + _OTHER_CONTAINERS:
        raise DataError(f"the batch has more than {MAX_ROWS} rows or {MAX_VALUES} values, the most that it may")


def _check_rows(count: int) -> None:
    if count > MAX_ROWS:
        raise DataError(f"the batch has {count} rows; expected at most {MAX_ROWS}")


def _check_packed(data: bytes) -> None:
    if len(data) > MAX_PACKED_BYTES:
        raise DataError(f"the batch has {len(data)} bytes; expected at most {MAX_PACKED_BYTES}")


def _as_rows(table: Table, records: Sequence[Record]) -> Record:
    return {"columns": list(table.column_names), "rows": [_as_row(table, record) for record in records]}


def _as_row(table: Table, record: Record) -> list[Any]:
    try:
        row = [_rounded(record[column.name], column.digits) for column in table.columns]
    except KeyError as error:
        raise DataError(f"{table.name}: {_named(record)} has no {error}; expected the contract's columns") from None
    if any(isinstance(value, list | dict) and _is_deep(value, MAX_DEPTH) for value in row):
        raise DataError(f"{table.name}: {_named(record)} holds a value nested more than {MAX_DEPTH} levels deep")
    return row


def _is_deep(value: Any, levels: int) -> bool:
    if not isinstance(value, Mapping | list | tuple):
        return False
    inner = value.values() if isinstance(value, Mapping) else value
    return levels == 0 or any(_is_deep(one, levels - 1) for one in inner)


def _named(record: Record) -> str:
    return f"the record {record.get('record_id', 'without an identity')!r:.80}"


def _rounded(value: Any, digits: int | None) -> Any:
    if digits is None or not isinstance(value, float):
        return value
    rounded = float(f"{value:.{digits}g}")
    return rounded if math.isfinite(rounded) else value  # the largest floats round up to none
