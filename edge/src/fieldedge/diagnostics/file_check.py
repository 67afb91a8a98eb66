"""How a file would be read, before anything of it is stored: by the very steps by which it would come in.

Format, mapping, quality control and a window's sum are those of the pipeline and the service; only the store is left
out. So nothing is known of what was measured before the file, and of its first and last window only a part is there.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median

from fieldedge.acquisition.assumptions import assumed, undecided
from fieldedge.acquisition.counters import with_increments
from fieldedge.acquisition.interleaving import NAME_SENDERS, Senders
from fieldedge.acquisition.logger_format import LoggerFormat
from fieldedge.acquisition.mapping import Mapper
from fieldedge.acquisition.pipeline import MAX_AGE
from fieldedge.acquisition.quality import judge
from fieldedge.acquisition.raw import Message, RawSample, RawValue, Unreadable
from fieldedge.acquisition.recognition import advice
from fieldedge.contract import Record
from fieldedge.contract.contract import Column, Contract
from fieldedge.contract.samples import FlaggedSample, Sample
from fieldedge.device.config import Site
from fieldedge.system.clock import parse_utc
from fieldedge.system.errors import DataError
from fieldedge.system.instants import in_order, instant_utc
from fieldedge.workload import Workload

ORIGIN = "this file"  # where a logger says no name of its own, a source's stands in its place
KEPT_SKIPS = 20
KEPT_ROWS = 3
KEPT_WINDOWS = 40
NAMES = 60
MONTH = timedelta(days=27)


@dataclass(frozen=True)
class Skip:
    """What would be rejected, and why."""

    where: str
    reason: str


@dataclass(frozen=True)
class CheckedChannel:
    """A channel: which field it is, the unit that is stated or set, and what came of its values in its own unit."""

    name: str
    unit: str
    field: str
    stated_unit: str | None
    is_unit_set: bool
    values: int
    first: float | None
    minimum: float | None
    maximum: float | None
    flags: dict[str, int]


@dataclass(frozen=True)
class CheckedWindow:
    """What a window of the file would say, or why it would say nothing, and what of it is doubted."""

    moment: str
    record: Record | None
    reason: str | None
    doubts: dict[str, str]


@dataclass(frozen=True)
class Times:
    """What the first and the last time were written as and mean, and the usual distance of two samples."""

    first_written: str
    first_utc: str
    last_written: str
    last_utc: str
    step_s: float | None
    zone: str


@dataclass(frozen=True)
class Checked:
    """How a file would be read. `not_mapped` are fields that no channel is made of, with a value and a stated unit."""

    samples: int
    messages: int
    skipped: int
    skips: tuple[Skip, ...]
    loggers: tuple[str, ...]
    channels: tuple[CheckedChannel, ...]
    absent: tuple[str, ...]
    not_mapped: tuple[tuple[str, RawValue, str | None], ...]
    times: Times | None
    rows: tuple[Sample, ...]
    windows: tuple[CheckedWindow, ...]
    notes: tuple[str, ...]


@dataclass
class _Read:
    """What a file holds."""

    raws: list[RawSample] = field(default_factory=list)
    samples: list[tuple[Sample, RawSample]] = field(default_factory=list)
    messages: int = 0
    skips: list[Skip] = field(default_factory=list)


def check(
    payload: bytes,
    where: str,
    logger_format: LoggerFormat,
    mapper: Mapper,
    workload: Workload,
    site: Site | None,
    now: datetime,
) -> Checked:
    """How a file of that content would be read by a source of that format and mapping."""
    read = _read(payload, where, logger_format, mapper)
    judged = judge([], [sample for sample, _ in read.samples], workload.channels).samples
    by_time = sorted(judged, key=lambda flagged: in_order(flagged.sample.time_utc))
    counted = with_increments(_first_of_each(by_time), {}, workload.channels)
    fields = _fields(mapper, read.raws)
    return Checked(
        samples=len(read.samples),
        messages=read.messages,
        skipped=len(read.skips),
        skips=tuple(read.skips[:KEPT_SKIPS]),
        loggers=tuple(sorted({sample.origin for sample, _ in read.samples})),
        channels=tuple(_channels(mapper, fields, read.raws, counted, workload)),
        absent=tuple(sorted({mapped.channel.name for mapped in mapper.mapped if mapped.kept_as not in fields})),
        not_mapped=_not_mapped(read.raws, {*fields.values(), mapper.time.field or ""}),
        times=_times(read.samples, mapper),
        rows=tuple(sample for sample, _ in read.samples[:KEPT_ROWS]),
        windows=tuple(_windows(counted, workload, site)),
        notes=(
            *_notes(read, site, workload, now),
            *_of_order(read, mapper),
            *_of_names(read),
            *_asked(read, mapper),
            *_of_the_sun(site, read, mapper),
        ),
    )


def _read(payload: bytes, where: str, logger_format: LoggerFormat, mapper: Mapper) -> _Read:
    read = _Read()
    last: dict[str, str] = {}
    for parsed in logger_format.parse(payload, where):
        if isinstance(parsed, Message):
            read.messages += 1
        elif isinstance(parsed, Unreadable):
            read.skips.append(Skip(parsed.where, parsed.reason))
        else:
            read.raws.append(parsed)
            try:
                sample, second = mapper.sample(parsed, ORIGIN), mapper.second(parsed, ORIGIN)
                if second is not None and in_order(sample.time_utc) <= last.get(sample.origin, ""):
                    sample = second  # of the hour that an autumn night has twice
                last[sample.origin] = in_order(sample.time_utc)
                read.samples.append((sample, parsed))
            except DataError as error:
                read.skips.append(Skip(parsed.where, str(error).removeprefix(f"{parsed.where}: ")))
    known = advice(payload, logger_format) if read.skips and not read.samples and not read.messages else None
    if known is not None:
        read.skips.insert(0, Skip(where, known))
    return read


def _first_of_each(samples: Sequence[FlaggedSample]) -> list[FlaggedSample]:
    """The samples without those of a moment that another one has: they are kept aside."""
    seen: dict[tuple[str, str], FlaggedSample] = {}
    for one in samples:
        seen.setdefault((one.sample.origin, one.sample.time_utc), one)
    return list(seen.values())


def _fields(mapper: Mapper, raws: Sequence[RawSample]) -> dict[str, str]:
    """Which field each of the mapping's channels was made of, by the name that it is kept under."""
    found: dict[str, str] = {}
    for mapped in mapper.mapped:
        for raw in raws:
            with suppress(ValueError):  # it means two elements: the sample is skipped, and says so
                name = mapped.found_in(raw.fields)
                if name is not None:
                    found[mapped.kept_as] = name
                    break
    return found


def _channels(
    mapper: Mapper,
    fields: dict[str, str],
    raws: Sequence[RawSample],
    counted: Sequence[FlaggedSample],
    workload: Workload,
) -> Iterable[CheckedChannel]:
    order = [channel.name for channel in workload.channels]
    units = {name: unit for raw in raws for name, unit in raw.units.items()}
    for mapped in sorted(mapper.mapped, key=lambda one: order.index(one.channel.name)):
        named = fields.get(mapped.kept_as)
        if named is None:
            continue
        name = mapped.channel.name
        seen = [flagged for flagged in counted if name in flagged.sample.values]
        values = [value for flagged in seen if (value := flagged.sample.values[name]) is not None]
        flags = Counter(flagged.flags.get(name, "good") for flagged in seen)
        yield CheckedChannel(
            name=name,
            unit=mapped.channel.unit,
            field=named if mapped.kept_as == name else f"{named} (a counter)",
            stated_unit=units.get(named),
            is_unit_set=mapped.is_unit_set,
            values=len(values),
            first=values[0] if values else None,
            minimum=min(values, default=None),
            maximum=max(values, default=None),
            flags=dict(sorted(flags.items())),
        )


def _not_mapped(raws: Sequence[RawSample], mapped: set[str]) -> tuple[tuple[str, RawValue, str | None], ...]:
    found: dict[str, tuple[RawValue, str | None]] = {}
    for raw in raws:
        for name, value in raw.fields.items():
            is_time = value is not None and value == raw.time
            if name not in mapped and not is_time and (name not in found or found[name][0] is None):
                found[name] = value, raw.units.get(name)
    return tuple((name, value, unit) for name, (value, unit) in list(found.items())[:NAMES])


def _times(samples: Sequence[tuple[Sample, RawSample]], mapper: Mapper) -> Times | None:
    if not samples:
        return None
    (first, raw_first), (last, raw_last) = samples[0], samples[-1]
    named = mapper.time.field
    written = [str(raw.time if named is None else raw.fields.get(named)) for raw in (raw_first, raw_last)]
    at = sorted({parse_utc(sample.time_utc) for sample, _ in samples if sample.origin == first.origin})
    steps = [(later - one).total_seconds() for one, later in pairwise(at)]
    zone = mapper.time.zone_words(raw_first)
    return Times(written[0], first.time_utc, written[1], last.time_utc, median(steps) if steps else None, zone)


def _windows(counted: Sequence[FlaggedSample], workload: Workload, site: Site | None) -> Iterable[CheckedWindow]:
    """What each window would say. The context is made up: what is measured does not depend on it."""
    if site is None and workload.needs_site:
        return
    touched: dict[str, list[FlaggedSample]] = {}
    for flagged in counted:
        for moment in workload.windows.touched(flagged.sample.time_utc):
            touched.setdefault(moment, []).append(flagged)
    times = [in_order(flagged.sample.time_utc) for flagged in counted]
    for moment in sorted(touched)[-KEPT_WINDOWS:]:
        window = workload.windows.window(moment)
        context = _made_up(workload.contract, window.begin)
        first, begin = (
            bisect_right(times, in_order(instant_utc(at))) for at in (window.after - workload.looks_back, window.after)
        )
        earlier = counted[first:begin]
        observed = workload.observe([*earlier, *touched[moment]], context, window, site)
        yield CheckedWindow(moment, observed.record, observed.reason, dict(observed.doubts))


def _made_up(contract: Contract, at: datetime) -> Record:
    """A row that opens an episode in which this time lies."""
    made = {column.name: _value(column, at) for column in contract.context_table.columns}
    period = contract.episode.partition[0] if contract.episode.partition else None
    return {**made, period: at.year} if period is not None else made


def _value(column: Column, at: datetime) -> str | float | int | None:
    if column.is_moment:
        return column.at(at.replace(tzinfo=UTC) - timedelta(days=1))
    if column.kind == "str":
        return column.choices[0] if column.choices else "check"
    low = 0.0 if column.minimum is None else column.minimum
    return int(low) if column.kind == "int" else low


def _notes(read: _Read, site: Site | None, workload: Workload, now: datetime) -> Iterable[str]:
    if site is None and workload.needs_site:
        yield "there is no [site]: no day is summed up, and times without a zone are taken for UTC"
    ahead = [sample.time_utc for sample, _ in read.samples if parse_utc(sample.time_utc) > now + timedelta(minutes=10)]
    if ahead:
        yield (
            f"{len(ahead)} samples are ahead of this clock, the last at {max(ahead, key=in_order)}: no logger measures "
            'the future; say the zone of its times, zone = "..." or utc_offset_h in [site] or [source.fields] time'
        )
    times = [parse_utc(sample.time_utc) for sample, _ in read.samples]
    old = sum(at < now - MAX_AGE for at in times)
    if old:
        yield f"{old} samples are more than {MAX_AGE.days} days old, and would be rejected as of no use"
    twice = len(read.samples) - len({(sample.origin, sample.time_utc) for sample, _ in read.samples})
    if twice:
        yield f"{twice} samples are of a moment that another one has: the first of each is kept"


def _of_order(read: _Read, mapper: Mapper) -> Iterable[str]:
    """Whether day and month stand in the other order: the file's times would be much closer together then."""
    other = mapper.time.in_the_other_order()
    if other is None or not read.samples:
        return
    try:
        swapped = [parse_utc(other.read(raw)) for _, raw in read.samples]
    except DataError:
        return
    as_set = [parse_utc(sample.time_utc) for sample, _ in read.samples]
    span, span_swapped = max(as_set) - min(as_set), max(swapped) - min(swapped)
    if span >= MONTH and span_swapped < span / 4:
        yield (
            f"its times are {span.days} days apart, and {span_swapped.days} if day and month stood in the other order: "
            f'see format in [source.fields] time, perhaps "{other.format}"'
        )


def _asked(read: _Read, mapper: Mapper) -> Iterable[str]:
    """What is taken for granted of the file."""
    told: dict[str, None] = {}
    last: dict[str, int] = {}
    for sample, raw in read.samples:
        asked = undecided(raw, mapper) if None in sample.values.values() else ()
        if last.get(sample.origin) != len(raw.fields):
            last[sample.origin] = len(raw.fields)
            asked += assumed(raw, mapper)
        told.update({f"{one.said}; {one.todo}": None for one in asked})
        if len(told) >= KEPT_SKIPS:
            break
    yield from told


def _of_the_sun(site: Site | None, read: _Read, mapper: Mapper) -> Iterable[str]:
    named = any(mapped.channel.name.startswith("solar") for mapped in mapper.mapped)
    if site is not None and site.longitude_deg is None and named and read.samples:
        yield "say longitude_deg in [site], and the sun in the radiation tells whether the times are in another zone"


def _of_names(read: _Read) -> Iterable[str]:
    """Whether several loggers speak in turns, without a name that is read."""
    said: dict[str, Senders] = {}
    for sample, raw in read.samples:
        told = said.setdefault(sample.origin, Senders()).note(raw, sample.time_utc)
        if told is not None:
            yield f"{told}: {NAME_SENDERS}"
