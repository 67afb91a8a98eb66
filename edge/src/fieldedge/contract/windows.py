"""How samples become windows, each of which is summed up as one observation.

A window has its end and not its beginning, as loggers stamp the end of an interval: the sample at midnight ends the day
before. A window is named by its moment, as the observations' table writes it; in one windowing these are in the order
of time. Nothing here knows a clock: what the time is comes in as an argument.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from fieldedge.contract.samples import LATE, day_of
from fieldedge.system.instants import instant_utc, parse_instant

_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)
_ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)


class Window(NamedTuple):
    """The samples after `begin` up to `end`, both in UTC, where these may be `late`: from `after` up to `until`."""

    moment: str
    begin: datetime
    end: datetime
    late: timedelta = timedelta(0)

    @property
    def after(self) -> datetime:
        return self.begin + self.late

    @property
    def until(self) -> datetime:
        return self.end + self.late

    def is_over(self, now: datetime) -> bool:
        """Whether no sample of it is still to be taken."""
        return self.until <= now


class Windowing(Protocol):
    """How a workload's windows follow one another."""

    @property
    def hop(self) -> timedelta:
        """How long after a window the next one ends."""

    def touched(self, time_utc: str) -> Iterator[str]:
        """The moments of the windows that a sample of this time is in, oldest first."""

    def window(self, moment: str) -> Window:
        """The window of that moment."""


@dataclass(frozen=True)
class Daily:
    """UTC days, named by their date. What a logger writes within ten seconds of midnight it took by then."""

    hop = _DAY

    def touched(self, time_utc: str) -> Iterator[str]:
        yield day_of(time_utc)

    def window(self, moment: str) -> Window:
        begin = datetime.fromisoformat(moment).replace(tzinfo=UTC)
        return Window(moment, begin, begin + _DAY, LATE)


@dataclass(frozen=True)
class Sliding:
    """Windows of one length that end every `hop` from 1970 on, both in whole seconds, each named by its end."""

    length: timedelta
    hop: timedelta

    def __post_init__(self) -> None:
        if self.length % _SECOND or self.hop % _SECOND or not timedelta(0) < self.hop <= self.length:
            raise ValueError(f"{self}: expected whole seconds, and a hop no longer than a window: no sample falls out")

    def touched(self, time_utc: str) -> Iterator[str]:
        since = parse_instant(time_utc) - _ORIGIN
        end = -(-since // self.hop) * self.hop  # the first end that is not before it
        while end - self.length < since:
            yield instant_utc(_ORIGIN + end)
            end += self.hop

    def window(self, moment: str) -> Window:
        end = parse_instant(moment)
        return Window(moment, end - self.length, end)


class PerEvent(Sliding):
    """A window for each second in which something was sampled: what was taken at once is one event."""

    def __init__(self) -> None:
        super().__init__(_SECOND, _SECOND)
