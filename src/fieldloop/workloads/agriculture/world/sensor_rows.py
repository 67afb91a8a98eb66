"""The sensors of many fields read at once. What each sensor is like is drawn by sensors.py, field by field."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldedge.workloads.agriculture.tables import PROBE_DEPTHS_CM
from fieldloop.workloads.agriculture.world.sensors import FLIGHT_RAIN_LIMIT_MM, Sensors

Floats = NDArray[np.float64]
MEASURED = (  # what `SensorRows.read` gives, by column
    *("tmin_c", "tmax_c", "rain_mm", "et0_mm", "ndvi", "ndre"),
    *(f"vwc_{depth}cm_m3_m3" for depth in PROBE_DEPTHS_CM),
)
_FILLED_FROM_DAYS = 3


class SensorRows:
    """N fields' sensors, read once a day in order. Row i reads as `sensors[i]` would, to the last digit."""

    def __init__(self, sensors: Sequence[Sensors]) -> None:
        probes = [s.probes for s in sensors]
        self._depth_m = np.array([[p.depth_m for p in row] for row in probes])
        self._error = np.array([[p.error for p in row] for row in probes])  # (N, 4, days)
        self._is_silent = np.array([[p.is_silent for p in row] for row in probes])
        self._stuck_from = np.array([[p.stuck_from for p in row] for row in probes])
        self._stuck_until = np.array([[p.stuck_until for p in row] for row in probes])
        self._stuck_at = np.full(self._depth_m.shape, np.nan)
        stations, drones = [s.station for s in sensors], [s.drone for s in sensors]
        self._temperature_error = np.array([s.temperature_error for s in stations])
        self._relative_error = np.array([s.relative_error for s in stations])
        self._has_gap = np.array([s.has_gap for s in stations])
        self._last: list[Floats] = []
        self._intervals = np.array([d.intervals for d in drones])
        self._is_cancelled = np.array([d.is_cancelled for d in drones])
        self._index_noise = np.array([d.noise for d in drones])
        self._next_flight = np.array([d.next_flight for d in drones])
        self._flights = np.zeros(len(sensors), np.int64)
        self._day = 0

    def branch(self, rows: NDArray[np.int64]) -> "SensorRows":
        """Copies of these rows, read as far as they are."""
        copy = object.__new__(SensorRows)
        for name, value in vars(self).items():
            setattr(copy, name, value[rows] if isinstance(value, np.ndarray) else value)
        copy._last = [day[rows] for day in self._last]
        return copy

    def read(self, weather: Floats, water_m3_m3: Floats, middles_m: Floats, cover: Floats, nni: Floats) -> Floats:
        """The day's readings (N, 10) as `MEASURED` names them; NaN for none.

        `weather` (N, 4) is the day's truth, `water_m3_m3` and `middles_m` (N, K) are by compartment.
        """
        day = self._day
        self._day += 1
        seen = self._read_station(day, weather)
        return np.concatenate(
            [seen, self._read_drone(day, weather, cover, nni), self._read_probes(day, water_m3_m3, middles_m)], axis=1
        )

    def _read_probes(self, day: int, water: Floats, middles_m: Floats) -> Floats:
        value = _at_depth(self._depth_m, middles_m, water) + self._error[:, :, day]
        value = np.round(np.clip(value, 0.0, 0.75), 3)
        is_stuck = (self._stuck_from <= day) & (day < self._stuck_until)
        self._stuck_at = np.where(is_stuck & np.isnan(self._stuck_at), value, self._stuck_at)
        value = np.where(is_stuck, self._stuck_at, value)
        return np.where(self._is_silent[:, :, day], np.nan, value)

    def _read_station(self, day: int, weather: Floats) -> Floats:
        temperatures = np.sort(weather[:, :2] + self._temperature_error[:, day], axis=1)
        amounts = np.maximum(0.0, weather[:, 2:] * (1.0 + self._relative_error[:, day]))
        measured = np.concatenate(
            [np.round(temperatures, 1), np.round(amounts[:, :1], 1), np.round(amounts[:, 1:], 2)], axis=1
        )
        rows = np.flatnonzero(self._has_gap[:, day])
        if self._last and len(rows):
            # Python's round, as in sensors.py: numpy's rounds means that lie half-way between two digits otherwise.
            means = np.stack(self._last)[:, rows].mean(axis=0).tolist()
            measured[rows] = [[round(low, 1), round(high, 1), 0.0, round(et0, 2)] for low, high, _, et0 in means]
        self._last = [*self._last[1 - _FILLED_FROM_DAYS :], measured]
        return measured

    def _read_drone(self, day: int, weather: Floats, cover: Floats, nni: Floats) -> Floats:
        rows = np.arange(len(cover))
        is_up = (day >= self._next_flight) & (weather[:, 2] <= FLIGHT_RAIN_LIMIT_MM)
        number = np.minimum(self._flights, self._intervals.shape[1] - 1)
        is_seen = is_up & ~self._is_cancelled[rows, number]
        self._next_flight = np.where(is_up, day + self._intervals[rows, number], self._next_flight)
        self._flights = self._flights + is_up
        ndvi = (cover + 0.18) / 1.26 + self._index_noise[:, day, 0]
        ndre = 0.08 + cover * (0.12 + 0.28 * np.clip(nni, 0.0, 1.2)) + self._index_noise[:, day, 1] * 0.75
        indices = np.round(np.clip(np.stack([ndvi, ndre], axis=1), -0.3, 1.0), 3)
        return np.where(is_seen[:, None], indices, np.nan)


def _at_depth(depth_m: Floats, middles_m: Floats, water: Floats) -> Floats:
    """Linear interpolation by row: (N, 4) depths in (N, K) profiles; flat beyond the ends."""
    last = middles_m.shape[1] - 1
    above = np.clip((depth_m[:, :, None] >= middles_m[:, None, :]).sum(axis=2) - 1, 0, last - 1)
    upper, lower = np.take_along_axis(middles_m, above, 1), np.take_along_axis(middles_m, above + 1, 1)
    share = np.clip((depth_m - upper) / (lower - upper), 0.0, 1.0)
    first, second = np.take_along_axis(water, above, 1), np.take_along_axis(water, above + 1, 1)
    return first + share * (second - first)
