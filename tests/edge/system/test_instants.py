"""The moment of a sample is one text, to the microsecond, and such texts are ordered by time."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.system.clock import format_utc
from fieldedge.system.instants import from_order, in_order, instant_utc, parse_instant, whole_second

MOMENTS = st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
# many that differ by little: in one second, and at the borders of seconds and days
CLOSE = st.integers(-2_000_002, 2_000_002).map(lambda us: datetime(2006, 5, 1, tzinfo=UTC) + timedelta(microseconds=us))


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_an_instant_is_one_text_whatever_its_zone_and_is_read_back_exactly(moment: datetime, offset_min: int) -> None:
    there = moment.astimezone(timezone(timedelta(minutes=offset_min)))
    assert instant_utc(there) == instant_utc(moment)
    assert parse_instant(instant_utc(moment)) == moment


@given(MOMENTS)
def test_a_whole_second_is_written_as_ever(moment: datetime) -> None:
    whole = moment.replace(microsecond=0)
    assert instant_utc(whole) == in_order(instant_utc(whole)) == format_utc(whole) == whole_second(instant_utc(moment))


@given(MOMENTS | CLOSE, MOMENTS | CLOSE)
def test_the_order_of_the_keys_is_that_of_time(one: datetime, other: datetime) -> None:
    keys = in_order(instant_utc(one)), in_order(instant_utc(other))
    assert (keys[0] < keys[1]) == (one < other) and (keys[0] == keys[1]) == (one == other)
    assert [from_order(key) for key in keys] == [instant_utc(one), instant_utc(other)]
    assert f"{one:%Y-%m-%d}".rjust(10, "0") < keys[0] < f"{one + timedelta(days=1):%Y-%m-%d}"


@pytest.mark.parametrize(
    "text",
    [
        "2006-05-01T12:15:00.50Z",
        "2006-05-01T12:15:00.0Z",
        "2006-05-01T12:15:00.Z",
        "2006-05-01T12:15:00.1234567Z",
        "2006-05-01T12:15:00Z.5",
        "2006-05-01T12:15:00",
        "2006-05-01",
        "",
        "2006-13-01T12:15:00Z",
        "\u0662006-05-01T12:15:00Z",
    ],
)
def test_a_second_text_of_an_instant_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_instant(text)
