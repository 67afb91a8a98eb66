"""What devices report, counted: each device in exactly one place, and what a report says of it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.contract.update_report import UpdateReport
from fieldloop.core.params import RolloutLimitParams, RolloutParams
from fieldloop.rollout.evidence import DAY_S, NEVER, Observed, Outcome, count, outcome_of

PLAN = RolloutParams()
LIMITS = RolloutLimitParams()
DAYS = st.one_of(st.just(NEVER), st.floats(0, 100))


@st.composite
def observations(draw: st.DrawFn) -> Observed:
    """Devices as `observe` may find them: who said something has an outcome, and who did not has none."""
    devices = draw(st.integers(0, 12))
    rows: list[tuple[float, ...]] = []
    for _ in range(devices):
        online_d, said_d, gap_d = draw(DAYS), draw(DAYS), draw(st.floats(0, 30))
        outcome = draw(st.integers(1, len(Outcome) - 1)) if said_d < NEVER else int(Outcome.NONE)
        heard_d = draw(st.floats(0, 100)) if online_d < NEVER else -NEVER
        rows.append(
            (
                draw(st.floats(0, 99.9)),
                online_d,
                max(heard_d, online_d if online_d < NEVER else heard_d),
                said_d,
                gap_d,
                outcome,
            )
        )
    share, online, heard, said, gap, outcome = np.array(rows, dtype=float).reshape(devices, 6).T
    return Observed(share, online * DAY_S, heard * DAY_S, said * DAY_S, gap * DAY_S, outcome.astype(np.int8))


@given(observations(), st.floats(0.1, 100), st.floats(0, 200))
def test_each_device_of_the_cohort_is_counted_in_exactly_one_place(
    observed: Observed, percentage: float, now_d: float
) -> None:
    found = count(observed, percentage, now_d * DAY_S, PLAN)
    assert found.cohort == int((observed.share < percentage).sum())
    assert found.cohort == found.reached + found.unreached + found.untaken
    assert min(found.as_dict().values()) >= 0
    assert found.ripe_failed <= found.failed
    assert found.ripe - found.ripe_failed <= found.confirmed


@given(observations(), st.floats(0, 200), st.floats(0, 100))
def test_whoever_is_silent_past_the_deadline_has_failed_for_as_long_as_nothing_is_said(
    observed: Observed, now_d: float, later_d: float
) -> None:
    now, later = (count(observed, 100.0, day * DAY_S, PLAN) for day in (now_d, now_d + later_d))
    assert later.silent >= now.silent


def report(state: str = "confirmed", **figures: Any) -> UpdateReport:
    said: Any = {"decisions": 14, **figures}
    return UpdateReport("dev-07", "2027-07-03T06:00:00Z", "agriculture", "12", "11", state, "", **said)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (report(), Outcome.CONFIRMED),
        (report("installed", decisions=0), Outcome.PENDING),
        (report("watching"), Outcome.PENDING),
        (report("reverted"), Outcome.REVERTED),
        (report("refused"), Outcome.REFUSED),
        (report(abstained=12), Outcome.ABSTAINS),
        (report("watching", abstained=12), Outcome.ABSTAINS),
        (report(guardrail_hits=14), Outcome.BOUNDED),
        (report(latency_p99_ms=2_000.0), Outcome.CONFIRMED),
        (report(latency_p99_ms=2_000.1), Outcome.SLOW),
        (report(divergence=3.1), Outcome.DIVERGES),
        (report("watching", decisions=2, abstained=1), Outcome.PENDING),  # one of two is chance
    ],
)
def test_what_a_report_says_of_its_device(said: UpdateReport, expected: Outcome) -> None:
    assert outcome_of(said, LIMITS, PLAN.confidence) is expected
