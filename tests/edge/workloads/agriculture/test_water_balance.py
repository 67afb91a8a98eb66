"""Water is neither made nor lost, and a layer holds what its soil can hold."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.workloads.agriculture import layout as at
from fieldedge.workloads.agriculture.canopy import COVER_MAX
from fieldedge.workloads.agriculture.water_balance import (
    DAYS_TO_MAX_ROOTING,
    EVAPORATION_KC,
    STOMATA_P,
    WATER_PRODUCTIVITY_T_HA,
    adjusted_cover,
    balance_day,
    drain,
    evaporate,
    grow_roots,
    infiltrate,
    measure_root_zone,
    potential_root_depth_m,
    potential_transpiration_mm,
    runoff_mm,
    shaped,
    stress_share,
    transpire,
)
from tests.edge.workloads.agriculture.plain_field import SOIL_WATER, known_field, layers, planted, stored_mm

ROUNDING_MM = 1e-9
shares = st.floats(0.0, 1.0)


@st.composite
def mornings(draw: st.DrawFn, wettest: float = 1.0) -> tuple[list[float], list[float]]:
    """A field on any day of its season, its layers anywhere between half of wilting point and saturation."""
    soil = draw(st.sampled_from(sorted(SOIL_WATER)))
    state, field = planted(known_field(soil, application_efficiency=draw(st.floats(0.5, 1.0))))
    dry = 0.5 * field[at.WILTING_POINT]
    full = field[at.SATURATION] if wettest == 1.0 else field[at.FIELD_CAPACITY]
    for i in range(at.LAYERS):
        state[at.THETA + i] = dry + draw(shares) * (full - dry)
    state[at.DAP] = float(draw(st.integers(1, 140)))
    state[at.CANOPY] = draw(st.floats(0.0, COVER_MAX))
    state[at.CANOPY_PEAK] = state[at.CANOPY_ACTUAL_MAX] = max(state[at.CANOPY], draw(st.floats(0.0, COVER_MAX)))
    state[at.ROOT_DEPTH_M] = draw(st.floats(0.3, 1.5))
    state[at.SURFACE_WATER_MM] = draw(st.floats(0.0, 7.0))
    state[at.STAGE_TWO_WETNESS] = draw(st.sampled_from((-1.0, 0.0, 0.5)))
    state[at.EVAPORATION_DEPTH_M] = draw(st.floats(0.15, 0.30))
    return state, field


def assert_within_the_soil(state: list[float], field: list[float]) -> None:
    assert min(layers(state)) >= 0.5 * field[at.WILTING_POINT] - 1e-12
    assert max(layers(state)) <= field[at.SATURATION] + 1e-12


@settings(max_examples=60)
@given(
    morning=mornings(),
    rain_mm=st.just(0.0) | st.floats(0, 200),
    irrigation_mm=st.just(0.0) | st.floats(0, 60),
    et0_mm=st.floats(0, 14),
    gdd_c_d=st.floats(0, 22),
)
def test_what_enters_a_field_is_stored_drained_evaporated_or_transpired(
    morning: tuple[list[float], list[float]], rain_mm: float, irrigation_mm: float, et0_mm: float, gdd_c_d: float
) -> None:
    state, field = morning
    held_mm, drained = [stored_mm(state)], list(state)
    entering_mm = balance_day(state, field, irrigation_mm, rain_mm)
    held_mm.append(stored_mm(state))
    drain(drained, field)  # rain falls on what drained overnight
    lost_mm = runoff_mm(drained, field, rain_mm)
    assert 0.0 <= lost_mm <= rain_mm
    assert entering_mm == pytest.approx(rain_mm - lost_mm + irrigation_mm * field[at.APPLICATION_EFFICIENCY])
    assert held_mm[1] == pytest.approx(held_mm[0] + entering_mm - state[at.DRAINED_MM])
    assert_within_the_soil(state, field)

    evaporate(state, field, et0_mm, entering_mm)
    held_mm.append(stored_mm(state))
    assert -ROUNDING_MM <= held_mm[1] - held_mm[2] <= EVAPORATION_KC * et0_mm + ROUNDING_MM
    assert_within_the_soil(state, field)

    potential_mm = potential_transpiration_mm(state, et0_mm, gdd_c_d)
    transpire(state, field, et0_mm, gdd_c_d, 1.0)
    transpired_mm = state[at.BIOMASS_T_HA] * max(et0_mm, 0.1) / WATER_PRODUCTIVITY_T_HA
    assert held_mm[2] - stored_mm(state) == pytest.approx(transpired_mm, abs=1e-6)
    assert transpired_mm <= potential_mm + ROUNDING_MM
    if potential_mm > 1e-6:
        assert transpired_mm == pytest.approx(state[at.RELATIVE_TRANSPIRATION] * potential_mm, abs=1e-6)
    assert_within_the_soil(state, field)


@settings(max_examples=60)
@given(morning=mornings(), rain_mm=st.floats(0, 120), more_mm=st.floats(0, 60), is_irrigation=st.booleans())
def test_more_water_never_leaves_the_profile_drier(
    morning: tuple[list[float], list[float]], rain_mm: float, more_mm: float, is_irrigation: bool
) -> None:
    less, field = morning
    more = list(less)
    balance_day(less, field, 0.0, rain_mm)
    balance_day(more, field, *((more_mm, rain_mm) if is_irrigation else (0.0, rain_mm + more_mm)))
    assert stored_mm(more) >= stored_mm(less) - 1e-6


@settings(max_examples=40)
@given(morning=mornings(wettest=0.5), water_mm=st.floats(0, 120), more_mm=st.floats(0, 60))
def test_where_nothing_is_above_field_capacity_more_water_leaves_no_layer_drier(
    morning: tuple[list[float], list[float]], water_mm: float, more_mm: float
) -> None:
    less, field = morning
    more = list(less)
    infiltrate(less, field, water_mm)
    infiltrate(more, field, water_mm + more_mm)
    assert all(after >= before - 1e-9 for before, after in zip(layers(less), layers(more), strict=True))


@pytest.mark.parametrize("soil", sorted(SOIL_WATER))
def test_a_soaked_profile_drains_to_field_capacity_and_no_further(soil: str) -> None:
    state, field = planted(known_field(soil))
    capacity, saturation = field[at.FIELD_CAPACITY], field[at.SATURATION]
    state[at.THETA : at.THETA + at.LAYERS] = [saturation] * at.LAYERS
    drain(state, field)
    # Its first day takes tau of what a saturated layer holds above field capacity (AquaCrop manual, chapter 3).
    assert saturation - state[at.THETA] == pytest.approx(field[at.DRAINAGE_TAU] * (saturation - capacity))
    for _ in range(400):
        drain(state, field)
    assert all(capacity <= theta <= capacity + 0.01 for theta in layers(state))
    assert state[at.THETA] == pytest.approx(capacity, abs=0.002)
    settled = planted(known_field(soil))[0]
    assert drain(settled, field) == 0.0
    assert layers(settled) == [capacity] * at.LAYERS


def test_the_root_zone_of_fao56_example_36_holds_160_mm_and_lacks_what_its_layers_lack() -> None:
    record = known_field(field_capacity_m3_m3=0.32, wilting_point_m3_m3=0.12, root_depth_max_m=0.8)
    state, field = planted(record)
    state[at.ROOT_DEPTH_M] = 0.8
    for lacking, expected_mm in ((0.0, 0.0), (0.08, 64.0), (0.14, 112.0), (0.20, 160.0), (0.25, 160.0)):
        state[at.THETA : at.THETA + at.LAYERS] = [0.32 - lacking] * at.LAYERS
        felt = measure_root_zone(state, field)
        assert (state[at.TAW_MM], state[at.DEPLETION_MM]) == pytest.approx((160.0, expected_mm))
        assert felt == pytest.approx(expected_mm / 160.0)


def test_a_shower_on_a_parched_field_is_felt_at_once() -> None:
    state, field = planted(known_field(water_pct=5.0))
    state[at.ROOT_DEPTH_M] = 1.5
    parched = measure_root_zone(state, field)
    state[at.THETA] = field[at.FIELD_CAPACITY]
    assert measure_root_zone(state, field) == 0.0 < 0.9 < parched
    assert state[at.DEPLETION_MM] > 0.8 * state[at.TAW_MM]


def test_stress_begins_at_the_upper_threshold_and_is_whole_at_the_lower_and_comes_sooner_on_days_of_high_demand() -> (
    None
):
    assert [stress_share(felt, 0.2, 0.8, 5.0) for felt in (0.0, 0.2, 0.5, 0.8, 1.0)] == pytest.approx(
        [0.0, 0.0, 0.5, 1.0, 1.0]
    )
    calm, hot = (stress_share(0.5, 0.2, 0.8, et0_mm) for et0_mm in (2.0, 9.0))
    assert calm < 0.5 < hot
    # AquaCrop manual, eq. 3.2: p + 0.04 (5 - ET0) log10(10 - 9 p); of 0.69 at 9 mm/day, 0.69 - 0.16 log10(3.79)
    assert stress_share(0.69 - 0.16 * math.log10(3.79) + 1e-9, STOMATA_P, 1.0, 9.0) == pytest.approx(0.0, abs=1e-6)


@given(felt=shares, upper=st.floats(0.05, 0.5), et0_mm=st.floats(0, 14), shape=st.floats(0.5, 6.0))
def test_a_stress_coefficient_is_a_share_and_falls_as_the_soil_dries(
    felt: float, upper: float, et0_mm: float, shape: float
) -> None:
    wetter, drier = (shaped(stress_share(f, upper, 0.9, et0_mm), shape) for f in (0.9 * felt, felt))
    assert 0.0 <= drier <= wetter <= 1.0
    assert (shaped(0.0, shape), shaped(1.0, shape)) == (1.0, pytest.approx(0.0, abs=1e-12))
    assert shaped(0.5, shape) >= 0.5  # convex: half way to full stress costs less than half


def test_rain_runs_off_by_curve_number() -> None:
    state, field = planted(known_field("Loam", water_pct=0.0))
    dry_cn = round(0.507 * 61 - 0.00374 * 61**2 + 0.0000867 * 61**3)
    storage_mm = 25400 / dry_cn - 254
    assert runoff_mm(state, field, 0.05 * storage_mm) == 0.0  # the initial loss
    assert runoff_mm(state, field, 100.0) == pytest.approx(
        (100 - 0.05 * storage_mm) ** 2 / (100 + 0.95 * storage_mm)  # SCS with an initial loss of 5 %
    )
    wet = planted(known_field("Loam"))[0]
    assert runoff_mm(state, field, 100.0) < runoff_mm(wet, field, 100.0) < 100.0


def test_bare_wet_soil_evaporates_110_percent_of_et0_and_then_ever_less() -> None:
    state, field = planted(known_field("Loam"))
    losses = []
    for wetted_mm in (30.0, *[0.0] * 14):
        before_mm = stored_mm(state)
        evaporate(state, field, 5.0, wetted_mm)
        losses.append(before_mm - stored_mm(state))
    assert losses[0] == pytest.approx(EVAPORATION_KC * 5.0)
    assert losses[2:] == sorted(losses[2:], reverse=True)
    assert losses[-1] < 0.4 * losses[0]


def test_a_closed_canopy_transpires_105_percent_of_et0_and_keeps_the_sun_from_the_soil() -> None:
    state, field = planted(known_field())
    state[at.DAP], state[at.CANOPY], state[at.CANOPY_PEAK], state[at.ROOT_DEPTH_M] = 58.0, 0.96, 0.96, 1.2
    # AquaCrop manual, eq. 3.8: CC* = 1.72 CC - CC^2 + 0.30 CC^3
    assert [adjusted_cover(cover) for cover in (0.0, 0.5, 0.96)] == pytest.approx([0.0, 0.6475, 0.99502], abs=1e-5)
    before_mm = stored_mm(state)
    transpire(state, field, 6.0, 14.0, 1.0)
    assert before_mm - stored_mm(state) == pytest.approx(1.05 * 0.99502 * 6.0, rel=1e-4)
    assert state[at.RELATIVE_TRANSPIRATION] == pytest.approx(1.0)
    assert state[at.BIOMASS_T_HA] == pytest.approx(0.337 * 1.05 * 0.99502, rel=1e-4)
    before_mm = stored_mm(state)
    evaporate(state, field, 6.0, 20.0)
    assert before_mm - stored_mm(state) < 0.1


def test_a_crop_at_wilting_point_transpires_nothing_and_grows_nothing() -> None:
    state, field = planted(known_field(water_pct=0.0))
    state[at.DAP], state[at.CANOPY], state[at.CANOPY_PEAK], state[at.ROOT_DEPTH_M] = 70.0, 0.9, 0.9, 1.2
    before = layers(state)
    transpire(state, field, 6.0, 14.0, 1.0)
    assert layers(state) == before
    assert (state[at.RELATIVE_TRANSPIRATION], state[at.BIOMASS_T_HA]) == (0.0, 0.0)


def test_a_cold_day_halts_transpiration() -> None:
    state, _ = planted(known_field())
    state[at.DAP], state[at.CANOPY], state[at.CANOPY_PEAK] = 50.0, 0.9, 0.9
    by_warmth = [potential_transpiration_mm(state, 6.0, gdd) for gdd in (0.0, 3.0, 6.0, 9.0, 12.0, 20.0)]
    assert by_warmth[0] == pytest.approx(0.0, abs=1e-9)
    assert by_warmth == sorted(by_warmth)
    assert by_warmth[-1] == by_warmth[-2] == pytest.approx(1.05 * adjusted_cover(0.9) * 6.0)


@given(day=st.floats(0, 200), later=st.floats(0, 200), deepest=st.floats(0.4, 3.0))
def test_roots_only_deepen_and_stop_at_their_greatest_depth(day: float, later: float, deepest: float) -> None:
    day, later = sorted((day, later))
    assert 0.3 <= potential_root_depth_m(day, deepest) <= potential_root_depth_m(later, deepest) <= deepest + 1e-12
    assert potential_root_depth_m(DAYS_TO_MAX_ROOTING, deepest) == pytest.approx(deepest)


def test_roots_stay_out_of_dry_soil_and_wait_while_the_crop_is_thirsty() -> None:
    grown_m = []
    for below, relative in ((1.0, 1.0), (1.0, 0.5), (0.1, 1.0), (0.0, 1.0)):
        state, field = planted(known_field())
        state[at.DAP], state[at.ROOT_DEPTH_M], state[at.RELATIVE_TRANSPIRATION] = 60.0, 0.6, relative
        for i in range(6, at.LAYERS):
            state[at.THETA + i] = 0.10 + below * 0.12
        grow_roots(state, field)
        grown_m.append(state[at.ROOT_DEPTH_M] - 0.6)
    free, thirsty, dry, parched = grown_m
    assert free == pytest.approx(potential_root_depth_m(60.0, 1.5) - potential_root_depth_m(59.0, 1.5))
    assert parched == 0.0 < dry < free
    assert 0.0 < thirsty < free


def test_a_stand_that_is_all_but_nothing_withers_without_an_error() -> None:
    state, field = planted(known_field())
    state[at.DAP] = 120.0
    state[at.CANOPY] = state[at.CANOPY_PEAK] = state[at.CANOPY_ACTUAL_MAX] = 5e-324
    evaporate(state, field, 5.0, 0.0)
    assert_within_the_soil(state, field)
