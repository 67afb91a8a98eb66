"""What the season taught of a field beyond what the device was told: how sure it is, and how it is said to a person.

The estimates are the filter's (probes.py) and stand in its balance from the first day on. To a person they are said
only once they are clearly another than 1: a grower who is told of a fault that is none looks for it in vain.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fieldedge.contract import Record
from fieldedge.presentation.text import as_number
from fieldedge.workloads.agriculture.layout import FACTOR, GAUGE, SHARE, SOIL, TOLD_SD
from fieldedge.workloads.agriculture.probes import FACTOR_SD, factor_sd

NAMES = {"field_capacity": SOIL, "delivered_share": SHARE, "gauge": GAUGE}
CLEAR_SDS = 3.0  # of the filter's, from 1
CLEAR_BY = 0.05  # less is nothing to act on
TRUE_SDS = 1.5  # the filter's errors over its own deviation, in simulated seasons: errors of the balance last
SDS_OF_80_PCT = 1.28


@dataclass(frozen=True)
class Learned:
    """A factor as it is estimated: `times` what was told, between `low` and `high`.

    Of field capacity that holds about four times in five. A large fault of the other two is drawn towards 1 and lies
    beyond the interval more often than in it (ADR 72): so to a person they are said without one.
    """

    name: str
    times: float
    low: float
    high: float
    is_clear: bool

    def as_record(self) -> Record:
        numbers = {name: round(getattr(self, name), 3) for name in ("times", "low", "high")}
        return {"name": self.name, **numbers, "is_clear": self.is_clear}


def confirmed(answers: Iterable[Record]) -> dict[int, float]:
    """The factors of which a person said what they are, by rows of table `confirmations`: the last word of each."""
    found: dict[int, float] = {}
    for row in sorted(answers, key=lambda row: (row["date"], row["record_id"])):
        found[NAMES[row["factor"]]] = row["times"] if row["answer"] == "taken" else 1.0
    return found


def learned(state: Sequence[float], field: Sequence[float]) -> tuple[Learned, ...]:
    """What a state (STATES,) has of each factor of a field (CONSTANTS,)."""
    return tuple(_learned(state, field, name, factor) for name, factor in NAMES.items())


def _learned(state: Sequence[float], field: Sequence[float], name: str, factor: int) -> Learned:
    times, sd = state[FACTOR + factor], factor_sd(state, factor)
    half = SDS_OF_80_PCT * TRUE_SDS * sd
    is_asked = field[TOLD_SD + factor] == FACTOR_SD[factor]  # no person has answered yet
    is_clear = is_asked and abs(times - 1.0) > max(CLEAR_SDS * sd, CLEAR_BY)
    return Learned(name, float(times), float(max(times - half, 0.0)), float(times + half), bool(is_clear))


def sentences(said: object) -> tuple[str, ...]:
    """What is clear of what a decision's record says under `learned`, in words; nothing for what is none of it."""
    found: Iterable[object] = said if isinstance(said, list | tuple) else ()
    rows = (row for row in found if isinstance(row, Mapping) and row.get("is_clear") is True)
    return tuple(sentence for row in rows if (sentence := _sentence(row)) is not None)


def _sentence(row: Mapping[str, object]) -> str | None:
    times, low, high = (as_number(row.get(name)) for name in ("times", "low", "high"))
    if times is None or low is None or high is None:
        return None
    about = f"about {100.0 * times:.0f} %"
    if row.get("name") == "field_capacity":
        less, sure = "less" if times < 1.0 else "more", f"80 % sure: {100.0 * low:.0f} to {100.0 * high:.0f} %"
        return f"The soil holds {less} water than you told me. Its field capacity is {about} of what was told ({sure})."
    beyond = "perhaps less" if times < 1.0 else "perhaps more"
    if row.get("name") == "delivered_share":
        if times > 1.0:
            return f"More water arrives than is noted: {about} of it, {beyond}. Look at the meter."
        return f"Not all of your irrigation arrives: {about} of it, {beyond}. Look at the nozzles and the meter."
    if row.get("name") == "gauge":
        shows = "too little" if times > 1.0 else "too much"
        return f"The rain gauge shows {shows}: {about} of what it shows fell, {beyond}. Clean and level it."
    return None
