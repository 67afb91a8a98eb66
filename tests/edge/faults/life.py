"""A device's life in jobs, each a run of the real command, in a world that can be set back to any moment of it.

A job says what comes before it, what it is given, and nothing of faults. The world holds the device's directory, a
signed repository and a gateway over HTTP, and the shim. What must be true after a fault is in `invariants.py`.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fieldedge.contract import Record
from fieldedge.contract.batches import batch_id
from fieldedge.device.config import DeviceDirectory
from tests.edge.faults.daemon import set_up, settings
from tests.edge.faults.forks import Ended, Forks
from tests.edge.faults.power import Image, add_mark, write_image
from tests.edge.faults.shim import Shim
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    GatewaySimulator,
    Repository,
    bundle_files,
    onnx_model,
    season_messages,
    serving,
    zipped,
)

SEASON_DAYS = 12
DAEMON_DAYS = 2
ACCEPTED = "accepted"


@dataclass
class MarkingGateway(GatewaySimulator):
    """A gateway that marks in the device's trace when it takes a batch, before it says so."""

    trace: Path = Path()
    is_tracing: bool = False

    def store(self, body: bytes) -> tuple[int, Any]:
        answer = super().store(body)
        if self.is_tracing:
            add_mark(self.trace, ACCEPTED, batch_id(body).encode())
        return answer


@dataclass(frozen=True)
class Moment:
    """The device's directory, what the gateway holds, and what goes on outside, as they were."""

    directory: Path
    outside: Path
    received: dict[str, bytes]


@dataclass
class World:
    """One device and all that surrounds it."""

    scratch: Path
    shim: Shim
    forks: Forks
    repository: Repository
    gateway: MarkingGateway
    device: DeviceDirectory
    kept: int = field(default=0)

    @property
    def outside(self) -> Path:
        """What a daemon lives in: the time, and what loggers have written."""
        return self.scratch / "outside"

    def call(self, command: str, *arguments: str, lines: str = "") -> Ended:
        """One command of the device, to its end."""
        return self.forks([command, "--dir", str(self.device.root), *arguments], lines)

    def do(self, job: "Job") -> Ended:
        """One job, as the disk lets it."""
        job.prepare(self)
        return self.call(*job.arguments(self), lines=job.lines())

    def live(self, *names: str) -> None:
        """Jobs without any fault."""
        self.shim.count()
        for name in names:
            ended = self.do(JOBS[name])
            assert ended.code == 0, f"{name} failed undisturbed: {ended.err}"

    def keep(self) -> Moment:
        """This moment, to come back to."""
        self.kept += 1
        moment = Moment(
            self.scratch / f"device-{self.kept}", self.scratch / f"outside-{self.kept}", dict(self.gateway.received)
        )
        _make_same(self.device.root, moment.directory)
        _make_same(self.outside, moment.outside)
        return moment

    def go_back(self, moment: Moment) -> None:
        """Make everything as it was at that moment."""
        _make_same(moment.directory, self.device.root)
        _make_same(moment.outside, self.outside)
        self.gateway.received, self.gateway.posts = dict(moment.received), []

    def find(self, image: Image, received: dict[str, bytes]) -> None:
        """Make the disk what a power cut left of it."""
        shutil.rmtree(self.device.root, ignore_errors=True)
        write_image(image, self.device.root)
        self.gateway.received, self.gateway.posts = dict(received), []


def _make_same(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    if source.exists():
        shutil.copytree(source, target, symlinks=True)


@contextmanager
def world(scratch: Path, library: Path) -> Iterator[World]:
    """A world with nothing in it yet."""
    device = DeviceDirectory(scratch / "device")
    shim = Shim(library, scratch / "control", device.root)
    repository = Repository(scratch / "tuf")
    gateway = MarkingGateway(scratch / "tuf", trace=shim.trace_path)
    with serving(gateway), Forks(scratch, shim.environment(os.environ)) as forks:
        yield World(scratch, shim, forks, repository, gateway, device)


@dataclass(frozen=True)
class Job:
    """Something a device does, as one command. `prepare` is what the world does before it; doing it again is harmless.

    `messages` are the lines it is given; what was answered of them is what it acknowledged. `closing` is done when it
    has come to its end, before what came of it is looked at.
    """

    name: str
    after: tuple[str, ...]
    arguments: Callable[[World], list[str]]
    messages: tuple[Record, ...] = ()
    prepare: Callable[[World], None] = lambda _world: None
    closing: tuple[str, ...] = ()

    def lines(self) -> str:
        return "".join(json.dumps(message) + "\n" for message in self.messages)


def publish(version: str, bias: float = 0.0) -> Callable[[World], None]:
    """A release of this version, once; with a bias its answers lie far from the others'."""
    model = onnx_model(AGRICULTURE.contract, seed=int(version), bias=bias)
    data = zipped(bundle_files(model, version))

    def prepare(world: World) -> None:
        target = world.repository.targets.get("agriculture/bundle.zip")
        if target is None or target.length != len(data) or not _is_published(world, data):
            world.repository.release(data)

    return prepare


def _is_published(world: World, data: bytes) -> bool:
    target = world.repository.targets["agriculture/bundle.zip"]
    path = world.repository.targets_dir / "agriculture" / f"{target.hashes['sha256']}.bundle.zip"
    return path.read_bytes() == data


def _init(world: World) -> list[str]:
    root = str(world.repository.trusted_root)
    return ["init", "--device-id", DEVICE_ID, "--workload", "agriculture", "--root", root]


def _linked(command: str) -> Callable[[World], list[str]]:
    return lambda world: [command, "--gateway", world.gateway.url]


def _run(_world: World) -> list[str]:
    return ["run"]


def _register(world: World) -> None:
    """The gateway learns the device's key, as an operator would tell it."""
    if world.device.private_key.exists():
        from fieldedge.system.keys import load_key, public_key_hex

        world.gateway.public_keys[DEVICE_ID] = public_key_hex(load_key(world.device.private_key))


def _daemon(world: World) -> list[str]:
    return ["daemon", "--outside", str(world.outside), "--days", str(DAEMON_DAYS)]


def _prepare_daemon(world: World) -> None:
    _register(world)
    publish("1")(world)
    if not world.outside.exists():
        set_up(world.outside, DAEMON_DAYS)
        with world.device.settings.open("a") as file:
            file.write(settings(world.outside / "inbox", world.gateway.url))


FIRST = tuple(season_messages(SEASON_DAYS))
NEXT_DAYS = tuple(season_messages(SEASON_DAYS + 2, harvest_t_ha=None))[len(FIRST) - 1 :]
"""Two days more: the season goes on."""
FOUR_DAYS = tuple(season_messages(SEASON_DAYS + 4, harvest_t_ha=None))[len(FIRST) - 1 :]
"""So many that a model on watch is left in the middle of them."""

_JOBS = (
    Job("init", (), _init),
    Job("first update", ("init",), _linked("update"), prepare=publish("1")),
    Job("season", ("init", "first update"), _run, FIRST),
    Job("next update", ("init", "first update", "season"), _linked("update"), prepare=publish("2")),
    Job("sync", ("init", "first update", "season"), _linked("sync"), prepare=_register),
    Job("daemon", ("init",), _daemon, prepare=_prepare_daemon, closing=("sync",)),
    Job("bad update", ("init", "first update", "season"), _linked("update"), prepare=publish("9", bias=4.0)),
    Job("revert", ("init", "first update", "season", "bad update"), _run, FOUR_DAYS),
    Job("next days", ("init", "first update", "season", "sync"), _run, NEXT_DAYS),
)
JOBS = {job.name: job for job in _JOBS}
