"""What a technician records and reads at the device: overrides, the history, the status."""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.cli import main
from fieldedge.contract import Record
from fieldedge.contract.batches import pack, unpack
from fieldedge.contract.samples import FlaggedSample, Sample
from fieldedge.device.config import DeviceDirectory, read_config
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock, format_utc
from fieldedge.system.durable import write_durably
from fieldedge.system.errors import DataError, FieldloopError
from fieldedge.system.locks import exclusive
from fieldedge.transfer.updates import update
from fieldedge.workloads.agriculture.commands.history import as_lines
from fieldedge.workloads.agriculture.operations import check_day, override_record
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    EPISODE,
    FIELD_ID,
    SEASON,
    GatewaySimulator,
    Repository,
    bundle_files,
    dated,
    day_of,
    field_record,
    onnx_model,
    season_messages,
    zipped,
)

WHY = "the pump was broken"
OVERRIDE = ("override", "--date", day_of(2), "--irrigation-mm", "12.5", "--why", WHY)


@pytest.fixture
def lived(device: DeviceDirectory) -> DeviceDirectory:
    """A device in the middle of a season, on its fifth day."""
    with Store(device.store) as store:
        agent = Agent(read_config(device.settings), AGRICULTURE, store, None)
        list(agent.answers(json.dumps(message) for message in season_messages(5, harvest_t_ha=None)))
    return device


def call(capsys: Any, device: DeviceDirectory, command: str, *arguments: str) -> tuple[int, Any, str]:
    code = main([command, "--dir", str(device.root), "--json", *arguments])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else None, captured.err


def shown(capsys: Any, device: DeviceDirectory, command: str, *arguments: str) -> list[str]:
    """What a person sees on a terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True)
        assert main([command, "--dir", str(device.root), *arguments]) == 0
    return list(capsys.readouterr().out.splitlines())


def operations(device: DeviceDirectory) -> dict[str, Record]:
    with Store(device.store) as store:
        return {record["date"]: record for record in store.records(EPISODE, "operations")}


# Overrides


def test_an_override_is_what_was_done_with_its_reason_beside_it(lived: DeviceDirectory, capsys: Any) -> None:
    code, said, _ = call(capsys, lived, *OVERRIDE, "--nitrogen-kg-ha", "40")
    record = operations(lived)[day_of(2)]
    assert (code, said["outcome"], said["record"]) == (0, "recorded", record)
    assert {name: record[name] for name in ("irrigation_mm", "nitrogen_kg_ha", "source", "why", "field_id")} == {
        "irrigation_mm": 12.5,
        "nitrogen_kg_ha": 40.0,
        "source": "override",
        "why": WHY,
        "field_id": FIELD_ID,
    }
    with Store(lived.store) as store:
        (event,) = store.events(1)
    assert (event["kind"], WHY in event["text"], event["record_id"]) == ("override", True, record["record_id"])


def test_the_reason_stays_on_the_device_and_the_amounts_go_home(lived: DeviceDirectory, capsys: Any) -> None:
    call(capsys, lived, *OVERRIDE)
    record = operations(lived)[day_of(2)]
    (packed,) = unpack(pack({}, {"operations": [record]}, AGRICULTURE.contract))["tables"]["operations"]
    assert packed == {name: value for name, value in record.items() if name != "why"}


def test_the_same_override_again_changes_nothing(lived: DeviceDirectory, capsys: Any) -> None:
    call(capsys, lived, *OVERRIDE)
    before = operations(lived)
    assert call(capsys, lived, *OVERRIDE)[1]["outcome"] == "unchanged"
    assert operations(lived) == before
    with Store(lived.store) as store:
        assert store.events(1)[0]["times"] == 1


def test_a_better_override_corrects_the_former_one_and_keeps_it(lived: DeviceDirectory, capsys: Any) -> None:
    call(capsys, lived, *OVERRIDE)
    code, said, _ = call(capsys, lived, "override", "--date", day_of(2), "--nothing", "--why", "it rained")
    assert (code, said["outcome"], said["former"]["irrigation_mm"]) == (0, "corrected", 12.5)
    assert (operations(lived)[day_of(2)]["irrigation_mm"], operations(lived)[day_of(2)]["why"]) == (0.0, "it rained")
    with Store(lived.store) as store:
        assert store.events(1, "replaced")[0]["former"]["why"] == WHY


def test_an_override_takes_the_place_of_what_was_assumed(lived: DeviceDirectory, capsys: Any) -> None:
    assumed = operations(lived)[day_of(3)]
    code, said, _ = call(capsys, lived, "override", "--date", day_of(3), "--irrigation-mm", "5", "--why", WHY)
    assert (code, said["outcome"], said["former"]) == (0, "corrected", assumed)


def test_what_went_home_stays_as_it_is_and_a_correction_is_one_more_record_that_counts(
    lived: DeviceDirectory, gateway: GatewaySimulator, capsys: Any
) -> None:
    call(capsys, lived, *OVERRIDE)
    assert main(["sync", "--dir", str(lived.root), "--gateway", gateway.url]) == 0
    capsys.readouterr()
    with Store(lived.store) as store:
        before = store.records(EPISODE, "operations")
    assert call(capsys, lived, *OVERRIDE)[1]["outcome"] == "unchanged"
    for _ in range(2):
        code, out, _ = call(capsys, lived, "override", "--date", day_of(2), "--nothing", "--why", "a mistake")
        assert (code, out["record"]["irrigation_mm"]) == (0, 0.0)
    with Store(lived.store) as store:
        (added,) = (record for record in store.records(EPISODE, "operations") if record not in before)
        assert [record for record in store.records(EPISODE, "operations") if record != added] == before
    assert added["record_id"] == f"{out['record']['record_id']}/2"
    assert (added["irrigation_mm"], added["basis"], added["why"]) == (0.0, "confirmed", "a mistake")
    (day,) = (day for day in call(capsys, lived, "history", "--days", "60")[1]["days"] if day["date"] == day_of(2))
    assert (day["done_irrigation_mm"], day["why"]) == (0.0, "a mistake")
    assert main(["sync", "--dir", str(lived.root), "--gateway", gateway.url]) == 0
    last = unpack(list(gateway.received.values())[-1])["tables"]["operations"]
    assert [record["record_id"] for record in last] == [added["record_id"]]


def test_what_was_assumed_is_confirmed_before_and_after_it_went_home(
    lived: DeviceDirectory, gateway: GatewaySimulator, capsys: Any
) -> None:
    with Store(lived.store) as store:
        for day in (1, 2):
            amounts = {"irrigation_mm": 20.0, "nitrogen_kg_ha": 0.0, "source": "recommendation"}
            store.add("operations", dated("operations", day, **amounts, basis="assumed"))
    assert call(capsys, lived, "confirm", "--date", day_of(1))[1]["outcome"] == "confirmed"
    assert call(capsys, lived, "confirm", "--date", day_of(1))[1]["outcome"] == "unchanged"
    assert main(["sync", "--dir", str(lived.root), "--gateway", gateway.url]) == 0
    capsys.readouterr()
    assert call(capsys, lived, "confirm", "--date", day_of(2))[1]["outcome"] == "confirmed"
    assert call(capsys, lived, "confirm", "--date", day_of(2))[1]["outcome"] == "unchanged"
    assert main(["sync", "--dir", str(lived.root), "--gateway", gateway.url]) == 0
    tables = [unpack(body)["tables"].get("operations", []) for body in gateway.received.values()]
    said = {r["record_id"].split("/operations/")[1]: r["basis"] for rows in tables for r in rows}
    assert (said[day_of(1)], said[day_of(2)], said[f"{day_of(2)}/2"]) == ("confirmed", "assumed", "confirmed")


def test_there_is_nothing_to_confirm_of_a_day_on_which_nothing_was_advised(lived: DeviceDirectory, capsys: Any) -> None:
    code, _, err = call(capsys, lived, "confirm", "--date", day_of(10))
    assert (code, "fieldedge override" in err) == (1, True)


def test_the_service_may_note_the_recommendation_as_done_in_the_same_moment(
    lived: DeviceDirectory, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_add = Store.add

    def add_after_the_service(self: Store, table: str, record: Record, **rest: Any) -> bool:
        if record.get("source") == "override":
            real_add(self, table, {**record, "source": "recommendation", "irrigation_mm": 30.0})
        return real_add(self, table, record, **rest)

    monkeypatch.setattr(Store, "add", add_after_the_service)
    code, said, _ = call(capsys, lived, *OVERRIDE)
    assert (code, said["outcome"], said["former"]["source"]) == (0, "corrected", "recommendation")
    assert operations(lived)[day_of(2)]["source"] == "override"


def test_the_next_decision_knows_what_was_really_done(lived: DeviceDirectory, capsys: Any) -> None:
    call(capsys, lived, "override", "--date", day_of(3), "--irrigation-mm", "44", "--why", WHY)
    with Store(lived.store) as store:
        agent = Agent(read_config(lived.settings), AGRICULTURE, store, None)
        assert agent.decide(day_of(5))["x_irrigation_season_mm"] == 44.0


def test_a_running_agent_sees_an_override_of_another_process(lived: DeviceDirectory, capsys: Any) -> None:
    with Store(lived.store) as store:
        agent = Agent(read_config(lived.settings), AGRICULTURE, store, None)
        agent.decide(day_of(5))
        call(capsys, lived, *OVERRIDE)
        assert agent.decide(day_of(6))["x_irrigation_season_mm"] == 32.5


def test_a_running_agent_sees_a_correction_by_another_process(lived: DeviceDirectory, capsys: Any) -> None:
    with Store(lived.store) as store:
        agent = Agent(read_config(lived.settings), AGRICULTURE, store, None)
        agent.decide(day_of(5))
        call(capsys, lived, "override", "--date", day_of(3), "--irrigation-mm", "44", "--why", WHY)
        assert agent.decide(day_of(6))["x_irrigation_season_mm"] == 44.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--why", WHY], "expected --irrigation-mm, --nitrogen-kg-ha, both, or --nothing"),
        (["--nothing", "--irrigation-mm", "3", "--why", WHY], "give one or the other"),
        (["--date", day_of(2), "--irrigation-mm", "151", "--why", WHY], "irrigation_mm is 151.0"),
        (["--date", day_of(2), "--irrigation-mm", "-1", "--why", WHY], "irrigation_mm is -1.0"),
        (["--date", day_of(2), "--irrigation-mm", "nan", "--why", WHY], "irrigation_mm is missing"),
        (["--date", day_of(2), "--irrigation-mm", "inf", "--why", WHY], "irrigation_mm is inf"),
        (["--date", day_of(2), "--nitrogen-kg-ha", "301", "--why", WHY], "nitrogen_kg_ha is 301.0"),
        (["--date", "2 May", "--irrigation-mm", "3", "--why", WHY], "--date: date is '2 May'; expected a date like"),
        (
            ["--date", "20060502", "--irrigation-mm", "3", "--why", WHY],
            "date is '20060502'; expected a date like",
        ),
        (["--date", day_of(-1), "--irrigation-mm", "3", "--why", WHY], "which was planted on 2006-05-01"),
        (["--date", day_of(401), "--irrigation-mm", "3", "--why", WHY], "is not in season 2006"),
        (["--date", "2099-01-01", "--irrigation-mm", "3", "--why", WHY], "is still to come"),
        (["--date", day_of(2), "--irrigation-mm", "3", "--why", "  "], "expected a reason"),
        (["--date", day_of(2), "--irrigation-mm", "3", "--why", "x" * 301], "expected a reason"),
    ],
)
def test_an_override_that_cannot_be_true_is_named_and_not_stored(
    lived: DeviceDirectory, capsys: Any, arguments: list[str], said: str
) -> None:
    before = operations(lived)
    code, out, err = call(capsys, lived, "override", *arguments)
    assert (code, out) == (1, None)
    assert said in err
    assert operations(lived) == before


def test_today_is_the_day_of_the_devices_own_time(lived: DeviceDirectory, capsys: Any) -> None:
    """The system clock may be wrong; a floor in the future says how far time has run."""
    floor = (datetime.now(UTC) + timedelta(days=30)).replace(hour=12)  # the day is not over before it is asked for
    write_durably(lived.clock_floor, json.dumps({"floor_utc": format_utc(floor), "boot_id": "x"}).encode())
    code, _, err = call(capsys, lived, "override", "--irrigation-mm", "3", "--why", WHY)
    assert code == 1
    assert f"{floor.date()} is not in season 2006" in err


@pytest.fixture
def told_ahead(lived: DeviceDirectory) -> DeviceDirectory:
    """In the middle of its season, a device is told next year's field."""
    with Store(lived.store) as store:
        store.add("fields", field_record(SEASON + 1))
    return lived


def test_a_day_is_of_its_own_season_whatever_was_told_last(told_ahead: DeviceDirectory, capsys: Any) -> None:
    with Store(told_ahead.store) as store:
        store.add("operations", dated("operations", 1, irrigation_mm=4.0, nitrogen_kg_ha=0.0, source="practice"))
    assert call(capsys, told_ahead, *OVERRIDE)[1]["record"]["season"] == SEASON
    assert call(capsys, told_ahead, "confirm", "--date", day_of(1))[1]["record"]["season"] == SEASON


def test_the_history_is_that_of_the_season_of_today(
    told_ahead: DeviceDirectory, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clock, "now", lambda _: datetime(2006, 5, 6, tzinfo=UTC))
    assert call(capsys, told_ahead, "history")[1]["season"] == SEASON


def test_nothing_is_recorded_after_the_harvest() -> None:
    harvests = [{"field_id": FIELD_ID, "date": day_of(120)}]
    today = datetime(2006, 12, 1, tzinfo=UTC).date()
    check_day(day_of(120), field_record(), harvests, today)
    with pytest.raises(DataError, match="after the harvest"):
        check_day(day_of(121), field_record(), harvests, today)


@given(
    irrigation_mm=st.floats(), nitrogen_kg_ha=st.floats(), day=st.text(max_size=12) | st.dates().map(str), why=st.text()
)
def test_an_override_is_either_a_sound_record_or_refused(
    irrigation_mm: float, nitrogen_kg_ha: float, day: str, why: str
) -> None:
    try:
        record = override_record(field_record(), day, irrigation_mm, nitrogen_kg_ha, why, AGRICULTURE.contract)
    except FieldloopError:
        return
    assert AGRICULTURE.contract.table("operations").check(record, "") == {k: v for k, v in record.items() if k != "why"}
    assert record["why"].strip()


def test_a_person_reads_what_was_recorded(lived: DeviceDirectory, capsys: Any) -> None:
    assert shown(capsys, lived, *OVERRIDE) == [f"{day_of(2)}: 12.5 mm of water ({WHY}): recorded."]
    assert shown(capsys, lived, "override", "--date", day_of(2), "--nothing", "--why", "it rained") == [
        f"{day_of(2)}: nothing was applied (it rained): corrected.",
        "It was 12.5 mm of water before (override).",
    ]


def test_a_device_that_knows_no_field_says_what_to_do(device: DeviceDirectory, capsys: Any) -> None:
    for command in (OVERRIDE, ("history",)):
        code, _, err = call(capsys, device, *command)
        assert code == 1
        assert "fieldedge import --messages FILE" in err


# The history


def test_the_history_has_a_line_a_day(lived: DeviceDirectory, capsys: Any) -> None:
    call(capsys, lived, *OVERRIDE)
    code, said, _ = call(capsys, lived, "history")
    assert (code, said["season"], said["field_id"]) == (0, SEASON, FIELD_ID)
    assert [day["date"] for day in said["days"]] == [day_of(n) for n in range(5)]
    overridden = said["days"][2]
    assert (overridden["done_irrigation_mm"], overridden["done_by"], overridden["why"]) == (12.5, "override", WHY)
    assert said["days"][0]["done_by"] is None
    assert all(day["recommended_by"] == "fao56" for day in said["days"])
    assert all(isinstance(day["rain_mm"], float) and isinstance(day["depletion_mm"], float) for day in said["days"])


def test_the_history_shows_days_without_anything_as_such(lived: DeviceDirectory, capsys: Any) -> None:
    call(capsys, lived, "override", "--date", day_of(8), "--nothing", "--why", WHY)
    _, said, _ = call(capsys, lived, "history", "--days", "5")
    assert [day["date"] for day in said["days"]] == [day_of(n) for n in range(4, 9)]
    assert said["days"][2] == dict.fromkeys(said["days"][2]) | {"date": day_of(6)}


def test_an_earlier_season_can_be_asked_for(lived: DeviceDirectory, capsys: Any) -> None:
    with Store(lived.store) as store:
        agent = Agent(read_config(lived.settings), AGRICULTURE, store, None)
        list(agent.answers(json.dumps(message) for message in season_messages(2, SEASON + 1)))
    assert call(capsys, lived, "history")[1]["season"] == SEASON + 1
    assert len(call(capsys, lived, "history", "--season", str(SEASON))[1]["days"]) == 5
    code, _, err = call(capsys, lived, "history", "--season", "1999")
    assert (code, "it has 2006, 2007" in err) == (1, True)


@pytest.mark.parametrize("days", ["0", "-1", "401"])
def test_a_history_of_no_days_is_refused(lived: DeviceDirectory, capsys: Any, days: str) -> None:
    assert "expected between 1 and 400" in call(capsys, lived, "history", "--days", days)[2]


def test_a_person_reads_an_aligned_table(lived: DeviceDirectory, capsys: Any) -> None:
    call(capsys, lived, *OVERRIDE)
    first, *table = shown(capsys, lived, "history")
    assert first == f"Field {FIELD_ID}, season {SEASON}, planted {day_of(0)}"
    assert len(table) == 2 + 5
    assert table[1].split() == ["mm", "kg", "N/ha", "mm", "kg", "N/ha", "mm", "mm"]
    (overridden,) = (line for line in table if line.startswith(day_of(2)))
    assert overridden.endswith(WHY)
    rain = table[0].index("rain") + len("rain")
    assert all(line[rain - 1].strip() for line in table[1:])
    assert all(line[rain : rain + 2].strip() == "" for line in table)


def test_a_season_without_days_is_said_in_words() -> None:
    assert as_lines([]) == ["Nothing has been stored of this season yet."]


# The status


def samples() -> list[FlaggedSample]:
    now = datetime.now(UTC)
    times = [format_utc(now - timedelta(minutes=15 * n + 2)) for n in range(10)]
    return [
        FlaggedSample(Sample("station", time, {"air_temperature_c": 20.5}), {"air_temperature_c": flag})
        for time, flag in zip(times, ["spike", "spike", *["good"] * 8], strict=True)
    ]


@pytest.fixture
def at_work(lived: DeviceDirectory, repository: Repository, gateway: GatewaySimulator) -> DeviceDirectory:
    """A device with a model, a source, a gateway, samples, and a batch that went home."""
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract), "7")))
    update(lived, AGRICULTURE.contract, gateway.url)
    lived.settings.write_text(
        lived.settings.read_text()
        + f'[site]\nlatitude_deg = 41\nelevation_m = 100\n[link]\ngateway = "{gateway.url}"\n'
        + '[[source]]\nname = "station"\nkind = "folder"\nformat = "toa5"\npath = "inbox"\n'
    )
    with Store(lived.store) as store:
        store.add_samples(samples())
        store.add_event("link_sync", "sync: 21 records of season 2006 are acknowledged")
        store.add_event("evicted", "made room: 3 samples")
    return lived


def test_the_status_holds_all_that_a_program_asks_for(
    at_work: DeviceDirectory, gateway: GatewaySimulator, capsys: Any
) -> None:
    _, said, _ = call(capsys, at_work, "status")
    assert (said["device_id"], said["workload"], said["contract_hash"]) == (
        DEVICE_ID,
        "agriculture",
        AGRICULTURE.contract.hash,
    )
    assert (said["model"]["version"], said["rejected"], said["waiting"]) == ("7", 0, 0)
    assert said["records"] == {"stored": said["seasons"][0]["records_collected"]}
    assert said["sources"] == [{"name": "station", "kind": "folder", "format": "toa5"}]
    assert said["link"]["gateway"] == gateway.url
    assert said["link"]["last_sync_utc"] is not None and said["link"]["last_update_utc"] is None
    assert said["store"]["max_bytes"] == 200_000_000 and said["store"]["used_bytes"] > 0
    assert said["clock"]["is_trusted"] in (True, False)
    assert (said["advice"]["date"], said["advice"]["is_fallback"]) == (day_of(4), True)
    (logger,) = said["loggers"]
    (channel,) = logger["channels"]
    assert (channel["samples"], channel["good"], channel["last_flag"]) == (10, 8, "spike")
    assert said["events"][0]["text"] == "made room: 3 samples"
    assert said["is_serving"] is False


def test_the_status_tells_whether_the_service_runs(at_work: DeviceDirectory, capsys: Any) -> None:
    with exclusive(at_work.lock("run")):
        assert call(capsys, at_work, "status")[1]["is_serving"] is True


def test_a_time_that_is_not_believed_stands_in_the_status(lived: DeviceDirectory, capsys: Any) -> None:
    floor = (datetime.now(UTC) + timedelta(days=30)).replace(hour=12)  # the day is not over before it is asked for
    write_durably(lived.clock_floor, json.dumps({"floor_utc": format_utc(floor), "boot_id": "x"}).encode())
    _, said, _ = call(capsys, lived, "status")
    if said["clock"]["is_trusted"]:
        pytest.skip("a time service keeps this machine's clock")
    assert "not believed" in said["clock"]["note"]
    assert said["clock"]["now_utc"][:10] == floor.date().isoformat()


def test_a_person_reads_the_status_without_a_brace(
    at_work: DeviceDirectory, gateway: GatewaySimulator, capsys: Any
) -> None:
    lines = shown(capsys, at_work, "status")
    text = "\n".join(lines)
    assert lines[0].startswith(f"{DEVICE_ID}  Maize on ")
    assert not set("{}[]") & set(text)
    assert [line for line in lines if line and not line.startswith(" ")][1:] == [
        "Advice",
        "Sensors",
        "Device",
        "Events",
    ]
    assert "sources: station (folder, toa5)" in text
    assert "20.5 °C" in text and "2 of the last 10 bad (spike)" in text
    assert "7 (float32), slot a" in text
    assert gateway.url in text
    assert "made room: 3 samples" in text
    assert all(len(line) <= 120 for line in lines)


def test_a_device_that_was_just_set_up_says_what_comes_next(device: DeviceDirectory, capsys: Any) -> None:
    lines = shown(capsys, device, "status")
    assert lines[0] == f"{DEVICE_ID}  no field yet"
    assert any(line.startswith("  > ") for line in lines)
    assert any("none: the FAO-56 balance decides" in line for line in lines)


def test_a_damaged_model_stands_in_the_status(at_work: DeviceDirectory, capsys: Any) -> None:
    (at_work.root / "slots" / "a" / "model.onnx").write_bytes(b"")
    assert "run fieldedge update" in call(capsys, at_work, "status")[1]["model"]["error"]
    assert "run fieldedge update" in " ".join(" ".join(shown(capsys, at_work, "status")).split())
