"""How growers decide: the three practices that Fieldloop is compared with, and the many that made its history.

A practice sees what its grower could know in the morning: the field's record, and the days so far as the sensors
told them. It never sees the simulation. The same arguments give the same decision, so a replay decides alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from fieldedge.contract import Record
from fieldedge.system.errors import ConfigError
from fieldedge.workloads.agriculture.features import Day
from fieldedge.workloads.agriculture.tables import PROBE_DEPTHS_CM
from fieldloop.workloads.agriculture.world.climate import MAX_SEASON_DAYS
from fieldloop.workloads.agriculture.world.world import FieldSpec

ROOT_DEPTH_AT_EMERGENCE_M = 0.3
DAYS_TO_FULL_ROOTS = 108
STAGE_ENDS_DAYS = (25, 54, 107)  # maize: 10 % cover, full cover, senescence
PROBE_MEMORY_DAYS = 7
PROBE_LAYER_BOTTOMS_M = (0.25, 0.55, 0.90, 9.0)  # the layer that each probe speaks for


class Practice(Protocol):
    """Decides a day's irrigation (mm, gross) and nitrogen (kg/ha). `name` is what the field's record says."""

    @property
    def name(self) -> str: ...

    def decide(self, field_record: Record, history: Sequence[Day], today: str, /) -> tuple[float, float]: ...


@dataclass(frozen=True)
class NitrogenPlan:
    """Doses by days after planting: `split[i]` of `total_kg_ha` on `days[i]`."""

    total_kg_ha: float = 200.0
    days: tuple[int, ...] = (0, 40)
    split: tuple[float, ...] = (0.33, 0.67)

    def dose(self, day: int) -> float:
        """kg/ha due on that day after planting."""
        return sum(self.total_kg_ha * share for due, share in zip(self.days, self.split, strict=True) if due == day)


@dataclass(frozen=True)
class Rainfed:
    """No irrigation, and nitrogen for the lower yield."""

    nitrogen: NitrogenPlan = field(default_factory=lambda: NitrogenPlan(total_kg_ha=120.0))
    name: str = "rainfed"

    def decide(self, _field: Record, history: Sequence[Day], _today: str) -> tuple[float, float]:
        return 0.0, self.nitrogen.dose(len(history))


@dataclass(frozen=True)
class Calendar:
    """The same depth every so many days, from when the crop stands until it ripens, whatever the weather."""

    interval_days: int = 7
    depth_mm: float = 25.0
    first_day: int = 14
    last_day: int = 112
    nitrogen: NitrogenPlan = field(default_factory=NitrogenPlan)
    name: str = "calendar"

    def decide(self, _field: Record, history: Sequence[Day], _today: str) -> tuple[float, float]:
        day = len(history)
        is_due = self.first_day <= day <= self.last_day and (day - self.first_day) % self.interval_days == 0
        return (self.depth_mm if is_due else 0.0), self.nitrogen.dose(day)


@dataclass(frozen=True)
class Threshold:
    """A depth whenever the probes say that the root zone has lost more than the stage's fraction of its water.

    `depletion_fractions` are by stage: to 10 % cover, to full cover, to senescence, after. With no probe heard for
    a week it falls back to a calendar.
    """

    depletion_fractions: tuple[float, float, float, float] = (0.95, 0.55, 0.60, 0.80)
    depth_mm: float = 25.0
    nitrogen: NitrogenPlan = field(default_factory=NitrogenPlan)
    without_probes: Calendar = field(default_factory=Calendar)
    name: str = "threshold"

    def decide(self, field_record: Record, history: Sequence[Day], today: str) -> tuple[float, float]:
        day = len(history)
        depletion = measured_depletion_fraction(field_record, history)
        if depletion is None:
            irrigation_mm = self.without_probes.decide(field_record, history, today)[0]
        else:
            limit = self.depletion_fractions[sum(day > end for end in STAGE_ENDS_DAYS)]
            irrigation_mm = self.depth_mm if depletion > limit else 0.0
        return irrigation_mm, self.nitrogen.dose(day)


@dataclass(frozen=True)
class Exploring:
    """A practice with a grower's moods: now and then a turn is skipped, or water given that nobody asked for.

    `skipped`, `extra_mm` are by day after planting.
    """

    practice: Rainfed | Calendar | Threshold
    skipped: tuple[bool, ...]
    extra_mm: tuple[float, ...]

    @property
    def name(self) -> str:
        return self.practice.name

    def decide(self, field_record: Record, history: Sequence[Day], today: str) -> tuple[float, float]:
        irrigation_mm, nitrogen_kg_ha = self.practice.decide(field_record, history, today)
        day = len(history)
        if irrigation_mm > 0:
            return (0.0 if self.skipped[day] else irrigation_mm), nitrogen_kg_ha
        return self.extra_mm[day], nitrogen_kg_ha


def baseline(name: str, settings: Mapping[str, Any] | None = None) -> Practice:
    """The practice of that name, with its parameters from `params.yaml` where given.

    `settings` may hold the practice's own fields, with `nitrogen` as a mapping of NitrogenPlan's.

    Raises:
        ConfigError: there is no such practice, or it has no such parameter.
    """
    kinds: dict[str, Rainfed | Calendar | Threshold] = {
        "rainfed": Rainfed(),
        "calendar": Calendar(),
        "threshold": Threshold(),
    }
    if name not in kinds:
        raise ConfigError(f"no practice is named {name!r}; there are {', '.join(kinds)}")
    practice, given = kinds[name], _with_tuples(settings or {})
    try:
        if "nitrogen" in given:
            given["nitrogen"] = replace(practice.nitrogen, **_with_tuples(given["nitrogen"]))
        return replace(practice, **given)
    except TypeError as error:
        raise ConfigError(f"practice {name}: {error}; see the fields of {type(practice).__name__}") from None


def baselines(settings: Mapping[str, Any]) -> dict[str, Practice]:
    """The three practices that Fieldloop is compared with, by name, from the block `practices` of `params.yaml`.

    Raises:
        ConfigError: a setting is missing.
    """
    try:
        plan = {"total_kg_ha": settings["nitrogen_kg_ha"]}
        return {
            "threshold": baseline(
                "threshold",
                {
                    "depletion_fractions": settings["threshold_depletion_fractions"],
                    "depth_mm": settings["threshold_depth_mm"],
                    "nitrogen": plan,
                },
            ),
            "calendar": baseline(
                "calendar",
                {
                    "interval_days": settings["calendar_interval_d"],
                    "depth_mm": settings["calendar_depth_mm"],
                    "nitrogen": plan,
                },
            ),
            "rainfed": baseline("rainfed", {"nitrogen": {"total_kg_ha": settings["rainfed_nitrogen_kg_ha"]}}),
        }
    except KeyError as error:
        raise ConfigError(f"practices: {error.args[0]} is not set; set it in params.yaml") from None


def exploring_grower(spec: FieldSpec) -> Exploring:
    """The grower of a field in a past season: one of the practices, with settings and moods of that year.

    Together the growers of a history cover little and much water at every stage, and none to plenty of nitrogen in
    one to three doses, so that a model can learn what each does.
    """
    rng = spec.rng("grower")
    nitrogen = _some_nitrogen(rng)
    style = rng.choice(("rainfed", "calendar", "threshold"), p=(0.15, 0.30, 0.55))
    practice: Rainfed | Calendar | Threshold
    if style == "rainfed":
        practice = Rainfed(nitrogen)
    elif style == "calendar":
        practice = Calendar(
            interval_days=int(rng.integers(3, 15)),
            depth_mm=_tenth(rng.uniform(10, 40)),
            first_day=int(rng.integers(3, 45)),
            last_day=int(rng.integers(75, 130)),
            nitrogen=nitrogen,
        )
    else:
        early, mid, late, ripening = (
            np.clip(np.array([0.85, 0.55, 0.60, 0.80]) + rng.normal(0.0, 0.12) + rng.normal(0.0, 0.10, 4), 0.1, 1.0)
        ).tolist()
        practice = Threshold((early, mid, late, ripening), _tenth(rng.uniform(12, 35)), nitrogen)
    return Exploring(practice, *_moods(rng, is_irrigated=style != "rainfed"))


def measured_depletion_fraction(field_record: Record, history: Sequence[Day]) -> float | None:
    """Root-zone depletion over total available water, as the probes give it; None where no probe spoke for a week.

    Each probe speaks for its layer, as far as the roots reach by now; roots deepen linearly to the maximum.
    """
    moist, dry = field_record["field_capacity_m3_m3"], field_record["wilting_point_m3_m3"]
    grown = min(1.0, len(history) / DAYS_TO_FULL_ROOTS)
    deepest_m = field_record["root_depth_max_m"]
    root_depth_m = ROOT_DEPTH_AT_EMERGENCE_M + (deepest_m - ROOT_DEPTH_AT_EMERGENCE_M) * grown
    depleted = weight = top_m = 0.0
    for depth_cm, bottom_m in zip(PROBE_DEPTHS_CM, PROBE_LAYER_BOTTOMS_M, strict=True):
        thickness_m = min(bottom_m, root_depth_m) - top_m
        top_m = bottom_m
        vwc = _last_heard(history, f"vwc_{depth_cm}cm_m3_m3")
        if thickness_m <= 0 or vwc is None:
            continue
        depleted += thickness_m * (moist - vwc) / (moist - dry)
        weight += thickness_m
    return min(1.0, max(0.0, depleted / weight)) if weight > 0 else None


def _last_heard(history: Sequence[Day], column: str) -> float | None:
    for day in reversed(history[-PROBE_MEMORY_DAYS:]):
        if day.reading is not None and day.reading[column] is not None:
            return float(day.reading[column])
    return None


def _some_nitrogen(rng: np.random.Generator) -> NitrogenPlan:
    doses = int(rng.choice((1, 2, 3), p=(0.25, 0.5, 0.25)))
    days = (int(rng.integers(0, 6)), int(rng.integers(25, 56)), int(rng.integers(56, 85)))[:doses]
    split = rng.dirichlet(np.full(doses, 3.0)).tolist()
    total = 0.0 if rng.random() < 0.05 else rng.triangular(0.0, 180.0, 320.0)
    return NitrogenPlan(_tenth(total), days, tuple(split))


def _moods(rng: np.random.Generator, is_irrigated: bool) -> tuple[tuple[bool, ...], tuple[float, ...]]:
    days = MAX_SEASON_DAYS + 1
    skipped = rng.random(days) < rng.uniform(0.0, 0.3)
    has_extra = rng.random(days) < (rng.uniform(0.0, 0.05) if is_irrigated else 0.0)
    extra_mm = np.where(has_extra, np.round(rng.uniform(5.0, 40.0, days), 1), 0.0)
    return tuple(skipped.tolist()), tuple(extra_mm.tolist())


def _tenth(value: float) -> float:
    return round(float(value), 1)


def _with_tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
