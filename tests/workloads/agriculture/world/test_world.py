import pickle
from dataclasses import fields as dataclass_fields
from dataclasses import replace

import pytest

from fieldedge.system.errors import DataError
from fieldedge.workloads.agriculture.tables import FIELDS
from fieldloop.workloads.agriculture.world.climate import REGIONS
from fieldloop.workloads.agriculture.world.world import World, field_specs


def test_the_same_seed_gives_the_same_fields_and_another_seed_others() -> None:
    assert field_specs("champion", 2006, 4, 7, "rainfed") == field_specs("champion", 2006, 4, 7, "rainfed")
    assert field_specs("champion", 2006, 4, 7, "rainfed") != field_specs("champion", 2006, 4, 8, "rainfed")


def test_a_field_does_not_depend_on_how_many_there_are() -> None:
    assert field_specs("cordoba", 2006, 9, 7, "rainfed")[:3] == field_specs("cordoba", 2006, 3, 7, "rainfed")


def test_a_field_is_the_same_whatever_its_practice_and_device() -> None:
    grower = field_specs("champion", 2006, 3, 7, "threshold")
    device = field_specs("champion", 2006, 3, 7, "fieldloop", ["dev-00", "dev-01", "dev-02"])
    assert [replace(spec, practice="threshold", device_id=None) for spec in device] == grower


def test_a_field_keeps_its_land_over_the_years_while_the_year_changes() -> None:
    one, other = (field_specs("champion", season, 5, 7, "rainfed") for season in (2006, 2007))
    for before, after in zip(one, other, strict=True):
        assert (before.soil, before.irrigation_capacity_mm) == (after.soil, after.irrigation_capacity_mm)
        assert before.grain_price_usd_t != after.grain_price_usd_t


@pytest.mark.parametrize("region", REGIONS)
def test_five_fields_cover_the_region_s_soils_and_are_planted_in_its_window(region: str) -> None:
    specs = field_specs(region, 1999, 5, 7, "rainfed")
    first, last = REGIONS[region].planting_window(1999)
    assert {spec.soil for spec in specs} == set(REGIONS[region].soils)
    assert all(str(first) <= spec.planting_date <= str(last) for spec in specs)


def test_records_keep_the_contract() -> None:
    for spec in field_specs("champion", 2006, 12, 7, "fieldloop", [f"dev-{i:02d}" for i in range(12)]):
        record = spec.record()
        assert FIELDS.check(record, "test") == record
        assert tuple(record) == FIELDS.column_names


def test_a_world_can_be_given() -> None:
    specs = field_specs("champion", 2006, 3, 7, "rainfed", world=World(water_price_usd_mm=(9.0, 9.0)))
    assert {spec.water_price_usd_mm for spec in specs} == {9.0}


def test_specs_travel_to_other_processes() -> None:
    spec = field_specs("champion", 2006, 1, 7, "rainfed")[0]
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301 - our own bytes
    assert all(field.type is not None for field in dataclass_fields(spec))


def test_random_streams_differ_by_purpose_and_repeat_by_name() -> None:
    spec = field_specs("champion", 2006, 1, 7, "rainfed")[0]
    assert spec.rng("drone").random() == spec.rng("drone").random()
    assert spec.rng("drone").random() != spec.rng("station").random()


def test_a_season_off_the_record_is_refused_with_the_years_there_are() -> None:
    with pytest.raises(DataError, match=r"cordoba has no weather for season 1991; .* from 1992 to 2021"):
        field_specs("cordoba", 1991, 1, 7, "rainfed")


def test_devices_and_fields_must_be_as_many() -> None:
    with pytest.raises(DataError, match="2 devices for 3 fields"):
        field_specs("champion", 2006, 3, 7, "fieldloop", ["dev-00", "dev-01"])
