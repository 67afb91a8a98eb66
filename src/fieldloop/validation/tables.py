"""Partitioned Parquet on disk, read and judged as a whole.

Layout: `season=YYYY/region=R/<table>.parquet`. Either the source as a whole is fit to be judged row by row, or it
is refused with every reason at once, and then nothing is accepted and nothing quarantined.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fieldedge.contract import Contract, Role, Table
from fieldedge.system.errors import DataError
from fieldloop.validation.checks import Breach, Checked, check_frames
from fieldloop.validation.quarantine import quarantine_rows
from fieldloop.validation.report import ValidationReport
from fieldloop.validation.typed import is_storable

# Only devices, and who answers them, write these; seasons without devices have none.
OPTIONAL_ROLES: tuple[Role, ...] = ("decision", "feedback")
_MOST_PROBLEMS_SHOWN = 12


def validate_tables(
    source_dir: Path, quarantine_dir: Path, docs_dir: Path | None, contract: Contract, today: date
) -> ValidationReport:
    """Judge every table under `source_dir`; bad rows go to quarantine, good ones come back in the report.

    Args:
        source_dir: holds `season=YYYY/region=R/<table>.parquet`.
        quarantine_dir: gets `<source name>/<table>-<hash>.parquet`.
        docs_dir: is replaced by the run's Data Docs; none are built without it.
        contract: what the rows must be.
        today: the day that no date may be after.

    Raises:
        DataError: a file cannot be read, a column is missing or of another type, a table is empty, or so much of a
            file is out of range that the file is wrong rather than its rows.
    """
    frames = _read_tables(source_dir, contract)
    checked = check_frames(frames, contract, today, docs_dir=docs_dir)
    refuse(source_dir, [breach_words(b) for b in checked.breaches] or _all_lost(checked))
    files = [
        quarantine_rows(quarantine_dir, source_dir.name, contract.table(name), rows)
        for name, rows in checked.rejected.items()
    ]
    return ValidationReport(
        tables=checked.tables,
        docs_index=checked.docs_index,
        quarantine_files=tuple(path for path in files if path is not None),
        accepted=checked.accepted,
    )


def _read_tables(source_dir: Path, contract: Contract) -> Mapping[str, pd.DataFrame]:
    partitions = sorted(path for path in source_dir.glob("season=*/region=*") if path.is_dir())
    if not partitions:
        raise DataError(
            f"{source_dir} has no partitions; expected folders like season=2006/region=champion. "
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
            reason = str(error).split("\n", 1)[0].rstrip(". ")
            problems.append(f"{where} cannot be read as Parquet ({reason}); write the file again")
            continue
        if faults := _schema_faults(table, content.schema):
            problems.extend(f"{where} {fault}" for fault in faults)
            continue
        frame = content.select(list(table.column_names)).to_pandas()
        parts.append(frame.assign(origin=str(path.relative_to(source_dir))))
    return parts


def _schema_faults(table: Table, schema: pa.Schema) -> list[str]:
    faults = []
    for column in table.columns:
        if column.name not in schema.names:
            faults.append(f"has no column {column.name}; expected {column.kind} {column.unit}".rstrip())
        elif not is_storable(column, found := schema.field(column.name).type):
            faults.append(f"has {column.name} as {found}; expected {column.kind} {column.unit}".rstrip())
    return faults


def breach_words(breach: Breach) -> str:
    """A breach as a sentence that names where, what was found and how to mend it."""
    hint = f", which looks like {breach.hint}" if breach.hint else ""
    return (
        f"{breach.table}: {breach.origin}: {breach.share:.0%} of the rows break '{breach.words}'; "
        f"found {breach.found}{hint}. Correct the column where the file is made"
    )


def _all_lost(checked: Checked) -> list[str]:
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
