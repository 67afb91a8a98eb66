"""Time without a clock to rely on: it never runs backwards by itself, and only what is confirmed moves the floor."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fieldedge.system.clock import (
    MAX_ALONE,
    MAX_OFF,
    MAX_WITNESSES,
    Clock,
    format_utc,
    kernel_is_synchronised,
    parse_utc,
    read_boot_id,
)

START = datetime(2006, 6, 1, 12, 0, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


class World:
    """The true time, a system clock that may be wrong by an offset, and a kernel that may know better."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.true, self.offset, self.monotonic_s = START, timedelta(0), 50.0
        self.is_synchronised = False
        self.told: list[str] = []
        self.boot_id = "b"

    def boot(self) -> Clock:
        clock = Clock(
            self.path,
            wall=lambda: self.true + self.offset,
            monotonic=lambda: self.monotonic_s,
            boot_id=self.boot_id,
            is_synchronised=lambda: self.is_synchronised,
        )
        clock.tell = self.told.append
        return clock

    def pass_(self, time_: timedelta) -> None:
        self.true += time_
        self.monotonic_s += time_.total_seconds()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "clock.json")


@pytest.fixture
def running(world: World) -> Clock:
    """A clock that was right, confirmed, and has left a floor."""
    clock = world.boot()
    world.is_synchronised = True
    clock.now()
    world.is_synchronised = False
    world.pass_(HOUR)
    clock.keep()
    world.told.clear()
    return world.boot()


@pytest.mark.parametrize("jump", [365 * DAY, -365 * DAY, 3 * DAY, -HOUR])
def test_a_jump_of_the_system_clock_within_a_boot_is_told_and_not_followed(
    world: World, running: Clock, jump: timedelta
) -> None:
    world.offset = jump
    world.pass_(MINUTE)
    assert abs(running.now() - world.true) < MINUTE
    world.pass_(10 * DAY)
    assert abs(running.now() - world.true) < MINUTE
    running.keep()
    assert len(world.told) == 1
    assert "is not believed until a trusted time confirms it" in world.told[0]
    assert running.note is not None


def test_a_small_step_forward_is_believed_where_nobody_confirmed_the_time(world: World, running: Clock) -> None:
    world.offset = 2 * HOUR
    world.pass_(MINUTE)
    assert abs(running.now() - (world.true + 2 * HOUR)) < MINUTE
    running.keep()
    assert "corrected by +2.0 h" in world.told[0]


def test_a_start_in_1970_goes_on_from_the_floor(world: World, running: Clock) -> None:
    running.keep()
    world.offset = datetime(1970, 1, 1, tzinfo=UTC) - world.true
    again = world.boot()
    assert again.now() >= START
    assert again.now() - START < 2 * HOUR
    assert not again.stamp().is_trusted


def test_time_does_not_run_backwards_over_restarts_whatever_the_clock_says(world: World) -> None:
    seen = []
    for offset in (timedelta(0), -40 * DAY, 3 * HOUR, -400 * DAY, 500 * DAY):
        world.offset = offset
        clock = world.boot()
        for _ in range(3):
            seen.append(clock.now())
            world.pass_(HOUR)
            clock.keep()
    assert seen == sorted(seen)


def test_a_start_far_beyond_the_floor_does_not_keep_out_the_right_time_at_the_next_start(
    world: World, running: Clock
) -> None:
    running.keep()
    world.offset = 300 * DAY
    ahead = world.boot()
    world.pass_(DAY)
    ahead.now()
    ahead.keep()
    world.offset = timedelta(0)
    right = world.boot()
    assert abs(right.now() - world.true) < MINUTE


def test_a_start_beyond_all_plausible_time_is_refused(world: World, running: Clock) -> None:
    running.keep()
    world.offset = MAX_OFF + 10 * DAY
    clock = world.boot()
    assert abs(clock.now() - world.true) < 2 * HOUR
    assert clock.note is not None and "is not believed" in clock.note


@pytest.mark.parametrize("offset", [-30 * DAY, 200 * DAY])
def test_a_trusted_time_corrects_in_either_direction_and_says_so(
    world: World, running: Clock, offset: timedelta
) -> None:
    running.keep()
    world.true += 20 * DAY  # it was off
    world.offset = offset
    clock = world.boot()
    assert abs(clock.now() - world.true) > 10 * DAY
    world.offset, world.is_synchronised = timedelta(0), True
    world.pass_(3 * HOUR)
    assert clock.now() == world.true
    assert clock.stamp().is_trusted
    assert clock.note is None
    clock.keep()
    assert "the system clock is synchronised" in world.told[-1]


def test_loggers_that_kept_time_carry_a_device_forward_that_was_off_for_a_winter(world: World, running: Clock) -> None:
    running.keep()
    world.true += 150 * DAY  # it was off: no monotonic time has passed
    world.offset = datetime(1970, 1, 1, tzinfo=UTC) - world.true
    clock = world.boot()
    assert world.true - clock.now() > 149 * DAY
    for _ in range(5):
        clock.witness(world.true)
        world.pass_(15 * MINUTE)
    assert abs(clock.now() - world.true) < HOUR
    assert not clock.is_trusted
    clock.keep()
    assert "readings in a row say so" in world.told[-1]


def test_one_reading_from_the_future_moves_nothing(world: World, running: Clock) -> None:
    running.witness(world.true + 100 * DAY)
    for _ in range(3):
        world.pass_(15 * MINUTE)
        running.witness(world.true)
    assert abs(running.now() - world.true) < MINUTE


@pytest.mark.parametrize("later_boots", [0, 1, 3])
def test_what_one_logger_says_moves_nothing_that_a_release_is_judged_by(world: World, later_boots: int) -> None:
    clock = world.boot()
    for _ in range(40):  # it carries the time 300 days ahead, and then agrees with itself
        clock.witness(world.true + 300 * DAY, "station")
        world.pass_(15 * MINUTE)
        clock.keep()
    for _ in range(later_boots):
        world.boot_id += "b"
        clock = world.boot()
        for _ in range(40):
            clock.witness(world.true + 300 * DAY, "station")
            world.pass_(15 * MINUTE)
            clock.keep()
    reading = clock.reading()
    assert reading.now - world.true > 299 * DAY
    assert abs(reading.sure - world.true) < MINUTE
    assert reading.is_confirmed and not reading.is_trusted


def test_a_logger_that_runs_ahead_step_by_step_does_not_carry_the_floor_along(world: World, running: Clock) -> None:
    for day in range(1, 60):
        for _ in range(4):
            running.witness(world.true + 1.5 * day * DAY, "station")
            world.pass_(MINUTE)
        running.keep()
    assert abs(running.reading().sure - world.true) < HOUR
    assert parse_utc(json.loads(world.path.read_bytes())["floor_utc"]) - world.true < 3 * DAY


@pytest.mark.parametrize(
    ("witnesses", "confirms"), [([("station", ""), ("probe", "")], True), ([("station", "a"), ("station", "b")], False)]
)
def test_a_second_source_that_agrees_confirms_the_time_of_the_first_and_a_second_name_does_not(
    world: World, running: Clock, witnesses: list[tuple[str, str]], confirms: bool
) -> None:
    running.keep()
    world.true += 150 * DAY
    world.offset = datetime(1970, 1, 1, tzinfo=UTC) - world.true
    clock = world.boot()
    for _ in range(10):
        for source, origin in witnesses:
            clock.witness(world.true, source, origin)
        world.pass_(15 * MINUTE)
        clock.keep()
    assert abs(clock.now() - world.true) < HOUR, "the device gets on by it all the same"
    assert (abs(clock.reading().sure - world.true) < HOUR) == confirms
    assert (world.true - clock.confirmed() < HOUR) == confirms
    assert (world.true - parse_utc(json.loads(world.path.read_bytes())["floor_utc"]) < HOUR) == confirms


@pytest.mark.parametrize("is_known", [True, False], ids=["confirmed before", "first start"])
def test_one_source_moves_nothing_300_days_however_many_names_it_gives(
    world: World, running: Clock, is_known: bool
) -> None:
    if not is_known:
        world.path.unlink()
    clock = world.boot()
    for number in range(12):
        clock.witness(world.true + 300 * DAY + number * MINUTE, "station", f"x{number % 2}")
        clock.keep()
    assert abs(clock.now() - world.true) < MINUTE
    world.boot_id = "later"
    assert abs(world.boot().reading().sure - world.true) < HOUR


def test_what_one_source_carried_ahead_is_over_at_the_next_start_and_mended_by_a_trusted_time(
    world: World, running: Clock
) -> None:
    for number in range(12):
        running.witness(world.true + 200 * DAY, "station", f"x{number % 2}")
        running.keep()
    assert running.now() - world.true > 199 * DAY
    assert running.confirmed() - world.true < HOUR
    world.boot_id = "later"
    assert abs(world.boot().now() - world.true) < HOUR
    world.is_synchronised = True
    assert running.now() == world.true == running.confirmed()
    running.keep()
    assert abs(world.boot().now() - world.true) < MINUTE


@pytest.mark.parametrize("old", [datetime(1970, 1, 1, tzinfo=UTC), START - 500 * DAY], ids=["1970", "the image's date"])
def test_a_first_start_with_a_dead_clock_gets_on_by_one_source_that_keeps_pace(world: World, old: datetime) -> None:
    world.offset = old - world.true
    clock = world.boot()
    for _ in range(6):
        clock.witness(world.true, "station", "logger")
        world.pass_(15 * MINUTE)
        clock.keep()
    assert abs(clock.now() - world.true) < HOUR
    assert clock.confirmed() < world.true - MAX_ALONE


def test_a_source_with_more_names_than_are_listened_to_silences_no_other(world: World, running: Clock) -> None:
    for number in range(MAX_WITNESSES + 1):
        running.witness(world.true, "noisy", f"x{number}")
    running.keep()
    world.true += 150 * DAY
    world.offset = -150 * DAY
    clock = world.boot()
    for number in range(MAX_WITNESSES + 1):
        clock.witness(world.true, "noisy", f"x{number}")
    for _ in range(10):
        for source in ("station", "probe"):
            clock.witness(world.true, source)
        world.pass_(15 * MINUTE)
    assert abs(clock.reading().sure - world.true) < HOUR


@pytest.mark.parametrize("jump", [-60 * DAY, 300 * DAY])
def test_a_process_that_starts_later_in_the_same_boot_does_not_follow_the_system_clock_either(
    world: World, running: Clock, jump: timedelta
) -> None:
    world.pass_(HOUR)
    running.keep()
    world.pass_(2 * HOUR)
    world.offset = jump
    by_hand = world.boot()
    assert abs(by_hand.now() - world.true) < MINUTE
    assert abs(by_hand.reading().sure - world.true) < MINUTE
    assert by_hand.note is not None


def test_no_reading_carries_the_time_to_where_there_is_none(world: World) -> None:
    clock = world.boot()
    for _ in range(10):
        clock.witness(datetime.max.replace(tzinfo=UTC), "station")
        world.pass_(MINUTE)
    assert clock.now() < world.true + DAY


@pytest.mark.parametrize(
    "note",
    [
        b"[" * 100_000,
        b'{"floor_utc": "9999-12-31T23:59:59-23:59"}',
        b'{"floor_utc": "9999-12-31T23:59:59Z"}',
        b'{"floor_utc": "0001-01-01T00:00:00+23:59"}',
        b'{"floor_utc": "2006-06-01T12:00:00Z", "at_s": 1e999, "boot_id": "b"}',
        b'{"floor_utc": "2006-06-01T12:00:00Z", "at_s": "x", "boot_id": ["b"]}',
        b'{"floor_utc": "2006-06-01T11:00:00Z", "boot_id": "x"}',
    ],
)
def test_whatever_the_note_says_the_clock_starts(world: World, note: bytes) -> None:
    world.path.write_bytes(note)
    assert abs(world.boot().reading().sure - world.true) < HOUR


def test_a_damaged_floor_is_written_anew(world: World) -> None:
    world.path.write_bytes(b'{"floor_utc": "no time"}')
    clock = world.boot()
    assert abs(clock.now() - world.true) < MINUTE
    clock.keep()
    assert abs(world.boot().now() - world.true) < MINUTE


def test_times_are_written_and_read_as_utc_alone() -> None:
    assert parse_utc(format_utc(START)) == START
    assert parse_utc("2006-06-01T06:00:00-06:00") == START
    with pytest.raises(ValueError, match="no offset"):
        parse_utc("2006-06-01T06:00:00")


def test_the_kernel_can_be_asked() -> None:
    assert kernel_is_synchronised() in (True, False)
    assert read_boot_id()
