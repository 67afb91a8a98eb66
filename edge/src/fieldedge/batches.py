"""The form in which records travel: one compressed file, named by the SHA-256 of its bytes.

A batch is self-describing JSON, tables as columns and rows, compressed with xz. Packing the same content gives the
same bytes. Signing and sending are in `keys.py` and `uploads.py`.
"""

import hashlib
import json
import lzma
from collections.abc import Mapping, Sequence
from typing import Any

from fieldedge.contract import Contract, Record, Table
from fieldedge.errors import DataError

FORMAT = 1
XZ_PRESET = 6
MAX_UNPACKED_BYTES = 50_000_000
DAY_TABLES = ("readings", "recommendations")
DAY_DIGITS = 4  # significant; finer than any sensor here
OUTCOME_DIGITS = 6


def pack(header: Mapping[str, Any], tables: Mapping[str, Sequence[Record]], contract: Contract) -> bytes:
    """The batch with this header and these records, each table with its contract's columns, empty ones left out."""
    content = {
        "format": FORMAT,
        **header,
        "tables": {name: _as_rows(contract.table(name), rows) for name, rows in tables.items() if rows},
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return lzma.compress(text.encode(), preset=XZ_PRESET)


def unpack(data: bytes, max_bytes: int = MAX_UNPACKED_BYTES) -> Record:
    """The content of a batch: its header, and `tables` as lists of records.

    Raises:
        DataError: the bytes are not a batch of this format, or unpack to more than `max_bytes`.
    """
    content = _decompressed_json(data, max_bytes)
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("tables"), dict):
        raise DataError(f"the content is not a batch of format {FORMAT}")
    try:
        tables = {
            name: [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
            for name, table in content["tables"].items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the batch holds a broken table: {error!r}") from error
    return {**content, "tables": tables}


def batch_id(data: bytes) -> str:
    """The name of a batch: SHA-256 of its bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def _decompressed_json(data: bytes, max_bytes: int) -> Any:
    decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        text = decompressor.decompress(data, max_length=max_bytes + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise DataError(f"the batch is not readable xz: {error}") from error
    if len(text) > max_bytes:
        raise DataError(f"the batch unpacks to more than {max_bytes} bytes")
    if not decompressor.eof:
        raise DataError("the batch is cut short")
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"the batch is not readable JSON: {error}") from error


def _as_rows(table: Table, records: Sequence[Record]) -> Record:
    digits = DAY_DIGITS if table.name in DAY_TABLES else OUTCOME_DIGITS
    rows = [[_rounded(record[name], digits) for name in table.column_names] for record in records]
    return {"columns": list(table.column_names), "rows": rows}


def _rounded(value: Any, digits: int) -> Any:
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
