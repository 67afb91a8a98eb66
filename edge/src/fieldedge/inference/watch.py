"""The watch of a new model: what is seen of it at each decision beside the former one, and what follows from that.

Of every decision it is noted whether the new model answered and whether its answer stood, against what the former would
have done with the very same question: what both leave to the rule speaks against neither. A decision that no model
could have been asked for (old data) teaches nothing and is not counted. From a few decisions on the watch ends as soon
as a limit is passed, and at once where the model fails to run; else it ends confirmed when enough were seen. Pure:
storing is the store's, switching `slots.py`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldedge.contract import Record
from fieldedge.contract.update_report import State, UpdateReport, as_reason, as_version
from fieldedge.device.config import WatchConfig
from fieldedge.inference.pointer import Installed

Array = NDArray[np.float32]
MAX_DIVERGENCE = 1e6  # standard deviations; more is as bad


@dataclass(frozen=True)
class Seen:
    """One decision on watch. `abstained` is why the new model gave no answer where the former did, `overruled` whether
    a rule had the last word where it would not have had it over the former, `failed` why the model could not be run.

    `former` is what would have been decided by the former model; None where there is none.
    """

    record_id: str
    latency_ms: float
    abstained: str | None = None
    overruled: bool = False
    failed: str | None = None
    divergence: float | None = None
    former: Record | None = None

    def as_record(self) -> Record:
        return {
            "record_id": self.record_id,
            "latency_ms": self.latency_ms,
            "abstained": self.abstained,
            "overruled": self.overruled,
            "failed": self.failed,
            "divergence": self.divergence,
            "former": self.former,
        }


@dataclass(frozen=True)
class Tally:
    """All decisions of a watch so far."""

    decisions: int = 0
    abstained: int = 0
    overruled: int = 0
    divergence: float | None = None
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    failed: str | None = None


@dataclass(frozen=True)
class Verdict:
    """How a watch ends, and why."""

    is_confirmed: bool
    reason: str


def tally(rows: Sequence[Mapping[str, Any]]) -> Tally:
    """The figures of the rows that `Seen.as_record` made."""
    if not rows:
        return Tally()
    latencies = np.array([float(row["latency_ms"]) for row in rows])
    far = [float(row["divergence"]) for row in rows if row["divergence"] is not None]
    return Tally(
        decisions=len(rows),
        abstained=sum(row["abstained"] is not None for row in rows),
        overruled=sum(bool(row["overruled"]) for row in rows),
        divergence=round(float(np.mean(far)), 4) if far else None,
        latency_p50_ms=round(float(np.percentile(latencies, 50)), 3),
        latency_p99_ms=round(float(np.percentile(latencies, 99)), 3),
        failed=next((str(row["failed"]) for row in rows if row["failed"] is not None), None),
    )


def verdict(seen: Tally, limits: WatchConfig, *, has_former: bool) -> Verdict | None:
    """How the watch ends by what was seen so far; None while it goes on.

    Where there is no model to go back to, abstaining costs nothing: the rule decides either way.
    """
    if seen.failed is not None:
        return Verdict(False, f"it failed to run: {seen.failed}")
    if seen.decisions >= min(limits.judged_from, limits.decisions):
        for fault in _faults(seen, limits, has_former=has_former):
            return Verdict(False, fault)
    if seen.decisions >= limits.decisions:
        return Verdict(True, f"nothing spoke against it in {seen.decisions} decisions")
    return None


def _faults(seen: Tally, limits: WatchConfig, *, has_former: bool) -> list[str]:
    found = []
    many = f"of {seen.decisions} decisions"
    if has_former and seen.abstained > limits.max_abstained_share * seen.decisions:
        found.append(f"it abstained in {seen.abstained} {many}, at most {limits.max_abstained_share:.0%} are allowed")
    if seen.overruled > limits.max_guardrail_share * seen.decisions:
        found.append(
            f"a guardrail stopped it in {seen.overruled} {many}, at most {limits.max_guardrail_share:.0%} are allowed"
        )
    if seen.divergence is not None and seen.divergence > limits.max_divergence:
        found.append(
            f"its answers lie {seen.divergence:.3g} standard deviations from the former model's, at most "
            f"{limits.max_divergence:g} are allowed"
        )
    if seen.latency_p50_ms is not None and seen.latency_p50_ms > limits.max_latency_ms:
        found.append(
            f"half of its decisions took more than {seen.latency_p50_ms:.0f} ms, at most {limits.max_latency_ms:g} ms "
            "are allowed"
        )
    return found


def divergence_sd(former: Array, new: Array, spread: Array) -> float:
    """The mean distance of two models' answers (K, outputs), in the standard deviations (outputs,) of the former's."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.mean(np.abs(new.astype(np.float64) - former.astype(np.float64)) / spread))
    return round(min(mean, MAX_DIVERGENCE), 4) if np.isfinite(mean) else MAX_DIVERGENCE


def spread_of(outputs: Array) -> Array:
    """The standard deviation (outputs,) of each output of a model over its golden vectors."""
    spread = outputs.std(axis=0, dtype=np.float64)
    spread[spread < 1e-9] = 1.0
    found: Array = spread.astype(np.float32)
    return found


def progress(seen: Tally, limits: WatchConfig) -> str:
    """How far a watch has come, in words."""
    return f"watching {min(seen.decisions, limits.decisions)} of {limits.decisions}"


def report(
    device_id: str,
    at: str,
    workload: str,
    installed: Installed,
    former: Installed | None,
    state: State,
    reason: str,
    seen: Tally | None = None,
) -> UpdateReport:
    """What the fleet's owner is told of a version on this device."""
    seen = seen or Tally()
    return UpdateReport(
        device_id=device_id,
        at=at,
        workload=workload,
        version=as_version(installed.version),
        former_version=None if former is None else as_version(former.version),
        state=state,
        reason=as_reason(reason),
        decisions=seen.decisions,
        abstained=seen.abstained,
        guardrail_hits=seen.overruled,
        latency_p99_ms=seen.latency_p99_ms,
        divergence=seen.divergence,
    )
