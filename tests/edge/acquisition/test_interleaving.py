"""Two files that tell of the same hours under one name are told of; files that follow one another are not."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fieldedge.acquisition.interleaving import Interleaving, Senders
from fieldedge.acquisition.raw import RawSample, RawValue
from fieldedge.system.instants import instant_utc

START = datetime(2026, 5, 1, tzinfo=UTC)
RAIN = {"rain_mm"}


def at(*hours: float) -> list[datetime]:
    return [START + timedelta(hours=hour) for hour in hours]


def test_files_that_grow_side_by_side_are_two_loggers_perhaps() -> None:
    known = Interleaving()
    assert known.note("s", "o", "one", at(1, 2), RAIN) is None
    assert known.note("s", "o", "two", at(1.1, 2.1), RAIN) is None, "an hour may be a file's change"
    assert known.note("s", "o", "one", at(3, 4), RAIN) is None
    assert known.note("s", "o", "two", at(3.1), RAIN) == "one"
    assert known.note("s", "another", "two", at(1, 9), RAIN) is None


def test_files_of_other_channels_and_of_other_hours_are_one_loggers() -> None:
    known = Interleaving()
    for day in range(30):
        assert known.note("s", "o", f"day {day}", at(24 * day, 24 * day + 23), RAIN) is None
    assert known.note("s", "o", "soil", at(24 * 29 + 1, 24 * 29 + 20), {"vwc_15cm_m3_m3"}) is None


@given(st.lists(st.tuples(st.sampled_from("abcdefghijklmnop"), st.floats(0.0, 100.0)), max_size=60))
def test_whatever_comes_another_file_is_named_or_none(sent: list[tuple[str, float]]) -> None:
    known, seen = Interleaving(), set()
    for file, hour in sent:
        other = known.note("s", "o", file, at(hour), RAIN)
        assert other is None or (other != file and other in seen)
        seen.add(file)


def told_of(field: str, *values: RawValue) -> list[str | None]:
    senders = Senders()
    return [
        senders.note(RawSample("here", None, {field: value}), instant_utc(START + timedelta(hours=hour)))
        for hour, value in enumerate(values)
    ]


def test_another_name_of_hours_that_are_told_is_another_logger_and_late_files_of_a_former_one_are_not() -> None:
    def told(*said: tuple[str, float]) -> list[bool]:
        senders = Senders()
        found = [
            senders.note(RawSample("here", None, {"device": name}), instant_utc(START + timedelta(hours=hour)))
            for name, hour in said
        ]
        return [one is not None for one in found]

    assert told(("a", 0), ("a", 12), ("a", 24), ("b", 1), ("b", 2)) == [False, False, False, True, False]
    assert not any(told(("b", 30), ("b", 40), ("a", 10), ("a", 20))), "the former logger's last file came late"
    assert not any(told(("a", 0), ("a", 24), ("b", 23), ("b", 25))), "within the overlap of a change"


def test_what_calls_itself_one_thing_then_another_then_the_first_again_is_two_loggers_and_told_once() -> None:
    assert [one is not None for one in told_of("dev_eui", "a", "a", "b", "a", "b")] == [
        False,
        False,
        False,
        True,
        False,
    ]
    assert told_of("deviceInfo.serialNumber", 1, 2, 1)[-1] is not None


def test_a_logger_that_was_replaced_a_sensor_in_a_list_and_a_reading_are_no_second_logger() -> None:
    assert not any(told_of("device", "a", "a", "b", "b"))
    assert not any(told_of("sensors.0.serial", "a", "b", "a"))
    assert not any(told_of("temperature", 1, 2, 1))
    assert not any(told_of("serial", None, 1.5, None))
