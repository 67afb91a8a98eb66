"""What a field's sensors say, which is not what is true.

Soil probes are installed a little too deep or too shallow, read with a bias, drift, stick, drop out and die. The
drone flies every week or two when it does not rain. The weather station is good, and fills its own rare gaps. Every
fault is drawn at the start of the season from the field's own random numbers, so it does not depend on what the
grower does. The contract's ranges always hold: a fault here is one that a range check cannot see.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldedge.workloads.agriculture.tables import PROBE_DEPTHS_CM
from fieldloop.workloads.agriculture.world.climate import MAX_SEASON_DAYS
from fieldloop.workloads.agriculture.world.world import FieldSpec

Floats = NDArray[np.float64]
FLIGHT_RAIN_LIMIT_MM = 2.0


@dataclass(frozen=True)
class FaultRates:
    """How bad the sensors are. Water contents in m3/m3; chances per probe and season where not said otherwise."""

    probe_bias: float = 0.010
    probe_white: float = 0.006
    probe_drift_per_day: float = 0.00015
    probe_depth_error_m: float = 0.02
    misplaced_chance: float = 0.08
    misplaced_by_m: float = 0.12
    stuck_chance: float = 0.15
    stuck_days: tuple[int, int] = (5, 30)
    gap_chance_per_day: float = 0.012
    gap_days: tuple[int, int] = (1, 7)
    death_chance: float = 0.05
    station_gap_chance_per_day: float = 0.01
    flight_interval_days: tuple[int, int] = (7, 14)
    flight_cancelled_chance: float = 0.10
    index_white: float = 0.02


@dataclass(frozen=True)
class TrueDay:
    """The truth of one day that the sensors look at, in the evening."""

    date: date
    tmin_c: float
    tmax_c: float
    rain_mm: float
    et0_mm: float
    water_m3_m3: Floats
    compartment_middles_m: Floats
    canopy_cover: float
    nni: float


class Sensors:
    """One field's sensors over one season, read once a day in order."""

    def __init__(self, spec: FieldSpec, rates: FaultRates | None = None) -> None:
        self._rates = rates or FaultRates()
        self.probes = [
            Probe(depth_cm / 100.0, spec.rng(f"probe {depth_cm}"), self._rates) for depth_cm in PROBE_DEPTHS_CM
        ]
        self.station = WeatherStation(spec.rng("station"), self._rates)
        self.drone = Drone(spec.rng("drone"), self._rates)
        self._day = 0

    def read(self, truth: TrueDay) -> dict[str, Any]:
        """The day's measured columns of the contract's table `readings`."""
        day = self._day
        self._day += 1
        measured: dict[str, Any] = dict(self.station.read(day, truth))
        for depth_cm, probe in zip(PROBE_DEPTHS_CM, self.probes, strict=True):
            measured[f"vwc_{depth_cm}cm_m3_m3"] = probe.read(day, truth)
        measured["ndvi"], measured["ndre"] = self.drone.read(day, truth)
        return measured


class Probe:
    """A soil moisture probe: what it would read is changed by its place, its bias, its drift and its faults."""

    def __init__(self, depth_m: float, rng: np.random.Generator, rates: FaultRates) -> None:
        days = MAX_SEASON_DAYS + 1
        shift_m = rng.normal(0.0, rates.probe_depth_error_m)
        self.is_misplaced = bool(rng.random() < rates.misplaced_chance)
        if self.is_misplaced:
            shift_m += rng.choice((-1.0, 1.0)) * rates.misplaced_by_m
        self.depth_m = max(0.05, depth_m + float(shift_m))
        bias, drift = rng.normal(0.0, rates.probe_bias), rng.normal(0.0, rates.probe_drift_per_day)
        self.error: Floats = bias + drift * np.arange(days) + rng.normal(0.0, rates.probe_white, days)
        self.is_silent = _gaps(rng, days, rates)
        self.stuck_from, self.stuck_until = _stuck_span(rng, days, rates)
        self._stuck_at: float | None = None

    def read(self, day: int, truth: TrueDay) -> float | None:
        """Volumetric water content, m3/m3; None while the probe is silent."""
        value = float(np.interp(self.depth_m, truth.compartment_middles_m, truth.water_m3_m3)) + self.error[day]
        value = round(float(np.clip(value, 0.0, 0.75)), 3)
        if self.stuck_from <= day < self.stuck_until:
            self._stuck_at = value if self._stuck_at is None else self._stuck_at
            value = self._stuck_at
        return None if self.is_silent[day] else value


class WeatherStation:
    """Air temperature, rain and reference evapotranspiration. A gap is filled with the last days; its rain is lost."""

    def __init__(self, rng: np.random.Generator, rates: FaultRates) -> None:
        days = MAX_SEASON_DAYS + 1
        self.temperature_error: Floats = rng.normal(0.0, 0.2, (days, 2))
        self.relative_error: Floats = rng.normal(0.0, 0.04, (days, 2))
        self.has_gap = rng.random(days) < rates.station_gap_chance_per_day
        self._last: list[dict[str, float]] = []

    def read(self, day: int, truth: TrueDay) -> dict[str, float]:
        measured = self._filled() if self.has_gap[day] and self._last else self._measured(day, truth)
        self._last = [*self._last[-2:], measured]
        return measured

    def _measured(self, day: int, truth: TrueDay) -> dict[str, float]:
        low, high = sorted(np.array([truth.tmin_c, truth.tmax_c]) + self.temperature_error[day])
        rain_factor, et0_factor = 1.0 + self.relative_error[day]
        return {
            "tmin_c": round(float(low), 1),
            "tmax_c": round(float(high), 1),
            "rain_mm": round(max(0.0, float(truth.rain_mm * rain_factor)), 1),
            "et0_mm": round(max(0.0, float(truth.et0_mm * et0_factor)), 2),
        }

    def _filled(self) -> dict[str, float]:
        def mean(name: str, digits: int) -> float:
            return round(sum(day[name] for day in self._last) / len(self._last), digits)

        return {"tmin_c": mean("tmin_c", 1), "tmax_c": mean("tmax_c", 1), "rain_mm": 0.0, "et0_mm": mean("et0_mm", 2)}


class Drone:
    """NDVI and NDRE on the days it flies. A planned flight waits for a dry day; now and then one is cancelled.

    NDVI from canopy cover: fc = 1.26 NDVI - 0.18 (Johnson & Trout 2012, Remote Sensing 4:439-455). NDRE rises with
    cover and with the canopy's nitrogen status; its level is our assumption, between 0.1 and 0.5.
    """

    def __init__(self, rng: np.random.Generator, rates: FaultRates) -> None:
        days = MAX_SEASON_DAYS + 1
        self._rates = rates
        self.intervals = rng.integers(rates.flight_interval_days[0], rates.flight_interval_days[1] + 1, days)
        self.is_cancelled = rng.random(days) < rates.flight_cancelled_chance
        self.noise: Floats = rng.normal(0.0, rates.index_white, (days, 2))
        self._flights = 0
        self.next_flight = int(rng.integers(3, 10))

    def read(self, day: int, truth: TrueDay) -> tuple[float | None, float | None]:
        if day < self.next_flight or truth.rain_mm > FLIGHT_RAIN_LIMIT_MM:
            return None, None
        self.next_flight = day + int(self.intervals[self._flights])
        is_cancelled = bool(self.is_cancelled[self._flights])
        self._flights += 1
        if is_cancelled:
            return None, None
        ndvi = (truth.canopy_cover + 0.18) / 1.26 + self.noise[day, 0]
        ndre = 0.08 + truth.canopy_cover * (0.12 + 0.28 * min(max(truth.nni, 0.0), 1.2)) + self.noise[day, 1] * 0.75
        return round(float(np.clip(ndvi, -0.3, 1.0)), 3), round(float(np.clip(ndre, -0.3, 1.0)), 3)


def _gaps(rng: np.random.Generator, days: int, rates: FaultRates) -> NDArray[np.bool_]:
    """The days on which a probe says nothing: short gaps, and everything after it dies."""
    is_silent = np.zeros(days, dtype=np.bool_)
    starts = np.flatnonzero(rng.random(days) < rates.gap_chance_per_day)
    for start, length in zip(starts, rng.integers(*rates.gap_days, len(starts), endpoint=True), strict=True):
        is_silent[start : start + length] = True
    dies, last_day = rng.random() < rates.death_chance, int(rng.integers(10, 130))
    if dies:
        is_silent[last_day:] = True
    return is_silent


def _stuck_span(rng: np.random.Generator, days: int, rates: FaultRates) -> tuple[int, int]:
    """The days within which a probe repeats its first value; (days, days) where it never does."""
    sticks, start = rng.random() < rates.stuck_chance, int(rng.integers(5, 110))
    length = int(rng.integers(*rates.stuck_days, endpoint=True))
    return (start, start + length) if sticks else (days, days)
