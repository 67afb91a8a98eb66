"""A field and a season for the tests of the device's estimates, as the flat arrays of layout.py."""

import math
from collections.abc import Iterator, Sequence

from fieldedge.contract import Record
from fieldedge.workloads.agriculture import layout as at
from fieldedge.workloads.agriculture.features import field_constants
from fieldedge.workloads.agriculture.probes import LAYER_OF_PROBE
from fieldedge.workloads.agriculture.season import start_season
from tests.edge.sample import field_record

# AquaCrop's sandy loam, loam and clay: field capacity, wilting point, saturation.
SOIL_WATER = {"SandyLoam": (0.22, 0.10, 0.41), "Loam": (0.31, 0.15, 0.46), "Clay": (0.54, 0.39, 0.55)}


def known_field(soil: str = "SandyLoam", water_pct: float | None = 100.0, **changes: object) -> Record:
    """A row of table `fields` whose soil was sampled at planting."""
    capacity, wilting, saturation = SOIL_WATER[soil]
    return {
        **field_record(),
        "soil": soil,
        "field_capacity_m3_m3": capacity,
        "wilting_point_m3_m3": wilting,
        "saturation_m3_m3": saturation,
        "initial_water_pct": water_pct,
        **changes,
    }


def planted(record: Record) -> tuple[list[float], list[float]]:
    """Its state on the morning of planting, and its constants."""
    constants = field_constants(record)
    state = [0.0] * at.STATES
    start_season(state, constants)
    return state, constants


def day_of(
    *,
    irrigation_mm: float = 0.0,
    nitrogen_kg_ha: float = 0.0,
    tmin_c: float = 14.0,
    tmax_c: float = 28.0,
    rain_mm: float = 0.0,
    et0_mm: float = 6.0,
    probes: Sequence[float] = (math.nan,) * at.PROBES,
) -> list[float]:
    """A warm day without rain, flight or probes, but for what is given."""
    return [irrigation_mm, nitrogen_kg_ha, tmin_c, tmax_c, rain_mm, et0_mm, math.nan, math.nan, *probes]


def missing_day() -> list[float]:
    """A day of which no reading came."""
    return [0.0, 0.0, *[math.nan] * (at.DAY_VALUES - 2)]


def weather(days: int, wet_every: int = 7, rain_mm: float = 18.0) -> Iterator[tuple[float, float]]:
    """Rain and reference evapotranspiration of a plain summer."""
    for day in range(days):
        yield (rain_mm if day % wet_every == 3 else 0.0), 5.0 + 0.5 * (day % 4)


def layers(state: Sequence[float]) -> list[float]:
    """The water of the layers, m3/m3."""
    return list(state[at.THETA : at.THETA + at.LAYERS])


def stored_mm(state: Sequence[float]) -> float:
    """The water of the whole profile."""
    return sum(theta * mm for theta, mm in zip(layers(state), at.LAYER_MM, strict=True))


def at_probes(state: Sequence[float]) -> list[float]:
    """What perfect probes would read."""
    return [state[at.THETA + layer] for layer in LAYER_OF_PROBE]
