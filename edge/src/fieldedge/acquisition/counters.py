"""What a counter counted: the increments of running totals, derived from stored samples in the order of measurement.

A total is kept as it came, under a name of its own (`samples.count_name`), and is differenced only when its window is
read: so late samples, repeated ones and those of another order change no sum. The first total of all says nothing. One
that falls to half or less began again at 0: it wrapped where it was near `wraps_at`, else it was reset. One that falls
less than that is no counter's, and its increment is a fault. What was counted over a silence is of its end.

Totals that stand out from those before and after are faults, and nothing is counted by them: a sensor that does not
answer says 0 or 65535, and its counter goes on from where it was. A reset is told from that by what follows: to be back
at once where it was, more would have had to be counted in one step than ever is.
"""

from collections.abc import Mapping, Sequence

from fieldedge.contract.samples import Channel, Flag, FlaggedSample, Sample, counted

NEAR_WRAP = 0.9  # of where a counter begins again
RESET_TO = 0.5  # of what it had counted, at most
OUTLIERS = 6  # in a row, at most
NO_STEP = 0.05  # of a channel's maximum: what is not counted in one step, right after a reset
_DECIMALS = 6


def running_totals(sample: Sample) -> list[str]:
    """The names of the totals that a sample has."""
    return [name for name, value in sample.values.items() if value is not None and counted(name) is not None]


def with_increments(
    samples: Sequence[FlaggedSample], before: Mapping[tuple[str, str], float], channels: Sequence[Channel]
) -> list[FlaggedSample]:
    """The samples, by time, with what each of their totals counted since the one before.

    `before` is the last total ahead of them, by logger and name.
    """
    maxima = {channel.name: channel.maximum for channel in channels}
    series: dict[tuple[str, str], list[tuple[int, float]]] = {}
    found = list(samples)
    for index, flagged in enumerate(samples):
        for name in running_totals(flagged.sample):
            total, (channel, _) = flagged.sample.values[name], counted(name) or ("", None)
            if total is not None and channel not in flagged.sample.values:
                series.setdefault((flagged.sample.origin, name), []).append((index, total))
    for (origin, name), of_one in series.items():
        channel, wraps_at = counted(name) or ("", None)
        last, maximum = before.get((origin, name)), maxima.get(channel)
        outliers = _outliers([total for _, total in of_one], last, maximum)
        for place, (index, total) in enumerate(of_one):
            if place in outliers:
                found[index] = _with(found[index], channel, None, "fault")
                continue
            if last is not None:
                found[index] = _with(found[index], channel, *_increment(last, total, wraps_at, maximum))
            last = total
    return found


def _with(flagged: FlaggedSample, channel: str, value: float | None, flag: Flag) -> FlaggedSample:
    sample = Sample(flagged.sample.origin, flagged.sample.time_utc, {**flagged.sample.values, channel: value})
    return FlaggedSample(sample, {**flagged.flags, channel: flag})


def _outliers(totals: Sequence[float], before: float | None, maximum: float | None) -> set[int]:
    """The places of totals that no counter had, between those that it had."""
    found: set[int] = set()
    last = before
    for place, total in enumerate(totals):
        if place in found:
            continue
        if total < 0.0:
            found.add(place)
            continue
        end = place if last is None or maximum is None else _end_of_outliers(totals, place, last, maximum)
        found.update(range(place, end))
        if end == place:
            last = total
    return found


def _end_of_outliers(totals: Sequence[float], place: int, last: float, maximum: float) -> int:
    """Where the totals that stand out from `place` on end; `place` itself where none does."""
    total, step = totals[place], NO_STEP * maximum
    is_above = total - last >= step and (last >= step or total - last > maximum)
    if total >= last and not is_above:
        return place
    for end in range(place + 1, min(place + 1 + OUTLIERS, len(totals))):
        jump = totals[end] - totals[end - 1]
        if is_above and jump < 0.0:
            return end if last <= totals[end] < total else place
        if not is_above and jump > 0.0:  # what was reset counts on from there
            return end if jump >= step and 0.0 <= totals[end] - last < step else place
    return place


def _increment(last: float, total: float, wraps_at: float | None, maximum: float | None) -> tuple[float | None, Flag]:
    if total >= last:
        increment = total - last
    elif wraps_at is not None and last >= NEAR_WRAP * wraps_at and total <= RESET_TO * wraps_at:
        increment = max(wraps_at - last, 0.0) + total
    elif 0.0 <= total <= RESET_TO * last:
        increment = total
    else:
        return None, "fault"
    increment = round(increment, _DECIMALS)
    return increment, "good" if maximum is None or increment <= maximum else "range"
