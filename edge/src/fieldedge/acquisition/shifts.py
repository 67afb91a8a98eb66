"""How far a logger's times are from this device's: what is steadily ahead or behind is in another time zone.

No logger measures the future, and one that sends as it measures is never hours late. So what matters is the newest
sample of what comes at once: its distance from now, over some hours. One that sends a day at a time is late by another
amount each time, and is not meant.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

AHEAD = timedelta(minutes=10)  # clocks drift by minutes
BEHIND = timedelta(minutes=45)  # the smallest distance of a zone from its neighbour, less some drift
STEADY = timedelta(minutes=20)
ARRIVALS, WITHIN = 4, timedelta(hours=3)
APART = timedelta(minutes=10)
LOOK_BACK = timedelta(hours=26)
TELL_EVERY = timedelta(hours=6)
MAX_LOGGERS = 200
MAX_ARRIVALS = 160
_QUARTERS_H = 4.0


@dataclass(frozen=True)
class Shift:
    """How far ahead of this device's clock a logger's times are, in hours, to the quarter; below 0 they are behind."""

    ahead_h: float

    @property
    def said(self) -> str:
        return f"{abs(self.ahead_h):g} h {'ahead of' if self.ahead_h > 0.0 else 'behind'} this clock"


def shift_of(arrivals: Sequence[tuple[datetime, timedelta]]) -> Shift | None:
    """The shift that arrivals show, each with its time and how far ahead its newest sample was; None: there is none."""
    if not arrivals:
        return None
    ahead = [one for _, one in arrivals]
    if ahead[-1] > AHEAD:
        return Shift(in_quarters_h(ahead[-1]))
    is_steady = max(ahead) - min(ahead) <= STEADY and arrivals[-1][0] - arrivals[0][0] >= WITHIN
    usual = timedelta(seconds=median(one.total_seconds() for one in ahead))
    if len(ahead) < ARRIVALS or not is_steady or usual > -BEHIND:
        return None
    return Shift(in_quarters_h(usual))


def in_quarters_h(ahead: timedelta) -> float:
    """A shift as zones have it, in hours; never 0."""
    return round(ahead.total_seconds() / 3600.0 * _QUARTERS_H) / _QUARTERS_H or 0.25


class Shifts:
    """The latest arrivals of each logger. It forgets with the process."""

    def __init__(self) -> None:
        self._arrivals: dict[tuple[str, str], deque[tuple[datetime, timedelta]]] = {}
        self._told: dict[tuple[str, str], datetime] = {}

    def note(self, source: str, origin: str, newest: datetime, now: datetime) -> Shift | None:
        """What came now from a logger; its shift where that is to be told again."""
        key = source, origin
        if key not in self._arrivals and len(self._arrivals) >= MAX_LOGGERS:
            return None
        arrivals = self._arrivals.setdefault(key, deque(maxlen=MAX_ARRIVALS))
        if arrivals and now < arrivals[-1][0]:
            arrivals.clear()  # our clock was set back
        while arrivals and now - arrivals[0][0] > LOOK_BACK:
            arrivals.popleft()
        if arrivals and now - arrivals[-1][0] < APART:
            before = arrivals.pop()
            arrivals.append((before[0], max(before[1], newest - now)))
        else:
            arrivals.append((now, newest - now))
        found = shift_of(tuple(arrivals))
        told = self._told.get(key)
        if found is None or (told is not None and timedelta(0) <= now - told < TELL_EVERY):
            return None
        self._told[key] = now
        return found
