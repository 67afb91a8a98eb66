"""A contract's tables as Parquet: which columns of which types stand on disk, whoever writes them."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from fieldedge.contract import Kind, Record, Table

_ARROW_TYPES: dict[Kind, pa.DataType] = {
    "float": pa.float64(),
    "int": pa.int64(),
    "str": pa.string(),
    "date": pa.string(),
    "time": pa.string(),
}


def arrow_schema(table: Table) -> pa.Schema:
    """The table's columns as they stand on disk."""
    return pa.schema([pa.field(column.name, _ARROW_TYPES[column.kind]) for column in table.columns])


def parquet_bytes(table: Table, rows: Sequence[Record]) -> bytes:
    """The rows as Parquet, sorted by record id: equal rows give equal bytes."""
    ordered = sorted(rows, key=lambda row: str(row["record_id"]))
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ordered, schema=arrow_schema(table)), sink, compression="zstd")
    return sink.getvalue()
