"""Field-seasons to simulate, and what must hold of them before any day is stepped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fieldedge.system.errors import DataError
from fieldloop.workloads.agriculture.world.aquacrop_season import soil_water
from fieldloop.workloads.agriculture.world.climate import MAX_SEASON_DAYS, region_named, season_weather
from fieldloop.workloads.agriculture.world.variety import MAIZE, Variety
from fieldloop.workloads.agriculture.world.world import FieldSpec

Array = NDArray[np.float64]
WEATHER_COLUMNS = ("tmin_c", "tmax_c", "rain_mm", "et0_mm")


@dataclass(frozen=True, eq=False)
class Plot:
    """One field-season of maize: enough to simulate it.

    `weather` (D, 4) is `WEATHER_COLUMNS` by day from planting day on, at least MAX_SEASON_DAYS + 1 days.
    `initial_water_pct` is the water of the whole profile in percent of its total available water. With
    `is_nitrogen_limited` false the nitrogen balance is kept all the same, but growth does not feel it. `variety` and
    `sown_late_d` are AquaCrop's alone.
    """

    weather: Array
    soil: str
    planting_date: date
    initial_water_pct: float
    application_efficiency: float = 1.0
    initial_nitrogen_kg_ha: float = 70.0
    mineralised_at_20c_kg_ha_d: float = 1.2
    is_nitrogen_limited: bool = True
    variety: Variety = MAIZE
    sown_late_d: int = 0  # when the crop was really sown, after the planting date; negative: before it


def plot_of(spec: FieldSpec) -> Plot:
    """The field-season of a spec, under the weather on record.

    Raises:
        DataError: its region is unknown, or has no weather for that planting date.
    """
    planting = date.fromisoformat(spec.planting_date)
    return Plot(
        weather=_weather_on_record(spec.region, planting),
        soil=spec.soil,
        planting_date=planting,
        initial_water_pct=spec.initial_water_pct,
        application_efficiency=spec.application_efficiency,
        initial_nitrogen_kg_ha=spec.initial_nitrogen_kg_ha,
        mineralised_at_20c_kg_ha_d=spec.mineralised_at_20c_kg_ha_d,
    )


def checked(plots: Sequence[Plot]) -> None:
    """Raises DataError for what no season can be simulated with."""
    if not plots:
        raise DataError("a batch of no plots; expected at least one")
    seen: set[int] = set()
    for index, plot in enumerate(plots):
        where = f"plot {index} ({plot.soil}, planted on {plot.planting_date})"
        soil_water(plot.soil)
        plot.variety.check(where, plot.sown_late_d)
        if id(plot.weather) not in seen:
            _check_weather(plot.weather, where, MAX_SEASON_DAYS + 1)
            seen.add(id(plot.weather))
        for name in ("initial_water_pct", "initial_nitrogen_kg_ha", "mineralised_at_20c_kg_ha_d"):
            if not (np.isfinite(getattr(plot, name)) and getattr(plot, name) >= 0):
                raise DataError(f"{where}: {name} is {getattr(plot, name)!r}; expected a number of at least 0")
        if not 0 < plot.application_efficiency <= 1:
            raise DataError(
                f"{where}: application_efficiency is {plot.application_efficiency!r}; expected above 0 up to 1"
            )


def _check_weather(weather: Array, where: str, days: int) -> None:
    if weather.ndim != 2 or weather.shape[1] != len(WEATHER_COLUMNS) or len(weather) < days:
        raise DataError(f"{where}: weather is {weather.shape}; expected ({days} days or more, {len(WEATHER_COLUMNS)})")
    check_values(weather, where)


def check_values(weather: Array, where: str) -> None:
    """Raises DataError for the first value (..., 4) that no weather has; evapotranspiration must be above 0."""
    lowest = np.array([-90.0, -90.0, 0.0, np.nextafter(0.0, 1.0)])
    is_wrong = ~(np.isfinite(weather) & (weather >= lowest))
    if not is_wrong.any():
        return
    *row, day, column = (int(i) for i in np.argwhere(is_wrong)[0])
    at = f"row {row[0]}, day {day}" if row else f"day {day}"
    expected = ("a temperature", "a temperature", "at least 0", "above 0")[column]
    raise DataError(
        f"{where}: {WEATHER_COLUMNS[column]} of {at} is {weather[(*row, day, column)]}; expected {expected}"
    )


def check_future(weather: Array, size: int) -> None:
    """Raises DataError unless that is weather (N, D, 4) for a batch of that size."""
    if weather.ndim != 3 or len(weather) != size or weather.shape[1] < 1 or weather.shape[2] != len(WEATHER_COLUMNS):
        raise DataError(f"new weather is {weather.shape}; expected ({size}, days, {len(WEATHER_COLUMNS)})")
    check_values(weather, "new weather")


def checked_amounts(values: Array, name: str, size: int) -> Array:
    """The amounts (size,) as an array that compiled code takes.

    Raises:
        DataError: another shape, or one is negative or no number.
    """
    amounts = np.require(values, np.float64, ["C", "W"])
    if amounts.shape != (size,):
        raise DataError(f"{name} is {amounts.shape}; expected ({size},), one for each row")
    if not ((amounts >= 0) & (amounts < np.inf)).all():
        row = int(np.argmin((amounts >= 0) & (amounts < np.inf)))
        raise DataError(f"{name} of row {row} is {amounts[row]}; expected a number of at least 0")
    return amounts


@cache
def _weather_on_record(region: str, planting: date) -> Array:
    frame = season_weather(region_named(region), planting)
    weather: Array = frame[["MinTemp", "MaxTemp", "Precipitation", "ReferenceET"]].to_numpy(dtype=np.float64)
    weather.flags.writeable = False
    return weather
