"""What devices have reported of a version, counted: who is in, who was online, how it went.

A device in the cohort is in exactly one of these at any time: confirmed; failed in one of several ways; pending; never
online since it was offered the version (it blocks nothing); or online and not taking it, as former clients do that know
of no candidates (it counts for nothing, and is shown). Silent is failed: a device that said it has the version and then
nothing more until its deadline, or that was online, said nothing of it and was never heard again.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldedge.contract.update_report import UpdateReport
from fieldloop.core.params import RolloutLimitParams, RolloutParams
from fieldloop.rollout.statistics import wilson_bounds

DAY_S = 86_400.0
NEVER = float("inf")


class Outcome(IntEnum):
    """How it went on one device, by its newest report."""

    NONE = 0  # nothing said
    PENDING = 1  # installed, or watched and within the limits so far
    CONFIRMED = 2
    REVERTED = 3
    REFUSED = 4
    ABSTAINS = 5
    BOUNDED = 6
    SLOW = 7
    DIVERGES = 8


FAILED_BY_REPORT = tuple(outcome for outcome in Outcome if outcome > Outcome.CONFIRMED)


def outcome_of(report: UpdateReport, limits: RolloutLimitParams, confidence: float) -> Outcome:
    """What a report says of its device. A rate is beyond its limit only where chance does not explain it."""
    if report.state == "reverted":
        return Outcome.REVERTED
    if report.state == "refused":
        return Outcome.REFUSED

    def shown_pct(count: int) -> float:
        return 100.0 * wilson_bounds(count, report.decisions, confidence)[0]

    if shown_pct(report.abstained) > limits.max_abstained_pct:
        return Outcome.ABSTAINS
    if shown_pct(report.guardrail_hits) > limits.max_guardrail_pct:
        return Outcome.BOUNDED
    if report.latency_p99_ms is not None and report.latency_p99_ms > limits.max_latency_p99_ms:
        return Outcome.SLOW
    if report.divergence is not None and report.divergence > limits.max_divergence:
        return Outcome.DIVERGES
    is_confirmed = report.state == "confirmed" and report.decisions > 0  # a watch of nothing has confirmed nothing
    return Outcome.CONFIRMED if is_confirmed else Outcome.PENDING


@dataclass
class Observed:
    """What is known of each device, one entry per device in every array; times in seconds since the epoch.

    `share` is its place in the rollout's order, `online_s` its first contact since it was offered the version,
    `heard_s` its last contact, `said_s` its first report of the version (`NEVER` where there is none), `gap_s` its
    longest silence in the time before, and `outcome` an `Outcome`.
    """

    share: npt.NDArray[np.float64]
    online_s: npt.NDArray[np.float64]
    heard_s: npt.NDArray[np.float64]
    said_s: npt.NDArray[np.float64]
    gap_s: npt.NDArray[np.float64]
    outcome: npt.NDArray[np.int8]


@dataclass(frozen=True)
class Evidence:
    """Devices of a rollout's cohort, counted; `ripe` had the version long enough to say how it went, and did.

    Failures are heard of before successes are, which take the whole watch: a share is fair among the ripe alone.
    """

    cohort: int = 0
    unreached: int = 0
    untaken: int = 0
    pending: int = 0
    confirmed: int = 0
    reverted: int = 0
    refused: int = 0
    abstains: int = 0
    bounded: int = 0
    slow: int = 0
    diverges: int = 0
    silent: int = 0
    ripe: int = 0
    ripe_failed: int = 0

    @property
    def failed(self) -> int:
        by_report = self.reverted + self.refused + self.abstains + self.bounded + self.slow + self.diverges
        return by_report + self.silent

    @property
    def answered(self) -> int:
        """Devices of which it is known how it went."""
        return self.confirmed + self.failed

    @property
    def reached(self) -> int:
        """Devices that were online since they were offered the version, and take it."""
        return self.answered + self.pending

    def as_dict(self) -> dict[str, int]:
        """For JSON."""
        return asdict(self)

    def words(self) -> str:
        """The counts, for people."""
        ways: Mapping[str, int] = {
            "went back": self.reverted,
            "refused it": self.refused,
            "abstain too often": self.abstains,
            "are bounded too often": self.bounded,
            "are too slow": self.slow,
            "differ too much from the former model": self.diverges,
            "fell silent": self.silent,
        }
        failed = ", ".join(f"{count} {words}" for words, count in ways.items() if count)
        parts = [f"{self.confirmed} confirmed", f"{self.failed} failed" + (f" ({failed})" if failed else "")]
        parts.append(f"{self.pending} under way")
        for count, words in ((self.unreached, "not online since"), (self.untaken, "online and not taking it")):
            if count:
                parts.append(f"{count} {words}")
        return f"of {self.cohort} devices {', '.join(parts)}"


def count(observed: Observed, percentage: float, now_s: float, plan: RolloutParams) -> Evidence:
    """The cohort at this percentage, counted."""
    share, outcome = observed.share, observed.outcome
    is_cohort = share < percentage
    patience_s = plan.answer_within_d * DAY_S + plan.missed_contacts * observed.gap_s
    is_said = outcome == Outcome.PENDING
    is_mute = outcome == Outcome.NONE
    is_online = observed.online_s <= now_s
    is_silent = is_cohort & (
        (is_said & (now_s > observed.said_s + patience_s))
        | (is_mute & is_online & (now_s > np.maximum(observed.heard_s, observed.online_s) + patience_s))
    )
    is_untaken = is_cohort & is_mute & is_online & ~is_silent & (now_s > observed.online_s + patience_s)
    is_unreached = is_cohort & is_mute & ~is_online
    by_outcome = np.bincount(outcome[is_cohort], minlength=len(Outcome))
    cohort = int(by_outcome.sum())
    is_failed = is_cohort & (is_silent | (outcome > Outcome.CONFIRMED))
    has_had_it = is_silent | (now_s >= observed.said_s + plan.ripe_after_d * DAY_S)
    is_ripe = has_had_it & (is_failed | (is_cohort & (outcome == Outcome.CONFIRMED)))
    silent, untaken, unreached = (int(flags.sum()) for flags in (is_silent, is_untaken, is_unreached))
    open_ends = int(by_outcome[Outcome.NONE] + by_outcome[Outcome.PENDING])
    found: dict[str, Any] = {name.name.lower(): int(by_outcome[name]) for name in FAILED_BY_REPORT}
    return Evidence(
        cohort=cohort,
        unreached=unreached,
        untaken=untaken,
        pending=open_ends - silent - untaken - unreached,
        confirmed=int(by_outcome[Outcome.CONFIRMED]),
        silent=silent,
        ripe=int(is_ripe.sum()),
        ripe_failed=int((is_ripe & is_failed).sum()),
        **found,
    )
