"""Which fields there are: soil, equipment, planting day and prices of every field in every season, by seed.

A field keeps its soil and equipment over the years; planting day, prices and what the winter left in the soil are
drawn anew each season. A draw depends only on (seed, region, field, season, what is drawn), so it is the same in any
order and on any worker, whatever the practice and however many fields there are.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from fieldedge.contract import Record
from fieldedge.system.errors import DataError
from fieldloop.workloads.agriculture.world.aquacrop_season import crop_root_depth_max_m, soil_water
from fieldloop.workloads.agriculture.world.climate import Region, region_named, seasons_on_record

Range = tuple[float, float]


@dataclass(frozen=True)
class World:
    """The ranges from which fields are drawn. Prices in USD; one grain price is about 15 % either way of 180 USD/t."""

    grain_price_usd_t: Range = (153.0, 207.0)
    water_price_usd_mm: Range = (0.5, 2.0)
    nitrogen_price_usd_kg: Range = (0.8, 1.3)
    fixed_cost_usd_ha: float = 1728.0
    irrigation_capacities_mm: tuple[float, ...] = (20.0, 25.0, 30.0, 40.0)
    water_allowances_mm: tuple[float, ...] = (200.0, 300.0, 400.0, 500.0, 600.0)
    application_efficiencies: tuple[float, ...] = (0.85, 0.9, 0.95, 1.0)
    initial_nitrogen_kg_ha: Range = (40.0, 110.0)
    mineralised_at_20c_kg_ha_d: Range = (1.0, 1.4)


@dataclass(frozen=True)
class FieldSpec:
    """One field in one season: all that decides what will happen there, besides what the grower does."""

    season: int
    region: str
    field_id: str
    device_id: str | None
    practice: str
    seed: int
    soil: str
    planting_date: str
    initial_water_pct: float
    initial_nitrogen_kg_ha: float
    mineralised_at_20c_kg_ha_d: float
    application_efficiency: float
    irrigation_capacity_mm: float
    water_allowance_mm: float
    grain_price_usd_t: float
    water_price_usd_mm: float
    nitrogen_price_usd_kg: float
    fixed_cost_usd_ha: float
    drawn_as: str = ""  # whose draws these are, where the field has another name in another world

    def record(self) -> Record:
        """The field's row of the contract's table `fields`: what its grower knows of it."""
        water = soil_water(self.soil)
        return {
            "record_id": f"{self.season}/{self.field_id}/fields",
            "season": self.season,
            "region": self.region,
            "field_id": self.field_id,
            "device_id": self.device_id,
            "crop": "maize",
            "soil": self.soil,
            "planting_date": self.planting_date,
            "field_capacity_m3_m3": water.field_capacity_m3_m3,
            "wilting_point_m3_m3": water.wilting_point_m3_m3,
            "saturation_m3_m3": water.saturation_m3_m3,
            "root_depth_max_m": crop_root_depth_max_m(),
            "initial_water_pct": None,
            "application_efficiency": self.application_efficiency,
            "irrigation_capacity_mm": self.irrigation_capacity_mm,
            "water_allowance_mm": self.water_allowance_mm,
            "grain_price_usd_t": self.grain_price_usd_t,
            "water_price_usd_mm": self.water_price_usd_mm,
            "nitrogen_price_usd_kg": self.nitrogen_price_usd_kg,
            "fixed_cost_usd_ha": self.fixed_cost_usd_ha,
            "practice": self.practice,
        }

    def rng(self, purpose: str) -> np.random.Generator:
        """The field-season's own stream of random numbers for that purpose, independent of every other."""
        return _rng(self.seed, self.region, self.drawn_as or self.field_id, self.season, purpose)


def field_specs(
    region: str,
    season: int,
    count: int,
    seed: int,
    practice: str,
    device_ids: Sequence[str] | None = None,
    world: World | None = None,
    prefix: str = "",
) -> list[FieldSpec]:
    """The first `count` fields of a region in a season, with one device each where `device_ids` are given.

    With a `prefix` they are other fields by name, and draw what the fields without one draw.

    Raises:
        DataError: the region is unknown, the season has no weather record, or devices and fields differ in number.
    """
    place = region_named(region)
    on_record = seasons_on_record(place)
    if season not in on_record:
        raise DataError(
            f"{region} has no weather for season {season}; expected a harvest year from "
            f"{on_record[0]} to {on_record[-1]}"
        )
    if device_ids is not None and len(device_ids) != count:
        raise DataError(f"{region} {season}: {len(device_ids)} devices for {count} fields; expected one for each")
    devices = device_ids if device_ids is not None else [None] * count
    return [
        _field_spec(place, season, index, seed, practice, device, world or World(), prefix)
        for index, device in enumerate(devices)
    ]


def _field_spec(
    region: Region, season: int, index: int, seed: int, practice: str, device_id: str | None, world: World, prefix: str
) -> FieldSpec:
    drawn_as = f"{region.name}-{index:02d}"
    land = _rng(seed, region.name, drawn_as, 0, "land")
    year = _rng(seed, region.name, drawn_as, season, "year")
    first, last = region.planting_window(season)
    planting = first + timedelta(days=int(year.integers(0, (last - first).days + 1)))
    return FieldSpec(
        season=season,
        region=region.name,
        field_id=f"{prefix}{drawn_as}",
        drawn_as=drawn_as,
        device_id=device_id,
        practice=practice,
        seed=seed,
        soil=_soil_of(region, index, seed),
        planting_date=planting.isoformat(),
        application_efficiency=_one_of(land, world.application_efficiencies),
        irrigation_capacity_mm=_one_of(land, world.irrigation_capacities_mm),
        water_allowance_mm=_one_of(land, world.water_allowances_mm),
        mineralised_at_20c_kg_ha_d=_between(land, world.mineralised_at_20c_kg_ha_d),
        initial_water_pct=_between(year, region.initial_water_pct),
        initial_nitrogen_kg_ha=_between(year, world.initial_nitrogen_kg_ha),
        grain_price_usd_t=_between(year, world.grain_price_usd_t),
        water_price_usd_mm=_between(year, world.water_price_usd_mm),
        nitrogen_price_usd_kg=_between(year, world.nitrogen_price_usd_kg),
        fixed_cost_usd_ha=world.fixed_cost_usd_ha,
    )


def _soil_of(region: Region, index: int, seed: int) -> str:
    """Every soil of the region in turn, in an order of the seed's, so that few fields still cover them all."""
    order = _rng(seed, region.name, "", 0, "soils").permutation(len(region.soils))
    return region.soils[int(order[index % len(order)])]


def _rng(seed: int, region: str, field_id: str, season: int, purpose: str) -> np.random.Generator:
    key = hashlib.sha256(f"{region}/{field_id}/{purpose}".encode()).digest()
    return np.random.default_rng(np.random.SeedSequence([seed, season, int.from_bytes(key[:8], "big")]))


def _one_of(rng: np.random.Generator, choices: Sequence[float]) -> float:
    return float(choices[int(rng.integers(len(choices)))])


def _between(rng: np.random.Generator, bounds: Range) -> float:
    return round(float(rng.uniform(*bounds)), 2)
