"""A simulated field, lived through a day at a time by whoever decides: a device, a grower, a test.

On the morning of `date` the readings up to the day before are known, and the day's water and nitrogen are decided.
What is applied never exceeds the equipment's daily capacity or the season's allowance. Records are the contract's.
"""

import datetime
import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from fieldedge.contract import Record
from fieldedge.system.errors import DataError
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.tables import OPERATIONS, PROBE_DEPTHS_CM
from fieldloop.workloads.agriculture.world.aquacrop_season import AquaCropSeason, CropDay
from fieldloop.workloads.agriculture.world.climate import region_named, season_weather
from fieldloop.workloads.agriculture.world.nitrogen import NitrogenBalance, NitrogenRates
from fieldloop.workloads.agriculture.world.sensors import FaultRates, Sensors, TrueDay
from fieldloop.workloads.agriculture.world.world import FieldSpec

_NITROGEN_MAX_KG_HA = next(c.maximum for c in OPERATIONS.columns if c.name == "nitrogen_kg_ha") or 0.0


class Applied(NamedTuple):
    """What a day really received."""

    irrigation_mm: float
    nitrogen_kg_ha: float


@dataclass(frozen=True)
class Outcome:
    """How a field-season ended. Profit = price x yield - water - nitrogen - fixed costs, per hectare."""

    spec: FieldSpec
    yield_t_ha: float
    irrigation_mm: float
    nitrogen_kg_ha: float
    leached_kg_ha: float
    profit_usd_ha: float

    def as_record(self) -> Record:
        """The figures and whose they are, as plain JSON values."""
        figures = {name: value for name, value in asdict(self).items() if name != "spec"}
        spec = self.spec
        return {
            "season": spec.season,
            "region": spec.region,
            "field_id": spec.field_id,
            "device_id": spec.device_id,
            "practice": spec.practice,
            **figures,
        }


class SimulatedField:
    """AquaCrop, the nitrogen layer and the sensors of one field-season, stepped together."""

    def __init__(self, spec: FieldSpec, faults: FaultRates | None = None) -> None:
        planting = datetime.date.fromisoformat(spec.planting_date)
        self.spec = spec
        self._season = AquaCropSeason(
            season_weather(region_named(spec.region), planting),
            spec.soil,
            planting,
            spec.initial_water_pct,
            spec.application_efficiency,
        )
        self._nitrogen = NitrogenBalance(
            soil=self._season.soil_water,
            mineral_kg_ha=spec.initial_nitrogen_kg_ha,
            rates=NitrogenRates(mineralised_at_20c_kg_ha_d=spec.mineralised_at_20c_kg_ha_d),
        )
        self._sensors = Sensors(spec, faults)
        self._last_day: CropDay | None = None
        self._last_reading: Record | None = None
        self._irrigation_mm = 0.0

    @property
    def date(self) -> str:
        """The day to decide for; once finished, the day of the harvest."""
        return self._season.date.isoformat()

    @property
    def is_finished(self) -> bool:
        return self._season.is_finished

    def reading(self) -> Record | None:
        """What the sensors said of the day before `date`: a row of `readings`. None on planting day."""
        return dict(self._last_reading) if self._last_reading is not None else None

    def apply(self, irrigation_mm: float, nitrogen_kg_ha: float) -> Applied:
        """Irrigate and fertilise as far as the equipment and the allowance go, and live through the day.

        Amounts are applied to the tenth, as equipment does. Returns what the field really received.

        Raises:
            DataError: an amount is negative or no number, or the season is over.
        """
        applied = Applied(
            irrigation_mm=self._water_at_hand(_amount(irrigation_mm, "irrigation_mm")),
            nitrogen_kg_ha=round(min(_amount(nitrogen_kg_ha, "nitrogen_kg_ha"), _NITROGEN_MAX_KG_HA), 1),
        )
        day = self._season.step(applied.irrigation_mm, self._nitrogen.growth_factor)
        self._nitrogen.step(day, applied.nitrogen_kg_ha)
        self._irrigation_mm += applied.irrigation_mm
        self._last_day = day
        self._last_reading = self._row("readings", day.date.isoformat()) | self._sensors.read(self._truth_of(day))
        return applied

    def operation(self, day: str, applied: Applied, source: str = "practice") -> Record | None:
        """The row of `operations` for what was applied on that day; None where it was nothing. It was: `confirmed`."""
        if applied == Applied(0.0, 0.0):
            return None
        return self._row("operations", day) | {**applied._asdict(), "source": source, "basis": "confirmed"}

    def harvest(self) -> Record:
        """The row of `harvests`. Raises DataError while the crop still grows."""
        return self._row("harvests", self.date) | {"yield_t_ha": round(self._season.yield_t_ha, 3)}

    def outcome(self) -> Outcome:
        """What the season brought, from the truth. Raises DataError while the crop still grows."""
        spec, yield_t_ha = self.spec, round(self._season.yield_t_ha, 3)
        costs = (
            spec.water_price_usd_mm * self._irrigation_mm
            + spec.nitrogen_price_usd_kg * self._nitrogen.applied_kg_ha
            + spec.fixed_cost_usd_ha
        )
        return Outcome(
            spec=spec,
            yield_t_ha=yield_t_ha,
            irrigation_mm=round(self._irrigation_mm, 1),
            nitrogen_kg_ha=round(self._nitrogen.applied_kg_ha, 1),
            leached_kg_ha=round(self._nitrogen.leached_kg_ha, 1),
            profit_usd_ha=round(spec.grain_price_usd_t * yield_t_ha - costs, 2),
        )

    def truth(self) -> dict[str, Any]:
        """The state that no sensor sees, for tests and pictures; only dates and totals before the first day."""
        state: dict[str, Any] = {
            "date": self.date,
            "irrigation_mm": self._irrigation_mm,
            "nitrogen_kg_ha": self._nitrogen.applied_kg_ha,
            "nni": self._nitrogen.nni,
            "mineral_nitrogen_kg_ha": self._nitrogen.mineral_kg_ha,
            "nitrogen_uptake_kg_ha": self._nitrogen.uptake_kg_ha,
            "leached_kg_ha": self._nitrogen.leached_kg_ha,
        }
        if self._last_day is None:
            return state
        day, middles_m = self._last_day, self._season.compartment_middles_m
        depletion_mm, taw_mm = self._season.root_zone_mm()
        vwc = {
            f"vwc_{depth}cm_m3_m3": float(day.water_m3_m3[abs(middles_m - depth / 100).argmin()])
            for depth in PROBE_DEPTHS_CM
        }
        return (
            state
            | vwc
            | {
                "depletion_mm": depletion_mm,
                "taw_mm": taw_mm,
                "root_depth_m": day.root_depth_m,
                "canopy_cover": day.canopy_cover,
                "biomass_t_ha": day.biomass_t_ha,
                "deep_percolation_mm": day.deep_percolation_mm,
                "growth_stage": self._season.growth_stage,
            }
        )

    def _water_at_hand(self, asked_mm: float) -> float:
        left_mm = max(0.0, self.spec.water_allowance_mm - self._irrigation_mm)
        return round(min(asked_mm, self.spec.irrigation_capacity_mm, left_mm), 1)

    def _truth_of(self, day: CropDay) -> TrueDay:
        return TrueDay(
            date=day.date,
            tmin_c=day.tmin_c,
            tmax_c=day.tmax_c,
            rain_mm=day.rain_mm,
            et0_mm=day.et0_mm,
            water_m3_m3=day.water_m3_m3,
            compartment_middles_m=self._season.compartment_middles_m,
            canopy_cover=day.canopy_cover,
            nni=self._nitrogen.nni,
        )

    def _row(self, table: str, day: str) -> Record:
        spec = self.spec
        return {
            "record_id": CONTRACT.record_id(table, {"season": spec.season, "field_id": spec.field_id, "date": day}),
            "season": spec.season,
            "region": spec.region,
            "field_id": spec.field_id,
            "date": day,
        }


def _amount(value: float, name: str) -> float:
    if not math.isfinite(value) or value < 0:
        raise DataError(f"{name} is {value!r}; expected a number of at least 0")
    return float(value)
