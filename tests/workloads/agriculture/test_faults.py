"""What is wrong with a field and no device knows: the field lives by what is, the device by what is noted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldedge.workloads.agriculture import layout
from fieldedge.workloads.agriculture.features import INDEX
from fieldedge.workloads.agriculture.tables import FIELDS
from fieldloop.workloads.agriculture.pretraining import practice_ranges
from fieldloop.workloads.agriculture.pretraining.faults import TAW_TOLD, Faults
from fieldloop.workloads.agriculture.pretraining.what_if import WhatIfs, live
from fieldloop.workloads.agriculture.world.plots import plot_of
from fieldloop.workloads.agriculture.world.sensors import Sensors
from fieldloop.workloads.agriculture.world.world import FieldSpec, field_specs

COUNT = 6
DOCS = Path(__file__).parents[3] / "docs" / "practice.md"


def specs() -> list[FieldSpec]:
    return field_specs("champion", 2001, COUNT, 3, "fieldloop")


def planted(**named: Any) -> WhatIfs:
    fields = specs()
    plots, records = [plot_of(spec) for spec in fields], [spec.record() for spec in fields]
    return WhatIfs.of(plots, records, [Sensors(spec) for spec in fields], faults=Faults.of(COUNT, **named))


def taw(record: dict[str, Any]) -> float:
    return float(record["field_capacity_m3_m3"] - record["wilting_point_m3_m3"])


def test_there_is_no_fault_without_a_name() -> None:
    with pytest.raises(TypeError, match="deliverd_share"):
        Faults.of(COUNT, deliverd_share=0.8)


def test_a_soil_record_that_is_off_is_still_one_that_the_contract_takes() -> None:
    soils = ("Sand", "SandyLoam", "SiltLoam", "Clay")
    for capacity, wilting in ((0.8, 1.2), (1.2, 0.8), (1.15, 1.0), (0.8, 0.8), (1.2, 1.2)):
        true = [{**specs()[0].record(), **soil_of(soil)} for soil in soils]
        faults = Faults.of(len(soils), field_capacity_factor=capacity, wilting_point_factor=wilting)
        for record, told in zip(true, faults.told(true), strict=True):  # type: ignore[arg-type]  # records of a test
            for column in FIELDS.columns:
                if column.name.endswith("m3_m3"):
                    assert column.minimum <= told[column.name] <= column.maximum  # type: ignore[operator]  # has both
            assert told["wilting_point_m3_m3"] < told["field_capacity_m3_m3"] <= told["saturation_m3_m3"]
            assert TAW_TOLD[0] * taw(record) - 1e-9 <= taw(told) <= TAW_TOLD[1] * taw(record) + 1e-9


def soil_of(name: str) -> dict[str, float]:
    from fieldloop.workloads.agriculture.world.aquacrop_season import soil_water

    water = soil_water(name)
    return {
        "wilting_point_m3_m3": water.wilting_point_m3_m3,
        "field_capacity_m3_m3": water.field_capacity_m3_m3,
        "saturation_m3_m3": water.saturation_m3_m3,
    }


def test_what_is_drawn_lies_in_its_range_and_a_share_of_the_fields_departs_from_nothing() -> None:
    drawn, again = (practice_ranges.drawn(3_000, 5, 0.6) for _ in range(2))
    departs = np.zeros(3_000, np.bool_)
    for one in practice_ranges.RANGES:
        values = drawn[one.name]
        np.testing.assert_array_equal(values, again[one.name])
        away = ~np.isclose(values, one.nominal, equal_nan=True)
        assert one.low <= values[away].min() < one.low + 0.02 * (one.high - one.low)
        assert one.high >= values[away].max() > one.high - 0.02 * (one.high - one.low)
        assert away.mean() == pytest.approx(0.6 * practice_ranges.EACH_SHARE, abs=0.04)
        departs |= away
    assert 0.5 < departs.mean() < 0.61
    nominal = practice_ranges.drawn(50, 5, 0.0)
    assert all(np.array_equal(nominal[r.name], np.full(50, r.nominal), equal_nan=True) for r in practice_ranges.RANGES)


def test_a_sound_field_departs_in_land_and_climate_alone_and_others_are_the_fields_that_they_were() -> None:
    before, drawn = practice_ranges.drawn(3_000, 5, 0.6), practice_ranges.drawn(3_000, 5, 0.6, 0.5)
    told = (*practice_ranges.FAULTS, *practice_ranges.VARIETY)
    for one in practice_ranges.RANGES:
        if one not in told:
            np.testing.assert_array_equal(before[one.name], drawn[one.name])
    wrong, still = (np.any([~np.isclose(x[r.name], r.nominal) for r in told], axis=0) for x in (before, drawn))
    assert still.sum() == pytest.approx(0.5 * wrong.sum(), rel=0.1)
    for one in told:
        np.testing.assert_array_equal(drawn[one.name][still], before[one.name][still])


def test_the_documentation_shows_the_ranges_as_they_are() -> None:
    assert practice_ranges.table() in DOCS.read_text()


@pytest.mark.slow
def test_water_that_does_not_arrive_is_noted_and_paid_but_does_not_wet_the_field() -> None:
    fields, leaking = planted(), planted(delivered_share=0.6)
    given = np.full(COUNT, 20.0)
    lived, lost = (live(one, lambda day, _: (given * (day % 10 == 5), 0.0 * given)) for one in (fields, leaking))
    np.testing.assert_array_equal(lived.irrigation_mm, lost.irrigation_mm)
    np.testing.assert_allclose(leaking.batch.irrigation_mm, 0.6 * leaking.irrigation_mm)
    np.testing.assert_array_equal(fields.batch.irrigation_mm, fields.irrigation_mm)
    assert (lost.yield_t_ha < lived.yield_t_ha).all()


@pytest.mark.slow
def test_a_gauge_that_reads_low_tells_the_device_alone() -> None:
    fields, low = planted(), planted(gauge_factor=0.75)
    for _ in range(60):
        for one in (fields, low):
            one.step(np.zeros(COUNT), np.zeros(COUNT))
    np.testing.assert_array_equal(fields.batch.water_m3_m3, low.batch.water_m3_m3)
    rain, noted = (one.devices.values[:, layout.RAIN_SEASON_MM] for one in (fields, low))
    np.testing.assert_allclose(noted, 0.75 * rain, atol=3.0)


@pytest.mark.slow
def test_a_soil_told_too_wet_holds_more_for_the_device_than_it_does() -> None:
    fields, told_wet = planted(), planted(field_capacity_factor=1.15)
    np.testing.assert_array_equal(fields.batch.taw_mm, told_wet.batch.taw_mm)
    taw_mm, told_mm = (one.features()[:, INDEX["taw_mm"]] for one in (fields, told_wet))
    assert (told_mm > 1.1 * taw_mm).all()


@pytest.mark.slow
def test_a_crop_that_was_sown_later_than_told_is_younger_than_its_device_thinks() -> None:
    fields, late = planted(), planted(sown_late_d=np.float64([10, 10, 10, 0, -10, -10]))
    np.testing.assert_array_equal(fields.features(), late.features())
    for _ in range(35):
        for one in (fields, late):
            one.step(np.zeros(COUNT), np.zeros(COUNT))
    cover, other = fields.batch.canopy_cover, late.batch.canopy_cover
    assert (other[:3] < 0.6 * cover[:3]).all()
    assert other[3] == cover[3]
    assert (other[4:] > 1.2 * cover[4:]).all()
    assert set(late.features()[:, INDEX["dap"]]) == {35.0}


@pytest.mark.slow
def test_faults_go_with_their_fields_into_a_branch() -> None:
    shares = np.linspace(0.6, 1.05, COUNT)
    branch = planted(delivered_share=shares).branch(np.array([4, 0, 4]))
    branch.step(np.full(3, 10.0), np.zeros(3))
    np.testing.assert_allclose(branch.batch.irrigation_mm, 10.0 * shares[[4, 0, 4]])
