"""Irrigation and nitrogen advice for a field of maize."""

from collections.abc import Sequence

from fieldedge.contract import Contract, Record
from fieldedge.workloads.agriculture import agronomy, decision, features, probes, tables
from fieldedge.workloads.agriculture.decision import Predict, Recommendation
from fieldedge.workloads.agriculture.features import Array, Day, Forecast, SeasonState

__all__ = ["AGRICULTURE", "Agriculture", "Array", "Day", "Forecast", "Predict", "Recommendation", "SeasonState"]


class Agriculture:
    """The agriculture workload as device and cloud see it. It holds nothing."""

    name = "agriculture"
    contract = Contract(
        workload="agriculture",
        revision=2,
        tables=(
            tables.FIELDS,
            tables.READINGS,
            tables.OPERATIONS,
            tables.HARVESTS,
            tables.recommendations_table(features.FEATURES),
        ),
        features=features.FEATURES,
        outputs=tables.OUTPUTS,
        constants={
            "days_to_maturity": agronomy.DAYS_TO_MATURITY,
            "probe_bias_sd": probes.BIAS_SD,
            "start_water_unknown": features.START_WATER_UNKNOWN,
            "volatilised_fraction": agronomy.VOLATILISED_FRACTION,
            "start_mineral_nitrogen_kg_ha": agronomy.START_MINERAL_NITROGEN_KG_HA,
        },
    )

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
    ) -> Recommendation:
        """As `recommend`, for a caller that keeps the state and folds in one day at a time."""
        return decision.recommend_from_state(field, state, today, predict, forecast)


AGRICULTURE = Agriculture()
