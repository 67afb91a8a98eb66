"""One field's season folded day by day: what a missing day, a flight or a dose leaves behind."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.workloads.agriculture import agronomy as ag
from fieldedge.workloads.agriculture import layout as at
from fieldedge.workloads.agriculture.season import advance
from tests.edge.workloads.agriculture.plain_field import day_of, known_field, layers, missing_day, planted, weather


def lived(days: list[list[float]], **changes: object) -> list[float]:
    state, field = planted(known_field(**changes))  # type: ignore[arg-type]  # the record's own columns
    for day in days:
        advance(state, field, day)
    return state


def summer(days: int, **changes: float) -> list[list[float]]:
    return [day_of(rain_mm=rain, et0_mm=et0, **changes) for rain, et0 in weather(days)]


def test_planting_finds_the_soil_as_it_was_sampled_and_nothing_done() -> None:
    state, _ = planted(known_field(water_pct=50.0))
    assert layers(state) == pytest.approx([0.16] * at.LAYERS)
    assert (state[at.TAW_MM], state[at.DEPLETION_MM]) == pytest.approx((36.0, 18.0))
    assert state[at.DAP] == state[at.IRRIGATION_MM] == state[at.NITROGEN_KG_HA] == state[at.BIOMASS_T_HA] == 0.0
    assert state[at.MINERAL_NITROGEN_KG_HA] == ag.START_MINERAL_NITROGEN_KG_HA


def test_a_missing_day_is_dry_and_like_the_week_before() -> None:
    week = [day_of(tmin_c=10.0 + i, tmax_c=24.0 + i, et0_mm=4.0 + 0.5 * i, rain_mm=3.0) for i in range(7)]
    missed = lived([*summer(20), *week, missing_day()])
    like_the_week = lived([*summer(20), *week, day_of(tmin_c=13.0, tmax_c=27.0, et0_mm=5.5)])
    assert missed[at.WITHOUT_READING_D] == 1.0
    missed[at.WITHOUT_READING_D] = 0.0
    assert missed == pytest.approx(like_the_week)


def test_days_without_a_reading_are_counted_until_the_next_one() -> None:
    state, field = planted(known_field())
    counts = []
    for day in (day_of(), missing_day(), missing_day(), missing_day(), day_of(), missing_day()):
        advance(state, field, day)
        counts.append(state[at.WITHOUT_READING_D])
    assert counts == [0.0, 1.0, 2.0, 3.0, 0.0, 1.0]
    assert all(math.isfinite(value) for value in state)


def test_a_season_of_missing_days_is_a_season_of_drought() -> None:
    state = lived([missing_day() for _ in range(132)])
    assert all(math.isfinite(value) for value in state)
    assert state[at.DEPLETION_MM] > 0.6 * state[at.TAW_MM]
    assert state[at.RAIN_SEASON_MM] == 0.0
    assert state[at.ET0_SEASON_MM] == pytest.approx(132 * 5.0)


@settings(max_examples=15)
@given(
    doses=st.lists(st.just(0.0) | st.floats(0.0, 120.0), min_size=20, max_size=40),
    rain_mm=st.floats(0.0, 60.0),
    mean_c=st.floats(-5.0, 30.0),
)
def test_nitrogen_is_in_the_pool_in_the_crop_or_lost_to_air_and_water(
    doses: list[float], rain_mm: float, mean_c: float
) -> None:
    state, field = planted(known_field())
    for number, dose in enumerate(doses):
        before = state[at.MINERAL_NITROGEN_KG_HA] + state[at.NITROGEN_TAKEN_KG_HA]
        day = day_of(
            nitrogen_kg_ha=dose, rain_mm=rain_mm if number % 5 == 0 else 0.0, tmin_c=mean_c - 5, tmax_c=mean_c + 5
        )
        advance(state, field, day)
        gained = state[at.MINERAL_NITROGEN_KG_HA] + state[at.NITROGEN_TAKEN_KG_HA] - before
        arrived = (1.0 - ag.VOLATILISED_FRACTION) * dose
        freed = ag.mineralised_kg_ha(mean_c, 1.0)
        assert gained <= arrived + freed + 1e-9
        if state[at.DRAINED_MM] == 0.0:
            assert gained >= arrived - 1e-9
        assert state[at.MINERAL_NITROGEN_KG_HA] >= 0.0
    assert state[at.NITROGEN_KG_HA] == pytest.approx(sum(doses))


def test_a_cloudburst_washes_nitrogen_out_of_the_root_zone() -> None:
    dry, wet = (lived([day_of(nitrogen_kg_ha=100.0), day_of(rain_mm=rain), *summer(15)]) for rain in (0.0, 150.0))
    assert wet[at.MINERAL_NITROGEN_KG_HA] < 0.8 * dry[at.MINERAL_NITROGEN_KG_HA]


def test_a_starved_crop_grows_less() -> None:
    fed, starved = (
        lived([day_of(nitrogen_kg_ha=dose), *summer(90)], application_efficiency=1.0) for dose in (220.0, 0.0)
    )
    index = [ag.nitrogen_nutrition_index(s[at.NITROGEN_TAKEN_KG_HA], s[at.BIOMASS_T_HA]) for s in (fed, starved)]
    assert index[1] < 0.8 < 0.95 < index[0]
    assert starved[at.BIOMASS_T_HA] < 0.9 * fed[at.BIOMASS_T_HA]


def test_thirst_is_counted_in_the_stage_in_which_it_is_suffered() -> None:
    def thirst(first: int, last: int) -> tuple[float, float, float]:
        days = [day_of(irrigation_mm=0.0 if first <= day <= last else 8.0) for day in range(125)]
        state = lived(days, root_depth_max_m=0.6)
        return state[at.STRESS_VEGETATIVE_D], state[at.STRESS_FLOWERING_D], state[at.STRESS_FILLING_D]

    assert thirst(999, 999) == pytest.approx((0.0, 0.0, 0.0), abs=0.3)
    early, middle, late = thirst(35, 58), thirst(58, 78), thirst(85, 110)
    assert early[0] > 1.0 > early[2]
    assert middle[1] > 1.0 > middle[0]
    assert late[2] > 1.0 > max(late[:2])


@pytest.mark.parametrize(
    ("dap", "stage"),
    [
        (59, "STRESS_VEGETATIVE_D"),
        (60, "STRESS_VEGETATIVE_D"),
        (61, "STRESS_FLOWERING_D"),
        (80, "STRESS_FLOWERING_D"),
        (81, "STRESS_FILLING_D"),
    ],
)
def test_flowering_lasts_from_day_61_to_day_80(dap: int, stage: str) -> None:
    state, field = planted(known_field(water_pct=0.0))
    state[at.DAP], state[at.CANOPY], state[at.CANOPY_PEAK], state[at.ROOT_DEPTH_M] = dap - 1.0, 0.9, 0.9, 1.2
    advance(state, field, day_of())
    stages = ("STRESS_VEGETATIVE_D", "STRESS_FLOWERING_D", "STRESS_FILLING_D")
    assert {name: state[getattr(at, name)] for name in stages} == {**dict.fromkeys(stages, 0.0), stage: 1.0}


def test_work_and_weather_are_remembered() -> None:
    days = [day_of(rain_mm=float(i), et0_mm=3.0 + 0.1 * i, tmin_c=float(i), tmax_c=20.0 + i) for i in range(20)]
    days[12][at.DAY_IRRIGATION_MM] = 25.0
    days[4][at.DAY_NITROGEN_KG_HA] = 60.0
    state = lived(days)
    assert state[at.RAIN_MM : at.RAIN_MM + at.RAIN_DAYS] == [float(i) for i in range(19, 5, -1)]
    assert state[at.ET0_MM : at.ET0_MM + at.WEEK] == pytest.approx([3.0 + 0.1 * i for i in range(19, 12, -1)])
    assert state[at.TMIN_C : at.TMIN_C + at.WEEK] == [float(i) for i in range(19, 12, -1)]
    assert state[at.TMAX_C : at.TMAX_C + at.WEEK] == [20.0 + i for i in range(19, 12, -1)]
    assert state[at.RAIN_SEASON_MM] == sum(range(20))
    assert (state[at.IRRIGATION_MM], state[at.SINCE_IRRIGATION_D]) == (25.0, 8.0)
    assert (state[at.NITROGEN_KG_HA], state[at.SINCE_NITROGEN_D]) == (60.0, 16.0)
    assert state[at.DAP] == 20.0
    assert state[at.GDD_C_D] == pytest.approx(
        sum(ag.growing_degrees_c_d(day[at.DAY_TMIN_C], day[at.DAY_TMAX_C]) for day in days)
    )


def test_a_flight_is_remembered_until_the_next() -> None:
    days = summer(9)
    days[5][at.DAY_NDVI], days[5][at.DAY_NDRE] = 0.25, 0.125
    state = lived(days)
    assert (state[at.NDVI], state[at.NDRE], state[at.SINCE_FLIGHT_D]) == (0.25, 0.125, 3.0)
