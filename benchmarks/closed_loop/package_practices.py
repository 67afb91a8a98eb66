"""Practices that AquaCrop has built in, run by the package itself: interval, net irrigation, published thresholds.

They see the day's own rain and evapotranspiration before they decide, and refill rather than dose, which no device
can do; that is how they were published, so that is how they stand in the tables.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.closed_loop.harness import Outcomes, Row
from benchmarks.closed_loop.sites import DOSE_MM, Scenario, Site
from fieldloop.workloads.agriculture.world.aquacrop_season import CROP, EFFECTIVELY_UNLIMITED_MM, soil_water
from fieldloop.workloads.agriculture.world.climate import MAX_SEASON_DAYS, season_weather


@dataclass(frozen=True)
class PackagePractice:
    """A row's name and AquaCrop's own settings for it. Net irrigation knows no allowance, so it has none."""

    name: str
    settings: dict[str, Any]
    knows_caps: bool = True


INTERVAL = PackagePractice("7-day interval", {"irrigation_method": 2, "IrrInterval": 7})
NET = PackagePractice("net irrigation 70 %", {"irrigation_method": 4, "NetIrrSMT": 70.0}, knows_caps=False)
PUBLISHED = PackagePractice(  # Alkaff et al. 2025, Mathematics 13:595
    "published thresholds", {"irrigation_method": 1, "SMT": [23.72, 26.46, 38.19, 50.11]}
)
PRACTICES = (INTERVAL, NET, PUBLISHED)


def lived_by_package(site: Site, cap_mm: float, practice: PackagePractice) -> list[tuple[float, float]]:
    """Yield (t/ha) and irrigation (mm) of every test season."""
    return [_season(site, season, cap_mm, practice) for season in site.tested_on]


def package_row(site: Site, scenario: Scenario, practice: PackagePractice, lived: list[tuple[float, float]]) -> Row:
    """Those seasons as a row."""
    yield_t_ha, irrigation_mm = np.array(lived, dtype=np.float64).T.reshape(2, 1, -1)
    profit = scenario.profit_usd_ha(yield_t_ha, irrigation_mm)
    nothing = np.zeros_like(profit)
    return Row(practice.name, site.tested_on, Outcomes(profit, yield_t_ha, irrigation_mm, nothing, nothing))


def _season(site: Site, season: int, cap_mm: float, practice: PackagePractice) -> tuple[float, float]:
    soil_water(site.soil)  # loads the package and makes it fast; the same yields
    from aquacrop.core import AquaCropModel
    from aquacrop.entities.crop import Crop
    from aquacrop.entities.inititalWaterContent import InitialWaterContent
    from aquacrop.entities.irrigationManagement import IrrigationManagement
    from aquacrop.entities.soil import Soil

    planting = site.planting_date(season)
    weather = season_weather(site.region, planting)
    allowance_mm = EFFECTIVELY_UNLIMITED_MM if math.isinf(cap_mm) else cap_mm
    model = AquaCropModel(
        f"{planting:%Y/%m/%d}",
        f"{weather.Date.iloc[MAX_SEASON_DAYS]:%Y/%m/%d}",
        weather,
        Soil(site.soil),
        Crop(CROP, planting_date=f"{planting:%m/%d}"),
        InitialWaterContent(wc_type="Pct", value=[site.initial_water_pct]),
        irrigation_management=IrrigationManagement(**practice.settings, MaxIrr=DOSE_MM, MaxIrrSeason=allowance_mm),
    )
    with np.errstate(all="ignore"):
        model.run_model(till_termination=True)
    harvest = model._outputs.final_stats.iloc[0]
    return float(harvest["Dry yield (tonne/ha)"]), float(harvest["Seasonal irrigation (mm)"])
