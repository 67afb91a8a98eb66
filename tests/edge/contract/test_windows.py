"""Which windows a sample is in, where a window begins and ends, and when it is over."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.contract.windows import Daily, PerEvent, Sliding, Windowing
from fieldedge.system.instants import instant_utc, parse_instant

HOURLY = Sliding(timedelta(hours=1), timedelta(minutes=30))
ODD = Sliding(timedelta(minutes=60), timedelta(minutes=25))


def at(text: str) -> datetime:
    return parse_instant(f"2006-05-{text}Z")


@pytest.mark.parametrize(
    ("windows", "time", "moments"),
    [
        (Daily(), "01T23:59:59.999999", ["2006-05-01"]),
        (Daily(), "02T00:00:00", ["2006-05-01"]),
        (Daily(), "02T00:00:09.999999", ["2006-05-01"]),
        (Daily(), "02T00:00:10", ["2006-05-02"]),
        (HOURLY, "01T12:00:00", ["2006-05-01T12:00:00Z", "2006-05-01T12:30:00Z"]),
        (HOURLY, "01T12:00:00.000001", ["2006-05-01T12:30:00Z", "2006-05-01T13:00:00Z"]),
        (HOURLY, "01T23:45:00", ["2006-05-02T00:00:00Z", "2006-05-02T00:30:00Z"]),
        (HOURLY, "02T00:00:00", ["2006-05-02T00:00:00Z", "2006-05-02T00:30:00Z"]),
        (Sliding(timedelta(hours=1), timedelta(hours=1)), "01T12:00:00", ["2006-05-01T12:00:00Z"]),
        (PerEvent(), "01T12:00:00", ["2006-05-01T12:00:00Z"]),
        (PerEvent(), "01T12:00:00.25", ["2006-05-01T12:00:01Z"]),
    ],
)
def test_a_sample_is_in_the_windows_that_end_with_it_or_later_and_began_before(
    windows: Windowing, time: str, moments: list[str]
) -> None:
    assert list(windows.touched(f"2006-05-{time}Z")) == moments


@pytest.mark.parametrize("windows", [Daily(), HOURLY, ODD, PerEvent()], ids=["daily", "hourly", "odd", "events"])
@given(microseconds=st.integers(0, 10**13))
def test_the_windows_that_a_sample_touches_are_those_that_hold_it_and_no_other(
    windows: Windowing, microseconds: int
) -> None:
    time = datetime(2006, 5, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    found = [windows.window(moment) for moment in windows.touched(instant_utc(time))]
    assert found and all(window.after < time <= window.until for window in found)
    assert [window.moment for window in found] == sorted(window.moment for window in found)
    assert all(b.end - a.end == windows.hop for a, b in pairwise(found))
    assert found[0].until - windows.hop < time, "the one before ended before it"
    assert found[-1].after + windows.hop >= time, "the one after begins with it or later"


def test_a_hop_that_does_not_divide_a_window_puts_samples_into_two_or_three() -> None:
    times = [datetime(2006, 5, 1, tzinfo=UTC) + timedelta(minutes=minute) for minute in range(60 * 24)]
    assert {len(list(ODD.touched(instant_utc(time)))) for time in times} == {2, 3}


def test_a_window_has_its_end_and_is_over_with_it() -> None:
    day, hour = Daily().window("2006-05-01"), HOURLY.window("2006-05-02T00:00:00Z")
    assert (day.begin, day.end) == (at("01T00:00:00"), at("02T00:00:00"))
    assert (hour.begin, hour.end) == (at("01T23:00:00"), at("02T00:00:00"))
    assert not hour.is_over(at("01T23:59:59.999999")) and hour.is_over(at("02T00:00:00"))
    assert not day.is_over(at("02T00:00:09")) and day.is_over(at("02T00:00:10")), "a logger may be a little late"


@pytest.mark.parametrize(("length_s", "hop_s"), [(60, 0), (60, -30), (60, 61), (0.5, 0.5), (60, 1.5)])
def test_windows_that_leave_samples_out_or_end_within_a_second_are_refused(length_s: float, hop_s: float) -> None:
    with pytest.raises(ValueError, match="expected whole seconds, and a hop no longer than a window"):
        Sliding(timedelta(seconds=length_s), timedelta(seconds=hop_s))
