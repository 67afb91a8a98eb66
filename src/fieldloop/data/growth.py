"""Accepted data only grows: what a file of the last version held is still in the file that stands in its place.

A row that was taken back into quarantine is there instead, and leaves it when it is accepted again (`withdrawn.py`). A
file of another contract was rewritten by a migration, which made a version of the former state; of such a file only the
number of rows is compared.
"""

import json
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fieldloop.data.accepted import CONTRACT_NAME, contract_mark
from fieldloop.validation.typed import unreadable


def lost_from(path: Path, former: Path, excused: Collection[str]) -> str:
    """What of the former file is not in this one any more, in words; empty where everything is.

    Args:
        path: the file as it is.
        former: the content that the last version has of it.
        excused: ids of former records that were taken back into quarantine.
    """
    if path.suffix == ".parquet":
        return _lost_rows(path, former, excused)
    if path.name == CONTRACT_NAME:
        return _unreadable(path)
    return _lost_notes(path, former)


def _lost_rows(path: Path, former: Path, excused: Collection[str]) -> str:
    try:
        now, before = pq.ParquetFile(path).read(), pq.ParquetFile(former).read()
    except (pa.ArrowException, OSError) as error:
        return unreadable(error)
    if "record_id" not in before.schema.names:
        return _fewer(len(before), len(now))
    rows = before.to_pandas().drop_duplicates("record_id").set_index("record_id", drop=False)
    rows = rows[~rows["record_id"].isin(excused)]
    if contract_mark(now.schema) != contract_mark(before.schema):
        return _fewer(len(rows), len(now))
    if now.schema.names != before.schema.names:
        return "has other columns"
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
