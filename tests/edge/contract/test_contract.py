"""A contract reads its predecessors: by name, one after the other, and says when it does not know one."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from fieldedge.contract import Column, Contract, EpisodeKey, Ordered, Record, Table, amendments
from fieldedge.system.errors import DataError
from fieldedge.workloads import known_workload, workload_names
from fieldedge.workloads.agriculture.upgrades import REVISION_2, REVISION_3

OLDEST, FORMER, UNKNOWN = "1" * 64, "2" * 64, "3" * 64


def _from_oldest(table: str, record: Record) -> Record:
    if table == "rain":
        record["rain_mm"] = record.pop("rain_cm") * 10.0
    return record


def _from_former(table: str, record: Record) -> Record:
    return record | {"basis": "assumed"} if table == "rain" else record


CONTRACT = Contract(
    workload="weather",
    revision=3,
    tables=(
        Table("rain", (Column("rain_mm", "float"), Column("basis", "str")), key=("rain_mm",)),
        Table("wind", (Column("wind_m_s", "float"),), key=("wind_m_s",)),
    ),
    features=(),
    outputs=(),
    upgrades={OLDEST: _from_oldest, FORMER: _from_former},
)


def test_a_record_of_the_oldest_contract_goes_through_every_one_after_it() -> None:
    assert CONTRACT.upgraded(OLDEST, "rain", {"rain_cm": 1.5}) == {"rain_mm": 15.0, "basis": "assumed"}


def test_a_record_of_the_contract_before_goes_through_the_last_upgrade_alone() -> None:
    assert CONTRACT.upgraded(FORMER, "rain", {"rain_mm": 15.0}) == {"rain_mm": 15.0, "basis": "assumed"}
    assert CONTRACT.upgraded(FORMER, "wind", {"wind_m_s": 3.0}) == {"wind_m_s": 3.0}


def test_a_record_of_today_stays_as_it_is() -> None:
    record = {"rain_mm": 15.0, "basis": "confirmed"}
    assert CONTRACT.upgraded(CONTRACT.hash, "rain", record) == record


def test_the_former_record_is_not_changed_by_its_upgrade() -> None:
    record = {"rain_cm": 1.5}
    CONTRACT.upgraded(OLDEST, "rain", record)
    assert record == {"rain_cm": 1.5}


def test_a_contract_reads_itself_and_what_it_upgrades() -> None:
    assert [CONTRACT.reads(known) for known in (CONTRACT.hash, OLDEST, FORMER, UNKNOWN)] == [True, True, True, False]


def test_a_record_of_an_unknown_contract_is_refused_with_what_to_do() -> None:
    with pytest.raises(DataError, match=r"333333333333… is none that weather .* install the version"):
        CONTRACT.upgraded(UNKNOWN, "rain", {"rain_mm": 15.0})


@pytest.mark.parametrize("record", [{}, {"rain_cm": None}, {"rain_cm": "much"}, {"rain_cm": {}}])
def test_a_record_that_its_upgrade_cannot_read_is_a_data_error(record: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="rain: a record of the contract 111111111111… cannot be read"):
        CONTRACT.upgraded(OLDEST, "rain", record)


def test_how_former_records_are_read_is_no_part_of_the_hash() -> None:
    assert replace(CONTRACT, upgrades={}).hash == CONTRACT.hash


@pytest.mark.parametrize("name", workload_names())
def test_no_workload_calls_its_own_contract_a_former_one(name: str) -> None:
    workload = known_workload(name)
    assert workload.contract.hash not in workload.contract.upgrades


def test_agriculture_reads_the_contract_that_data_before_upgrades_is_of() -> None:
    assert known_workload("agriculture").contract.reads(REVISION_2)


def test_agriculture_reads_what_devices_sent_before_they_learned_from_their_probes_as_it_was_said() -> None:
    contract = known_workload("agriculture").contract
    record = {"irrigation_mm": 20.0, "basis": "assumed", "x_depletion_mm": 61.0}
    for table in contract.tables:
        assert contract.upgraded(REVISION_3, table.name, record) == record


def test_digits_are_declared_and_a_column_that_asks_for_none_is_as_before() -> None:
    plain = Column("epoch_s", "float")
    rounded = replace(plain, digits=6)
    hashes = {Contract("w", 1, (Table("t", (column,), ()),), (), ()).hash for column in (plain, rounded)}
    assert len(hashes) == 2
    without = replace(plain, digits=None)
    assert Contract("w", 1, (Table("t", (plain,), ()),), (), ()).hash == (
        Contract("w", 1, (Table("t", (without,), ()),), (), ()).hash
    )


def test_a_stored_record_of_a_former_contract_is_known_by_its_columns() -> None:
    contract = known_workload("agriculture").contract
    names = contract.table("operations").column_names
    former = {name: "x" for name in names if name != "basis"}
    said = {source: contract.current("operations", {**former, "source": source})["basis"] for source in SOURCES}
    assert said == {"recommendation": "assumed", "override": "confirmed", "practice": "confirmed"}
    today = {**former, "source": "recommendation", "basis": "confirmed"}
    assert contract.current("operations", today) is today
    assert contract.current("operations", {"record_id": "broken"}) == {"record_id": "broken"}


SOURCES = ("recommendation", "override", "practice")


MACHINES = Contract(
    workload="machines",
    revision=1,
    tables=(
        Table("bearings", (Column("record_id", "str"), Column("machine", "str")), ("record_id",), role="context"),
        Table(
            "windows",
            (
                Column("record_id", "str"),
                Column("machine", "str"),
                Column("at", "str"),
                Column("low_g", "float", "g", is_nullable=True),
                Column("high_g", "float", "g"),
            ),
            ("record_id",),
            identity=("at",),
            rules=(Ordered("low_g", "high_g"),),
        ),
        Table(
            "stops",
            (Column("record_id", "str"), Column("machine", "str"), Column("minutes", "int")),
            ("record_id",),
            role="action",
            is_amendable=True,
        ),
    ),
    features=(),
    outputs=(),
    episode=EpisodeKey(("machine",), ("machine",), "stops"),
)
WINDOW = {"machine": "m-1", "at": "08:00", "low_g": 0.1, "high_g": 0.4}


def test_a_record_is_named_by_its_episode_its_table_and_what_tells_it_apart() -> None:
    assert MACHINES.record("windows", WINDOW, "here")["record_id"] == "m-1/windows/08:00"
    assert MACHINES.record("bearings", {"machine": "m-1"}, "here")["record_id"] == "m-1/bearings"
    assert MACHINES.tables_of("action", "observation") == ("windows", "stops")


def test_a_record_that_names_another_is_refused_and_one_that_is_said_again_is_not() -> None:
    with pytest.raises(DataError, match=r"here: record_id is 'm-2/windows/08:00'; this row's is 'm-1/windows/08:00'"):
        MACHINES.record("windows", {**WINDOW, "record_id": "m-2/windows/08:00"}, "here")
    again = amendments("m-1/stops")
    assert again[:2] == ("m-1/stops", "m-1/stops/2") and again[-1] == "m-1/stops/9"
    for named in again:
        record = MACHINES.record("stops", {"machine": "m-1", "minutes": 3, "record_id": named}, "here")
        assert record["record_id"] == named
    with pytest.raises(DataError, match="record_id is 'm-1/stops/10'"):
        MACHINES.record("stops", {"machine": "m-1", "minutes": 3, "record_id": "m-1/stops/10"}, "here")
    with pytest.raises(DataError, match="record_id"):
        MACHINES.record("windows", {**WINDOW, "record_id": "m-1/windows/08:00/2"}, "here")


def test_a_rule_between_columns_holds_where_both_are_there() -> None:
    with pytest.raises(DataError, match=r"low_g is 0\.5; expected that high_g is not below low_g"):
        MACHINES.record("windows", {**WINDOW, "low_g": 0.5}, "here")
    assert MACHINES.record("windows", {**WINDOW, "low_g": None}, "here")["low_g"] is None
    assert MACHINES.record("windows", {**WINDOW, "low_g": 0.4}, "here")["low_g"] == 0.4
    assert not Ordered("low_g", "high_g", is_strict=True).holds({"low_g": 0.4, "high_g": 0.4})


FLIGHTS = Contract(
    "flights",
    1,
    (
        Table("planes", (Column("plane", "str"), Column("built", "date")), ()),
        Table("checks", (Column("plane", "str"), Column("on", "date", is_nullable=True)), ()),
    ),
    (),
    (),
    EpisodeKey(("plane",), ("plane",), opens_with="built", max_days=30),
)
PLANE = {"record_id": "p-1/planes", "plane": "p-1", "built": "2006-02-27"}


@pytest.mark.parametrize("day", ["2006-02-27", "2006-03-29", None])
def test_a_dated_row_lies_in_its_episode_from_the_first_day_to_the_last(day: str | None) -> None:
    FLIGHTS.check_days("checks", {"plane": "p-1", "on": day}, PLANE, "here")


@pytest.mark.parametrize("day", ["2006-02-26", "2006-03-30", "2005-03-01", "2016-03-01"])
def test_a_dated_row_outside_its_episode_is_named_with_the_days_that_it_could_have(day: str) -> None:
    said = rf"here: checks: on is {day}, which is not in p-1; .* from built on 2006-02-27 on, at most 30 days later"
    with pytest.raises(DataError, match=said):
        FLIGHTS.check_days("checks", {"plane": "p-1", "on": day}, PLANE, "here")


def test_an_episode_without_a_first_day_has_every_day_and_one_without_a_length_every_later_one() -> None:
    assert EpisodeKey(("plane",)).has_day("1999-01-01", PLANE)
    endless = EpisodeKey(("plane",), opens_with="built")
    assert endless.has_day("2099-01-01", PLANE) and not endless.has_day("2006-02-26", PLANE)
    assert endless.window_words(PLANE) == "a day from built on 2006-02-27 on"


@pytest.mark.parametrize(
    "column", [Column("built", "date", is_nullable=True), Column("built", "str"), Column("made", "date")]
)
def test_a_contract_whose_episodes_open_with_what_may_be_empty_or_is_no_moment_is_refused(column: Column) -> None:
    planes, checks = FLIGHTS.tables
    opening = replace(planes, columns=(Column("plane", "str"), column), role="context")
    with pytest.raises(DataError, match="open with built; expected a column of that name in the table planes, of"):
        replace(FLIGHTS, tables=(opening, checks))
    replace(FLIGHTS, tables=(replace(planes, role="context"), checks))


def test_what_the_loop_makes_of_a_table_is_no_part_of_the_hash() -> None:
    plain = replace(
        MACHINES,
        tables=tuple(Table(table.name, table.columns, table.key) for table in MACHINES.tables),
        episode=EpisodeKey(),
    )
    assert plain.hash == MACHINES.hash
    once = tuple(replace(table, is_once_an_episode=True) for table in FLIGHTS.tables)
    assert replace(FLIGHTS, tables=once).hash == FLIGHTS.hash
    assert replace(FLIGHTS, episode=EpisodeKey()).hash == FLIGHTS.hash


@pytest.mark.parametrize("identity", [(), ("hour", "machine")])
def test_decisions_that_no_single_column_tells_apart_are_named_with_the_table(identity: tuple[str, ...]) -> None:
    columns = (Column("hour", "int", "h"), Column("machine", "str"))
    contract = Contract("kiosk", 1, (Table("offers", columns, (), role="decision", identity=identity),), (), ())
    with pytest.raises(DataError, match=r"the table offers of kiosk tells its rows apart by .*; expected one column"):
        contract.decided_at  # noqa: B018  (it is the error that is asked for)


def _timed(*columns: Column, identity: tuple[str, ...] = ()) -> Contract:
    return Contract("kiosk", 1, (Table("offers", columns, (), role="decision", identity=identity),), (), ())


AT, SINCE = Column("at_utc", "time"), Column("since", "date")


@pytest.mark.parametrize("value", ["2006-05-01T12:00:00Z", "2006-12-31T23:59:59Z", "0099-01-01T00:00:00Z"])
def test_a_time_has_one_form(value: str) -> None:
    assert AT.check(value, "here") == value


@pytest.mark.parametrize(
    "value",
    [
        *(
            "2006-05-01",
            "2006-05-01T12:00:00",
            "2006-05-01T12:00:00+00:00",
            "2006-05-01 12:00:00Z",
            "2006-05-01T12:00Z",
        ),
        *(
            "2006-05-01T12:00:00.5Z",
            "2006-05-01T24:00:00Z",
            "2006-02-30T12:00:00Z",
            "20060501T120000Z",
            "noon",
            5,
            None,
        ),
    ],
)
def test_any_other_form_of_a_time_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="at_utc"):
        AT.check(value, "here")


def test_a_moment_is_written_as_its_column_writes_it_and_cut_to_seconds() -> None:
    time = datetime(2006, 5, 2, 1, 30, 15, 500_000, tzinfo=timezone(timedelta(hours=2)))
    assert (AT.at(time), SINCE.at(time)) == ("2006-05-01T23:30:15Z", "2006-05-01")


def test_a_row_is_for_what_tells_it_apart_else_for_the_first_day_that_it_names() -> None:
    row = {"since": "2006-04-01", "at_utc": "2006-05-01T12:00:00Z"}
    apart, first = _timed(SINCE, AT, identity=("at_utc",)), _timed(SINCE, AT)
    assert (apart.moment("offers", row), apart.day("offers", row)) == ("2006-05-01T12:00:00Z", "2006-05-01")
    assert (first.moment("offers", row), first.day("offers", row)) == ("2006-04-01", "2006-04-01")
    assert apart.decided_at == AT
    with pytest.raises(DataError, match="offers has no column of kind date or time"):
        _timed(Column("hour", "int")).day("offers", {"hour": 5})


def test_a_time_lies_in_an_episode_as_its_day_does() -> None:
    opening = Table("kiosks", (Column("opened", "date"),), (), role="context")
    episode = EpisodeKey(opens_with="opened", max_days=1)
    contract = replace(_timed(AT), tables=(*_timed(AT).tables, opening), episode=episode)
    contract.check_days("offers", {"at_utc": "2006-05-02T23:59:59Z"}, {"opened": "2006-05-01"}, "here")
    with pytest.raises(DataError, match="at_utc is 2006-05-03T00:00:00Z, which is not in"):
        contract.check_days("offers", {"at_utc": "2006-05-03T00:00:00Z"}, {"opened": "2006-05-01"}, "here")


def test_an_episode_that_opens_with_a_time_begins_on_its_day() -> None:
    opening = Table("kiosks", (AT,), (), role="context")
    episode = EpisodeKey(opens_with="at_utc", max_days=1)
    contract = replace(_timed(AT), tables=(*_timed(AT).tables, opening), episode=episode)
    context = {"at_utc": "2006-05-01T22:00:00Z"}
    contract.check_days("offers", {"at_utc": "2006-05-01T08:00:00Z"}, context, "here")
    for outside in ("2006-04-30T23:59:59Z", "2006-05-03T00:00:00Z"):
        with pytest.raises(
            DataError, match=rf"at_utc is {outside}, .* expected a day from at_utc on 2006-05-01 on, at"
        ):
            contract.check_days("offers", {"at_utc": outside}, context, "here")
