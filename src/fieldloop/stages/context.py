"""Who runs: the settings, the workload and its parameters, that every stage is given."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fieldedge.contract import Contract
from fieldedge.inference.model import METADATA_CONTRACT_HASH, METADATA_WORKLOAD
from fieldedge.workloads import known_workload
from fieldloop.core.paths import Workspace, workspace_of
from fieldloop.core.settings import Settings, WorkloadParams

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Loop:
    """What every step needs to know: where, which workload, with which parameters."""

    settings: Settings
    workload: str
    params: WorkloadParams

    @property
    def workspace(self) -> Workspace:
        return workspace_of(self.settings)


def contract_of(loop: Loop) -> Contract:
    return known_workload(loop.workload).contract


def metadata_of(loop: Loop) -> dict[str, str]:
    return {METADATA_CONTRACT_HASH: contract_of(loop).hash, METADATA_WORKLOAD: loop.workload}


def season_folder(loop: Loop, season: int) -> Path:
    return loop.workspace.sample.seasons / str(season)


def device_ids(loop: Loop) -> list[str]:
    """The names of the sample world's devices."""
    prefix = loop.workspace.sample.prefix
    return [f"{prefix}dev-{i:02d}" for i in range(loop.params.loop.devices)]


def started_utc() -> str:
    """Now, for reports."""
    return datetime.now(UTC).isoformat(timespec="seconds")
