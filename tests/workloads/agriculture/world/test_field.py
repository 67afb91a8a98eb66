import datetime
from dataclasses import replace
from itertools import pairwise

import pytest

from fieldedge.system.errors import DataError
from fieldedge.workloads.agriculture.tables import HARVESTS, OPERATIONS, READINGS
from fieldloop.workloads.agriculture.world.field import Applied, SimulatedField
from fieldloop.workloads.agriculture.world.practices import Calendar
from fieldloop.workloads.agriculture.world.seasons import SeasonTables, live_season
from fieldloop.workloads.agriculture.world.world import FieldSpec, field_specs


@pytest.fixture(scope="module")
def spec() -> FieldSpec:
    return field_specs("champion", 2006, 1, 7, "fieldloop", ["dev-00"])[0]


@pytest.fixture(scope="module")
def lived(spec: FieldSpec) -> tuple[SimulatedField, list[str]]:
    field, days = SimulatedField(spec), []
    while not field.is_finished:
        days.append(field.date)
        field.apply(20.0 if len(days) % 10 == 0 else 0.0, 150.0 if len(days) == 1 else 0.0)
    return field, days


def test_on_planting_day_nothing_is_known_and_later_the_day_before_is(spec: FieldSpec) -> None:
    field = SimulatedField(spec)
    assert (field.date, field.reading()) == (spec.planting_date, None)
    field.apply(0.0, 0.0)
    reading = field.reading()
    assert reading is not None
    assert reading["date"] == spec.planting_date < field.date


def test_days_follow_each_other_from_planting_to_harvest(
    spec: FieldSpec, lived: tuple[SimulatedField, list[str]]
) -> None:
    field, days = lived
    dates = [datetime.date.fromisoformat(day) for day in (*days, field.date)]
    assert all(after - before == datetime.timedelta(days=1) for before, after in pairwise(dates))
    assert 100 < len(days) <= 132
    assert field.harvest()["date"] == field.date
    last = field.reading()
    assert last is not None
    assert last["date"] == days[-1]


def test_water_is_capped_by_the_equipment_and_by_the_allowance(spec: FieldSpec) -> None:
    field = SimulatedField(replace(spec, irrigation_capacity_mm=25.0, water_allowance_mm=40.0))
    assert [field.apply(60.0, 0.0).irrigation_mm for _ in range(3)] == [25.0, 15.0, 0.0]


def test_what_was_applied_is_what_the_outcome_counts(spec: FieldSpec, lived: tuple[SimulatedField, list[str]]) -> None:
    field, days = lived
    outcome = field.outcome()
    assert outcome.irrigation_mm == min(20.0 * (len(days) // 10), spec.water_allowance_mm)
    assert outcome.nitrogen_kg_ha == 150.0
    costs = outcome.irrigation_mm * spec.water_price_usd_mm + 150 * spec.nitrogen_price_usd_kg + spec.fixed_cost_usd_ha
    assert outcome.profit_usd_ha == pytest.approx(outcome.yield_t_ha * spec.grain_price_usd_t - costs, abs=0.01)
    assert outcome.as_record()["device_id"] == "dev-00"


@pytest.mark.parametrize("amounts", [(-1.0, 0.0), (0.0, -1.0), (float("nan"), 0.0), (0.0, float("inf"))])
def test_an_amount_that_cannot_be_is_refused_and_the_day_not_lived(
    spec: FieldSpec, amounts: tuple[float, float]
) -> None:
    field = SimulatedField(spec)
    with pytest.raises(DataError, match="expected a number of at least 0"):
        field.apply(*amounts)
    assert field.date == spec.planting_date


def test_nothing_can_be_done_after_the_end_nor_harvested_before(
    spec: FieldSpec, lived: tuple[SimulatedField, list[str]]
) -> None:
    with pytest.raises(DataError, match="not ripe"):
        SimulatedField(spec).harvest()
    with pytest.raises(DataError, match="ended on"):
        lived[0].apply(0.0, 0.0)


def test_the_same_actions_give_the_same_season_to_the_last_digit(spec: FieldSpec) -> None:
    assert live_season(spec, Calendar()) == live_season(spec, Calendar())


def test_the_weather_seen_does_not_depend_on_what_is_done(spec: FieldSpec) -> None:
    dry, wet = SimulatedField(spec), SimulatedField(spec)
    for _ in range(20):
        dry.apply(0.0, 0.0)
        wet.apply(20.0, 10.0)
        one, other = dry.reading(), wet.reading()
        assert one is not None
        assert other is not None
        assert one["rain_mm"] == other["rain_mm"]
        assert (one["ndvi"] is None) == (other["ndvi"] is None)


def test_nitrogen_and_water_both_raise_the_yield() -> None:
    spec = field_specs("champion", 2002, 2, 7, "rainfed")[0]

    def grown(water: bool, nitrogen: bool) -> float:
        field = SimulatedField(replace(spec, soil="SandyLoam", water_allowance_mm=600.0))
        day = 0
        while not field.is_finished:
            field.apply(25.0 if water and day >= 30 and day % 6 == 0 else 0.0, 200.0 * (nitrogen and day == 30))
            day += 1
        return field.outcome().yield_t_ha

    neither, water, both = grown(False, False), grown(True, False), grown(True, True)
    assert neither + 0.5 < water < both - 2


def test_the_truth_names_the_state_that_no_sensor_sees(lived: tuple[SimulatedField, list[str]]) -> None:
    truth = lived[0].truth()
    assert 0 <= truth["depletion_mm"] <= truth["taw_mm"]
    assert truth["root_depth_m"] == pytest.approx(2.3, abs=0.4)
    assert 0.05 < truth["vwc_75cm_m3_m3"] < 0.55
    assert truth["nitrogen_kg_ha"] == 150.0


@pytest.mark.parametrize("region", ["champion", "cordoba"])
def test_every_row_of_a_season_keeps_the_contract(region: str) -> None:
    spec = field_specs(region, 2006, 3, 7, "calendar")[2]
    tables: SeasonTables = live_season(spec, Calendar())[1]
    for table, rows in ((READINGS, tables.readings), (OPERATIONS, tables.operations), (HARVESTS, tables.harvests)):
        assert rows
        assert len({row["record_id"] for row in rows}) == len(rows)
        for row in rows:
            assert table.check(row, "test") == row
            assert set(row) == set(table.column_names)
            assert int(row["date"][:4]) in (2005, 2006)


def test_a_day_without_action_leaves_no_operation(spec: FieldSpec) -> None:
    field = SimulatedField(spec)
    assert field.operation(field.date, Applied(0.0, 0.0)) is None
    row = field.operation(field.date, Applied(12.0, 0.0), "recommendation")
    assert row is not None
    assert OPERATIONS.check(row, "test")["source"] == "recommendation"
