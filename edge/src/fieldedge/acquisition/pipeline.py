"""How readings come in: from a source through its logger's format, its mapping and quality control into the store.

A batch is one transaction: its samples with their flags, the earlier samples whose flags changed, and what could not be
taken, with the reason. Only then is the source told that it is done, so that a crash at any point brings the batch
again, and the store knows it. Nothing is dropped: what is neither a sample nor a message is a reject. A call takes a
bounded amount, so that a flood of one source holds up no other. When a source is asked, and what happens when it
fails, is for the service.
"""

import json
import logging
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from fieldedge.acquisition.assumptions import ASKED, Asked, assumed, undecided
from fieldedge.acquisition.counters import running_totals
from fieldedge.acquisition.formats import FORMATS
from fieldedge.acquisition.interleaving import MAX_LOGGERS, NAME_SENDERS, Interleaving, Senders
from fieldedge.acquisition.known_loggers import KnownLoggers
from fieldedge.acquisition.logger_format import LoggerFormat
from fieldedge.acquisition.mapping import Mapper
from fieldedge.acquisition.quality import Judgement, Span, judge, spans
from fieldedge.acquisition.raw import Message, Parsed, RawSample, Unreadable
from fieldedge.acquisition.recognition import advice
from fieldedge.acquisition.shifts import Shifts
from fieldedge.acquisition.source import Delivery, Source
from fieldedge.acquisition.sources import open_source
from fieldedge.contract.samples import Channel, FlaggedSample, Sample, is_of_a_whole_day
from fieldedge.device.config import DeviceConfig, DeviceDirectory
from fieldedge.storage.store import Store
from fieldedge.system.clock import EARLIEST, Clock, parse_utc, system_time
from fieldedge.system.errors import DataError, TransientError
from fieldedge.system.instants import in_order, instant_utc

BATCH_BYTES = 262_144  # about 3,000 samples: enough to make the disk's waiting small, and not felt in memory
TAKE_BYTES = 524_288  # at once: a second or two of a small computer's time
MAX_AHEAD = timedelta(days=1)
MAX_AGE = timedelta(days=400)
AS_IT_COMES = timedelta(minutes=30)  # what is no older came live
MAX_REJECT_CHARACTERS = 100_000
ASK_EVERY = timedelta(hours=20)
MAX_ASKED = 40  # at once

CONTEXT_SAMPLES = 700  # a quarter of an hour apart they reach as far back as any check
CONTEXT_STEP = timedelta(hours=1)  # beyond them one of each hour will do
MAX_LATER_SAMPLES = 5_000

_RENAME = "give each a name of its own"

HandleLine = Callable[[str, str], object]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taken:
    """What came in. `times` are those of its samples; `has_more` says that the source had not been emptied."""

    samples: int = 0
    repeated: int = 0
    conflicting: int = 0
    rejected: int = 0
    messages: int = 0
    times: frozenset[str] = frozenset()
    has_more: bool = False

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(
            self.samples + other.samples,
            self.repeated + other.repeated,
            self.conflicting + other.conflicting,
            self.rejected + other.rejected,
            self.messages + other.messages,
            self.times | other.times,
            other.has_more,
        )


@dataclass(frozen=True)
class Feed:
    """One source, and how its bytes are read."""

    source: Source
    logger_format: LoggerFormat
    mapper: Mapper


@dataclass
class _Batch:
    """What some deliveries hold, before it is stored."""

    samples: list[tuple[Sample, RawSample]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    rejects: list[tuple[str, str, str]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    asked: dict[str, tuple[str, Asked]] = field(default_factory=dict)  # the origin and what is asked, by the words
    looked_at: set[tuple[str, str]] = field(default_factory=set)  # loggers of which that is known
    seconds: dict[int, Sample] = field(default_factory=dict)  # of the samples whose time comes twice, the later one

    def reject(self, where: str, reason: str, body: str) -> None:
        self.rejects.append((_storable(where), _storable(reason), _storable(body[:MAX_REJECT_CHARACTERS])))


class Pipeline:
    """The sources of one device, and the store that they come into.

    `handle_line(line, where)` gets each message for the agent; what it is given is stored when it returns.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        store: Store,
        channels: Sequence[Channel],
        handle_line: HandleLine,
        clock: Clock,
        loggers: KnownLoggers | None = None,
    ) -> None:
        self._feeds = {feed.source.name: feed for feed in feeds}
        self._store = store
        self._channels = channels
        self._handle_line = handle_line
        self._clock = clock
        self._untold: dict[str, Taken] = {}
        self._loggers = KnownLoggers() if loggers is None else loggers
        self._shifts = Shifts()
        self._files = Interleaving()
        self._senders: dict[tuple[str, str], Senders] = {}
        self._asked: dict[str, datetime] = {}

    @classmethod
    def open(
        cls,
        config: DeviceConfig,
        directory: DeviceDirectory,
        store: Store,
        channels: Sequence[Channel],
        handle_line: HandleLine,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = system_time,
    ) -> Self:
        """The pipeline with the sources of `device.toml`.

        Raises:
            ConfigError: a source's settings or fields are missing, broken or unknown.
        """
        pipeline = cls([], store, channels, handle_line, clock, KnownLoggers(directory.loggers))
        utc_offset_h = 0.0 if config.site is None else config.site.utc_offset_h
        zone = None if config.site is None else config.site.zone
        mappers = {
            source.name: Mapper.from_config(
                source.fields,
                channels,
                utc_offset_h,
                f"{directory.settings}, [[source]] {source.name}, [source.fields]",
                zone,
            )
            for source in config.sources
        }
        for source in config.sources:
            opened = open_source(
                source, directory, config.device_id, pipeline._teller(source.name), monotonic=monotonic, now=now
            )
            pipeline._feeds[source.name] = Feed(opened, FORMATS[source.format], mappers[source.name])
        return pipeline

    @property
    def sources(self) -> Mapping[str, Source]:
        """The sources by name."""
        return {name: feed.source for name, feed in self._feeds.items()}

    def use(self, store: Store, handle_line: HandleLine) -> None:
        """Go on with another store, such as one that was mended. What was not done comes again and goes there."""
        self._store, self._handle_line = store, handle_line

    def take(self, name: str, now: datetime, limit_bytes: int = TAKE_BYTES) -> Taken:
        """Take in what a source has, in batches, about `limit_bytes` at most. `now` is the device's time.

        Raises:
            StoreBusy, StoreFailed: the store cannot be written. What was not stored comes again.
            OSError: the source failed.
        """
        feed, taken, left_bytes = self._feeds[name], self._untold.pop(name, Taken()), limit_bytes
        try:
            while left_bytes > 0:
                deliveries = feed.source.poll(min(BATCH_BYTES, left_bytes))
                if not deliveries:
                    return taken + Taken()
                taken += self._take_batch(feed, deliveries, now)
                left_bytes -= sum(len(delivery.payload) for delivery in deliveries)
        except BaseException:
            self._untold[name] = taken  # it is stored: the next call tells of it
            raise
        return taken

    def close(self) -> None:
        """Let go of every source. What is not done comes again."""
        for feed in self._feeds.values():
            feed.source.close()

    def _take_batch(self, feed: Feed, deliveries: Sequence[Delivery], now: datetime) -> Taken:
        batch = _Batch()
        for delivery in deliveries:
            self._read(feed, delivery, batch)
        self._settle_seconds(batch, now)
        samples = self._plausible(feed.source.name, batch, now)
        self._loggers.keep()
        judgement = self._judged(samples)
        following = self._following(samples)
        counts = self._store.add_samples(judgement.samples, judgement.amended, batch.rejects)
        if counts.conflicting:
            said = (
                f"source {feed.source.name} sends other samples of a moment that is known: two loggers may share a name"
            )
            batch.told.append(f"{said}: {_RENAME}")
        if not counts.repeated and not counts.conflicting:
            batch.told += self._interleaved(feed.source.name, batch, samples)
        for text in batch.told:
            self._store.add_event("loggers", _storable(text))
        for text, (origin, asked) in batch.asked.items():
            if text not in self._asked or not timedelta(0) <= now - self._asked[text] < ASK_EVERY:
                self._asked[text] = now
                values = {"source": feed.source.name, "origin": origin, "channel": asked.channel, "field": asked.field}
                words = {"said": asked.said, "todo": asked.todo}
                self._store.add_event(ASKED, _storable(text), {**values, **words})
        for message in batch.messages:
            self._handle_line(message.line, message.where)
        for delivery in deliveries:
            delivery.done()
        return Taken(
            counts.new,
            counts.repeated,
            counts.conflicting,
            len(batch.rejects),
            len(batch.messages),
            frozenset(one.sample.time_utc for one in (*judgement.samples, *judgement.amended)) | following,
            has_more=True,
        )

    def _read(self, feed: Feed, delivery: Delivery, batch: _Batch) -> None:
        """Sort what a delivery holds into samples, messages and rejects. Nothing that it holds raises."""
        if delivery.fault is not None:
            fault = _with_advice(delivery.fault, delivery.payload, feed.logger_format)
            batch.reject(f"{delivery.where}, line {delivery.first_line}", fault, _text(delivery.payload))
            return
        rejects, taken = len(batch.rejects), len(batch.samples) + len(batch.messages)
        try:
            for parsed in feed.logger_format.parse(delivery.payload, delivery.where, delivery.first_line):
                self._sort(feed, delivery, parsed, batch)
        except Exception as error:  # noqa: BLE001  (the loop's edge: one payload never stops a source)
            _log.exception("rejected %s", delivery.where)
            reason = f"this fieldedge cannot handle it ({error!r}); report it with the device's log"
            batch.reject(delivery.where, reason, _text(delivery.payload))
        if len(batch.rejects) > rejects and len(batch.samples) + len(batch.messages) == taken:
            where, reason, body = batch.rejects[rejects]
            batch.rejects[rejects] = where, _with_advice(reason, delivery.payload, feed.logger_format), body

    def _sort(self, feed: Feed, delivery: Delivery, parsed: Parsed, batch: _Batch) -> None:
        if isinstance(parsed, Unreadable):
            batch.reject(parsed.where, parsed.reason, parsed.text)
        elif isinstance(parsed, Message):
            batch.messages.append(parsed)
        else:
            try:
                raw = self._of_its_logger(feed.source.name, parsed, batch)
                sample = feed.mapper.sample(raw, delivery.origin)
                self._check_places(feed, raw, sample.origin)
                second = feed.mapper.second(raw, delivery.origin)
            except DataError as error:
                batch.reject(parsed.where, str(error), _body(parsed))
                return
            self._loggers.note(feed.source.name, sample.origin, raw.fields, sample.time_utc)
            self._note_sender(feed.source.name, sample, raw, batch)
            self._ask(feed, sample, raw, batch)
            if second is not None:
                batch.seconds[len(batch.samples)] = second
            batch.samples.append((sample, raw))

    def _of_its_logger(self, source: str, raw: RawSample, batch: _Batch) -> RawSample:
        """A raw sample under the name that its logger has here."""
        if raw.serial is None or raw.origin is None:
            return raw
        known = self._loggers.by_origin.keys()
        count, origin = len(known), self._loggers.origin(source, raw.origin, raw.serial)
        if origin == raw.origin:
            return raw
        if len(known) > count:
            said = f"another logger, serial number {raw.serial}, calls itself {raw.origin} too and is {origin} here"
            batch.told.append(f"{said}: {_RENAME}")
        return replace(raw, origin=origin)

    def _note_sender(self, source: str, sample: Sample, raw: RawSample, batch: _Batch) -> None:
        key = source, sample.origin
        if raw.origin is not None or (key not in self._senders and len(self._senders) >= MAX_LOGGERS):
            return
        told = self._senders.setdefault(key, Senders()).note(raw, sample.time_utc)
        if told is not None:
            batch.told.append(f"source {source}: {told}, and {NAME_SENDERS}")

    def _ask(self, feed: Feed, sample: Sample, raw: RawSample, batch: _Batch) -> None:
        """Note what is taken for granted of a sample, once a batch of a logger, and each number that is left out."""
        key = feed.source.name, sample.origin
        asked = undecided(raw, feed.mapper) if None in sample.values.values() else ()
        if key not in batch.looked_at and len(batch.looked_at) < MAX_LOGGERS:
            batch.looked_at.add(key)
            asked += assumed(raw, feed.mapper)
        for one in asked:
            if len(batch.asked) < MAX_ASKED:
                batch.asked.setdefault(f"{sample.origin}: {one.said}; {one.todo}", (sample.origin, one))

    def _interleaved(self, source: str, batch: _Batch, samples: Sequence[Sample]) -> list[str]:
        """What there is to tell of files that hold the same hours of one logger, of samples that are all new."""
        taken = {(sample.origin, sample.time_utc) for sample in samples}
        files: dict[tuple[str, str], list[Sample]] = {}
        for sample, raw in batch.samples:
            if (sample.origin, sample.time_utc) in taken and not is_of_a_whole_day(sample.time_utc):
                files.setdefault((sample.origin, raw.where.rpartition(", line ")[0] or raw.where), []).append(sample)
        told = []
        for (origin, file), of_file in files.items():
            times = sorted((one.time_utc for one in of_file), key=in_order)
            channels = set().union(*(one.values for one in of_file))
            other = self._files.note(source, origin, file, (parse_utc(times[0]), parse_utc(times[-1])), channels)
            if other is not None:
                told.append(
                    f"{file} and {other} hold the same hours of {origin}: two loggers may share a name: {_RENAME}"
                )
        return told

    def _check_places(self, feed: Feed, raw: RawSample, origin: str) -> None:
        """Where a mapping goes by places in a list, they must still hold what they held.

        Raises:
            DataError: an element stands where another one stood.
        """
        if not feed.mapper.names_places:
            return
        moved = self._loggers.moved(feed.source.name, origin, feed.mapper.elements(raw))
        if moved is not None:
            raise DataError(
                f"{raw.where}: {moved}: the elements of this list have no fixed place; in [source.fields] name them by "
                'what they say, like "list[key=value].name"'
            )

    def _settle_seconds(self, batch: _Batch, now: datetime) -> None:
        """Tell apart, of the hour that an autumn night has twice, which sample is of which.

        Loggers write in the order of time: what goes back begins the second time. Where nothing that came along tells,
        what is stored does.
        """
        last: dict[str, str] = {}
        taken: set[tuple[str, str]] = set()
        for index, (sample, raw) in enumerate(batch.samples if batch.seconds else ()):
            second = batch.seconds.get(index)
            if second is not None and self._is_second(batch, index, second, last.get(sample.origin), taken, now):
                sample = second
                batch.samples[index] = sample, raw
            last[sample.origin] = in_order(sample.time_utc)
            taken.add((sample.origin, sample.time_utc))

    def _is_second(
        self, batch: _Batch, index: int, second: Sample, last: str | None, taken: set[tuple[str, str]], now: datetime
    ) -> bool:
        first = batch.samples[index][0]
        if last is not None:
            return in_order(first.time_utc) <= last and (second.origin, second.time_utc) not in taken
        for later in range(index + 1, len(batch.samples)):
            other = batch.samples[later][0]
            is_of_the_hour = later in batch.seconds and other.origin == first.origin
            if is_of_the_hour and in_order(other.time_utc) <= in_order(first.time_utc):
                return False  # it comes once more in what came along
        newest = self._store.last_samples(first.origin, 1)
        if not newest or in_order(newest[0].sample.time_utc) < in_order(first.time_utc):
            return False
        stored = self._store.sample(first.origin, first.time_utc)
        if stored is not None and stored.sample.values == first.values:
            return abs(now - parse_utc(second.time_utc)) <= AS_IT_COMES  # else it is the first, told again
        return True

    def _following(self, samples: Sequence[Sample]) -> frozenset[str]:
        """The times of stored samples whose increments change by totals that came late."""
        found: set[str] = set()
        for origin in {sample.origin for sample in samples if running_totals(sample)}:
            newest = self._store.last_samples(origin, 1)
            if not newest:
                continue
            end = in_order(newest[0].sample.time_utc)
            for sample in samples:
                if sample.origin == origin and in_order(sample.time_utc) < end:
                    after = parse_utc(sample.time_utc) + timedelta(microseconds=1)
                    last = newest[0].sample.time_utc
                    found.update(
                        one.sample.time_utc for one in self._store.samples(instant_utc(after), last, origin, 1)
                    )
                    found.add(last)
        return frozenset(found)

    def _plausible(self, source: str, batch: _Batch, now: datetime) -> list[Sample]:
        """The samples whose time can be true; the others become rejects. The clock hears each of a source's loggers."""
        if not batch.samples:
            return []
        before = self._clock.now()
        newest_by_origin = {origin: _newest_of_most(times, before) for origin, times in _times_by_origin(batch).items()}
        for origin, seen in newest_by_origin.items():
            self._clock.witness(seen, source, origin)
        now += self._clock.now() - before  # a clock that nobody had set may just have been
        for origin, seen in newest_by_origin.items():
            shift = self._shifts.note(source, origin, seen, now)
            if shift is not None:
                values = {"source": source, "origin": origin, "ahead_h": shift.ahead_h}
                self._store.add_event("shift", _storable(f"{origin}: its samples are {shift.said}"), values)
        unconfirmed = self._clock.now() - self._clock.confirmed()
        oldest = max(now - unconfirmed, EARLIEST + MAX_AGE) - MAX_AGE
        first, last = in_order(instant_utc(oldest)), in_order(instant_utc(now + MAX_AHEAD))
        last_day = in_order(instant_utc(now + 2 * MAX_AHEAD))  # in the zones furthest ahead it has begun
        newest: dict[str, str | None] = {}
        plausible = []
        for told, raw in batch.samples:
            sample = self._store.as_stored(told)
            time_ = in_order(sample.time_utc)
            is_ahead = time_ > (last_day if is_of_a_whole_day(sample.time_utc) else last)
            is_implausible = time_ < first or (is_ahead and not self._follows(sample, newest))
            if is_implausible and not self._is_stored(sample):
                batch.reject(raw.where, _time_fault(sample, now), _body(raw))
                continue
            plausible.append(sample)
            newest[sample.origin] = max(newest.get(sample.origin) or "", sample.time_utc, key=in_order)
        return plausible

    def _is_stored(self, sample: Sample) -> bool:
        """Whether it came before, when its time could be true: a file that is read again is no news."""
        known = self._store.sample(sample.origin, sample.time_utc)
        return known is not None and known.sample == sample

    def _follows(self, sample: Sample, newest: dict[str, str | None]) -> bool:
        """Whether a sample from the future goes on where its logger left off, and it is our clock that may be late.

        A device that was switched off for a winter, without a clock of its own, reads what its loggers kept meanwhile.
        """
        if self._clock.is_trusted:
            return False
        if newest.get(sample.origin) is None:
            known = self._store.last_samples(sample.origin, 1)
            newest[sample.origin] = known[0].sample.time_utc if known else None
        last = newest[sample.origin]
        return last is not None and parse_utc(sample.time_utc) <= parse_utc(last) + MAX_AHEAD

    def _judged(self, samples: Sequence[Sample]) -> Judgement:
        times: dict[str, list[str]] = {}
        for sample in samples:
            times.setdefault(sample.origin, []).append(sample.time_utc)
        for of_origin in times.values():
            of_origin.sort(key=in_order)
        earlier: list[FlaggedSample] = []
        for span in spans(samples, self._channels):
            of_origin = times[span.origin]
            earlier += self._context(span, of_origin[bisect_left(of_origin, span.first_utc, key=in_order)])
        return judge(earlier, samples, self._channels)

    def _context(self, span: Span, first: str) -> Iterator[FlaggedSample]:
        """What is stored around samples from `first` on; of what came before, if it is dense, only one of each hour."""
        before = self._store.samples(span.first_utc, first, span.origin, -CONTEXT_SAMPLES)
        if len(before) == CONTEXT_SAMPLES:
            begin, end = parse_utc(span.first_utc), parse_utc(before[0].sample.time_utc)
            while begin < end:
                following = min(begin + CONTEXT_STEP, end)
                yield from self._store.samples(instant_utc(begin), instant_utc(following), span.origin, 1)
                begin = following
        yield from before
        yield from self._store.samples(first, span.last_utc, span.origin, MAX_LATER_SAMPLES)

    def _teller(self, name: str) -> Callable[[str], None]:
        """What a source says of itself goes to the log and into the device's events."""

        def tell(text: str) -> None:
            _log.warning("source %s: %s", name, text)
            try:
                self._store.add_event("source", _storable(f"{name}: {text}"))
            except TransientError as error:
                _log.warning("an event of source %s could not be kept: %s", name, error)

        return tell


def _times_by_origin(batch: _Batch) -> dict[str, list[datetime]]:
    times: dict[str, list[datetime]] = {}
    for sample, _ in batch.samples:
        if not is_of_a_whole_day(sample.time_utc):  # which says nothing of the hour
            times.setdefault(sample.origin, []).append(parse_utc(sample.time_utc))
    return times


def _newest_of_most(times: list[datetime], now: datetime) -> datetime:
    """What a logger says of the time: the newest of its samples, where they follow one another.

    Several loggers may come under one name. Of groups that lie more than a day apart the largest speaks, of equal ones
    the one nearest to `now`: so that a single one whose clock is set ahead does not speak for all.
    """
    times = sorted(times)
    groups = [[times[0]]]
    for time_ in times[1:]:
        if time_ - groups[-1][-1] > MAX_AHEAD:
            groups.append([])
        groups[-1].append(time_)
    return max(groups, key=lambda group: (len(group), -abs(group[-1] - now)))[-1]


def _time_fault(sample: Sample, now: datetime) -> str:
    days = (parse_utc(sample.time_utc) - now).total_seconds() / 86_400.0
    if days > 0.0:
        return f"its time {sample.time_utc} is {days:.1f} days ahead of the device's; is the logger's clock set?"
    return (
        f"its time {sample.time_utc} is {-days:.0f} days ago; samples are taken for {MAX_AGE.days} days, "
        "older ones are of no use to the field"
    )


def _body(raw: RawSample) -> str:
    """A raw sample as JSON, for people."""
    return json.dumps({"time": raw.time, **raw.fields}, default=str)


def _text(payload: bytes) -> str:
    return payload[:MAX_REJECT_CHARACTERS].decode(errors="backslashreplace")


def _with_advice(reason: str, payload: bytes, logger_format: LoggerFormat) -> str:
    """Why something could not be read, with what it looks like where another format is known of it."""
    known = advice(payload, logger_format)
    return f"{reason}; {known}" if known else reason


def _storable(text: str) -> str:
    """Text that can be stored: half a surrogate pair cannot."""
    return text.encode(errors="backslashreplace").decode()
