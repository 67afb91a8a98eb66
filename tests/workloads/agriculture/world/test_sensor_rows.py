"""Many fields' sensors read at once say what each field's own sensors would."""

from datetime import date, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldedge.workloads.agriculture.tables import PROBE_DEPTHS_CM
from fieldloop.workloads.agriculture.world.sensor_rows import SensorRows
from fieldloop.workloads.agriculture.world.sensors import FaultRates, Sensors, TrueDay
from fieldloop.workloads.agriculture.world.world import FieldSpec, field_specs

Floats = NDArray[np.float64]
DAYS, FIELDS = 110, 18
COLUMNS = (
    *("tmin_c", "tmax_c", "rain_mm", "et0_mm", "ndvi", "ndre"),
    *(f"vwc_{depth}cm_m3_m3" for depth in PROBE_DEPTHS_CM),
)
MANY_FAULTS = FaultRates(station_gap_chance_per_day=0.4, stuck_chance=0.5, flight_cancelled_chance=0.4)


class Truths:
    """Random days of fields whose soils are laid out in different compartments."""

    def __init__(self, fields: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        thickness = rng.choice([0.1, 0.15], (fields, 12))
        self.middles_m = thickness.cumsum(axis=1) - thickness / 2
        self.weather = np.stack(
            [
                rng.normal(12, 4, (DAYS, fields)),
                rng.normal(26, 5, (DAYS, fields)),
                np.where(rng.random((DAYS, fields)) < 0.3, rng.exponential(9, (DAYS, fields)), 0.0),
                rng.uniform(0.0, 11, (DAYS, fields)),
            ],
            axis=2,
        )
        self.water = rng.uniform(0.0, 0.5, (DAYS, fields, 12))
        self.cover, self.nni = rng.uniform(0, 1, (DAYS, fields)), rng.uniform(-0.1, 1.4, (DAYS, fields))

    def of_rows(self, day: int, rows: NDArray[np.int64]) -> tuple[Floats, ...]:
        """What SensorRows.read takes."""
        arrays = self.weather[day], self.water[day], self.middles_m, self.cover[day], self.nni[day]
        return tuple(array[rows] for array in arrays)

    def of_field(self, day: int, field: int) -> TrueDay:
        """What Sensors.read takes."""
        weather = self.weather[day, field]
        return TrueDay(
            date=date(2006, 5, 1) + timedelta(days=day),
            tmin_c=weather[0],
            tmax_c=weather[1],
            rain_mm=weather[2],
            et0_mm=weather[3],
            water_m3_m3=self.water[day, field],
            compartment_middles_m=self.middles_m[field],
            canopy_cover=self.cover[day, field],
            nni=self.nni[day, field],
        )


def specs(fields: int) -> list[FieldSpec]:
    return field_specs("champion", 2006, fields, 3, "rainfed")


def read_alone(truths: Truths, fields: list[int], rates: FaultRates | None) -> Floats:
    """(DAYS, N, 10): what each field's own sensors say; NaN for none."""
    all_specs = specs(FIELDS)
    said = np.full((DAYS, len(fields), len(COLUMNS)), np.nan)
    for row, field in enumerate(fields):
        sensors = Sensors(all_specs[field], rates)
        for day in range(DAYS):
            reading = sensors.read(truths.of_field(day, field))
            said[day, row] = [np.nan if reading[name] is None else reading[name] for name in COLUMNS]
    return said


@pytest.mark.parametrize("rates", [None, MANY_FAULTS], ids=["usual faults", "many faults"])
def test_each_row_reads_as_its_own_sensors_would_to_the_last_digit(rates: FaultRates | None) -> None:
    truths, every = Truths(FIELDS, seed=9), np.arange(FIELDS)
    rows = SensorRows([Sensors(spec, rates) for spec in specs(FIELDS)])
    together = np.stack([rows.read(*truths.of_rows(day, every)) for day in range(DAYS)])
    alone = read_alone(truths, every.tolist(), rates)
    for column, name in enumerate(COLUMNS):
        np.testing.assert_array_equal(together[:, :, column], alone[:, :, column], err_msg=name)
    assert 0.01 < np.isnan(together[:, :, 6:]).mean() < 0.3
    assert 0.02 < np.isfinite(together[:, :, 4]).mean() < 0.2


def test_a_branch_reads_on_as_its_fields_would_and_leaves_the_trunk_as_it_was() -> None:
    truths, every, chosen = Truths(FIELDS, seed=5), np.arange(FIELDS), np.array([3, 0, 3, 17])
    trunk = SensorRows([Sensors(spec, MANY_FAULTS) for spec in specs(FIELDS)])
    for day in range(50):
        trunk.read(*truths.of_rows(day, every))
    branch = trunk.branch(chosen)
    branched = np.stack([branch.read(*truths.of_rows(day, chosen)) for day in range(50, DAYS)])
    gone_on = np.stack([trunk.read(*truths.of_rows(day, every)) for day in range(50, DAYS)])
    np.testing.assert_array_equal(branched, gone_on[:, chosen])
    np.testing.assert_array_equal(branched, read_alone(truths, chosen.tolist(), MANY_FAULTS)[50:])
