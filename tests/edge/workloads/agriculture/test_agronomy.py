"""The field's formulas against the figures that their sources print."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.workloads.agriculture import agronomy as ag

days = st.floats(0, 200)


def test_the_readily_available_share_follows_demand_between_its_limits() -> None:
    assert [ag.depletion_fraction(etc_mm) for etc_mm in (5.0, 8.0, 3.0)] == pytest.approx([0.55, 0.43, 0.63])
    assert (ag.depletion_fraction(-20.0), ag.depletion_fraction(40.0)) == (0.8, 0.1)


def test_the_crop_coefficient_follows_fao56_from_bare_soil_to_full_cover_and_back() -> None:
    by_day = [ag.crop_coefficient(day) for day in (0, 22, 55, 100, 132, 300)]
    assert by_day == pytest.approx([0.25, 0.25, 1.15, 1.15, 0.45, 0.45])
    assert ag.crop_coefficient(38.5) == pytest.approx(0.70)


def test_warm_nights_and_hot_days_count_only_between_8_and_30_degrees() -> None:
    assert [ag.growing_degrees_c_d(*day) for day in ((10.0, 30.0), (2.0, 35.0), (-5.0, 5.0), (31.0, 40.0))] == [
        12.0,
        11.0,
        0.0,
        22.0,
    ]


def test_ten_tonnes_of_maize_that_just_lack_no_nitrogen_hold_145_kg() -> None:
    assert ag.critical_nitrogen_kg_ha(10.0) == pytest.approx(145.0, abs=0.1)
    assert ag.critical_nitrogen_kg_ha(1.0) == pytest.approx(34.0)
    assert ag.critical_nitrogen_kg_ha(30.0) == ag.critical_nitrogen_kg_ha(22.0)
    assert ag.nitrogen_nutrition_index(145.0, 10.0) == pytest.approx(1.0, abs=0.001)


def test_ten_degrees_more_double_what_moist_soil_frees_and_frost_stops_it() -> None:
    assert ag.mineralised_kg_ha(20.0, 1.0) == pytest.approx(1.2)
    assert ag.mineralised_kg_ha(30.0, 1.0) == pytest.approx(2.4)
    assert ag.mineralised_kg_ha(20.0, 0.0) == pytest.approx(0.24)
    assert ag.mineralised_kg_ha(-3.0, 1.0) == 0.0


def test_a_crop_takes_no_more_than_it_can_use_reach_or_carry_in_a_day() -> None:
    assert ag.uptake_kg_ha(0.0, 0.0, 200.0, 1.2, 1.0) == 0.0
    assert ag.uptake_kg_ha(10.0, 0.0, 200.0, 1.2, 1.0) == ag.UPTAKE_MAX_KG_HA_D
    assert ag.uptake_kg_ha(10.0, 0.0, ag.RESIDUAL_NITROGEN_KG_HA, 1.2, 1.0) == 0.0
    assert ag.uptake_kg_ha(10.0, 1000.0, 200.0, 1.2, 1.0) == 0.0


@given(mineral=st.floats(0, 500), drained=st.floats(0, 500), capacity=st.floats(0.05, 0.6))
def test_leaching_takes_part_of_what_is_there_and_more_with_more_drainage(
    mineral: float, drained: float, capacity: float
) -> None:
    lost = ag.leached_kg_ha(mineral, drained, capacity)
    assert 0.0 <= lost <= mineral
    assert lost <= ag.leached_kg_ha(mineral, drained + 1.0, capacity)


@given(dap=days, mineral=st.floats(0, 300), taken=st.floats(0, 300))
def test_the_need_is_what_soil_and_crop_do_not_hold_grossed_up_for_what_volatilises(
    dap: float, mineral: float, taken: float
) -> None:
    need = ag.nitrogen_need_kg_ha(dap, mineral, taken)
    assert 0.0 <= need <= ag.critical_nitrogen_kg_ha(ag.FINAL_BIOMASS_T_HA) / (1.0 - ag.VOLATILISED_FRACTION)
    assert ag.nitrogen_need_kg_ha(dap, mineral, taken + 30.0) == pytest.approx(max(0.0, need - 40.0))
    assert ag.nitrogen_need_kg_ha(dap + 1.0, mineral, taken) >= need  # a day less in which the soil frees some
    if mineral > ag.RESIDUAL_NITROGEN_KG_HA:
        assert ag.nitrogen_need_kg_ha(dap, mineral + 30.0, taken) == pytest.approx(max(0.0, need - 40.0))


def test_nitrogen_that_no_root_can_reach_meets_no_need() -> None:
    assert ag.nitrogen_need_kg_ha(50.0, 0.0, 100.0) == ag.nitrogen_need_kg_ha(50.0, ag.RESIDUAL_NITROGEN_KG_HA, 100.0)


@pytest.mark.parametrize(("year", "ppm"), [(1980, 338.8), (1990, 354.4), (2000, 369.5), (2010, 389.9), (2020, 414.2)])
def test_the_air_follows_the_record_of_mauna_loa(year: int, ppm: float) -> None:
    assert ag.co2_ppm(year) == pytest.approx(ppm, abs=3.0)
