"""The agriculture workload in the cloud: examples, model and loss beside the device's contract and feature builder."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor, nn

from fieldedge.workload import Workload
from fieldedge.workloads.agriculture import AGRICULTURE, Predict
from fieldloop.core.dataset import Array, Dataset
from fieldloop.core.settings import FloorParams, WhatIfParams
from fieldloop.workloads.agriculture.advice import agreement, closed_loop_profits_usd_ha
from fieldloop.workloads.agriculture.dataset import build_examples
from fieldloop.workloads.agriculture.floor import FloorProfits, floor_profits
from fieldloop.workloads.agriculture.network.model import CropModel, calibrate, crop_loss, forget_calibration
from fieldloop.workloads.agriculture.pretraining.practising import practise
from fieldloop.workloads.agriculture.pretraining.training_world import TrainingWorld


class AgricultureInCloud:
    """What training, evaluation and compression need of the workload."""

    name = "agriculture"

    @property
    def edge(self) -> Workload:
        """The same workload as the device has it: contract, features, decision."""
        return AGRICULTURE

    def examples(self, tables: Mapping[str, pd.DataFrame]) -> Dataset:
        """Training examples from accepted tables."""
        return build_examples(tables)

    def practise(
        self,
        network: nn.Module,
        tables: Mapping[str, pd.DataFrame],
        params: WhatIfParams,
        champion: nn.Module | None,
        seed: int,
        on_progress: Callable[[int, int], None],
    ) -> Dataset:
        """Teach a fresh network when to act, and what an action changes, on what-if seasons made of these tables.

        The search starts from the champion's weights where there is one. Returns examples of what comes when the
        network's advice is followed.
        """
        return practise(network, TrainingWorld.of(tables), params, champion, seed, on_progress)

    def agreement(
        self, rows: Array, reference: Predict, other: Predict
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Whether both models advise the same on mornings (N, F), and what the other's advice costs, USD/ha."""
        return agreement(rows, reference, other)

    def closed_loop_profits_usd_ha(
        self, tables: Mapping[str, pd.DataFrame], predict: Predict, fields: int, seed: int
    ) -> NDArray[np.float64]:
        """What fields simulated from these tables earn under a model's advice (N,); alike for the same seed."""
        return closed_loop_profits_usd_ha(TrainingWorld.of(tables), predict, fields, seed)

    def floor_profits(
        self,
        learned_from: Mapping[str, pd.DataFrame],
        unseen: Mapping[str, pd.DataFrame],
        predict: Predict,
        params: FloorParams,
    ) -> FloorProfits:
        """What the same fields of unseen seasons earn under a model, the device's own rule and tuned thresholds."""
        return floor_profits(learned_from, unseen, predict, params)

    def network(self, hidden: Sequence[int], dropout: float) -> nn.Module:
        """A fresh network: scaled features (B, F) to outputs (B, 5)."""
        return CropModel(len(AGRICULTURE.contract.features), hidden, dropout)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The training loss, a scalar."""
        return crop_loss(outputs, targets)

    def forget_calibration(self, network: nn.Module) -> None:
        """Back to the network's bare answers."""
        forget_calibration(network)

    def calibrate(self, network: nn.Module, outputs: Tensor, targets: Tensor) -> None:
        """Stretch the network's interval so that it covers as often as it says, by its answers on unseen seasons."""
        calibrate(network, outputs, targets)


AGRICULTURE_IN_CLOUD = AgricultureInCloud()
