"""The canopy's course: free, held back, and withered before its time."""

from itertools import pairwise

import pytest

from fieldedge.workloads.agriculture import layout as at
from fieldedge.workloads.agriculture.canopy import COVER_AT_EMERGENCE, COVER_MAX, DAYS_TO_EMERGENCE, grow_canopy
from tests.edge.workloads.agriculture.plain_field import known_field, planted

DAYS = 135


def grown(wetness_by_day: list[float]) -> tuple[list[float], list[float]]:
    """Cover by day after planting where the whole profile is kept at each day's wetness, and the state at the end."""
    state, field = planted(known_field())
    capacity, wilting = field[at.FIELD_CAPACITY], field[at.WILTING_POINT]
    cover = [0.0]
    for wetness in wetness_by_day:
        state[at.DAP] += 1.0
        state[at.ROOT_DEPTH_M] = min(0.3 + 0.01 * state[at.DAP], 1.2)
        state[at.THETA : at.THETA + at.LAYERS] = [wilting + wetness * (capacity - wilting)] * at.LAYERS
        grow_canopy(state, field, 5.0)
        cover.append(state[at.CANOPY])
    return cover, state


def test_a_canopy_without_stress_closes_by_day_54_stays_and_withers_after_107() -> None:
    cover, state = grown([1.0] * DAYS)
    assert cover[: DAYS_TO_EMERGENCE + 1] == [0.0] * DAYS_TO_EMERGENCE + [COVER_AT_EMERGENCE]
    assert cover[53] < 0.98 * COVER_MAX <= cover[55]  # AquaCrop's maize reaches its maximum on day 54
    assert cover[54:72] == pytest.approx([COVER_MAX] * 18, abs=0.02)
    assert cover[72:108] == [cover[72]] * 36
    assert cover[72] == pytest.approx(COVER_MAX, abs=0.002)
    assert all(later < earlier for earlier, later in pairwise(cover[108:133]))
    assert 0.0 < cover[132] < 0.1
    assert cover[133] == 0.0
    assert state[at.CANOPY_PEAK] == max(cover)
    assert (state[at.STRESS_EXPANSION_D], state[at.EARLY_SENESCENCE_D]) == (0.0, 0.0)


def test_half_cover_comes_when_the_logistic_says() -> None:
    cover, _ = grown([1.0] * 50)
    # CC0 exp(0.16312 t) reaches half of 0.96 after 28.1 days
    assert cover[6 + 28] < COVER_MAX / 2 < cover[6 + 29]


def test_moderate_drought_slows_the_leaves_and_is_counted() -> None:
    free, _ = grown([1.0] * 50)
    slow, state = grown([0.55] * 50)
    assert slow[40] < 0.8 * free[40]
    assert 0.0 < state[at.STRESS_EXPANSION_D] < 50 - DAYS_TO_EMERGENCE
    assert state[at.EARLY_SENESCENCE_D] == 0.0
    assert all(later >= earlier for earlier, later in pairwise(slow))


def test_severe_drought_withers_the_canopy_before_its_time_and_water_only_stops_it() -> None:
    dry, _ = grown([1.0] * 75 + [0.03] * 25)
    assert dry[75] == pytest.approx(COVER_MAX, abs=0.002)
    assert dry[85] < 0.85
    assert dry[100] < 0.1
    relieved, state = grown([1.0] * 75 + [0.03] * 10 + [1.0] * 15)
    assert relieved[85] == dry[85]
    assert relieved[87:] == [relieved[87]] * (len(relieved) - 87)
    assert 0.4 < relieved[87] < COVER_MAX
    assert state[at.CANOPY_ACTUAL_MAX] == relieved[87]  # later senescence starts from what is left


def test_a_seed_that_cannot_spread_stays_a_seedling() -> None:
    cover, _ = grown([0.0] * 60)
    assert max(cover) == pytest.approx(COVER_AT_EMERGENCE)


def test_withering_once_begun_goes_on_where_it_would_not_have_begun() -> None:
    begun = [1.0] * 75 + [0.03] * 5
    fresh, going_on, relieved = (
        grown(days)[0] for days in ([1.0] * 75 + [0.35] * 15, [*begun, *[0.35] * 10], [*begun, *[0.5] * 10])
    )
    assert fresh[90] == fresh[75]
    assert all(later < earlier for earlier, later in pairwise(going_on[80:]))  # hardly, but it does
    assert relieved[90] == relieved[82]
