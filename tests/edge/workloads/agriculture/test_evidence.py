"""A crop that does what was foretold keeps the model's trust; one that does not loses it, flight by flight."""

import math

import pytest

from fieldedge.workloads.agriculture import layout as at
from fieldedge.workloads.agriculture.evidence import (
    BARE_COVER,
    COVER_AT_NDVI_0,
    COVER_PER_NDVI,
    EVIDENCE_VALUES,
    HALF_LIFE_D,
    NOTHING_SEEN,
    REFERENCE_COST_KG_MM,
    Evidence,
    read_evidence,
    weigh_canopy,
)

FORETOLD = 0.8


def seen(
    covers: list[float | None], foretold: float = FORETOLD, grown: float = 0.0, water_cost: float = 1.0
) -> Evidence:
    """After these days, of each of which a flight saw that cover, or there was none; at so many times the price."""
    state = [0.0] * at.STATES
    state[at.CANOPY] = foretold
    for cover in covers:
        day = [math.nan] * at.DAY_VALUES
        if cover is not None:
            day[at.DAY_NDVI] = (cover - COVER_AT_NDVI_0) / COVER_PER_NDVI
        weigh_canopy(state, foretold - grown, day)
    found = [0.0] * EVIDENCE_VALUES
    field = [0.0] * at.CONSTANTS
    field[at.WATER_COST_KG_MM] = water_cost * REFERENCE_COST_KG_MM
    read_evidence(state, field, found)
    return Evidence(*found)


def every_tenth_day(cover: float, flights: int) -> list[float | None]:
    return [cover if day % 10 == 0 else None for day in range(10 * flights)]


def test_without_a_flight_nothing_is_held_against_the_model() -> None:
    assert seen([None] * 50) == NOTHING_SEEN


def test_a_crop_about_as_foretold_keeps_full_trust() -> None:
    assert seen([FORETOLD + error for error in (0.03, -0.04, 0.02, -0.01, 0.0, 0.04)]).trust == 1.0


@pytest.mark.parametrize("cover", [FORETOLD - 0.06, FORETOLD + 0.06])
def test_the_longer_a_crop_does_otherwise_the_less_the_model_is_trusted(cover: float) -> None:
    trusts = [seen(every_tenth_day(cover, flights)).trust for flights in range(1, 6)]
    assert trusts == sorted(trusts, reverse=True)
    assert trusts[0] > 0.3 > trusts[-1]


def test_the_sign_says_whether_the_crop_lags() -> None:
    assert seen([0.5]).canopy < 0.0 < seen([0.95]).canopy


def test_one_bad_picture_alone_does_not_end_all_trust() -> None:
    told = seen([-0.3])
    assert 0.0 < told.trust < 0.5
    assert seen([-0.3, *every_tenth_day(FORETOLD, 4)]).trust > 0.8


def test_of_bare_soil_a_flight_says_nothing_of_the_crop() -> None:
    assert seen([0.4] * 5, foretold=BARE_COVER / 2) == NOTHING_SEEN


def test_a_crop_that_is_a_day_behind_while_its_canopy_closes_is_as_usual() -> None:
    still, closing = seen([FORETOLD - 0.06] * 2), seen([FORETOLD - 0.06] * 2, grown=0.06)
    assert still.trust < closing.trust == 1.0


def test_what_was_seen_long_ago_counts_for_less_beside_what_is_seen_now() -> None:
    lagged = every_tenth_day(FORETOLD - 0.1, 3)
    recovered = [FORETOLD] * 3
    at_once, later = seen([*lagged, *recovered]), seen([*lagged, *[None] * int(2 * HALF_LIFE_D), *recovered])
    assert abs(later.canopy) < abs(at_once.canopy)


def test_where_water_is_dear_more_must_be_seen_before_the_advice_leans_on_the_rule() -> None:
    lagging = every_tenth_day(FORETOLD - 0.06, 1)
    trusts = [seen(lagging, water_cost=times).trust for times in (0.5, 1.0, 3.0)]
    assert trusts == sorted(set(trusts))
    assert {seen(lagging, water_cost=times).canopy for times in (0.5, 3.0)} == {seen(lagging).canopy}
