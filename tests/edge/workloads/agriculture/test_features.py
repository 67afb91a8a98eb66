"""The one feature builder: what it reads off a season, and what an action does to it."""

import math
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.contract import Record
from fieldedge.workloads import known_workload
from fieldedge.workloads.agriculture import Day, Forecast
from fieldedge.workloads.agriculture import layout as at
from fieldedge.workloads.agriculture.features import (
    FEATURES,
    INDEX,
    NO_FORECAST,
    PROBE_COLUMNS,
    START_WATER_KNOWN_SD,
    START_WATER_UNKNOWN,
    START_WATER_UNKNOWN_SD,
    SeasonState,
    field_constants,
    read_features,
    set_actions,
)
from tests.edge.sample import field_record

AGRICULTURE = known_workload("agriculture")
PLANTING = date(2006, 5, 1)
SAMPLED = {**field_record(), "initial_water_pct": 100.0}

# Change a feature and this changes: then the contract's revision must change with it, or devices and models that
# mean different things would take each other for friends.
GOLDEN_REVISION = 4
GOLDEN_ROW_AFTER_60_DAYS = {
    "dap": 60,
    "gdd_c_d": 795.7143,
    "depletion_mm": 35.74078,
    "depletion_fraction": 0.3132281,
    "raw_fraction": 0.5265715,
    "taw_mm": 114.1046,
    "surface_wetness": 1.801868,
    "wetness_15cm": -0.1678362,
    "wetness_35cm": -0.1115838,
    "wetness_75cm": 0.9999902,
    "wetness_105cm": 1.000355,
    "wetness_deep": 1.000385,
    "water_uncertainty": 0.0649664,
    "canopy_cover": 0.9529363,
    "relative_transpiration": 1,
    "biomass_t_ha": 9.905993,
    "stress_expansion_d": 2.45842,
    "stress_vegetative_d": 0,
    "stress_flowering_d": 0,
    "stress_filling_d": 0,
    "rain_1d_mm": 0,
    "rain_3d_mm": 0,
    "rain_7d_mm": 11.09781,
    "rain_14d_mm": 22.34775,
    "rain_season_mm": 99.23765,
    "et0_1d_mm": 5.5,
    "et0_7d_mm": 34,
    "et0_season_mm": 285.8571,
    "tmax_7d_c": 29,
    "tmin_7d_c": 14.42857,
    "irrigation_season_mm": 100,
    "days_since_irrigation": 1,
    "allowance_left_mm": 300,
    "irrigation_capacity_mm": 25,
    "water_cost_kg_mm": 5.555555,
    "nitrogen_cost_kg_kg": 5.555555,
    "nitrogen_applied_kg_ha": 150,
    "mineral_nitrogen_kg_ha": 63.94258,
    "nitrogen_taken_kg_ha": 158.5942,
    "nitrogen_need_kg_ha": 14.31451,
    "days_since_nitrogen": 20,
    "nni": 1.1,
    "ndvi": 0.75,
    "ndre": 0.375,
    "days_since_flight": 4,
    "field_capacity_m3_m3": 0.2118673,
    "wilting_point_m3_m3": 0.1,
    "is_advised": 1,
    "co2_ppm": 382.888,
    "has_forecast": 0,
    "forecast_rain_2d_mm": 0,
    "forecast_rain_5d_mm": 0,
    "forecast_et0_5d_mm": 0,
    "candidate_irrigation_mm": 0,
    "candidate_nitrogen_kg_ha": 0,
}

readings = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {
            "tmin_c": st.floats(-20, 25),
            "tmax_c": st.floats(0, 45),
            "rain_mm": st.floats(0, 150),
            "et0_mm": st.floats(0, 15),
            **{column: st.none() | st.floats(0, 0.75) for column in PROBE_COLUMNS},
            "ndvi": st.none() | st.floats(-0.3, 1),
            "ndre": st.none() | st.floats(-0.3, 1),
        }
    ),
)
histories = st.lists(st.tuples(readings, st.floats(0, 60), st.floats(0, 120)), max_size=25).map(
    lambda days: [Day("", reading, mm, kg) for reading, mm, kg in days]
)


def reading(number: int, **changes: float | None) -> Record:
    """A day of a plain season: warm, rain every sixth day, drying probes of which one is often away."""
    return {
        "tmin_c": 12.0 + number % 5,
        "tmax_c": 26.0 + number % 7,
        "rain_mm": 11.0 if number % 6 == 2 else 0.0,
        "et0_mm": 4.0 + 0.5 * (number % 4),
        "vwc_15cm_m3_m3": 0.21 - 0.0011 * number,
        "vwc_35cm_m3_m3": 0.215 - 0.0007 * number,
        "vwc_75cm_m3_m3": None if number % 3 else 0.22,
        "vwc_105cm_m3_m3": 0.219 + 0.0001 * number,
        "ndvi": 0.2 + 0.01 * number if number % 10 == 5 else None,
        "ndre": 0.1 + 0.005 * number if number % 10 == 5 else None,
        **changes,
    }


def plain_season(days: int) -> list[Day]:
    return [
        Day(
            (PLANTING + timedelta(days=i)).isoformat(),
            None if i == 20 else reading(i),
            irrigation_mm=25.0 if i % 15 == 14 else 0.0,
            nitrogen_kg_ha={0: 60.0, 40: 90.0}.get(i, 0.0),
        )
        for i in range(days)
    ]


def named(row: np.ndarray[tuple[int], np.dtype[np.float32]]) -> dict[str, float]:
    return dict(zip(AGRICULTURE.contract.feature_names, row.tolist(), strict=True))


def test_a_known_season_gives_the_golden_row() -> None:
    found = named(AGRICULTURE.featurize(plain_season(60), SAMPLED)[-1])
    assert AGRICULTURE.contract.revision == GOLDEN_REVISION
    assert found == pytest.approx(GOLDEN_ROW_AFTER_60_DAYS, rel=1e-5)


def test_the_first_morning_finds_the_soil_as_it_was_sampled_and_nothing_done() -> None:
    row = named(AGRICULTURE.featurize([], SAMPLED)[0])
    assert (row["dap"], row["depletion_mm"], row["irrigation_season_mm"]) == (0.0, 0.0, 0.0)
    assert (row["allowance_left_mm"], row["relative_transpiration"]) == (400.0, 1.0)
    assert row["taw_mm"] == pytest.approx(1000 * (0.22 - 0.10) * 0.3)
    assert row["wetness_75cm"] == row["surface_wetness"] == pytest.approx(1.0)


@pytest.mark.parametrize("unknown", [{}, {"initial_water_pct": None}, {"initial_water_pct": math.nan}])
def test_where_no_one_sampled_the_soil_it_is_guessed_and_known_to_be_a_guess(unknown: dict[str, float | None]) -> None:
    record = {name: value for name, value in field_record().items() if name != "initial_water_pct"} | unknown
    constants = field_constants(record)
    assert (constants[at.START_WATER], constants[at.START_WATER_SD]) == (START_WATER_UNKNOWN, START_WATER_UNKNOWN_SD)
    guessed, sampled = (
        named(AGRICULTURE.featurize([], r)[0]) for r in (record, {**field_record(), "initial_water_pct": 60.0})
    )
    assert guessed["wetness_deep"] == pytest.approx(START_WATER_UNKNOWN)
    assert sampled["wetness_deep"] == pytest.approx(0.6)
    assert guessed["water_uncertainty"] == pytest.approx(START_WATER_UNKNOWN_SD, rel=0.01)
    assert sampled["water_uncertainty"] == pytest.approx(START_WATER_KNOWN_SD, rel=0.02)


def test_a_soil_that_no_table_knows_is_taken_for_loam() -> None:
    loam, unheard = (field_constants({**field_record(), "soil": soil}) for soil in ("Loam", "Moon dust"))
    assert loam == unheard != field_constants(field_record())


def test_costs_are_in_grain() -> None:
    record = {**field_record(), "water_price_usd_mm": 2.7, "nitrogen_price_usd_kg": 0.9, "grain_price_usd_t": 180.0}
    row = named(SeasonState.start(record).features())
    assert (row["water_cost_kg_mm"], row["nitrogen_cost_kg_kg"]) == pytest.approx((15.0, 5.0))


def test_the_devices_own_advice_is_told_from_a_growers_books() -> None:
    own, calendar = (SeasonState.start({**field_record(), "practice": who}) for who in ("fieldloop", "calendar"))
    assert (named(own.features())["is_advised"], named(calendar.features())["is_advised"]) == (1.0, 0.0)


class CountingRow(list[float]):
    """A row that counts how often each of its places is written."""

    def __init__(self) -> None:
        super().__init__([math.nan] * len(FEATURES))
        self.writes = [0] * len(FEATURES)

    def __setitem__(self, place: int, value: float) -> None:  # type: ignore[override]  # no slices here
        self.writes[place] += 1
        super().__setitem__(place, value)


def read(state: list[float], field: list[float], forecast: tuple[float, ...] = NO_FORECAST) -> dict[str, float]:
    row = [math.nan] * len(FEATURES)
    read_features(state, field, forecast, row)
    return dict(zip(INDEX, row, strict=True))


def test_every_feature_is_written_exactly_once() -> None:
    state = SeasonState.start(SAMPLED)
    row = CountingRow()
    read_features(state.values, state.constants, NO_FORECAST, row)
    assert dict(zip(INDEX, row.writes, strict=True)) == dict.fromkeys(INDEX, 1)
    assert all(math.isfinite(value) for value in row)


WETNESS = {name for name in INDEX if "wetness" in name}
STATE_PLACES = {
    "DAP": {"dap", "raw_fraction", "nitrogen_need_kg_ha"},
    "GDD_C_D": {"gdd_c_d"},
    "DEPLETION_MM": {"depletion_mm", "depletion_fraction"},
    "TAW_MM": {"taw_mm", "depletion_fraction"},
    "CANOPY": {"canopy_cover"},
    "RELATIVE_TRANSPIRATION": {"relative_transpiration"},
    "BIOMASS_T_HA": {"biomass_t_ha", "nni"},
    "STRESS_EXPANSION_D": {"stress_expansion_d"},
    "STRESS_VEGETATIVE_D": {"stress_vegetative_d"},
    "STRESS_FLOWERING_D": {"stress_flowering_d"},
    "STRESS_FILLING_D": {"stress_filling_d"},
    "RAIN_SEASON_MM": {"rain_season_mm"},
    "ET0_SEASON_MM": {"et0_season_mm"},
    "IRRIGATION_MM": {"irrigation_season_mm", "allowance_left_mm"},
    "SINCE_IRRIGATION_D": {"days_since_irrigation"},
    "NITROGEN_KG_HA": {"nitrogen_applied_kg_ha"},
    "SINCE_NITROGEN_D": {"days_since_nitrogen"},
    "MINERAL_NITROGEN_KG_HA": {"mineral_nitrogen_kg_ha", "nitrogen_need_kg_ha"},
    "NITROGEN_TAKEN_KG_HA": {"nitrogen_taken_kg_ha", "nitrogen_need_kg_ha", "nni"},
    "NDVI": {"ndvi"},
    "NDRE": {"ndre"},
    "SINCE_FLIGHT_D": {"days_since_flight"},
    "THETA": {"surface_wetness"},
    "THETA + 1": {"wetness_15cm", "water_uncertainty"},
    "THETA + 3": {"wetness_35cm", "water_uncertainty"},
    "THETA + 6": {"wetness_75cm", "water_uncertainty"},
    "THETA + 7": {"wetness_105cm", "water_uncertainty"},
    "THETA + 8": {"wetness_deep"},
    "THETA + 11": {"wetness_deep"},
    "RAIN_MM": {"rain_1d_mm", "rain_3d_mm", "rain_7d_mm", "rain_14d_mm"},
    "RAIN_MM + 2": {"rain_3d_mm", "rain_7d_mm", "rain_14d_mm"},
    "RAIN_MM + 3": {"rain_7d_mm", "rain_14d_mm"},
    "RAIN_MM + 6": {"rain_7d_mm", "rain_14d_mm"},
    "RAIN_MM + 7": {"rain_14d_mm"},
    "RAIN_MM + 13": {"rain_14d_mm"},
    "ET0_MM": {"et0_1d_mm", "et0_7d_mm", "raw_fraction"},
    "ET0_MM + 6": {"et0_7d_mm", "raw_fraction"},
    "TMAX_C + 6": {"tmax_7d_c"},
    "TMIN_C + 6": {"tmin_7d_c"},
    "CAPACITY": {"field_capacity_m3_m3", "water_uncertainty", *WETNESS},
    "SENSITIVITY + 1": {"water_uncertainty"},
    "COVARIANCE": {"water_uncertainty"},
}
FIELD_PLACES = {
    "WATER_ALLOWANCE_MM": {"allowance_left_mm"},
    "IRRIGATION_CAPACITY_MM": {"irrigation_capacity_mm"},
    "WATER_COST_KG_MM": {"water_cost_kg_mm"},
    "NITROGEN_COST_KG_KG": {"nitrogen_cost_kg_kg"},
    "IS_ADVISED": {"is_advised"},
    "CO2_PPM": {"co2_ppm"},
}
SOIL_PLACES = {
    "FIELD_CAPACITY": {"water_uncertainty"},
    "WILTING_POINT": {"wilting_point_m3_m3", "water_uncertainty", *WETNESS},
}
FORECAST_PLACES = ("forecast_rain_2d_mm", "forecast_rain_5d_mm", "forecast_et0_5d_mm")


def place_of(name: str) -> int:
    first, _, after = name.partition(" + ")
    return int(getattr(at, first)) + int(after or 0)


def midsummer() -> tuple[list[float], list[float]]:
    state = SeasonState.start(SAMPLED)
    for day in plain_season(45):
        state.advance(day)
    return state.values, state.constants


@pytest.mark.parametrize("name", STATE_PLACES)
def test_each_place_of_the_state_moves_its_own_columns(name: str) -> None:
    state, field = midsummer()
    before = read(state, field)
    moved = list(state)
    moved[place_of(name)] += 0.01 if name.startswith(("THETA", "CAPACITY")) else 0.5
    assert {column for column, value in read(moved, field).items() if value != before[column]} == STATE_PLACES[name]


@pytest.mark.parametrize("name", [*FIELD_PLACES, *SOIL_PLACES])
def test_each_constant_of_the_field_moves_its_own_columns(name: str) -> None:
    state, field = midsummer()
    before, moved = read(state, field), list(field)
    moved[place_of(name)] += 0.01
    changed = {column for column, value in read(state, moved).items() if value != before[column]}
    assert changed == {**FIELD_PLACES, **SOIL_PLACES}[name]


def test_no_feature_but_the_action_stands_still() -> None:
    moved = {
        column
        for place in (STATE_PLACES, FIELD_PLACES, SOIL_PLACES)
        for columns in place.values()
        for column in columns
    }
    still = set(INDEX) - moved - {"has_forecast", *FORECAST_PLACES}
    assert still == {"candidate_irrigation_mm", "candidate_nitrogen_kg_ha"}


def test_a_forecast_is_summed_over_two_and_five_days_and_its_absence_is_said() -> None:
    state = SeasonState.start(SAMPLED)
    foretold = Forecast(rain_mm=(1.0, 2.0, 4.0, 8.0, 16.0, 99.0), et0_mm=(3.0, 4.0, 5.0, 6.0, 7.0, 99.0))
    row, without = named(state.features(foretold)), named(state.features())
    assert [row[name] for name in ("has_forecast", *FORECAST_PLACES)] == [1.0, 3.0, 31.0, 5.0]
    assert [without[name] for name in ("has_forecast", *FORECAST_PLACES)] == [0.0] * 4
    assert {name for name in INDEX if row[name] != without[name]} == {"has_forecast", *FORECAST_PLACES}


@pytest.mark.parametrize("days", [1, 2, 3])
def test_a_forecast_of_fewer_days_says_what_it_knows(days: int) -> None:
    row = named(SeasonState.start(SAMPLED).features(Forecast([2.0] * days, [4.0] * days)))
    assert [row[name] for name in FORECAST_PLACES] == [2.0 * min(days, 2), 2.0 * days, 4.0]


@settings(max_examples=25)
@given(history=histories, cut=st.integers(0, 25))
def test_a_morning_knows_nothing_of_the_days_after_it(history: list[Day], cut: int) -> None:
    cut = min(cut, len(history))
    whole, until_then = (AGRICULTURE.featurize(days, field_record()) for days in (history, history[:cut]))
    np.testing.assert_array_equal(whole[: cut + 1], until_then)


@settings(max_examples=30)
@given(history=histories)
def test_whatever_the_sensors_miss_the_row_is_whole_and_the_balance_within_the_root_zone(history: list[Day]) -> None:
    rows = AGRICULTURE.featurize(history, field_record())
    assert rows.shape == (len(history) + 1, len(FEATURES))
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    depletion, taw = rows[:, INDEX["depletion_mm"]], rows[:, INDEX["taw_mm"]]
    assert (depletion >= 0.0).all()
    assert (depletion <= taw + 1e-3).all()
    assert (rows[:, INDEX["mineral_nitrogen_kg_ha"]] >= 0.0).all()


def test_actions_are_two_columns_and_touch_nothing_else() -> None:
    row = AGRICULTURE.featurize(plain_season(60), field_record())[-1]
    kept = row.copy()
    rows = AGRICULTURE.with_actions(row, np.float32([0, 20, 25]), np.float32([0, 0, 80]))
    np.testing.assert_array_equal(row, kept)
    assert (rows.shape, rows.dtype) == ((3, len(FEATURES)), np.float32)
    np.testing.assert_array_equal(rows[0], kept)
    np.testing.assert_array_equal(rows[:, INDEX["candidate_irrigation_mm"]], [0, 20, 25])
    np.testing.assert_array_equal(rows[:, INDEX["candidate_nitrogen_kg_ha"]], [0, 0, 80])
    np.testing.assert_array_equal(rows[:, :-2], [kept[:-2]] * 3)


def test_setting_actions_writes_into_the_rows_themselves() -> None:
    rows = np.zeros((4, len(FEATURES)), np.float32)
    assert set_actions(rows, np.float32([1, 2, 3, 4]), np.float32([5, 6, 7, 8])) is rows
    assert rows.sum() == 36.0
    np.testing.assert_array_equal(rows[:, -2:], [[1, 5], [2, 6], [3, 7], [4, 8]])


def test_the_model_sees_the_contracts_range_as_minus_one_to_one_and_nothing_beyond_one_and_a_half() -> None:
    rows = np.array([[f.minimum for f in FEATURES], [f.maximum for f in FEATURES]], np.float32)
    scale = AGRICULTURE.contract.scale
    np.testing.assert_allclose(scale(rows), [[-1.0] * len(FEATURES), [1.0] * len(FEATURES)], atol=1e-6)
    far = scale(np.stack([rows[0] - 1e6, rows[1] + 1e6]))
    assert far.dtype == np.float32
    np.testing.assert_array_equal(far, [[-1.5] * len(FEATURES), [1.5] * len(FEATURES)])


def test_a_day_without_reading_counts_as_rainless_and_like_the_week_before() -> None:
    known = [Day("", reading(i)) for i in range(30)]
    missed, dry = (
        AGRICULTURE.featurize([*known, Day("", last)], field_record())[-1]
        for last in (
            None,
            reading(29, rain_mm=0.0, et0_mm=np.mean([known[i].reading["et0_mm"] for i in range(23, 30)])),
        )
    )
    assert missed[INDEX["rain_season_mm"]] == dry[INDEX["rain_season_mm"]]
    assert missed[INDEX["et0_season_mm"]] == pytest.approx(dry[INDEX["et0_season_mm"]])
