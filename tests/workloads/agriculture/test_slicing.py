"""Each field is in one band of each dimension, by what its device was told; a fault is nothing that a device knows."""

from collections import Counter

import numpy as np

from fieldedge.inference.slices import Slice as DeviceSlice
from fieldedge.inference.slices import check_slices, parse_slices
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.features import SOILS, SeasonState
from fieldloop.workload import Slice
from fieldloop.workloads.agriculture import slicing
from fieldloop.workloads.agriculture.pretraining.faults import Faults
from fieldloop.workloads.agriculture.slicing import CROSSED, fault_members, slices_of, untried_roots
from tests.edge.sample import field_record

Record = dict[str, object]
FIELDS: list[Record] = [
    {"region": "champion", "soil": "SandyLoam", "initial_water_pct": 59.0, "water_price_usd_mm": 0.5},
    {"region": "champion", "soil": "Clay", "initial_water_pct": 60.0, "water_price_usd_mm": 1.0},
    {"region": "cordoba", "soil": "Silt", "initial_water_pct": 85.0, "water_allowance_mm": 100.0},
    {"region": "cordoba", "soil": "Loam", "initial_water_pct": None, "water_price_usd_mm": 3.0},
]


def found(faults: dict[str, np.ndarray] | None = None) -> dict[str, Slice]:  # type: ignore[type-arg]  # (N,) bool
    records = [{**field_record(), **told} for told in FIELDS]
    rows = np.stack([SeasonState.start(record).features() for record in records])
    return {one.name: one for one in slices_of(records, rows, faults)}


def test_every_field_is_in_one_band_of_each_dimension() -> None:
    single = {name: one for name, one in found().items() if " and " not in name}
    held = Counter(
        (name.partition("=")[0], int(i)) for name, one in single.items() for i in np.flatnonzero(one.members)
    )
    dimensions = ("region", "soil", "start_water", "water_price", "allowance")
    assert held == {(dimension, i): 1 for dimension in dimensions for i in range(len(FIELDS))}


def test_bands_are_of_what_was_told_and_a_crossed_slice_holds_what_both_of_its_bands_hold() -> None:
    slices = found()
    expected = {
        "region=cordoba": [2, 3],
        "soil=coarse": [0],
        "soil=fine": [1],
        "start_water=dry": [0],
        "start_water=half": [1],
        "start_water=moist": [2],
        "start_water=untold": [3],
        "water_price=cheap": [0],
        "water_price=middle": [1, 2],
        "water_price=dear": [3],
        "allowance=short": [2],
        "region=cordoba and water_price=dear": [3],
        "region=champion and start_water=moist": [],
    }
    assert {name: np.flatnonzero(slices[name].members).tolist() for name in expected} == expected
    for name, one in slices.items():
        if " and " in name:
            first, second = (slices[part] for part in name.split(" and "))
            np.testing.assert_array_equal(one.members, first.members & second.members)
            assert one.where == (*first.where, *second.where)
    assert len(CROSSED) == 5


def test_a_device_takes_the_conditions_of_every_slice() -> None:
    slices = [DeviceSlice(one.name, one.words, one.where) for one in found().values()]
    assert all(one.where for one in slices)
    check_slices(slices, CONTRACT, "here")
    told = [one.as_record() for one in slices]
    assert (*parse_slices(told[:40], "here"), *parse_slices(told[40:], "here")) == tuple(slices)


def test_every_soil_that_a_device_knows_is_in_one_group() -> None:
    assert sorted((*slicing.COARSE, *slicing.MEDIUM, *slicing.FINE)) == sorted(SOILS)


def test_fields_are_counted_by_how_far_what_is_told_is_from_the_truth() -> None:
    faults = Faults.of(3, delivered_share=np.array([0.89, 0.9, 1.0]), sown_late_d=np.array([-5.0, 0.0, 7.0]))
    members = {name: np.flatnonzero(mask).tolist() for name, mask in fault_members(faults).items() if mask.any()}
    assert members == {
        "less than 90 % of the irrigation arrives": [0],
        "the crop was sown five days early or more": [0],
        "the crop was sown five days late or more": [2],
    }


def test_a_fault_has_members_and_no_condition() -> None:
    low = np.array([True, False, False, True])
    one = found({"the rain gauge is low": low})["fault=the rain gauge is low"]
    assert one.where == () and one.members.tolist() == low.tolist()
    assert one.words == "of which the rain gauge is low"


def test_roots_that_are_told_as_no_field_of_practice_had_them_are_left_to_the_rule() -> None:
    untried = untried_roots([2.3, 2.0, 2.3])
    check_slices(untried, CONTRACT, "test")
    assert parse_slices([one.as_record() for one in untried], "test") == untried
    row = SeasonState.start(field_record()).features()

    def left_to_rule(told_m: float) -> list[str]:
        told = {**field_record(), "root_depth_max_m": told_m}
        return [one.name for one in untried if one.holds(row, told, CONTRACT)]

    assert [left_to_rule(told_m) for told_m in (1.0, 1.79, 1.81, 2.3, 2.5)] == [*[["roots=shallower"]] * 2, [], [], []]
    assert left_to_rule(3.0) == ["roots=deeper"]
    assert untried_roots([]) == ()
