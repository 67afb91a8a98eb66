"""What sensors say: channels, samples of them, and what quality control thinks of each value.

A sample is one logger's values at one moment. Nothing here knows a source, a logger's format or a store. Which
channels there are is a workload's matter; how they are judged is `quality.py`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

Flag = Literal["good", "missing", "range", "rate", "flat", "spike"]
Summing = Literal["mean", "minimum", "maximum", "sum", "last"]


@dataclass(frozen=True)
class Channel:
    """One measured quantity, with its unit, what a true value can be, and how fast it can move.

    `max_change_per_h` is the fastest true change; None where steps are natural (rain). `flat_after_h` is how long a
    working sensor can show the very same value; None where it can for ever. `spike` is how far one value may stand
    from both its neighbours when they agree; None where peaks are natural. `how` sums up a day.
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


def day_of(time_utc: str) -> str:
    """The UTC day that a sample is of: loggers stamp the end of an interval, so midnight still ends the day before."""
    day = time_utc[:10]
    if time_utc[10:] != "T00:00:00Z":
        return day
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()
