"""A day's samples summed up into one row of the table `readings`, from good values only.

A day is a UTC day; a sample is of the day in which its interval lies, so that the one at midnight ends the day before
(FAO-56 and loggers stamp the end). Which logger speaks for a channel is `series.py`'s. A day of which too little is
known has no reading, and says why, for a wrong reading is worse than none. A sum is whole only where next to nothing of
it is missing: of ET0 a part is never taken for the day's. What a day as a whole cannot be, by itself or beside the days
before it (`levels.py`), is doubted (`doubts.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from statistics import fmean
from zoneinfo import ZoneInfo

from fieldedge.contract import Record
from fieldedge.contract.samples import FlaggedSample, day_of
from fieldedge.device.config import Site
from fieldedge.system.errors import DataError
from fieldedge.workload import Observed
from fieldedge.workloads.agriculture import doubts
from fieldedge.workloads.agriculture.channels import PROBE_CHANNELS
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.doubts import Doubt
from fieldedge.workloads.agriculture.evapotranspiration import (
    extraterrestrial_radiation_mj_m2,
    hargreaves_mm,
    penman_monteith_mm,
)
from fieldedge.workloads.agriculture.levels import (
    MJ_M2_D_PER_W_M2,
    NEARLY_ALL_H,
    Level,
    level_of,
    levels_before,
    solar_noon_utc_h,
    wind_2_m_m_s,
)
from fieldedge.workloads.agriculture.series import Series, said_again, series_of, totals_of

ENOUGH_H = 16.0  # of temperature and humidity, for their extremes to be the day's

_FLIGHT_CHANNELS = ("ndvi", "ndre")
_NEEDED = ("air_temperature_c", "rain_mm")  # a day without them has no reading


def summarise_day(samples: Sequence[FlaggedSample], field: Record, day: str, site: Site) -> Observed:
    """The reading of a day of a field. Samples of other days say no more than what is usual.

    `flags` says how the day was measured: `hours` and `loggers` by channel, `bad` as counts by channel and flag, `et0`
    as how ET0 was come by, and `doubts` as what may be wrong.
    """
    measured = [flagged for flagged in samples if day_of(flagged.sample.time_utc) == day]
    series = series_of(measured, day)
    flags: Record = {
        "hours": {name: round(found.covered_h, 1) for name, found in series.items()},
        "loggers": {name: found.logger for name, found in series.items()},
        "bad": _bad(measured),
    }
    day_of_year = date.fromisoformat(day).timetuple().tm_yday
    found = _doubts(series, field, site, day)
    _add(found, "rain_mm", doubts.of_counter(*totals_of(measured, day, "rain_mm", series)))
    repeats = doubts.of_repeats(said_again(measured, day, "rain_mm", series))
    if repeats is not None and not found.get("rain_mm", repeats).is_refused:
        found["rain_mm"] = repeats  # what is said again looks like a sum of hours, or a counter
    for name, doubt in _beside_the_days_before(series, levels_before(samples, day, site), site, day):
        _add(found, name, doubt)
    reason = _lacking(series) or _refused(found)
    if reason is not None:
        return Observed(None, flags, reason, {name: doubt.why for name, doubt in found.items()})
    temperatures_c = series["air_temperature_c"].values
    tmin_c, tmax_c = min(temperatures_c), max(temperatures_c)
    counting = {name: one for name, one in series.items() if name not in found or not found[name].is_refused}
    et0_mm, flags["et0"], doubt = _et0_mm(counting, tmin_c, tmax_c, site, day_of_year)
    told = {name: one.why for name, one in {**found, **({} if doubt is None else {"et0_mm": doubt})}.items()}
    if told:
        flags["doubts"] = told
    reading = {
        "season": field["season"],
        "region": field["region"],
        "field_id": field["field_id"],
        "date": day,
        "tmin_c": round(tmin_c, 2),
        "tmax_c": round(tmax_c, 2),
        "rain_mm": round(sum(series["rain_mm"].values), 2),
        "et0_mm": round(et0_mm, 2),
        **{name: round(series[name].evening_mean(), 4) for name in PROBE_CHANNELS if name in series},
        **{name: round(series[name].values[-1], 3) for name in _FLIGHT_CHANNELS if name in series},
    }
    try:
        return Observed(CONTRACT.record("readings", reading, day), flags, None, told)
    except DataError as error:
        return Observed(None, flags, str(error), told)


def _bad(measured: Iterable[FlaggedSample]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for flagged in measured:
        for name, flag in flagged.flags.items():
            if flag != "good":
                of_channel = counts.setdefault(name, {})
                of_channel[flag] = of_channel.get(flag, 0) + 1
    return counts


def _lacking(series: Mapping[str, Series]) -> str | None:
    """Why a day cannot be summed up. Rain that was measured for a part of the day counts: no less has fallen."""
    temperature = series.get("air_temperature_c")
    covered_h = 0.0 if temperature is None else temperature.covered_h
    if covered_h < ENOUGH_H:
        return f"air_temperature_c has good values for {covered_h:.1f} h of the day; expected at least {ENOUGH_H:.0f} h"
    if "rain_mm" not in series:
        return "rain_mm has no good value; expected at least one"
    return None


def _doubts(series: Mapping[str, Series], field: Record, site: Site, day: str) -> dict[str, Doubt]:
    """What of the day's channels can hardly be true, by channel."""
    found: dict[str, Doubt | None] = {}
    if (rain := series.get("rain_mm")) is not None:
        found["rain_mm"] = doubts.of_rain(rain.values, rain.hours, rain.bad)
    day_of_year = date.fromisoformat(day).timetuple().tm_yday
    outside_mj_m2 = extraterrestrial_radiation_mj_m2(site.latitude_deg, day_of_year)
    temperature, solar = series.get("air_temperature_c"), series.get("solar_radiation_w_m2")
    is_warmth_known = temperature is not None and temperature.covered_h >= ENOUGH_H
    range_k = max(temperature.values) - min(temperature.values) if temperature is not None and is_warmth_known else None
    clearness = None
    if solar is not None and solar.covered_h >= NEARLY_ALL_H and range_k is not None:
        solar_mj_m2 = solar.mean() * MJ_M2_D_PER_W_M2
        dark = doubts.of_radiation(solar_mj_m2, outside_mj_m2, min(solar.values), range_k, site.latitude_deg)
        if dark is None and outside_mj_m2 > doubts.DAYLIGHT_MJ_M2:
            dark = _noon(solar, solar_mj_m2 / outside_mj_m2, site, day)
        found["solar_radiation_w_m2"] = dark
        clearness = solar_mj_m2 / outside_mj_m2 if dark is None and outside_mj_m2 > doubts.DAYLIGHT_MJ_M2 else None
    if temperature is not None and range_k is not None:
        found["air_temperature_c"] = doubts.of_temperature(fmean(temperature.values), range_k, clearness)
    if (humidity := series.get("relative_humidity_pct")) is not None and humidity.covered_h >= ENOUGH_H:
        found["relative_humidity_pct"] = doubts.of_humidity(min(humidity.values), max(humidity.values), clearness)
        is_sunny = clearness is not None and clearness >= doubts.CLEAR_DAY
        if is_sunny and temperature is not None and range_k is not None:
            coldest, warmest = (humidity.near(temperature.hour_of(most)) for most in (min, max))
            warm = doubts.of_humidity_and_warmth(coldest, warmest, range_k)
            found["relative_humidity_pct"] = found["relative_humidity_pct"] or warm
    if (wind := series.get("wind_speed_m_s")) is not None and wind.covered_h >= NEARLY_ALL_H:
        found["wind_speed_m_s"] = doubts.of_wind(wind.mean(), wind.values)
    limits = field["wilting_point_m3_m3"], field["saturation_m3_m3"]
    found |= {name: doubts.of_soil(series[name].evening_mean(), *limits) for name in PROBE_CHANNELS if name in series}
    if rain is not None and 0.0 in rain.values:  # who says that there is none says so all day long
        found["rain_mm"] = found["rain_mm"] or doubts.of_silence(*rain.silence)
    if temperature is not None and is_warmth_known:  # who measures it sends all day long
        silent = doubts.of_silence(*temperature.silence)
        found["air_temperature_c"] = found["air_temperature_c"] or silent
        if rain is not None and rain.logger == temperature.logger:
            found["rain_mm"] = found["rain_mm"] or silent
    return {name: doubt for name, doubt in found.items() if doubt is not None}


def _add(found: dict[str, Doubt], name: str, doubt: Doubt | None) -> None:
    """Keep a doubt of a channel, unless there is one already that counts for more."""
    if doubt is not None and (name not in found or (doubt.is_refused and not found[name].is_refused)):
        found[name] = doubt


def _noon(solar: Series, clearness: float, site: Site, day: str) -> Doubt | None:
    """What the middle of a day's radiation says of the times, by the site's longitude, else by its zone."""
    if site.longitude_deg is not None:
        return doubts.of_sun(solar.noon_utc_h(), solar_noon_utc_h(site.longitude_deg, day), clearness)
    offset_h = _offset_h(site, day)
    return None if offset_h is None else doubts.of_noon(solar.middle_h(), offset_h)


def _beside_the_days_before(
    series: Mapping[str, Series], before: Sequence[Level], site: Site, day: str
) -> Iterable[tuple[str, Doubt | None]]:
    """What of a day can hardly be beside those before it: a unit or a clock that was wrong all the time."""
    today = level_of(series, day, site)
    week = [*before, today]
    if today.clearness is not None:
        radiation = [(one.clearness, one.range_k) for one in before if one.clearness is not None]
        yield "solar_radiation_w_m2", doubts.of_usual_radiation(today.clearness, today.range_k, radiation)
        yield "solar_radiation_w_m2", doubts.of_usual_peak([one.peak for one in week if one.peak is not None])
    if today.rains_mm:
        values_mm = [value for one in week for value in one.rains_mm]
        yield "rain_mm", doubts.of_usual_rain(values_mm, [value for one in week for value in one.wet_hours_mm])
    warm = [one.humidity_by_warmth for one in week if one.humidity_by_warmth is not None]
    yield "air_temperature_c", doubts.of_usual_warmth(warm)
    if today.noon_utc_h is not None:
        usual = [one.noon_utc_h for one in before if one.noon_utc_h is not None]
        yield "solar_radiation_w_m2", doubts.of_usual_noon(today.noon_utc_h, usual)
    if today.wind_m_s is not None:
        winds = [today.wind_m_s, *(one.wind_m_s for one in before if one.wind_m_s is not None)]
        yield "wind_speed_m_s", doubts.of_usual_wind(winds)


def _offset_h(site: Site, day: str) -> float | None:
    """How far the clock of the site's zone is ahead of UTC on a day; None where none is set."""
    if site.zone is None:
        return site.utc_offset_h or None
    with suppress(ValueError, OSError, LookupError):
        offset = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(site.zone)).utcoffset()
        return None if offset is None else offset / timedelta(hours=1)
    return None


def _refused(found: Mapping[str, Doubt]) -> str | None:
    """Why the day has no reading, where what it cannot do without cannot be true."""
    return next(
        (f"{name} {found[name].why}" for name in _NEEDED if name in found and found[name].is_refused),
        None,
    )


def _et0_mm(
    series: Mapping[str, Series], tmin_c: float, tmax_c: float, site: Site, day_of_year: int
) -> tuple[float, str, Doubt | None]:
    """ET0, and how it was come by: as the station gave it, by Penman-Monteith, or from temperature alone.

    A station's own that cannot be the day's is doubted, and does not count.
    """
    own_mm, how = _own_et0_mm(series, tmin_c, tmax_c, site, day_of_year)
    given = series.get("et0_mm")
    if given is None or not given.is_whole_sum:
        return own_mm, how, None
    doubt = doubts.of_et0(sum(given.values), own_mm)
    return (sum(given.values), "given", None) if doubt is None else (own_mm, how, doubt)


def _own_et0_mm(
    series: Mapping[str, Series], tmin_c: float, tmax_c: float, site: Site, day_of_year: int
) -> tuple[float, str]:
    """ET0 by what the day's sensors say, and how."""
    humidity, wind, solar = (
        series.get(name) for name in ("relative_humidity_pct", "wind_speed_m_s", "solar_radiation_w_m2")
    )
    if (
        humidity is None
        or wind is None
        or solar is None
        or humidity.covered_h < ENOUGH_H
        or min(wind.covered_h, solar.covered_h) < NEARLY_ALL_H
    ):
        return hargreaves_mm(tmin_c, tmax_c, site.latitude_deg, day_of_year), "hargreaves"
    et0_mm = penman_monteith_mm(
        tmin_c,
        tmax_c,
        min(*humidity.values, 100.0),
        min(max(humidity.values), 100.0),
        wind_2_m_m_s(wind.mean(), site),
        max(solar.mean(), 0.0) * MJ_M2_D_PER_W_M2,
        site.latitude_deg,
        site.elevation_m,
        day_of_year,
    )
    return et0_mm, "penman-monteith"
