"""What a model must earn before devices follow it: compared with the rule in the box, tuned thresholds, the champion.

All deciders live the same simulated fields, under the same weather, prices and sensors: the model through the device's
own decision, the champion likewise, the device's FAO-56 rule without a model, and thresholds of root-zone depletion by
growth stage. The thresholds are tuned on fields of the seasons that the model learned from; all are judged on fields of
seasons that none has seen. Whether the model passes, and where, is the gate's to say.
"""

from collections.abc import Mapping

import cma
import numpy as np
import pandas as pd

from fieldedge.workloads.agriculture.decision import (
    NITROGEN_MUST_DAP,
    NITROGEN_PLANTING_SHARE,
    largest_depth_mm,
    largest_dose_kg_ha,
)
from fieldedge.workloads.agriculture.features import INDEX
from fieldloop.core.dataset import Dataset
from fieldloop.workload import RULE, Decider, FloorValues, Predict, SliceTerms
from fieldloop.workloads.agriculture.advice import closed_loop_profits_usd_ha
from fieldloop.workloads.agriculture.metrics import PROFIT, YIELD_ERROR, rmse_t_ha
from fieldloop.workloads.agriculture.params import FloorParams, GateParams
from fieldloop.workloads.agriculture.pretraining.policy_search import habit_kg_ha, profits_usd_ha
from fieldloop.workloads.agriculture.pretraining.training_world import Drawn, TrainingWorld
from fieldloop.workloads.agriculture.pretraining.what_if import Decide, Floats, Rows, live
from fieldloop.workloads.agriculture.slicing import fault_members, slices_of, untried_roots

STAGE_ENDS_DAP = (25.0, 54.0, 107.0)  # maize: 10 % cover, full cover, senescence
START_FRACTIONS = (0.95, 0.55, 0.60, 0.80)  # params.yaml's own practice
LOWEST, HIGHEST = 0.05, 1.2  # nothing passes the highest
FIRST_STEP = 0.15
_TUNING_SEED, _JUDGING_SEED = 7_001, 7_002  # apart from those of the search that teaches models


def floor_values(
    learned_from: Mapping[str, pd.DataFrame],
    unseen: Mapping[str, pd.DataFrame],
    held_out: Dataset,
    predict: Predict,
    params: GateParams,
    champion: Predict | None = None,
) -> FloorValues:
    """What fields of unseen seasons earn under each decider, and their slices; alike for the same arguments.

    Args:
        learned_from: accepted tables of the seasons that the model learned from; thresholds are tuned on them, and the
            mean of their harvests is what one would foresee without a model.
        unseen: accepted tables of seasons that neither has seen.
        held_out: the examples of those seasons.
        champion: the model that devices run now.
    """
    floor, slices = params.floor, params.slices
    fractions = tuned_fractions(TrainingWorld.of(learned_from), floor)
    world = TrainingWorld.of(unseen)
    drawn = world.draw(floor.fields, _JUDGING_SEED)
    first_rows, faults = drawn.fields.features(), drawn.fields.faults

    def earned(one: Predict | None) -> Floats:
        return closed_loop_profits_usd_ha(world, one, floor.fields, _JUDGING_SEED)

    thresholds = profits_usd_ha(live(drawn.fields, at_fractions(fractions, drawn)), drawn)
    mean_harvest_t_ha = float(learned_from["harvests"]["yield_t_ha"].mean())
    by_mean = rmse_t_ha(np.full(len(held_out), mean_harvest_t_ha, np.float32), held_out)
    return FloorValues(
        PROFIT,
        "fields",
        earned(predict),
        (
            Decider(RULE, "the FAO-56 rule", earned(None), floor.max_loss_to_rule_usd_ha),
            Decider("thresholds", "tuned thresholds", thresholds, floor.max_loss_to_thresholds_usd_ha),
        ),
        "the mean harvest",
        by_mean,
        {
            "depletion_fractions": tuple(float(value) for value in fractions),
            f"mean_harvest_rmse_{YIELD_ERROR.unit_key}": by_mean,
        },
        champion=None if champion is None else earned(champion),
        slices=tuple(slices_of(drawn.records, first_rows, None if faults is None else fault_members(faults))),
        slice_terms=SliceTerms(slices.least_fields, slices.max_loss_usd_ha, slices.max_risk_usd_ha),
        untried=untried_roots(record["root_depth_max_m"] for record in learned_from["fields"].to_dict("records")),
    )


def tuned_fractions(world: TrainingWorld, params: FloorParams) -> Floats:
    """The depletion fraction of each stage (4,) beyond which water is given: CMA-ES for profit.

    Each generation lives other fields, so that what is found holds beyond them; the centre of the last one is taken.
    """
    start = np.array(START_FRACTIONS)
    if params.generations == 0:
        return start
    options = {"popsize": params.population, "verbose": -9, "seed": _TUNING_SEED, "bounds": [LOWEST, HIGHEST]}
    evolution = cma.CMAEvolutionStrategy(start, FIRST_STEP, options)
    for generation in range(params.generations):
        asked = np.array(evolution.ask())
        drawn = world.draw(params.seasons, _TUNING_SEED * 1_000 + generation).tiled(params.population)
        decide = at_fractions(np.repeat(asked, params.seasons, axis=0), drawn)
        earned = profits_usd_ha(live(drawn.fields, decide), drawn).reshape(params.population, -1).mean(1)
        evolution.tell(list(asked), (-earned).tolist())
    found: Floats = np.asarray(evolution.result.xfavorite)
    return found


def at_fractions(fractions: Floats, drawn: Drawn) -> Decide:
    """Water once the depletion passes the stage's fraction (4,), or (N, 4) by field; nitrogen as the balance says.

    Depths and doses are the device's own largest sound ones, so that no decider may do what another may not.
    """
    by_field = np.broadcast_to(np.atleast_2d(fractions), (len(drawn.grain_price_usd_t), len(START_FRACTIONS)))
    efficiency = drawn.fields.application_efficiency.astype(np.float32)

    def decide(day: int, rows: Rows) -> tuple[Floats, Floats]:
        limit = by_field[:, sum(day > end for end in STAGE_ENDS_DAP)]
        is_due = rows[:, INDEX["depletion_fraction"]] > limit
        depth = np.where(is_due, largest_depth_mm(rows, efficiency), 0.0).astype(np.float64)
        return depth, habit_kg_ha(day, balance_dose_kg_ha(day, rows), drawn.has_ample_nitrogen)

    return decide


def balance_dose_kg_ha(day: int, rows: Rows) -> Floats:
    """The nitrogen that the balance alone gives (N,): a share at planting, the rest when the crop needs it."""
    dose = largest_dose_kg_ha(rows).astype(np.float64)
    if day == 0:
        dose = np.round(NITROGEN_PLANTING_SHARE * dose)
    elif day < NITROGEN_MUST_DAP:
        dose = np.zeros(len(rows))
    return dose
