"""How a fresh crop model is taught to decide: search when to act, then measure what an action changes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from fieldloop.core.dataset import Dataset, joined
from fieldloop.workloads.agriculture.network.model import CropModel
from fieldloop.workloads.agriculture.params import WhatIfParams
from fieldloop.workloads.agriculture.pretraining.counterfactuals import fit_effects, live_twice
from fieldloop.workloads.agriculture.pretraining.followed import follow_advice, without_years, years_set_aside
from fieldloop.workloads.agriculture.pretraining.policy_search import (
    DOSES,
    FIRST_STEP,
    FORECASTS,
    FROM_CHAMPION_STEP,
    START,
    TRIGGERS,
    best_of,
    search,
)
from fieldloop.workloads.agriculture.pretraining.shipped_start import shipped_start
from fieldloop.workloads.agriculture.pretraining.training_world import TrainingWorld
from fieldloop.workloads.agriculture.pretraining.what_if import Floats

_COMPARED_ON = 3  # times a generation's fields: on so many, weights are compared with one another
_FRESH = 500  # added to the seed of those on which what was found is compared with where it began


def pretrain(
    network: nn.Module,
    world: TrainingWorld,
    params: WhatIfParams,
    champion: nn.Module | None,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> Dataset:
    """Set the network's effects; returns examples of what comes when its advice is followed.

    The search begins from what is shipped, or from the champion where that earns more; from nothing where there is
    neither. Some examples are set aside to calibrate on, and with them the years that they are of.
    """
    if not isinstance(network, CropModel):
        raise TypeError(f"a CropModel practises, not a {type(network).__name__}")
    with _one_thread():
        return _taught(network, world, params, champion, seed, on_progress)


def _taught(
    network: CropModel,
    world: TrainingWorld,
    params: WhatIfParams,
    champion: nn.Module | None,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> Dataset:
    shipped = shipped_start() if params.from_shipped else None
    known = [] if shipped is None else [shipped]
    known += [weights_of(champion)] if isinstance(champion, CropModel) else []
    generations = params.generations_from_champion if known else params.generations
    total = generations + 1
    compared_on = _COMPARED_ON * params.seasons
    start = best_of(world, known, compared_on, seed) if known else START
    found = search(
        world,
        start,
        generations,
        params.population,
        params.seasons,
        seed,
        FROM_CHAMPION_STEP if known else FIRST_STEP,
        lambda done, _: on_progress(done, total),
    )
    if known and generations:  # a short search among noisy fields can lose what a long one found
        found = best_of(world, [start, found], compared_on, seed + _FRESH)
    set_weights(network, found)
    aside = years_set_aside(world)
    pairs, examples = live_twice(without_years(world, aside), found, params.pairs, seed)
    fit_effects(network.effects, pairs, seed)
    unseen = world.within(aside) if aside else world  # so few years are known that other fields in them must do
    examples = joined(examples, follow_advice(unseen, found, params.followed, seed))
    on_progress(total, total)
    return replace(examples, set_aside=examples.set_aside | {str(year) for year in aside})


@contextmanager
def _one_thread() -> Iterator[None]:
    """torch on one thread for a while: for a few terms a morning, several spend their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def weights_of(network: CropModel) -> Floats:
    """The weights that decide when to act, (K,)."""
    effects = network.effects
    parts = (effects.trigger_weights, effects.forecast_weights, effects.dose_weights)
    weights: Floats = torch.cat(parts).detach().numpy().astype(np.float64)
    return weights


def set_weights(network: CropModel, weights: Floats) -> None:
    """Write the weights that decide when to act, (K,)."""
    with torch.no_grad():
        values = torch.from_numpy(weights.astype(np.float32))
        network.effects.trigger_weights.copy_(values[TRIGGERS])
        network.effects.forecast_weights.copy_(values[FORECASTS])
        network.effects.dose_weights.copy_(values[DOSES])
