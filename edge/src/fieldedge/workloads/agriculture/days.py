"""A day's samples summed up into one row of the table `readings`, from good values only.

A day is a UTC day; a sample is of the day in which its interval lies, so that the one at midnight ends the day before
(FAO-56 and loggers stamp the end). Where several loggers measure a channel, the one that was heard for longest speaks
for that day: two rain gauges are not twice the rain. One that took the place of another of its name is the same. A
value speaks for the time since the one before, for 3 hours at most; a day without enough of that has no reading, and
says why, for a wrong reading is worse than none. A sum is whole only where next to nothing of it is missing: of ET0 a
part is never taken for the day's. What a day as a whole cannot be is doubted (`doubts.py`).
"""

import cmath
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby, pairwise
from statistics import fmean, median
from zoneinfo import ZoneInfo

from fieldedge.contract import Record
from fieldedge.contract.samples import FlaggedSample, day_of, name_of
from fieldedge.device.config import Site
from fieldedge.system.errors import DataError
from fieldedge.workload import Observed
from fieldedge.workloads.agriculture import doubts
from fieldedge.workloads.agriculture.channels import CHANNELS, PROBE_CHANNELS
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.doubts import Doubt
from fieldedge.workloads.agriculture.evapotranspiration import (
    extraterrestrial_radiation_mj_m2,
    hargreaves_mm,
    penman_monteith_mm,
    wind_at_2_m_m_s,
)

DAY_H = 24.0
SPEAKS_FOR_H = 3.0
ENOUGH_H = 16.0  # of temperature and humidity, for their extremes to be the day's
NEARLY_ALL_H = 20.0  # of radiation, wind and ET0, which are summed or averaged
WHOLE_SUM_H, NEARLY_ALL_VALUES = 22.0, 0.9  # of a sum: a logger may begin its day an hour late, or miss one
GAP = 1.5  # times the usual time between samples: beyond it a sum's value speaks for no more
EVENING_H = 6.0  # of a probe's last values, whose mean is its reading: the balance corrects itself at a day's end

_MJ_M2_D_PER_W_M2 = 0.0864
_FLIGHT_CHANNELS = ("ndvi", "ndre")
_NEEDED = ("air_temperature_c", "rain_mm")  # a day without them has no reading


@dataclass(frozen=True)
class _Series:
    """The good values of one channel from one logger, by hours since the day began, and the hours they speak for.

    `bad` is how many more there are that are not good.
    """

    logger: str
    values: tuple[float, ...]
    hours: tuple[float, ...]
    spans_h: tuple[float, ...]
    bad: int = 0

    @property
    def covered_h(self) -> float:
        return sum(self.spans_h)

    @property
    def is_whole_sum(self) -> bool:
        """Whether its sum is the day's: one value of the whole day, or nearly all of them."""
        if len(self.values) == 1:
            return not self.bad
        between_h = median(later - one for one, later in pairwise(self.hours))
        summed_h = sum(min(span, GAP * between_h) for span in self.spans_h)
        share = len(self.values) / (len(self.values) + self.bad)
        return summed_h >= WHOLE_SUM_H and share >= NEARLY_ALL_VALUES

    @property
    def silence(self) -> tuple[float, float]:
        """The longest time without a value, from hour to hour of the day."""
        return max(pairwise([0.0, *self.hours, DAY_H]), key=lambda gap: gap[1] - gap[0])

    def mean(self) -> float:
        """Each value counts for the time since the one before; over a silence the two beside it count alike."""
        summed, last, last_h = 0.0, self.values[0], 0.0
        for value, at in zip(self.values, self.hours, strict=True):
            is_silence = at - last_h > SPEAKS_FOR_H
            summed += (at - last_h) * (0.5 * (last + value) if is_silence else value)
            last, last_h = value, at
        return summed / last_h

    def near(self, hour: float) -> float:
        """The value nearest to an hour of the day."""
        return min(zip(self.hours, self.values, strict=True), key=lambda pair: abs(pair[0] - hour))[1]

    def hour_of(self, which: Callable[[Iterable[float]], float]) -> float:
        """The hour of the least or the greatest value."""
        return self.hours[self.values.index(which(self.values))]

    def middle_h(self) -> float:
        """The hour about which the values lie, by their weight and around the clock; they are not negative there."""
        pairs = zip(self.values, self.hours, strict=True)
        turns = [max(value, 0.0) * cmath.rect(1.0, math.tau * at / DAY_H) for value, at in pairs]
        return cmath.phase(sum(turns)) / math.tau * DAY_H % DAY_H

    def evening_mean(self) -> float:
        """The mean of the last values, as late as there are any."""
        last = [value for value, at in zip(self.values, self.hours, strict=True) if at > self.hours[-1] - EVENING_H]
        return sum(last) / len(last)


def summarise_day(samples: Sequence[FlaggedSample], field: Record, day: str, site: Site) -> Observed:
    """The reading of a day of a field. Samples of other days are passed over.

    `flags` says how the day was measured: `hours` and `loggers` by channel, `bad` as counts by channel and flag, `et0`
    as how ET0 was come by, and `doubts` as what may be wrong.
    """
    measured = [flagged for flagged in samples if day_of(flagged.sample.time_utc) == day]
    series = _series(measured, day)
    flags: Record = {
        "hours": {name: round(found.covered_h, 1) for name, found in series.items()},
        "loggers": {name: found.logger for name, found in series.items()},
        "bad": _bad(measured),
    }
    day_of_year = date.fromisoformat(day).timetuple().tm_yday
    found = _doubts(series, field, site, day)
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


def _series(measured: Iterable[FlaggedSample], day: str) -> dict[str, _Series]:
    """The channels with good values, each from the logger that speaks for it."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    bad: dict[tuple[str, str], int] = {}
    for flagged in measured:
        at, origin = _hours(flagged.sample.time_utc, day), flagged.sample.origin
        good = flagged.good()
        for name in flagged.sample.values:
            if name in good:
                found.setdefault(name, {}).setdefault(origin, []).append((at, good[name]))
            else:
                bad[name, origin] = bad.get((name, origin), 0) + 1
    known = [channel.name for channel in CHANNELS if channel.name in found]
    return {
        name: max(
            (
                _one(logger, pairs, sum(bad.get((name, origin), 0) for origin in origins))
                for logger, origins, pairs in _joined(found[name])
            ),
            key=lambda one: one.covered_h,
        )
        for name in known
    }


def _joined(
    by_origin: Mapping[str, list[tuple[float, float]]],
) -> Iterator[tuple[str, tuple[str, ...], list[tuple[float, float]]]]:
    """Each logger, with those whose place it took: of one name, each silent before the next began to speak."""
    ordered = sorted(by_origin.items(), key=lambda item: (name_of(item[0]), min(item[1]), item[0]))
    for name, group in groupby(ordered, key=lambda item: name_of(item[0])):
        origins: list[str] = []
        pairs: list[tuple[float, float]] = []
        for origin, of_origin in group:
            if pairs and min(of_origin)[0] <= max(pairs)[0]:
                yield (origins[0] if len(origins) == 1 else name), tuple(origins), pairs
                origins, pairs = [], []
            origins, pairs = [*origins, origin], pairs + of_origin
        yield (origins[0] if len(origins) == 1 else name), tuple(origins), pairs


def _one(logger: str, pairs: list[tuple[float, float]], bad: int) -> _Series:
    pairs.sort()
    hours = [at for at, _ in pairs]
    spans_h = [min(at - before, SPEAKS_FOR_H) for before, at in zip([0.0, *hours], hours, strict=False)]
    return _Series(logger, tuple(value for _, value in pairs), tuple(hours), tuple(spans_h), bad)


def _hours(time_utc: str, day: str) -> float:
    """Hours from a day's beginning; the following midnight is 24."""
    hours = int(time_utc[11:13]) + int(time_utc[14:16]) / 60.0 + float(time_utc[17:-1]) / 3600.0
    return hours if time_utc.startswith(day) else hours + DAY_H


def _bad(measured: Iterable[FlaggedSample]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for flagged in measured:
        for name, flag in flagged.flags.items():
            if flag != "good":
                of_channel = counts.setdefault(name, {})
                of_channel[flag] = of_channel.get(flag, 0) + 1
    return counts


def _lacking(series: Mapping[str, _Series]) -> str | None:
    """Why a day cannot be summed up. Rain that was measured for a part of the day counts: no less has fallen."""
    temperature = series.get("air_temperature_c")
    covered_h = 0.0 if temperature is None else temperature.covered_h
    if covered_h < ENOUGH_H:
        return f"air_temperature_c has good values for {covered_h:.1f} h of the day; expected at least {ENOUGH_H:.0f} h"
    if "rain_mm" not in series:
        return "rain_mm has no good value; expected at least one"
    return None


def _doubts(series: Mapping[str, _Series], field: Record, site: Site, day: str) -> dict[str, Doubt]:
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
        solar_mj_m2 = solar.mean() * _MJ_M2_D_PER_W_M2
        dark = doubts.of_radiation(solar_mj_m2, outside_mj_m2, min(solar.values), range_k, site.latitude_deg)
        if dark is None and outside_mj_m2 > doubts.DAYLIGHT_MJ_M2 and (offset_h := _offset_h(site, day)) is not None:
            dark = doubts.of_noon(solar.middle_h(), offset_h)
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
        found["wind_speed_m_s"] = doubts.of_wind(wind.mean())
    limits = field["wilting_point_m3_m3"], field["saturation_m3_m3"]
    found |= {name: doubts.of_soil(series[name].evening_mean(), *limits) for name in PROBE_CHANNELS if name in series}
    if temperature is not None and is_warmth_known:  # who measures it sends all day long
        silent = doubts.of_silence(*temperature.silence)
        found["air_temperature_c"] = found["air_temperature_c"] or silent
        if rain is not None and rain.logger == temperature.logger:
            found["rain_mm"] = found["rain_mm"] or silent
    return {name: doubt for name, doubt in found.items() if doubt is not None}


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
    series: Mapping[str, _Series], tmin_c: float, tmax_c: float, site: Site, day_of_year: int
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
    series: Mapping[str, _Series], tmin_c: float, tmax_c: float, site: Site, day_of_year: int
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
        wind.mean() if site.wind_height_m == 2.0 else wind_at_2_m_m_s(wind.mean(), site.wind_height_m),
        max(solar.mean(), 0.0) * _MJ_M2_D_PER_W_M2,
        site.latitude_deg,
        site.elevation_m,
        day_of_year,
    )
    return et0_mm, "penman-monteith"
