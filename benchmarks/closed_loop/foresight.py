"""Perfect foresight: the best schedule of 25 mm doses for a season whose weather is known to the end.

Iterated local search, for all seasons at once: a round tries some neighbours of every season's schedule in one batch
and moves to the best one if it earns more; where nothing better was found for some rounds, the search goes on from a
disturbed copy of the season's best. What it finds is a lower bound, and a near one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.closed_loop.harness import Outcomes, Row
from benchmarks.closed_loop.sites import DOSE_MM, Array, Scenario, Site
from fieldloop.workloads.agriculture.world.field_batch import FieldBatch, field_batch
from fieldloop.workloads.agriculture.world.plots import Plot

Schedule = NDArray[np.bool_]  # by day after planting
FORESIGHT = "perfect foresight"
ROUNDS = 150
NEIGHBOURS = 64  # of each season, in a round
ROUNDS_BEFORE_KICK = 4
SHIFT_MAX_DAYS = 15
_BLOCK_DAYS = 8  # a byte: schedules that agree so far are simulated once, and compared every so many days
_MOVE_ODDS = {"add": 0.25, "remove": 0.10, "shift": 0.45, "swap": 0.10, "merge": 0.10}


@dataclass(frozen=True, eq=False)
class BestSchedule:
    """The best of one season: its profit and yield, and the days of irrigation after planting."""

    profit_usd_ha: float
    yield_t_ha: float
    days: list[int]


def best_schedules(
    plots: Sequence[Plot], scenario: Scenario, rounds: int = ROUNDS, seed: int = 1, threads: int | None = 1
) -> list[BestSchedule]:
    """The best schedule found for each plot."""
    rng, planted = np.random.default_rng(seed), field_batch(plots, threads)
    days = _season_days(planted)
    climbs = [_Climb(days, scenario.doses_max) for _ in plots]
    which = np.repeat(np.arange(len(plots)), NEIGHBOURS)
    for _ in range(rounds):
        tried = np.stack([climb.propose(rng) for climb in climbs])
        yields, irrigation_mm = harvests(planted, which, tried.reshape(-1, days))
        profits = scenario.profit_usd_ha(yields, irrigation_mm).reshape(-1, NEIGHBOURS)
        for climb, *heard in zip(climbs, tried, profits, yields.reshape(-1, NEIGHBOURS), strict=True):
            climb.hear(*heard)
    return [climb.best for climb in climbs]


def foresight_row(site: Site, scenario: Scenario, best: Sequence[BestSchedule]) -> Row:
    """Those schedules of the test seasons as a row."""
    yield_t_ha = np.array([[one.yield_t_ha for one in best]])
    irrigation_mm = DOSE_MM * np.array([[float(len(one.days)) for one in best]])
    profit, nothing = scenario.profit_usd_ha(yield_t_ha, irrigation_mm), np.zeros_like(yield_t_ha)
    return Row(FORESIGHT, site.tested_on, Outcomes(profit, yield_t_ha, irrigation_mm, nothing, nothing))


def harvests(planted: FieldBatch, which: NDArray[np.int64], schedules: Schedule) -> tuple[Array, Array]:
    """Yield (t/ha) and irrigation (mm) of row `which[i]` of the planted batch under `schedules[i]`, (M, days).

    Schedules of a field that have been the same so far share a simulated row, until the block in which they part.
    """
    batch, shared = planted, which
    for first in range(0, schedules.shape[1], _BLOCK_DAYS):
        block = schedules[:, first : first + _BLOCK_DAYS]
        keys = shared * 256 + np.packbits(block, axis=1)[:, 0]
        _, one_of_each, parted = np.unique(keys, return_index=True, return_inverse=True)
        batch = batch.branch(shared[one_of_each])
        for day in range(block.shape[1]):
            batch.step(DOSE_MM * block[one_of_each, day], np.zeros(batch.size))
        shared = parted
    while not batch.is_finished.all():
        batch.step(np.zeros(batch.size), np.zeros(batch.size))
    return batch.yield_t_ha[shared], batch.irrigation_mm[shared]


class _Climb:
    """The search in one season."""

    def __init__(self, days: int, doses_max: int | None) -> None:
        self._doses_max = days if doses_max is None else doses_max
        self._schedule: Schedule = np.zeros(days, dtype=np.bool_)
        self._profit, self._stale_rounds = -np.inf, 0
        self.best = BestSchedule(-np.inf, 0.0, [])

    def propose(self, rng: np.random.Generator) -> Schedule:
        """Neighbours to try, (NEIGHBOURS, days); the first is the schedule itself."""
        if self._stale_rounds >= ROUNDS_BEFORE_KICK:
            self._kick(rng)
        tried = np.tile(self._schedule, (NEIGHBOURS, 1))
        for one in tried[1:]:
            for _ in range(1 + (rng.random() < 0.25)):
                self._move(one, rng)
        return tried

    def hear(self, tried: Schedule, profits: Array, yields: Array) -> None:
        """Learn what the proposed schedules earn, and go to the best of them."""
        top = int(profits.argmax())
        is_better = profits[top] > self._profit + 1e-9
        self._stale_rounds = 0 if is_better else self._stale_rounds + 1
        if is_better:
            self._schedule, self._profit = tried[top].copy(), float(profits[top])
        if profits[top] > self.best.profit_usd_ha + 1e-9:
            days = np.flatnonzero(tried[top]).tolist()
            self.best = BestSchedule(float(profits[top]), float(yields[top]), days)

    def _kick(self, rng: np.random.Generator) -> None:
        self._schedule = np.zeros_like(self._schedule)
        self._schedule[self.best.days] = True
        for _ in range(rng.integers(2, 5)):
            self._move(self._schedule, rng)
        self._profit, self._stale_rounds = -np.inf, 0

    def _move(self, schedule: Schedule, rng: np.random.Generator) -> None:
        """Change that schedule a little, in place; a move that is not possible changes nothing."""
        wet = np.flatnonzero(schedule)
        move = rng.choice(list(_MOVE_ODDS), p=list(_MOVE_ODDS.values())) if len(wet) else "add"
        if move == "add" and len(wet) < self._doses_max:
            schedule[rng.integers(len(schedule))] = True
        elif move == "remove":
            schedule[rng.choice(wet)] = False
        elif move == "shift":
            day = rng.choice(wet)
            self._swap(schedule, day, day + rng.integers(-SHIFT_MAX_DAYS, SHIFT_MAX_DAYS + 1))
        elif move == "swap":
            self._swap(schedule, rng.choice(wet), rng.integers(len(schedule)))
        elif move == "merge" and len(wet) > 1:
            pair = rng.integers(len(wet) - 1)
            schedule[wet[pair : pair + 2]] = False
            schedule[wet[pair : pair + 2].sum() // 2] = True

    @staticmethod
    def _swap(schedule: Schedule, day: int, other: int) -> None:
        if 0 <= other < len(schedule):
            schedule[day], schedule[other] = schedule[other], schedule[day]


def _season_days(planted: FieldBatch) -> int:
    """How long the longest of those seasons lasts with water enough."""
    batch = planted.branch(np.arange(planted.size))
    while not batch.is_finished.all():
        batch.step(np.full(batch.size, DOSE_MM * (batch.day % 4 == 0)), np.zeros(batch.size))
    return batch.day
