"""Accepted data only grows: what a file of the last version held is still in the file that stands in its place.

A row that was taken back into quarantine is there instead. A file of another contract was rewritten by a migration,
which made a version of the former state; of such a file only the number of rows is compared.
"""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fieldedge.system.errors import DataError
from fieldloop.data.accepted import CONTRACT_NAME, WITHDRAWN_PREFIX, contract_mark


def lost_from(path: Path, former: Path, withdrawn: Collection[str]) -> str:
    """What of the former file is not in this one any more, in words; empty where everything is.

    Args:
        path: the file as it is.
        former: the content that the last version has of it.
        withdrawn: ids of records that were taken back into quarantine.
    """
    if path.suffix == ".parquet":
        return _lost_rows(path, former, withdrawn)
    if path.name == CONTRACT_NAME:
        return _unreadable(path)
    return _lost_notes(path, former)


def withdrawn_records(quarantine_dir: Path) -> frozenset[str]:
    """The ids of all records that were accepted once and taken back into quarantine."""
    return frozenset(record_id for (record_id,) in _withdrawn(quarantine_dir, "record_id"))


def withdrawn_seasons(quarantine_dir: Path) -> frozenset[tuple[int, str]]:
    """The seasons of fields that were taken back into quarantine, and the fields."""
    return frozenset((int(season), field_id) for season, field_id in _withdrawn(quarantine_dir, "season", "field_id"))


def _withdrawn(quarantine_dir: Path, *columns: str) -> Iterator[tuple[Any, ...]]:
    for file in sorted(quarantine_dir.glob(f"{WITHDRAWN_PREFIX}*/*.parquet")):
        try:
            yield from pd.read_parquet(file, columns=list(columns)).itertuples(index=False, name=None)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise DataError(
                f"{file}, which holds records that were taken back, cannot be read as Parquet "
                f"({str(error).partition(chr(10))[0]}). Bring it back from a backup: without it nothing that was "
                "withdrawn can be told from what was lost"
            ) from error


def _lost_rows(path: Path, former: Path, withdrawn: Collection[str]) -> str:
    try:
        now, before = pq.ParquetFile(path).read(), pq.ParquetFile(former).read()
    except (pa.ArrowException, OSError) as error:
        return f"cannot be read as Parquet ({str(error).partition(chr(10))[0]})"
    if contract_mark(now.schema) != contract_mark(before.schema):
        return _fewer(len(before), len(now))
    if now.schema.names != before.schema.names:
        return "has other columns"
    if "record_id" not in now.schema.names:
        return _fewer(len(before), len(now))
    rows = before.to_pandas().drop_duplicates("record_id").set_index("record_id", drop=False)
    rows = rows[~rows["record_id"].isin(withdrawn)]
    here = now.to_pandas().drop_duplicates("record_id").set_index("record_id", drop=False).reindex(rows.index)
    gone = here["record_id"].isna()
    changed = ~((here == rows) | (here.isna() & rows.isna())).all(axis=1) & ~gone
    if not gone.any() and not changed.any():
        return ""
    first = rows.index[gone | changed][0]
    return f"lacks {int(gone.sum())} rows and has {int(changed.sum())} changed ones ({first} first) of the rows of"


def _fewer(before: int, now: int) -> str:
    return f"has {now} instead of the {before} rows of" if now < before else ""


def _lost_notes(path: Path, former: Path) -> str:
    if unreadable := _unreadable(path):
        return unreadable
    before, now = json.loads(former.read_bytes()), json.loads(path.read_bytes())
    lost = sorted(set(before) - set(now)) if isinstance(before, dict) and isinstance(now, dict) else []
    return f"lacks {', '.join(lost)} of" if lost else ""


def _unreadable(path: Path) -> str:
    try:
        json.loads(path.read_bytes())
    except ValueError as error:
        return f"cannot be read ({error})"
    return ""
