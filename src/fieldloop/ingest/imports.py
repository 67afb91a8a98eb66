"""A company's own records: CSV or Parquet files of the contract's tables, judged like everything else and accepted.

A file is named by its table (`fields.csv`, `readings.parquet`, `readings-2019.csv`), in whatever folder it lies. It has
the table's columns under the contract's names and in its units; a column that may be empty may be left out, and so may
`record_id`, which is made. Either the folder as a whole is fit to be judged row by row, or it is refused with every
reason at once. A cell that is no number of the plain kind (`1,000`, `1_0`) is never read as one: its row is set aside.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fieldedge.contract import Contract, Table
from fieldedge.contract.reserved import ORIGIN
from fieldedge.system.errors import DataError
from fieldloop.data.accepted import AcceptedStore
from fieldloop.ingest.intake import take_in
from fieldloop.validation import Ownership
from fieldloop.validation.tables import refuse
from fieldloop.validation.typed import kind_fault, unreadable

AMENDED = (
    "what was accepted stays; what is said again takes the same record_id with /2 at its end (to /9): the last counts"
)
KEPT = (
    "what was accepted stays; to correct it go back to a version of the data from before it (dvc checkout --force "
    "{name}.dvc in {where}, after a git checkout of that pointer where a run has kept it since), then import the "
    "corrected files"
)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_NAMELESS_INDEX = re.compile(r"__index_level_\d+__")  # pandas' name for row numbers that nobody named
_TWICE = "has a column twice"
_SUFFIXES = (".csv", ".parquet")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class ImportedTable:
    """What became of one table's rows: new ones, ones that were accepted before, and ones that were set aside."""

    rows: int
    accepted: int
    known: int
    quarantined: int
    broken: Mapping[str, int]


@dataclass(frozen=True)
class ImportReport:
    """An import, by table; `quarantine` is where the rows lie that were not accepted, with what each broke."""

    tables: Mapping[str, ImportedTable]
    quarantine: Path
    docs_index: Path | None


def import_folder(
    folder: Path, store: AcceptedStore, ownership: Ownership, today: date, docs_dir: Path | None = None
) -> ImportReport:
    """Judge every row of the folder's files and accept the good ones. Doing it again accepts nothing twice.

    Raises:
        DataError: a file cannot be read or is of no table, a column is missing or unknown, or so much of a file is out
            of range that the file is wrong rather than its rows. Nothing is accepted then.
        StoreBusy: another process holds the store.
    """
    came_with = f"import-{folder.name}" if _PLAIN.fullmatch(folder.name) else "import"
    frames = _read(folder, store.contract)
    taken = take_in(frames, store, ownership, today, source=folder, came_with=came_with, docs_dir=docs_dir)
    tables = {}
    for name, table in taken.tables.items():
        is_amendable = store.contract.table(name).is_amendable
        correction = AMENDED if is_amendable else KEPT.format(name=store.root.name, where=store.root.parent)
        conflicts = {f"{conflict}: {correction}": count for conflict, count in table.conflicts.items()}
        broken = {**table.broken, **conflicts}
        tables[name] = ImportedTable(table.rows, table.accepted, table.known, table.quarantined, broken)
    return ImportReport(tables, store.quarantine_dir / came_with, taken.docs_index)


def _read(folder: Path, contract: Contract) -> dict[str, pd.DataFrame]:
    opening = contract.context_table.name
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; expected one with files like {opening}.csv or .parquet")
    names = [table.name for table in contract.tables]
    parts: dict[str, list[pd.DataFrame]] = {}
    problems: list[str] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        where = str(path.relative_to(folder))
        if path.suffix.lower() not in _SUFFIXES:
            if _table_of(path.name.partition(".")[0].lower()) in names:
                problems.append(
                    f"{where} is named like a table and not read: only .csv and .parquet are. Unpack it, or save it as "
                    "one of these (CSV with commas, in UTF-8), or take it out of the folder"
                )
            continue
        table_name = _table_of(path.stem)
        if table_name not in names:
            problems.append(f"{where} is of no table; expected a name like {', '.join(f'{n}.csv' for n in names)}")
            continue
        try:
            frame = _read_file(path, contract.table(table_name))
        except (pa.ArrowException, OSError, ValueError) as error:
            problems.append(f"{where} {str(error).splitlines()[0].rstrip('. ')}")
            continue
        parts.setdefault(table_name, []).append(frame.assign(**{ORIGIN: where}))
    if not parts and not problems:
        problems.append(f"no file of a table is in it; expected files like {opening}.csv or {opening}.parquet")
    refuse(folder, problems)
    frames = {name: pd.concat(of_table, ignore_index=True) for name, of_table in parts.items()}
    return {name: _named(frame, contract, name) for name, frame in frames.items() if len(frame)}


def _table_of(stem: str) -> str:
    return stem.partition("-")[0]


def _read_file(path: Path, table: Table) -> pd.DataFrame:
    """The table's columns of one file. ValueError: what is wrong with it, as the end of a sentence about it."""
    if path.suffix.lower() == ".csv":
        frame = _read_csv(path, table)
    else:
        try:
            content = pq.ParquetFile(path).read()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(unreadable(error)) from error
        nameless = [name for name in content.schema.names if _NAMELESS_INDEX.fullmatch(name)]
        content = content.drop_columns(nameless)
        found = {field.name: field.type for field in content.schema}
        if len(found) < len(content.schema):
            raise ValueError(_TWICE)
        faults = [kind_fault(column, found[column.name]) for column in table.columns if column.name in found]
        if any(faults):
            raise ValueError("; ".join(filter(None, faults)))
        # What pandas noted beside the columns would make one that the file has a frame's index.
        frame = content.to_pandas(ignore_metadata=True)
    columns = {column.name: column for column in table.columns}
    if unknown := [str(name) for name in frame.columns if name not in columns]:
        raise ValueError(
            f"has the columns {', '.join(unknown)}, which {table.name} has not; take them out, or give them the name "
            f"and unit of what they are: {', '.join(f'{c.name} {c.unit}'.strip() for c in table.columns)}"
        )
    may_lack = {name for name, column in columns.items() if column.is_nullable or name == "record_id"}
    if missing := [f"{c.name} {c.unit}".strip() for c in table.columns if c.name not in {*frame.columns, *may_lack}]:
        raise ValueError(f"has no {', '.join(missing)}")
    return frame.reindex(columns=list(columns))


def _read_csv(path: Path, table: Table) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            if len(header) == 1 and re.search(r"[;\t]", header[0]):
                raise ValueError("separates its cells by ';' or tabs; expected commas, and points in numbers")
            if len(set(header)) < len(header):
                raise ValueError(_TWICE)
            rows = list(_rows(reader, len(header)))
        except csv.Error as error:
            raise ValueError(f"is no CSV ({error})") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"is not UTF-8 ({error.reason} at byte {error.start})") from None
    numbers = {column.name for column in table.columns if column.kind in ("float", "int")}
    cells: Mapping[str, list[Any]] = {
        name: [_cell(row[place], name in numbers) for row in rows] for place, name in enumerate(header)
    }
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in cells.items()})


def _rows(reader: Any, width: int) -> Iterator[list[str]]:
    for row in reader:
        if not row:
            continue
        if len(row) != width:
            raise ValueError(f"has {len(row)} cells in line {reader.line_num}; expected {width}, as its first line has")
        yield row


def _cell(text: str, is_number: bool) -> str | float | None:
    text = text.strip()
    if not text:
        return None
    return float(text) if is_number and _NUMBER.fullmatch(text) else text


def _named(frame: pd.DataFrame, contract: Contract, table_name: str) -> pd.DataFrame:
    """The rows, each that says no identity under the one that it has; one that lacks a part of it stays nameless."""
    parts = dict.fromkeys((*contract.episode.columns, *contract.table(table_name).identity))
    ids = []
    for said, *values in frame[["record_id", *parts]].itertuples(index=False, name=None):
        whole = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
        is_whole = not any(pd.isna(value) for value in values)
        made = contract.record_id(table_name, dict(zip(parts, whole, strict=True))) if is_whole else None
        ids.append(made if said is None or pd.isna(said) else said)
    return frame.assign(record_id=pd.Series(ids, frame.index, dtype=object))
