"""What is wrong with fields and no device knows: what a device is told and notes differs from what is.

Water that does not arrive, a gauge that reads low, a soil record that is off, a crop sown on another day. The field
lives by what is; its device and the grower's bill by what is noted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from fieldedge.contract import Column, Record
from fieldedge.workloads.agriculture.tables import FIELDS
from fieldloop.workloads.agriculture.pretraining import practice_ranges
from fieldloop.workloads.agriculture.world.plots import Plot

Floats = NDArray[np.float64]
TAW_TOLD = (0.5, 1.6)  # of the true one: a soil that told less or more would be another class by sight
_SPACE_M3_M3 = 0.01  # what a record leaves between field capacity and saturation
_CAPACITY, _WILTING = (
    next(column for column in FIELDS.columns if column.name == name)
    for name in ("field_capacity_m3_m3", "wilting_point_m3_m3")
)


@dataclass(frozen=True, eq=False)
class Faults:
    """Of N fields, arrays (N,): factors, which are 1 where nothing is wrong, and days, which are 0."""

    delivered_share: Floats  # water that arrives, of what the device notes and the grower pays
    gauge_factor: Floats  # rain that the gauge notes, of what fell
    field_capacity_factor: Floats  # told, of the true one
    wilting_point_factor: Floats  # told, of the true one
    sown_late_d: Floats  # whole days from the planting date that is told to the true one; negative: sown before it

    @classmethod
    def none(cls, count: int) -> "Faults":
        """Fields of which all that is told is true."""
        return cls.of(count)

    @classmethod
    def of(cls, count: int, **named: float | Floats) -> "Faults":
        """Those faults for all fields, or an array (N,) of them; nothing else is wrong.

        Raises:
            TypeError: there is no such fault.
        """
        known = {one.name: np.full(count, one.nominal) for one in practice_ranges.FAULTS}
        return cls(**known | {name: np.broadcast_to(np.float64(value), count).copy() for name, value in named.items()})

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Every fault's name."""
        return tuple(one.name for one in fields(cls))

    def __len__(self) -> int:
        return len(self.delivered_share)

    def branch(self, rows: NDArray[np.int64]) -> "Faults":
        """Those of these rows; a row may come several times."""
        return Faults(**{name: getattr(self, name)[rows] for name in self.names()})

    def sown(self, plots: Sequence[Plot]) -> list[Plot]:
        """The fields whose planting dates are the told ones, sown when they really were (N)."""
        days = np.round(self.sown_late_d).astype(int).tolist()
        return [replace(plot, sown_late_d=late) if late else plot for plot, late in zip(plots, days, strict=True)]

    def told(self, records: Sequence[Record]) -> list[Record]:
        """What the devices are told of fields whose true rows of table `fields` these are (N)."""
        return [
            _told(record, capacity, wilting)
            for record, capacity, wilting in zip(
                records, self.field_capacity_factor.tolist(), self.wilting_point_factor.tolist(), strict=True
            )
        ]

    def noted(self, read: Floats, rain_column: int) -> Floats:
        """The day's readings (N, R) as the gauges note them, of readings whose rain is what fell."""
        noted = read.copy()
        noted[:, rain_column] = np.round(read[:, rain_column] * self.gauge_factor, 1)
        return noted


def _told(record: Record, capacity_factor: float, wilting_factor: float) -> Record:
    if capacity_factor == wilting_factor == 1.0:
        return record
    true, wilting_true = record["field_capacity_m3_m3"], record["wilting_point_m3_m3"]
    wilting = _within(_WILTING, wilting_true * wilting_factor)
    low, high = (wilting + share * (true - wilting_true) for share in TAW_TOLD)
    capacity = _within(_CAPACITY, min(max(true * capacity_factor, low), high))
    return {
        **record,
        "field_capacity_m3_m3": capacity,
        "wilting_point_m3_m3": wilting,
        "saturation_m3_m3": max(record["saturation_m3_m3"], capacity + _SPACE_M3_M3),
    }


def _within(column: Column, value: float) -> float:
    """The value as a record of that column can have it."""
    return float(np.clip(value, column.minimum, column.maximum))
