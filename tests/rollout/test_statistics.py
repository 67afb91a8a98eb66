"""What counts prove: against closed forms and another library, and the promised risks by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from fieldloop.rollout.statistics import log_evidence_of_harm, log_evidence_of_soundness, wilson_bounds

SHARES = st.floats(min_value=1e-4, max_value=0.5)


@st.composite
def counts(draw: st.DrawFn, most: int = 100_000) -> tuple[int, int]:
    devices = draw(st.integers(1, most))
    return draw(st.integers(0, devices)), devices


@given(counts(), st.sampled_from([0.9, 0.95, 0.99]))
def test_wilson_bounds_are_those_of_scipy(found: tuple[int, int], confidence: float) -> None:
    failed, devices = found
    theirs = stats.binomtest(failed, devices).proportion_ci(confidence, method="wilson")
    assert wilson_bounds(failed, devices, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(counts(most=2_000), SHARES)
def test_the_evidence_of_harm_is_the_integral_that_it_says(found: tuple[int, int], acceptable: float) -> None:
    failed, devices = found
    means = []
    for worst in (min(1.0, 10 * acceptable), 1.0):
        shares = acceptable + (worst - acceptable) * (np.arange(400_000) + 0.5) / 400_000
        log_ratios = failed * np.log(shares / acceptable) + (devices - failed) * np.log((1 - shares) / (1 - acceptable))
        means.append(special.logsumexp(log_ratios) - math.log(len(shares)))
    expected = float(np.logaddexp(*means)) - math.log(2)
    assert log_evidence_of_harm(failed, devices, acceptable) == pytest.approx(expected, rel=1e-3, abs=1e-3)


@given(counts(), SHARES)
def test_one_more_failure_is_more_evidence_of_harm_and_one_more_sound_device_less(
    found: tuple[int, int], acceptable: float
) -> None:
    failed, devices = found
    now = log_evidence_of_harm(failed, devices, acceptable)
    assert log_evidence_of_harm(failed + 1, devices + 1, acceptable) > now - 1e-9
    assert log_evidence_of_harm(failed, devices + 1, acceptable) < now + 1e-9


def test_nothing_counted_proves_nothing() -> None:
    assert wilson_bounds(0, 0, 0.99) == (0.0, 1.0)
    assert log_evidence_of_harm(0, 0, 0.005) == pytest.approx(0.0)
    assert log_evidence_of_soundness(0, 0, 0.005, 0.02) == 0.0


def test_two_of_two_devices_that_fail_are_enough_and_one_of_five_is_not() -> None:
    limit = math.log(1 / 0.01)
    assert log_evidence_of_harm(2, 2, 0.005) > limit
    assert log_evidence_of_harm(1, 5, 0.005) < limit


def test_whoever_looks_after_each_device_is_wrong_no_more_often_than_the_risk() -> None:
    """2,000 rollouts over 1,500 devices of which exactly the acceptable share fails, looked at after each one."""
    risk, acceptable, looks = 0.05, 0.02, 1_500
    limit = math.log(1 / risk)
    least = [  # the failures at which the evidence crosses, by how many devices were seen
        next(k for k in range(n + 2) if k > n or log_evidence_of_harm(k, n, acceptable) >= limit)
        for n in range(1, looks + 1)
    ]
    failures = np.cumsum(np.random.default_rng(1).random((2_000, looks)) < acceptable, axis=1)
    false_halts = (failures >= np.array(least)).any(axis=1).mean()
    assert 0.0 < false_halts <= risk  # by Ville's inequality; 0 would be a test that cannot fail


def test_walds_boundary_is_crossed_wrongly_no_more_often_than_the_risk() -> None:
    risk, good, bad, looks = 0.05, 0.005, 0.02, 3_000
    failures = np.cumsum(np.random.default_rng(2).random((2_000, looks)) < bad, axis=1)
    devices = np.arange(1, looks + 1)
    log_ratio = failures * math.log(good / bad) + (devices - failures) * (math.log1p(-good) - math.log1p(-bad))
    assert log_ratio[3, 99] == pytest.approx(log_evidence_of_soundness(int(failures[3, 99]), 100, good, bad))
    passed = (log_ratio >= math.log(1 / risk)).any(axis=1).mean()
    assert 0.0 < passed <= risk + 3 * math.sqrt(risk / 2_000)  # Wald's bound, and what 2,000 draws leave open
