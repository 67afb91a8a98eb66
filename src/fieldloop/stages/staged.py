"""A period in which a new version goes out in stages: the sample world's devices come online by its days.

The state machine, the signed repository, the gateway and the devices' reports are those of any clone; only the clock is
the world's. Each device takes the candidate when its stage has come and it is in the field; those of a stage come
online every few days and say how it goes. Killed at any time, the period is lived again: devices repeat what they said,
and a stage that had begun has begun.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from itertools import count, pairwise
from math import ceil
from typing import Any

from fieldedge.transfer.cohort import cohort_share
from fieldloop.core.console import OnProgress
from fieldloop.core.params import RolloutParams
from fieldloop.fleet import FleetRun
from fieldloop.release import ReleaseRepository
from fieldloop.release.misbuilt import misbuilt
from fieldloop.rollout.engine import CHANGE, Rollouts
from fieldloop.rollout.machine import RolloutState
from fieldloop.rollout.store import RolloutStore
from fieldloop.stages.context import Loop, contract_of
from fieldloop.stages.devices import fleet_of, gateway_of, source_of
from fieldloop.stages.refs import ReleasedRef
from fieldloop.stages.released import FOR_ALL, bundle_files, write_bundles
from fieldloop.stages.rollouts import rollouts_at

CONTACT_D = 8  # how often the devices of a stage are online
PATIENCE = 6  # contacts without a change after which it is left as it is, for a person
MOST_LOTS = 20_000
_DAY_BEGINS = time(6, tzinfo=UTC)
FAILED = ("reverted", "refused", "abstains", "bounded", "slow", "diverges", "silent")  # as evidence counts them
BAD = ".bad"  # how the version is called that was built wrong


def goes_in_stages(loop: Loop, released: ReleasedRef, period: int) -> bool:
    """Whether devices are offered another version by now, and the sample world has a plan for a new one.

    Also where the version went out in this period already: a period that was killed afterwards is lived again with it.
    """
    if loop.params.loop.rollout is None:
        return False
    everyones = ReleaseRepository(loop.paths.tuf).current(loop.workload)
    is_other = everyones is not None and everyones.version != released.version
    return (is_other and released.is_staged) or _went_out(loop, released.version, period)


def _went_out(loop: Loop, version: str, period: int) -> bool:
    """Whether this world's devices were offered the version in stages in this period, as the lots say."""
    states = RolloutStore(loop.paths.rollouts).all(loop.workload)
    return any(state.version == version and state.salt.startswith(_lots_of(loop, period)) for state in states)


def _lots_of(loop: Loop, period: int) -> str:
    """How the salts of a period's rollouts begin."""
    return f"{loop.paths.sample.number}-{period}-"


def day_begins(day: date) -> datetime:
    """When devices are online on a day of the world's."""
    return datetime.combine(day, _DAY_BEGINS)


class StagedPeriod:
    """The period of all devices, while versions go out."""

    def __init__(self, loop: Loop, released: ReleasedRef, period: int, on_progress: OnProgress) -> None:
        plan = loop.params.loop.rollout
        assert plan is not None  # noqa: S101 - else nothing goes out in stages
        self._loop, self._released, self._period, self._plan = loop, released, period, plan
        self._on_progress, self._workers = on_progress, loop.settings.worker_count
        self._fleet = fleet_of(loop)
        self._devices = self._fleet.begin_period(source_of(loop).places(period))
        self._begins = {device_id: device.day for device_id, device in self._devices.items()}
        self._today = min(self._begins.values())
        self._store = RolloutStore(loop.paths.rollouts)
        self._rollouts: Rollouts = rollouts_at(loop.settings, loop.workload, lambda: day_begins(self._today))

    def live(self) -> tuple[FleetRun, list[dict[str, Any]]]:
        """All devices to the end of the period; and how each version went out."""
        versions = [self._released.version]
        if self._loop.params.loop.bad_release:
            versions.insert(0, self._build_badly())
        with self._fleet.warmed():
            for version in versions:
                taken = self._roll_out(version)
            self._update([device_id for device_id in self._devices if device_id not in taken])
            lived = self._fleet.live(self._devices, None, self._workers, self._on_progress)
        assert lived is not None  # noqa: S101 - it was to the end
        return lived, [told(self._store, self._loop.workload, version) for version in versions]

    def _build_badly(self) -> str:
        """The version that was built wrong, ready for its rollout; its name."""
        version = f"{self._released.version}{BAD}"
        files = bundle_files(self._loop, self._released.version, self._loop.params.compression.device_classes)
        contract = contract_of(self._loop)
        made = {name: misbuilt(path.read_bytes(), version, contract) for name, path in files.items()}
        write_bundles(self._loop, version, {**made, FOR_ALL: next(iter(made.values()))})
        return version

    def _roll_out(self, version: str) -> set[str]:
        """Let a version go out until it is everyone's, or halted, or waits for a person; which devices were asked."""
        state = self._known(version) or self._start(version)
        taken: set[str] = set()
        self._today = max(self._today, (state.entered[-1] if state.is_open else state.at).date())
        if state.is_open or not state.is_applied:  # a kill may have come before devices were offered what it says
            state = self._rollouts.look(self._loop.workload).state
        held = 0
        while state.is_open and held < PATIENCE:
            cohort = [one for one in self._devices if cohort_share(one, state.salt) < state.percentage]
            online = [one for one in cohort if self._begins[one] <= self._today]
            self._update([one for one in online if one not in taken])
            taken.update(online)
            self._today += timedelta(days=CONTACT_D)
            self._report([one for one in cohort if one in taken])
            after = self._rollouts.look(self._loop.workload).state
            held = held + 1 if after.transition == state.transition else 0
            state = after
        return taken

    def _known(self, version: str) -> RolloutState | None:
        found = (state for state in self._store.all(self._loop.workload) if state.version == version)
        return next(found, None)

    def _start(self, version: str) -> RolloutState:
        salt = self._lots(version)
        first = [one for one in self._devices if cohort_share(one, salt) < self._plan.stages[0].percentage]
        self._today = max([self._today, *(self._begins[one] for one in first)])
        why = f"the new model of {self._period}"
        return self._rollouts.start(self._loop.workload, version, self._plan, "the period", why, salt)

    def _lots(self, version: str) -> str:
        """A salt that is this version's, by which each stage has as many of these few devices as its percentage says,
        and the first one those that are in the field early."""
        names = sorted(self._devices, key=lambda one: (self._begins[one], one))
        sizes = [round(stage.percentage * len(names) / 100.0) for stage in self._plan.stages]
        early = set(names[: max(sizes[0], ceil(len(names) / 4))])
        name = f"{_lots_of(self._loop, self._period)}{version}"
        salts = (f"{name}-{number}" for number in count())
        for _, salt in zip(range(MOST_LOTS), salts, strict=False):
            shares = {name: cohort_share(name, salt) for name in names}
            first = {name for name, share in shares.items() if share < self._plan.stages[0].percentage}
            if first <= early and sizes == _sizes(shares.values(), self._plan):
                return salt
        return name

    def _update(self, device_ids: list[str]) -> None:
        """Let these come online where they are, and take what they are offered."""
        self._live_on([one for one in device_ids if self._begins[one] < self._today])
        if device_ids:
            with self._gateway() as url:
                self._fleet.update_all(url, self._workers, device_ids=device_ids)

    def _report(self, device_ids: list[str]) -> None:
        """Let these live until today, and say how it goes."""
        self._live_on(device_ids)
        if device_ids:
            with self._gateway() as url:
                self._fleet.sync_all(url, self._workers, device_ids=device_ids)

    def _live_on(self, device_ids: list[str]) -> None:
        going = {one: self._devices[one] for one in device_ids if not self._devices[one].is_over}
        if going:
            self._fleet.live(going, self._today, self._workers)

    @contextmanager
    def _gateway(self) -> Iterator[str]:
        with gateway_of(self._loop, lambda: day_begins(self._today)) as url:
            yield url


def _sizes(shares: Any, plan: RolloutParams) -> list[int]:
    return [sum(share < stage.percentage for share in shares) for stage in plan.stages]


def told(store: RolloutStore, workload: str, version: str) -> dict[str, Any]:
    """How a version went out, for the report: its stages, each with the numbers by which it was left."""
    lines = [entry.values for entry in store.ledger.entries()]
    changes = [
        line for line in lines if line["kind"] == CHANGE and (line["workload"], line["version"]) == (workload, version)
    ]
    last = changes[-1]
    stages = [
        {
            "percentage": line["percentage"],
            "since": line["at"][:10],
            "until": after["at"][:10],
            **{name: int(after["numbers"].get(name, 0)) for name in ("cohort", "confirmed", "unreached")},
            "failed": sum(int(after["numbers"].get(name, 0)) for name in FAILED),
            "why": after["why"],
        }
        for line, after in pairwise(changes)
    ]
    return {"version": version, "phase": last["phase"], "ended_on": last["at"][:10], "stages": stages}
