"""The form in which records travel: one compressed file, named by the SHA-256 of its bytes.

A batch is self-describing JSON, tables as columns and rows, compressed with xz. Packing the same content gives the
same bytes. A float travels with the digits that its column asks for, and exactly where it asks for none. Signing and
sending are in `keys.py` and `uploads.py`.
"""

import hashlib
import json
import lzma
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fieldedge.contract import Contract, Record, Table
from fieldedge.errors import DataError

FORMAT = 1
XZ_PRESET = 6
# A season of one field is some thousand rows and a hundred thousand values.
MAX_UNPACKED_BYTES = 20_000_000
MAX_ROWS = 50_000
MAX_VALUES = 2_000_000
MAX_XZ_BYTES = 64_000_000  # what unpacking itself may take; our own batches need nine
_OTHER_CONTAINERS = 1_000  # tables, their columns, and what a summary nests
_PIECE_BYTES = 262_144
DAY_TABLES = ("readings", "recommendations")


def pack(header: Mapping[str, Any], tables: Mapping[str, Sequence[Record]], contract: Contract) -> bytes:
    """The batch with this header and these records, each table with its contract's columns, empty ones left out."""
    content = {
        "format": FORMAT,
        **header,
        "tables": {name: _as_rows(contract.table(name), rows) for name, rows in tables.items() if rows},
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return lzma.compress(text.encode(), preset=XZ_PRESET)


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
    if (count := sum(len(table.rows) for table in tables.values())) > MAX_ROWS:
        raise DataError(f"the batch has {count} rows; expected at most {MAX_ROWS}")
    return content, tables


def unpack(data: bytes, max_bytes: int = MAX_UNPACKED_BYTES) -> Record:
    """The content of a batch: its header, and `tables` as lists of records.

    Raises:
        DataError: the bytes are not a batch of this format, or hold more than a batch may.
    """
    header, tables = open_batch(data, max_bytes)
    return {**header, "tables": {name: list(table.records()) for name, table in tables.items()}}


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
        return json.loads(text)
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
            values += piece.count(b",")
            containers += piece.count(b"[") + piece.count(b"{")
            if len(text) > max_bytes:
                raise DataError(f"the batch unpacks to more than {max_bytes} bytes")
            if values > MAX_VALUES or containers > MAX_ROWS + _OTHER_CONTAINERS:
                raise DataError(f"the batch has more than {MAX_ROWS} rows or {MAX_VALUES} values, the most that it may")
            piece = b"" if decompressor.eof else decompressor.decompress(b"", max_length=_PIECE_BYTES)
    except (lzma.LZMAError, EOFError) as error:
        raise DataError(f"the batch is not readable xz: {error}") from error
    if not decompressor.eof:
        raise DataError("the batch is cut short")
    return bytes(text)


def _as_rows(table: Table, records: Sequence[Record]) -> Record:
    rows = [[_rounded(record[column.name], column.digits) for column in table.columns] for record in records]
    return {"columns": list(table.column_names), "rows": rows}


def _rounded(value: Any, digits: int | None) -> Any:
    return float(f"{value:.{digits}g}") if digits is not None and isinstance(value, float) else value
