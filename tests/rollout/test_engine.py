"""A rollout carried out: from a start to its end, killed at every write and at every word to the repository."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fieldedge.contract.update_report import State, UpdateReport
from fieldedge.system import durable
from fieldedge.system.errors import ConfigError, DataError, ReleaseError
from fieldedge.transfer.cohort import Rollout, cohort_share
from fieldloop.core.params import RolloutParams, StageParams
from fieldloop.rollout import engine, ledger, store
from fieldloop.rollout.engine import Received, Rollouts, Standing
from fieldloop.rollout.store import RolloutStore

BEGAN = datetime(2027, 4, 1, tzinfo=UTC)
PLAN = RolloutParams(
    stages=(
        StageParams(percentage=20, soak_d=2),
        StageParams(percentage=60, soak_d=2),
        StageParams(percentage=100, soak_d=2),
    ),
    min_sample=3,
)


class Killed(BaseException):
    """The process is no more."""


class Kill:
    """Ends the process at the n-th of its writes and words to the repository, before or after it."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.seen = at, 0

    def around(self, act: Any) -> Any:
        def killed(*args: Any, **kwargs: Any) -> Any:
            self._step()
            done = act(*args, **kwargs)
            self._step()
            return done

        return killed

    def _step(self) -> None:
        self.seen += 1
        if self.seen - 1 == self.at:
            raise Killed


class Repository:
    """What is signed, in memory: it outlives the process, and refuses what the real one refuses."""

    def __init__(self) -> None:
        self.released: str | None = "11"
        self.candidate: tuple[str, Rollout] | None = None
        self.withdrawn: list[str] = []
        self.offered = {"11"}

    def standing(self, _workload: str) -> Standing:
        return Standing(self.released, self.candidate and self.candidate[0], tuple(self.withdrawn))

    def publish_candidate(self, _workload: str, version: str, _files: Mapping[str, Path], rollout: Rollout) -> None:
        if version in (self.released, *self.withdrawn):
            raise ReleaseError(f"{version} cannot be a candidate")
        self.candidate = (version, rollout)
        self.offered.add(version)

    def set_rollout(self, _workload: str, rollout: Rollout) -> None:
        if self.candidate is None or self.candidate[1].percentage > rollout.percentage:
            raise ReleaseError("no rollout is on, or it shrinks")
        self.candidate = (self.candidate[0], rollout)

    def finish_rollout(self, _workload: str) -> None:
        if self.candidate is None:
            raise ReleaseError("no rollout is on")
        self.released, self.candidate = self.candidate[0], None

    def withdraw(self, _workload: str, version: str) -> None:
        if version not in self.offered:
            raise ReleaseError(f"{version} was never offered")
        if version not in self.withdrawn:
            self.withdrawn.append(version)
        if self.candidate is not None and self.candidate[0] == version:
            self.candidate = None
        if self.released == version:
            self.released = "11"


class Field:
    """Ten devices of which the last was never online; what they report is for the test."""

    def __init__(self) -> None:
        self.sent: list[Received] = []
        self.seen: dict[str, list[datetime]] = {}

    def devices(self) -> Collection[str]:
        return [f"dev-{number:02}" for number in range(10)]

    def contacts(self) -> Mapping[str, Sequence[datetime]]:
        return self.seen

    def reports(self) -> Iterable[Received]:
        return list(self.sent)

    def contact(self, now: datetime) -> None:
        for device in list(self.devices())[:-1]:
            self.seen.setdefault(device, []).append(now)

    def report(self, device: str, version: str, state: State, at: datetime, **values: Any) -> None:
        said = UpdateReport(device, f"{at:%Y-%m-%dT%H:%M:%SZ}", "agriculture", version, "11", state, "", **values)
        self.sent.append(Received(said, at, hashlib.sha256(said.as_json()).hexdigest()))


class World:
    """A clone's rollouts, their repository and their devices; `again` is the next process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, BEGAN
        self.repository, self.field, self.kill = Repository(), Field(), Kill()

    def again(self) -> Rollouts:
        wrapped = Repository.__new__(Repository)
        wrapped.__dict__ = self.repository.__dict__
        for name in ("publish_candidate", "set_rollout", "finish_rollout", "withdraw"):
            bound = getattr(Repository, name).__get__(wrapped)
            object.__setattr__(wrapped, name, self.kill.around(bound))
        return Rollouts(RolloutStore(self.folder), wrapped, self.field, self.files, lambda: self.now)

    def files(self, _workload: str, version: str) -> Mapping[str, Path]:
        return {"x86-64": Path("12.zip")} if version in ("12", "13") else {}

    def live_a_day(self, outcome: State = "confirmed", version: str = "12") -> None:
        """Devices in the cohort take the candidate, and say how it went on the same day."""
        self.now += timedelta(days=1)
        self.field.contact(self.now)
        candidate = self.repository.candidate
        if candidate is None or candidate[0] != version:
            return
        has = {one.report.device_id for one in self.field.sent if one.report.version == version}
        for device in list(self.field.devices())[:-1]:
            if device not in has and cohort_share(device, candidate[1].salt) < candidate[1].percentage:
                self.field.report(device, version, outcome, self.now, decisions=14)

    def lines(self) -> list[dict[str, Any]]:
        return [dict(entry.values) for entry in RolloutStore(self.folder).ledger.entries()]


@pytest.fixture
def make_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], World]:
    """A world whose process can be killed around each write; the newest one is the one that is killed."""
    worlds: list[World] = []

    def make() -> World:
        worlds.append(World(tmp_path / f"rollouts-{len(worlds)}"))
        return worlds[-1]

    append = ledger.Ledger.append
    monkeypatch.setattr(engine.secrets, "token_hex", lambda _bytes: "a1b2c3")
    for module in (store, ledger):
        monkeypatch.setattr(module, "write_durably", lambda *args: worlds[-1].kill.around(durable.write_durably)(*args))
    monkeypatch.setattr(ledger.Ledger, "append", lambda self, lines: worlds[-1].kill.around(append)(self, lines))
    return make


@pytest.fixture
def world(make_world: Callable[[], World]) -> World:
    return make_world()


def lived(world: World, outcome: State = "confirmed") -> World:
    """A rollout from its start to its end; whatever is killed is done again, as a person and a schedule would."""
    for _ in range(2):
        try:
            world.again().start("agriculture", "12", PLAN, "someone")
            break
        except ConfigError as error:
            assert "is in rollout already" in str(error)
        except Killed:
            continue
    look(world)
    for _ in range(12):
        world.live_a_day(outcome)
        look(world)
    return world


def look(world: World) -> None:
    """Until it was looked at; a process is killed once at most."""
    for _ in range(2):
        try:
            world.again().look("agriculture")
            return
        except Killed:
            continue


def told(world: World) -> list[Any]:
    return [
        (line["kind"], line.get("transition"), line.get("phase"), line.get("percentage"), line.get("device_id"))
        for line in world.lines()
    ]


def test_a_good_version_goes_to_everyone_and_the_ledger_tells_it(world: World) -> None:
    lived(world)
    assert (world.repository.released, world.repository.candidate) == ("12", None)
    changes = [line for line in world.lines() if line["kind"] == "rollout"]
    assert [(line["phase"], line["percentage"]) for line in changes] == [
        *(("running", 20), ("running", 60), ("running", 100), ("finished", 100))
    ]
    assert {line["device_id"] for line in world.lines() if line["kind"] == "device"} == set(
        list(world.field.devices())[:-1]
    )
    assert all("passes at" in line["why"] for line in changes[1:])


def test_a_bad_version_is_halted_and_withdrawn_before_it_goes_further(world: World) -> None:
    lived(world, "reverted")
    assert world.repository.withdrawn == ["12"]
    assert (world.repository.released, world.repository.candidate) == ("11", None)
    last = next(line for line in reversed(world.lines()) if line["kind"] == "rollout")
    assert (last["phase"], last["by"]) == ("halted", "the rollout itself")
    assert "halts at" in last["why"]


@pytest.mark.parametrize("outcome", ["confirmed", "reverted"])
def test_a_kill_at_any_point_changes_neither_the_end_nor_the_ledger(
    make_world: Callable[[], World], outcome: State
) -> None:
    whole = lived(make_world(), outcome)
    points = whole.kill.seen
    assert points > 40
    for at in range(points):
        other = make_world()
        other.kill = Kill(at)
        lived(other, outcome)
        assert told(other) == told(whole), at
        for name in ("released", "candidate", "withdrawn"):
            assert getattr(other.repository, name) == getattr(whole.repository, name), at
        state = RolloutStore(other.folder).current("agriculture")
        assert state is not None
        assert state.is_applied


def test_a_stuck_rollout_never_blocks_the_next(world: World) -> None:
    world.again().start("agriculture", "12", PLAN, "someone")
    world.again().pause("agriculture", "someone", "harvest")
    world.again().start("agriculture", "13", PLAN, "someone")
    assert world.repository.withdrawn == ["12"]
    assert world.repository.candidate is not None
    assert world.repository.candidate[0] == "13"
    first, second = RolloutStore(world.folder).all("agriculture")
    assert (first.phase, second.phase, second.number) == ("superseded", "running", 2)


def test_a_rollout_whose_bundle_is_gone_never_blocks_the_next(world: World) -> None:
    world.kill = Kill(4)  # kept, and then killed before the repository hears of it
    with pytest.raises(Killed):
        world.again().start("agriculture", "12", PLAN, "someone")
    world.kill = Kill()
    gone = Rollouts(
        RolloutStore(world.folder),
        world.repository,
        world.field,
        lambda _workload, version: {"x86-64": Path("13.zip")} if version == "13" else {},
        lambda: world.now,
    )
    with pytest.raises(DataError, match="the bundle of version 12 of agriculture is gone"):
        gone.look("agriculture")
    gone.start("agriculture", "13", PLAN, "someone")
    assert (world.repository.withdrawn, world.repository.candidate and world.repository.candidate[0]) == ([], "13")


@pytest.mark.parametrize(
    ("version", "told_"),
    [
        ("14", "14 of agriculture is not released"),
        ("11", "11 of agriculture is what every device"),
        ("10", "was withdrawn"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused_by_name_and_nothing_is_left(
    world: World, version: str, told_: str
) -> None:
    world.repository.withdrawn = ["10"]
    with pytest.raises(ConfigError, match=told_):
        world.again().start("agriculture", version, PLAN, "someone")
    assert RolloutStore(world.folder).all("agriculture") == []
    assert world.lines() == []
    assert world.repository.candidate is None


def test_a_version_that_is_in_rollout_is_not_started_again(world: World) -> None:
    world.again().start("agriculture", "12", PLAN, "someone")
    with pytest.raises(ConfigError, match="in rollout already: stage 1 of 3, 20 %, running"):
        world.again().start("agriculture", "12", PLAN, "someone")


def test_what_was_never_rolled_out_has_nothing_to_look_at(world: World) -> None:
    with pytest.raises(ConfigError, match="no version of agriculture was ever rolled out"):
        world.again().look("agriculture")


def test_a_device_that_fell_silent_after_it_took_the_version_counts_as_failed(world: World) -> None:
    whole = PLAN.model_copy(update={"stages": (StageParams(percentage=100, soak_d=40),)})
    world.again().start("agriculture", "12", whole, "someone")
    world.now += timedelta(days=1)
    world.field.contact(world.now)
    for device in ("dev-00", "dev-01"):
        world.field.report(device, "12", "installed", world.now)
    for device in ("dev-02", "dev-03"):
        world.field.report(device, "12", "confirmed", world.now, decisions=14)
    look = world.again().look("agriculture")
    assert (look.evidence.pending, look.evidence.silent, look.evidence.unreached) == (7, 0, 1)
    for _ in range(21):
        world.now += timedelta(days=1)
        world.field.contact(world.now)
    world.now += timedelta(minutes=1)
    look = world.again().look("agriculture")
    assert (look.evidence.silent, look.evidence.untaken, look.evidence.unreached) == (2, 5, 1)
    assert look.state.phase == "halted"


def test_a_device_that_joins_late_is_in_the_stage_that_its_id_says(world: World) -> None:
    world.again().start("agriculture", "12", PLAN, "someone")
    before = world.again().look("agriculture").evidence.cohort
    joined = [f"late-{number}" for number in range(100)]
    world.field.devices = lambda: [*(f"dev-{number:02}" for number in range(10)), *joined]  # type: ignore[method-assign]
    expected = sum(cohort_share(device, "a1b2c3") < 20 for device in joined)
    assert world.again().look("agriculture").evidence.cohort == before + expected > before


def test_a_report_that_is_held_twice_or_comes_late_stands_in_the_ledger_once(world: World) -> None:
    world.again().start("agriculture", "12", PLAN, "someone")
    world.field.report("dev-00", "12", "installed", world.now)
    world.field.sent *= 2
    for _ in range(2):
        world.again().look("agriculture")
    assert len([line for line in world.lines() if line["kind"] == "device"]) == 1


def test_a_clock_that_runs_ahead_says_no_time_to_come(world: World) -> None:
    ahead = world.now + timedelta(days=400)
    world.field.report("dev-00", "12", "installed", ahead)
    world.field.sent[0] = replace(world.field.sent[0], received=world.now)
    world.again().start("agriculture", "12", PLAN, "someone")
    (line,) = (line for line in world.lines() if line["kind"] == "device")
    assert line["at"] == world.now.isoformat()
    assert line["device_at"].startswith("2028-")


def test_what_a_person_takes_back_after_it_finished_is_withdrawn(world: World) -> None:
    lived(world)
    world.again().revert("agriculture", "someone", "frost")
    assert (world.repository.released, world.repository.withdrawn) == ("11", ["12"])
    with pytest.raises(ConfigError, match="reverted since"):
        world.again().revert("agriculture", "someone", "frost")


def test_a_state_that_is_damaged_is_named(world: World) -> None:
    world.again().start("agriculture", "12", PLAN, "someone")
    path = world.folder / "agriculture" / "000001.json"
    for content in (b"", path.read_bytes().replace(b'"number": 1', b'"number": 2'), path.read_bytes()[:-9]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"000001.json is damaged"):
            world.again().look("agriculture")
