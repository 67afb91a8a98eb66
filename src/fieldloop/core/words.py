"""What people call a workload's periods, units and places: as its contract names their columns; and its numbers."""

import math
from dataclasses import dataclass

from fieldedge.contract import EpisodeKey


@dataclass(frozen=True)
class Words:
    """`month`, `bearing`, `hall` of a factory, and whatever another workload counts in."""

    period: str
    unit: str
    place: str

    @classmethod
    def of(cls, episode: EpisodeKey) -> "Words":
        """The columns' names, without the `_id` that a unit's may end with."""
        return cls(episode.period, episode.unit.removesuffix("_id"), episode.place)

    def say(self, text: str, **more: str) -> str:
        """A text with these words in their places: "the {unit} of this {period}"."""
        return text.format(
            period=self.period, periods=self.periods, unit=self.unit, units=self.units, place=self.place, **more
        )

    @property
    def periods(self) -> str:
        return f"{self.period}s"

    @property
    def episodes(self) -> str:
        return f"{self.unit}-{self.periods}"

    @property
    def units(self) -> str:
        return f"{self.unit}s"


def decimals(*values: float, digits: int = 2) -> int:
    """How many places after the point show so many digits of the largest of these numbers; none shows them of 0."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return max(0, digits - 1 - math.floor(math.log10(largest))) if largest else 0
