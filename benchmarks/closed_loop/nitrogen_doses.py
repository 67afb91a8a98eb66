"""Nitrogen under tuned irrigation: fixed practice, split, a rule on the nutrition index, and perfect foresight.

Irrigation is that of the tuned thresholds with the true state at c = 1 in every row, so rows differ in nitrogen alone.
Rates and the rule's settings are those that earn most on the tuning seasons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchmarks.closed_loop.harness import Outcomes, Row, live
from benchmarks.closed_loop.sites import CHEAP_WATER, Array, Site
from benchmarks.closed_loop.thresholds import Thresholds
from fieldloop.workloads.agriculture.world.field_batch import FieldBatch

SPLIT_RULE, FORESIGHT = "split 33/67, tuned rate", "perfect foresight"
FIXED_KG_HA = 200.0
SPLIT = {0: 0.33, 40: 0.67}
RATES_KG_HA = np.arange(0.0, 301.0, 5.0)
LAST_DOSE_DAY = 70
RULE_STARTS_KG_HA, RULE_DOSES_KG_HA = (0.0, 20.0, 40.0, 60.0, 80.0), (20.0, 30.0, 40.0, 60.0, 80.0, 100.0)
RULE_LIMITS = (0.80, 0.90, 0.95, 1.00, 1.05, 1.08)  # the layer lets a crop take up to 1.1
RULE_PAUSE_DAYS = 7  # a dose shows in the index only after some days
FORESIGHT_DAYS = (0, 20, 30, 40, 50, 60)
FORESIGHT_STEPS_KG_HA = (20.0, 10.0, 5.0)


@dataclass(frozen=True, eq=False)
class Schedule:
    """A plan: on day `days[k]`, `doses_kg_ha[:, k]`, which is (N, K)."""

    days: tuple[int, ...]
    doses_kg_ha: Array

    def doses(self, day: int, _batch: FieldBatch) -> Array:
        """kg/ha due on that day, (N,)."""
        if day not in self.days:
            return np.zeros(len(self.doses_kg_ha))
        due: Array = self.doses_kg_ha[:, self.days.index(day)]
        return due


@dataclass(eq=False)
class NutritionRule:
    """A plan: `start_kg_ha` at planting, then `dose_kg_ha` whenever the true index is under `limit`. All (N,)."""

    start_kg_ha: Array
    dose_kg_ha: Array
    limit: Array
    _last_dose_day: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self._last_dose_day = np.zeros(len(self.limit), dtype=np.int64)

    def doses(self, day: int, batch: FieldBatch) -> Array:
        """kg/ha due on that day, (N,): none in the days after a dose, nor from LAST_DOSE_DAY on."""
        if day == 0:
            return self.start_kg_ha
        is_due = (batch.nni < self.limit) & (day - self._last_dose_day >= RULE_PAUSE_DAYS) & (day < LAST_DOSE_DAY)
        self._last_dose_day[is_due] = day
        due: Array = self.dose_kg_ha * is_due
        return due


class _Field:
    """The site's seasons under the tuned irrigation, ready for any nitrogen plan."""

    def __init__(self, site: Site, moisture_pct: Sequence[float], threads: int | None) -> None:
        self._site, self._moisture_pct, self._threads = site, moisture_pct, threads

    def lived(self, seasons: tuple[int, ...], plan: Schedule | NutritionRule, count: int = 1) -> Outcomes:
        """Every season under `count` plans, plan by plan: (count, seasons)."""
        plots = self._site.plots(seasons, is_nitrogen_limited=True) * count
        policy = Thresholds(np.tile(np.asarray(self._moisture_pct), (len(plots), 1)))
        return live(plots, policy, CHEAP_WATER, plan, self._threads).reshaped(count, len(seasons))


@dataclass(frozen=True, eq=False)
class TunedNitrogen:
    """What earned most: on the tuning seasons, but for the `foresight_kg_ha` of each test season (seasons, days)."""

    planting_kg_ha: float
    split_kg_ha: float
    rule_start_kg_ha: float
    rule_dose_kg_ha: float
    rule_limit: float
    foresight_kg_ha: list[list[float]]


def tuned_nitrogen(site: Site, moisture_pct: Sequence[float], threads: int | None = 1) -> TunedNitrogen:
    """The rates, the rule and the doses of perfect foresight; `moisture_pct` are the irrigation's thresholds."""
    field = _Field(site, moisture_pct, threads)
    split_kg_ha = _best_rate(field, site.tuned_on, SPLIT)
    planting_kg_ha = _best_rate(field, site.tuned_on, {0: 1.0})
    rule = _best_rule(field, site.tuned_on)
    doses = _best_doses(field, site.tested_on, split_kg_ha)
    return TunedNitrogen(planting_kg_ha, split_kg_ha, *rule, foresight_kg_ha=doses.tolist())


def nitrogen_rows(
    site: Site, moisture_pct: Sequence[float], tuned: TunedNitrogen, threads: int | None = 1
) -> list[Row]:
    """All rows of the table of the test seasons."""
    field, tested = _Field(site, moisture_pct, threads), site.tested_on
    rule = (tuned.rule_start_kg_ha, tuned.rule_dose_kg_ha, tuned.rule_limit)
    plans: list[tuple[str, Schedule | NutritionRule]] = [
        ("200 kg at planting", _split({0: 1.0}, [FIXED_KG_HA], len(tested))),
        ("at planting, tuned rate", _split({0: 1.0}, [tuned.planting_kg_ha], len(tested))),
        ("200 kg split 33/67", _split(SPLIT, [FIXED_KG_HA], len(tested))),
        (SPLIT_RULE, _split(SPLIT, [tuned.split_kg_ha], len(tested))),
        ("NNI rule, tuned, true state", _rules([rule], len(tested))),
        (FORESIGHT, Schedule(FORESIGHT_DAYS, np.array(tuned.foresight_kg_ha))),
    ]
    return [Row(name, tested, field.lived(tested, plan)) for name, plan in plans]


def _split(shares: Mapping[int, float], totals_kg_ha: Sequence[float] | Array, seasons: int) -> Schedule:
    """Each total, shared out over the days, for so many seasons."""
    doses = np.outer(np.repeat(totals_kg_ha, seasons), list(shares.values()))
    return Schedule(tuple(shares), doses)


def _rules(settings: Sequence[tuple[float, float, float]], seasons: int) -> NutritionRule:
    start, dose, limit = np.repeat(np.asarray(settings), seasons, axis=0).T
    return NutritionRule(start, dose, limit)


def _best_rate(field: _Field, seasons: tuple[int, ...], shares: Mapping[int, float]) -> float:
    """The rate (kg/ha) that earns most over those seasons."""
    outcomes = field.lived(seasons, _split(shares, RATES_KG_HA, len(seasons)), len(RATES_KG_HA))
    return float(RATES_KG_HA[outcomes.profit_usd_ha.mean(axis=1).argmax()])


def _best_rule(field: _Field, seasons: tuple[int, ...]) -> tuple[float, float, float]:
    """Start (kg/ha), dose (kg/ha) and limit that earn most over those seasons."""
    settings = list(product(RULE_STARTS_KG_HA, RULE_DOSES_KG_HA, RULE_LIMITS))
    outcomes = field.lived(seasons, _rules(settings, len(seasons)), len(settings))
    return settings[int(outcomes.profit_usd_ha.mean(axis=1).argmax())]


def _best_doses(field: _Field, seasons: tuple[int, ...], split_kg_ha: float) -> Array:
    """The best doses of each season on FORESIGHT_DAYS, (seasons, days): steepest ascent from the split rate."""
    best = np.zeros((len(seasons), len(FORESIGHT_DAYS)))
    for day, share in SPLIT.items():
        best[:, FORESIGHT_DAYS.index(day)] = np.round(split_kg_ha * share / 20.0) * 20.0
    for step_kg_ha in FORESIGHT_STEPS_KG_HA:
        moves = _moves(step_kg_ha)
        while True:
            tried = np.maximum(best + moves[:, None, :], 0.0)  # (moves, seasons, days), the first as it is
            plan = Schedule(FORESIGHT_DAYS, tried.reshape(-1, len(FORESIGHT_DAYS)))
            profits = field.lived(seasons, plan, len(moves)).profit_usd_ha
            top = profits.argmax(axis=0)
            better = tried[top, np.arange(len(seasons))]
            if (better == best).all():
                break
            best = better
    return best


def _moves(step_kg_ha: float) -> Array:
    """No change; a step more or less on one day; a step carried from one day to another."""
    unit = step_kg_ha * np.eye(len(FORESIGHT_DAYS))
    carried = [unit[to] - unit[source] for to in range(len(unit)) for source in range(len(unit)) if to != source]
    return np.concatenate([np.zeros((1, len(unit))), unit, -unit, carried])
