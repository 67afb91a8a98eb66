"""Readings come in whole, once, judged, and never at the cost of others."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldedge.acquisition import pipeline as door_module
from fieldedge.acquisition.formats import FORMATS
from fieldedge.acquisition.logger_format import LoggerFormat
from fieldedge.acquisition.mapping import Mapper
from fieldedge.acquisition.pipeline import Feed, Pipeline, Taken
from fieldedge.acquisition.quality import judge
from fieldedge.acquisition.raw import Parsed
from fieldedge.acquisition.source import Delivery
from fieldedge.contract.samples import Channel
from fieldedge.device.config import DeviceConfig, DeviceDirectory, Site, SourceConfig
from fieldedge.storage.schema import APPLICATION, CUT_FORM, SCHEMA_VERSION
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock, format_utc
from fieldedge.system.errors import ConfigError, StoreFailed

NOW = datetime(2026, 5, 2, 12, tzinfo=UTC)
CHANNELS = (
    Channel("air_temperature_c", "degC", -45.0, 55.0, max_change_per_h=20.0, flat_after_h=8.0, spike=6.0),
    Channel("rain_mm", "mm", 0.0, 450.0, "sum"),
)
HEADER = (
    '"TOA5","Station","CR1000","1048","OS","CPU:Weather.CR1","54655","Met15"\n'
    '"TIMESTAMP","RECORD","AirTC","Rain"\n"TS","RN","Deg C","mm"\n"","","Avg","Tot"\n'
)


@dataclass
class ScriptedSource:
    """A source whose payloads the test writes. What is not done comes again, as from any source."""

    name: str
    payloads: list[bytes] = field(default_factory=list)
    done: list[bytes] = field(default_factory=list)
    fault: str | None = None
    error: Exception | None = None
    note: str | None = None
    is_ended: bool = False

    def poll(self, limit_bytes: int) -> list[Delivery]:
        if self.error is not None:
            raise self.error
        deliveries, room = [], limit_bytes
        for payload in self.payloads:
            if room <= 0:
                break
            room -= len(payload)
            deliveries.append(Delivery(payload, f"{self.name}/in", self.name, self._finish(payload), fault=self.fault))
        return deliveries

    def close(self) -> None:
        self.is_ended = True

    def _finish(self, payload: bytes) -> Callable[[], None]:
        def done() -> None:
            self.payloads.remove(payload)
            self.done.append(payload)

        return done


@dataclass
class Device:
    """A pipeline with scripted sources, a real store and a clock that the test moves."""

    root: Path
    sources: dict[str, ScriptedSource]
    pipeline: Pipeline
    store: Store
    clock: Clock
    now: datetime
    lines: list[tuple[str, str]] = field(default_factory=list)

    def put(self, name: str, *payloads: bytes) -> None:
        self.sources[name].payloads += payloads

    def take(self, name: str = "station", **options: Any) -> Taken:
        return self.pipeline.take(name, self.clock.now(), **options)

    def errors(self) -> list[str]:
        return [reject["error"] for reject in self.store.rejects()]


class Moving:
    """A clock's hands."""

    def __init__(self) -> None:
        self.wall, self.monotonic_s, self.is_synchronised = NOW, 0.0, True
        self.true_ahead = timedelta(0)  # what the true time is ahead of the system clock


@pytest.fixture
def hands() -> Moving:
    return Moving()


@pytest.fixture
def device(tmp_path: Path, hands: Moving) -> Iterator[Device]:
    device = open_device(tmp_path, hands)
    yield device
    device.store.close()


def open_device(
    root: Path, hands: Moving, store: Store | None = None, formats: tuple[str, ...] = ("jsonlines", "toa5")
) -> Device:
    clock = Clock(
        root / "clock.json",
        wall=lambda: hands.wall,
        monotonic=lambda: hands.monotonic_s,
        boot_id="boot",
        is_synchronised=lambda: hands.is_synchronised,
    )
    store = store or Store(root / "store.db", clock.stamp)
    sources = {"station": ScriptedSource("station"), "other": ScriptedSource("other")}
    mapper = Mapper.from_config({"air_temperature_c": "AirTC", "rain_mm": "Rain"}, CHANNELS)
    feeds = [
        Feed(sources["station"], FORMATS[formats[0]], Mapper.from_config({}, CHANNELS)),
        Feed(sources["other"], FORMATS[formats[1]], mapper),
    ]
    lines: list[tuple[str, str]] = []
    pipeline = Pipeline(feeds, store, CHANNELS, lambda line, where: lines.append((line, where)), clock)
    return Device(root, sources, pipeline, store, clock, NOW, lines)


def line(minutes: float = 0.0, air_temperature_c: float | None = 20.0, start: datetime = NOW, **more: Any) -> bytes:
    """A sample as a line, some minutes after `start`."""
    time = format_utc(start + timedelta(minutes=minutes))
    return json.dumps({"time": time, "air_temperature_c": air_temperature_c, **more}).encode() + b"\n"


def times(*minutes: float) -> frozenset[str]:
    """The times of samples so many minutes after `NOW`."""
    return frozenset(format_utc(NOW + timedelta(minutes=one)) for one in minutes)


def test_samples_are_stored_with_their_flags_and_then_done(device: Device) -> None:
    payload = line(-30, 20.0) + line(-15, 99.0) + line(0, None, rain_mm=1.5)
    device.put("station", payload)
    taken = device.take()
    assert taken == Taken(samples=3, times=times(-30, -15, 0))
    assert device.sources["station"].done == [payload]
    stored = device.store.last_samples("station", 10)
    assert [sample.flags.get("air_temperature_c") for sample in stored] == ["good", "range", "missing"]
    assert stored[2].good() == {"rain_mm": 1.5}


def test_a_logger_file_is_mapped_to_channels(device: Device) -> None:
    device.put("other", (HEADER + '"2026-05-02 11:45:00",1,21.3,0.2\n"2026-05-02 12:00:00",2,"NAN",0\n').encode())
    assert device.take("other").samples == 2
    (first, second) = device.store.samples("2026-05-02T00:00:00Z", "2026-05-03T00:00:00Z")
    assert (first.sample.origin, first.sample.values) == ("Station/Met15", {"air_temperature_c": 21.3, "rain_mm": 0.2})
    assert second.flags == {"air_temperature_c": "missing", "rain_mm": "good"}


def test_repeats_are_counted_and_change_nothing(device: Device) -> None:
    device.put("station", line(-15) + line(0))
    device.take()
    before = device.store.last_samples("station", 10)
    device.put("station", line(-15) + line(0) + line(0))
    assert device.take() == Taken(repeated=3, times=times(-15, 0))
    assert device.store.last_samples("station", 10) == before


def test_another_value_for_a_moment_that_is_taken_is_kept_aside(device: Device) -> None:
    device.put("station", line(0, 20.0) + line(0, 21.0))
    assert (device.take().samples, device.take().conflicting) == (1, 0)
    device.put("station", line(0, 22.0))
    assert device.take().conflicting == 1
    assert device.errors() == ["another sample of this moment is stored; that one stays"] * 2
    assert device.store.last_samples("station", 1)[0].good() == {"air_temperature_c": 20.0}


def test_what_cannot_be_taken_is_kept_with_its_reason_and_place(device: Device) -> None:
    device.put(
        "station", line(-15) + b"\xff\n{\n" + b'{"time": "yesterday", "air_temperature_c": 1}\n{"time": 1}\n' + line(0)
    )
    assert device.take() == Taken(samples=2, rejected=4, times=times(-15, 0))
    kept = device.store.rejects()
    assert [reject["where"] for reject in kept] == [f"station/in, line {number}" for number in (2, 3, 4, 5)]
    assert "not UTF-8" in kept[0]["error"]
    assert "not a readable JSON object" in kept[1]["error"]
    assert "the time is 'yesterday'" in kept[2]["error"]
    assert json.loads(kept[2]["body"]) == {"time": "yesterday", "air_temperature_c": 1}


def test_what_the_source_could_not_take_is_kept_with_its_reason(device: Device) -> None:
    device.sources["station"].fault = "the line is too long"
    device.put("station", b"xxxx\xff")
    assert device.take().rejected == 1
    assert device.store.rejects()[0] == {
        "where": "station/in, line 1",
        "error": "the line is too long",
        "body": "xxxx\\xff",
        "repeats": 0,
    }
    assert device.sources["station"].done == [b"xxxx\xff"]


def test_messages_are_handed_on_after_the_samples_and_before_done(device: Device) -> None:
    seen: list[tuple[int, int]] = []

    def handle(line: str, where: str) -> None:
        seen.append((len(device.store.last_samples("station", 10)), len(device.sources["station"].done)))
        device.lines.append((line, where))

    device.pipeline.use(device.store, handle)
    device.put("station", b'{"kind": "decide", "date": "2026-05-02"}\n' + line(0) + b'{"kind": "field"}\n')
    assert device.take() == Taken(samples=1, messages=2, times=times(0))
    assert device.lines == [
        ('{"kind": "decide", "date": "2026-05-02"}', "station/in, line 1"),
        ('{"kind": "field"}', "station/in, line 3"),
    ]
    assert seen == [(1, 0), (1, 0)]


def test_nothing_is_done_while_the_store_cannot_be_written(device: Device) -> None:
    device.put("station", line(-15), line(0))
    device.store._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreFailed):
        device.take()
    assert device.sources["station"].done == []
    device.store._connection.execute("PRAGMA query_only = OFF")
    assert device.take().samples == 2
    assert len(device.sources["station"].done) == 2


def test_another_store_can_be_gone_on_with(device: Device, tmp_path: Path) -> None:
    device.put("station", line(0))
    with Store(tmp_path / "mended.db", device.clock.stamp) as mended:
        device.pipeline.use(mended, lambda _line, _where: None)
        assert device.take().samples == 1
        assert len(mended.last_samples("station", 2)) == 1
    assert device.store.last_samples("station", 2) == []


def test_what_was_stored_before_a_failure_is_told_with_the_next_call(device: Device, monkeypatch: Any) -> None:
    def fail(_line: str, _where: str) -> None:
        raise StoreFailed("the disk is full")

    monkeypatch.setattr(door_module, "BATCH_BYTES", 1)
    device.pipeline.use(device.store, fail)
    device.put("station", line(-2000), line(-15) + b'{"kind": "decide"}\n')
    with pytest.raises(StoreFailed):
        device.take()
    device.pipeline.use(device.store, lambda _line, _where: None)
    taken = device.take()
    assert taken == Taken(samples=1, repeated=1, messages=1, times=times(-2000, -15))


def test_a_batch_is_stored_whole_or_not_at_all(device: Device, monkeypatch: Any) -> None:
    def fail(*_: object) -> None:
        raise StoreFailed("the disk is full")

    device.put("station", line(0) + b"{\n")
    monkeypatch.setattr(Store, "_reject", fail)
    with pytest.raises(StoreFailed):
        device.take()
    assert device.store.last_samples("station", 10) == []
    assert device.sources["station"].done == []


def test_a_source_that_fails_does_not_stop_another(device: Device) -> None:
    device.sources["station"].error = OSError(5, "Input/output error")
    device.put("other", (HEADER + '"2026-05-02 11:45:00",1,21.3,0.2\n').encode())
    with pytest.raises(OSError, match="Input/output error"):
        device.take("station")
    assert device.take("other").samples == 1


def test_a_payload_that_a_format_cannot_handle_is_rejected_and_the_source_goes_on(
    device: Device, tmp_path: Path
) -> None:
    def parse(payload: bytes, where: str, first_line: int = 1) -> Iterator[Parsed]:
        if payload == b"bad":
            raise ZeroDivisionError
        return FORMATS["jsonlines"].parse(payload, where, first_line)

    source = ScriptedSource("odd", [b"bad", line(0)])
    feed = Feed(source, LoggerFormat(parse, lambda payload: payload[:0]), Mapper.from_config({}, CHANNELS))
    pipeline = Pipeline([feed], device.store, CHANNELS, lambda _line, _where: None, device.clock)
    taken = pipeline.take("odd", NOW)
    assert (taken.samples, taken.rejected) == (1, 1)
    assert device.errors() == ["this fieldedge cannot handle it (ZeroDivisionError()); report it with the device's log"]


def test_absurd_times_are_rejected_with_their_reason(device: Device) -> None:
    day = 1440.0
    device.put("station", line(0.9 * day) + line(1.1 * day) + line(-399 * day) + line(-401 * day))
    taken = device.take()
    assert (taken.samples, taken.rejected) == (2, 2)
    ahead, old = device.errors()
    assert ahead == "its time 2026-05-03T14:24:00Z is 1.1 days ahead of the device's; is the logger's clock set?"
    assert old.startswith("its time 2025-03-27T12:00:00Z is 401 days ago; samples are taken for 400 days")


def test_a_sample_that_is_stored_is_no_reject_when_it_comes_again_after_years(device: Device) -> None:
    """A file whose mark was lost is read from its beginning."""
    device.put("station", line(0) + line(15))
    assert device.take().samples == 2
    later = device.clock.now() + timedelta(days=500)
    device.put("station", line(0) + line(15) + line(30))
    taken = device.pipeline.take("station", later)
    assert (taken.samples, taken.repeated, taken.rejected) == (0, 2, 1)
    assert len(device.errors()) == 1


def test_loggers_go_on_through_a_winter_in_which_the_device_had_no_time(device: Device, hands: Moving) -> None:
    """Switched off in May and on in September, its clock still in May: the loggers kept writing."""
    hands.is_synchronised = False
    device = open_device(device.root, hands, device.store)
    device.put("station", line(0))
    device.take()
    for start in range(0, 120, 10):
        device.put(
            "station",
            b"".join(line(day * 1440.0 + hour * 60.0) for day in range(start, start + 10) for hour in range(1, 25)),
        )
    taken = device.take()
    assert (taken.samples, taken.rejected) == (120 * 24, 0)
    for minutes in range(15, 75, 15):
        device.put("station", line(120 * 1440.0 + minutes))
        device.take()
    assert timedelta(0) <= NOW + timedelta(days=120, hours=1) - device.clock.now() < timedelta(hours=1)


LOGGERS = [f"logger-{number}" for number in range(9)]
A_QUARTER = timedelta(minutes=15)


def off_and_on(device: Device, hands: Moving, off: timedelta, boot_id: str = "later boot") -> Device:
    """The device after a while without power, with nothing that keeps its clock: time was confirmed when it went."""
    device.clock.now()
    device.clock.keep()
    hands.is_synchronised = False
    clock = Clock(
        device.root / "clock.json",
        wall=lambda: hands.wall,
        monotonic=lambda: hands.monotonic_s,
        boot_id=boot_id,
        is_synchronised=lambda: hands.is_synchronised,
    )
    hands.true_ahead = off
    device.clock = device.pipeline._clock = clock
    return device


def quarter_hours(
    device: Device, hands: Moving, count: int, ahead: Mapping[str, Callable[[int], timedelta]], apart: bool = False
) -> Taken:
    """So many times each logger sends a line of its own time: the true one and what its clock is ahead by."""
    taken = Taken()
    for step in range(count):
        hands.wall += A_QUARTER
        hands.monotonic_s += A_QUARTER.total_seconds()
        lines = [
            line(start=hands.wall + hands.true_ahead + by(step), air_temperature_c=20.0 + step % 10, origin=origin)
            for origin, by in ahead.items()
        ]
        for piece in lines if apart else [b"".join(lines)]:
            device.put("station", piece)
            taken += device.take()
        device.clock.keep()
    return taken


def honest(_step: int) -> timedelta:
    return timedelta(0)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("apart", [True, False])
def test_one_logger_of_ten_whose_clock_is_ahead_moves_nothing(
    device: Device, hands: Moving, is_first: bool, apart: bool
) -> None:
    device = off_and_on(device, hands, timedelta(0))
    liar = {"liar": lambda _step: timedelta(days=300)}
    others = dict.fromkeys(LOGGERS, honest)
    taken = quarter_hours(device, hands, 12, liar | others if is_first else others | liar, apart)
    assert abs(device.clock.now() - hands.wall) < timedelta(minutes=1)
    assert (taken.samples, taken.rejected) == (9 * 12, 12)
    reading = device.clock.reading()
    assert reading.is_confirmed and reading.sure == reading.now


def test_a_logger_that_runs_ahead_again_and_again_makes_no_honest_sample_old(device: Device, hands: Moving) -> None:
    device = off_and_on(device, hands, timedelta(0))
    ahead = {"liar": lambda step: timedelta(days=390 * (1 + step // 5)), **dict.fromkeys(LOGGERS, honest)}
    taken = quarter_hours(device, hands, 40, ahead)
    assert taken.samples == 9 * 40
    assert abs(device.clock.now() - hands.wall) < timedelta(minutes=1)


def test_a_logger_alone_that_runs_ahead_again_and_again_is_not_followed_without_bound(
    device: Device, hands: Moving
) -> None:
    device = off_and_on(device, hands, timedelta(0))
    quarter_hours(device, hands, 60, {"liar": lambda step: timedelta(days=390 * (1 + step // 6))})
    assert device.clock.now() - hands.wall < timedelta(days=401)
    taken = quarter_hours(device, hands, 12, {"honest": honest})
    assert (taken.samples, taken.rejected) == (12, 0), device.errors()[-1:]


def test_samples_of_honest_loggers_are_taken_and_mend_a_time_that_a_lone_one_carried_ahead(
    device: Device, hands: Moving
) -> None:
    device = off_and_on(device, hands, timedelta(0))
    quarter_hours(device, hands, 8, {"liar": lambda _step: timedelta(days=200)})
    assert device.clock.now() - hands.wall > timedelta(days=199)
    liar_too = {"liar": lambda _step: timedelta(days=200), **dict.fromkeys(LOGGERS, honest)}
    taken = quarter_hours(device, hands, 20, liar_too)
    assert taken.samples >= 9 * 20
    assert abs(device.clock.now() - hands.wall) < timedelta(minutes=1)


def test_loggers_under_one_name_are_not_all_as_far_ahead_as_the_furthest(device: Device, hands: Moving) -> None:
    device = off_and_on(device, hands, timedelta(0))
    for step in range(12):
        hands.wall += A_QUARTER
        hands.monotonic_s += A_QUARTER.total_seconds()
        near = b"".join(line(start=hands.wall, minutes=-number / 60.0) for number in range(9))
        device.put("station", near + line(start=hands.wall + timedelta(days=300 + step)))
        device.take()
    assert abs(device.clock.now() - hands.wall) < timedelta(minutes=1)


def test_once_a_logger_kept_pace_with_the_time_no_lone_one_moves_it(device: Device, hands: Moving) -> None:
    device = off_and_on(device, hands, timedelta(0))
    quarter_hours(device, hands, 8, {"honest": honest})
    hands.wall += timedelta(days=2)  # the honest one is silent
    hands.monotonic_s += 2 * 86_400.0
    quarter_hours(device, hands, 8, {"liar": lambda _step: timedelta(days=300)})
    assert abs(device.clock.now() - hands.wall) < timedelta(minutes=1)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_after_a_winter_without_power_the_loggers_files_set_the_time(device: Device, hands: Moving, count: int) -> None:
    device = off_and_on(device, hands, timedelta(days=150))
    for start in range(0, 150, 10):
        device.put(
            "station",
            b"".join(
                line((start * 24.0 + hour) * 60.0, origin=origin) for origin in LOGGERS[:count] for hour in range(240)
            ),
        )
        device.put("station")
    taken = Taken()
    while (more := device.take()).has_more or more.samples:
        taken += more
    taken += quarter_hours(device, hands, 12, dict.fromkeys(LOGGERS[:count], honest))
    assert abs(device.clock.now() - (hands.wall + timedelta(days=150))) < timedelta(minutes=30)
    assert (taken.rejected, taken.conflicting) == (0, 0)
    assert device.clock.now() - device.clock.reading().sure > timedelta(days=149), "one source confirms nothing"


def test_two_sources_that_agree_confirm_the_time_and_two_names_in_one_do_not(device: Device, hands: Moving) -> None:
    device = open_device(device.root, hands, device.store, formats=("jsonlines", "jsonlines"))
    device = off_and_on(device, hands, timedelta(days=150))
    true = hands.wall + timedelta(days=150)
    for number in range(12):
        names = b"".join(line(start=true, minutes=number, origin=name) for name in ("x1", "x2"))
        device.put("station", names)
        device.take("station")
    assert device.clock.now() > true and device.clock.confirmed() < true - timedelta(days=149)
    for number in range(12, 24):
        device.put("station", line(start=true, minutes=number, origin="x1"))
        device.put("other", line(start=true, minutes=number, AirTC=20.0))
        device.take("station")
        device.take("other")
    assert device.clock.confirmed() > true


def test_a_single_time_from_the_future_is_rejected_even_where_nobody_knows_the_time(
    device: Device, hands: Moving
) -> None:
    hands.is_synchronised = False
    device = open_device(device.root, hands, device.store)
    device.put("station", line(0) + line(100 * 1440.0) + line(15))
    taken = device.take()
    assert (taken.samples, taken.rejected) == (2, 1)
    assert device.clock.now() == NOW


def test_a_flood_of_one_source_holds_up_no_other(device: Device) -> None:
    for newest in range(20_000, 0, -500):
        device.put("station", b"".join(line(-second / 60.0) for second in range(newest + 500, newest, -1)))
    device.put("other", (HEADER + '"2026-05-02 11:45:00",1,21.3,0.2\n').encode())
    first = device.take("station", limit_bytes=100_000)
    assert first.has_more
    assert 1000 < first.samples < 3000
    assert device.take("other").samples == 1


def test_what_is_recalled_of_a_dense_past_is_bounded_and_finds_a_stuck_sensor(device: Device, monkeypatch: Any) -> None:
    """A sample every ten seconds, the same for ten hours: after eight of them it counts as stuck."""
    recalled: list[int] = []

    def judged(earlier: Any, arrived: Any, channels: Any) -> Any:
        recalled.append(len(earlier))
        return judge(earlier, arrived, channels)

    monkeypatch.setattr(door_module, "judge", judged)
    for hour in range(-10, 0):
        device.put("station", b"".join(line(60.0 * hour + second / 6.0, 20.0) for second in range(360)))
        device.take()
    flags = [sample.flags["air_temperature_c"] for sample in device.store.last_samples("station", 3600)]
    assert flags.index("flat") == 8 * 360
    assert set(flags[8 * 360 :]) == {"flat"}
    assert max(recalled) <= door_module.CONTEXT_SAMPLES + 20


def test_a_spike_is_amended_when_the_next_sample_shows_it(device: Device) -> None:
    for minutes, value in ((-30, 20.0), (-15, 27.0), (0, 20.1)):
        device.put("station", line(minutes, value))
        device.take()
    flags = [sample.flags["air_temperature_c"] for sample in device.store.last_samples("station", 3)]
    assert flags == ["good", "spike", "good"]


def test_the_same_samples_get_the_same_flags_however_they_are_cut(tmp_path: Path, hands: Moving) -> None:
    values = [20.0, 20.1, 40.0, 20.2, 20.2, *[20.2] * 40, 60.0, None, 21.0, 35.0, 35.1, 35.2, 35.1]
    lines = [line(15.0 * (number - len(values)), value) for number, value in enumerate(values)]
    found = []
    for name, pieces in (
        ("whole", [b"".join(lines)]),
        ("each", lines),
        ("late", [b"".join(lines[1::2]), b"".join(lines[::2])]),
    ):
        (tmp_path / name).mkdir()
        device = open_device(tmp_path / name, hands)
        for piece in pieces:
            device.put("station", piece)
            device.take()
        found.append(device.store.last_samples("station", 100))
        device.store.close()
    assert found[0] == found[1] == found[2]


def told(time: str, air_temperature_c: float) -> bytes:
    return json.dumps({"time": f"2026-05-02T{time}", "air_temperature_c": air_temperature_c}).encode() + b"\n"


def test_two_values_within_one_second_are_two_samples_and_the_same_again_is_none(device: Device) -> None:
    device.put("station", told("11:59:00.5Z", 20.1) + told("11:59:00Z", 20.0) + told("11:59:00.25Z", 20.0))
    assert (taken := device.take()).samples == 3 and taken.conflicting == 0
    device.put(
        "station", told("11:59:00.500000Z", 20.1) + told("13:59:00.25+02:00", 20.0) + told("11:59:00.000Z", 20.0)
    )
    assert (again := device.take()).repeated == 3 and (again.samples, again.conflicting) == (0, 0)
    device.put("station", told("11:59:00.5Z", 20.2))
    assert device.take().conflicting == 1
    stored = [
        (one.sample.time_utc[11:], one.good()["air_temperature_c"]) for one in device.store.last_samples("station", 9)
    ]
    assert stored == [("11:59:00Z", 20.0), ("11:59:00.25Z", 20.0), ("11:59:00.5Z", 20.1)]


def uplink(time: str) -> str:
    event = {"deviceInfo": {"devEui": "a84041000181c2b3"}, "time": time, "object": {"AirTC": 20.0}}
    return json.dumps(event) + "\n"


def dated_rows(*times: str) -> str:
    return "".join(f'"2026-05-02 {time}",20.0,0,0\n' for time in times)


FRACTIONS = {
    "toa5": HEADER + dated_rows("11:59:00.5", "11:59:00", "11:59:00.500"),
    "zentra": "z6-1,Port1,Port1,Port1\n# Records: 3,A,B,C\nTimestamps,°C AirTC,mm Rain,mm More\n"
    + dated_rows("11:59:00.5", "11:59:00"),
    "chirpstack": uplink("2026-05-02T11:59:00.500000123+00:00")
    + uplink("2026-05-02T11:59:00+00:00")
    + uplink("2026-05-02T11:59:00.5Z"),
}


@pytest.mark.parametrize("format_", FRACTIONS)
def test_every_format_tells_its_fractions(tmp_path: Path, hands: Moving, format_: str) -> None:
    device = open_device(tmp_path, hands, formats=("jsonlines", format_))
    name = "Port 1 / AirTC" if format_ == "zentra" else "RECORD" if format_ == "toa5" else "AirTC"
    mapper = Mapper.from_config({"air_temperature_c": {"field": name, "unit": "degC"}}, CHANNELS)
    device.pipeline._feeds["other"] = Feed(device.sources["other"], FORMATS[format_], mapper)
    device.put("other", FRACTIONS[format_].encode())
    taken = device.take("other")
    assert (taken.samples, taken.conflicting, taken.rejected) == (2, 0, 0), device.errors()
    (origin,) = device.store.origins()
    assert [one.sample.time_utc[11:] for one in device.store.last_samples(origin, 3)] == ["11:59:00Z", "11:59:00.5Z"]
    device.store.close()


def test_the_bounds_of_a_samples_time_hold_to_the_microsecond(device: Device) -> None:
    ahead, behind = "2026-05-03T12:00:00", "2025-03-28T12:00:00"
    assert (datetime.fromisoformat(f"{ahead}Z"), datetime.fromisoformat(f"{behind}Z")) == (
        NOW + door_module.MAX_AHEAD,
        NOW - door_module.MAX_AGE,
    )
    rows = {f"{ahead}Z": 1, f"{ahead}.000001Z": 0, f"{behind}Z": 1, "2025-03-28T11:59:59.999999Z": 0}
    for time_utc, count in rows.items():
        device.put("station", json.dumps({"time": time_utc, "air_temperature_c": 20.0}).encode())
        assert device.take().samples == count, time_utc


def test_what_a_former_agent_cut_to_whole_seconds_is_known_when_it_is_told_again(tmp_path: Path, hands: Moving) -> None:
    device = open_device(tmp_path, hands)
    device.put("station", told("11:00:00Z", 20.0) + told("11:15:00Z", 20.5))  # of 11:00:00.25 and 11:15:00.75
    device.take()
    device.store._connection.executescript(
        "DROP TABLE watched; DROP INDEX records_by_episode; ALTER TABLE records DROP COLUMN merit;"
        " ALTER TABLE records RENAME COLUMN episode TO season; ALTER TABLE batches RENAME COLUMN episode TO season;"
        f" PRAGMA user_version = {CUT_FORM}; PRAGMA application_id = {APPLICATION + CUT_FORM}"
    )
    device.store.close()
    device = open_device(tmp_path, hands)
    assert [event["text"] for event in device.store.events(kind="migrated")] == [
        f"the store was brought from form 2 to form {SCHEMA_VERSION}; nothing was left behind"
    ]
    device.put("station", told("11:00:00.25Z", 20.0) + told("11:15:00.75Z", 20.5) + told("11:15:00.8Z", 20.6))
    assert (taken := device.take()).repeated == 2 and (taken.samples, taken.conflicting) == (1, 0)
    device.put("station", told("11:30:00Z", 21.0) + told("11:30:00.5Z", 21.0))
    assert device.take().samples == 2, "what comes from now on is cut by nobody"
    device.store.close()


def test_settings_open_the_sources_and_their_events_are_kept(tmp_path: Path, hands: Moving) -> None:
    device = open_device(tmp_path, hands)
    fields = {"air_temperature_c": {"field": "AirTC"}}
    source = SourceConfig("logger", "folder", "toa5", {"path": "in", "look_every_s": 0}, fields)
    config = DeviceConfig("dev-00", "agriculture", site=Site(41.4, 540.0, -6.0), sources=(source,))
    pipeline = Pipeline.open(
        config, DeviceDirectory(tmp_path), device.store, CHANNELS, lambda _line, _where: None, device.clock
    )
    assert pipeline.take("logger", NOW) == Taken()
    assert "cannot be read: No such file or directory" in device.store.events(kind="source")[0]["text"]
    assert pipeline.sources["logger"].note is not None
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "met.dat").write_text(HEADER + '"2026-05-02 05:45:00",1,21.3,0.2\n')
    assert pipeline.take("logger", NOW).samples == 1
    assert device.store.last_samples("Station/Met15", 1)[0].sample.time_utc == "2026-05-02T11:45:00Z"
    pipeline.close()
    again = Pipeline.open(
        config, DeviceDirectory(tmp_path), device.store, CHANNELS, lambda _line, _where: None, device.clock
    )
    assert again.take("logger", NOW) == Taken()
    device.store.close()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (SourceConfig("a", "folder", "toa5", {}), "[[source]] a has no path"),
        (SourceConfig("a", "stdin", "toa5", {"path": "in"}), "[[source]] a: path is not a setting here"),
        (SourceConfig("a", "stdin", "toa5", {}, {"vwc": "VWC"}), "[[source]] a, [source.fields]: vwc is not a channel"),
        (SourceConfig("a", "mqtt", "toa5", {"topic": "#"}), "[[source]] a has no host"),
    ],
)
def test_a_broken_source_is_named(tmp_path: Path, hands: Moving, source: SourceConfig, said: str) -> None:
    device = open_device(tmp_path, hands)
    config = DeviceConfig("dev-00", "agriculture", sources=(source,))
    with pytest.raises(ConfigError) as raised:
        Pipeline.open(
            config, DeviceDirectory(tmp_path), device.store, CHANNELS, lambda _line, _where: None, device.clock
        )
    assert said in str(raised.value)
    device.store.close()


LIKELY = st.sampled_from(
    [
        line(0),
        line(-15, None),
        b'{"kind": "decide"}\n',
        b'{"time": "2026-05-02T12:00:00Z", "air_temperature_c": 1e999, "origin": "\\ud800"}\n',
        b'{"time": 1e308, "rain_mm": -0.0}\n',
        HEADER.encode(),
        b'"2026-05-02 11:45:00",1,21.3,0.2\n',
        b'{"deviceInfo": {"devEui": "a84041000181c2b3"}, "time": "2026-05-02T12:00:00Z", "object": {"rain_mm": "1"}}\n',
        b"z6-1,Port1\n#,T\nTimestamps, mm Rain\n",
        b"\x00" * 50 + b"\n",
    ]
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(FORMATS)), st.lists(st.one_of(LIKELY, st.binary(max_size=60)), max_size=8))
def test_no_bytes_from_a_logger_are_lost_or_stop_the_door(
    tmp_path_factory: pytest.TempPathFactory, logger: str, pieces: list[bytes]
) -> None:
    device = open_device(tmp_path_factory.mktemp("fuzz"), Moving(), formats=(logger, logger))
    payload = b"".join(pieces)
    device.put("station", payload)
    device.put("other", payload)
    for name in ("station", "other"):
        first = device.take(name)
        assert not device.sources[name].payloads
        device.put(name, payload)
        again = device.take(name)
        assert (again.samples, again.messages, again.rejected) == (0, first.messages, first.rejected)
    device.store.check()
    device.store.close()


ZONED = Mapper.from_config({"time": {"zone": "America/Chicago"}}, CHANNELS)
AUTUMN = datetime(2026, 11, 1, 5, tzinfo=UTC)  # an hour before the one that comes twice
CHICAGO = ZoneInfo("America/Chicago")


def zoned(device: Device, handed_over: list[list[dict[str, Any]]], at: list[datetime], hands: Moving) -> list[str]:
    """The times that are stored of payloads of samples, each taken at its time."""
    source = ScriptedSource("station")
    feed = Feed(source, FORMATS["jsonlines"], ZONED)
    pipeline = Pipeline([feed], device.store, CHANNELS, lambda *_: None, device.clock)
    for samples, now in zip(handed_over, at, strict=True):
        hands.wall = now
        source.payloads.append(b"".join(json.dumps(sample).encode() + b"\n" for sample in samples))
        pipeline.take("station", device.clock.now())
    return [one.sample.time_utc for one in device.store.samples("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([5, 10, 15, 20, 30, 60]),
    st.integers(0, 50),
    st.lists(st.integers(1, 12), min_size=1, max_size=30),
    st.booleans(),
)
def test_the_hour_that_comes_twice_loses_no_sample_however_it_is_handed_over(
    tmp_path_factory: pytest.TempPathFactory, step_min: int, start_min: int, sizes: list[int], is_live: bool
) -> None:
    """Live, one payload may hold several samples that say the very same; of a backlog, no two say the same."""
    hands = Moving()
    root = tmp_path_factory.mktemp("zoned")
    device = open_device(root, hands)
    count = 240 // step_min
    times_ = [AUTUMN + timedelta(minutes=start_min + step_min * number) for number in range(count)]
    lines = [
        {
            "time": one.astimezone(CHICAGO).strftime("%Y-%m-%d %H:%M:%S"),
            "rain_mm": 0.2,
            "air_temperature_c": 20.0 if is_live else 20.0 + number / 100.0,
        }
        for number, one in enumerate(times_)
    ]
    payloads, at, begin = [], [], 0
    while begin < count:
        size = sizes[len(payloads) % len(sizes)] if not is_live else 1
        payloads.append(lines[begin : begin + size])
        at.append(
            times_[min(begin + size, count) - 1] + timedelta(minutes=1) if is_live else AUTUMN + timedelta(days=2)
        )
        begin += size
    assert zoned(device, payloads, at, hands) == [format_utc(one) for one in times_]
    device.store.close()


def test_a_file_that_is_read_again_adds_nothing_to_the_hour_that_comes_twice(device: Device, hands: Moving) -> None:
    times_ = [AUTUMN + timedelta(minutes=15 * number) for number in range(1, 16)]
    lines = [
        {"time": one.astimezone(CHICAGO).strftime("%Y-%m-%d %H:%M:%S"), "rain_mm": 0.2 * (number % 3)}
        for number, one in enumerate(times_)
    ]
    later = [AUTUMN + timedelta(hours=5 + number) for number in range(4)]
    stored = zoned(device, [lines, lines, lines[4:8], lines[:6]], later, hands)
    assert stored == [format_utc(one) for one in times_]
    assert device.store.rejects() == []


def test_two_serial_numbers_under_one_name_are_two_loggers_and_that_is_told_once(device: Device) -> None:
    second = HEADER.replace('"1048"', '"2222"')
    row = '"2026-05-02 11:00:00",1,20.1,0.2\n"2026-05-02 11:15:00",2,20.1,0.2\n'
    device.put("other", (HEADER + row).encode(), (second + row).encode())
    device.take("other")
    device.put("other", (second + row.replace("11:", "10:")).encode())
    device.take("other")
    assert device.store.origins() == ["Station/Met15", "Station/Met15 #2222"]
    (told,) = device.store.events(10, "loggers")
    assert "serial number 2222, calls itself Station/Met15 too" in told["text"] and told["times"] == 1


def test_the_windows_of_totals_that_change_by_late_ones_are_summed_up_anew(device: Device) -> None:
    mapper = Mapper.from_config({"rain_mm": {"field": "total", "counter": True}}, CHANNELS)
    source = ScriptedSource("gauge")
    feed = Feed(source, FORMATS["jsonlines"], mapper)
    pipeline = Pipeline([feed], device.store, CHANNELS, lambda *_: None, device.clock)

    def take(*minutes_and_totals: tuple[float, float]) -> frozenset[str]:
        source.payloads += [
            json.dumps({"time": format_utc(NOW + timedelta(minutes=minutes)), "total": total}).encode() + b"\n"
            for minutes, total in minutes_and_totals
        ]
        return pipeline.take("gauge", NOW).times

    assert take((-600.0, 2.0), (-300.0, 4.0), (-60.0, 5.0)) == times(-600.0, -300.0, -60.0)
    assert times(-400.0, -300.0) <= take((-400.0, 3.0))
    assert times(-30.0) == take((-30.0, 5.0))


def test_a_date_is_no_witness_of_the_time_and_may_be_tomorrows_where_that_has_begun(device: Device) -> None:
    told: list[datetime] = []
    device.clock.witness = lambda seen, *_: told.append(seen)  # type: ignore[method-assign]  # only its calls count
    device.put("station", b'{"time": "2026-05-03", "rain_mm": 1.0}\n', b'{"time": "2026-05-05", "rain_mm": 1.0}\n')
    device.take("station")
    assert told == []
    assert [one.sample.time_utc for one in device.store.samples("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")] == [
        "2026-05-03T23:59:59.999999Z"
    ]
    assert "days ahead of the device's" in device.errors()[0]
