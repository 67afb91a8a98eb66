"""Irrigation and nitrogen advice for a field of maize."""

from collections.abc import Sequence

from fieldedge.contract import Record
from fieldedge.contract.samples import FlaggedSample
from fieldedge.device.config import Site
from fieldedge.workloads.agriculture import days, decision, features
from fieldedge.workloads.agriculture.channels import CHANNELS
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.days import DaySummary
from fieldedge.workloads.agriculture.decision import Doubt, Predict, Recommendation
from fieldedge.workloads.agriculture.features import Array, Day, Forecast, SeasonState

__all__ = [
    "AGRICULTURE",
    "Agriculture",
    "Array",
    "Day",
    "DaySummary",
    "Doubt",
    "Forecast",
    "Predict",
    "Recommendation",
    "SeasonState",
]


class Agriculture:
    """The agriculture workload as device and cloud see it. It holds nothing."""

    name = "agriculture"
    contract = CONTRACT
    channels = CHANNELS

    def summarise_day(self, samples: Sequence[FlaggedSample], field: Record, day: str, site: Site) -> DaySummary:
        """A finished day's samples as one row of table `readings`, or why there is none."""
        return days.summarise_day(samples, field, day, site)

    def start(self, field: Record) -> SeasonState:
        """The state of a field on the morning of planting."""
        return SeasonState.start(field)

    def featurize(self, history: Sequence[Day], field: Record) -> Array:
        """Rows (len(history) + 1, F) in physical units; row i is known on the morning after i days."""
        return features.featurize(history, field)

    def with_actions(self, row: Array, irrigation_mm: Array, nitrogen_kg_ha: Array) -> Array:
        """One row (F,) once for each of K candidate actions: (K, F)."""
        return features.with_actions(row, irrigation_mm, nitrogen_kg_ha)

    def scale(self, rows: Array) -> Array:
        """Physical units to model input."""
        return features.scale(rows)

    def recommend(
        self,
        field: Record,
        history: Sequence[Day],
        today: str,
        predict: Predict | None,
        forecast: Forecast | None = None,
    ) -> Recommendation:
        """Today's recommendation; `predict` is None where no model is to be trusted."""
        return decision.recommend(field, history, today, predict, forecast)

    def recommend_from_state(
        self,
        field: Record,
        state: SeasonState,
        today: str,
        predict: Predict | None,
        forecast: Forecast | None = None,
        doubt: Doubt | None = None,
    ) -> Recommendation:
        """As `recommend`, for a caller that keeps the state and folds in one day at a time.

        `doubt(row)` says why the model should not be asked about a row of features, or None.
        """
        return decision.recommend_from_state(field, state, today, predict, forecast, doubt)


AGRICULTURE = Agriculture()
