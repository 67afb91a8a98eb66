"""The service, stepped by hand: samples become days, days become decisions, and nothing that fails stops the rest."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fieldedge.cli import main
from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.bundles import MODEL
from fieldedge.page.view import read_view
from fieldedge.runtime.service import serve
from fieldedge.system.errors import ConfigError
from fieldedge.system.watchdog import Watchdog
from fieldedge.workloads import read_device
from tests.edge.farm import SETTINGS, Farm
from tests.edge.patience import PATIENCE_S
from tests.edge.sample import AGRICULTURE, GatewaySimulator, Repository, bundle_files, field_record, onnx_model, zipped


@pytest.fixture
def farm(device: DeviceDirectory) -> Iterator[Farm]:
    farm = Farm(device)
    farm.plant()
    yield farm
    farm.close()


def release(repository: Repository, version: str = "1", seed: int = 0) -> None:
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract, seed=seed), version)))


def test_a_day_of_samples_becomes_one_reading_and_the_next_mornings_decision_has_seen_it(farm: Farm) -> None:
    farm.live(1.5)
    (reading,) = farm.records("readings")
    assert reading["date"] == "2006-05-01"
    assert 11.5 < reading["tmin_c"] < 13 < 27 < reading["tmax_c"] < 28.5
    assert 3.0 < reading["et0_mm"] < 7.0
    assert reading["vwc_15cm_m3_m3"] == pytest.approx(0.18, abs=0.003)
    assert [advice["date"] for advice in farm.records("recommendations")] == ["2006-05-01", "2006-05-02"]
    assert farm.records("recommendations")[-1]["data_age_days"] == 0


def test_a_restart_decides_no_day_twice_and_keeps_what_is_known(farm: Farm) -> None:
    farm.live(3.4)
    before = farm.records("recommendations"), farm.records("readings")
    farm.reboot()
    farm.step()
    assert (farm.records("recommendations"), farm.records("readings")) == before
    farm.live(1)
    assert len(farm.records("recommendations")) == len(before[0]) + 1


def test_what_was_recommended_counts_as_done_unless_somebody_said_otherwise(farm: Farm) -> None:
    farm.live(2)
    advised = {a["date"] for a in farm.records("recommendations") if a["irrigation_mm"] + a["nitrogen_kg_ha"] > 0}
    assert "2006-05-01" in advised, "nitrogen falls due at planting"
    done = {operation["date"]: operation["source"] for operation in farm.records("operations")}
    assert {operation["basis"] for operation in farm.records("operations")} == {"assumed"}
    assert done["2006-05-01"] == "recommendation"


@pytest.mark.parametrize("is_known", [True, False], ids=["told again", "told for the first time"])
def test_a_former_seasons_field_moves_no_reading_and_no_decision_of_today(
    device: DeviceDirectory, is_known: bool
) -> None:
    farm = Farm(device, datetime(2007, 5, 1, 0, 5, tzinfo=UTC))
    former = {"kind": "field", "record": field_record(2006)}
    if is_known:
        farm.write(former)
    farm.plant()
    farm.live(0.5)
    farm.write(former)
    farm.live(2)
    assert [reading["date"] for reading in farm.records("readings")] == ["2007-05-01", "2007-05-02"]
    assert [advice["date"] for advice in farm.records("recommendations")][-1] == "2007-05-03"
    assert farm.service.store.records(2006, "readings") == farm.service.store.records(2006, "recommendations") == []
    farm.close()


def test_a_day_is_of_the_season_that_was_planted_last_before_it(device: DeviceDirectory) -> None:
    """Next year's field is described already, and this year's goes on; then the day of its planting comes.

    Where no winter comes between, a field that is planted in May can be of the next year.
    """
    farm = Farm(device, settings=SETTINGS.replace("41.4", "10.4"))
    farm.plant()
    farm.write({"kind": "field", "record": {**field_record(2007), "planting_date": "2006-05-04"}})
    farm.live(4.5)
    store = farm.service.store
    assert [reading["date"] for reading in store.records(2006, "readings")] == [f"2006-05-0{day}" for day in (1, 2, 3)]
    assert [advice["date"] for advice in store.records(2007, "recommendations")] == ["2006-05-04", "2006-05-05"]
    farm.close()


def test_an_override_by_another_process_is_seen_by_the_next_decision(farm: Farm) -> None:
    farm.live(0.5)
    arguments = ["--date", "2006-05-01", "--irrigation-mm", "17", "--why", "the pump was tested"]
    assert main(["override", "--dir", str(farm.directory.root), *arguments]) == 0
    farm.live(1)
    (operation,) = [row for row in farm.records("operations") if row["date"] == "2006-05-01"]
    assert (operation["irrigation_mm"], operation["source"]) == (17.0, "override")
    assert farm.records("recommendations")[-1]["x_irrigation_season_mm"] == 17.0


def test_samples_that_come_late_correct_a_reading_that_was_not_sent(farm: Farm) -> None:
    farm.live(2.2)
    first = farm.records("readings")[0]
    assert first["rain_mm"] == 0.0
    farm.write({"time": "2006-05-01T12:17:00Z", "air_temperature_c": 22.0, "rain_mm": 9.0})
    farm.live(0.1)
    assert farm.records("readings")[0]["rain_mm"] == 9.0
    assert any("came late" in text for text in farm.events("replaced"))


def test_two_tips_within_a_second_are_both_rain_and_a_day_ends_a_little_after_midnight(farm: Farm) -> None:
    farm.live(0.5)
    tips = {
        "00:00:00.25Z": 1.0,  # of the day before, whose last interval the logger has just ended
        "00:00:10Z": 8.0,
        "08:15:00Z": 0.2,
        "08:15:00.5Z": 0.2,
        "08:15:00.500001Z": 0.4,
    }
    farm.write(*({"time": f"2006-05-01T{time}", "rain_mm": rain} for time, rain in tips.items()))
    farm.live(0.5)
    farm.write({"time": "2006-05-01T23:59:59.999999Z", "rain_mm": 2.0})
    farm.write({"time": "2006-05-02T00:00:00.5Z", "rain_mm": 4.0})
    farm.live(0.5)
    assert farm.records("readings")[0]["rain_mm"] == pytest.approx(8.0 + 0.8 + 2.0 + 4.0)
    assert farm.service.store.rejects() == []


def test_three_weeks_of_silence_end_in_the_agronomic_rule_that_says_so_and_the_model_comes_back(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    release(repository)
    assert main(["update", "--dir", str(device.root), "--gateway", gateway.url]) == 0
    farm = Farm(device)
    farm.plant()
    farm.live(8.5)
    assert farm.records("recommendations")[-1]["source"] == "model"
    farm.live(21, is_heard=False)
    silent = farm.records("recommendations")[-1]
    assert silent["source"] == "fao56"
    assert "days old" in silent["reasons"][0]
    assert silent["data_age_days"] == 21
    farm.live(9)
    assert farm.records("recommendations")[-1]["source"] == "model"
    farm.close()


def test_a_model_that_another_process_installs_is_used_from_then_on(
    farm: Farm, repository: Repository, gateway: GatewaySimulator
) -> None:
    farm.live(0.5)
    assert farm.records("recommendations")[-1]["model_version"] == "none"
    release(repository, "7")
    assert main(["update", "--dir", str(farm.directory.root), "--gateway", gateway.url]) == 0
    farm.live(1)
    assert farm.records("recommendations")[-1]["model_version"] == "7"
    assert "model 7 (float32) is in use from now on" in farm.events("model")


def test_a_source_that_cannot_be_read_is_told_and_the_other_one_goes_on(device: DeviceDirectory) -> None:
    with device.settings.open("a") as file:
        file.write(
            "[site]\nlatitude_deg = 41.4\nelevation_m = 465\n[page]\nis_on = false\n"
            '[[source]]\nname = "broken"\nkind = "folder"\npath = "nowhere"\n'
            '[[source]]\nname = "station"\nkind = "folder"\npath = "inbox"\n'
        )
    farm = Farm(device)
    farm.plant()
    farm.live(1.2)
    assert len(farm.records("readings")) == 1
    told = [*farm.events("step"), *farm.events("source")]
    assert any("broken" in text and "nowhere" in text for text in told)
    farm.close()


def test_rubbish_is_kept_with_its_reason_and_the_season_goes_on(farm: Farm) -> None:
    farm.write(
        "not json", '{"time": "yesterday"}', '{"kind": "dance"}', '{"time": 12, "air_temperature_c": "hot"}', "[]"
    )
    farm.live(1.2)
    assert len(farm.service.store.rejects()) >= 4
    assert all(reject["error"] for reject in farm.service.store.rejects())
    assert len(farm.records("readings")) == 1


@pytest.mark.parametrize("jump", [timedelta(days=365), timedelta(days=-365)])
def test_a_clock_that_jumps_a_year_in_mid_season_is_not_believed_and_corrected_when_time_can_be_trusted(
    farm: Farm, jump: timedelta
) -> None:
    farm.live(2.5)
    farm.clock.system_offset = jump
    farm.live(3)
    dates = [advice["date"] for advice in farm.records("recommendations")]
    assert dates == [f"2006-05-0{day}" for day in range(1, 7)]
    assert farm.events("clock")
    assert len(farm.records("readings")) == 5
    farm.clock.system_offset, farm.clock.is_synchronised = timedelta(0), True
    farm.live(1)
    assert [advice["date"] for advice in farm.records("recommendations")][-1] == "2006-05-07"


def test_the_link_sends_and_updates_by_itself_and_a_gateway_that_is_away_costs_nothing(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    release(repository, "3")
    with device.settings.open("a") as file:
        file.write(f'[link]\ngateway = "{gateway.url}"\n')
    farm = Farm(device)
    farm.plant()
    assert farm.service.link is not None
    gateway.behave = lambda _: (500, {"error": "out of order"})
    farm.service.link.step()
    assert any("sync failed" in text for text in farm.events("link"))
    farm.live(0.5)
    gateway.behave = None
    farm.service.link.step()
    assert gateway.received
    assert farm.service.store.states().get("acknowledged", 0) >= 1
    assert farm.records("recommendations")[-1]["model_version"] == "3"
    assert farm.service.state()["link"]["last_sync_utc"].startswith("2006-05-01")
    farm.close()


def test_the_events_and_the_page_say_which_model_truly_decides(
    farm: Farm, repository: Repository, gateway: GatewaySimulator
) -> None:
    directory = farm.directory
    for version in ("1", "2"):
        release(repository, version, seed=int(version))
        assert main(["update", "--dir", str(directory.root), "--gateway", gateway.url]) == 0
    (directory.root / "slots" / "b" / MODEL).write_bytes(b"rotten")
    farm.live(0.5)
    assert farm.records("recommendations")[-1]["model_version"] == "1"
    (said,) = farm.events("model")
    assert said.startswith("model 1 (float32) is in use from now on; ") and "model.onnx has sha256" in said
    view = read_view(directory, *read_device(directory), farm.clock.true, farm.service.store)
    assert (view.model.version, view.model.slot) == ("1", "a")
    assert any("model.onnx has sha256" in notice.text for notice in view.notices)
    (directory.root / "slots" / "a" / MODEL).write_bytes(b"rotten too")
    release(repository, "3", seed=3)
    farm.reboot()
    farm.live(0.1)
    assert any("no model is in use: the workload's rule decides" in text for text in farm.events("model"))


def test_an_update_that_hangs_stops_neither_the_sending_nor_the_field_and_is_shown(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, capsys: Any
) -> None:
    release(repository, "2")
    assert main(["update", "--dir", str(device.root), "--gateway", gateway.url]) == 0
    with device.settings.open("a") as file:
        file.write(f'[link]\ngateway = "{gateway.url}"\n')
    hangs = threading.Event()

    def drips(path: str) -> bool:
        if path.endswith("timestamp.json"):
            hangs.set()
        return path.endswith("timestamp.json")

    gateway.drips = drips
    farm = Farm(device)
    farm.plant()
    stop, seen, shown = threading.Event(), threading.Event(), list[dict[str, Any]]()

    def answer(body: bytes) -> tuple[int, Any]:
        seen.wait(PATIENCE_S)  # whoever verifies the answer may need the update's place, which then gives way
        return gateway.store(body)

    def watch() -> None:
        hangs.wait(PATIENCE_S)
        shown.extend(farm.service.state()["steps"])
        main(["status", "--dir", str(device.root), "--json"])
        seen.set()
        while not gateway.received and not stop.wait(0.05):
            pass
        stop.set()

    gateway.behave = answer
    watcher = threading.Thread(target=watch)
    watcher.start()
    serve(farm.service, stop, Watchdog())
    watcher.join()
    gateway.drips = None
    assert gateway.received, "the field's record went home meanwhile"
    (update,) = [step for step in shown if step["name"] == "update"]
    assert update["running_s"] is not None and update["doing"].startswith("reading what http")
    told = json.loads(capsys.readouterr().out.splitlines()[-1])["under_way"]["update"]
    assert told["doing"].startswith("reading what http") and told["running_s"] >= 0.0
    farm.close()


def test_the_page_is_served_by_the_service(device: DeviceDirectory) -> None:
    import urllib3

    with device.settings.open("a") as file:
        file.write("[site]\nlatitude_deg = 41.4\nelevation_m = 465\n[page]\nport = 0\n")
    farm = Farm(device)
    farm.step()
    assert farm.service._page is not None
    answer = urllib3.request("GET", farm.service._page.url + "/status.json")
    assert answer.status == 200
    assert json.loads(answer.data)
    farm.close()


def test_sources_without_a_site_are_refused_by_name(device: DeviceDirectory) -> None:
    with device.settings.open("a") as file:
        file.write('[[source]]\nname = "station"\nkind = "folder"\npath = "inbox"\n')
    with pytest.raises(ConfigError, match=r"no \[site\]"):
        Farm(device, datetime(2006, 5, 1, tzinfo=UTC), settings="")


def test_a_backlog_is_taken_in_before_anything_is_decided(farm: Farm) -> None:
    farm.close()
    farm.clock.pass_(timedelta(days=6, hours=12))
    now = farm.clock.true
    for hour in range(6 * 24 + 8, 0, -1):
        farm.clock.true = now - timedelta(hours=hour)
        farm.write(farm.sample(padding="x" * 9000))
    farm.clock.true = now
    farm.boot()
    farm.service.step()
    assert farm.records("recommendations") == [], "there is more to come"
    for _ in range(5):
        farm.step()
    (advice,) = farm.records("recommendations")
    assert (advice["date"], advice["data_age_days"]) == ("2006-05-07", 0)
    assert len(farm.records("readings")) == 6
    assert farm.events("day_unusable") == []


COUNTING = 'air_temperature_c = "air_temperature_c"\nrain_mm = { field = "total", counter = true }'
COUNTER = SETTINGS.replace("[page]\n", f"[source.fields]\n{COUNTING}\n[page]\n")


def test_a_total_that_comes_late_moves_rain_from_one_day_to_the_other_and_none_is_lost(device: DeviceDirectory) -> None:
    farm = Farm(device, settings=COUNTER)
    farm.plant()
    farm.live(0.9, total=10.0)
    farm.clock.pass_(timedelta(hours=3))  # the night between two days is missing
    farm.live(1.9, total=16.0)
    assert [reading["rain_mm"] for reading in farm.records("readings")] == [0.0, 6.0]
    farm.write({**farm.sample(), "time": "2006-05-01T23:59:00Z", "total": 14.0})
    farm.live(0.2, total=16.0)
    assert [reading["rain_mm"] for reading in farm.records("readings")][:2] == [4.0, 2.0]
    farm.close()


def test_what_is_doubted_of_a_day_is_told_once_and_stands_on_the_page(farm: Farm) -> None:
    farm.live(1.2, wind_speed_m_s=25.0, solar_radiation_w_m2=250.0)
    (told,) = [text for text in farm.events("doubt") if text.startswith("2006-05-01")]
    assert "wind_speed_m_s has a mean of 25.0 m/s" in told
    farm.live(0.1)
    assert len(farm.events("doubt")) == 1
    view = read_view(farm.directory, *read_device(farm.directory), farm.clock.true, farm.service.store)
    assert f"{told}." in [notice.text for notice in view.notices]
