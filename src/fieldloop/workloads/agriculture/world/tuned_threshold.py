"""The best threshold rule that a grower could have tuned on the past of the own region.

The fixed rule of `params.yaml` is one for all soils and climates. This one is searched, for profit, over fields of the
region's past seasons with their own soils, prices and sensors, and is one rule for the region: what a good adviser
there would have come to before the season that it is compared in.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from fieldloop.workloads.agriculture.world.practices import Threshold
from fieldloop.workloads.agriculture.world.seasons import run_practices
from fieldloop.workloads.agriculture.world.world import FieldSpec, field_specs

NAME = "tuned_threshold"
FIELDS_A_SEASON = 2
GENERATIONS, CANDIDATES = 5, 6
LOWEST, HIGHEST, FIRST_STEP = 0.05, 1.2, 0.15  # of depletion over what is available; nothing passes the highest
_SEED = 7_003


@cache
def tuned_threshold(region: str, past: tuple[int, ...], fields: int, seed: int, start: Threshold) -> Threshold:
    """`start` with the depletion fractions that earned most on fields of these seasons; as it is where there is none.

    Args:
        past: harvest years.
        fields: how many fields the region has, of which each season lends a few.
        seed: of the world that the fields are drawn from.
    """
    specs = _past_fields(region, past, fields, seed)
    found = start.depletion_fractions if not specs else _searched(specs, start)
    return replace(start, depletion_fractions=found, name=NAME)


def _past_fields(region: str, past: Sequence[int], fields: int, seed: int) -> list[FieldSpec]:
    """Other fields of each season in turn, so that few cover the region's soils and prices."""
    found: list[FieldSpec] = []
    for number, season in enumerate(past):
        drawn = field_specs(region, season, fields, seed, NAME)
        found += [drawn[(FIELDS_A_SEASON * number + more) % fields] for more in range(min(FIELDS_A_SEASON, fields))]
    return found


def _searched(specs: Sequence[FieldSpec], start: Threshold) -> tuple[float, float, float, float]:
    import cma  # no other part of this room searches, and most processes that load it never do

    options = {"popsize": CANDIDATES, "verbose": -9, "seed": _SEED, "bounds": [LOWEST, HIGHEST]}
    evolution = cma.CMAEvolutionStrategy(np.array(start.depletion_fractions), FIRST_STEP, options)
    for _ in range(GENERATIONS):
        asked = evolution.ask()
        rules = [replace(start, depletion_fractions=_fractions(candidate)) for candidate in asked]
        outcomes = run_practices([(spec, rule) for rule in rules for spec in specs], workers=1)
        earned = np.array([outcome.profit_usd_ha for outcome in outcomes]).reshape(CANDIDATES, len(specs))
        evolution.tell(asked, (-earned.mean(axis=1)).tolist())
    return _fractions(evolution.result.xfavorite)


def _fractions(values: Sequence[float]) -> tuple[float, float, float, float]:
    first, second, third, last = (round(float(value), 3) for value in values)
    return first, second, third, last
