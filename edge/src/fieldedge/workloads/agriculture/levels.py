"""What the days before a day were like: how windy, how clear, how wet, and when their sun stood highest.

A unit that is wrong, or a clock, is so every day, and one day alone may well be windy, dull or lopsided. Only a day
that is known well enough says something, and only what its own good values say.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import StatisticsError, correlation

from fieldedge.contract.samples import FlaggedSample, day_of
from fieldedge.device.config import Site
from fieldedge.workloads.agriculture.evapotranspiration import extraterrestrial_radiation_mj_m2, wind_at_2_m_m_s
from fieldedge.workloads.agriculture.series import Series, series_of

LOOKS_BACK = timedelta(days=7)
NEARLY_ALL_H = 20.0  # of radiation, wind and ET0, which are summed or averaged
MJ_M2_D_PER_W_M2 = 0.0864
CLEAR = 0.6  # of the radiation above the atmosphere: clouds move the middle of such a day by minutes
SUNNY = 0.5
_DAYLIGHT_MJ_M2 = 5.0
_SOLAR_CONSTANT_W_M2 = 0.0820e6 / 60.0  # FAO-56 eq. 21
_WHOLE_HOURS = range(1, 25)


@dataclass(frozen=True)
class Level:
    """What is known of a day. `noon_utc_h` is of clear days alone; `wind_m_s` is that 2 m above ground.

    `peak` is its brightest hour as a part of the sun at noon above the atmosphere. `humidity_by_warmth` is how its
    hours' humidity goes with their temperature, from -1 to 1, on a sunny day. `rains_mm` are its values that are no 0,
    and `wet_hours_mm` the hours that they make.
    """

    wind_m_s: float | None = None
    clearness: float | None = None
    noon_utc_h: float | None = None
    range_k: float = 0.0
    peak: float | None = None
    humidity_by_warmth: float | None = None
    rains_mm: tuple[float, ...] = ()
    wet_hours_mm: tuple[float, ...] = ()


def level_of(series: Mapping[str, Series], day: str, site: Site) -> Level:
    wind, solar = series.get("wind_speed_m_s"), series.get("solar_radiation_w_m2")
    wind_m_s = clearness = noon_utc_h = peak = None
    if wind is not None and wind.covered_h >= NEARLY_ALL_H:
        wind_m_s = wind_2_m_m_s(wind.mean(), site)
    day_of_year = date.fromisoformat(day).timetuple().tm_yday
    outside_mj_m2 = extraterrestrial_radiation_mj_m2(site.latitude_deg, day_of_year)
    if solar is not None and solar.covered_h >= NEARLY_ALL_H and outside_mj_m2 > _DAYLIGHT_MJ_M2:
        clearness = solar.mean() * MJ_M2_D_PER_W_M2 / outside_mj_m2
        noon_utc_h = solar.noon_utc_h() if clearness >= CLEAR else None
        peak = max(solar.by_hour().values()) / noon_outside_w_m2(site.latitude_deg, day_of_year)
    warmth, rain = series.get("air_temperature_c"), series.get("rain_mm")
    range_k = max(warmth.values) - min(warmth.values) if warmth is not None else 0.0
    is_sunny = clearness is not None and clearness >= SUNNY
    return Level(
        wind_m_s,
        clearness,
        noon_utc_h,
        range_k,
        peak,
        _humidity_by_warmth(series) if is_sunny else None,
        tuple(value for value in rain.values if value > 0.0) if rain is not None else (),
        tuple(value for value in rain.by_hour(sum).values() if value > 0.0) if rain is not None else (),
    )


def _humidity_by_warmth(series: Mapping[str, Series]) -> float | None:
    """The correlation of a day's humidity with its temperature, hour by hour; None where either is not all there."""
    warmth, humidity = series.get("air_temperature_c"), series.get("relative_humidity_pct")
    if warmth is None or humidity is None or min(warmth.covered_h, humidity.covered_h) < NEARLY_ALL_H:
        return None
    try:
        return correlation([warmth.near(hour) for hour in _WHOLE_HOURS], [humidity.near(hour) for hour in _WHOLE_HOURS])
    except StatisticsError:  # one of the two does not move
        return None


def levels_before(samples: Iterable[FlaggedSample], day: str, site: Site) -> Sequence[Level]:
    """Those of the days before, as far as samples of them are there."""
    by_day: dict[str, list[FlaggedSample]] = {}
    for flagged in samples:
        of_day = day_of(flagged.sample.time_utc)
        if of_day < day:
            by_day.setdefault(of_day, []).append(flagged)
    return [level_of(series_of(of_day, one), one, site) for one, of_day in sorted(by_day.items())]


def wind_2_m_m_s(wind_m_s: float, site: Site) -> float:
    """The wind that was measured at the site's height, at 2 m."""
    return wind_m_s if site.wind_height_m == 2.0 else wind_at_2_m_m_s(wind_m_s, site.wind_height_m)


def noon_outside_w_m2(latitude_deg: float, day_of_year: int) -> float:
    """The radiation at noon on the level above the atmosphere (FAO-56 eq. 21 to 24), W/m2."""
    distance = 1.0 + 0.033 * math.cos(math.tau * day_of_year / 365.0)
    declination = 0.409 * math.sin(math.tau * day_of_year / 365.0 - 1.39)
    return _SOLAR_CONSTANT_W_M2 * distance * max(math.cos(math.radians(latitude_deg) - declination), 0.05)


def solar_noon_utc_h(longitude_deg: float, day: str) -> float:
    """When the sun stands highest, in UTC (FAO-56 eq. 31 to 33)."""
    angle = 2.0 * math.pi * (date.fromisoformat(day).timetuple().tm_yday - 81) / 364.0
    correction_h = 0.1645 * math.sin(2.0 * angle) - 0.1255 * math.cos(angle) - 0.025 * math.sin(angle)
    return (12.0 - longitude_deg / 15.0 - correction_h) % 24.0
