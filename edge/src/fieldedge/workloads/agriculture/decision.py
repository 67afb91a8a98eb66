"""From a row of features to a recommendation: candidates, guardrails, the choice and its reasons.

The model never decides alone. The FAO-56 water balance and the nitrogen balance say which actions are sound today;
among those the model picks the most profitable at the grower's own prices. Where the model abstains, the same
balances decide. Pure functions over arrays and records; storing and showing the answer is the agent's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fieldedge.contract import MAX_CANDIDATES, Record
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.features import (
    FEATURES,
    INDEX,
    Array,
    Day,
    Forecast,
    SeasonState,
    days_between,
    scale,
    with_actions,
)
from fieldedge.workloads.agriculture.tables import OUTPUTS

Predict = Callable[[Array], Array]
Doubt = Callable[[Array], str | None]

IRRIGATION_MIN_MM = 8.0
IRRIGATION_LAST_DAP = 122
EARLY_SHARE_OF_RAW = 0.5  # no irrigation before so much of RAW is used up, whatever the model says
NITROGEN_DOSES_KG_HA = (20.0, 40.0, 60.0, 80.0, 100.0, 120.0)
NITROGEN_MAX_KG_HA = 150.0
NITROGEN_WINDOWS_DAP = ((0, 0), (26, 62))
NITROGEN_SPACING_D = 9
NITROGEN_PLANTING_SHARE = 0.25  # of the need, where the balance alone decides
NITROGEN_MIN_KG_HA = 15.0
NITROGEN_MUST_DAP = 42  # by then the crop outgrows the soil's own supply
MAX_DATA_AGE_DAYS = 3
MAX_INTERVAL_T_HA = 8.0  # wider, the model knows less than any agronomist

_YIELD_P10, _YIELD_P50, _YIELD_P90, _WATER_TO_COME, _NITROGEN_TO_COME = range(len(OUTPUTS))


@dataclass(frozen=True)
class Reason:
    """Why, for a program (`code` and the numbers behind it, units in their names) and for a person (`text`)."""

    code: str
    text: str
    values: tuple[tuple[str, float], ...] = ()

    def as_record(self) -> Record:
        return {"code": self.code, **dict(self.values)}


@dataclass(frozen=True)
class Recommendation:
    """What to do today and why. Yields are None where the agronomic rule decided without the model."""

    date: str
    irrigation_mm: float
    nitrogen_kg_ha: float
    source: str
    why: tuple[Reason, ...]
    guardrails: tuple[str, ...]
    expected_gain_usd_ha: float
    data_age_days: int
    features: Array
    yield_p10_t_ha: float | None = None
    yield_p50_t_ha: float | None = None
    yield_p90_t_ha: float | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, in sentences."""
        return tuple(reason.text for reason in self.why)

    def as_record(
        self,
        season: int,
        region: str,
        field_id: str,
        model_version: str,
        contract_hash: str,
        bundle_sha256: str | None = None,
    ) -> Record:
        """The values of a row of table `recommendations`, with the reasons beside them."""
        record: dict[str, Any] = {
            "season": season,
            "region": region,
            "field_id": field_id,
            "date": self.date,
            "irrigation_mm": self.irrigation_mm,
            "nitrogen_kg_ha": self.nitrogen_kg_ha,
            "yield_p10_t_ha": self.yield_p10_t_ha,
            "yield_p50_t_ha": self.yield_p50_t_ha,
            "yield_p90_t_ha": self.yield_p90_t_ha,
            "source": self.source,
            "model_version": model_version,
            "bundle_sha256": bundle_sha256,
            "contract_hash": contract_hash,
            "data_age_days": self.data_age_days,
        }
        for feature, value in zip(FEATURES, self.features, strict=True):
            record[f"x_{feature.name}"] = round(float(value), 4)
        record["reasons"] = list(self.reasons)
        record["reason_codes"] = [reason.as_record() for reason in self.why]
        record["guardrails"] = list(self.guardrails)
        record["expected_gain_usd_ha"] = round(self.expected_gain_usd_ha, 2)
        return record


@dataclass(frozen=True)
class Bounds:
    """What the balances allow today: candidate depths and doses, and which rules made them."""

    irrigation_mm: tuple[float, ...]
    nitrogen_kg_ha: tuple[float, ...]
    guardrails: tuple[str, ...]


def recommend(
    record: Record, history: Sequence[Day], today: str, predict: Predict | None, forecast: Forecast | None = None
) -> Recommendation:
    """Today's recommendation from the season so far. `predict` is None where no model is to be trusted."""
    state = SeasonState.start(record)
    for day in history:
        state.advance(day)
    return recommend_from_state(record, state, today, predict, forecast)


def recommend_from_state(
    record: Record,
    state: SeasonState,
    today: str,
    predict: Predict | None,
    forecast: Forecast | None = None,
    doubt: Doubt | None = None,
) -> Recommendation:
    """As `recommend`, for a caller that keeps the state and folds in one day at a time.

    `doubt(row)` says why the model should not be asked about a row of features, or None.
    """
    if days_between(record["planting_date"], today) != state.dap:
        raise ValueError(f"{today} is not day {state.dap} after planting on {record['planting_date']}")
    row = state.features(forecast)
    bounds = sound_actions(row, record)
    if predict is None:
        return _agronomic(row, bounds, today, state, "no model is installed")
    if state.days_without_reading > MAX_DATA_AGE_DAYS:
        why = f"the last reading is {state.days_without_reading} days old"
        return _agronomic(row, bounds, today, state, why)
    why_not = None if doubt is None else doubt(row)
    if why_not is not None:
        return _agronomic(row, bounds, today, state, why_not)
    depths = np.repeat(bounds.irrigation_mm, len(bounds.nitrogen_kg_ha)).astype(np.float32)
    doses = np.tile(bounds.nitrogen_kg_ha, len(bounds.irrigation_mm)).astype(np.float32)
    if len(depths) > MAX_CANDIDATES:  # a model was tried with no more
        raise ValueError(f"{len(depths)} actions are weighed; at most {MAX_CANDIDATES} may be")
    outputs = predict(scale(with_actions(row, depths, doses)))
    if not np.isfinite(outputs).all():
        return _agronomic(row, bounds, today, state, "the model's answer is not a number")
    fault = CONTRACT.output_fault(outputs.min(axis=0).tolist(), outputs.max(axis=0).tolist())
    if fault is not None:
        return _agronomic(row, bounds, today, state, f"it says that {fault}")
    if (np.diff(outputs[:, [_YIELD_P10, _YIELD_P50, _YIELD_P90]], axis=1) < 0.0).any():
        return _agronomic(row, bounds, today, state, "its quantiles of the yield are out of order")
    width = float(outputs[0, _YIELD_P90] - outputs[0, _YIELD_P10])
    if width > MAX_INTERVAL_T_HA:
        return _agronomic(row, bounds, today, state, f"its 80 % interval of the yield is {width:.1f} t/ha wide")
    return _most_profitable(row, record, bounds, today, state, depths, doses, outputs)


def largest_depth_mm(rows: Array, application_efficiency: Array) -> Array:
    """The irrigation that the water balance allows today (N,): fills the root zone, and 0 where none is sound.

    At most the depletion over the efficiency, the equipment's capacity and the allowance left (all to the tenth of a
    millimetre); nothing while the root zone holds most of its readily available water, or once the crop ripens.
    """
    depletion, taw = rows[:, INDEX["depletion_mm"]], rows[:, INDEX["taw_mm"]]
    depth = np.minimum(depletion / application_efficiency, rows[:, INDEX["irrigation_capacity_mm"]])
    depth = np.floor(10.0 * np.minimum(depth, rows[:, INDEX["allowance_left_mm"]]) + 1e-4) / 10.0
    is_early = depletion < EARLY_SHARE_OF_RAW * rows[:, INDEX["raw_fraction"]] * taw
    is_ripening = rows[:, INDEX["dap"]] > IRRIGATION_LAST_DAP
    sound: Array = np.where(is_early | is_ripening | (depth < IRRIGATION_MIN_MM), 0.0, depth).astype(np.float32)
    return sound


def largest_dose_kg_ha(rows: Array) -> Array:
    """The nitrogen that the balance allows today (N,): what a full crop still needs, in the windows for it."""
    dap, need = rows[:, INDEX["dap"]], rows[:, INDEX["nitrogen_need_kg_ha"]]
    is_open = np.zeros(len(rows), bool)
    for first, last in NITROGEN_WINDOWS_DAP:
        is_open |= (dap >= first) & (dap <= last)
    is_sound = is_open & (need >= NITROGEN_MIN_KG_HA) & (rows[:, INDEX["days_since_nitrogen"]] >= NITROGEN_SPACING_D)
    dose: Array = np.where(is_sound, np.round(np.minimum(need, NITROGEN_MAX_KG_HA)), 0.0).astype(np.float32)
    return dose


def sound_actions(row: Array, record: Record) -> Bounds:
    """The candidate depths and doses that the water and nitrogen balances allow today."""
    depths, water_rules = _sound_depths(row, record)
    doses, nitrogen_rules = _sound_doses(row)
    return Bounds(depths, doses, water_rules + nitrogen_rules)


def _sound_depths(row: Array, record: Record) -> tuple[tuple[float, ...], tuple[str, ...]]:
    largest = float(largest_depth_mm(row[None, :], np.array([record["application_efficiency"]], np.float32))[0])
    raw = float(row[INDEX["raw_fraction"]] * row[INDEX["taw_mm"]])
    depletion = float(row[INDEX["depletion_mm"]])
    if largest > 0.0:
        return (0.0, round(largest, 1)), ("before_raw",) if depletion < raw else ()
    if row[INDEX["irrigation_capacity_mm"]] < IRRIGATION_MIN_MM:
        return (0.0,), ("no_irrigation_here",)
    if row[INDEX["allowance_left_mm"]] < IRRIGATION_MIN_MM:
        return (0.0,), ("no_water_to_give",)
    if row[INDEX["dap"]] > IRRIGATION_LAST_DAP:
        return (0.0,), ("crop_is_ripening",)
    return (0.0,), ("below_raw",)


def _sound_doses(row: Array) -> tuple[tuple[float, ...], tuple[str, ...]]:
    full = float(largest_dose_kg_ha(row[None, :])[0])
    dap = float(row[INDEX["dap"]])
    if full > 0.0:
        doses = tuple(dose for dose in NITROGEN_DOSES_KG_HA if dose < full)
        due = ("nitrogen_due",) if dap == 0 or dap >= NITROGEN_MUST_DAP else ()
        return (0.0, *doses, full), due
    if not any(first <= dap <= last for first, last in NITROGEN_WINDOWS_DAP):
        return (0.0,), ()
    if row[INDEX["nitrogen_need_kg_ha"]] < NITROGEN_MIN_KG_HA:
        return (0.0,), ("nitrogen_balance_met",)
    return (0.0,), ("nitrogen_spacing",)


def _agronomic(row: Array, bounds: Bounds, today: str, state: SeasonState, why: str) -> Recommendation:
    """The FAO-56 rule: refill the root zone once RAW is used up; nitrogen by balance when it falls due."""
    is_due = "nitrogen_due" in bounds.guardrails
    is_early = "before_raw" in bounds.guardrails
    return Recommendation(
        date=today,
        irrigation_mm=0.0 if is_early else bounds.irrigation_mm[-1],
        nitrogen_kg_ha=_balance_dose_kg_ha(row, bounds) if is_due else 0.0,
        source="fao56",
        why=(
            Reason("model_abstains", f"The model abstains: {why}. The FAO-56 balance decides."),
            *_balance_reasons(row, bounds),
        ),
        guardrails=(*bounds.guardrails, "model_abstains"),
        expected_gain_usd_ha=0.0,
        data_age_days=state.days_without_reading,
        features=row,
    )


def _balance_dose_kg_ha(row: Array, bounds: Bounds) -> float:
    share = NITROGEN_PLANTING_SHARE if row[INDEX["dap"]] == 0 else 1.0
    return float(round(share * bounds.nitrogen_kg_ha[-1]))


def _most_profitable(
    row: Array,
    record: Record,
    bounds: Bounds,
    today: str,
    state: SeasonState,
    depths: Array,
    doses: Array,
    outputs: Array,
) -> Recommendation:
    values = (
        record["grain_price_usd_t"] * outputs[:, _YIELD_P50]
        - record["water_price_usd_mm"] * (depths + outputs[:, _WATER_TO_COME])
        - record["nitrogen_price_usd_kg"] * (doses + outputs[:, _NITROGEN_TO_COME])
    )
    least = int(np.lexsort((doses, depths))[0])
    best = int(np.argmax(values))
    gain = float(values[best] - values[least])
    chosen = Recommendation(
        date=today,
        irrigation_mm=round(float(depths[best]), 1),
        nitrogen_kg_ha=float(doses[best]),
        source="model",
        why=_balance_reasons(row, bounds),
        guardrails=bounds.guardrails,
        expected_gain_usd_ha=gain,
        data_age_days=state.days_without_reading,
        features=row,
        yield_p10_t_ha=round(float(outputs[best, _YIELD_P10]), 3),
        yield_p50_t_ha=round(float(outputs[best, _YIELD_P50]), 3),
        yield_p90_t_ha=round(float(outputs[best, _YIELD_P90]), 3),
    )
    return replace(chosen, why=(*chosen.why, _profit_reason(chosen, len(values))))


def _balance_reasons(row: Array, bounds: Bounds) -> tuple[Reason, ...]:
    depletion, taw = float(row[INDEX["depletion_mm"]]), float(row[INDEX["taw_mm"]])
    raw, need = float(row[INDEX["raw_fraction"]]) * taw, float(row[INDEX["nitrogen_need_kg_ha"]])
    water = (("depletion_mm", round(depletion, 1)), ("taw_mm", round(taw, 1)), ("raw_mm", round(raw, 1)))
    said = {
        "below_raw": "So there is no need to irrigate yet.",
        "before_raw": "Less than RAW is used up, so water now must pay by what comes after.",
        "no_irrigation_here": "This field has no irrigation.",
        "no_water_to_give": "The season's water allowance is used up.",
        "crop_is_ripening": "The crop is ripening; water would not become grain.",
        "nitrogen_due": f"A full crop still needs {need:.0f} kg/ha of nitrogen.",
        "nitrogen_balance_met": "The soil holds the nitrogen that the crop still needs.",
    }
    behind = {
        "no_water_to_give": (("allowance_left_mm", round(float(row[INDEX["allowance_left_mm"]]), 1)),),
        "crop_is_ripening": (("dap", float(row[INDEX["dap"]])),),
        "nitrogen_due": (("nitrogen_need_kg_ha", round(need, 1)),),
        "nitrogen_balance_met": (("nitrogen_need_kg_ha", round(need, 1)),),
    }
    lacks = f"The root zone lacks {depletion:.0f} mm of {taw:.0f} mm; up to {raw:.0f} mm the crop feels nothing."
    rules = [Reason(rule, said[rule], behind.get(rule, ())) for rule in bounds.guardrails if rule in said]
    return Reason("root_zone_depletion", lacks, water), *rules


def _profit_reason(chosen: Recommendation, candidates: int) -> Reason:
    gain, expected = chosen.expected_gain_usd_ha, chosen.yield_p50_t_ha or 0.0
    behind = (("expected_gain_usd_ha", round(gain, 2)), ("candidates", float(candidates)))
    if candidates == 1:
        return Reason("only_action", f"Expected yield {expected:.1f} t/ha.", behind)
    interval = f"{chosen.yield_p10_t_ha:.1f} to {chosen.yield_p90_t_ha:.1f} t/ha"
    if gain <= 0.0:
        text = f"Doing more would not pay at today's prices. Expected yield {interval}."
        return Reason("more_does_not_pay", text, behind)
    text = f"The best of {candidates} actions: {gain:.0f} USD/ha more than the least one. Expected yield {interval}."
    return Reason("most_profitable", text, behind)
