"""The workloads that a device knows. A new one is a module here and one line in `WORKLOADS`."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fieldedge.contract import Contract, Record
from fieldedge.contract.samples import Channel, FlaggedSample
from fieldedge.device.config import Site
from fieldedge.system.errors import ConfigError
from fieldedge.workloads.agriculture import AGRICULTURE, Day, DaySummary, Doubt, Forecast, Predict, Recommendation


class Workload(Protocol):
    """What the device, and everything in the cloud, needs of a workload."""

    @property
    def name(self) -> str: ...
    @property
    def contract(self) -> Contract: ...
    @property
    def channels(self) -> tuple[Channel, ...]: ...
    def summarise_day(self, samples: Sequence[FlaggedSample], field: Record, day: str, site: Site) -> DaySummary: ...
    def start(self, field: Record) -> Any: ...
    def featurize(self, history: Sequence[Day], field: Record) -> npt.NDArray[np.float32]: ...
    def with_actions(
        self,
        row: npt.NDArray[np.float32],
        irrigation_mm: npt.NDArray[np.float32],
        nitrogen_kg_ha: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32]: ...
    def scale(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...
    def recommend(
        self,
        field: Record,
        history: Sequence[Day],
        today: str,
        predict: Predict | None,
        forecast: Forecast | None = None,
    ) -> Recommendation: ...
    def recommend_from_state(
        self,
        field: Record,
        state: Any,
        today: str,
        predict: Predict | None,
        forecast: Forecast | None = None,
        doubt: Doubt | None = None,
    ) -> Recommendation: ...


WORKLOADS: dict[str, Workload] = {"agriculture": AGRICULTURE}


def known_workload(name: str) -> Workload:
    """The workload of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in WORKLOADS:
        raise ConfigError(f"workload is {name!r}; this fieldedge knows {', '.join(sorted(WORKLOADS))}")
    return WORKLOADS[name]
