"""What an action changes, from seasons lived twice: once with it, once without, and alike before and after.

Both twins share weather, sensors and every earlier day, and follow the same rule afterwards, so their difference is
the action's alone. The mornings after it are examples of what comes when the model's advice is followed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fieldedge.workloads.agriculture.decision import (
    NITROGEN_DOSES_KG_HA,
    NITROGEN_WINDOWS_DAP,
    largest_depth_mm,
    largest_dose_kg_ha,
)
from fieldedge.workloads.agriculture.features import set_actions
from fieldloop.core.dataset import Dataset
from fieldloop.workloads.agriculture.network.model import TARGET_SPREAD, Effects
from fieldloop.workloads.agriculture.pretraining.policy_search import follow, habit_kg_ha
from fieldloop.workloads.agriculture.pretraining.training_world import TrainingWorld
from fieldloop.workloads.agriculture.pretraining.what_if import Floats, Rows

NITROGEN_SHARE = 0.3  # of the pairs; the others are about water
EXPLORING_SHARE = 0.12  # of the days before the pair's, at most, on which something else is done
LAST_PAIR_DAY = 115
MORNINGS_A_SEASON = 24
_FIT_STEPS = 400


@dataclass(frozen=True)
class Pairs:
    """P mornings with an action, and the difference to doing nothing: t/ha, mm to come, kg/ha to come."""

    rows: Rows  # (P, F), physical units, with the action
    differences: Rows  # (P, 3)


def live_twice(world: TrainingWorld, weights: Floats, count: int, seed: int) -> tuple[Pairs, Dataset]:
    """`count` pairs, and as examples the later mornings of those fields that are as they are told.

    What an action changes is taught by the wide world too; but what a season brings is foretold for a field of which
    nothing is known to be amiss. Where something is, the device sees it and says so (evidence.py, learned.py).
    """
    rng = np.random.default_rng(seed)
    drawn = world.draw(count, seed).tiled(2)  # the first half acts, the second does not
    fields, rule = drawn.fields, follow(weights, drawn)
    is_about_nitrogen = np.tile((rng.random(count) < NITROGEN_SHARE) & ~drawn.has_ample_nitrogen[:count], 2)
    pair_day = np.tile(_pair_days(rng, is_about_nitrogen[:count]), 2)
    explores = np.tile(rng.random(count) * EXPLORING_SHARE, 2)
    acts = np.repeat([True, False], count)
    wanted_dose = np.tile(rng.choice(NITROGEN_DOSES_KG_HA, count), 2)
    efficiency = fields.application_efficiency.astype(np.float32)
    mornings: list[tuple[Rows, Floats, Floats]] = []
    asked = np.zeros((count, 0), np.float32)
    while not fields.batch.is_finished.all():
        day, rows = fields.batch.day, fields.features()
        depth, dose = rule(day, rows)
        largest, most = largest_depth_mm(rows, efficiency), largest_dose_kg_ha(rows)
        strays = (day < pair_day) & (np.tile(rng.random(count), 2) < explores)
        depth = np.where(strays, np.where(np.tile(rng.random(count) < 0.3, 2), largest, 0.0), depth)
        today: NDArray[np.bool_] = np.equal(pair_day, day)
        depth = np.where(today, np.where(acts & ~is_about_nitrogen, largest, 0.0), depth)
        given = np.minimum(wanted_dose, most)
        dose = np.where(today & is_about_nitrogen, np.where(acts, given, 0.0), dose)
        dose = habit_kg_ha(day, dose, drawn.has_ample_nitrogen)
        before = fields.irrigation_mm, fields.batch.nitrogen_kg_ha
        fields.step(depth, dose)
        done = fields.irrigation_mm - before[0], fields.batch.nitrogen_kg_ha - before[1]
        mornings.append((rows, *done))
        if not asked.size:
            asked = np.zeros_like(rows[:count])
        now = today[:count]
        given_mm, given_kg = (amount[:count][now].astype(np.float32) for amount in done)
        asked[now] = set_actions(rows[:count][now].copy(), given_mm, given_kg)
    irrigation: Floats = np.stack([morning[1] for morning in mornings], 1)
    nitrogen: Floats = np.stack([morning[2] for morning in mornings], 1)
    results = np.stack([fields.batch.yield_t_ha, irrigation.sum(1), nitrogen.sum(1)], axis=1)
    differences = results[:count] - results[count:]
    index, at = np.arange(count), np.minimum(pair_day[:count], irrigation.shape[1] - 1)
    own = np.stack([irrigation[index, at], nitrogen[index, at]], axis=1)
    differences[:, 1:] -= own  # what is still to come, not what was done
    is_pair = (own.sum(1) > 0.0) & asked.any(axis=1)
    pairs = Pairs(asked[is_pair], differences[is_pair].astype(np.float32))
    told = np.flatnonzero(~drawn.is_wide | drawn.is_wide.all())
    rows_by_day = [morning[0][told] for morning in mornings]
    harvested = np.full(len(told), irrigation.shape[1])
    done, yields = (irrigation[told], nitrogen[told]), fields.batch.yield_t_ha[told]
    return pairs, examples_of(rng, rows_by_day, *done, yields, pair_day[told], harvested)


def _pair_days(rng: np.random.Generator, is_about_nitrogen: NDArray[np.bool_]) -> NDArray[np.int64]:
    count = len(is_about_nitrogen)
    planting, (first, last) = NITROGEN_WINDOWS_DAP[0][0], NITROGEN_WINDOWS_DAP[-1]
    nitrogen_day = np.where(rng.random(count) < 0.2, planting, rng.integers(first, last + 1, count))
    return np.where(is_about_nitrogen, nitrogen_day, rng.integers(8, LAST_PAIR_DAY, count))


def examples_of(
    rng: np.random.Generator,
    rows_by_day: Sequence[Rows],
    irrigation: Floats,
    nitrogen: Floats,
    yields: Floats,
    first_day: NDArray[np.int64],
    end_day: NDArray[np.int64],
    period: str = "what-if",
) -> Dataset:
    """Some mornings of every season, from its first day and before its end, with what was done and what came of it.

    Args:
        rows_by_day: features of every morning, (N, F) each, without the day's action.
        irrigation: what was done by day (N, days); `nitrogen` likewise.
        first_day: by season (N,), from when on only the rule decided.
        period: what the groups are named by.
    """
    seasons, days = irrigation.shape
    row_of, day_of = [], []
    for season in range(seasons):
        lived = np.arange(min(int(first_day[season]), days - 1), int(end_day[season]))
        chosen = rng.choice(lived, min(MORNINGS_A_SEASON, len(lived)), replace=False)
        row_of += [season] * len(chosen)
        day_of += np.sort(chosen).tolist()
    row, day = np.array(row_of), np.array(day_of)
    features = np.stack([rows_by_day[d][s] for s, d in zip(row, day, strict=True)])
    features = set_actions(features, irrigation[row, day].astype(np.float32), nitrogen[row, day].astype(np.float32))
    to_come = [(total.sum(1)[:, None] - np.cumsum(total, 1))[row, day] for total in (irrigation, nitrogen)]
    targets = np.stack([yields[row], *to_come], axis=1).astype(np.float32)
    groups = tuple(f"{period}/{i}" for i in range(seasons))
    return Dataset(features, targets, row.astype(np.int32), groups)


def fit_effects(effects: Effects, pairs: Pairs, seed: int) -> None:
    """Set how much an action changes, the trigger and the due dose given: least absolute error over the pairs."""
    torch.manual_seed(seed)
    sizes = [effects.water_slope, effects.water_saved, effects.dose_slope, effects.dose_saved]
    for size in sizes:
        size.requires_grad_(True)
    with torch.no_grad():
        occasions = effects.occasions(torch.from_numpy(pairs.rows))
    wanted = torch.from_numpy(pairs.differences)
    spread = wanted.new_tensor(TARGET_SPREAD)
    optimizer = torch.optim.Adam(sizes, lr=0.05)
    for _ in range(_FIT_STEPS):
        optimizer.zero_grad()
        changed = effects.of(occasions)
        error = nn.functional.smooth_l1_loss(changed[:, [1, 3, 4]] / spread, wanted / spread, beta=0.05)
        error.backward()
        optimizer.step()
    effects.requires_grad_(False)
