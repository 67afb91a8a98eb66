"""What a counter counted: the increments of running totals, derived from stored samples in the order of measurement.

A total is kept as it came, under a name of its own (`samples.count_name`), and is differenced only when its window is
read: so late samples, repeated ones and those of another order change no sum. The first total of all says nothing. One
that falls to half or less began again at 0: it wrapped where it was near `wraps_at`, else it was reset. One that falls
less than that is no counter's, and its increment is a fault. What was counted over a silence is of its end.
"""

from collections.abc import Mapping, Sequence

from fieldedge.contract.samples import Channel, Flag, FlaggedSample, Sample, counted

NEAR_WRAP = 0.9  # of where a counter begins again
RESET_TO = 0.5  # of what it had counted, at most
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
    known, maxima = dict(before), {channel.name: channel.maximum for channel in channels}
    found = []
    for flagged in samples:
        sample = flagged.sample
        values: dict[str, float | None] = dict(sample.values)
        flags: dict[str, Flag] = dict(flagged.flags)
        for name in running_totals(sample):
            channel, wraps_at = counted(name) or ("", None)
            total, last = sample.values[name], known.get((sample.origin, name))
            if total is None or channel in values:
                continue
            known[sample.origin, name] = total
            if last is not None:
                values[channel], flags[channel] = _increment(last, total, wraps_at, maxima.get(channel))
        found.append(FlaggedSample(Sample(sample.origin, sample.time_utc, values), flags))
    return found


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
