"""What is steadily ahead or behind is told, and what is merely late is not."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fieldedge.acquisition.shifts import Shift, Shifts

NOW = datetime(2026, 11, 27, 0, 5, tzinfo=UTC)


def found(ahead_h: list[float], every_h: float = 1.0) -> Shift | None:
    """The last shift that was told of arrivals so far ahead, one after another."""
    shifts, told = Shifts(), None
    for number, one in enumerate(ahead_h):
        now = NOW + timedelta(hours=every_h * number)
        told = shifts.note("station", "logger", now + timedelta(hours=one), now) or told
    return told


def test_a_logger_that_measures_the_future_is_told_at_once() -> None:
    assert found([13.0]) == Shift(13.0)
    assert found([0.2]) == Shift(0.25)
    assert found([0.1, 0.15, -0.1]) is None


def test_a_steady_delay_is_a_zone_and_one_that_varies_is_a_way_of_sending() -> None:
    assert found([-6.02, -6.0, -6.05, -6.01]) == Shift(-6.0)
    assert found([-5.5] * 4) == Shift(-5.5)
    assert found([-6.0] * 3) is None, "too few"
    assert found([-6.0] * 40, every_h=0.05) is None, "too short"
    assert found([-23.0, -2.0, -15.0, -9.0, -4.0]) is None, "a day's file, now and then"
    assert found([-0.3] * 20) is None, "a quarter of an hour, and the way"


def test_a_backlog_that_is_read_quickly_is_no_shift_and_it_is_told_again_only_after_hours() -> None:
    shifts, told = Shifts(), []
    for minute in range(0, 24 * 60, 15):
        now = NOW + timedelta(minutes=minute)
        if shifts.note("station", "logger", now - timedelta(hours=3), now) is not None:
            told.append(minute)
    assert len(told) == 4
    assert found([-30.0, -20.0, -10.0, 0.0], every_h=0.01) is None


@given(st.lists(st.floats(-40.0, 0.1), max_size=30), st.floats(0.01, 5.0))
def test_what_is_told_behind_is_what_all_of_them_say(ahead_h: list[float], every_h: float) -> None:
    shift = found(ahead_h, every_h)
    assert shift is None or (shift.ahead_h < 0.0 and any(abs(one - shift.ahead_h) < 0.5 for one in ahead_h))
