"""Past seasons on disk: season- and region-partitioned Parquet in the contract's tables.

The bytes depend on the arguments and on this package's source only, not on the clock or the number of workers. A
partition is complete when its marker is there; the marker is written last and says what made the partition, so a
killed run continues with the partitions that are missing or were made otherwise.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fieldedge.contract import Record
from fieldedge.system.durable import write_durably
from fieldedge.workloads.agriculture.tables import FIELDS, HARVESTS, OPERATIONS, READINGS
from fieldloop.core.code_version import code_hash
from fieldloop.core.console import OnProgress
from fieldloop.core.parquet import parquet_bytes
from fieldloop.workloads.agriculture.world.practices import exploring_grower
from fieldloop.workloads.agriculture.world.seasons import live_seasons, spread
from fieldloop.workloads.agriculture.world.world import World, field_specs

MARKER = "_complete"
TABLES = (FIELDS, READINGS, OPERATIONS, HARVESTS)


@dataclass(frozen=True)
class _Partition:
    """One season of one region, and all that its content depends on."""

    region: str
    season: int
    fields: int
    seed: int
    world: World
    out_dir: Path

    @property
    def directory(self) -> Path:
        return self.out_dir / f"season={self.season}" / f"region={self.region}"


@dataclass(frozen=True)
class History:
    """What lies under `directory` now, and how much of it this call simulated."""

    directory: Path
    field_seasons: int
    simulated: int


def simulate_history(
    seasons: Mapping[str, Sequence[int]],
    fields_per_region: int,
    seed: int,
    out_dir: Path,
    workers: int = 0,
    on_progress: OnProgress | None = None,
    world: World | None = None,
) -> History:
    """Grow every region's fields through its seasons under their growers, and write what their books would hold.

    Args:
        seasons: harvest years by region.
        fields_per_region: how many fields each region has in each season.
        seed: decides everything.
        out_dir: gets `season=YYYY/region=R/{fields,readings,operations,harvests}.parquet`.
        workers: processes; 0 is one per core.
        on_progress: called with (field-seasons done, field-seasons in all).

    Raises:
        DataError: a region is unknown, or has no weather for a season.
    """
    partitions = [
        _Partition(region, season, fields_per_region, seed, world or World(), out_dir)
        for region, years in seasons.items()
        for season in years
    ]
    due = [partition for partition in partitions if not _is_complete(partition)]
    _drop_others(out_dir, {partition.directory for partition in partitions})
    for partition in due:  # an impossible season is refused before the first is simulated
        field_specs(partition.region, partition.season, partition.fields, seed, "", world=partition.world)
    total, kept = fields_per_region * len(partitions), fields_per_region * (len(partitions) - len(due))
    if on_progress is not None and kept:
        on_progress(kept, total)

    def report(done: int, _due: int) -> None:
        if on_progress is not None:
            on_progress(kept + done, total)

    spread(_write_partition, due, workers, [fields_per_region] * len(due), report)
    return History(out_dir, total, total - kept)


def _write_partition(partition: _Partition) -> None:
    rows: dict[str, list[Record]] = {table.name: [] for table in TABLES}
    specs = field_specs(partition.region, partition.season, partition.fields, partition.seed, "", world=partition.world)
    for _, tables in live_seasons([(spec, exploring_grower(spec)) for spec in specs]):
        for table in TABLES:
            rows[table.name] += getattr(tables, table.name)
    directory = partition.directory
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for table in TABLES:
        write_durably(directory / f"{table.name}.parquet", parquet_bytes(table, rows[table.name]))
    write_durably(directory / MARKER, json.dumps(_made_by(partition), sort_keys=True).encode() + b"\n")


def _drop_others(out_dir: Path, wanted: set[Path]) -> None:
    """Remove the partitions of an earlier call with other seasons, so that none slips into what is read back."""
    for marker in out_dir.glob(f"season=*/region=*/{MARKER}"):
        if marker.parent not in wanted:
            shutil.rmtree(marker.parent)


def _is_complete(partition: _Partition) -> bool:
    try:
        marker = json.loads((partition.directory / MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    files = (partition.directory / f"{table.name}.parquet" for table in TABLES)
    return bool(marker == _made_by(partition)) and all(file.is_file() for file in files)


def _made_by(partition: _Partition) -> dict[str, Any]:
    made_by = asdict(partition) | {"source": _source_hash()}
    del made_by["out_dir"]
    return dict(json.loads(json.dumps(made_by)))  # as it reads back: tuples become lists


@cache
def _source_hash() -> str:
    """One hash over all that decides the bytes: the code that runs here, the crop model, the writer."""
    digest = hashlib.sha256(code_hash(__name__).encode())
    digest.update(f"aquacrop {version('aquacrop')} pyarrow {version('pyarrow')}".encode())
    return digest.hexdigest()
