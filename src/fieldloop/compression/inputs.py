"""What compression works with: a network, and the examples that calibrate, choose and judge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from fieldedge.contract import Feature
from fieldloop.core.dataset import Array, Dataset
from fieldloop.core.params import ModelParams
from fieldloop.workload import Predict, Value, Workload


@dataclass(frozen=True)
class CompressionInputs:
    """What compression works with. `value` says what following a model is worth, or None where nothing measures it."""

    workload: Workload
    network: torch.nn.Module
    features: Sequence[Feature]
    calibration: Array  # scaled rows (N, F) of training days
    training: Dataset
    choosing: Dataset  # of training periods: they choose between quantisers
    held_out: Dataset  # they judge the file
    value: Callable[[Predict], Value | None]
    value_of: str  # names what `value` is measured on: what was measured on other data is measured again
    metadata: Mapping[str, str]
    model: ModelParams

    def scale(self, rows: Array) -> Array:
        """The contract's units to what the model sees."""
        return self.workload.device.contract.scale(rows)
