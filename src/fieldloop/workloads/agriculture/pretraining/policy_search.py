"""When to act, learned in closed loop: the weights of the trigger and of the due dose that earn most.

Whole what-if seasons are lived under noisy sensors, many candidate weights at once on the same fields, and CMA-ES
moves towards those that earned more. Each generation lives other fields, so what is found holds beyond them. Water is
searched first, on fields where nitrogen is plenty; then the doses; then what a forecast changes: each where nothing
else varies what a season earns.
"""

from collections.abc import Callable, Sequence
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

TERMS = (*TRIGGER_TERMS, *FORECAST_TERMS, *DOSE_TERMS)
STEPS = np.array([step for _, _, step in TERMS])
START = np.array([start for _, start, _ in TERMS])
FIRST_STEP = 0.4  # of STEPS
FROM_CHAMPION_STEP = 0.2
STAY_CLOSE = 0.3  # USD/ha that a candidate must earn more for each mean square step away from the start
# Of the wide fields. When to act is searched for fields of which most are as they are told, if not where they were
# learned from; for the others a device has its doubt (evidence.py), and a trigger early enough for them costs these.
SOUND_SHARE = 0.5
SETTLED_SHARE = 1 / 3  # of the generations, the last ones: their mean is steadier than the last alone
TRIGGERS = slice(0, len(TRIGGER_TERMS))
FORECASTS = slice(len(TRIGGER_TERMS), len(TRIGGER_TERMS) + len(FORECAST_TERMS))
DOSES = slice(len(TRIGGER_TERMS) + len(FORECAST_TERMS), len(TERMS))
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


Earn = Callable[[Floats, Question, int], Floats]  # candidates (P, K), question, generation: mean USD/ha of each (P,)


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

    def earn(candidates: Floats, question: Question, generation: int) -> Floats:
        drawn = drawn_for(question, world, seasons, seed * 1_000 + generation)
        mean: Floats = earned_usd_ha(drawn, candidates).mean(1)
        return mean

    return searched(earn, start, generations, population, seed, first_step, STAY_CLOSE, on_progress)


def searched(
    earn: Earn,
    start: Floats,
    generations: int,
    population: int,
    seed: int,
    first_step: float,
    stay_close: float,
    on_progress: Callable[[int, int], None],
) -> Floats:
    """As `search`, wherever the candidates are lived."""
    found, done = start.copy(), 0
    for question in QUESTIONS:
        count = round(question.effort * generations)
        if count == 0:
            continue
        asked, before = question.weights, found.copy()
        options = {"popsize": population, "verbose": -9, "seed": seed + 1}
        evolution = cma.CMAEvolutionStrategy(np.zeros(len(before[asked])), first_step, options)
        centres = []
        for generation in range(count):
            steps = np.array(evolution.ask())
            candidates = np.tile(before, (population, 1))
            candidates[:, asked] += steps * STEPS[asked]
            loss = -earn(candidates, question, generation) + stay_close * np.square(steps).mean(1)
            evolution.tell(list(steps), loss.tolist())
            centres.append(np.array(evolution.result.xfavorite))
            on_progress(done + generation + 1, generations)
        settled = centres[-max(1, int(SETTLED_SHARE * count)) :]
        found[asked] = before[asked] + np.mean(settled, axis=0) * STEPS[asked]
        done += count
    return found


def drawn_for(question: Question, world: TrainingWorld, fields: int, seed: int) -> Drawn:
    """Fields on which the question is answered."""
    return world.draw(fields, seed, question.ample_share, question.forecast_share, sound_share=SOUND_SHARE)


def earned_usd_ha(drawn: Drawn, candidates: Floats) -> Floats:
    """What each candidate (P, K) earns on each of these fields, (P, N): the same fields under every one."""
    fields = len(drawn.records)
    tiled = drawn.tiled(len(candidates))
    lived = live(tiled.fields, follow(np.repeat(candidates, fields, axis=0), tiled))
    return profits_usd_ha(lived, tiled).reshape(len(candidates), fields)


def best_of(world: TrainingWorld, candidates: Sequence[Floats], fields: int, seed: int) -> Floats:
    """Which weights earn most on the same `fields`, some with a forecast, some with plenty of nitrogen."""
    if len(candidates) == 1:
        return candidates[0]
    earned = earned_usd_ha(world.draw(fields, seed, sound_share=SOUND_SHARE), np.stack(candidates)).mean(1)
    return candidates[int(earned.argmax())]
