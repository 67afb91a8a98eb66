"""A day's samples summed up into one row of the table `readings`, from good values only.

A day is a UTC day; a sample is of the day in which its interval lies, so that the one at midnight ends the day before
(FAO-56 and loggers stamp the end). Where several loggers measure a channel, the one that was heard for longest speaks
for that day: two rain gauges are not twice the rain. A value speaks for the time since the one before, for 3 hours at
most; a day without enough of that has no reading, and says why, for a wrong reading is worse than none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from fieldedge.contract import Record
from fieldedge.contract.samples import FlaggedSample, day_of
from fieldedge.device.config import Site
from fieldedge.system.errors import DataError
from fieldedge.workload import Observed
from fieldedge.workloads.agriculture.channels import CHANNELS, PROBE_CHANNELS
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.evapotranspiration import hargreaves_mm, penman_monteith_mm

DAY_H = 24.0
SPEAKS_FOR_H = 3.0
ENOUGH_H = 16.0  # of temperature and humidity, for their extremes to be the day's
NEARLY_ALL_H = 20.0  # of radiation, wind and ET0, which are summed or averaged
EVENING_H = 6.0  # of a probe's last values, whose mean is its reading: the balance corrects itself at a day's end

_MJ_M2_D_PER_W_M2 = 0.0864
_FLIGHT_CHANNELS = ("ndvi", "ndre")


@dataclass(frozen=True)
class _Series:
    """The good values of one channel from one logger, by hours since the day began, and the hours they speak for."""

    logger: str
    values: tuple[float, ...]
    hours: tuple[float, ...]
    spans_h: tuple[float, ...]

    @property
    def covered_h(self) -> float:
        return sum(self.spans_h)

    def mean(self) -> float:
        """Each value counts for as long as it speaks."""
        return sum(value * span for value, span in zip(self.values, self.spans_h, strict=True)) / self.covered_h

    def evening_mean(self) -> float:
        """The mean of the last values, as late as there are any."""
        last = [value for value, at in zip(self.values, self.hours, strict=True) if at > self.hours[-1] - EVENING_H]
        return sum(last) / len(last)


def summarise_day(samples: Sequence[FlaggedSample], field: Record, day: str, site: Site) -> Observed:
    """The reading of a day of a field. Samples of other days are passed over.

    `flags` says how the day was measured: `hours` and `loggers` by channel, `bad` as counts by channel and flag, and
    `et0` as how ET0 was come by.
    """
    measured = [flagged for flagged in samples if day_of(flagged.sample.time_utc) == day]
    series = _series(measured, day)
    flags: Record = {
        "hours": {name: round(found.covered_h, 1) for name, found in series.items()},
        "loggers": {name: found.logger for name, found in series.items()},
        "bad": _bad(measured),
    }
    reason = _lacking(series)
    if reason is not None:
        return Observed(None, flags, reason)
    temperatures_c = series["air_temperature_c"].values
    tmin_c, tmax_c = min(temperatures_c), max(temperatures_c)
    et0_mm, flags["et0"] = _et0_mm(series, tmin_c, tmax_c, site, date.fromisoformat(day).timetuple().tm_yday)
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
        return Observed(CONTRACT.record("readings", reading, day), flags, None)
    except DataError as error:
        return Observed(None, flags, str(error))


def _series(measured: Iterable[FlaggedSample], day: str) -> dict[str, _Series]:
    """The channels with good values, each from the logger that speaks for it."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for flagged in measured:
        at = _hours(flagged.sample.time_utc, day)
        for name, value in flagged.good().items():
            found.setdefault(name, {}).setdefault(flagged.sample.origin, []).append((at, value))
    known = [channel.name for channel in CHANNELS if channel.name in found]
    return {
        name: max((_one(logger, pairs) for logger, pairs in sorted(found[name].items())), key=lambda one: one.covered_h)
        for name in known
    }


def _one(logger: str, pairs: list[tuple[float, float]]) -> _Series:
    pairs.sort()
    hours = [at for at, _ in pairs]
    spans_h = [min(at - before, SPEAKS_FOR_H) for before, at in zip([0.0, *hours], hours, strict=False)]
    return _Series(logger, tuple(value for _, value in pairs), tuple(hours), tuple(spans_h))


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


def _et0_mm(
    series: Mapping[str, _Series], tmin_c: float, tmax_c: float, site: Site, day_of_year: int
) -> tuple[float, str]:
    """ET0, and how it was come by: as the station gave it, by Penman-Monteith, or from temperature alone."""
    given = series.get("et0_mm")
    if given is not None and (given.covered_h >= NEARLY_ALL_H or len(given.values) == 1):
        return sum(given.values), "given"
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
        wind.mean(),
        max(solar.mean(), 0.0) * _MJ_M2_D_PER_W_M2,
        site.latitude_deg,
        site.elevation_m,
        day_of_year,
    )
    return et0_mm, "penman-monteith"
