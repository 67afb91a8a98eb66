"""Every point of a job at which it can end, one after the other: ended there, looked at, gone on from there.

A series is a job in a life, with what was before it and what comes of it undisturbed. Its points are numbered by the
shim: before, after and in the middle of each change of the disk. The power cuts of a series are those of one traced
run of it.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fieldedge.inference.loading import NO_MODEL
from fieldedge.system.keys import load_key, public_key_hex
from tests.edge.faults.daemon import go_to
from tests.edge.faults.forks import Ended
from tests.edge.faults.invariants import (
    Facts,
    check_after_death,
    check_after_recovery,
    check_after_time_has_passed,
    facts,
)
from tests.edge.faults.life import ACCEPTED, JOBS, Job, Moment, World
from tests.edge.faults.power import Disk, Entry, Image, digest, read_trace
from tests.edge.faults.shim import Fault, Where

NOTHING = Facts({}, {}, {}, [], None, {}, 0, frozenset())
TORN_SEEDS = (1, 2)


@dataclass(frozen=True)
class Series:
    """A job, the moment before it, and what there is before and after it when nothing happens."""

    job: Job
    moment: Moment
    before: Facts
    after: Facts
    calls: int
    torn: tuple[int, ...]

    @property
    def models(self) -> tuple[str, str]:
        """The versions that may be active in the middle of it."""
        return _version(self.before), _version(self.after)

    def points(self) -> list[tuple[Where, int]]:
        """All points, in order."""
        wheres: tuple[Where, ...] = ("before", "middle", "after")
        return [
            (where, at) for at in range(1, self.calls + 1) for where in wheres if where != "middle" or at in self.torn
        ]


@dataclass(frozen=True)
class Cut:
    """What a power cut at some point of a job leaves: the disk, what the gateway had taken, what had been answered."""

    what: str
    image: Image
    accepted: tuple[str, ...]
    answered: str


def series_of(world: World, name: str) -> Series:
    """Live up to a job and through it, undisturbed."""
    job = JOBS[name]
    world.live(*job.after)
    job.prepare(world)
    moment = world.keep()
    before = facts(world) if job.after else NOTHING
    world.live(name)
    calls, torn = world.shim.total, tuple(world.shim.torn_calls)
    world.live(*job.closing)
    return Series(job, moment, before, facts(world), calls, torn)


def crash(world: World, series: Series, where: Where, at: int) -> bool:
    """End the job at one point and go on from there. False where the job was over before that point.

    Raises:
        AssertionError: something was lost, doubled or left half done.
    """
    world.go_back(series.moment)
    world.shim.kill(where, at)
    ended = world.do(series.job)
    world.shim.count()
    if not ended.was_killed:
        assert ended.code == 0, ended.err
        return False
    go_on(world, series, ended)
    return True


def fail(world: World, series: Series, fault: Fault, at: int, calls: int | None) -> bool:
    """Let the disk fail from one point on, for so many calls or until the job ends; then it works again.

    False where the job was over before that point.

    Raises:
        AssertionError: as `crash`; or the job did not say in one line what was wrong.
    """
    world.go_back(series.moment)
    world.shim.fail(fault, at, calls)
    ended = world.do(series.job)
    has_failed = world.shim.failed > 0
    world.shim.count()
    assert "Traceback" not in ended.err, ended.err
    if ended.code != 0:
        assert has_failed and ended.code == 1, (ended.code, ended.err)
        assert ended.err.strip().splitlines()[-1].startswith("fieldedge: "), ended.err
    go_on(world, series, ended, has_time_passed=series.job.name == "daemon")
    return has_failed


def cuts(world: World, series: Series, *, is_store_open: bool = False) -> Iterator[Cut]:
    """The power cuts of a job that differ in what they leave: all of one undisturbed run of it.

    With `is_store_open` another process has the store open meanwhile, as the running agent has: then SQLite finds its
    log there, and does not sync the device's directory for having made it.
    """
    world.go_back(series.moment)
    with _open_store(world.device.store) if is_store_open else nullcontext():
        disk = Disk(world.device.root)
        world.shim.count(is_tracing=True)
        world.gateway.is_tracing = True
        ended = world.do(series.job)
        world.gateway.is_tracing = False
    entries, received = read_trace(world.shim.trace_path), dict(world.gateway.received)
    world.shim.count()
    assert ended.code == 0, ended.err
    seen: dict[tuple[str, tuple[str, ...]], Cut] = {}
    for cut in _cuts(disk, entries, tuple(identity for identity in received if identity in series.moment.received)):
        seen[digest(cut.image), cut.accepted] = cut  # of equal ones the last: it has the most answers to keep
    world.gateway.received = received
    yield from seen.values()


_HOLD = """
import sys
from pathlib import Path
from fieldedge.storage.store import Store

with Store(Path(sys.argv[1])) as store:
    store.add_event("looked", "another process has the store open")
    print("open", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _open_store(path: Path) -> Iterator[None]:
    """Another process with the store open. It cannot be this one: reading the file here would free its locks."""
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == b"open\n"
        yield
        holder.stdin.close()


def _cuts(disk: Disk, entries: list[Entry], accepted: tuple[str, ...]) -> Iterator[Cut]:
    answered = ""
    for number, entry in enumerate(entries, start=1):
        disk.apply(entry)
        if entry.kind == "mark" and entry.path == ACCEPTED:
            accepted = (*accepted, entry.data.decode())
        elif entry.kind == "mark":
            answered += entry.data.decode()
        where = f"after change {number} ({entry.kind} {Path(entry.other or entry.path).name})"
        yield Cut(f"strict, {where}", disk.strict(), accepted, answered)
        yield Cut(f"names, {where}", disk.names(), accepted, answered)
        for seed in TORN_SEEDS:
            yield Cut(f"torn {seed}, {where}", disk.torn(seed), accepted, answered)


def cut_power(world: World, series: Series, cut: Cut, received: dict[str, bytes]) -> None:
    """Find the disk as a power cut left it, and go on from there.

    Raises:
        AssertionError: as `crash`.
    """
    world.go_back(series.moment)
    world.find(cut.image, {identity: received[identity] for identity in cut.accepted})
    moments = [json.loads(line)["at"] for line in cut.answered.split("\n")[:-1] if '"at"' in line]
    if moments:
        go_to(world.outside, datetime.fromisoformat(moments[-1]))
    go_on(world, series, Ended(-9, cut.answered, ""))


def go_on(world: World, series: Series, ended: Ended, *, has_time_passed: bool = False) -> None:
    """Look at what a fault left, do the job again, and look at what came of it.

    `has_time_passed` says that the world went on while the device could do nothing, so that it may have missed a day.
    """
    check_after_death(world, series.job, ended, series.before, series.models)
    if series.job.name == "init" and ended.out.endswith("\n"):
        key = ended.answers()[0]["public_key"]
        assert public_key_hex(load_key(world.device.private_key)) == key, "the key that was answered is lost"
    again = world.do(series.job)
    assert again.code == 0 and "Traceback" not in again.err, again.err
    world.live(*series.job.closing)
    if has_time_passed:
        check_after_time_has_passed(world, series.after)
    else:
        check_after_recovery(world, series.after)


def _version(found: Facts) -> str:
    return NO_MODEL if found.model is None else found.model[0]
