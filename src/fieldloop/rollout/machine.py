"""The rollout as a state machine: what follows from what is known, by whom, with the numbers. Nothing here touches
a disk, a network or a clock.

    running ──▶ running at the next stage ──▶ … ──▶ finished
       │ ╲ where a person lets each stage begin: awaiting ──approve──▶ running
       │  paused ──resume──▶ running          (a paused rollout is halted all the same)
       ├──▶ halted      by the evidence       ╮
       ├──▶ reverted    by a person           ├ the version is withdrawn, and is not rolled out again
       ╰──▶ superseded  by the next rollout   ╯

A state that is over changes no more, but that a person may take back what has finished. The plan is kept in the state:
what a rollout began with holds to its end.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from pydantic import ValidationError

from fieldedge.system.errors import ConfigError, DataError
from fieldedge.transfer.cohort import Rollout
from fieldloop.core.params import RolloutParams
from fieldloop.rollout.evidence import Evidence
from fieldloop.rollout.statistics import log_evidence_of_harm, log_evidence_of_soundness, wilson_bounds

Phase = Literal["running", "awaiting", "paused", "finished", "halted", "reverted", "superseded"]
Step = Literal["hold", "advance", "ask", "halt", "finish"]
PHASES: tuple[Phase, ...] = get_args(Phase)
OPEN: tuple[Phase, ...] = ("running", "awaiting", "paused")
WITHDRAWN: tuple[Phase, ...] = ("halted", "reverted", "superseded")
MACHINE = "the rollout itself"


@dataclass(frozen=True)
class RolloutState:
    """Where one rollout stands: all that is kept of it.

    `number` counts the workload's rollouts, `transition` this one's changes; `entered` holds when each stage so far
    began. `is_applied` tells whether the signed repository has what the last change asks for.
    """

    workload: str
    version: str
    number: int
    salt: str
    plan: RolloutParams
    phase: Phase
    stage: int
    entered: tuple[datetime, ...]
    transition: int
    is_applied: bool
    at: datetime
    by: str
    why: str
    numbers: Mapping[str, Any]

    @property
    def is_open(self) -> bool:
        return self.phase in OPEN

    @property
    def percentage(self) -> float:
        return self.plan.stages[self.stage].percentage

    @property
    def rollout(self) -> Rollout:
        """What the signed metadata says of it."""
        return Rollout(self.percentage, self.salt, self.entered[0])

    @property
    def stage_words(self) -> str:
        return f"stage {self.stage + 1} of {len(self.plan.stages)}, {self.percentage:g} %"

    def as_json(self) -> bytes:
        """What `read_state` reads."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        values["plan"] = self.plan.model_dump(mode="json")
        values["entered"] = [moment.isoformat() for moment in self.entered]
        values["at"] = self.at.isoformat()
        return json.dumps(values, indent=1, allow_nan=False).encode() + b"\n"


def read_state(data: bytes) -> RolloutState:
    """The state in these bytes.

    Raises:
        DataError: they are none that `as_json` wrote.
    """
    try:
        values = json.loads(data)
        values["plan"] = RolloutParams.model_validate(values["plan"])
        values["entered"] = tuple(datetime.fromisoformat(moment) for moment in values["entered"])
        values["at"] = datetime.fromisoformat(values["at"])
        state = RolloutState(**values)
        is_sound = state.phase in PHASES and 0 <= state.stage < len(state.plan.stages)
        if not is_sound or len(state.entered) != state.stage + 1:
            raise ValueError(f"phase {state.phase!r:.40} at stage {state.stage!r:.40}")
    except (ValueError, TypeError, KeyError, ValidationError) as error:
        raise DataError(f"no state of a rollout: {' '.join(str(error).split())[:200]}") from error
    return state


@dataclass(frozen=True)
class Decision:
    """What follows from the evidence, why, and the numbers of it."""

    step: Step
    why: str
    numbers: Mapping[str, Any]


def begin(
    workload: str, version: str, number: int, salt: str, plan: RolloutParams, now: datetime, by: str, why: str
) -> RolloutState:
    """A rollout's first state: its first stage."""
    return RolloutState(
        workload, version, number, salt, plan, "running", 0, (now,), 0, False, now, by, why or "begun", {}
    )


def decide(state: RolloutState, evidence: Evidence, now: datetime) -> Decision:
    """What the evidence asks for. Harm halts at any time, and however the rollout was paused."""
    plan = state.plan
    proof = _Proof(plan, evidence)
    numbers = {**proof.as_dict(), **evidence.as_dict(), "percentage": state.percentage}

    def decided(step: Step, why: str) -> Decision:
        return Decision(step, f"{state.stage_words}: {why}; {evidence.words()}; {proof.words()}", numbers)

    if not state.is_open:
        return Decision("hold", f"it is {state.phase}: {state.why}", numbers)
    if proof.is_harmful:
        return decided("halt", f"more than {plan.acceptable_failed_pct:g} % of the devices fail with it")
    if state.phase == "paused":
        return decided("hold", f"paused by {state.by}: {state.why}")
    if state.phase == "awaiting":
        return decided("hold", "a person is to let the next stage begin")
    soaked, soak = now - state.entered[-1], timedelta(days=plan.stages[state.stage].soak_d)
    is_last = state.stage == len(plan.stages) - 1
    if evidence.cohort == 0 and not is_last:
        return _go_on(state, decided, "it holds none of the registered devices")
    if soaked < soak:
        return decided("hold", f"it has lasted {_days(soaked)} of {_days(soak)} days")
    is_shown, why = _is_shown_sound(plan, evidence, proof, is_last)
    return _go_on(state, decided, why) if is_shown else decided("hold", why)


def _go_on(state: RolloutState, decided: Callable[[Step, str], Decision], why: str) -> Decision:
    if state.plan.approval == "required":
        return decided("ask", why)
    return decided("finish" if state.stage == len(state.plan.stages) - 1 else "advance", why)


def _is_shown_sound(plan: RolloutParams, evidence: Evidence, proof: "_Proof", is_last: bool) -> tuple[bool, str]:
    """Whether what is known suffices to go on, and why or why not."""
    if evidence.ripe >= plan.min_sample and proof.is_sound:
        return True, f"fewer than {plan.unacceptable_failed_pct:g} % of the devices fail with it"
    if evidence.pending:
        return False, f"{evidence.ripe} devices have had it long enough and answered, which is too few to tell"
    if evidence.answered == 0:
        if is_last or evidence.untaken:
            return False, "no device has said how it went"
        return True, "no device of it was online, and none that was never online is waited for"
    few = f"all {evidence.answered} devices that were online have answered"
    if 100.0 * evidence.failed <= plan.acceptable_failed_pct * evidence.answered:
        return True, f"{few}, there are no more to ask, and no more failed than is acceptable"
    if evidence.ripe >= plan.min_sample and proof.high_pct <= plan.unacceptable_failed_pct:
        return True, f"{few}, and the interval lies below what is unacceptable"
    return False, f"{few}, and too many failed to go on without a person's word"


class _Proof:
    """The figures of a decision."""

    def __init__(self, plan: RolloutParams, evidence: Evidence) -> None:
        acceptable, unacceptable = plan.acceptable_failed_pct / 100.0, plan.unacceptable_failed_pct / 100.0
        self._plan, self._evidence = plan, evidence
        self.harm = log_evidence_of_harm(evidence.failed, evidence.reached, acceptable)
        self.soundness = log_evidence_of_soundness(evidence.ripe_failed, evidence.ripe, acceptable, unacceptable)
        self.harm_limit, self.soundness_limit = -math.log(plan.false_halt_risk), -math.log(plan.missed_halt_risk)
        low, high = wilson_bounds(evidence.ripe_failed, evidence.ripe, plan.confidence)
        self.low_pct, self.high_pct = 100.0 * low, 100.0 * high

    @property
    def is_harmful(self) -> bool:
        return self.harm >= self.harm_limit

    @property
    def is_sound(self) -> bool:
        return self.soundness >= self.soundness_limit

    def as_dict(self) -> dict[str, float]:
        return {
            "failed_low_pct": round(self.low_pct, 3),
            "failed_high_pct": round(self.high_pct, 3),
            "evidence_of_harm": round(self.harm, 3),
            "halts_at": round(self.harm_limit, 3),
            "evidence_of_soundness": round(self.soundness, 3),
            "passes_at": round(self.soundness_limit, 3),
        }

    def words(self) -> str:
        found = self._evidence
        share = f"of {found.ripe} that had it long enough {100.0 * found.ripe_failed / max(found.ripe, 1):.2f} % failed"
        return (
            f"{share if found.ripe else 'none had it long enough'} ({self._plan.confidence:.0%}: {self.low_pct:.2f} to "
            f"{self.high_pct:.2f} %); evidence of harm {self.harm:.1f}, halts at {self.harm_limit:.1f}; of soundness "
            f"{self.soundness:.1f}, passes at {self.soundness_limit:.1f}"
        )


def changed(state: RolloutState, decision: Decision, now: datetime) -> RolloutState:
    """The state after a decision of the machine's; the same object where it holds."""
    if decision.step == "hold" or not state.is_open:
        return state
    after = _after(state, now, MACHINE, decision.why, decision.numbers)
    if decision.step == "halt":
        return replace(after, phase="halted", is_applied=False)
    if decision.step == "ask":
        return replace(after, phase="awaiting")
    return _next_stage(after, now)


def paused(state: RolloutState, now: datetime, by: str, why: str) -> RolloutState:
    """No stage begins until it is resumed.

    Raises:
        ConfigError: it is paused, or over.
    """
    _check_open(state, "pause")
    if state.phase == "paused":
        raise ConfigError(f"the rollout of version {state.version} is paused already, by {state.by}: {state.why}")
    return replace(_after(state, now, by, why, {}), phase="paused")


def resumed(state: RolloutState, now: datetime, by: str, why: str) -> RolloutState:
    """It goes on where it was paused.

    Raises:
        ConfigError: it is not paused.
    """
    _check_open(state, "resume")
    if state.phase != "paused":
        raise ConfigError(f"the rollout of version {state.version} is not paused: it is {state.phase}")
    return replace(_after(state, now, by, why, {}), phase="running")


def approved(state: RolloutState, evidence: Evidence, now: datetime, by: str, why: str) -> RolloutState:
    """A person lets the next stage begin, or the rollout end; where the evidence is too thin too, once it has soaked.

    Raises:
        ConfigError: nothing waits for an approval; the message has what it waits for.
    """
    _check_open(state, "approve")
    decision = decide(replace(state, phase="running"), evidence, now)
    soak = timedelta(days=state.plan.stages[state.stage].soak_d)
    is_soaked = now - state.entered[-1] >= soak or decision.step != "hold"
    if decision.step == "halt" or state.phase == "paused" or not is_soaked:
        raise ConfigError(f"version {state.version} waits for no approval: {decide(state, evidence, now).why}")
    return _next_stage(_after(state, now, by, why, decision.numbers), now)


def reverted(state: RolloutState, now: datetime, by: str, why: str) -> RolloutState:
    """A person takes the version back, after the rollout has finished too.

    Raises:
        ConfigError: it was taken back already.
    """
    if state.phase != "finished":
        _check_open(state, "revert")
    return replace(_after(state, now, by, why, {}), phase="reverted", is_applied=False)


def superseded(state: RolloutState, now: datetime, by: str, version: str) -> RolloutState:
    """The next rollout begins; one that is stuck blocks nothing."""
    why = f"version {version} is rolled out instead"
    return replace(_after(state, now, by, why, {}), phase="superseded", is_applied=False)


def _next_stage(state: RolloutState, now: datetime) -> RolloutState:
    if state.stage == len(state.plan.stages) - 1:
        return replace(state, phase="finished", is_applied=False)
    return replace(state, phase="running", stage=state.stage + 1, entered=(*state.entered, now), is_applied=False)


def _after(state: RolloutState, now: datetime, by: str, why: str, numbers: Mapping[str, Any]) -> RolloutState:
    return replace(state, transition=state.transition + 1, at=now, by=by, why=why, numbers=dict(numbers))


def _check_open(state: RolloutState, verb: str) -> None:
    if not state.is_open:
        raise ConfigError(
            f"there is nothing to {verb}: the rollout of version {state.version} of {state.workload} is {state.phase} "
            f"since {state.at.isoformat(timespec='minutes')}: {state.why}. `fieldloop rollout start VERSION` begins one"
        )


def _days(span: timedelta) -> str:
    return f"{span.total_seconds() / 86_400.0:.1f}".removesuffix(".0")
