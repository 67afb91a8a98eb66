"""Partitioned Parquet on disk, read as a whole.

Layout: `<period>=N/<place>=P/<table>.parquet`. Either the source as a whole is fit to be judged row by row, or it
is refused with every reason at once, and then nothing is accepted and nothing quarantined.
"""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fieldedge.contract import Contract, Role, Table
from fieldedge.contract.reserved import ORIGIN
from fieldedge.system.errors import DataError
from fieldloop.validation.checks import Breach, Checked
from fieldloop.validation.typed import expected_kind, kind_fault, unreadable

# Only devices, and who answers them, write these; periods without devices have none.
OPTIONAL_ROLES: tuple[Role, ...] = ("decision", "feedback")
_MOST_PROBLEMS_SHOWN = 12


def read_tables(source_dir: Path, contract: Contract) -> dict[str, pd.DataFrame]:
    """The rows of every table, each with the file that it came from as `origin`.

    Raises:
        DataError: a file is missing or cannot be read, a column is missing or of another type, or a table is empty.
    """
    period, place = contract.episode.period, contract.episode.place
    partitions = sorted(path for path in source_dir.glob(f"{period}=*/{place}=*") if path.is_dir())
    if not partitions:
        raise DataError(
            f"{source_dir} has no partitions; expected folders like {period}=2006/{place}=north. "
            "Make the data first: fieldloop history"
        )
    problems: list[str] = []
    frames: dict[str, pd.DataFrame] = {}
    for table in contract.tables:
        parts = _read_partitions(source_dir, partitions, table, problems)
        if parts:
            frames[table.name] = pd.concat(parts, ignore_index=True)
            if frames[table.name].empty and table.role not in OPTIONAL_ROLES:
                problems.append(f"{table.name}: the table is empty in every partition; expected rows")
    refuse(source_dir, problems)
    return {name: frame for name, frame in frames.items() if len(frame)}


def _read_partitions(source_dir: Path, partitions: list[Path], table: Table, problems: list[str]) -> list[pd.DataFrame]:
    parts = []
    for partition in partitions:
        path = partition / f"{table.name}.parquet"
        where = f"{table.name}: {path.relative_to(source_dir)}"
        if not path.exists():
            if table.role not in OPTIONAL_ROLES:
                problems.append(f"{where} is missing; expected one file for each table in each partition")
            continue
        try:
            content = pq.ParquetFile(path).read()
        except (pa.ArrowException, OSError) as error:
            problems.append(f"{where} {unreadable(error)}; write the file again")
            continue
        if faults := _schema_faults(table, content.schema):
            problems.extend(f"{where} {fault}" for fault in faults)
            continue
        frame = content.select(list(table.column_names)).to_pandas()
        parts.append(frame.assign(**{ORIGIN: str(path.relative_to(source_dir))}))
    return parts


def _schema_faults(table: Table, schema: pa.Schema) -> list[str]:
    faults = []
    for column in table.columns:
        if column.name not in schema.names:
            faults.append(f"has no column {column.name}; {expected_kind(column)}")
        elif fault := kind_fault(column, schema.field(column.name).type):
            faults.append(fault)
    return faults


def breach_words(breach: Breach) -> str:
    """A breach as a sentence that names where, what was found and how to mend it."""
    hint = f", which looks like {breach.hint}" if breach.hint else ""
    return (
        f"{breach.table}: {breach.origin}: {breach.share:.0%} of the rows break '{breach.words}'; "
        f"found {breach.found}{hint}. Correct the column where the file is made"
    )


def lost_tables(checked: Checked) -> list[str]:
    """Each table of which not one row is good, as a sentence that says what most of them break."""
    lost = []
    for name, report in checked.tables.items():
        if report.rows and not report.accepted:
            words, count = max(report.broken.items(), key=lambda item: item[1])
            lost.append(
                f"{name}: not one of {report.rows} rows could be accepted; {count} break '{words}'. "
                "Correct them where the file is made"
            )
    return lost


def refuse(source_dir: Path, problems: list[str]) -> None:
    """Raise DataError with all problems of a source of data, if there are any."""
    if not problems:
        return
    shown = problems[:_MOST_PROBLEMS_SHOWN]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more like these")
    listed = "\n  ".join(shown)
    raise DataError(f"the data in {source_dir} was refused; nothing of it was accepted:\n  {listed}")
