"""Who runs: the settings, the workload and its parameters, that every stage is given."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from fieldedge.contract import Contract
from fieldedge.inference.model import METADATA_CONTRACT_HASH, METADATA_WORKLOAD
from fieldedge.workloads import known_workload
from fieldloop.core.params import WorkloadParams
from fieldloop.core.paths import Paths, paths_of
from fieldloop.core.settings import Settings
from fieldloop.core.words import Words


@dataclass(frozen=True)
class Loop:
    """What every step needs to know: where, which workload, with which parameters."""

    settings: Settings
    workload: str
    params: WorkloadParams

    @property
    def paths(self) -> Paths:
        return paths_of(self.settings)


def contract_of(loop: Loop) -> Contract:
    return known_workload(loop.workload).contract


def words_of(loop: Loop) -> Words:
    return Words.of(contract_of(loop).episode)


def metadata_of(loop: Loop) -> dict[str, str]:
    return {METADATA_CONTRACT_HASH: contract_of(loop).hash, METADATA_WORKLOAD: loop.workload}


def period_folder(loop: Loop, period: int) -> Path:
    return loop.paths.sample.periods / str(period)


def device_ids(loop: Loop) -> list[str]:
    """The names of the sample world's devices."""
    prefix = loop.paths.sample.prefix
    return [f"{prefix}dev-{i:02d}" for i in range(loop.params.loop.devices)]


def started_utc() -> str:
    """Now, for reports."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def today_utc() -> date:
    """The day by which what is told lies in the future: UTC's, as moments are, wherever this machine stands."""
    return datetime.now(UTC).date()
