"""A season teaches what the soil record, the noted irrigation and the gauge are off by, and no more than it can."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.workloads.agriculture import layout as at
from fieldedge.workloads.agriculture.learned import learned, sentences
from fieldedge.workloads.agriculture.probes import FACTOR_SD, factor_sd
from fieldedge.workloads.agriculture.season import advance
from fieldedge.workloads.agriculture.sensitivity import FACTOR_LEAST, FACTOR_MOST
from tests.edge.workloads.agriculture.plain_field import at_probes, day_of, known_field, planted, stored_mm

DAYS = 110
CAPACITY = 0.22


def storm_mm(day: int) -> float:
    """Rain every fifth day, more and less of it by turns."""
    return (14.0, 0.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0, 0.0)[day % 10]


def irrigation_mm(day: int) -> float:
    return 24.0 if day >= 30 and day % 6 == 3 else 0.0


def season(
    *,
    told_capacity: float = CAPACITY,
    share: float = 1.0,
    gauge: float = 1.0,
    has_probes: bool = True,
    storms: float = 1.0,
    is_irrigated: bool = True,
    days: int = DAYS,
) -> tuple[list[float], list[float]]:
    """The truth, and what a device believes, in the evening of the last day: a balance of the same form, other facts.

    `share` of the noted irrigation arrives; the gauge shows `gauge` times the rain.
    """
    rng = np.random.default_rng(3)
    truth, true_field = planted(known_field(water_pct=90.0))
    believed, field = planted(known_field(water_pct=90.0, field_capacity_m3_m3=told_capacity))
    bias = rng.normal(0.0, 0.006, at.PROBES)
    for day in range(days):
        rain_mm, given_mm = storms * storm_mm(day), irrigation_mm(day) if is_irrigated else 0.0
        advance(truth, true_field, day_of(rain_mm=rain_mm, irrigation_mm=share * given_mm))
        seen = np.round(np.array(at_probes(truth)) + bias + rng.normal(0.0, 0.004, at.PROBES), 4)
        readings = tuple(seen.tolist()) if has_probes else (math.nan,) * at.PROBES
        advance(believed, field, day_of(rain_mm=gauge * rain_mm, irrigation_mm=given_mm, probes=readings))
    return truth, believed


def factors(state: list[float]) -> list[float]:
    return state[at.FACTOR : at.FACTOR + at.FACTORS]


@pytest.mark.parametrize(
    ("mode", "otherwise"),
    [(at.SOIL, {"told_capacity": CAPACITY * 1.02}), (at.SHARE, {"share": 0.98}), (at.GAUGE, {"gauge": 1.02})],
)
def test_a_sensitivity_foretells_what_another_soil_share_or_gauge_does_to_the_water(
    mode: int, otherwise: dict[str, float]
) -> None:
    for days in (70, 100):
        truth, believed = season(has_probes=False, days=days, **otherwise)
        named = at.SENSITIVITY + mode * at.LAYERS
        foretold_mm = 0.02 * np.dot(believed[named : named + at.LAYERS], at.LAYER_MM)
        found_mm = stored_mm(believed) - stored_mm(truth)
        assert abs(found_mm) > 0.5
        assert foretold_mm == pytest.approx(found_mm, rel=0.25)


def test_where_all_is_as_told_the_factors_stay_at_one_and_nothing_is_said() -> None:
    _, believed = season()
    assert factors(believed) == pytest.approx([1.0, 1.0, 1.0], abs=0.06)
    assert sentences([one.as_record() for one in learned(believed, planted(known_field())[1])]) == ()


def test_a_soil_that_holds_less_than_was_told_is_found_and_said() -> None:
    truth, believed = season(told_capacity=1.15 * CAPACITY)
    _, blind = season(told_capacity=1.15 * CAPACITY, has_probes=False)
    assert factors(believed)[at.SOIL] == pytest.approx(1 / 1.15, abs=0.04)
    assert believed[at.CAPACITY] == pytest.approx(1.15 * CAPACITY * factors(believed)[at.SOIL])
    error, blind_error = (abs(state[at.DEPLETION_MM] - truth[at.DEPLETION_MM]) for state in (believed, blind))
    assert error < 0.5 * blind_error
    (sentence,) = sentences([one.as_record() for one in learned(believed, planted(known_field())[1])])
    assert sentence.startswith("The soil holds less water than you told me")


def test_a_soil_that_holds_more_than_was_told_is_heard_though_its_readings_lie_above_what_it_is_told_to_hold() -> None:
    _, believed = season(told_capacity=0.87 * CAPACITY)
    assert factors(believed)[at.SOIL] == pytest.approx(1 / 0.87, abs=0.06)


def test_irrigation_that_does_not_arrive_is_found() -> None:
    truth, believed = season(share=0.75)
    _, blind = season(share=0.75, has_probes=False)
    assert factors(believed)[at.SHARE] < 0.88
    error, blind_error = (abs(state[at.DEPLETION_MM] - truth[at.DEPLETION_MM]) for state in (believed, blind))
    assert error < 0.5 * blind_error


@pytest.mark.parametrize(("gauge", "rains"), [(1.3, (0.75, 0.92)), (0.75, (1.15, 1.36))])
def test_a_gauge_that_shows_too_much_or_too_little_is_found_where_it_rains_enough(
    gauge: float, rains: tuple[float, float]
) -> None:
    _, believed = season(gauge=gauge, storms=2.0, is_irrigated=False)
    assert rains[0] < factors(believed)[at.GAUGE] < rains[1]
    (sentence,) = sentences([one.as_record() for one in learned(believed, planted(known_field())[1])])
    assert sentence.startswith(f"The rain gauge shows {'too much' if gauge > 1.0 else 'too little'}")


def test_without_probes_nothing_is_learned() -> None:
    _, believed = season(told_capacity=1.15 * CAPACITY, share=0.8, has_probes=False)
    assert factors(believed) == [1.0, 1.0, 1.0]
    assert [factor_sd(believed, factor) for factor in range(at.FACTORS)] == pytest.approx(FACTOR_SD)


@settings(max_examples=25, deadline=None)
@given(
    readings=st.lists(
        st.lists(st.just(math.nan) | st.floats(0.0, 0.75), min_size=at.PROBES, max_size=at.PROBES),
        min_size=5,
        max_size=40,
    ),
    capacity=st.floats(0.13, 0.40),
)
def test_whatever_probes_say_no_factor_leaves_its_bounds_and_the_soil_stays_one(
    readings: list[list[float]], capacity: float
) -> None:
    state, field = planted(known_field(water_pct=None, field_capacity_m3_m3=capacity))
    for day, probes in enumerate(readings):
        advance(state, field, day_of(rain_mm=storm_mm(day), irrigation_mm=irrigation_mm(day + 30), probes=probes))
        for factor, value in enumerate(factors(state)):
            assert FACTOR_LEAST[factor] <= value <= FACTOR_MOST[factor]
        assert field[at.WILTING_POINT] < state[at.CAPACITY] < field[at.SATURATION]
        assert all(math.isfinite(value) for value in state)
