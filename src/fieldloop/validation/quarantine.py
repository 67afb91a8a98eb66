"""Quarantine: rows that were not accepted, with the reason, kept for whoever mends them.

A file's name is the hash of its content, so that running twice adds nothing and nothing is ever overwritten.
"""

import hashlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fieldedge.contract import Table
from fieldedge.contract.reserved import EXPECTATION, ORIGIN
from fieldedge.system.durable import write_durably
from fieldloop.core.parquet import arrow_schema

_NAME_DIGITS = 16


def quarantine_rows(quarantine_dir: Path, came_with: str, table: Table, rows: pd.DataFrame) -> Path | None:
    """Write the rows to `<quarantine_dir>/<came_with>/<table>-<hash>.parquet`; None when there are none.

    Args:
        quarantine_dir: where quarantine lives.
        came_with: what the rows came with: a run or a batch.
        table: the rows' table.
        rows: the table's columns, and `expectation` (what they broke, in plain words) and `origin`.
    """
    if rows.empty:
        return None
    # Whole numbers as float64: a quarantined row may lack them.
    columns = [field if field.type != pa.int64() else field.with_type(pa.float64()) for field in arrow_schema(table)]
    schema = pa.schema([*columns, pa.field(EXPECTATION, pa.string()), pa.field(ORIGIN, pa.string())])
    ordered = rows.sort_values([ORIGIN, "record_id", EXPECTATION], kind="stable")
    plain = pa.Table.from_pandas(ordered[schema.names], schema=schema, preserve_index=False)
    return keep_quarantined(quarantine_dir / came_with, table.name, plain)


def keep_quarantined(folder: Path, table_name: str, rows: pa.Table) -> Path:
    """Write rows of quarantine to `<folder>/<table>-<hash>.parquet`."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows.replace_schema_metadata(None), sink, compression="zstd")
    content = bytes(sink.getvalue())
    path = folder / f"{table_name}-{hashlib.sha256(content).hexdigest()[:_NAME_DIGITS]}.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, content)
    return path
