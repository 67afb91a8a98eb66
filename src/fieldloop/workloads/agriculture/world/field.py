"""A simulated field, lived through a day at a time by whoever decides: a device, a grower, a test.

On the morning of `date` the readings up to the day before are known, and the day's water and nitrogen are decided.
What is applied never exceeds the equipment's daily capacity or the season's allowance. Records are the contract's.
"""

import datetime
import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from fieldedge.contract import Record
from fieldedge.system.errors import DataError
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.tables import OPERATIONS, PROBE_DEPTHS_CM
from fieldloop.workloads.agriculture.world.field_batch import FieldBatch, field_batch
from fieldloop.workloads.agriculture.world.plots import plot_of
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


class FieldBooks:
    """What a field-season's books say: what was applied, within what equipment and allowance can; its rows."""

    def __init__(self, spec: FieldSpec) -> None:
        self.spec = spec
        self.irrigation_mm = 0.0
        self.nitrogen_kg_ha = 0.0
        self._planting = datetime.date.fromisoformat(spec.planting_date)

    def on(self, day: int) -> datetime.date:
        """The date of that day after planting."""
        return self._planting + datetime.timedelta(days=day)

    def possible(self, irrigation_mm: float, nitrogen_kg_ha: float) -> Applied:
        """What of it can be applied today, to the tenth, as equipment does.

        Raises:
            DataError: an amount is negative or no number.
        """
        asked_mm, asked_kg_ha = _amount(irrigation_mm, "irrigation_mm"), _amount(nitrogen_kg_ha, "nitrogen_kg_ha")
        left_mm = max(0.0, self.spec.water_allowance_mm - self.irrigation_mm)
        return Applied(
            irrigation_mm=round(min(asked_mm, self.spec.irrigation_capacity_mm, left_mm), 1),
            nitrogen_kg_ha=round(min(asked_kg_ha, _NITROGEN_MAX_KG_HA), 1),
        )

    def enter(self, applied: Applied) -> None:
        """Add a day's water and nitrogen."""
        self.irrigation_mm += applied.irrigation_mm
        self.nitrogen_kg_ha += applied.nitrogen_kg_ha

    def reading(self, day: str, measured: Record) -> Record:
        """The row of `readings` of that day."""
        return self._row("readings", day) | measured

    def operation(self, day: str, applied: Applied, source: str = "practice") -> Record | None:
        """The row of `operations` for what was applied on that day; None where it was nothing. It was: `confirmed`."""
        if applied == Applied(0.0, 0.0):
            return None
        return self._row("operations", day) | {**applied._asdict(), "source": source, "basis": "confirmed"}

    def harvest(self, day: str, yield_t_ha: float) -> Record:
        """The row of `harvests`."""
        return self._row("harvests", day) | {"yield_t_ha": round(yield_t_ha, 3)}

    def outcome(self, yield_t_ha: float, leached_kg_ha: float) -> Outcome:
        """What the season brought, from the truth."""
        spec, grain_t_ha = self.spec, round(yield_t_ha, 3)
        costs = (
            spec.water_price_usd_mm * self.irrigation_mm
            + spec.nitrogen_price_usd_kg * self.nitrogen_kg_ha
            + spec.fixed_cost_usd_ha
        )
        return Outcome(
            spec=spec,
            yield_t_ha=grain_t_ha,
            irrigation_mm=round(self.irrigation_mm, 1),
            nitrogen_kg_ha=round(self.nitrogen_kg_ha, 1),
            leached_kg_ha=round(leached_kg_ha, 1),
            profit_usd_ha=round(spec.grain_price_usd_t * grain_t_ha - costs, 2),
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


class SimulatedField:
    """AquaCrop with its nitrogen, and the sensors, of one field-season, stepped together."""

    def __init__(self, spec: FieldSpec, faults: FaultRates | None = None) -> None:
        self.spec = spec
        self._books = FieldBooks(spec)
        self._season = field_batch([plot_of(spec)], threads=1)
        self._sensors = Sensors(spec, faults)
        self._last_reading: Record | None = None

    @property
    def date(self) -> str:
        """The day to decide for; once finished, the day of the harvest."""
        return self._books.on(self._season.day).isoformat()

    @property
    def is_finished(self) -> bool:
        return bool(self._season.is_finished[0])

    def reading(self) -> Record | None:
        """What the sensors said of the day before `date`: a row of `readings`. None on planting day."""
        return dict(self._last_reading) if self._last_reading is not None else None

    def apply(self, irrigation_mm: float, nitrogen_kg_ha: float) -> Applied:
        """Irrigate and fertilise as far as the equipment and the allowance go, and live through the day.

        Amounts are applied to the tenth, as equipment does. Returns what the field really received.

        Raises:
            DataError: an amount is negative or no number, or the season is over.
        """
        applied = self._books.possible(irrigation_mm, nitrogen_kg_ha)
        if self.is_finished:
            raise DataError(f"the season planted on {self.spec.planting_date} ended on {self.date}")
        self._season.step(np.array([applied.irrigation_mm]), np.array([applied.nitrogen_kg_ha]))
        self._books.enter(applied)
        day = self._truth_of_day()
        self._last_reading = self._books.reading(day.date.isoformat(), self._sensors.read(day))
        return applied

    def operation(self, day: str, applied: Applied, source: str = "practice") -> Record | None:
        """The row of `operations` for what was applied on that day; None where it was nothing."""
        return self._books.operation(day, applied, source)

    def harvest(self) -> Record:
        """The row of `harvests`. Raises DataError while the crop still grows."""
        return self._books.harvest(self.date, self._yield_t_ha())

    def outcome(self) -> Outcome:
        """What the season brought, from the truth. Raises DataError while the crop still grows."""
        return self._books.outcome(self._yield_t_ha(), float(self._season.leached_kg_ha[0]))

    def truth(self) -> dict[str, Any]:
        """The state that no sensor sees, for tests and pictures; only dates and totals before the first day."""
        season = self._season
        state: dict[str, Any] = {
            "date": self.date,
            "irrigation_mm": self._books.irrigation_mm,
            "nitrogen_kg_ha": self._books.nitrogen_kg_ha,
            **_first_of(season, "nni", "mineral_nitrogen_kg_ha", "nitrogen_uptake_kg_ha", "leached_kg_ha"),
        }
        if season.day == 0:
            return state
        water_m3_m3, middles_m = season.water_m3_m3[0], season.compartment_middles_m[0]
        vwc = {
            f"vwc_{depth}cm_m3_m3": float(water_m3_m3[abs(middles_m - depth / 100).argmin()])
            for depth in PROBE_DEPTHS_CM
        }
        of_day = ("depletion_mm", "taw_mm", "root_depth_m", "canopy_cover", "biomass_t_ha", "deep_percolation_mm")
        return state | vwc | _first_of(season, *of_day) | {"growth_stage": int(season.growth_stage[0])}

    def _yield_t_ha(self) -> float:
        if not self.is_finished:
            raise DataError(f"the crop planted on {self.spec.planting_date} is not ripe on {self.date}")
        return float(self._season.yield_t_ha[0])

    def _truth_of_day(self) -> TrueDay:
        """What the last day really was."""
        season = self._season
        tmin_c, tmax_c, rain_mm, et0_mm = season.weather[0].tolist()
        return TrueDay(
            date=self._books.on(season.day - 1),
            tmin_c=tmin_c,
            tmax_c=tmax_c,
            rain_mm=rain_mm,
            et0_mm=et0_mm,
            water_m3_m3=season.water_m3_m3[0],
            compartment_middles_m=season.compartment_middles_m[0],
            **_first_of(season, "canopy_cover", "nni"),
        )


def _amount(value: float, name: str) -> float:
    if not math.isfinite(value) or value < 0:
        raise DataError(f"{name} is {value!r}; expected a number of at least 0")
    return float(value)


def _first_of(season: FieldBatch, *names: str) -> dict[str, float]:
    """These values of the batch's only field."""
    return {name: float(getattr(season, name)[0]) for name in names}
