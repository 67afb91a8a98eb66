"""The good values of each channel of a day, from the logger that speaks for it, by hours since the day began.

Where several loggers measure a channel, the one that was heard for longest speaks for that day: two rain gauges are not
twice the rain. One that took the place of another of its name is the same. A value speaks for the time since the one
before, for 3 hours at most.
"""

import cmath
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import fmean, median

from fieldedge.contract.samples import FlaggedSample, counted, name_of
from fieldedge.workloads.agriculture.channels import CHANNELS

DAY_H = 24.0
SPEAKS_FOR_H = 3.0
WHOLE_SUM_H, NEARLY_ALL_VALUES = 22.0, 0.9  # of a sum: a logger may begin its day an hour late, or miss one
GAP = 1.5  # times the usual time between samples: beyond it a sum's value speaks for no more
SOON, MOST_SOON_H = 0.5, 1.0 / 6.0  # of the mean time between samples
KINDS_ALIKE, MANY_ALIKE = 4, 0.45  # how many channels agree; of a day's samples
EVENING_H = 6.0  # of a probe's last values, whose mean is its reading: the balance corrects itself at a day's end


@dataclass(frozen=True)
class Series:
    """The good values of one channel from one logger, by hours since the day began, and the hours they speak for.

    `bad` is how many more there are that are not good.
    """

    logger: str
    values: tuple[float, ...]
    hours: tuple[float, ...]
    spans_h: tuple[float, ...]
    bad: int = 0

    @property
    def covered_h(self) -> float:
        return sum(self.spans_h)

    @property
    def is_whole_sum(self) -> bool:
        """Whether its sum is the day's: one value of the whole day, or nearly all of them."""
        if len(self.values) == 1:
            return not self.bad
        between_h = median(later - one for one, later in pairwise(self.hours))
        summed_h = sum(min(span, GAP * between_h) for span in self.spans_h)
        share = len(self.values) / (len(self.values) + self.bad)
        return summed_h >= WHOLE_SUM_H and share >= NEARLY_ALL_VALUES

    @property
    def silence(self) -> tuple[float, float]:
        """The longest time without a value, from hour to hour of the day."""
        return max(pairwise([0.0, *self.hours, DAY_H]), key=lambda gap: gap[1] - gap[0])

    def mean(self) -> float:
        """Each value counts for the time since the one before; over a silence the two beside it count alike."""
        summed, last, last_h = 0.0, self.values[0], 0.0
        for value, at in zip(self.values, self.hours, strict=True):
            is_silence = at - last_h > SPEAKS_FOR_H
            summed += (at - last_h) * (0.5 * (last + value) if is_silence else value)
            last, last_h = value, at
        return summed / last_h

    def near(self, hour: float) -> float:
        """The value nearest to an hour of the day."""
        return min(zip(self.hours, self.values, strict=True), key=lambda pair: abs(pair[0] - hour))[1]

    def hour_of(self, which: Callable[[Iterable[float]], float]) -> float:
        """The hour of the least or the greatest value."""
        return self.hours[self.values.index(which(self.values))]

    def by_hour(self, how: Callable[[Sequence[float]], float] = fmean) -> dict[int, float]:
        """The values of each hour that has any, made one; a value at a full hour is of the one that it ends."""
        found: dict[int, list[float]] = {}
        for value, at in zip(self.values, self.hours, strict=True):
            found.setdefault(min(math.ceil(at), 24), []).append(value)
        return {hour: how(values) for hour, values in found.items()}

    def middle_h(self) -> float:
        """The hour about which the values lie, by their weight and around the clock; they are not negative there."""
        pairs = zip(self.values, self.hours, strict=True)
        turns = [max(value, 0.0) * cmath.rect(1.0, math.tau * at / DAY_H) for value, at in pairs]
        return cmath.phase(sum(turns)) / math.tau * DAY_H % DAY_H

    def noon_utc_h(self) -> float:
        """`middle_h` of what each value is the mean of: its interval, at whose end it stands."""
        between_h = median(later - one for one, later in pairwise(self.hours)) if len(self.hours) > 1 else 0.0
        return (self.middle_h() - 0.5 * min(between_h, 1.0)) % DAY_H

    def evening_mean(self) -> float:
        """The mean of the last values, as late as there are any."""
        last = [value for value, at in zip(self.values, self.hours, strict=True) if at > self.hours[-1] - EVENING_H]
        return sum(last) / len(last)


def series_of(measured: Iterable[FlaggedSample], day: str) -> dict[str, Series]:
    """The channels with good values, each from the logger that speaks for it."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    bad: dict[tuple[str, str], int] = {}
    for flagged in measured:
        at, origin = _hours(flagged.sample.time_utc, day), flagged.sample.origin
        good = flagged.good()
        for name in flagged.sample.values:
            if name in good:
                found.setdefault(name, {}).setdefault(origin, []).append((at, good[name]))
            else:
                bad[name, origin] = bad.get((name, origin), 0) + 1
    known = [channel.name for channel in CHANNELS if channel.name in found]
    return {
        name: max(
            (
                _one(logger, pairs, sum(bad.get((name, origin), 0) for origin in origins))
                for logger, origins, pairs in _joined(found[name])
            ),
            key=lambda one: one.covered_h,
        )
        for name in known
    }


def said_again(measured: Iterable[FlaggedSample], day: str, channel: str, series: Mapping[str, Series]) -> list[float]:
    """The values of a channel, that are no 0, in samples that repeat all that the one before them said.

    They do so much sooner than a sample is usually due, or nearly half of the day's samples do, of day and night:
    sensors of several kinds do not agree so by chance.
    """
    logger = series[channel].logger if channel in series else None
    own = [one for one in measured if logger in (one.sample.origin, name_of(one.sample.origin))]
    own.sort(key=lambda one: _hours(one.sample.time_utc, day))
    again = [
        (_hours(later.sample.time_utc, day) - _hours(one.sample.time_utc, day), later.good().get(channel, 0.0))
        for one, later in pairwise(own)
        if len(later.sample.values) >= KINDS_ALIKE and later.sample.values == one.sample.values
    ]
    are_many = len(again) >= MANY_ALIKE * len(own)
    soon_h = min(SOON * DAY_H / max(len(own), 1), MOST_SOON_H)
    return [value for apart_h, value in again if value > 0.0 and (are_many or apart_h <= soon_h)]


def totals_of(
    measured: Iterable[FlaggedSample], day: str, channel: str, series: Mapping[str, Series]
) -> tuple[list[float], list[float]]:
    """The running totals of a channel, from the logger that speaks for it, and their hours; none where none counts."""
    logger = series[channel].logger if channel in series else None
    found = [
        (_hours(flagged.sample.time_utc, day), value)
        for flagged in measured
        if logger in (flagged.sample.origin, name_of(flagged.sample.origin))
        for name, value in flagged.sample.values.items()
        if value is not None and (counted(name) or ("",))[0] == channel
    ]
    found.sort()
    return [value for _, value in found], [at for at, _ in found]


def _joined(
    by_origin: Mapping[str, list[tuple[float, float]]],
) -> Iterator[tuple[str, tuple[str, ...], list[tuple[float, float]]]]:
    """Each logger, with those whose place it took: of one name, each silent before the next began to speak."""
    ordered = sorted(by_origin.items(), key=lambda item: (name_of(item[0]), min(item[1]), item[0]))
    for name, group in groupby(ordered, key=lambda item: name_of(item[0])):
        origins: list[str] = []
        pairs: list[tuple[float, float]] = []
        for origin, of_origin in group:
            if pairs and min(of_origin)[0] <= max(pairs)[0]:
                yield (origins[0] if len(origins) == 1 else name), tuple(origins), pairs
                origins, pairs = [], []
            origins, pairs = [*origins, origin], pairs + of_origin
        yield (origins[0] if len(origins) == 1 else name), tuple(origins), pairs


def _one(logger: str, pairs: list[tuple[float, float]], bad: int) -> Series:
    pairs.sort()
    hours = [at for at, _ in pairs]
    spans_h = [min(at - before, SPEAKS_FOR_H) for before, at in zip([0.0, *hours], hours, strict=False)]
    return Series(logger, tuple(value for _, value in pairs), tuple(hours), tuple(spans_h), bad)


def _hours(time_utc: str, day: str) -> float:
    """Hours from a day's beginning; the following midnight is 24."""
    hours = int(time_utc[11:13]) + int(time_utc[14:16]) / 60.0 + float(time_utc[17:-1]) / 3600.0
    return hours if time_utc.startswith(day) else hours + DAY_H
