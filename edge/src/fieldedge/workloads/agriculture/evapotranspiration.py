"""Reference evapotranspiration of one day, by FAO Irrigation and Drainage Paper 56 (Allen et al. 1998).

Penman-Monteith (eq. 6) where radiation, humidity and wind were measured, Hargreaves (eq. 52) where only temperature
was. Equation numbers are FAO-56's. Plain functions over floats: temperatures in degC, radiation in MJ/(m2 day),
pressure in kPa, latitude in degrees, south negative; wind and temperature 2 m above short grass.
"""

import math

SOLAR_CONSTANT_MJ_M2_MIN = 0.0820
STEFAN_BOLTZMANN_MJ_K4_M2_D = 4.903e-9
ALBEDO = 0.23
LATENT_HEAT_MJ_KG = 2.45
_KELVIN = 273.16
_CLOUDIEST = 0.3  # Rs/Rso below this says nothing more of clouds (ASCE-EWRI 2005, eq. 18)


def penman_monteith_mm(
    tmin_c: float,
    tmax_c: float,
    rh_min_pct: float,
    rh_max_pct: float,
    wind_m_s: float,
    solar_mj_m2: float,
    latitude_deg: float,
    elevation_m: float,
    day_of_year: int,
) -> float:
    """ET0 in mm/day (eq. 6, without soil heat: eq. 42). Never below 0: what condenses is not evaporated."""
    mean_c = 0.5 * (tmin_c + tmax_c)
    slope = vapour_pressure_slope_kpa_c(mean_c)
    gamma = psychrometric_constant_kpa_c(elevation_m)
    saturated_kpa = 0.5 * (saturation_vapour_pressure_kpa(tmin_c) + saturation_vapour_pressure_kpa(tmax_c))  # eq. 12
    actual_kpa = actual_vapour_pressure_kpa(tmin_c, tmax_c, rh_min_pct, rh_max_pct)
    outside = extraterrestrial_radiation_mj_m2(latitude_deg, day_of_year)
    net = (1.0 - ALBEDO) * solar_mj_m2  # eq. 38
    net -= net_longwave_mj_m2(tmin_c, tmax_c, actual_kpa, solar_mj_m2, clear_sky_radiation_mj_m2(outside, elevation_m))
    radiated = 0.408 * slope * net
    blown = gamma * 900.0 / (mean_c + 273.0) * wind_m_s * (saturated_kpa - actual_kpa)
    return max((radiated + blown) / (slope + gamma * (1.0 + 0.34 * wind_m_s)), 0.0)


def hargreaves_mm(tmin_c: float, tmax_c: float, latitude_deg: float, day_of_year: int) -> float:
    """ET0 in mm/day from temperature and latitude alone (eq. 52)."""
    outside_mm = extraterrestrial_radiation_mj_m2(latitude_deg, day_of_year) / LATENT_HEAT_MJ_KG
    spread_c = max(tmax_c - tmin_c, 0.0)
    return max(0.0023 * (0.5 * (tmin_c + tmax_c) + 17.8) * math.sqrt(spread_c) * outside_mm, 0.0)


def wind_at_2_m_m_s(wind_m_s: float, height_m: float) -> float:
    """The wind 2 m above short grass of one that was measured at another height (eq. 47)."""
    return wind_m_s * 4.87 / math.log(67.8 * height_m - 5.42)


def psychrometric_constant_kpa_c(elevation_m: float) -> float:
    """Psychrometric constant (eq. 8) at the mean pressure of a height (eq. 7)."""
    pressure_kpa = 101.3 * math.pow((293.0 - 0.0065 * elevation_m) / 293.0, 5.26)
    return 0.665e-3 * pressure_kpa


def saturation_vapour_pressure_kpa(temperature_c: float) -> float:
    """Saturation vapour pressure (eq. 11)."""
    return 0.6108 * math.exp(17.27 * temperature_c / (temperature_c + 237.3))


def vapour_pressure_slope_kpa_c(temperature_c: float) -> float:
    """Slope of the saturation vapour pressure curve (eq. 13)."""
    return 4098.0 * saturation_vapour_pressure_kpa(temperature_c) / (temperature_c + 237.3) ** 2


def actual_vapour_pressure_kpa(tmin_c: float, tmax_c: float, rh_min_pct: float, rh_max_pct: float) -> float:
    """Actual vapour pressure of a day (eq. 17): the air is moistest when it is coldest."""
    coldest = saturation_vapour_pressure_kpa(tmin_c) * rh_max_pct / 100.0
    warmest = saturation_vapour_pressure_kpa(tmax_c) * rh_min_pct / 100.0
    return 0.5 * (coldest + warmest)


def extraterrestrial_radiation_mj_m2(latitude_deg: float, day_of_year: int) -> float:
    """Radiation above the atmosphere (eq. 21 to 25); 0 in the polar night."""
    angle = 2.0 * math.pi * day_of_year / 365.0
    nearness = 1.0 + 0.033 * math.cos(angle)  # eq. 23
    declination = 0.409 * math.sin(angle - 1.39)  # eq. 24
    latitude = math.radians(latitude_deg)  # eq. 22
    sunset = math.acos(min(max(-math.tan(latitude) * math.tan(declination), -1.0), 1.0))  # eq. 25
    high = sunset * math.sin(latitude) * math.sin(declination)
    low = math.cos(latitude) * math.cos(declination) * math.sin(sunset)
    return max(24.0 * 60.0 / math.pi * SOLAR_CONSTANT_MJ_M2_MIN * nearness * (high + low), 0.0)


def clear_sky_radiation_mj_m2(outside_mj_m2: float, elevation_m: float) -> float:
    """Radiation at the ground under a clear sky (eq. 37)."""
    return (0.75 + 2e-5 * elevation_m) * outside_mj_m2


def net_longwave_mj_m2(
    tmin_c: float, tmax_c: float, actual_kpa: float, solar_mj_m2: float, clear_sky_mj_m2: float
) -> float:
    """What the ground loses to the sky by long waves (eq. 39)."""
    clearness = solar_mj_m2 / clear_sky_mj_m2 if clear_sky_mj_m2 > 0.0 else _CLOUDIEST
    clearness = min(max(clearness, _CLOUDIEST), 1.0)
    emitted = 0.5 * STEFAN_BOLTZMANN_MJ_K4_M2_D * ((tmax_c + _KELVIN) ** 4 + (tmin_c + _KELVIN) ** 4)
    return emitted * (0.34 - 0.14 * math.sqrt(max(actual_kpa, 0.0))) * (1.35 * clearness - 0.35)
