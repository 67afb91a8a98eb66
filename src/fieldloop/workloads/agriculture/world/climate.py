"""Regions: their daily weather records, their soils, and when maize is planted there.

The records are those that ship inside the `aquacrop` package; nothing is downloaded. A season is named by its
harvest year, so in the southern hemisphere it is planted in the calendar year before.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Any

from fieldedge.system.errors import DataError

MAX_SEASON_DAYS = 180


@dataclass(frozen=True)
class Region:
    """One climate record and the way that maize is grown under it.

    `first_planting` and `last_planting` are (month, day). `planting_years_before_harvest` is 0 where a season stays
    within a calendar year, and 1 where it crosses New Year. `initial_water_pct` is the range of the profile's water at
    planting, in percent of its total available water.
    """

    name: str
    climate_file: str
    first_planting: tuple[int, int]
    last_planting: tuple[int, int]
    planting_years_before_harvest: int
    initial_water_pct: tuple[float, float]
    soils: tuple[str, ...]

    def planting_window(self, season: int) -> tuple[date, date]:
        """The first and the last day on which maize of that harvest year is planted."""
        year = season - self.planting_years_before_harvest
        return date(year, *self.first_planting), date(year, *self.last_planting)


REGIONS = {
    region.name: region
    for region in (
        Region(
            name="champion",  # Champion, Nebraska: semi-arid, irrigated corn belt; snowmelt fills the profile
            climate_file="champion_climate.txt",
            first_planting=(4, 20),
            last_planting=(5, 15),
            planting_years_before_harvest=0,
            initial_water_pct=(70.0, 100.0),
            soils=("SandyLoam", "SiltLoam", "Loam", "LoamySand", "ClayLoam"),
        ),
        Region(
            name="cordoba",  # Córdoba, Argentina: dry winters, rain with the summer crop
            climate_file="cordoba_climate.txt",
            first_planting=(10, 1),
            last_planting=(11, 10),
            planting_years_before_harvest=1,
            initial_water_pct=(40.0, 85.0),
            soils=("SiltLoam", "Loam", "SandyLoam", "ClayLoam", "LoamySand"),
        ),
        Region(
            name="tunis",  # Tunis, Tunisia: winter rain fills the profile, the summer is dry and hot
            climate_file="tunis_climate.txt",
            first_planting=(4, 15),
            last_planting=(5, 10),
            planting_years_before_harvest=0,
            initial_water_pct=(60.0, 100.0),
            soils=("SandyLoam", "Loam", "SiltLoam", "ClayLoam", "LoamySand"),
        ),
    )
}


def region_named(name: str) -> Region:
    """The region of that name.

    Raises:
        DataError: there is no such region.
    """
    try:
        return REGIONS[name]
    except KeyError:
        raise DataError(f"no region is named {name!r}; the sample world has {', '.join(REGIONS)}") from None


@cache
def daily_weather(region: Region) -> Any:
    """The region's whole record: a frame of MinTemp, MaxTemp, Precipitation, ReferenceET (FAO-56) and Date."""
    # From the modules themselves: the packages' __init__ imports nothing when `-m` stands on the command line.
    from aquacrop.utils.data import get_filepath
    from aquacrop.utils.prepare_weather import prepare_weather

    return prepare_weather(get_filepath(region.climate_file))


@cache
def seasons_on_record(region: Region) -> range:
    """The harvest years whose every possible season day has weather."""
    days = daily_weather(region).Date
    first, last = days.iloc[0].date(), days.iloc[-1].date()
    complete = [
        season
        for season in range(first.year, last.year + 2)
        if region.planting_window(season)[0] >= first
        and region.planting_window(season)[1] + timedelta(days=MAX_SEASON_DAYS) <= last
    ]
    return range(complete[0], complete[-1] + 1)


def season_weather(region: Region, planting_date: date) -> Any:
    """The record from planting day over the longest possible season, as AquaCrop reads it."""
    weather = daily_weather(region)
    start = (planting_date - weather.Date.iloc[0].date()).days
    if start < 0 or start + MAX_SEASON_DAYS >= len(weather):
        raise DataError(
            f"{region.name}: no weather for a season planted on {planting_date}; "
            f"on record are the harvest years {seasons_on_record(region)[0]} to {seasons_on_record(region)[-1]}"
        )
    return weather.iloc[start : start + MAX_SEASON_DAYS + 1]
