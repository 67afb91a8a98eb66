"""What a device believes of its field, against AquaCrop, which the simulated field really is."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldedge.workloads.agriculture import layout as at
from fieldloop.workloads.agriculture.pretraining.many_fields import ManyFields
from fieldloop.workloads.agriculture.world.field_batch import FieldBatch, field_batch
from fieldloop.workloads.agriculture.world.plots import plot_of
from fieldloop.workloads.agriculture.world.sensor_rows import SensorRows
from fieldloop.workloads.agriculture.world.sensors import Sensors
from fieldloop.workloads.agriculture.world.world import FieldSpec, field_specs

pytestmark = pytest.mark.slow  # the first test of an environment compiles

Floats = NDArray[np.float64]
YEARS = (1984, 1988, 1993, 1999, 2005, 2012)
FIRST_DAY, LAST_DAY = 20, 115


@dataclass(frozen=True)
class Evening:
    """By field: the truth, and what a device believes."""

    depletion_mm: Floats
    taw_mm: Floats
    depletion_believed_mm: Floats
    taw_believed_mm: Floats
    cover: Floats
    cover_believed: Floats
    is_alive: NDArray[np.bool_]


def fields_of(soils: tuple[str, ...]) -> list[FieldSpec]:
    specs = [spec for year in YEARS for spec in field_specs("champion", year, 10, 5, "fieldloop")]
    return [spec for spec in specs if spec.soil in soils]


def lived(fields: list[FieldSpec], *, knows_start: bool, has_probes: bool, is_noisy: bool) -> list[Evening]:
    """A third of the fields without irrigation, the others with 25 mm whenever half of TAW is used up."""
    batch = field_batch([plot_of(spec) for spec in fields])
    records = [
        {**spec.record(), "initial_water_pct": spec.initial_water_pct if knows_start else None} for spec in fields
    ]
    devices, sensors = ManyFields.of(records), SensorRows([Sensors(spec) for spec in fields])
    is_irrigated = np.arange(len(fields)) % 3 > 0
    evenings = []
    for day in range(LAST_DAY + 1):
        is_dry = batch.depletion_mm > 0.5 * batch.taw_mm
        irrigation = np.where(is_dry & is_irrigated & ~batch.is_finished, 25.0, 0.0)
        nitrogen = np.where(batch.is_finished, 0.0, 100.0 if day in (0, 40) else 0.0)
        batch.step(irrigation, nitrogen)
        devices.advance(_days(batch, sensors, irrigation, nitrogen, has_probes, is_noisy))
        if day >= FIRST_DAY:
            evenings.append(_evening(batch, devices))
    return evenings


def _days(
    batch: FieldBatch, sensors: SensorRows, irrigation: Floats, nitrogen: Floats, has_probes: bool, is_noisy: bool
) -> Floats:
    read = sensors.read(batch.weather, batch.water_m3_m3, batch.compartment_middles_m, batch.canopy_cover, batch.nni)
    days = np.concatenate([irrigation[:, None], nitrogen[:, None], read], axis=1)
    if not is_noisy:
        days[:, at.DAY_TMIN_C : at.DAY_ET0_MM + 1] = batch.weather
    if not has_probes:
        days[:, at.DAY_PROBE :] = np.nan
    return days


def _evening(batch: FieldBatch, devices: ManyFields) -> Evening:
    values = devices.values
    return Evening(
        batch.depletion_mm.copy(),
        batch.taw_mm.copy(),
        values[:, at.DEPLETION_MM].copy(),
        values[:, at.TAW_MM].copy(),
        batch.canopy_cover.copy(),
        values[:, at.CANOPY].copy(),
        ~batch.is_finished,
    )


def fraction_errors(evenings: list[Evening]) -> Floats:
    """|believed - true| depletion over TAW (days, N); NaN where the crop died of drought or stands in water."""
    true = np.stack([e.depletion_mm / e.taw_mm for e in evenings])
    believed = np.stack([e.depletion_believed_mm / e.taw_believed_mm for e in evenings])
    is_alive = np.stack([e.is_alive for e in evenings])
    return np.where(is_alive & (true >= 0.0), np.abs(np.maximum(believed, 0.0) - true), np.nan)


@pytest.mark.parametrize("soil", ["SandyLoam", "SiltLoam", "ClayLoam"])
def test_with_exact_weather_the_balance_follows_aquacrop_within_a_few_millimetres(soil: str) -> None:
    fields = fields_of((soil,))
    evenings = lived(fields, knows_start=True, has_probes=False, is_noisy=False)
    errors = fraction_errors(evenings)
    assert np.nanmean(errors) < 0.015
    assert np.nanmean(errors, axis=0).max() < 0.04  # the worst field's mean
    millimetres = np.stack([np.abs(e.depletion_mm - e.depletion_believed_mm) for e in evenings])
    assert np.nanmean(np.where(np.isnan(errors), np.nan, millimetres)) < 3.0
    is_alive = np.stack([e.is_alive for e in evenings])
    roots = np.stack([np.abs(e.taw_believed_mm / e.taw_mm - 1.0) for e in evenings])
    cover = np.stack([np.abs(e.cover_believed - e.cover) for e in evenings])
    assert roots[is_alive].mean() < 0.005
    assert cover[is_alive].mean() < 0.01
    true = np.stack([e.depletion_mm / e.taw_mm for e in evenings])
    assert true.max() > 0.6 > 0.1 > true.min()  # dry and wet seasons were seen


def test_probes_help_where_no_one_sampled_the_soil_at_planting() -> None:
    fields = fields_of(("SandyLoam", "SiltLoam", "Loam", "ClayLoam"))
    with_probes, without = (
        np.nanmean(fraction_errors(lived(fields, knows_start=False, has_probes=has_probes, is_noisy=True)))
        for has_probes in (True, False)
    )
    assert with_probes < 0.75 * without
    assert with_probes < 0.04
