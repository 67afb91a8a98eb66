"""A device whose windows slide: each is summed up once and decided once, through restarts, late samples and clocks."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fieldedge.contract import Contract, Record
from fieldedge.contract.samples import Channel
from fieldedge.contract.update_report import read
from fieldedge.contract.windows import PerEvent
from fieldedge.device.config import DeviceConfig, DeviceDirectory, write_config
from fieldedge.diagnostics.acquisition import sources
from fieldedge.diagnostics.finding import Subject
from fieldedge.inference.bundles import MANIFEST, MODEL
from fieldedge.inference.slots import Installed, Slots
from fieldedge.inference.trial import Trials
from fieldedge.page.render import render
from fieldedge.page.view import read_view
from fieldedge.presentation.plain import Plain
from fieldedge.presentation.text import quantity
from fieldedge.runtime.agent import Agent
from fieldedge.system.clock import Clock, format_utc
from fieldedge.system.errors import ConfigError, DataError
from fieldedge.workload import At, OnRequest
from fieldedge.workloads import known_workload, read_device
from tests.edge.farm import SETTINGS, Farm
from tests.edge.sample import bundle_files

START = datetime(2006, 5, 1, 22, 5, tzinfo=UTC)
STEP = timedelta(minutes=10)
SPEED = "vibration_mm_s"


class Hall(Farm):
    """A device at a bearing, with a sample every ten minutes."""

    def begin(self) -> None:
        values = {"month": 200605, "hall": "north", "bearing_id": "b-1", "time_utc": "2006-05-01T00:00:00Z"}
        context = known_workload("bearing").contract.record("bearings", {**values, "device_id": None}, "b-1")
        self.write({"kind": "bearing", "record": context})
        self.step()

    def run(self, hours: float) -> None:
        for _ in range(round(timedelta(hours=hours) / STEP)):
            self.clock.pass_(STEP - timedelta(seconds=62))
            self.write({"time": format_utc(self.clock.true), SPEED: 2.0 + 0.1 * (self.clock.true.minute % 7)})
            self.step()

    @property
    def period(self) -> str:
        return f"{self.clock.true:%Y%m}"

    def moments(self, table: str) -> list[str]:
        return [row["time_utc"] for row in self.records(table)]

    def die(self) -> None:
        """The process is killed: nothing is closed in order, and it starts again."""
        self.service.store.close()
        self.boot()


@pytest.fixture
def directory(tmp_path: Path, installed: Path) -> DeviceDirectory:
    del installed
    directory = DeviceDirectory(tmp_path / "device")
    directory.root.mkdir()
    write_config(directory.settings, DeviceConfig("dev-00", "bearing"))
    return directory


@pytest.fixture
def hall(directory: DeviceDirectory) -> Iterator[Hall]:
    hall = Hall(directory, START)
    hall.begin()
    yield hall
    hall.close()


def ends(first: datetime, last: datetime) -> list[str]:
    """The half hours from one to the other."""
    return [format_utc(first + number * timedelta(minutes=30)) for number in range((last - first) // (STEP * 3) + 1)]


def test_each_window_of_samples_is_summed_up_and_decided_once_across_midnight_and_kills(hall: Hall) -> None:
    for _ in range(8):
        hall.run(0.5)
        hall.die()
    hall.step()
    found = hall.moments("windows")
    assert found == ends(datetime(2006, 5, 1, 22, 30, tzinfo=UTC), datetime(2006, 5, 2, 2, tzinfo=UTC))
    assert hall.moments("calls") == found
    assert {row["data_age_days"] for row in hall.records("calls")} == {0}


def test_two_episodes_that_open_on_one_day_stay_two(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is told of ahead; until it opens the first goes on, through a restart."""
    bearing = known_workload("bearing")
    episode = replace(bearing.contract.episode, opens_with="time_utc", max_days=40)
    monkeypatch.setattr(type(bearing), "contract", replace(bearing.contract, episode=episode))
    hall.die()
    (first,) = hall.records("bearings")
    second = {**first, "bearing_id": "b-2", "time_utc": "2006-05-01T23:30:00Z", "record_id": "200605/b-2/bearings"}
    hall.write({"kind": "bearing", "record": second})
    hall.run(1.0)
    hall.die()
    hall.run(2.0)
    for table in ("windows", "calls"):
        of = {row["time_utc"]: row["bearing_id"] for row in hall.records(table)}
        assert {moment for moment, name in of.items() if name == "b-1"} == {
            "2006-05-01T22:30:00Z",
            "2006-05-01T23:00:00Z",
        }
        assert sum(name == "b-2" for name in of.values()) == len(of) - 2 > 2


def test_a_kill_between_a_window_and_its_decision_loses_neither(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_agent: Agent, _at: str) -> Record:
        raise OSError("the power is gone")

    hall.run(1)
    with monkeypatch.context() as patch:
        patch.setattr(Agent, "decide", fail)
        hall.run(1)
    assert len(hall.moments("windows")) > len(hall.moments("calls"))
    hall.die()
    hall.step()
    assert hall.moments("calls") == hall.moments("windows")


def test_samples_that_were_taken_in_before_a_long_night_are_summed_up_after_it(hall: Hall) -> None:
    hall.run(1)
    for minute in (1, 2):
        hall.write({"time": format_utc(hall.clock.true + timedelta(minutes=minute)), SPEED: 3.0})
    hall.service.take_samples("station")
    hall.clock.pass_(timedelta(days=30))
    hall.die()
    hall.step()
    assert hall.moments("windows")[-2:] == ["2006-05-01T23:30:00Z", "2006-05-02T00:00:00Z"]
    assert hall.moments("calls") == hall.moments("windows")


def test_late_samples_change_their_windows_each_time_and_no_decision(hall: Hall) -> None:
    hall.run(3)
    calls = hall.records("calls")
    for late, speed in (("2006-05-01T23:11:00Z", 9.0), ("2006-05-01T23:12:00Z", 30.0)):
        before = hall.records("windows")
        hall.write({"time": late, SPEED: speed})
        hall.step()
        after = hall.records("windows")
        changed = [new["time_utc"] for old, new in zip(before, after, strict=True) if old != new]
        assert changed == ["2006-05-01T23:30:00Z", "2006-05-02T00:00:00Z"]
    assert hall.records("calls") == calls


def test_a_clock_that_jumps_ahead_and_back_doubles_and_loses_no_window(hall: Hall) -> None:
    hall.run(1)
    hall.clock.system_offset = timedelta(minutes=50)
    hall.run(1)
    hall.clock.system_offset = timedelta(minutes=-50)
    hall.run(1)
    hall.clock.system_offset = timedelta(0)
    hall.run(1)
    found = hall.moments("windows")
    assert found == ends(datetime(2006, 5, 1, 22, 30, tzinfo=UTC), datetime(2006, 5, 2, 2, 30, tzinfo=UTC))
    assert hall.moments("calls") == found
    flags = hall.service.store.flags("200605", "windows")
    samples = [flags[row["record_id"]]["samples"] for row in hall.records("windows")]
    assert samples[2:-1] == [6] * 6, "what came after a window was taken for over is in it"


def test_one_decision_that_cannot_be_made_holds_up_no_other(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    decide, broken = Agent.decide, "2006-05-01T23:00:00Z"

    def refuse_one(agent: Agent, at: str) -> Record:
        if at == broken:
            raise DataError("it is broken")
        return decide(agent, at)

    monkeypatch.setattr(Agent, "decide", refuse_one)
    hall.run(3)
    assert [moment for moment in hall.moments("windows") if moment not in hall.moments("calls")] == [broken]
    assert "decision failed: it is broken" in hall.events("step")


def test_an_observation_that_comes_as_a_message_is_decided_too(hall: Hall) -> None:
    values = {
        "month": 200605,
        "hall": "north",
        "bearing_id": "b-1",
        "time_utc": "2006-05-01T12:00:00Z",
        "rms_mm_s": 9.0,
    }
    hall.write({"kind": "window", "record": values})
    hall.step()
    assert [(row["time_utc"], row["action"]) for row in hall.records("calls")] == [("2006-05-01T12:00:00Z", "stop")]


def test_what_was_sampled_at_once_is_one_event_with_its_decision(
    directory: DeviceDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(known_workload("bearing")), "windows", PerEvent())
    hall = Hall(directory, START)
    hall.begin()
    times = [format_utc(START + timedelta(minutes=minute)) for minute in (-7, -3)]
    for number in range(2):
        hall.write(*({"time": time, SPEED: 2.0 + number} for time in times), file=f"logger-{number}.jsonl")
    hall.step()
    assert hall.moments("windows") == hall.moments("calls") == times
    hall.close()


def test_a_workload_that_waits_for_a_request_decides_on_one_alone(
    directory: DeviceDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(known_workload("bearing")), "trigger", OnRequest())
    hall = Hall(directory, START)
    hall.begin()
    hall.run(2)
    assert hall.moments("windows") and hall.moments("calls") == []
    hall.write({"kind": "decide", "time_utc": "2006-05-01T23:17:00Z"})
    hall.step()
    assert hall.moments("calls") == ["2006-05-01T23:17:00Z"]
    hall.close()


def test_a_time_of_day_for_a_workload_that_has_none_is_refused(directory: DeviceDirectory) -> None:
    with pytest.raises(ConfigError, match="at_utc is '07:00', and bearing decides at no time of day; remove it"):
        Hall(directory, START, f'{SETTINGS}[decide]\nat_utc = "07:00"\n')


def test_a_time_of_day_of_the_workload_counts_where_the_device_sets_none(
    directory: DeviceDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(known_workload("bearing")), "trigger", At("23:00"))
    hall = Hall(directory, START)
    hall.begin()
    hall.run(26)
    assert hall.moments("calls") == ["2006-05-01T23:00:00Z", "2006-05-02T23:00:00Z"]
    hall.close()


def test_a_workload_that_needs_no_site_works_without_one(directory: DeviceDirectory) -> None:
    hall = Hall(directory, START, SETTINGS.removeprefix(SETTINGS.partition("[[source]]")[0]))
    hall.begin()
    hall.run(1)
    assert "[site]" not in directory.settings.read_text()
    assert hall.moments("windows") == hall.moments("calls") != []
    found = sources(Subject(directory, Clock(directory.clock_floor), *read_device(directory)))
    assert [finding.state for finding in found] == ["ok"]
    hall.close()


def test_the_page_shows_moments_with_their_clock_and_leaves_out_what_nobody_knows(hall: Hall) -> None:
    hall.run(1)
    config, bearing = DeviceConfig("dev-00", "bearing"), known_workload("bearing")
    shown = render(read_view(hall.directory, config, bearing, hall.clock.true, hall.service.store))
    assert "Monday, 1 May 23:00 UTC" in shown and "Decided by<dd>iso10816, the built-in rule" in shown
    assert "<h2>Last decisions</h2>" in shown and '<th class="nowrap">1 May 22:30<td>' in shown
    assert "<th>Time, UTC<th>Recommended</thead>" in shown, "nothing is ever done, nor noted"


def test_what_only_counts_has_no_unit_and_no_decimals() -> None:
    plain = Plain(known_workload("bearing").contract, (Channel("points", "1", -100.0, 100.0),))
    assert plain.channel("points") == ("points", "")
    assert [quantity(value, 1, "") for value in (3.0, 0.25)] == ["3", "0.2"]
    assert quantity(-20.0, 1, "") == "\u221220" and quantity(3.0, 1, "mm") == "3.0 mm"


def test_the_page_shows_a_workload_s_records_in_their_own_words(hall: Hall) -> None:
    hall.run(1)
    service, bearing = hall.service, known_workload("bearing")
    view = read_view(hall.directory, DeviceConfig("dev-00", "bearing"), bearing, hall.clock.true, service.store)
    assert view.place == "200605/b-1"
    assert view.advice is not None and view.advice.headline == "action run, source iso10816"
    assert view.advice.reasons == ("no usable model is installed",) and view.advice.is_today
    assert [day.recommended for day in view.history] == ["action run, source iso10816"] * 2
    assert bearing.presenter.lines(hall.records("calls")[0]) == [
        "2006-05-01T22:30:00Z",
        "action run",
        "source iso10816",
    ]
    assert bearing.presenter.channel(SPEED) == (SPEED, "mm/s")
    assert view.loggers[0].channels[0].unit == "mm/s"
    assert any(notice.text.startswith("No model is installed: the built-in rule decides.") for notice in view.notices)
    empty = read_view(hall.directory, DeviceConfig("dev-00", "bearing"), bearing, hall.clock.true, None)
    assert empty.next_steps[0].startswith("Describe the bearing: ") and '"kind": "bearing"' in empty.next_steps[0]
    assert "once the bearing is known" in empty.next_steps[-1]


def test_a_model_of_any_workload_is_watched_beside_the_former_one_and_left(directory: DeviceDirectory) -> None:
    bearing = known_workload("bearing")
    for version, bias, is_on_watch in (("1", 0.0, False), ("2", 900.0, True)):
        install(directory, bearing.contract, version, bias, is_on_watch=is_on_watch)
    hall = Hall(directory, START)
    hall.begin()
    hall.run(4)
    assert [row["model_version"] for row in hall.records("calls")][:5] == ["2", "2", "2", "1", "1"]
    pointer = Slots(directory.root).pointer()
    assert pointer.active is not None and pointer.active.version == "1"
    assert "standard deviations from the former model's" in pointer.reason
    (said,) = (read(one.encode()) for one in pointer.reports)
    assert (said.workload, said.state, said.decisions) == ("bearing", "reverted", 3)
    hall.close()


def install(directory: DeviceDirectory, contract: Contract, version: str, bias: float, *, is_on_watch: bool) -> None:
    """A linear model of the toy's shape, as if it had passed its trial."""
    weights = np.array([[1.0], [0.5], [0.1], [-0.4]], np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["features", "weights", "offsets"], ["outputs"])],
        "toy",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["batch", 1])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([bias], np.float32), "offsets"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    said = {"fieldloop.contract_hash": contract.hash, "fieldloop.workload": contract.workload}
    helper.set_model_props(made, said)
    files = bundle_files(made.SerializeToString(), version, contract)
    slots = Slots(directory.root)
    slot = slots.free_slot()
    slots.write(slot, files)
    bundle_sha256, model_sha256 = (hashlib.sha256(files[name]).hexdigest() for name in (MANIFEST, MODEL))
    Trials(directory.root, contract).keep_passed(model_sha256)
    installed = Installed(slot, version, "float32", bundle_sha256, model_sha256)
    slots.activate(installed, watched_since=format_utc(START) if is_on_watch else None)
