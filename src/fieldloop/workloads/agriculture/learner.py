"""The crop model as training and compression know it."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from torch import Tensor, nn

from fieldedge.workloads.agriculture import AGRICULTURE
from fieldloop.core.dataset import Array, Dataset
from fieldloop.workloads.agriculture.network.model import CropModel, calibrate, crop_loss, forget_calibration
from fieldloop.workloads.agriculture.params import AgricultureParams
from fieldloop.workloads.agriculture.pretraining.pretrain import pretrain
from fieldloop.workloads.agriculture.pretraining.training_world import TrainingWorld


class CropLearner:
    """A `CropModel`: the yield in three quantiles, and the water and nitrogen that are still to come."""

    def network(self, hidden: Sequence[int], dropout: float) -> nn.Module:
        """A fresh one: scaled features (B, F) to outputs (B, 5)."""
        return CropModel(len(AGRICULTURE.contract.features), hidden, dropout)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The training loss, a scalar."""
        return crop_loss(outputs, targets)

    def forget_calibration(self, network: nn.Module) -> None:
        """Back to the network's bare answers."""
        forget_calibration(network)

    def calibrate(self, network: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor) -> None:
        """Stretch the network's interval so that it covers as often as it says, by its answers on unseen seasons."""
        calibrate(network, inputs, outputs, targets)

    def pretrain(
        self,
        network: nn.Module,
        tables: Mapping[str, pd.DataFrame],
        params: AgricultureParams,
        champion: nn.Module | None,
        on_progress: Callable[[int, int], None],
    ) -> Dataset:
        """Teach a fresh network when to act, and what an action changes, on what-if seasons made of these tables.

        The search starts from the champion's weights where there is one. Returns examples of what comes when the
        network's advice is followed.
        """
        return pretrain(network, TrainingWorld.of(tables), params.what_if, champion, params.model.seed, on_progress)

    def is_sound(self, outputs: Array) -> bool:
        """Whether the quantiles of the yield are in order."""
        is_in_order = (outputs[:, 0] <= outputs[:, 1]) & (outputs[:, 1] <= outputs[:, 2])
        return bool(np.all(is_in_order))
