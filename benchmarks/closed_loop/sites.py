"""Where the benchmark plays, and at which prices: the settings of every table.

Whatever is tuned is tuned on `tuned_on` seasons and scored on `tested_on`; the two never overlap. A season is named by
its harvest year, as everywhere in Fieldloop.
"""

import math
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from fieldloop.workloads.agriculture.world.climate import Region, region_named, season_weather
from fieldloop.workloads.agriculture.world.plots import Plot

Array = NDArray[np.float64]
DOSE_MM = 25.0  # a day has this much irrigation or none


@dataclass(frozen=True)
class Scenario:
    """Prices and the season's allowance of water. Profit = price x yield - water - nitrogen - fixed costs."""

    name: str
    water_price_usd_mm: float
    water_cap_mm: float = math.inf
    grain_price_usd_t: float = 180.0
    nitrogen_price_usd_kg: float = 1.0
    fixed_cost_usd_ha: float = 1728.0

    def profit_usd_ha(self, yield_t_ha: Array, irrigation_mm: Array, nitrogen_kg_ha: Array | float = 0.0) -> Array:
        """What those seasons earn, elementwise; in the irrigation tables nitrogen costs nothing."""
        costs = self.water_price_usd_mm * irrigation_mm + self.nitrogen_price_usd_kg * nitrogen_kg_ha
        earned: Array = self.grain_price_usd_t * yield_t_ha - costs - self.fixed_cost_usd_ha
        return earned

    @property
    def doses_max(self) -> int | None:
        """How many irrigations the allowance holds; None for any number."""
        return None if math.isinf(self.water_cap_mm) else int(self.water_cap_mm // DOSE_MM)


@dataclass(frozen=True)
class Site:
    """A soil under a climate, the maize on it, and the seasons that are for tuning and for the test."""

    name: str
    region: Region
    soil: str
    planting: tuple[int, int]
    tuned_on: tuple[int, ...]
    tested_on: tuple[int, ...]
    initial_water_pct: float = 100.0

    def planting_date(self, season: int) -> date:
        """The day on which that harvest year's maize is sown."""
        return date(season - self.region.planting_years_before_harvest, *self.planting)

    def plots(self, seasons: tuple[int, ...], is_nitrogen_limited: bool = False) -> list[Plot]:
        """One plot for each of those seasons."""
        return [
            Plot(
                weather=_weather(self.region, self.planting_date(season)),
                soil=self.soil,
                planting_date=self.planting_date(season),
                initial_water_pct=self.initial_water_pct,
                is_nitrogen_limited=is_nitrogen_limited,
            )
            for season in seasons
        ]


SCENARIOS = (
    Scenario("c=1", water_price_usd_mm=1.0),
    Scenario("cap 150", water_price_usd_mm=1.0, water_cap_mm=150.0),
    Scenario("c=3", water_price_usd_mm=3.0),
)
CHEAP_WATER, _, DEAR_WATER = SCENARIOS

TUNIS = Region(
    name="tunis",  # Tunisia: the winter's rain has filled the profile, the summer is dry
    climate_file="tunis_climate.txt",
    first_planting=(4, 15),
    last_planting=(4, 15),
    planting_years_before_harvest=0,
    initial_water_pct=(100.0, 100.0),
    soils=("SandyLoam",),
)

MAIN = Site(
    name="champion-sandyloam",
    region=region_named("champion"),
    soil="SandyLoam",
    planting=(5, 1),
    tuned_on=tuple(range(1982, 2008)),
    tested_on=tuple(range(2008, 2019)),
)
OTHER_SOILS = (
    replace(MAIN, name="champion-siltloam", soil="SiltLoam"),
    replace(MAIN, name="champion-loamysand", soil="LoamySand"),
)
OTHER_CLIMATES = (
    Site(
        name="cordoba-sandyloam",
        region=region_named("cordoba"),
        soil="SandyLoam",
        planting=(10, 15),
        tuned_on=tuple(range(1992, 2006)),
        tested_on=tuple(range(2006, 2021)),
        initial_water_pct=60.0,  # the middle of what the dry winter leaves there
    ),
    Site(
        name="tunis-sandyloam",
        region=TUNIS,
        soil="SandyLoam",
        planting=(4, 15),
        tuned_on=tuple(range(1979, 1992)),
        tested_on=tuple(range(1992, 2002)),
    ),
)
SITES = (MAIN, *OTHER_SOILS, *OTHER_CLIMATES)

HYDERABAD = Region(
    name="hyderabad",  # India: maize of the dry winter, sown when the monsoon has ended
    climate_file="hyderabad_climate.txt",
    first_planting=(10, 25),
    last_planting=(10, 25),
    planting_years_before_harvest=1,
    initial_water_pct=(100.0, 100.0),
    soils=("SandyLoam",),
)
_CORDOBA, _TUNIS = OTHER_CLIMATES
PRODUCT_SITES = (  # where the bundle that ships is tried: five soils, and three more climates
    MAIN,
    *OTHER_SOILS,
    *(replace(MAIN, name=f"champion-{soil.lower()}", soil=soil) for soil in ("Loam", "ClayLoam")),
    replace(_CORDOBA, tested_on=tuple(range(2008, 2021))),  # after the seasons that the sample world's devices live
    _TUNIS,
    Site(
        name="hyderabad-sandyloam",
        region=HYDERABAD,
        soil="SandyLoam",
        planting=(10, 25),
        tuned_on=tuple(range(2001, 2006)),
        tested_on=tuple(range(2006, 2011)),
    ),
)
PRODUCT_SCENARIOS = (
    *(Scenario(f"c={price:g}", water_price_usd_mm=price) for price in (0.5, 1.0, 2.0, 3.0)),
    *(Scenario(f"cap {cap:g}", water_price_usd_mm=1.0, water_cap_mm=cap) for cap in (100.0, 150.0, 225.0)),
    *(Scenario(f"grain {usd:g}", water_price_usd_mm=1.0, grain_price_usd_t=usd) for usd in (140.0, 260.0)),
)
START_WATER_PCT = (50.0, 75.0, 100.0)


def folds(site: Site) -> tuple[Site, Site]:
    """The site twice, tuned on its odd and tested on its even years and the other way round."""
    seasons = sorted({*site.tuned_on, *site.tested_on})
    odd, even = (tuple(season for season in seasons if season % 2 == rest) for rest in (1, 0))
    return (
        replace(site, name=f"{site.name}-tuned-on-odd", tuned_on=odd, tested_on=even),
        replace(site, name=f"{site.name}-tuned-on-even", tuned_on=even, tested_on=odd),
    )


def _weather(region: Region, planting: date) -> Array:
    frame = season_weather(region, planting)
    weather: Array = frame[["MinTemp", "MaxTemp", "Precipitation", "ReferenceET"]].to_numpy(dtype=np.float64)
    return weather
