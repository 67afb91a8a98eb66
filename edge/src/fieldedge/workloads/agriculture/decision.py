"""From a row of features to a recommendation: candidates, guardrails, the choice and its reasons.

The model never decides alone. The FAO-56 water balance and the nitrogen balance say which actions are sound today;
among those the model picks the most profitable at the grower's own prices, and how long it may wait with water is
bounded (waiting.py). Where the model abstains, the same balances decide; where the crop does not do what was foretold
(evidence.py), water is given between when the model would give it and when the FAO-56 rule would. Pure functions over
arrays and records; storing and showing the answer is the agent's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fieldedge.contract import MAX_CANDIDATES, MODEL, Record
from fieldedge.workload import Array, Decision, Doubt, Predict, Question, ask, decision_values
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.evidence import Evidence
from fieldedge.workloads.agriculture.features import (
    INDEX,
    Day,
    Forecast,
    SeasonState,
    days_between,
    with_actions,
)
from fieldedge.workloads.agriculture.learned import Learned
from fieldedge.workloads.agriculture.tables import OUTPUTS
from fieldedge.workloads.agriculture.waiting import latest_fraction

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
PROBED_FRACTION = 0.25  # drier or wetter by so much of TAW, the model is asked for once more: so its trigger is found
WORTH_SAYING = 0.01  # of the rule's share
RULE = "fao56"

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
    """What to do today and why. Yields are None where the agronomic rule decided, alone or for the greater part."""

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
    rule_share: float = 0.0  # of the FAO-56 rule in when water is given
    learned: tuple[Learned, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, in sentences."""
        return tuple(reason.text for reason in self.why)

    def as_values(self, record: Record, model_version: str, bundle_sha256: str | None = None) -> Record:
        """As a device stores it for the field of this row of table `fields`."""
        question = Question(self.date, self.features, self.features[None, :], self.data_age_days)
        return decision_values(CONTRACT, record, question, self.as_decision(), model_version, bundle_sha256)

    def as_decision(self) -> Decision:
        """As the device keeps it: the columns of table `recommendations`, and the reasons beside them."""
        clear = [one.as_record() for one in self.learned if one.is_clear]
        return Decision(
            {
                "irrigation_mm": self.irrigation_mm,
                "nitrogen_kg_ha": self.nitrogen_kg_ha,
                "yield_p10_t_ha": self.yield_p10_t_ha,
                "yield_p50_t_ha": self.yield_p50_t_ha,
                "yield_p90_t_ha": self.yield_p90_t_ha,
            },
            self.source,
            {
                "reasons": list(self.reasons),
                "reason_codes": [reason.as_record() for reason in self.why],
                "guardrails": list(self.guardrails),
                "expected_gain_usd_ha": round(self.expected_gain_usd_ha, 2),
                **({"rule_share": round(self.rule_share, 3)} if self.rule_share > 0.0 else {}),
                **({"learned": clear} if clear else {}),
            },
        )


@dataclass(frozen=True)
class Bounds:
    """What the balances allow today: candidate depths and doses, which rules made them, what the balances learned."""

    irrigation_mm: tuple[float, ...]
    nitrogen_kg_ha: tuple[float, ...]
    guardrails: tuple[str, ...]
    learned: tuple[Learned, ...] = ()

    def candidates(self) -> tuple[Array, Array]:
        """Every depth with every dose, (K,) each."""
        depths = np.repeat(self.irrigation_mm, len(self.nitrogen_kg_ha)).astype(np.float32)
        return depths, np.tile(self.nitrogen_kg_ha, len(self.irrigation_mm)).astype(np.float32)


class Grounds(NamedTuple):
    """What a morning's decision rests on beside the row of features."""

    bounds: Bounds
    evidence: Evidence

    @property
    def is_graded(self) -> bool:
        """Whether the rule has a share in when water is given."""
        return self.evidence.trust < 1.0


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
    question = question_of(record, state, today, forecast)
    return answer(record, question, *ask(question, CONTRACT, predict, doubt))


def question_of(
    record: Record, state: SeasonState, today: str, forecast: Forecast | None = None, doubt: str | None = None
) -> Question:
    """What is known on a morning, and the actions that the balances allow; its detail are the `Grounds` of those.

    Where the rule has a share in the decision, the last two rows ask the model for its trigger (`_triggers_mm`).
    """
    if days_between(record["planting_date"], today) != state.dap:
        raise ValueError(f"{today} is not day {state.dap} after planting on {record['planting_date']}")
    row = state.features(forecast)
    bounds = replace(sound_actions(row, record), learned=state.learned)
    grounds = Grounds(bounds, state.evidence)
    if state.days_without_reading > MAX_DATA_AGE_DAYS:
        doubt = f"the last reading is {state.days_without_reading} days old"
    if grounds.is_graded:
        grounds = Grounds(_with_room_to_probe(grounds.bounds), grounds.evidence)
    rows = with_actions(row, *grounds.bounds.candidates())
    if grounds.is_graded:
        probed = _probed(row)
        ends = grounds.bounds.irrigation_mm[0], grounds.bounds.irrigation_mm[-1]
        rows = np.concatenate([rows, with_actions(probed, np.array(ends, np.float32), np.zeros(2, np.float32))])
    return Question(today, row, rows, state.days_without_reading, doubt, grounds)


def answer(record: Record, question: Question, outputs: Array | None, abstained: str | None) -> Recommendation:
    """The most profitable action by the model's outputs (K, 5), or what the balances say where it abstained."""
    if outputs is None:
        return _agronomic(question, abstained or "it gave no answer")
    if (np.diff(outputs[:, [_YIELD_P10, _YIELD_P50, _YIELD_P90]], axis=1) < 0.0).any():
        return _agronomic(question, "its quantiles of the yield are out of order")
    width = float(outputs[0, _YIELD_P90] - outputs[0, _YIELD_P10])
    if width > MAX_INTERVAL_T_HA:
        return _agronomic(question, f"its 80 % interval of the yield is {width:.1f} t/ha wide")
    return _most_profitable(record, question, outputs)


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


def _agronomic(question: Question, why: str) -> Recommendation:
    """The FAO-56 rule: refill the root zone once RAW is used up; nitrogen by balance when it falls due."""
    row, bounds = question.features, question.detail.bounds
    is_due = "nitrogen_due" in bounds.guardrails
    is_early = "before_raw" in bounds.guardrails
    return Recommendation(
        date=question.at,
        irrigation_mm=0.0 if is_early else bounds.irrigation_mm[-1],
        nitrogen_kg_ha=_balance_dose_kg_ha(row, bounds) if is_due else 0.0,
        source=RULE,
        why=(
            Reason("model_abstains", f"The model abstains: {why}. The FAO-56 balance decides."),
            *_balance_reasons(row, bounds, is_rule_alone=True),
        ),
        guardrails=(*bounds.guardrails, "model_abstains"),
        expected_gain_usd_ha=0.0,
        data_age_days=question.data_age_days,
        features=row,
        learned=bounds.learned,
    )


def _balance_dose_kg_ha(row: Array, bounds: Bounds) -> float:
    share = NITROGEN_PLANTING_SHARE if row[INDEX["dap"]] == 0 else 1.0
    return float(round(share * bounds.nitrogen_kg_ha[-1]))


def _most_profitable(record: Record, question: Question, outputs: Array) -> Recommendation:
    """The action of the highest value; where the rule has a share, of those with the depth that the two agree on."""
    row, (bounds, evidence) = question.features, question.detail
    depths, doses = bounds.candidates()
    asked = question.rows
    given = asked[:, INDEX["candidate_irrigation_mm"]], asked[:, INDEX["candidate_nitrogen_kg_ha"]]
    values = _values_usd_ha(record, outputs, *given)
    weighed = values[: len(depths)]
    why, share = _balance_reasons(row, bounds), 1.0 - evidence.trust
    least, best = int(np.lexsort((doses, depths))[0]), int(np.argmax(weighed))
    largest = bounds.irrigation_mm[-1]
    may_wait = largest > 0.0 and bool(depths[best] == 0.0)
    latest = float(row[INDEX["taw_mm"]])
    if may_wait or question.detail.is_graded:
        latest *= float(latest_fraction(row[None, :])[0])
    is_late = may_wait and bool(row[INDEX["depletion_mm"]] >= latest)
    if question.detail.is_graded:
        triggers = _triggers_mm(row, bounds, values, share, latest)
        depth = largest if row[INDEX["depletion_mm"]] >= triggers.agreed else 0.0
        best = _best_with(depth, depths, weighed)
    elif is_late:
        best = _best_with(largest, depths, weighed)
    is_models = share < 0.5
    chosen = Recommendation(
        date=question.at,
        irrigation_mm=round(float(depths[best]), 1),
        nitrogen_kg_ha=float(doses[best]),
        source=MODEL if is_models else RULE,
        why=why,
        guardrails=(
            *bounds.guardrails,
            *(("waited_long_enough",) if is_late else ()),
            *(("leans_on_rule",) if share >= WORTH_SAYING else ()),
        ),
        expected_gain_usd_ha=float(weighed[best] - weighed[least]),
        data_age_days=question.data_age_days,
        features=row,
        learned=bounds.learned,
        yield_p10_t_ha=round(float(outputs[best, _YIELD_P10]), 3) if is_models else None,
        yield_p50_t_ha=round(float(outputs[best, _YIELD_P50]), 3) if is_models else None,
        yield_p90_t_ha=round(float(outputs[best, _YIELD_P90]), 3) if is_models else None,
        rule_share=share,
    )
    if share >= WORTH_SAYING:
        why = (*why, _leaning_reason(evidence, share, triggers))
    if is_late:
        why = (*why, _late_reason(chosen, latest))
    elif is_models:
        why = (*why, _profit_reason(chosen, len(weighed)))
    return replace(chosen, why=(*why, *_carried_on(question)))


def _best_with(depth_mm: float, depths: Array, values: Array) -> int:
    """The action of the highest value among those with this depth."""
    return int(np.argmax(np.where(np.isclose(depths, depth_mm), values, -np.inf)))


def _values_usd_ha(record: Record, outputs: Array, depths: Array, doses: Array) -> Array:
    """What the model expects of each action (K,) at the grower's prices, the same costs left out of all."""
    values: Array = (
        record["grain_price_usd_t"] * outputs[:, _YIELD_P50]
        - record["water_price_usd_mm"] * (depths + outputs[:, _WATER_TO_COME])
        - record["nitrogen_price_usd_kg"] * (doses + outputs[:, _NITROGEN_TO_COME])
    )
    return values


class Triggers(NamedTuple):
    """Root-zone depletions from which water is given, mm: by the model, by the FAO-56 rule, and between the two."""

    model: float
    rule: float
    agreed: float


def _with_room_to_probe(bounds: Bounds) -> Bounds:
    """The same with as many doses as leave two rows of a model's question free; the full dose stays."""
    most = (MAX_CANDIDATES - 2) // 2
    doses = bounds.nitrogen_kg_ha
    return bounds if len(doses) <= most else replace(bounds, nitrogen_kg_ha=(*doses[: most - 1], doses[-1]))


def _probed(row: Array) -> Array:
    """The same morning with a root zone that is drier, or wetter where it is dry already; nothing else is changed."""
    probed, fraction = row.copy(), float(row[INDEX["depletion_fraction"]])
    probed[INDEX["depletion_fraction"]] = fraction + (PROBED_FRACTION if fraction < 0.5 else -PROBED_FRACTION)
    probed[INDEX["depletion_mm"]] = probed[INDEX["depletion_fraction"]] * row[INDEX["taw_mm"]]
    return probed


def _triggers_mm(row: Array, bounds: Bounds, values: Array, rule_share: float, latest: float) -> Triggers:
    """When the model, the rule and the two together would give water. `values` (K + 2,) end with the probed ones.

    The model's trigger is where an irrigation begins to pay: on the line through what it gains now and what it would
    gain in the probed root zone. It lies between the guardrail's lowest depletion and the `latest`, at most TAW.
    """
    depletion, taw = float(row[INDEX["depletion_mm"]]), float(row[INDEX["taw_mm"]])
    raw = float(row[INDEX["raw_fraction"]]) * taw
    gain = float(values[(len(bounds.irrigation_mm) - 1) * len(bounds.nitrogen_kg_ha)] - values[0])
    probed_mm = float(_probed(row)[INDEX["depletion_mm"]])
    slope = (float(values[-1] - values[-2]) - gain) / (probed_mm - depletion)
    lowest = EARLY_SHARE_OF_RAW * raw
    # Where dryness does not make water worth more, the model gives it always or never.
    pays_from = depletion - gain / slope if slope > 0.0 else (lowest if gain > 0.0 else taw)
    model = min(max(pays_from, lowest), latest, taw)
    return Triggers(model, raw, (1.0 - rule_share) * model + rule_share * raw)


def _leaning_reason(evidence: Evidence, share: float, triggers: Triggers) -> Reason:
    seen = "more slowly" if evidence.canopy < 0.0 else "faster"
    return Reason(
        "leans_on_rule",
        f"The crop grows {seen} than foretold: the advice leans on the FAO-56 rule, {100.0 * share:.0f} %. "
        f"Water is due once the root zone lacks {triggers.agreed:.0f} mm; by the model alone {triggers.model:.0f} mm, "
        f"by the rule {triggers.rule:.0f} mm.",
        (
            ("rule_share", round(share, 3)),
            ("canopy_surprise_sd", round(evidence.canopy, 2)),
            ("model_trigger_mm", round(triggers.model, 1)),
            ("rule_trigger_mm", round(triggers.rule, 1)),
            ("trigger_mm", round(triggers.agreed, 1)),
        ),
    )


def _late_reason(chosen: Recommendation, latest_mm: float) -> Reason:
    expected = ""
    if chosen.yield_p10_t_ha is not None:
        expected = f" Expected yield {chosen.yield_p10_t_ha:.1f} to {chosen.yield_p90_t_ha:.1f} t/ha."
    return Reason(
        "waited_long_enough",
        "The model would wait longer; nobody has seen that this crop endures it, so water is due at the latest once "
        f"the root zone lacks {latest_mm:.0f} mm.{expected}",
        (("latest_trigger_mm", round(latest_mm, 1)), ("expected_gain_usd_ha", round(chosen.expected_gain_usd_ha, 2))),
    )


def _balance_reasons(row: Array, bounds: Bounds, *, is_rule_alone: bool = False) -> tuple[Reason, ...]:
    depletion, taw = float(row[INDEX["depletion_mm"]]), float(row[INDEX["taw_mm"]])
    raw, need = float(row[INDEX["raw_fraction"]]) * taw, float(row[INDEX["nitrogen_need_kg_ha"]])
    water = (("depletion_mm", round(depletion, 1)), ("taw_mm", round(taw, 1)), ("raw_mm", round(raw, 1)))
    said = {
        "below_raw": "So there is no need to irrigate yet.",
        "before_raw": "The readily available water is not used up, "
        + ("so the rule waits." if is_rule_alone else "so water now must pay by what comes after."),
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


def _carried_on(question: Question) -> tuple[Reason, ...]:
    """In which trends the season lies beyond those that the model has learned from."""
    return tuple(
        Reason(
            f"{name}_extrapolated",
            f"The air's CO2 is {value:.0f} ppm, beyond the {low:.0f} to {high:.0f} that the model has learned from: "
            "its answer is carried on from there.",
            ((name, round(value, 1)), (f"learned_from_{name}", round(low, 1)), (f"learned_to_{name}", round(high, 1))),
        )
        for name, value, low, high in question.extrapolated
    )


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
