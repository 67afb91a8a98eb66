"""What sensors say: channels, samples of them, and what quality control thinks of each value.

A sample is one logger's values at one moment. Nothing here knows a source, a logger's format or a store. Which
channels there are is a workload's matter; how they are judged is `quality.py`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

Flag = Literal["good", "missing", "range", "fault", "rate", "flat", "spike"]
Summing = Literal["mean", "minimum", "maximum", "sum", "last"]

_COUNT = ".count"
_SERIAL = " #"
LATE = timedelta(seconds=9, microseconds=999_999)  # after midnight, and still of the day before
_WHOLE_DAY = "T23:59:59.999999Z"


@dataclass(frozen=True)
class Channel:
    """One measured quantity, with its unit, what a true value can be, and how fast it can move.

    `max_change_per_h` is the fastest true change; None where steps are natural (rain). `flat_after_h` is how long a
    working sensor can show the very same value; None where it can for ever. `spike` is how far one value may stand
    from both its neighbours when they agree; None where peaks are natural. `how` sums up a day.

    Below `floor` lies what sensors can say and what they measure cannot be: a probe in the air, a fraction taken for a
    percentage. `error_values` are what sensors of the kind say when they fail, although it could be true.
    """

    name: str
    unit: str
    minimum: float
    maximum: float
    how: Summing = "mean"
    max_change_per_h: float | None = None
    flat_after_h: float | None = None
    spike: float | None = None
    about: str = ""
    floor: float | None = None
    error_values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Sample:
    """The values of one logger at one moment. `time_utc` is as `instants.py` writes it; None is a missing value."""

    origin: str
    time_utc: str
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class FlaggedSample:
    """A sample with the flag of each of its values. Only what is `good` counts; the rest is kept and shown."""

    sample: Sample
    flags: Mapping[str, Flag]

    def good(self) -> dict[str, float]:
        """The values that count."""
        return {
            name: value
            for name, value in self.sample.values.items()
            if value is not None and self.flags.get(name, "good") == "good"
        }


def name_of(origin: str) -> str:
    """What a logger calls itself: an origin without the serial number that tells it from another of that name."""
    return origin.partition(_SERIAL)[0]


def with_serial(name: str, serial: str) -> str:
    """The origin of a logger that has its name in common with another."""
    return f"{name}{_SERIAL}{serial}"


def count_name(channel: str, wraps_at: float | None = None) -> str:
    """The name of a running total in a sample's values, beside the channel that its increments are of."""
    return f"{channel}{_COUNT}" if wraps_at is None else f"{channel}{_COUNT}.{wraps_at!r}"


def counted(name: str) -> tuple[str, float | None] | None:
    """Of a running total's name the channel, and the value at which it begins again at 0, if it does; else None."""
    channel, is_count, wraps_at = name.partition(_COUNT)
    return (channel, float(wraps_at[1:]) if wraps_at else None) if is_count else None


def whole_day(day: str) -> str:
    """The time of a sample that is of a day and of no hour of it: its last microsecond, which no interval ends at."""
    return f"{day}{_WHOLE_DAY}"


def is_of_a_whole_day(time_utc: str) -> bool:
    return time_utc.endswith(_WHOLE_DAY)


def day_of(time_utc: str) -> str:
    """The UTC day that a sample is of.

    Loggers stamp the end of an interval, so midnight still ends the day before, and so do the ten seconds that begin
    with it: many write when they are done.
    """
    day = time_utc[:10]
    if not time_utc.startswith("T00:00:0", 10):
        return day
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()
