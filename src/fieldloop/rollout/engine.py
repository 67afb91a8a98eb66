"""A rollout carried out: reports into the ledger, a decision, the signed repository. Pure decisions are `machine.py`'s.

A change is kept on disk first, then asked of the repository, then noted as done, then written into the ledger. Whatever
kills the process in between, the next look goes on from there: what is asked of the repository may be asked twice, and
a change stands in the ledger once.
"""

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fieldedge.contract.update_report import UpdateReport
from fieldedge.system.errors import ConfigError, DataError
from fieldedge.transfer.cohort import Rollout, cohort_share
from fieldloop.core.params import RolloutParams
from fieldloop.rollout import machine
from fieldloop.rollout.evidence import NEVER, Evidence, Observed, count, outcome_of
from fieldloop.rollout.machine import Decision, RolloutState
from fieldloop.rollout.store import RolloutStore

SALT_BYTES = 8
DEVICE, CHANGE = "device", "rollout"  # kinds of lines in the ledger


@dataclass(frozen=True)
class Standing:
    """What the signed repository offers for one workload."""

    released: str | None
    candidate: str | None
    withdrawn: Collection[str]


class Releases(Protocol):
    """What a rollout asks of the signed repository; each may be asked again, and changes nothing then."""

    def standing(self, workload: str) -> Standing:
        """What is offered now."""

    def publish_candidate(self, workload: str, version: str, files: Mapping[str, Path], rollout: Rollout) -> None:
        """Offer a version, by device class, to whom the rollout says."""

    def set_rollout(self, workload: str, rollout: Rollout) -> None:
        """Offer the candidate to more devices."""

    def finish_rollout(self, workload: str) -> None:
        """Offer the candidate to every device."""

    def withdraw(self, workload: str, version: str) -> None:
        """Say that devices go back from a version."""


@dataclass(frozen=True)
class Received:
    """A report that came in: when, and the SHA-256 of its bytes."""

    report: UpdateReport
    received: datetime
    sha256: str


class Fleet(Protocol):
    """What is known of the devices."""

    def devices(self) -> Collection[str]:
        """The registered ones."""

    def contacts(self) -> Mapping[str, Sequence[datetime]]:
        """When something of each was received, in order of time; devices of which nothing was are left out."""

    def reports(self) -> Iterable[Received]:
        """Every update report that is held."""


@dataclass(frozen=True)
class Look:
    """What was found by looking at a rollout, and what it came to."""

    state: RolloutState
    evidence: Evidence
    decision: Decision

    def lines(self) -> list[str]:
        """For people."""
        state = self.state
        head = (
            f"rollout {state.number} of {state.workload}: version {state.version}, {state.phase}, {state.stage_words}"
        )
        stages = [
            f"  {stage.percentage:>5g} % since {entered:%Y-%m-%d %H:%M} UTC, {stage.soak_d:g} days at least"
            for stage, entered in zip(state.plan.stages, state.entered, strict=False)
        ]
        change = f"last change by {state.by}, {state.at:%Y-%m-%d %H:%M} UTC: {state.why}"
        now = f"now {self.decision.step}: {self.decision.why}" if state.is_open else f"now {self.evidence.words()}"
        return [head, *stages, change, now]


class Rollouts:
    """The rollouts of one clone.

    Args:
        files_of: the bundle of a version for each device class; empty where the version is not released.
        now: the clock, UTC.
    """

    def __init__(
        self,
        store: RolloutStore,
        releases: Releases,
        fleet: Fleet,
        files_of: Callable[[str, str], Mapping[str, Path]],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._releases, self._fleet = store, releases, fleet
        self._files_of, self._now = files_of, now

    def start(
        self, workload: str, version: str, plan: RolloutParams, by: str, why: str = "", salt: str = ""
    ) -> RolloutState:
        """Begin the rollout of a version; one that is open is superseded, and its version withdrawn.

        Args:
            salt: draws the devices of each stage; at random where it is left out.

        Raises:
            ConfigError: the version is not released, was withdrawn, is everyone's or is in rollout already.
        """
        with self._store.alone():
            noted = self._noted()
            found = self._store.all(workload)
            self._take_reports(found, noted)
            current = found[-1] if found else None
            self._check_startable(workload, version, current)
            now, number = self._now(), 1 if current is None else current.number + 1
            if current is not None and current.is_open:  # whatever it is stuck in: what it asks for is not asked again
                self._note(current, noted)
                self._carry_out(machine.superseded(current, now, by, version), noted)
            elif current is not None:
                self._apply(current, noted)
            drawn = salt or secrets.token_hex(SALT_BYTES)
            return self._carry_out(machine.begin(workload, version, number, drawn, plan, now, by, why), noted)

    def look(self, workload: str) -> Look:
        """Take in what devices reported, decide, and carry it out.

        Raises:
            ConfigError: there was no rollout of this workload.
        """
        with self._store.alone():
            noted = self._noted()
            state = self._required(workload, noted)
            evidence = self._evidence(state, noted)
            decision = machine.decide(state, evidence, self._now())
            after = machine.changed(state, decision, self._now())
            return Look(after if after is state else self._carry_out(after, noted), evidence, decision)

    def peek(self, workload: str) -> Look:
        """What a look would find now; nothing is decided, written or asked.

        Raises:
            ConfigError: there was no rollout of this workload.
        """
        with self._store.alone():
            noted, found = self._noted(), self._store.all(workload)
            if not found:
                raise self._none_yet(workload)
            for line in self._new_lines(found, noted):
                noted.add(line)
            evidence = self._evidence(found[-1], noted)
            return Look(found[-1], evidence, machine.decide(found[-1], evidence, self._now()))

    def pause(self, workload: str, by: str, why: str) -> RolloutState:
        """Let no further stage begin."""
        return self._by_person(workload, lambda state, now, _found: machine.paused(state, now, by, why))

    def resume(self, workload: str, by: str, why: str) -> RolloutState:
        """Go on where it was paused."""
        return self._by_person(workload, lambda state, now, _found: machine.resumed(state, now, by, why))

    def revert(self, workload: str, by: str, why: str) -> RolloutState:
        """Take the version back from every device that has it."""
        return self._by_person(workload, lambda state, now, _found: machine.reverted(state, now, by, why))

    def approve(self, workload: str, by: str, why: str) -> RolloutState:
        """Let the next stage begin, or the rollout end."""
        return self._by_person(workload, lambda state, now, found: machine.approved(state, found, now, by, why))

    def _by_person(
        self, workload: str, change: Callable[[RolloutState, datetime, Evidence], RolloutState]
    ) -> RolloutState:
        with self._store.alone():
            noted = self._noted()
            state = self._required(workload, noted)
            return self._carry_out(change(state, self._now(), self._evidence(state, noted)), noted)

    def _check_startable(self, workload: str, version: str, current: RolloutState | None) -> None:
        standing = self._releases.standing(workload)
        if version in standing.withdrawn:
            raise ConfigError(
                f"version {version} of {workload} was withdrawn, and devices go back from it; release another version"
            )
        if version == standing.released:
            raise ConfigError(f"version {version} of {workload} is what every device is offered already")
        if current is not None and current.is_open and current.version == version:
            raise ConfigError(
                f"version {version} of {workload} is in rollout already: {current.stage_words}, {current.phase}"
            )
        if not self._files_of(workload, version):
            raise ConfigError(
                f"version {version} of {workload} is not released: there is no bundle of it. `fieldloop release list` "
                "names those that are; `retrain` makes one"
            )

    def _required(self, workload: str, noted: "_Noted") -> RolloutState:
        state = self._settled(workload, noted)
        if state is None:
            raise self._none_yet(workload)
        return state

    def _none_yet(self, workload: str) -> ConfigError:
        return ConfigError(
            f"no version of {workload} was ever rolled out: `fieldloop rollout start VERSION` begins one"
        )

    def _settled(self, workload: str, noted: "_Noted") -> RolloutState | None:
        """The current rollout, after whatever a kill cut off was gone on with; reports are taken in before."""
        found = self._store.all(workload)
        for state in found[:-1]:
            self._apply(state, noted)
        self._take_reports(found, noted)
        return self._apply(found[-1], noted) if found else None

    def _carry_out(self, state: RolloutState, noted: "_Noted") -> RolloutState:
        self._store.keep(state)
        return self._apply(state, noted)

    def _apply(self, state: RolloutState, noted: "_Noted") -> RolloutState:
        """Have the repository and the ledger say what the state says; nothing where they do."""
        if not state.is_applied:
            self._ask_repository(state)
            state = self._store.keep_applied(state)
        self._note(state, noted)
        return state

    def _note(self, state: RolloutState, noted: "_Noted") -> None:
        if (state.workload, state.number, state.transition) not in noted.changes:
            self._append([_change_line(state)], noted)

    def _ask_repository(self, state: RolloutState) -> None:
        standing = self._releases.standing(state.workload)
        if state.phase in machine.WITHDRAWN:
            is_offered = state.version in (standing.candidate, standing.released)
            if is_offered or state.phase != "superseded":  # one that was stuck may never have been offered
                self._releases.withdraw(state.workload, state.version)
        elif state.phase == "finished":
            if standing.released != state.version:  # else it was done before a kill
                self._releases.finish_rollout(state.workload)
        elif standing.candidate == state.version:
            self._releases.set_rollout(state.workload, state.rollout)
        else:
            files = self._files_of(state.workload, state.version)
            if not files:
                raise DataError(f"the bundle of version {state.version} of {state.workload} is gone; restore it")
            self._releases.publish_candidate(state.workload, state.version, files, state.rollout)

    def _noted(self) -> "_Noted":
        noted = _Noted()
        for entry in self._store.ledger.entries():
            noted.add(entry.values)
        return noted

    def _append(self, lines: Sequence[Mapping[str, Any]], noted: "_Noted") -> None:
        self._store.ledger.append(lines)
        for line in lines:
            noted.add(line)

    def _take_reports(self, rollouts: Sequence[RolloutState], noted: "_Noted") -> None:
        """Every report that the ledger does not have, into it."""
        self._append(self._new_lines(rollouts, noted), noted)

    def _new_lines(self, rollouts: Sequence[RolloutState], noted: "_Noted") -> list[dict[str, Any]]:
        by_version = {(state.workload, state.version): state for state in rollouts}
        new = {one.sha256: one for one in self._fleet.reports() if one.sha256 not in noted.reports}
        in_order = sorted(new.values(), key=lambda found: (found.received, found.report.at, found.sha256))
        return [_device_line(one, by_version.get((one.report.workload, one.report.version))) for one in in_order]

    def _evidence(self, state: RolloutState, noted: "_Noted") -> Evidence:
        observed = observe(state, self._fleet.devices(), self._fleet.contacts(), noted.devices)
        return count(observed, state.percentage, self._now().timestamp(), state.plan)


class _Noted:
    """What the ledger has: reports by hash, changes, and the devices' lines by version."""

    def __init__(self) -> None:
        self.reports: set[str] = set()
        self.changes: set[tuple[str, int, int]] = set()
        self.devices: dict[tuple[str, str], list[Mapping[str, Any]]] = {}

    def add(self, line: Mapping[str, Any]) -> None:
        if line["kind"] == DEVICE:
            self.reports.add(line["report"])
            self.devices.setdefault((line["workload"], line["version"]), []).append(line)
        else:
            self.changes.add((line["workload"], line["rollout"], line["transition"]))


def observe(
    state: RolloutState,
    devices: Collection[str],
    contacts: Mapping[str, Sequence[datetime]],
    lines: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]],
) -> Observed:
    """What is known of each registered device, as arrays in the order of their names.

    What came in before the device was offered the version it cannot have: such a report counts for nothing. A device
    whose clock says 1970 has had it since it was offered it, and no longer.
    """
    names = sorted(devices)
    shares = {device: cohort_share(device, state.salt) for device in names}
    offered = {device: _offered(state, share) for device, share in shares.items()}
    newest: dict[str, Mapping[str, Any]] = {}
    first_said: dict[str, datetime] = {}
    for line in lines.get((state.workload, state.version), ()):
        device, at = line["device_id"], datetime.fromisoformat(line["at"])
        since = offered.get(device)
        if since is None or datetime.fromisoformat(line["received_at"]) < since.replace(microsecond=0):
            continue
        first_said[device] = max(since, min(at, first_said.get(device, at)))
        known = newest.get(device)
        if known is None or datetime.fromisoformat(known["at"]) <= at:
            newest[device] = line
    share, online_s, heard_s, said_s = (np.full(len(names), NEVER) for _ in range(4))
    observed = Observed(share, online_s, heard_s, said_s, np.zeros(len(names)), np.zeros(len(names), np.int8))
    for number, device in enumerate(names):
        observed.share[number] = shares[device]
        heard = contacts.get(device, ())
        began = offered[device]
        if began is not None:
            since_then = (moment for moment in heard if moment >= began)
            observed.online_s[number] = min((moment.timestamp() for moment in since_then), default=NEVER)
        observed.heard_s[number] = heard[-1].timestamp() if heard else -NEVER
        before = [moment for moment in heard if moment <= state.entered[0]]
        gaps = (later - earlier for earlier, later in pairwise(before))
        observed.gap_s[number] = max(gaps, default=timedelta()).total_seconds()
        if device in newest:
            observed.said_s[number] = first_said[device].timestamp()
            observed.outcome[number] = outcome_of(report_of(newest[device]), state.plan.limits, state.plan.confidence)
    return observed


def _offered(state: RolloutState, share: float) -> datetime | None:
    """When a device of this share was first offered the version."""
    begun = zip(state.plan.stages, state.entered, strict=False)
    return next((moment for stage, moment in begun if share < stage.percentage), None)


_FIGURES = ("decisions", "abstained", "guardrail_hits", "latency_p99_ms", "divergence")


def report_of(line: Mapping[str, Any]) -> UpdateReport:
    """The report that a line of the ledger was made of."""
    said = ("device_id", "workload", "version", "former_version", "state", "reason", *_FIGURES)
    return UpdateReport(at=line["device_at"], **{name: line[name] for name in said})


def _device_line(one: Received, rollout: RolloutState | None) -> dict[str, Any]:
    report = one.report
    said = datetime.fromisoformat(report.at)
    return {
        "kind": DEVICE,
        "at": min(said, one.received).isoformat(timespec="seconds"),  # a clock that runs ahead says no time to come
        "device_at": report.at,
        "received_at": one.received.isoformat(timespec="seconds"),
        "device_id": report.device_id,
        "workload": report.workload,
        "version": report.version,
        "former_version": report.former_version,
        "state": report.state,
        "reason": report.reason,
        "rollout": None if rollout is None else rollout.number,
        **{name: getattr(report, name) for name in _FIGURES},
        "report": one.sha256,
    }


def _change_line(state: RolloutState) -> dict[str, Any]:
    return {
        "kind": CHANGE,
        "at": state.at.isoformat(timespec="seconds"),
        "workload": state.workload,
        "version": state.version,
        "rollout": state.number,
        "transition": state.transition,
        "phase": state.phase,
        "percentage": state.percentage,
        "salt": state.salt,
        "by": state.by,
        "why": state.why,
        "numbers": dict(state.numbers),
    }
