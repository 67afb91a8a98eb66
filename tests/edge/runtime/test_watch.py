"""A new model is watched beside the former one, and stays or is left by what was seen: on the device, by itself."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldedge.inference.slots
from fieldedge.cli import main
from fieldedge.contract import Record
from fieldedge.contract.update_report import UpdateReport, read
from fieldedge.device.config import DeviceConfig, DeviceDirectory, StoreConfig, WatchConfig, read_config
from fieldedge.inference.bundles import MANIFEST, MODEL, REFERENCE
from fieldedge.inference.loading import LoadedModel, load_model
from fieldedge.inference.model import Model
from fieldedge.inference.pointer import parse_pointer
from fieldedge.inference.slots import Installed, Slots
from fieldedge.inference.trial import Trials
from fieldedge.inference.watch import Seen, divergence_sd, tally, verdict
from fieldedge.page.render import render
from fieldedge.page.view import read_view
from fieldedge.runtime.agent import Agent
from fieldedge.storage.eviction import make_room
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock
from fieldedge.system.errors import ConfigError, ReleaseError
from fieldedge.workload import chosen_roles
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    EPISODE,
    bundle_files,
    day_of,
    onnx_model,
    season_messages,
)

CONTRACT = AGRICULTURE.contract
WATCH = WatchConfig(decisions=5, judged_from=3)
CONFIG = DeviceConfig(DEVICE_ID, "agriculture", watch=WATCH)
SINCE = "2006-04-30T00:00:00Z"
Files = dict[str, bytes]


def files_of(version: str, **model: Any) -> Files:
    return bundle_files(onnx_model(CONTRACT, **model), version)


def put(device: DeviceDirectory, files: Files, *, is_on_watch: bool) -> Installed:
    """Install a bundle as if it had passed its trial."""
    slots = Slots(device.root)
    slot = slots.free_slot()
    slots.write(slot, files)
    version = json.loads(files[MANIFEST])["version"]
    bundle_sha256, model_sha256 = (hashlib.sha256(files[name]).hexdigest() for name in (MANIFEST, MODEL))
    installed = Installed(slot, version, "float32", bundle_sha256, model_sha256)
    Trials(device.root, CONTRACT).keep_passed(model_sha256)
    slots.activate(installed, watched_since=SINCE if is_on_watch else None)
    return installed


def abstaining(version: str) -> Files:
    """A bundle whose model has learned from so little that it abstains from everything."""
    files = files_of(version)
    reference = json.loads(files[REFERENCE])
    for feature in reference.values():
        feature.update(mean=0.0, std=1e-6, p01=0.0, p99=0.0)
    return {**files, REFERENCE: json.dumps(reference).encode()}


class Field:
    """A device's field, decided day by day."""

    def __init__(self, device: DeviceDirectory) -> None:
        self.device, self.store, self.told = device, Store(device.store), 0
        self.messages = season_messages(40, harvest_t_ha=None)
        self.start()

    def start(self, loaded: LoadedModel | None = None) -> None:
        self.agent = Agent(CONFIG, AGRICULTURE, self.store, loaded or load_model(self.device, AGRICULTURE))

    def live(self, days: int) -> list[Record]:
        """The decisions of the next days."""
        found = []
        while len(found) < days:
            answer = self.agent.answer_line(json.dumps(self.messages[self.told]), "here")
            self.told += 1
            if answer is not None and answer["kind"] == "recommendation":
                found.append(answer)
        return found

    @property
    def slots(self) -> Slots:
        return Slots(self.device.root)

    @property
    def reports(self) -> list[UpdateReport]:
        return [read(one.encode()) for one in self.slots.pointer().reports]

    @property
    def active(self) -> str | None:
        active = self.slots.active()
        return None if active is None else active.version


@pytest.fixture
def field(device: DeviceDirectory) -> Iterator[Field]:
    """A device that runs version 11, confirmed."""
    put(device, files_of("11"), is_on_watch=False)
    field = Field(device)
    yield field
    field.store.close()


def test_a_model_that_nothing_speaks_against_is_confirmed_after_so_many_decisions(field: Field) -> None:
    new = put(field.device, files_of("12", seed=0, bias=0.1), is_on_watch=True)
    field.start()
    decisions = field.live(5)
    assert {decision["model_version"] for decision in decisions} == {"12"}
    pointer = field.slots.pointer()
    assert (pointer.active, pointer.is_on_watch) == (new, False)
    rows = field.store.watched(new.bundle_sha256)
    assert [row["record_id"] for row in rows] == [decision["record_id"] for decision in decisions]
    assert all(row["former"]["source"] == "model" and row["divergence"] > 0.0 for row in rows)
    (said,) = field.reports
    assert (said.state, said.version, said.former_version, said.decisions) == ("confirmed", "12", "11", 5)
    assert (said.abstained, said.guardrail_hits) == (0, 0)
    assert said.divergence is not None and said.latency_p99_ms is not None
    field.live(2)
    assert len(field.store.watched(new.bundle_sha256)) == 5, "the watch is over"


def test_a_model_that_answers_far_from_the_former_one_is_left_by_itself_and_not_tried_again(field: Field) -> None:
    new = put(field.device, files_of("12", bias=4.0), is_on_watch=True)
    field.start()
    assert [one["model_version"] for one in field.live(4)] == ["12", "12", "12", "11"]
    pointer = field.slots.pointer()
    assert pointer.active is not None and pointer.active.version == "11"
    assert pointer.former is None, "what failed does not stand in for what decides"
    assert "standard deviations from the former model's" in str(pointer.why_not("12", "another file of it"))
    assert pointer.why_not("12", new.bundle_sha256) == pointer.why_not(None, new.bundle_sha256)
    assert pointer.why_not("13", "0" * 64) is None
    (said,) = field.reports
    assert (said.state, said.version, said.decisions) == ("reverted", "12", 3)
    assert said.divergence is not None and said.divergence > 3.0
    (told,) = (event["text"] for event in field.store.events(kind="model"))
    assert told.startswith("version 12 was taken back: its answers lie") and told.endswith("version 11 decides again")
    field.start()
    assert field.agent.model_version == "11", "after a restart too"


def test_abstaining_counts_where_the_former_model_answered_and_only_there(field: Field) -> None:
    put(field.device, abstaining("12"), is_on_watch=True)
    field.start()
    field.live(4)
    (said,) = field.reports
    assert (said.state, said.abstained, said.divergence) == ("reverted", 3, None)
    assert field.active == "11"


def test_what_the_former_model_leaves_to_the_rule_as_well_speaks_against_nobody(device: DeviceDirectory) -> None:
    put(device, abstaining("11"), is_on_watch=False)
    new = put(device, abstaining("12"), is_on_watch=True)
    field = Field(device)
    assert {one["source"] for one in field.live(5)} == {"fao56"}
    assert [row["abstained"] for row in field.store.watched(new.bundle_sha256)] == [None] * 5
    assert (field.active, field.reports[-1].state) == ("12", "confirmed")
    field.store.close()


def test_mornings_on_which_no_model_could_be_asked_are_not_counted(field: Field) -> None:
    new = put(field.device, files_of("12"), is_on_watch=True)
    field.start()
    field.live(1)
    for day in range(6, 10):
        assert "days old" in field.agent.decide(day_of(day))["reasons"][0]
    assert len(field.store.watched(new.bundle_sha256)) == 1
    assert field.slots.pointer().is_on_watch


class Failing(Model):
    """A model that loads, and fails to run."""

    def __init__(self) -> None:
        super().__init__(onnx_model(CONTRACT), CONTRACT)

    def predict(self, features: Any) -> Any:  # noqa: ARG002 - as the real one's
        raise ReleaseError("the model does not run: out of memory")


def test_a_model_that_fails_to_run_is_left_at_the_first_decision(field: Field) -> None:
    put(field.device, files_of("12"), is_on_watch=True)
    loaded = load_model(field.device, AGRICULTURE)
    assert loaded is not None
    field.start(replace(loaded, model=Failing()))
    first, second = field.live(2)
    assert (first["source"], first["model_version"]) == ("fao56", "12")
    assert second["model_version"] == "11"
    assert "out of memory" in field.reports[-1].reason


def test_a_former_model_that_fails_has_no_say(field: Field) -> None:
    new = put(field.device, files_of("12"), is_on_watch=True)
    loaded = load_model(field.device, AGRICULTURE)
    assert loaded is not None and loaded.watch is not None and loaded.watch.former is not None
    former = replace(loaded.watch.former, model=Failing())
    field.start(replace(loaded, watch=replace(loaded.watch, former=former)))
    assert {one["source"] for one in field.live(5)} == {"model"}
    assert field.active == "12"
    assert {row["divergence"] for row in field.store.watched(new.bundle_sha256)} == {None}


def test_the_first_model_of_a_device_is_watched_without_another_and_abstaining_costs_nothing(
    device: DeviceDirectory,
) -> None:
    put(device, abstaining("1"), is_on_watch=True)
    field = Field(device)
    field.live(5)
    assert (field.active, field.slots.pointer().is_on_watch) == ("1", False)
    assert field.reports[-1].former_version is None
    field.store.close()


def test_the_first_model_of_a_device_that_fails_to_run_is_left_for_the_rule(device: DeviceDirectory) -> None:
    put(device, files_of("1"), is_on_watch=True)
    loaded = load_model(device, AGRICULTURE)
    field = Field(device)
    assert loaded is not None
    field.start(replace(loaded, model=Failing()))
    assert [one["model_version"] for one in field.live(2)] == ["1", "none"]
    assert field.active is None
    assert "the workload's rule decides again" in field.slots.pointer().reason
    field.store.close()


class PowerLoss(BaseException):
    """Ends the process where it is raised: no handler may mend anything."""


@pytest.mark.parametrize("files", [files_of("12", bias=4.0), files_of("12", bias=0.1)], ids=["bad", "good"])
def test_power_loss_before_the_end_of_a_watch_is_written_and_the_next_start_ends_it(
    field: Field, monkeypatch: pytest.MonkeyPatch, files: Files
) -> None:
    is_good = files == files_of("12", bias=0.1)
    new = put(field.device, files, is_on_watch=True)
    field.start()

    write = fieldedge.inference.slots.write_durably

    def lose_power(path: Path, data: bytes) -> None:
        if not parse_pointer(data).is_on_watch:  # else it only notes that the model is asked
            raise PowerLoss
        write(path, data)

    with monkeypatch.context() as patch, pytest.raises(PowerLoss):
        patch.setattr(fieldedge.inference.slots, "write_durably", lose_power)
        field.live(5)
    assert field.slots.pointer().is_on_watch and field.active == "12"
    seen = len(field.store.watched(new.bundle_sha256))
    assert seen == (5 if is_good else 3), "the decision and what it showed are on disk"
    field.start()
    assert field.agent.model_version == ("12" if is_good else "11")
    assert [one.state for one in field.reports] == ["confirmed" if is_good else "reverted"]
    assert not field.slots.pointer().is_on_watch


def test_a_disk_that_does_not_take_the_end_of_a_watch_still_lets_the_former_model_decide(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(field.device, files_of("12", bias=4.0), is_on_watch=True)
    field.start()

    def fail(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fieldedge.inference.slots, "write_durably", fail)
        assert [one["model_version"] for one in field.live(4)] == ["12", "12", "12", "11"]
    assert field.active == "12"
    field.start()
    assert (field.active, field.agent.model_version) == ("11", "11")


def test_another_process_that_decides_ends_the_watch_for_both(field: Field) -> None:
    put(field.device, files_of("12", bias=4.0), is_on_watch=True)
    field.start()
    field.live(2)
    with Store(field.device.store) as store:
        other = Agent(CONFIG, AGRICULTURE, store, load_model(field.device, AGRICULTURE))
        other.decide(day_of(2))
    assert field.active == "11"
    field.live(2)
    assert field.agent.model_version == "11"
    assert [one.state for one in field.reports] == ["reverted"], "told once"


def test_the_confirmed_model_stays_on_disk_whatever_the_pressure(field: Field) -> None:
    put(field.device, files_of("12"), is_on_watch=True)
    field.start()
    field.live(2)
    confirmed = field.slots.pointer().former
    assert confirmed is not None
    with pytest.raises(ValueError, match="confirmed one is never written"):
        field.slots.write(confirmed.slot, files_of("13"))
    bounds = StoreConfig(max_bytes=1_000_000, max_days=1, min_free_bytes=2**60)
    today = Clock(field.device.clock_floor).now().date()
    roles = chosen_roles(AGRICULTURE)
    make_room(field.store, CONTRACT, bounds, today, choose=lambda: None, chosen_roles=roles)
    assert field.slots.verified_model(confirmed)
    assert [installed.version for installed, _ in field.slots.sound()] == ["12", "11"]


def test_status_and_page_show_how_far_a_watch_has_come_and_why_a_version_was_left(
    field: Field, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(field.device, files_of("12", bias=4.0), is_on_watch=True)
    with field.device.settings.open("a") as file:
        file.write("[watch]\ndecisions = 5\n")
    field.start()
    field.live(2)
    assert main(["status", "--dir", str(field.device.root), "--json"]) == 0
    model = json.loads(capsys.readouterr().out)["model"]
    assert (model["state"], model["watched"], model["to_watch"]) == ("watching", 2, 5)
    assert (model["slot"], model["version"], model["former_version"]) == ("b", "12", "11")
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout.isatty", lambda: True)
        assert main(["status", "--dir", str(field.device.root)]) == 0
    assert "12 (float32), slot b; watching 2 of 5 beside version 11" in capsys.readouterr().out
    assert "watching 2 of 5 beside version 11" in page(field)
    field.live(2)
    assert main(["status", "--dir", str(field.device.root), "--json"]) == 0
    model = json.loads(capsys.readouterr().out)["model"]
    assert (model["state"], model["version"]) == ("reverted", "11")
    assert model["reason"].startswith("version 12 was taken back: its answers lie")
    assert "version 12 was taken back: its answers lie" in page(field)


def page(field: Field) -> str:
    now = Clock(field.device.clock_floor).now()
    return render(read_view(field.device, read_config(field.device.settings), AGRICULTURE, now, field.store))


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("decisions = 0", "decisions is 0"),
        ("max_divergence = -1", "max_divergence is -1"),
        ("max_abstained_share = 2", "between 0 and 1"),
        ("patience = 3", "patience is not a setting"),
    ],
)
def test_settings_of_the_watch_that_cannot_be_meant_are_refused_by_name(
    device: DeviceDirectory, line: str, match: str
) -> None:
    with device.settings.open("a") as file:
        file.write(f"[watch]\n{line}\n")
    with pytest.raises(ConfigError, match=match):
        read_config(device.settings)


# The judgement alone


def rows(count: int, **seen: Any) -> list[Record]:
    return [replace(Seen(f"r{number}", 1.0), **seen).as_record() for number in range(count)]


@pytest.mark.parametrize(
    ("seen", "is_confirmed"),
    [
        ([], None),
        (rows(2, abstained="it is strange"), None),
        (rows(1, abstained="it is strange") + rows(2), None),
        (rows(2, abstained="it is strange") + rows(1), False),
        (rows(2, overruled=True) + rows(1), False),
        (rows(1, failed="it broke"), False),
        (rows(3, divergence=3.1), False),
        (rows(1, divergence=8.0) + rows(2, divergence=0.1), None),
        (rows(3, divergence=2.9), None),
        (rows(3, latency_ms=300.0), False),
        (rows(1, latency_ms=9e9) + rows(4), True),
        (rows(4), None),
        (rows(5), True),
        (rows(9), True),
    ],
)
def test_a_watch_ends_by_its_limits(seen: list[Record], is_confirmed: bool | None) -> None:
    found = verdict(tally(seen), WATCH, has_former=True)
    assert (None if found is None else found.is_confirmed) == is_confirmed


def test_abstaining_is_no_reason_to_go_back_to_nothing() -> None:
    seen = tally(rows(5, abstained="it is strange"))
    found = verdict(seen, WATCH, has_former=False)
    assert found is not None and found.is_confirmed


def test_two_models_are_as_far_apart_as_the_mean_of_their_answers_in_the_formers_spread() -> None:
    former = np.array([[1.0, 10.0], [3.0, 30.0]], np.float32)
    new = np.array([[2.0, 10.0], [3.0, 50.0]], np.float32)
    assert divergence_sd(former, new, np.array([0.5, 10.0], np.float32)) == pytest.approx((2 + 0 + 0 + 2) / 4)
    assert divergence_sd(former, new * np.float32(np.inf), np.ones(2, np.float32)) == 1e6
    assert divergence_sd(former, former, np.ones(2, np.float32)) == 0.0


def test_what_is_watched_is_of_the_episode_that_was_decided(field: Field) -> None:
    put(field.device, files_of("12"), is_on_watch=True)
    field.start()
    field.live(3)
    decided = {row["record_id"] for row in field.store.records(EPISODE, CONTRACT.decision_table.name)}
    active = field.slots.active()
    assert active is not None
    assert {row["record_id"] for row in field.store.watched(active.bundle_sha256)} <= decided
