"""What-if seasons: many simulated fields, each with its device, lived in lockstep under any decision rule.

The fields are AquaCrop's (`world/`), the devices fold the device's own functions over noisy sensors, and depths
and doses keep within the device's own guardrails. A branch copies fields, devices and sensors as they stand, so the
same morning can be lived twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fieldedge.contract import Record
from fieldedge.workloads.agriculture import layout
from fieldedge.workloads.agriculture.features import FORECAST_VALUES
from fieldloop.workloads.agriculture.pretraining.faults import Faults
from fieldloop.workloads.agriculture.pretraining.many_fields import ManyFields
from fieldloop.workloads.agriculture.world.field_batch import FieldBatch, field_batch
from fieldloop.workloads.agriculture.world.plots import Plot
from fieldloop.workloads.agriculture.world.sensor_rows import SensorRows
from fieldloop.workloads.agriculture.world.sensors import Sensors

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
Indices = NDArray[np.int64]
Decide = Callable[[int, Rows], tuple[Floats, Floats]]
_DONE = 2  # columns of a day before its readings: what was done


@dataclass
class WhatIfs:
    """N fields on the same day after planting, with their devices."""

    batch: FieldBatch
    devices: ManyFields
    sensors: SensorRows
    forecasts: Floats | None = None  # (N, days, 3), NaN where none is at hand
    depth_mm: float | None = None  # what the equipment applies whenever it is asked; None: what is asked
    faults: Faults | None = None  # what no device knows; None: all that is told is true

    @classmethod
    def of(
        cls,
        plots: Sequence[Plot],
        records: Sequence[Record],
        sensors: Sequence[Sensors],
        forecasts: Floats | None = None,
        depth_mm: float | None = None,
        faults: Faults | None = None,
    ) -> "WhatIfs":
        """Fields on the morning of planting.

        `records` are rows of table `fields`: what their devices know, but for what `faults` make wrong of it.
        """
        told = records
        if faults is not None:
            plots, told = faults.sown(plots), faults.told(records)
        return cls(field_batch(plots), ManyFields.of(told), SensorRows(sensors), forecasts, depth_mm, faults)

    def __len__(self) -> int:
        return self.batch.size

    @property
    def application_efficiency(self) -> Floats:
        efficiency: Floats = self.devices.constants[:, layout.APPLICATION_EFFICIENCY]
        return efficiency

    @property
    def irrigation_mm(self) -> Floats:
        """Irrigation so far as the devices note it and the growers pay it (N,); what arrived is the batch's."""
        noted: Floats = self.devices.values[:, layout.IRRIGATION_MM].copy()
        return noted

    def branch(self, rows: Indices) -> "WhatIfs":
        """Copies of these rows as they stand; a row may come several times."""
        return WhatIfs(
            self.batch.branch(rows),
            self.devices.branch(rows),
            self.sensors.branch(rows),
            None if self.forecasts is None else self.forecasts[rows],
            self.depth_mm,
            None if self.faults is None else self.faults.branch(rows),
        )

    def features(self) -> Rows:
        """What the devices know this morning (N, F), physical units, without actions."""
        return self.devices.features(None if self.forecasts is None else self.forecasts[:, self.batch.day])

    def step(self, irrigation_mm: Floats, nitrogen_kg_ha: Floats) -> None:
        """Live a day: the field, its sensors, the device."""
        batch = self.batch
        is_over = batch.is_finished
        irrigation_mm = np.where(is_over, 0.0, irrigation_mm)
        if self.depth_mm is not None:
            irrigation_mm = np.where(irrigation_mm > 0.0, self.depth_mm, 0.0)
        nitrogen_kg_ha = np.where(is_over, 0.0, nitrogen_kg_ha)
        arrived_mm = irrigation_mm if self.faults is None else irrigation_mm * self.faults.delivered_share
        batch.step(arrived_mm, nitrogen_kg_ha)
        read = self.sensors.read(
            np.nan_to_num(batch.weather), batch.water_m3_m3, batch.compartment_middles_m, batch.canopy_cover, batch.nni
        )
        if self.faults is not None:
            read = self.faults.noted(read, layout.DAY_RAIN_MM - _DONE)
        self.devices.advance(np.concatenate([irrigation_mm[:, None], nitrogen_kg_ha[:, None], read], axis=1))


@dataclass(frozen=True)
class Lived:
    """How N seasons ended, and what was done by day (N, days), as the devices note it."""

    yield_t_ha: Floats
    irrigation_mm: Floats
    nitrogen_kg_ha: Floats
    leached_kg_ha: Floats
    rows: list[Rows] = field(default_factory=list)  # the features of every morning, where asked for


def live(fields: WhatIfs, decide: Decide, keep_rows: bool = False) -> Lived:
    """Live the fields from where they stand to their harvests."""
    irrigation, nitrogen, kept = [], [], []
    while not fields.batch.is_finished.all():
        rows = fields.features()
        before = fields.irrigation_mm, fields.batch.nitrogen_kg_ha
        fields.step(*decide(fields.batch.day, rows))
        irrigation.append(fields.irrigation_mm - before[0])
        nitrogen.append(fields.batch.nitrogen_kg_ha - before[1])
        if keep_rows:
            kept.append(rows)
    batch = fields.batch
    return Lived(batch.yield_t_ha, np.stack(irrigation, 1), np.stack(nitrogen, 1), batch.leached_kg_ha, kept)


def no_forecast(count: int, days: int) -> Floats:
    """Forecasts for fields without any."""
    return np.full((count, days, FORECAST_VALUES), np.nan)
