"""What the loop asks of agriculture: examples, model and judgement beside the device's contract and features.

The processes that simulate fields, and most commands, need neither networks nor a search. So what imports those (torch,
cma) is imported where it is first used, and nothing stands in the package's own module, which every one of them loads.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from fieldedge.workload import Workload as DeviceWorkload
from fieldedge.workloads.agriculture import AGRICULTURE
from fieldloop.core.dataset import Array, Dataset
from fieldloop.workload import Agreement, FloorValues, Predict, Scores, Value, Workload
from fieldloop.workloads.agriculture.card import CARD
from fieldloop.workloads.agriculture.dataset import build_examples
from fieldloop.workloads.agriculture.metrics import PROFIT, YIELD_ERROR, score
from fieldloop.workloads.agriculture.params import AgricultureParams
from fieldloop.workloads.agriculture.source import SampleWorld

if TYPE_CHECKING:
    from fieldloop.workloads.agriculture.learner import CropLearner
    from fieldloop.workloads.agriculture.report.sections import CropReport


class AgricultureInCloud(Workload):
    """Maize fields: what to irrigate and to fertilise today, by a crop model of the whole season."""

    name = "agriculture"
    primary = YIELD_ERROR
    card = CARD
    Params = AgricultureParams

    @property
    def device(self) -> DeviceWorkload:
        """The same workload as the device has it: contract, features, decision."""
        return AGRICULTURE

    @cached_property
    def learner(self) -> "CropLearner":
        """The crop model as training and compression know it."""
        from fieldloop.workloads.agriculture.learner import CropLearner

        return CropLearner()

    @cached_property
    def report(self) -> "CropReport":
        """What the report says of fields."""
        from fieldloop.workloads.agriculture.report.sections import CropReport

        return CropReport()

    def source(self, params: AgricultureParams, device_ids: Sequence[str] = (), prefix: str = "") -> SampleWorld:
        """The sample world of these parameters."""
        return SampleWorld(params, device_ids, prefix)

    def compile(self) -> None:
        """Compile the simulator and the device's season."""
        from fieldloop.workloads.agriculture.pretraining.many_fields import warm_up
        from fieldloop.workloads.agriculture.world.compiled.__main__ import main as compile_season

        compile_season()
        warm_up()

    def dataset(self, tables: Mapping[str, pd.DataFrame]) -> Dataset:
        """The days of every harvested field-season."""
        return build_examples(tables)

    def score(self, predict: Predict, held_out: Dataset) -> Scores:
        """How well a model foresees field-seasons that it was not trained on."""
        return score(predict, held_out)

    def value(
        self,
        tables: Mapping[str, pd.DataFrame],
        predict: Predict | None,
        params: AgricultureParams,  # noqa: ARG002 - the tables are the world
        units: int,
        seed: int,
    ) -> Value:
        """What fields simulated from these tables earn under a model's advice."""
        from fieldloop.workloads.agriculture.advice import closed_loop_profits_usd_ha, world_of_value

        return Value(PROFIT, closed_loop_profits_usd_ha(world_of_value(tables), predict, units, seed))

    def floor(
        self,
        learned_from: Mapping[str, pd.DataFrame],
        unseen: Mapping[str, pd.DataFrame],
        held_out: Dataset,
        predict: Predict,
        params: AgricultureParams,
        champion: Predict | None = None,
    ) -> FloorValues:
        """What the same fields of unseen seasons earn under a model, the device's own rule and tuned thresholds."""
        from fieldloop.workloads.agriculture.floor import floor_values

        return floor_values(learned_from, unseen, held_out, predict, params.gates, champion)

    def agreement(self, rows: Array, reference: Predict, other: Predict) -> Agreement:
        """Whether both models advise the same on mornings (N, F), and what the other's advice costs, USD/ha."""
        from fieldloop.workloads.agriculture.advice import agreement

        return agreement(rows, reference, other)


AGRICULTURE_IN_CLOUD = AgricultureInCloud()
