"""When to act, learned in closed loop: the weights of the trigger and of the due dose that earn most.

Whole what-if seasons are lived under noisy sensors, many candidate weights at once on the same fields, and CMA-ES
moves towards those that earned more. Each generation lives other fields, so what is found holds beyond them. Water is
searched first, on fields where nitrogen is plenty; then the doses; then what a forecast changes: each where nothing
else varies what a season earns.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cma
import numpy as np
import torch
from numpy.typing import NDArray

from fieldedge.workloads.agriculture.decision import NITROGEN_DOSES_KG_HA, largest_depth_mm, largest_dose_kg_ha
from fieldedge.workloads.agriculture.features import INDEX
from fieldedge.workloads.agriculture.waiting import latest_fraction
from fieldloop.workloads.agriculture.network.model import (
    DOSE_TERMS,
    FORECAST_TERMS,
    TRIGGER_TERMS,
    due_dose_kg_ha,
    forecast_terms,
    trigger_terms,
)
from fieldloop.workloads.agriculture.pretraining.training_world import AMPLE_NITROGEN_KG_HA, Drawn, TrainingWorld
from fieldloop.workloads.agriculture.pretraining.what_if import Decide, Floats, Lived, Rows, live

_TERMS = (*TRIGGER_TERMS, *FORECAST_TERMS, *DOSE_TERMS)
STEPS = np.array([step for _, _, step in _TERMS])
START = np.array([start for _, start, _ in _TERMS])
FIRST_STEP = 0.4  # of STEPS
FROM_CHAMPION_STEP = 0.2
STAY_CLOSE = 0.3  # USD/ha that a candidate must earn more for each mean square step away from the start
SETTLED_SHARE = 0.3  # of the generations, the last ones: their mean is steadier than the last alone
TRIGGERS = slice(0, len(TRIGGER_TERMS))
FORECASTS = slice(len(TRIGGER_TERMS), len(TRIGGER_TERMS) + len(FORECAST_TERMS))
DOSES = slice(len(TRIGGER_TERMS) + len(FORECAST_TERMS), len(_TERMS))
_CANDIDATE_DOSES = np.array((0.0, *NITROGEN_DOSES_KG_HA))


@dataclass(frozen=True)
class Question:
    """Some of the weights, and the fields on which they are searched; `effort` is of the whole search's generations."""

    weights: slice
    ample_share: float
    forecast_share: float
    effort: float


QUESTIONS = (
    Question(TRIGGERS, ample_share=1.0, forecast_share=0.0, effort=0.6),
    Question(DOSES, ample_share=0.0, forecast_share=0.0, effort=0.2),
    Question(FORECASTS, ample_share=1.0, forecast_share=1.0, effort=0.2),
)


def follow(weights: Floats, drawn: Drawn) -> Decide:
    """The rule of the model's effects: water past the trigger, the due dose. `weights` (K,), or (N, K) by field."""
    rows_of = torch.from_numpy(np.atleast_2d(weights).astype(np.float32))
    efficiency = drawn.fields.application_efficiency.astype(np.float32)

    def decide(day: int, rows: Rows) -> tuple[Floats, Floats]:
        known = torch.from_numpy(rows)
        trigger = (trigger_terms(known) * rows_of[:, TRIGGERS]).sum(1).numpy()
        if (rows[:, INDEX["has_forecast"]] > 0.0).any():
            trigger = trigger + (forecast_terms(known) * rows_of[:, FORECASTS]).sum(1).numpy()
        is_due = rows[:, INDEX["depletion_fraction"]] > np.minimum(trigger, latest_fraction(rows))
        depth = np.where(is_due, largest_depth_mm(rows, efficiency), 0.0)
        dose = nearest_dose_kg_ha(due_dose_kg_ha(known, rows_of[:, DOSES]).numpy(), largest_dose_kg_ha(rows))
        return depth.astype(np.float64), habit_kg_ha(day, dose, drawn.has_ample_nitrogen)

    return decide


def nearest_dose_kg_ha(due: Rows, largest: Rows) -> Floats:
    """The candidate dose next to the one that is due (N,): what the device would choose."""
    candidates = np.minimum(_CANDIDATE_DOSES[None, :], largest[:, None])
    candidates = np.concatenate([candidates, largest[:, None]], axis=1)
    nearest = np.abs(candidates - np.minimum(due, largest)[:, None]).argmin(axis=1)
    dose: Floats = candidates[np.arange(len(due)), nearest].astype(np.float64)
    return dose


def habit_kg_ha(day: int, dose: Floats, has_ample: NDArray[np.bool_]) -> Floats:
    """The dose, but for growers who fertilise by habit: plenty at planting and nothing later."""
    given: Floats = np.where(has_ample, AMPLE_NITROGEN_KG_HA if day == 0 else 0.0, dose)
    return given


def profits_usd_ha(lived: Lived, drawn: Drawn) -> Floats:
    """Grain less water and nitrogen (N,); the habit's nitrogen is no one's decision and costs nothing here."""
    nitrogen = np.where(drawn.has_ample_nitrogen, 0.0, lived.nitrogen_kg_ha.sum(1))
    profit: Floats = drawn.grain_price_usd_t * lived.yield_t_ha - drawn.nitrogen_price_usd_kg * nitrogen
    profit -= drawn.water_price_usd_mm * lived.irrigation_mm.sum(1)
    return profit


def search(
    world: TrainingWorld,
    start: Floats,
    generations: int,
    population: int,
    seasons: int,
    seed: int,
    first_step: float = FIRST_STEP,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Floats:
    """The weights (K,) found from `start`: `generations` of `population` candidates, each over `seasons` fields."""
    found, done = start.copy(), 0
    for question in QUESTIONS:
        count = round(question.effort * generations)
        found[question.weights] = _answer(
            question,
            world,
            found,
            count,
            population,
            seasons,
            seed,
            first_step,
            lambda at, before=done: on_progress(before + at, generations),  # type: ignore[misc]  # a default binds it
        )
        done += count
    return found


def _answer(
    question: Question,
    world: TrainingWorld,
    start: Floats,
    generations: int,
    population: int,
    seasons: int,
    seed: int,
    first_step: float,
    on_generation: Callable[[int], None],
) -> Floats:
    """The question's weights, all others being as in `start`."""
    asked = question.weights
    if generations == 0:
        return start[asked]
    options = {"popsize": population, "verbose": -9, "seed": seed + 1}
    evolution = cma.CMAEvolutionStrategy(np.zeros(len(start[asked])), first_step, options)
    centres = []
    for generation in range(generations):
        steps = np.array(evolution.ask())
        fields = world.draw(seasons, seed * 1_000 + generation, question.ample_share, question.forecast_share)
        drawn = fields.tiled(population)
        weights = np.tile(start, (population, 1))
        weights[:, asked] += steps * STEPS[asked]
        earned = profits_usd_ha(live(drawn.fields, follow(np.repeat(weights, seasons, axis=0), drawn)), drawn)
        loss = -earned.reshape(population, seasons).mean(1) + STAY_CLOSE * np.square(steps).mean(1)
        evolution.tell(list(steps), loss.tolist())
        centres.append(np.array(evolution.result.xfavorite))
        on_generation(generation + 1)
    settled = centres[-max(1, round(SETTLED_SHARE * generations)) :]
    found: Floats = start[asked] + np.mean(settled, axis=0) * STEPS[asked]
    return found
