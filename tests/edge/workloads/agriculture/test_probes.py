"""Probes correct the balance and the balance the probes; what a faulty probe says changes nothing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.workloads.agriculture import layout as at
from fieldedge.workloads.agriculture.probes import (
    BALANCE_SD_PER_DAY,
    BIAS_SD,
    STUCK_DAYS,
    SURPRISE_MOST,
    correct,
    uncertainty,
    wetness,
)
from fieldedge.workloads.agriculture.season import advance
from tests.edge.workloads.agriculture.plain_field import (
    at_probes,
    day_of,
    known_field,
    layers,
    planted,
    stored_mm,
    weather,
)

SILENT = (math.nan,) * at.PROBES


def biases(state: list[float]) -> list[float]:
    return state[at.PROBE_BIAS : at.PROBE_BIAS + at.PROBES]


def covariance(state: list[float]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    size = at.ERRORS
    return np.reshape(state[at.COVARIANCE : at.COVARIANCE + size * size], (size, size))


def told(state: list[float], field: list[float], *readings: tuple[float, ...]) -> list[float]:
    """The state after these evenings' readings."""
    state = list(state)
    for reading in readings:
        correct(state, field, day_of(probes=reading))
    return state


def test_a_constant_bias_is_found_and_the_water_stays_where_it_was() -> None:
    rng = np.random.default_rng(1)
    state, field = planted(known_field(water_pct=60.0))
    before, error = layers(state), np.array([0.025, -0.015, 0.0, 0.010])
    for _ in range(60):
        correct(
            state,
            field,
            day_of(
                probes=tuple(
                    np.add(at_probes(planted(known_field(water_pct=60.0))[0]), error)
                    + rng.normal(0.0, 0.006, at.PROBES)
                )
            ),
        )
    found = np.array(biases(state))
    np.testing.assert_allclose(found, error, atol=0.008)
    assert np.abs(np.array(layers(state)) - before).max() < 0.006


def test_an_unknown_water_at_planting_is_found_within_ten_days() -> None:
    rng = np.random.default_rng(2)
    for true_pct in (55.0, 70.0, 97.0):
        truth, known = planted(known_field(water_pct=true_pct))
        blind, unknown = planted(known_field(water_pct=None))
        guess = blind.copy()
        spread = [uncertainty(guess, unknown)]
        for rain_mm, et0_mm in weather(10, rain_mm=4.0):
            advance(truth, known, day_of(rain_mm=rain_mm, et0_mm=et0_mm))
            readings = tuple(np.add(at_probes(truth), (0.01, -0.01, 0.005, -0.005)) + rng.normal(0, 0.006, at.PROBES))
            advance(guess, unknown, day_of(rain_mm=rain_mm, et0_mm=et0_mm, probes=readings))
            advance(blind, unknown, day_of(rain_mm=rain_mm, et0_mm=et0_mm))
            spread.append(uncertainty(guess, unknown))
        taw_mm = 0.12 * 2400
        assert abs(stored_mm(guess) - stored_mm(truth)) < 0.08 * taw_mm
        assert abs(stored_mm(guess) - stored_mm(truth)) < 0.5 * abs(stored_mm(blind) - stored_mm(truth)) + 1.0
        assert spread[-1] < 0.9 * spread[0]


def test_a_silent_probe_changes_nothing_but_what_the_others_say_of_its_layers() -> None:
    state, field = planted(known_field(water_pct=70.0))
    silent = told(state, field, SILENT)
    assert layers(silent) == layers(state)
    assert biases(silent) == [0.0] * at.PROBES
    truth = state[at.THETA]
    one = told(state, field, (truth - 0.01, math.nan, math.nan, math.nan))
    assert biases(one)[0] < 0.0
    assert all(after < before for before, after in zip(layers(state), layers(one), strict=True))


def test_a_probe_that_repeats_itself_for_days_is_not_believed() -> None:
    state, field = planted(known_field(water_pct=None))
    stuck = (0.17, math.nan, math.nan, math.nan)
    for _ in range(STUCK_DAYS):
        before, state = state, told(state, field, stuck)
        assert layers(state) != layers(before)
    for _ in range(STUCK_DAYS):
        before, state = state, told(state, field, stuck)
        silent = told(before, field, SILENT)
        assert (layers(state), biases(state)) == (layers(silent), biases(silent))
        np.testing.assert_array_equal(covariance(state), covariance(silent))
    before, state = state, told(state, field, (0.171, math.nan, math.nan, math.nan))
    assert layers(state) != layers(before)


@pytest.mark.parametrize("reading", [0.0, 0.01, 0.6, 0.75])
def test_an_absurd_reading_changes_nothing(reading: float) -> None:
    state, field = planted(known_field(water_pct=70.0))
    for probe in range(at.PROBES):
        said = [math.nan] * at.PROBES
        said[probe] = reading
        absurd, silent = (told(state, field, tuple(one)) for one in (said, SILENT))
        assert (layers(absurd), biases(absurd)) == (layers(silent), biases(silent))
        np.testing.assert_array_equal(covariance(absurd), covariance(silent))


def test_water_on_its_way_down_is_no_reason_to_correct() -> None:
    state, field = planted(known_field(water_pct=100.0))
    for i in range(3):
        state[at.THETA + i] = 0.30
    wet = told(state, field, (0.27, math.nan, math.nan, math.nan))
    assert layers(wet) == layers(state)
    assert biases(wet) == [0.0] * at.PROBES


def test_a_soil_wetted_past_field_capacity_forgets_what_was_wrong_with_it() -> None:
    state, field = planted(known_field(water_pct=None))
    before = uncertainty(state, field)
    for _ in range(10):
        advance(state, field, day_of(rain_mm=60.0, et0_mm=3.0))
    for _ in range(4):
        advance(state, field, day_of(et0_mm=3.0))
    assert before == pytest.approx(0.12, abs=0.002)
    assert uncertainty(state, field) < 0.25 * before
    own = covariance(told(state, field, SILENT))[: at.PROBES, : at.PROBES]
    assert np.diag(own).max() < 0.001**2 + 2 * BALANCE_SD_PER_DAY**2
    np.testing.assert_allclose(np.diag(covariance(state))[at.PROBES : 2 * at.PROBES] ** 0.5, BIAS_SD, rtol=0.2)


def test_readings_that_surprise_for_days_make_the_filter_doubt_its_balance() -> None:
    grown = {}
    for name, off in (("calm", 0.0), ("surprised", 0.06)):
        state, field = planted(known_field(water_pct=70.0))
        for day in range(8):
            there = np.add(at_probes(planted(known_field(water_pct=70.0))[0]), off * (day % 2 * 2 - 1))
            correct(state, field, day_of(probes=tuple(there + 1e-4 * day)))
        before = covariance(state)[0, 0]
        grown[name] = covariance(told(state, field, SILENT))[0, 0] - before
    assert grown["calm"] == pytest.approx(BALANCE_SD_PER_DAY**2)
    assert 4 * grown["calm"] < grown["surprised"] <= (BALANCE_SD_PER_DAY * SURPRISE_MOST**2) ** 2 * 1.000001


@settings(max_examples=40)
@given(
    days=st.lists(
        st.lists(st.just(math.nan) | st.floats(0.0, 0.75), min_size=at.PROBES, max_size=at.PROBES), max_size=15
    ),
    wet=st.lists(st.booleans(), min_size=15, max_size=15),
    water_pct=st.none() | st.floats(20.0, 110.0),
)
def test_whatever_probes_say_the_covariance_stays_one_and_the_soil_within_its_limits(
    days: list[list[float]], wet: list[bool], water_pct: float | None
) -> None:
    state, field = planted(known_field(water_pct=water_pct))
    for readings, is_wet in zip(days, wet, strict=False):
        if is_wet:
            state[at.THETA + 1] = 0.30
        correct(state, field, day_of(probes=readings))
        spread = covariance(state)
        np.testing.assert_allclose(spread, spread.T, atol=1e-15)
        assert np.linalg.eigvalsh(spread).min() > -1e-12
        assert all(0.5 * field[at.WILTING_POINT] <= theta <= field[at.SATURATION] for theta in layers(state))
        assert math.isfinite(uncertainty(state, field))
        assert all(math.isfinite(wetness(state, field, probe)) for probe in range(at.PROBES))
