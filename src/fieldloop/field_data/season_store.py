"""Accepted rows on disk: `season=YYYY/region=R/<table>.parquet`.

An accepted row is never changed and never lost. The same row again is nothing new; another row with the same
identity is refused and goes to quarantine. A file is replaced as a whole, sorted by record_id, so the same rows
give the same bytes in whatever order they came. Judging rows is `fieldloop.validation`'s work; versions of the
whole are `versions.py`'s.
"""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from fieldedge.contract import Contract, Table
from fieldedge.durable import write_durably
from fieldedge.errors import DataError, StoreBusy
from fieldloop.validation import quarantine_rows
from fieldloop.validation.expectations import NAME_PATTERN
from fieldloop.validation.typed import empty_frame, finished, to_arrow

CONFLICT = "conflicts with an accepted row of the same record_id"
LOCK_TIMEOUT_S = 60.0
_PLAIN_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True)
class Merged:
    """The outcome of a merge: all rows, how many were new and how many known, and the rows that were refused."""

    rows: pd.DataFrame
    added: int
    known: int
    conflicts: pd.DataFrame


@dataclass(frozen=True)
class Accepted:
    """What the store did with some rows of one table; `added + known + conflicts` is their number."""

    added: int
    known: int
    conflicts: int
    quarantine_file: Path | None = None


def merge(table: Table, existing: pd.DataFrame, incoming: pd.DataFrame) -> Merged:
    """Existing rows as they are, and those incoming ones whose record_id is not there yet, sorted by it.

    Of incoming rows that contradict each other the first is taken. Both frames hold the table's columns and types.
    """
    columns = list(table.column_names)
    first = incoming.drop_duplicates("record_id", keep="first")
    reference = pd.concat([existing[columns], first[~first["record_id"].isin(existing["record_id"])][columns]])
    reference = reference.set_index("record_id", drop=False)
    held = reference.loc[incoming["record_id"], columns].set_axis(incoming.index)
    same = ((held == incoming[columns]) | (held.isna() & incoming[columns].isna())).all(axis=1)
    added = len(reference) - len(existing)
    return Merged(
        rows=reference.sort_index(kind="stable").reset_index(drop=True),
        added=added,
        known=int(same.sum()) - added,
        conflicts=incoming[~same],
    )


class SeasonStore:
    """The partitions under one directory."""

    def __init__(self, root: Path, contract: Contract, quarantine_dir: Path | None = None) -> None:
        """Open the store at `root`; quarantine stands beside it unless said otherwise."""
        self.root = root
        self.contract = contract
        self.quarantine_dir = quarantine_dir if quarantine_dir is not None else root.parent / "quarantine"

    def accept(self, table_name: str, frame: pd.DataFrame, came_with: str) -> Accepted:
        """Add validated rows, each to its season and region. Doing it again changes nothing.

        Args:
            table_name: a table of the contract.
            frame: the table's columns; of others only `origin` counts, where a row came from, for refused ones.
            came_with: the run or batch that brought the rows; names the folder of refused ones in quarantine.

        Raises:
            DataError: a region is not a plain name, or a stored file is damaged.
            StoreBusy: another process holds the store.
        """
        table = self.contract.table(table_name)
        rows = finished(table, frame).set_axis(frame.index)
        added = known = 0
        conflicts = [empty_frame(table)]
        with self._alone():
            for _, part in rows.groupby(["season", "region"], sort=True):
                path = self._path(table, int(part["season"].iloc[0]), str(part["region"].iloc[0]))
                merged = merge(table, self._load(table, path), part)
                if merged.added:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_durably(path, _parquet_bytes(table, merged.rows))
                added += merged.added
                known += merged.known
                conflicts.append(merged.conflicts)
        refused = pd.concat(conflicts)
        origin = frame["origin"].reindex(refused.index) if "origin" in frame else came_with
        refused = refused.assign(expectation=CONFLICT, origin=origin)
        file = quarantine_rows(self.quarantine_dir, came_with, table, refused)
        return Accepted(added, known, len(refused), file)

    def read(self, table_name: str, seasons: Collection[int] | None = None) -> pd.DataFrame:
        """All rows of a table, or those of some seasons, sorted by season, region and record_id.

        Raises:
            DataError: a stored file is damaged.
        """
        table = self.contract.table(table_name)
        parts = [self._load(table, path) for season, path in self._files(table) if seasons is None or season in seasons]
        return pd.concat([empty_frame(table), *parts], ignore_index=True) if parts else empty_frame(table)

    def seasons(self) -> list[int]:
        """The harvest years that have at least one accepted row."""
        return sorted({season for table in self.contract.tables for season, _ in self._files(table)})

    def note_batch(self, batch_id: str, note: dict[str, Any]) -> None:
        """Keep, beside the rows, which batch brought them: `batches/<id>.json`. The first note stands."""
        path = self.root / "batches" / f"{batch_id}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, json.dumps(note, indent=1, sort_keys=True).encode() + b"\n")

    def noted_batches(self) -> dict[str, dict[str, Any]]:
        """The note of every batch that was ingested into this store, by batch id."""
        paths = sorted((self.root / "batches").glob("*.json"))
        return {path.stem: json.loads(path.read_bytes()) for path in paths}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root.parent / f".{self.root.name}.lock", timeout=LOCK_TIMEOUT_S)
        try:
            lock.acquire()
        except Timeout:
            raise StoreBusy(
                f"{self.root} is being written by another process for over {LOCK_TIMEOUT_S:.0f} s; try again later"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _path(self, table: Table, season: int, region: str) -> Path:
        if not _PLAIN_NAME.fullmatch(region):
            raise DataError(f"{table.name}: the region {region!r} cannot name a folder; expected a plain name")
        return self.root / f"season={season}" / f"region={region}" / f"{table.name}.parquet"

    def _files(self, table: Table) -> list[tuple[int, Path]]:
        paths = sorted(self.root.glob(f"season=*/region=*/{table.name}.parquet"))
        return [(int(path.parts[-3].removeprefix("season=")), path) for path in paths]

    def _load(self, table: Table, path: Path) -> pd.DataFrame:
        if not path.exists():
            return empty_frame(table)
        try:
            stored = pq.ParquetFile(path).read(columns=list(table.column_names))
            return finished(table, stored.to_pandas())
        except (pa.ArrowException, OSError, KeyError) as error:
            reason = str(error).split("\n", 1)[0]
            raise DataError(
                f"{path} is damaged ({reason}); nothing was changed. "
                f"Bring back the last version: dvc checkout {self.root.name}.dvc in {self.root.parent}"
            ) from error


def _parquet_bytes(table: Table, rows: pd.DataFrame) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(to_arrow(table, rows), sink, compression="zstd")
    return bytes(sink.getvalue())
