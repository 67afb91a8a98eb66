"""Agronomy bounds the model: whatever it answers, a recommendation is sound, says why, and is kept as it was made."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.contract import MAX_CANDIDATES, MODEL, Record
from fieldedge.workloads import known_workload
from fieldedge.workloads.agriculture import Day, Predict, Recommendation, SeasonState
from fieldedge.workloads.agriculture import layout as at
from fieldedge.workloads.agriculture.decision import (
    EARLY_SHARE_OF_RAW,
    IRRIGATION_LAST_DAP,
    IRRIGATION_MIN_MM,
    MAX_DATA_AGE_DAYS,
    NITROGEN_DOSES_KG_HA,
    NITROGEN_MAX_KG_HA,
    NITROGEN_MIN_KG_HA,
    NITROGEN_SPACING_D,
    NITROGEN_WINDOWS_DAP,
    largest_depth_mm,
    largest_dose_kg_ha,
    question_of,
    sound_actions,
)
from fieldedge.workloads.agriculture.evidence import STRANGE_SD, USUAL_SD, asked_of
from fieldedge.workloads.agriculture.features import FEATURES, INDEX, Array, Forecast
from fieldedge.workloads.agriculture.waiting import latest_fraction
from tests.edge.sample import field_record, reading_record

AGRICULTURE = known_workload("agriculture")
RECOMMENDATIONS = AGRICULTURE.contract.table("recommendations")
MIDSUMMER_DAP = 70
TAW_MM = 120.0


def field(**changes: float | str) -> Record:
    return {**field_record(), **changes}


def state_on(dap: int, depletion_share: float, record: Record, **changes: float) -> SeasonState:
    """A morning with the root zone emptied to a share of TAW; `changes` are places of layout.py, in lower case."""
    state = SeasonState.start(record)
    values = {
        "dap": float(dap),
        "taw_mm": TAW_MM,
        "depletion_mm": depletion_share * TAW_MM,
        "mineral_nitrogen_kg_ha": 150.0,
        "nitrogen_taken_kg_ha": 200.0,
        "biomass_t_ha": 12.0,
        **changes,
    }
    for name, value in values.items():
        state.values[getattr(at, name.upper())] = value
    return state


def advice(state: SeasonState, record: Record, predict: Predict | None) -> Recommendation:
    today = date.fromisoformat(record["planting_date"]) + timedelta(days=state.dap)
    return AGRICULTURE.recommend_from_state(record, state, today.isoformat(), predict)


def raw_mm(state: SeasonState) -> float:
    return float(state.features()[INDEX["raw_fraction"]]) * state.values[at.TAW_MM]


def worth(usd_ha_mm: float = 0.0, usd_ha_kg: float = 0.0, base_t_ha: float = 10.0) -> Predict:
    """A model to which every mm and every kg is worth so much, at a grain price of 180 USD/t."""

    def physical(rows: Array, name: str) -> Array:
        feature = FEATURES[INDEX[name]]
        values: Array = (rows[:, INDEX[name]] + 1.0) / 2.0 * (feature.maximum - feature.minimum) + feature.minimum
        return values

    def predict(rows: Array) -> Array:
        water, nitrogen = (physical(rows, f"candidate_{n}") for n in ("irrigation_mm", "nitrogen_kg_ha"))
        middle = base_t_ha + (usd_ha_mm * water + usd_ha_kg * nitrogen) / 180.0
        nothing = np.zeros_like(middle)
        return np.stack([middle - 1, middle, middle + 1, nothing, nothing], axis=1).astype(np.float32)

    return predict


def of_seed(seed: int) -> Predict:
    return lambda rows: np.random.default_rng(seed).uniform(-50, 400, (len(rows), 5)).astype(np.float32)


fields = st.builds(
    field,
    application_efficiency=st.floats(0.3, 1.0),
    irrigation_capacity_mm=st.floats(0.0, 60.0),
    water_allowance_mm=st.floats(0.0, 600.0),
    root_depth_max_m=st.floats(0.4, 2.5),
    water_price_usd_mm=st.floats(0.0, 5.0),
)
mornings = st.fixed_dictionaries(
    {
        "dap": st.integers(0, 140),
        "depletion_share": st.floats(0.0, 1.0),
        "taw_mm": st.floats(20.0, 300.0),
        "irrigation_mm": st.floats(0.0, 600.0),
        "mineral_nitrogen_kg_ha": st.floats(0.0, 250.0),
        "nitrogen_taken_kg_ha": st.floats(0.0, 250.0),
        "since_nitrogen_d": st.integers(1, 999),
        "without_reading_d": st.integers(0, 6),
    }
)
models = st.none() | st.integers(0, 99).map(of_seed) | st.just(worth(9.0, 9.0)) | st.just(worth(-9.0, -9.0))


@settings(max_examples=75)
@given(record=fields, morning=mornings, predict=models)
def test_no_depth_is_beyond_what_the_root_zone_takes_the_pump_gives_or_the_allowance_leaves(
    record: Record, morning: dict[str, float], predict: Predict | None
) -> None:
    state = state_on(record=record, **morning)
    depth_mm, depletion_mm = advice(state, record, predict).irrigation_mm, state.values[at.DEPLETION_MM]
    allowed_mm = depletion_mm / record["application_efficiency"]
    left_mm = max(0.0, record["water_allowance_mm"] - state.values[at.IRRIGATION_MM])
    assert 0.0 <= depth_mm <= min(allowed_mm, record["irrigation_capacity_mm"], left_mm) + 1e-3
    assert depth_mm == 0.0 or depth_mm >= IRRIGATION_MIN_MM
    if depletion_mm < EARLY_SHARE_OF_RAW * raw_mm(state) - 1e-3 or state.dap > IRRIGATION_LAST_DAP:
        assert depth_mm == 0.0


@settings(max_examples=75)
@given(record=fields, morning=mornings, predict=models)
def test_no_dose_is_beyond_the_need_out_of_its_window_or_too_soon_after_the_last(
    record: Record, morning: dict[str, float], predict: Predict | None
) -> None:
    state = state_on(record=record, **morning)
    told = advice(state, record, predict)
    need = float(state.features()[INDEX["nitrogen_need_kg_ha"]])
    assert 0.0 <= told.nitrogen_kg_ha <= min(need + 0.5, NITROGEN_MAX_KG_HA)
    if told.nitrogen_kg_ha > 0.0:
        assert any(first <= state.dap <= last for first, last in NITROGEN_WINDOWS_DAP)
        assert state.days_since_nitrogen >= NITROGEN_SPACING_D
        assert need >= NITROGEN_MIN_KG_HA


@settings(max_examples=75)
@given(record=fields, morning=mornings, predict=models)
def test_every_recommendation_is_a_row_of_the_contract_with_its_reasons(
    record: Record, morning: dict[str, float], predict: Predict | None
) -> None:
    state = state_on(record=record, **morning)
    told = advice(state, record, predict).as_values(record, "7")
    yields = {told.pop(f"yield_{p}_t_ha") for p in ("p10", "p50", "p90")}
    assert (yields == {None}) == (told["source"] == "fao56")
    no_yields = dict.fromkeys(("yield_p10_t_ha", "yield_p50_t_ha", "yield_p90_t_ha"))
    AGRICULTURE.contract.record("recommendations", {**told, **no_yields}, "a test")
    assert told["reasons"]
    assert all(reason.endswith(".") for reason in told["reasons"])


def test_a_recommended_depth_is_kept_in_whole_tenths_of_a_millimetre() -> None:
    record = field(irrigation_capacity_mm=20.16)
    assert advice(state_on(MIDSUMMER_DAP, 0.9, record), record, worth(9.0)).irrigation_mm == 20.1


def test_a_thirsty_crop_gets_what_pays_and_dear_water_stays_in_the_well() -> None:
    records = [field(water_price_usd_mm=price) for price in (0.5, 4.0)]
    cheap, dear = (advice(state_on(MIDSUMMER_DAP, 0.6, record), record, worth(2.0)) for record in records)
    assert (cheap.source, dear.source) == ("model", "model")
    assert cheap.irrigation_mm == 25.0
    assert cheap.expected_gain_usd_ha == pytest.approx(25.0 * 1.5, rel=1e-3)
    assert (dear.irrigation_mm, dear.expected_gain_usd_ha) == (0.0, 0.0)
    assert "would not pay" in dear.reasons[-1]


def test_the_most_profitable_of_all_depths_and_doses_is_chosen() -> None:
    hungry = state_on(45, 0.6, field(), mineral_nitrogen_kg_ha=20.0, nitrogen_taken_kg_ha=60.0)
    bounds = sound_actions(hungry.features(), field())
    assert bounds.irrigation_mm == (0.0, 25.0)
    assert bounds.nitrogen_kg_ha == (0.0, *NITROGEN_DOSES_KG_HA, NITROGEN_MAX_KG_HA)
    for usd_ha_mm, usd_ha_kg in ((2.0, 0.5), (0.5, 2.0), (2.0, 2.0), (0.5, 0.5)):
        told = advice(hungry, field(), worth(usd_ha_mm, usd_ha_kg))
        pays = usd_ha_mm > 1.0, usd_ha_kg > 1.0
        assert (told.irrigation_mm > 0.0, told.nitrogen_kg_ha > 0.0) == pays
        assert told.expected_gain_usd_ha == pytest.approx(25.0 * pays[0] + 150.0 * pays[1], abs=0.1)


def test_water_and_nitrogen_that_would_be_given_later_count_like_those_of_today() -> None:
    """A model that would give 40 mm less later: at 1 USD/mm an irrigation of 25 mm saves 15 USD/ha."""

    def saves(rows: Array) -> Array:
        is_watered = rows[:, INDEX["candidate_irrigation_mm"]] > -1.0
        outputs = np.tile(np.float32([9.0, 10.0, 11.0, 100.0, 0.0]), (len(rows), 1))
        outputs[:, 3] -= np.where(is_watered, 40.0, 0.0)
        return outputs

    told = advice(state_on(MIDSUMMER_DAP, 0.6, field()), field(), saves)
    assert (told.irrigation_mm, told.expected_gain_usd_ha) == (25.0, pytest.approx(15.0))


def test_a_soil_that_holds_most_of_its_easy_water_is_left_alone_whatever_the_model_says() -> None:
    told = advice(state_on(MIDSUMMER_DAP, 0.2, field()), field(), worth(9.0))
    assert told.irrigation_mm == 0.0
    assert "below_raw" in told.guardrails
    assert "So there is no need to irrigate yet." in told.reasons


def test_between_half_of_raw_and_raw_the_model_may_irrigate_but_the_rule_without_a_model_waits() -> None:
    state = state_on(MIDSUMMER_DAP, 0.4, field())
    assert EARLY_SHARE_OF_RAW * raw_mm(state) < 0.4 * TAW_MM < raw_mm(state)
    by_model, by_rule = (advice(state, field(), predict) for predict in (worth(9.0), None))
    assert (by_model.irrigation_mm, by_rule.irrigation_mm) == (25.0, 0.0)
    for told, why in ((by_model, "so water now must pay by what comes after."), (by_rule, "so the rule waits.")):
        assert "before_raw" in told.guardrails
        assert f"The readily available water is not used up, {why}" in told.reasons


def test_nothing_is_given_until_half_of_raw_is_used_up() -> None:
    half_mm = EARLY_SHARE_OF_RAW * raw_mm(state_on(MIDSUMMER_DAP, 0.0, field()))
    for depletion_mm, is_sound in ((half_mm - 0.5, False), (half_mm + 0.5, True)):
        state = state_on(MIDSUMMER_DAP, depletion_mm / TAW_MM, field())
        assert (advice(state, field(), worth(9.0)).irrigation_mm > 0.0) == is_sound


def test_a_depth_fills_the_root_zone_in_spite_of_what_the_sprinkler_loses() -> None:
    record = field(application_efficiency=0.8, irrigation_capacity_mm=100.0)
    assert advice(state_on(MIDSUMMER_DAP, 0.4, record), record, worth(9.0)).irrigation_mm == pytest.approx(
        60.0, abs=0.11
    )


@pytest.mark.parametrize(
    ("changes", "record", "rule", "said"),
    [
        ({"dap": IRRIGATION_LAST_DAP + 1}, field(), "crop_is_ripening", "would not become grain"),
        ({"irrigation_mm": 395.0}, field(), "no_water_to_give", "allowance is used up"),
        ({}, field(irrigation_capacity_mm=0.0), "no_irrigation_here", "has no irrigation"),
    ],
)
def test_ripe_crops_dry_wells_and_fields_without_pumps_get_no_water_and_are_told_why(
    changes: dict[str, float], record: Record, rule: str, said: str
) -> None:
    told = advice(state_on(**{"dap": MIDSUMMER_DAP, **changes}, depletion_share=0.9, record=record), record, worth(9.0))
    assert told.irrigation_mm == 0.0
    assert rule in told.guardrails
    assert any(said in reason for reason in told.reasons)


@pytest.mark.parametrize(
    ("dap", "changes", "rules"),
    [
        (45, {"mineral_nitrogen_kg_ha": 250.0}, {"nitrogen_balance_met"}),
        (45, {"since_nitrogen_d": NITROGEN_SPACING_D - 1.0}, {"nitrogen_spacing"}),
        (25, {}, set()),
        (63, {}, set()),
    ],
)
def test_nitrogen_waits_for_its_window_for_a_need_and_for_the_last_dose_to_work(
    dap: int, changes: dict[str, float], rules: set[str]
) -> None:
    hungry = {"mineral_nitrogen_kg_ha": 20.0, "nitrogen_taken_kg_ha": 60.0, **changes}
    told = advice(state_on(dap, 0.0, field(), **hungry), field(), worth(0.0, 9.0))
    assert told.nitrogen_kg_ha == 0.0
    assert {rule for rule in told.guardrails if rule.startswith("nitrogen")} == rules


def test_late_in_the_window_the_rule_without_a_model_gives_the_whole_need_and_at_planting_a_quarter() -> None:
    hungry = {"mineral_nitrogen_kg_ha": 60.0, "nitrogen_taken_kg_ha": 60.0}
    early, late = (advice(state_on(dap, 0.0, field(), **hungry), field(), None) for dap in (30, 45))
    assert early.nitrogen_kg_ha == 0.0
    assert late.nitrogen_kg_ha == pytest.approx(late.features[INDEX["nitrogen_need_kg_ha"]], abs=0.5)
    start = SeasonState.start(field())
    full = float(largest_dose_kg_ha(start.features()[None])[0])
    assert full > NITROGEN_MIN_KG_HA
    assert advice(start, field(), None).nitrogen_kg_ha == round(0.25 * full)


def test_the_guardrails_of_many_rows_are_those_of_each() -> None:
    rng = np.random.default_rng(3)
    states = [
        state_on(
            int(rng.integers(0, 135)),
            rng.random(),
            field(),
            irrigation_mm=float(rng.uniform(0, 450)),
            mineral_nitrogen_kg_ha=float(rng.uniform(0, 200)),
            nitrogen_taken_kg_ha=float(rng.uniform(0, 200)),
        )
        for _ in range(300)
    ]
    rows = np.stack([state.features() for state in states])
    efficiency = rng.choice(np.float32([0.85, 1.0]), len(rows))
    depths, doses = largest_depth_mm(rows, efficiency), largest_dose_kg_ha(rows)
    bounds = [
        sound_actions(row, field(application_efficiency=float(share)))
        for row, share in zip(rows, efficiency, strict=True)
    ]
    np.testing.assert_allclose(depths, [bound.irrigation_mm[-1] for bound in bounds], atol=1e-5)
    np.testing.assert_array_equal(doses, [bound.nitrogen_kg_ha[-1] for bound in bounds])
    assert 30 < np.count_nonzero(depths) < 270
    assert 10 < np.count_nonzero(doses) < 270


def test_a_forecast_reaches_the_model_and_changes_nothing_else() -> None:
    seen = []

    def predict(rows: Array) -> Array:
        seen.append(rows)
        return worth(2.0)(rows)

    state = state_on(MIDSUMMER_DAP, 0.6, field())
    forecast = Forecast(rain_mm=(10.0, 5.0, 0.0, 0.0, 3.0), et0_mm=(4.0, 5.0, 6.0, 7.0, 8.0))
    for known in (None, forecast):
        told = AGRICULTURE.recommend_from_state(field(), state, "2006-07-10", predict, known)
        assert told.irrigation_mm == 25.0
    changed = {FEATURES[i].name for i in np.flatnonzero((seen[0] != seen[1]).any(axis=0))}
    assert changed == {"has_forecast", "forecast_rain_2d_mm", "forecast_rain_5d_mm", "forecast_et0_5d_mm"}


def test_a_model_whose_quantiles_are_out_of_order_is_not_followed() -> None:
    def predict(rows: Array) -> Array:
        outputs = worth(2.0)(rows)
        outputs[-1, :2] = outputs[-1, 1::-1] + np.array([0.1, 0.0], np.float32)
        return outputs

    told = advice(state_on(MIDSUMMER_DAP, 0.6, field()), field(), predict)
    assert (told.source, told.yield_p50_t_ha) == ("fao56", None)
    assert "quantiles of the yield are out of order" in told.reasons[0]


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(5))
def test_a_model_that_answers_no_number_is_not_asked_twice(rubbish: float, column: int) -> None:
    def predict(rows: Array) -> Array:
        outputs = worth(2.0)(rows)
        outputs[-1, column] = rubbish
        return outputs

    told = advice(state_on(MIDSUMMER_DAP, 0.6, field()), field(), predict)
    assert (told.source, told.yield_p50_t_ha) == ("fao56", None)
    assert "not a number" in told.reasons[0]
    assert told.irrigation_mm == 25.0  # RAW is used up, so the FAO-56 rule refills


def test_without_a_model_the_fao56_balance_advises_a_whole_season() -> None:
    state = SeasonState.start(field())
    told = []
    for number in range(120):
        day = (date(2006, 5, 1) + timedelta(days=number)).isoformat()
        told.append(AGRICULTURE.recommend_from_state(field(), state, day, None))
        state.advance(Day(day, reading_record(number), told[-1].irrigation_mm, told[-1].nitrogen_kg_ha))
    assert {one.source for one in told} == {"fao56"}
    assert 100.0 < sum(one.irrigation_mm for one in told) <= 400.0
    assert 100.0 < sum(one.nitrogen_kg_ha for one in told) < 300.0
    assert told[0].nitrogen_kg_ha > 0.0


@pytest.mark.parametrize("days", range(6))
def test_the_model_abstains_once_the_readings_are_more_than_three_days_old(days: int) -> None:
    history = [
        Day("", reading_record(number) if number < MIDSUMMER_DAP - days else None) for number in range(MIDSUMMER_DAP)
    ]
    told = AGRICULTURE.recommend(field(), history, "2006-07-10", worth(2.0))
    assert told.data_age_days == days
    assert told.source == ("fao56" if days > MAX_DATA_AGE_DAYS else "model")
    assert MAX_DATA_AGE_DAYS == 3


def test_a_state_of_another_day_than_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="2006-07-01 is not day 0 after planting on 2006-05-01"):
        AGRICULTURE.recommend(field(), [], "2006-07-01", None)


def test_the_same_season_gives_the_same_advice_folded_at_once_or_day_by_day() -> None:
    history = [Day("", reading_record(number), 10.0 if number % 9 == 0 else 0.0) for number in range(MIDSUMMER_DAP)]
    state = SeasonState.start(field())
    for day in history:
        state.advance(day)
    at_once = AGRICULTURE.recommend(field(), history, "2006-07-10", worth(2.0))
    by_day = AGRICULTURE.recommend_from_state(field(), state, "2006-07-10", worth(2.0))
    assert at_once.as_values(field(), "7") == by_day.as_values(field(), "7")


# Between the model and the rule


def trusted(state: SeasonState, trust: float) -> SeasonState:
    """The same morning, after flights that saw a crop which lags so much that the model is trusted to that share."""
    state.values[at.CANOPY_SURPRISE] = -asked_of(state.constants) * (STRANGE_SD - trust * (STRANGE_SD - USUAL_SD))
    state.values[at.CANOPY_FLIGHTS] = 1.0
    assert state.evidence.trust == pytest.approx(trust)
    return state


def pays_from(depletion_fraction: float) -> Predict:
    """A model to which water pays once so much of TAW is used up, and the more so the drier."""
    fraction = FEATURES[INDEX["depletion_fraction"]]
    water = FEATURES[INDEX["candidate_irrigation_mm"]]

    def predict(rows: Array) -> Array:
        dry = (rows[:, INDEX["depletion_fraction"]] + 1.0) / 2.0 * (fraction.maximum - fraction.minimum)
        mm = (rows[:, INDEX["candidate_irrigation_mm"]] + 1.0) / 2.0 * (water.maximum - water.minimum)
        middle = 10.0 + mm * (field_record()["water_price_usd_mm"] / field_record()["grain_price_usd_t"])
        middle = middle + 0.003 * mm * (dry - depletion_fraction)
        nothing = np.zeros_like(middle)
        return np.stack([middle - 1, middle, middle + 1, nothing, nothing], axis=1).astype(np.float32)

    return predict


def first_irrigated_mm(predict: Predict | None, trust: float) -> float:
    """The least depletion, to the millimetre, at which water is given."""
    for depletion_mm in range(int(TAW_MM)):
        state = trusted(state_on(MIDSUMMER_DAP, depletion_mm / TAW_MM, field()), trust)
        if advice(state, field(), predict).irrigation_mm > 0.0:
            return float(depletion_mm)
    return TAW_MM


def latest_on_midsummer() -> float:
    return float(latest_fraction(state_on(MIDSUMMER_DAP, 0.6, field()).features()[None, :])[0])


def test_a_model_that_would_never_irrigate_waits_no_longer_than_the_device_is_sure_of() -> None:
    found, latest = first_irrigated_mm(worth(-9.0), 1.0), latest_on_midsummer() * TAW_MM
    assert first_irrigated_mm(None, 1.0) < latest < TAW_MM
    assert found == pytest.approx(latest, abs=1.0)
    told = advice(state_on(MIDSUMMER_DAP, (found + 1.0) / TAW_MM, field()), field(), worth(-9.0))
    assert (told.source, told.irrigation_mm) == (MODEL, 25.0)
    assert "waited_long_enough" in told.guardrails
    assert told.why[-1].code == "waited_long_enough" and told.expected_gain_usd_ha < 0.0
    assert f"at the latest once the root zone lacks {latest:.0f} mm" in told.reasons[-1]


def test_a_model_that_irrigates_in_time_is_told_nothing_of_the_latest() -> None:
    told = advice(state_on(MIDSUMMER_DAP, 0.9, field()), field(), worth(9.0))
    assert "waited_long_enough" not in told.guardrails
    assert told.why[-1].code == "most_profitable"


@pytest.mark.parametrize("model", [0.4, 0.85])
def test_the_less_the_model_is_trusted_the_nearer_water_is_given_to_when_the_rule_gives_it(model: float) -> None:
    rule = first_irrigated_mm(None, 1.0)
    found = [first_irrigated_mm(pays_from(model), trust) for trust in (1.0, 0.75, 0.5, 0.25, 0.0)]
    alone = min(model, latest_on_midsummer()) * TAW_MM
    assert found[0] == pytest.approx(alone, abs=1.0)
    assert found[-1] == rule
    expected = [share * alone + (1.0 - share) * rule for share in (0.75, 0.5, 0.25)]
    assert found[1:4] == pytest.approx(expected, abs=1.5)


@settings(max_examples=50)
@given(record=fields, morning=mornings, predict=models)
def test_without_any_trust_water_is_the_rules_whatever_the_model_answers(
    record: Record, morning: dict[str, float], predict: Predict | None
) -> None:
    alone = advice(state_on(record=record, **morning), record, None)
    assert (
        advice(trusted(state_on(record=record, **morning), 0.0), record, predict).irrigation_mm == alone.irrigation_mm
    )


def test_a_model_that_is_trusted_is_asked_nothing_more_and_one_that_is_not_within_what_it_was_tried_with() -> None:
    record = field()
    for trust, more in ((1.0, 0), (0.5, 2)):
        state = trusted(state_on(35, 0.7, record, mineral_nitrogen_kg_ha=20.0, nitrogen_taken_kg_ha=10.0), trust)
        question = question_of(record, state, day_after_planting(record, 35), None)
        depths, _ = question.detail.bounds.candidates()
        assert len(question.rows) == len(depths) + more <= MAX_CANDIDATES
        assert max(question.detail.bounds.nitrogen_kg_ha) == float(largest_dose_kg_ha(question.rows[:1])[0])


def day_after_planting(record: Record, dap: int) -> str:
    return (date.fromisoformat(record["planting_date"]) + timedelta(days=dap)).isoformat()


def test_a_recommendation_that_leans_on_the_rule_says_how_much_and_why() -> None:
    told = advice(trusted(state_on(MIDSUMMER_DAP, 0.7, field()), 0.6), field(), pays_from(0.9))
    (reason,) = [one for one in told.why if one.code == "leans_on_rule"]
    assert reason.text.startswith(
        "The crop grows more slowly than foretold: the advice leans on the FAO-56 rule, 40 %. Water is due once"
    )
    values = dict(reason.values)
    assert values["rule_trigger_mm"] < values["trigger_mm"] < values["model_trigger_mm"]
    assert values["model_trigger_mm"] == pytest.approx(latest_on_midsummer() * TAW_MM, abs=0.2)
    assert (told.source, told.rule_share) == (MODEL, pytest.approx(0.4))
    assert "leans_on_rule" in told.guardrails and told.yield_p50_t_ha is not None


def test_where_the_rule_has_the_greater_share_the_decision_is_the_rules_and_no_yield_is_foretold() -> None:
    told = advice(trusted(state_on(MIDSUMMER_DAP, 0.7, field()), 0.4), field(), pays_from(0.9))
    assert (told.source, told.rule_share) == ("fao56", pytest.approx(0.6))
    assert told.yield_p10_t_ha is told.yield_p50_t_ha is told.yield_p90_t_ha is None
    values = told.as_values(field(), "1")
    assert values["rule_share"] == pytest.approx(0.6)
    checked = RECOMMENDATIONS.check({**values, "record_id": "2006/field/recommendations/day"}, "test")
    assert checked["source"] == "fao56"


def test_with_a_little_less_than_full_trust_nothing_is_said_of_it() -> None:
    told = advice(trusted(state_on(MIDSUMMER_DAP, 0.7, field()), 0.995), field(), pays_from(0.5))
    assert [reason.code for reason in told.why] == ["root_zone_depletion", "most_profitable"]
    assert told.guardrails == ()
