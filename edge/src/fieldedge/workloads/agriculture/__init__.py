"""Irrigation and nitrogen advice for a field of maize."""

import math
from collections.abc import Callable, Mapping, Sequence

from fieldedge.contract import MODEL, Record
from fieldedge.contract.samples import FlaggedSample
from fieldedge.contract.windows import Daily, Window
from fieldedge.device.config import Site
from fieldedge.workload import Array, At, Doubt, Note, Observed, Predict
from fieldedge.workloads.agriculture import days, decision, features, levels
from fieldedge.workloads.agriculture.answers import AgricultureAnswers
from fieldedge.workloads.agriculture.channels import CHANNELS
from fieldedge.workloads.agriculture.commands import history, learned, override
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.decision import Recommendation
from fieldedge.workloads.agriculture.episode import FieldSeason, season_fault
from fieldedge.workloads.agriculture.features import Day, Forecast, SeasonState
from fieldedge.workloads.agriculture.forecast import read_forecast
from fieldedge.workloads.agriculture.presenter import AgriculturePresenter

__all__ = [
    "AGRICULTURE",
    "Agriculture",
    "Array",
    "Day",
    "Forecast",
    "Predict",
    "Recommendation",
    "SeasonState",
]


class Agriculture:
    """The agriculture workload as the device has it. It holds nothing."""

    name = "agriculture"
    contract = CONTRACT
    channels = CHANNELS
    windows, trigger = Daily(), At("06:00")
    needs_site = True  # for ET0, and the day by the sun
    looks_back = levels.LOOKS_BACK
    extrapolated = ("co2_ppm",)
    messages: Mapping[str, str] = {
        "field": "fields",
        "reading": "readings",
        "operation": "operations",
        "harvest": "harvests",
    }
    notes: Mapping[str, Callable[[Record], Note]] = {"forecast": read_forecast}
    presenter = AgriculturePresenter()
    commands = (history, override, learned)
    answers = AgricultureAnswers()

    def observe(self, samples: Sequence[FlaggedSample], context: Record, window: Window, site: Site | None) -> Observed:
        """A finished day's samples as one row of table `readings`, or why there is none."""
        assert site is not None  # noqa: S101 - it is needed
        return days.summarise_day(samples, context, window.moment, site)

    def contradiction(self, context: Record, site: Site | None) -> str | None:
        """Why the season cannot be that of the planting date, if it cannot."""
        return season_fault(context, None if site is None else site.latitude_deg)

    def begin(self, context: Record) -> FieldSeason:
        """The season of a field."""
        return FieldSeason(context)

    def assumed(self, decision: Record) -> Record | None:
        """What was recommended, as an operation; None where it was to do nothing."""
        amounts = {name: decision[name] for name in ("irrigation_mm", "nitrogen_kg_ha")}
        if not any(amount > 0.0 for amount in amounts.values()):
            return None
        return {**amounts, "source": "recommendation", "basis": "assumed"}

    def uncertainty(self, decision: Record) -> float | None:
        """The width of the yield's 80 % interval, t/ha."""
        low, high = decision["yield_p10_t_ha"], decision["yield_p90_t_ha"]
        return None if low is None or high is None else float(high - low)

    def summary(self, decisions: Sequence[Record], outcomes: Sequence[Record]) -> Record:
        """Root mean square error of the model's median yield over the season against the harvest, t/ha."""
        harvested = {record["field_id"]: record["yield_t_ha"] for record in outcomes}
        errors = [
            record["yield_p50_t_ha"] - harvested[record["field_id"]]
            for record in decisions
            if record["source"] == MODEL and record["field_id"] in harvested
        ]
        rmse = math.sqrt(sum(error * error for error in errors) / len(errors)) if errors else None
        return {"yield_rmse_t_ha": None if rmse is None else round(rmse, 4)}

    # For training and simulation, which go through seasons without a device

    def featurize(self, history: Sequence[Day], field: Record) -> Array:
        """Rows (len(history) + 1, F) in physical units; row i is known on the morning after i days."""
        return features.featurize(history, field)

    def with_actions(self, row: Array, irrigation_mm: Array, nitrogen_kg_ha: Array) -> Array:
        """One row (F,) once for each of K candidate actions: (K, F)."""
        return features.with_actions(row, irrigation_mm, nitrogen_kg_ha)

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
