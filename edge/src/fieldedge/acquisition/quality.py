"""Quality control at intake: the flag of each value, by what its channel can be and by what was measured around it.

Pure functions over samples. Each logger is judged by itself, each channel by itself, in the order of measurement, not
of arrival: the same samples get the same flags however they come (unless doubt passes from value to value for longer
than `spans` reaches). What is flagged stays; it only does not count.

- `missing`: there is no number.
- `range`: no true value is so low or so high.
- `fault`: it lies below what can be measured there, or is what sensors say that fail, far from the last good value.
- `flat`: the value has stood still for longer than a working sensor's does.
- `rate`: it is further from the last good value than it can have moved since. Where several in a row agree with one
  another for a while, the jump was real and they are good again; the last good value counts for less by the hour.
  What repeats one exact value beyond a jump is no new level, for as long as it does.
- `spike`: it stands out from both its neighbours, and they agree. This is known only when the next value is: then the
  one before is amended.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fieldedge.contract.samples import Channel, Flag, FlaggedSample, Sample
from fieldedge.system.errors import DataError
from fieldedge.system.instants import in_order, parse_instant

NOISE_SPAN_H = 0.25  # moves within less than this count as if they had taken it: noise has no rate
PERSISTS_SAMPLES = 3
PERSISTS_H = 0.25
RECENT_H = 24.0  # what was measured longer ago says nothing of whether a sensor failed
NEIGHBOUR_H = 3.0  # values further away are no neighbours

_NOT_JUDGED = ("missing", "range", "fault")  # by their neighbours, nor their neighbours by them


@dataclass(frozen=True)
class Judgement:
    """The flags of what arrived, in the order of its arrival, and of earlier samples those whose flags changed."""

    samples: list[FlaggedSample]
    amended: list[FlaggedSample]


@dataclass(frozen=True)
class Span:
    """The stored samples of one origin that a judgement must know, `last_utc` excluded."""

    origin: str
    first_utc: str
    last_utc: str


def spans(arrived: Sequence[Sample], channels: Sequence[Channel]) -> list[Span]:
    """What to read from the store before `arrived` is judged: all that can change its flags, or change by it.

    Raises:
        DataError: a sample's time cannot be read.
    """
    reach_h = _reach_h(channels)
    times: dict[str, dict[str, float]] = {}
    for sample in arrived:
        times.setdefault(sample.origin, {})[sample.time_utc] = _hours(sample.time_utc)
    return [
        Span(origin, _utc(hours[group[0]] - reach_h), _utc(hours[group[-1]] + reach_h))
        for origin, hours in times.items()
        for group in _groups(hours, reach_h)
    ]


def _reach_h(channels: Sequence[Channel]) -> float:
    """How far in time one value can matter to the flag of another: beyond, no stand goes on and all can have moved."""
    reach_h = NEIGHBOUR_H
    for channel in channels:
        reach_h = max(reach_h, 1.5 * (channel.flat_after_h or 0.0))
        if channel.max_change_per_h:
            reach_h = max(reach_h, (channel.maximum - channel.minimum) / channel.max_change_per_h)
    return reach_h + NOISE_SPAN_H


def _groups(hours: Mapping[str, float], reach_h: float) -> list[list[str]]:
    """Times in their order, in groups that do not matter to each other."""
    groups: list[list[str]] = []
    last = -math.inf
    for time_utc, at in sorted(hours.items(), key=lambda item: item[1]):
        if at - last > 2.0 * reach_h:
            groups.append([])
        groups[-1].append(time_utc)
        last = at
    return groups


def judge(earlier: Sequence[FlaggedSample], arrived: Sequence[Sample], channels: Sequence[Channel]) -> Judgement:
    """The flags of what arrived. `earlier` is what is stored in its `spans`, in any order; more does no harm.

    A sample that is there already keeps its flags. Another one for a moment that is taken is judged by its ranges only,
    and nothing is judged by it.

    Raises:
        DataError: a sample's time cannot be read.
    """
    stored: dict[str, dict[str, FlaggedSample]] = {sample.origin: {} for sample in arrived}
    for flagged in earlier:
        if flagged.sample.origin in stored:
            stored[flagged.sample.origin].setdefault(flagged.sample.time_utc, flagged)
    fresh: dict[str, dict[str, _Entry]] = {origin: {} for origin in stored}
    verdicts: list[_Entry | FlaggedSample] = []
    for sample in arrived:
        known, new = stored[sample.origin].get(sample.time_utc), fresh[sample.origin]
        cleaned = _cleaned(sample)
        if known is not None and known.sample.values == cleaned.values:
            verdicts.append(FlaggedSample(cleaned, known.flags))
        elif known is None and sample.time_utc not in new:
            new[sample.time_utc] = entry = _Entry(cleaned)
            verdicts.append(entry)
        elif known is None and new[sample.time_utc].sample.values == cleaned.values:
            verdicts.append(new[sample.time_utc])
        else:
            verdicts.append(_alone(cleaned, channels))
    amended: dict[tuple[str, str], FlaggedSample] = {}
    reach_h = _reach_h(channels)
    for origin, new in fresh.items():
        for group in _groups({time_utc: entry.hours for time_utc, entry in new.items()}, reach_h):
            changed = _judge_group(stored[origin], {time_utc: new[time_utc] for time_utc in group}, channels, reach_h)
            for flagged in changed:
                amended[origin, flagged.sample.time_utc] = flagged
    samples = [found if isinstance(found, FlaggedSample) else found.flagged() for found in verdicts]
    return Judgement(samples, list(amended.values()))


class _Entry:
    """A sample that is being judged. `former` is what was said of it before, if it is stored already."""

    __slots__ = ("flags", "former", "hours", "sample")

    def __init__(self, sample: Sample, former: FlaggedSample | None = None) -> None:
        self.sample = sample
        self.hours = _hours(sample.time_utc)
        self.flags: dict[str, Flag] = dict(former.flags) if former is not None else {}
        self.former = former

    def flagged(self) -> FlaggedSample:
        flags = self.flags
        return FlaggedSample(self.sample, {name: flags.get(name, "good") for name in self.sample.values})

    def is_amended(self) -> bool:
        former = self.former
        return former is not None and any(
            self.flags.get(name, "good") != former.flags.get(name, "good") for name in self.sample.values
        )


def _judge_group(
    stored: dict[str, FlaggedSample], new: Mapping[str, _Entry], channels: Sequence[Channel], reach_h: float
) -> list[FlaggedSample]:
    """Flag new samples of one logger, and add them to `stored`; the earlier ones whose flags changed.

    What was measured before the first new sample is only recalled; what was measured after it is judged anew, as far
    as the new ones reach.
    """
    times = sorted(stored, key=in_order)
    hours = [entry.hours for entry in new.values()]
    first, last = _utc(min(hours) - reach_h), _utc(max(hours) + reach_h)
    split = bisect_left(times, min(map(in_order, new)), key=in_order)
    before = [stored[time_utc] for time_utc in times[bisect_left(times, first, key=in_order) : split]]
    following = times[split : bisect_left(times, last, key=in_order)]
    after = {time_utc: _Entry(stored[time_utc].sample, stored[time_utc]) for time_utc in following}
    line = [entry for _, entry in sorted({**after, **new}.items(), key=lambda item: in_order(item[0]))]
    recalled: dict[int, _Entry] = {}
    for channel in channels:
        _judge_channel(channel, before, recalled, line, max(hours) + reach_h)
    for entry in new.values():
        for name, value in entry.sample.values.items():
            if name not in entry.flags:
                entry.flags[name] = "missing" if value is None else "good"
    amended = [entry.flagged() for entry in (*recalled.values(), *after.values()) if entry.is_amended()]
    for flagged in (*amended, *(entry.flagged() for entry in new.values())):
        stored[flagged.sample.time_utc] = flagged
    return amended


def _judge_channel(
    channel: Channel,
    before: Sequence[FlaggedSample],
    recalled: dict[int, _Entry],
    line: Sequence[_Entry],
    read_until_h: float,
) -> None:
    name, minimum, maximum = channel.name, channel.minimum, channel.maximum
    run: _Run | None = None
    for entry in line:
        values = entry.sample.values
        if name not in values:
            continue
        value = values[name]
        if value is None:
            entry.flags[name] = "missing"
        elif not minimum <= value <= maximum:
            entry.flags[name] = "range"
        elif channel.floor is not None and value < channel.floor:
            entry.flags[name] = "fault"
        else:
            if run is None:
                run = _recall(channel, before, recalled)
            entry.flags[name] = "fault" if run.is_error(value, entry.hours) else run.follow(entry, value)
    if run is not None:
        run.end(read_until_h)


def _recall(channel: Channel, before: Sequence[FlaggedSample], recalled: dict[int, _Entry]) -> "_Run":
    """What is known of a channel before the first new sample: as much of the past as can still matter."""
    name = channel.name
    trail: list[tuple[int, float, Flag]] = []
    anchor: float | None = None  # the last but one that is no spike: its stand must be known from its beginning
    has_good = False
    for index in range(len(before) - 1, -1, -1):
        value, flag = before[index].sample.values.get(name), before[index].flags.get(name, "good")
        if value is None or flag in _NOT_JUDGED:
            continue
        trail.append((index, value, flag))
        if len(trail) == 1 or flag == "spike":
            continue
        has_good = has_good or flag == "good"
        if anchor is None:
            anchor = value
        if has_good and (channel.flat_after_h is None or value != anchor):
            break
    run = _Run(channel)
    for index, value, flag in reversed(trail[1:]):
        if flag != "spike":
            run.accept(value, _hours(before[index].sample.time_utc), flag)
    if trail:
        index, value, flag = trail[0]
        entry = recalled.get(index)
        if entry is None:
            entry = recalled[index] = _Entry(before[index].sample, before[index])
        run.wait(entry, value, run.judge(value, entry.hours) if flag == "spike" else flag)
    return run


class _Run:
    """One channel's values in their order. The last one waits for the next before it counts: it may be a spike."""

    __slots__ = (
        "agreeing", "anchor", "anchor_h", "errors", "flat", "flat_h", "flat_last_h", "flat_value", "good", "good_h",
        "is_repeating", "name", "rate", "spike", "suspect", "suspect_first_h", "suspect_h", "waiting", "waiting_flag",
        "waiting_value",
    )  # fmt: skip

    def __init__(self, channel: Channel) -> None:
        self.name = channel.name
        self.rate, self.flat, self.spike = channel.max_change_per_h, channel.flat_after_h, channel.spike
        self.errors = channel.error_values
        self.anchor: float | None = None  # the last value that is no spike; None where it is not believed itself
        self.anchor_h = 0.0
        self.good: float | None = None
        self.good_h = 0.0
        self.flat_value: float | None = None  # stands since flat_h
        self.flat_h = self.flat_last_h = 0.0
        self.agreeing = 0  # values in a row that are too far from the last good one, but not from one another
        self.is_repeating = False  # they are one exact value
        self.suspect = self.suspect_h = self.suspect_first_h = 0.0
        self.waiting: _Entry | None = None
        self.waiting_value = 0.0
        self.waiting_flag: Flag = "good"

    def follow(self, entry: _Entry, value: float) -> Flag:
        """The flag of the next value, as far as it can be known; the one before gets its last."""
        waiting = self.waiting
        if waiting is not None:
            if self._was_spike(value, entry.hours):
                waiting.flags[self.name] = "spike"
            else:
                waiting.flags[self.name] = self.waiting_flag
                self.accept(self.waiting_value, waiting.hours, self.waiting_flag)
        flag = self.judge(value, entry.hours)
        self.wait(entry, value, flag)
        return flag

    def end(self, read_until_h: float) -> None:
        """No next value is known. A stored value that was a spike had one: where that may be beyond what was read, it
        holds; else the next one is believed no more, and so is the spike."""
        waiting = self.waiting
        if waiting is None or waiting.former is None or waiting.hours + NEIGHBOUR_H < read_until_h:
            return
        if waiting.former.flags.get(self.name) == "spike":
            waiting.flags[self.name] = "spike"

    def wait(self, entry: _Entry, value: float, flag: Flag) -> None:
        self.waiting, self.waiting_value, self.waiting_flag = entry, value, flag

    def is_error(self, value: float, hours: float) -> bool:
        """Whether it is what such a sensor says that fails, and nothing that was measured within a day leads there.

        Where nothing was, a 0 is believed: winters have many.
        """
        if value not in self.errors or self.rate is None:
            return value in self.errors
        known, known_h = self.good, self.good_h
        if self.waiting is not None and self.waiting_flag == "good":
            known, known_h = self.waiting_value, self.waiting.hours
        if known is None or hours - known_h > RECENT_H:
            return value != 0.0
        return abs(value - known) > self.rate * NOISE_SPAN_H

    def judge(self, value: float, hours: float) -> Flag:
        """The flag of a value that follows all that was accepted."""
        flat = self.flat
        # A long silence ends a stand: nobody knows what was in between.
        is_standing = flat is not None and value == self.flat_value and hours - self.flat_last_h <= 0.5 * flat
        if is_standing and hours - self.flat_h >= (flat or 0.0):
            return "flat"
        if self.agreeing and self.is_repeating and value == self.suspect:
            return "rate"
        if self.good is None or self.rate is None or self._can_move(self.good, self.good_h, value, hours):
            return "good"
        is_many = self.agreeing + 1 >= PERSISTS_SAMPLES and hours - self.suspect_first_h >= PERSISTS_H
        return "good" if is_many and self._can_move(self.suspect, self.suspect_h, value, hours) else "rate"

    def accept(self, value: float, hours: float, flag: Flag) -> None:
        """Let a value count for those after it. It is no spike."""
        self.anchor, self.anchor_h = None if flag == "rate" else value, hours
        if self.flat is not None:
            if value != self.flat_value or hours - self.flat_last_h > 0.5 * self.flat:
                self.flat_value, self.flat_h = value, hours
            self.flat_last_h = hours
        if flag == "good":
            self.good, self.good_h, self.agreeing = value, hours, 0
        elif flag == "rate":
            if self.agreeing and self._can_move(self.suspect, self.suspect_h, value, hours):
                self.agreeing += 1
                self.is_repeating = self.is_repeating and value == self.suspect
            else:
                self.agreeing, self.suspect_first_h, self.is_repeating = 1, hours, True
            self.suspect, self.suspect_h = value, hours

    def _can_move(self, value: float, hours: float, other: float, other_h: float) -> bool:
        rate = self.rate
        return rate is None or abs(other - value) <= rate * max(other_h - hours, NOISE_SPAN_H)

    def _was_spike(self, value: float, hours: float) -> bool:
        """Whether the value that waits stands out from the one before it and from this one after it."""
        spike, before, waiting = self.spike, self.anchor, self.waiting
        if spike is None or before is None or waiting is None or self.waiting_flag == "flat":
            return False
        up, down = self.waiting_value - before, self.waiting_value - value
        return (
            up * down > 0.0
            and abs(up) > spike
            and abs(down) > spike
            and abs(value - before) <= spike
            and waiting.hours - self.anchor_h <= NEIGHBOUR_H
            and hours - waiting.hours <= NEIGHBOUR_H
        )


def _alone(sample: Sample, channels: Sequence[Channel]) -> FlaggedSample:
    """A sample judged by its ranges only."""
    ranges = {channel.name: (channel.minimum, channel.maximum) for channel in channels}
    flags: dict[str, Flag] = {}
    for name, value in sample.values.items():
        minimum, maximum = ranges.get(name, (-math.inf, math.inf))
        flags[name] = "missing" if value is None else "good" if minimum <= value <= maximum else "range"
    return FlaggedSample(sample, flags)


def _cleaned(sample: Sample) -> Sample:
    """The sample with nothing in it that is no number: an infinity or NaN is a missing value."""
    for value in sample.values.values():
        if value is not None and not math.isfinite(value):
            values = {
                name: value if value is not None and math.isfinite(value) else None
                for name, value in sample.values.items()
            }
            return Sample(sample.origin, sample.time_utc, values)
    return sample


def _hours(time_utc: str) -> float:
    try:
        return parse_instant(time_utc).timestamp() / 3600.0
    except (ValueError, OverflowError):
        raise DataError(
            f"a sample's time is {time_utc!r:.80}; expected one like 2006-05-01T12:15:00Z or 2006-05-01T12:15:00.5Z"
        ) from None


def _utc(hours: float) -> str:
    """A time in hours since 1970 as samples carry it, its fraction cut off, within what a date can be."""
    at = min(max(hours, -1_000_000.0), 70_000_000.0)
    return f"{(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=at)).strftime('%Y-%m-%dT%H:%M:%S')}Z"
