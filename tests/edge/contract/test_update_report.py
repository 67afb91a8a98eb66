"""A report of an update is read as it was written, and nothing else is taken for one."""

import json
import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.contract.update_report import (
    MAX_REASON_CHARACTERS,
    MAX_REPORT_BYTES,
    STATES,
    State,
    UpdateReport,
    as_reason,
    read,
    signed_part,
)
from fieldedge.system.errors import DataError

REPORT = UpdateReport(
    device_id="dev-07",
    at="2027-07-03T06:00:04Z",
    workload="agriculture",
    version="12",
    former_version="11",
    state="reverted",
    reason="it abstained on 6 of 7 decisions; at most 50 % are allowed",
    decisions=7,
    abstained=6,
    guardrail_hits=1,
    latency_p99_ms=0.83,
    divergence=1.4,
)


def test_a_report_is_read_as_it_was_written() -> None:
    assert read(REPORT.as_json()) == REPORT


_COUNTS = st.integers(0, 10_000)
_FIGURES = st.none() | st.floats(0.0, 1e9, allow_nan=False)


@given(st.sampled_from(STATES), st.text(max_size=500), st.none() | st.just("1"), _COUNTS, _COUNTS, _FIGURES, _FIGURES)
def test_whatever_a_device_measured_comes_home(
    state: State, reason: str, former: str | None, decisions: int, count: int, latency: float | None, far: float | None
) -> None:
    counts = (decisions, min(count, decisions), min(count // 2, decisions))
    report = replace(
        UpdateReport("dev-07", "2027-07-03T06:00:04Z", "agriculture", "12", former, state, as_reason(reason), *counts),
        latency_p99_ms=latency,
        divergence=far,
    )
    assert read(report.as_json()) == report
    assert len(report.as_json()) <= MAX_REPORT_BYTES


def test_the_same_report_is_the_same_bytes_whatever_the_order_of_its_fields() -> None:
    shuffled = dict(reversed(asdict(REPORT).items()))
    assert read(json.dumps(shuffled).encode()).as_json() == REPORT.as_json()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("device_id", "../dev"),
        ("device_id", 7),
        ("at", "2027-07-03"),
        ("at", "2027-13-03T06:00:04Z"),
        ("at", "2027-07-03T06:00:04+02:00"),
        ("workload", "Agriculture"),
        ("version", ""),
        ("version", "1" * 65),
        ("version", "1\n2"),
        ("former_version", 11),
        ("state", "happy"),
        ("state", []),
        ("reason", "x" * (MAX_REASON_CHARACTERS + 1)),
        ("reason", "two\nlines"),
        ("reason", None),
        ("decisions", -1),
        ("decisions", True),
        ("decisions", 7.0),
        ("decisions", 10**30),
        ("abstained", 8),
        ("guardrail_hits", 8),
        ("latency_p99_ms", -0.1),
        ("latency_p99_ms", "fast"),
        ("divergence", True),
        ("divergence", 1e300),
    ],
)
def test_a_field_that_no_device_can_mean_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(DataError, match=name):
        read(json.dumps({**asdict(REPORT), name: value}).encode())


@pytest.mark.parametrize("figure", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_neither_made_nor_read(figure: float) -> None:
    with pytest.raises(DataError, match="divergence"):
        replace(REPORT, divergence=figure)
    with pytest.raises(DataError, match="finite"):
        read(json.dumps({**asdict(REPORT), "divergence": figure}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b"[" * 3_000,
        json.dumps({**asdict(REPORT), "more": 1}).encode(),
        json.dumps({name: value for name, value in asdict(REPORT).items() if name != "reason"}).encode(),
        REPORT.as_json()[:-1] + b',"version":"13"}',
        REPORT.as_json() + b" " * MAX_REPORT_BYTES,
    ],
)
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="update report"):
        read(data)


def test_a_reason_of_any_length_is_cut_to_one_line_that_a_report_can_hold() -> None:
    reason = as_reason("broken\n" * 100)
    assert len(reason) == MAX_REASON_CHARACTERS
    assert replace(REPORT, reason=reason).reason == reason


def test_what_is_signed_is_no_batch_and_no_opening() -> None:
    assert signed_part(REPORT.as_json()).startswith(b"fieldloop report {")
