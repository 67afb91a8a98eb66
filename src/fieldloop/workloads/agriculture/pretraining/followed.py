"""What-if seasons that follow the model's advice, in years that it is not fitted to: to calibrate on.

An interval is true or not where it is read: on the mornings of fields that do as they are told. Seasons of growers'
own practice are others, and the years that a network was fitted to are better known to it than those to come. So a few
years are set aside: no example of theirs is fitted, and fields are lived under their weather by the rule alone.
"""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from fieldloop.core.dataset import Dataset
from fieldloop.workloads.agriculture.pretraining.counterfactuals import examples_of
from fieldloop.workloads.agriculture.pretraining.policy_search import follow
from fieldloop.workloads.agriculture.pretraining.training_world import TrainingWorld
from fieldloop.workloads.agriculture.pretraining.what_if import Floats, Rows, live

FOLLOWED = "followed"  # the period of such seasons: they are all set aside
# Practice has more of what there is most to learn from; an interval is of fields as recorded, in the years that come.
DROUGHT_SHARE, WIDE_SHARE = 0.1, 0.0
_ONE_YEAR_IN, _FROM = 5, 2


def years_set_aside(world: TrainingWorld) -> frozenset[int]:
    """Every fifth year that the world knows; none that is all a region has.

    A year that comes later moves none of them: what one version was not fitted to, the next is not fitted to either.
    """
    known: dict[str, set[int]] = {}
    for one in world.fields:
        known.setdefault(one.record["region"], set()).add(one.record["season"])
    chosen = set(sorted(set().union(*known.values()))[_FROM::_ONE_YEAR_IN])
    return frozenset(chosen - {year for years in known.values() if years <= chosen for year in years})


def without_years(world: TrainingWorld, years: Collection[int]) -> TrainingWorld:
    """The world of all other years: what a network is fitted to."""
    return world.within({one.record["season"] for one in world.fields}.difference(years))


def follow_advice(world: TrainingWorld, weights: Floats, count: int, seed: int) -> Dataset:
    """Mornings of `count` seasons under the rule of these weights (K,), all of them set aside."""
    rng = np.random.default_rng(seed)
    drawn = world.draw(count, seed, wide_share=WIDE_SHARE, drought_share=DROUGHT_SHARE)
    batch, rule, growing_days = drawn.fields.batch, follow(weights, drawn), np.zeros(count, np.int64)

    def decide(day: int, rows: Rows) -> tuple[Floats, Floats]:
        growing_days[~batch.is_finished] += 1
        return rule(day, rows)

    lived = live(drawn.fields, decide, keep_rows=True)
    done = lived.irrigation_mm, lived.nitrogen_kg_ha
    first = np.zeros(count, np.int64)
    examples = examples_of(rng, lived.rows, *done, lived.yield_t_ha, first, growing_days, FOLLOWED)
    return replace(examples, set_aside=frozenset({FOLLOWED}))
