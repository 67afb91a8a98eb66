"""FAO-56's formulas against its own worked examples."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.workloads.agriculture import evapotranspiration as et


def day_number(month: int, day: int) -> int:
    return (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)[month - 1] + day


def test_example_18_brussels_on_6_july() -> None:
    et0_mm = et.penman_monteith_mm(12.3, 21.5, 63.0, 84.0, 2.078, 22.07, 50.8, 100.0, day_number(7, 6))
    assert et0_mm == pytest.approx(3.9, abs=0.05)


def test_example_20_lyon_in_july_from_temperature_alone() -> None:
    assert et.hargreaves_mm(14.8, 26.6, 45.0 + 43.0 / 60.0, day_number(7, 15)) == pytest.approx(5.0, abs=0.05)


def test_example_20_lyon_in_july_with_estimated_radiation_wind_and_humidity() -> None:
    at_dew_point_pct = 100.0 * et.saturation_vapour_pressure_kpa(14.8) / et.saturation_vapour_pressure_kpa(26.6)
    et0_mm = et.penman_monteith_mm(14.8, 26.6, at_dew_point_pct, 100.0, 2.0, 22.29, 45.72, 200.0, day_number(7, 15))
    assert et0_mm == pytest.approx(4.56, abs=0.06)


def test_examples_2_3_and_5_pressure_and_vapour() -> None:
    assert et.psychrometric_constant_kpa_c(1800.0) == pytest.approx(0.054, abs=5e-4)
    saturated = [et.saturation_vapour_pressure_kpa(t) for t in (15.0, 24.5)]
    assert saturated == pytest.approx([1.705, 3.075], abs=5e-4)
    assert et.actual_vapour_pressure_kpa(18.0, 25.0, 54.0, 82.0) == pytest.approx(1.70, abs=5e-3)


def test_example_8_radiation_above_20_degrees_south_on_3_september() -> None:
    assert et.extraterrestrial_radiation_mj_m2(-20.0, day_number(9, 3)) == pytest.approx(32.2, abs=0.05)


def test_example_11_longwave_loss_at_rio_de_janeiro_in_may() -> None:
    assert et.net_longwave_mj_m2(19.1, 25.1, 2.1, 14.5, 18.8) == pytest.approx(3.5, abs=0.05)


def test_there_is_no_sun_in_the_polar_night_and_nothing_breaks() -> None:
    assert et.extraterrestrial_radiation_mj_m2(80.0, day_number(12, 21)) == 0.0
    assert et.hargreaves_mm(-30.0, -20.0, 80.0, day_number(12, 21)) == 0.0
    assert et.penman_monteith_mm(-30.0, -20.0, 60.0, 90.0, 3.0, 0.0, 80.0, 10.0, day_number(12, 21)) >= 0.0


TEMPERATURES = st.floats(-45.0, 55.0)
PERCENT = st.floats(0.0, 100.0)


@given(
    TEMPERATURES, TEMPERATURES, PERCENT, PERCENT, st.floats(0.0, 60.0), st.floats(0.0, 45.0), st.floats(-90.0, 90.0),
    st.floats(-430.0, 6000.0), st.integers(1, 366),
)  # fmt: skip
def test_any_weather_has_a_finite_et0_of_0_or_more(
    one: float,
    other: float,
    wet: float,
    dry: float,
    wind: float,
    solar: float,
    latitude: float,
    height: float,
    day: int,
) -> None:
    tmin_c, tmax_c = sorted((one, other))
    rh_min, rh_max = sorted((wet, dry))
    measured = et.penman_monteith_mm(tmin_c, tmax_c, rh_min, rh_max, wind, solar, latitude, height, day)
    guessed = et.hargreaves_mm(tmin_c, tmax_c, latitude, day)
    assert math.isfinite(measured)
    assert math.isfinite(guessed)
    assert min(measured, guessed) >= 0.0


def test_wind_of_another_height_is_brought_to_two_metres() -> None:
    """FAO-56, example 14: 3.2 m/s at 10 m are 2.4 m/s at 2 m."""
    assert et.wind_at_2_m_m_s(3.2, 10.0) == pytest.approx(2.4, abs=0.05)
    assert et.wind_at_2_m_m_s(3.2, 2.0) == pytest.approx(3.2, rel=1e-3)
    assert et.wind_at_2_m_m_s(3.2, 1.0) > 3.2
