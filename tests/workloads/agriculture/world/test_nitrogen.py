import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldloop.workloads.agriculture.world.aquacrop_season import AquaCropSeason, CropDay, SoilWater
from fieldloop.workloads.agriculture.world.climate import REGIONS, season_weather
from fieldloop.workloads.agriculture.world.nitrogen import NitrogenBalance, critical_uptake_kg_ha

SANDY_LOAM = SoilWater(0.10, 0.22, 0.41)


def _day(
    biomass_t_ha: float = 5.0, drained_mm: float = 0.0, mean_c: float = 20.0, vwc: float = 0.18, transpired: float = 4.0
) -> CropDay:
    return CropDay(
        date=datetime.date(2006, 6, 15),
        tmin_c=mean_c - 7,
        tmax_c=mean_c + 7,
        rain_mm=0.0,
        et0_mm=6.0,
        irrigation_mm=0.0,
        deep_percolation_mm=drained_mm,
        transpiration_mm=transpired,
        potential_transpiration_mm=5.0,
        water_m3_m3=np.full(12, vwc),
        root_depth_m=1.0,
        canopy_cover=0.8,
        biomass_t_ha=biomass_t_ha,
    )


def test_critical_uptake_follows_the_dilution_curve() -> None:
    assert critical_uptake_kg_ha(1.0) == pytest.approx(34.0)
    assert critical_uptake_kg_ha(10.0) == pytest.approx(10 * 10 * 3.40 * 10**-0.37)  # W t/ha at Nc %
    assert critical_uptake_kg_ha(30.0) == critical_uptake_kg_ha(22.0)


day_strategy = st.builds(
    _day,
    biomass_t_ha=st.floats(0, 30),
    drained_mm=st.floats(0, 80),
    mean_c=st.floats(-10, 35),
    vwc=st.floats(0.05, 0.41),
    transpired=st.floats(0, 5),
)


@given(st.lists(st.tuples(day_strategy, st.floats(0, 150)), max_size=20), st.floats(0, 150))
def test_no_nitrogen_appears_or_vanishes(days: list[tuple[CropDay, float]], start_kg_ha: float) -> None:
    balance = NitrogenBalance(SANDY_LOAM, start_kg_ha)
    for day, dose in days:
        balance.step(day, dose)
        assert balance.mineral_kg_ha >= 0
        assert 0.3 <= balance.growth_factor <= 1.0
    came = start_kg_ha + balance.applied_kg_ha + balance.mineralised_kg_ha
    went = balance.mineral_kg_ha + balance.uptake_kg_ha + balance.leached_kg_ha + balance.lost_to_air_kg_ha
    assert went == pytest.approx(came, abs=1e-6)


def test_a_starved_canopy_grows_slower_and_a_fed_one_does_not() -> None:
    starved, fed = NitrogenBalance(SANDY_LOAM, 20.0), NitrogenBalance(SANDY_LOAM, 250.0)
    for day in range(60):
        starved.step(_day(biomass_t_ha=0.25 * day), 0.0)
        fed.step(_day(biomass_t_ha=0.25 * day), 0.0)
    assert starved.growth_factor < 0.7
    assert fed.growth_factor == 1.0


def test_drainage_leaches_by_burns() -> None:
    balance = NitrogenBalance(SANDY_LOAM, 100.0)
    balance.step(_day(biomass_t_ha=0.0, drained_mm=50.0, mean_c=-5.0), 0.0)
    assert balance.leached_kg_ha == pytest.approx(100 * 50 / (50 + 1000 * 0.22 * 1.2))


def test_frozen_soil_mineralises_nothing_and_warm_moist_soil_more_than_dry() -> None:
    def mineralised(mean_c: float, vwc: float) -> float:
        balance = NitrogenBalance(SANDY_LOAM, 70.0)
        balance.step(_day(mean_c=mean_c, vwc=vwc), 0.0)
        return balance.mineralised_kg_ha

    assert mineralised(-3.0, 0.22) == 0
    assert mineralised(20.0, 0.22) == pytest.approx(1.2)
    assert mineralised(30.0, 0.22) == pytest.approx(2.4)
    assert mineralised(20.0, 0.10) == pytest.approx(0.24)


def _champion_yield(year: int, rate_kg_ha: float) -> float:
    planting = datetime.date(year, 5, 1)
    season = AquaCropSeason(season_weather(REGIONS["champion"], planting), "SandyLoam", planting, 100.0)
    balance = NitrogenBalance(season.soil_water, 70.0)
    day = 0
    while not season.is_finished:
        depletion_mm, taw_mm = season.root_zone_mm()
        irrigation_mm = 25.0 if depletion_mm > 0.55 * taw_mm else 0.0
        lived = season.step(irrigation_mm, balance.growth_factor)
        balance.step(lived, rate_kg_ha * {0: 0.33, 40: 0.67}.get(day, 0.0))
        day += 1
    return season.yield_t_ha


@pytest.mark.slow
def test_the_economic_optimum_on_champion_sandy_loam_is_near_200_kg_ha() -> None:
    rates = np.arange(0, 321, 40)
    years = (1984, 1990, 1996, 2001, 2005)
    yields = np.array([np.mean([_champion_yield(year, float(rate)) for year in years]) for rate in rates])
    fine = np.arange(0, 321)
    profit = 180 * np.interp(fine, rates, yields) - 1.0 * fine
    assert 160 <= fine[profit.argmax()] <= 240
    assert 6.5 < yields[0] < 10.5
    assert 12.5 < yields[-1] < 14.5
    assert np.all(np.diff(yields) > -0.05)
