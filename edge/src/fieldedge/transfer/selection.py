"""Which days of an episode are worth their bytes; of one with many windows a day, which moments.

Days are ranked once, by what they would teach: how unsure the model was, and how far the day lies from the training
data and from the days already ranked. Every so many places the next day is drawn at random instead, so that what
comes home is never only what the model finds odd. The longest prefix of that ranking that fits the budget is
chosen; where there are thousands, no more are ranked than may fit. Pure functions of their arguments; what must be sent
in any case (outcomes) is the caller's. What holds for days here holds for moments.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Why = Literal["uncertain_or_novel", "audit"]
RANKED_AT_ONCE = 512  # more than an episode has days


@dataclass(frozen=True)
class DayCandidate:
    """One day that could be sent.

    `uncertainty` is the merit of the day's decision, or None where the model abstained: nothing is less known.
    `position` (F,) holds the day's features in standard deviations from the training mean, or None without features.
    """

    date: str
    uncertainty: float | None
    position: NDArray[np.float64] | None


@dataclass(frozen=True)
class ChosenDay:
    """A day and what put it there."""

    date: str
    why: Why


def episode_seed(device_id: str, episode: str) -> int:
    """The seed of a device's random audit in an episode: the same at every attempt, another on every device."""
    return int.from_bytes(hashlib.sha256(f"{device_id}/{episode}".encode()).digest()[:8], "big")


def select(
    candidates: Sequence[DayCandidate],
    budget_bytes: int,
    audit_fraction: float,
    seed: int,
    compressed_bytes: Callable[[Sequence[str]], int],
) -> list[ChosenDay]:
    """The best days that fit, best first.

    `compressed_bytes(dates)` is the measured size of a batch with those days. It grows with their number all but
    always, so the cut is found by bisection, and then verified.
    """
    ranking = rank(candidates, audit_fraction, seed)
    ranked: list[ChosenDay] = []
    fits = 0
    while fits == len(ranked) < len(candidates):
        ranked += islice(ranking, max(RANKED_AT_ONCE, len(ranked)))
        dates, too_many = [day.date for day in ranked], len(ranked) + 1
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            if compressed_bytes(dates[:middle]) <= budget_bytes:
                fits = middle
            else:
                too_many = middle
    return ranked[:fits]


def rank(candidates: Sequence[DayCandidate], audit_fraction: float, seed: int) -> Iterator[ChosenDay]:
    """All candidates in the order in which they should be sent. The order they come in does not matter."""
    days = sorted(candidates, key=lambda day: day.date)
    merits = _Merits(days)
    audits = (day for day in np.random.default_rng(seed).permutation(len(days)) if merits.is_free(day))
    for place in range(len(days)):
        is_audit = _is_audit_place(place, audit_fraction)
        day = next(audits) if is_audit else merits.best()
        merits.take(day)
        yield ChosenDay(days[day].date, "audit" if is_audit else "uncertain_or_novel")


def _is_audit_place(place: int, audit_fraction: float) -> bool:
    """Spreads the audit evenly, so that every prefix of the ranking holds its share."""
    return int((place + 1) * audit_fraction + 1e-9) > int(place * audit_fraction + 1e-9)


class _Merits:
    """Uncertainty plus novelty of the days not yet taken, each as a share of its largest at the start."""

    def __init__(self, days: Sequence[DayCandidate]) -> None:
        known = [day.uncertainty for day in days if day.uncertainty is not None]
        widest = max(known, default=1.0)
        self._uncertainty = _as_share(
            np.array([widest if day.uncertainty is None else day.uncertainty for day in days], dtype=np.float64)
        )
        self._has_position = np.array([day.position is not None for day in days], dtype=bool)
        width = next((len(day.position) for day in days if day.position is not None), 1)
        self._positions = np.array(
            [np.zeros(width) if day.position is None else day.position for day in days], dtype=np.float64
        ).reshape(len(days), width)
        self._distance = np.where(self._has_position, _rms(self._positions), 0.0)
        self._scale = max(float(self._distance.max(initial=0.0)), 1e-12)
        self._is_free = np.ones(len(days), dtype=bool)

    def is_free(self, day: int) -> bool:
        return bool(self._is_free[day])

    def best(self) -> int:
        """The free day of the greatest merit; of equals, the earliest."""
        merit = self._uncertainty + self._distance / self._scale
        return int(np.argmax(np.where(self._is_free, merit, -np.inf)))

    def take(self, day: int) -> None:
        """From now on the others are only as novel as they differ from this day too."""
        self._is_free[day] = False
        if self._has_position[day]:
            self._distance = np.minimum(self._distance, _rms(self._positions - self._positions[day]))


def _rms(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.sqrt(np.mean(np.square(rows), axis=1))
    return result


def _as_share(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.maximum(values, 0.0)
    return values / max(float(values.max(initial=0.0)), 1e-12)
