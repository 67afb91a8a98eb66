"""Thresholds on root-zone moisture by growth stage: decided from outside, as a device does, and tuned for profit.

A threshold is the percentage of total available water that is left when 25 mm is due. The moisture is that of the
evening before; under noise it has a probe's error: one bias for the season and white noise every day.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cma
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import differential_evolution

from benchmarks.closed_loop.harness import Decisions, Outcomes, Row, for_seeds, live
from benchmarks.closed_loop.sites import Array, Scenario, Site
from fieldedge.workloads.agriculture.agronomy import crop_coefficient, depletion_fraction
from fieldloop.workloads.agriculture.world.aquacrop_season import soil_water
from fieldloop.workloads.agriculture.world.climate import MAX_SEASON_DAYS
from fieldloop.workloads.agriculture.world.field_batch import FieldBatch
from fieldloop.workloads.agriculture.world.plots import WEATHER_COLUMNS

RAINFED, FAO56_TRUE = "rainfed", "FAO-56 rule, true state"
TUNED_TRUE, TUNED_NOISY = "thresholds tuned, true state", "thresholds tuned, noisy sensors"
BIAS_SD_M3_M3, WHITE_SD_M3_M3 = 0.008, 0.004  # of the root zone's mean moisture
CANDIDATES_A_PARAMETER = 10
GENERATIONS = 20
TUNING_SEEDS = tuple(range(8))
SOON_GENERATIONS, SOON_CANDIDATES, SOON_SEEDS = 15, 8, tuple(range(4))
SOON_START_PCT, SOON_STEP_PCT = (5.0, 45.0, 40.0, 20.0), 15.0


@dataclass(frozen=True, eq=False)
class Thresholds:
    """A policy. `moisture_pct` is (N, 4) by growth stage; `error` (N, days) adds to the depletion as a fraction.

    Where the soil's field capacity is told wrong, `told` makes of a true depletion the one that is believed.
    """

    moisture_pct: Array
    error: Array | None = None
    told: tuple[float, float] | None = None  # see `told_otherwise`
    _rows: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rows", np.arange(len(self.moisture_pct)))

    def decide(self, day: int, batch: FieldBatch) -> Decisions:
        """Whose root zone is drier than its stage's threshold; nobody on planting day."""
        if day == 0:
            return np.zeros(batch.size, dtype=np.bool_)
        depletion = batch.depletion_mm / batch.taw_mm
        if self.error is not None:
            depletion = depletion + self.error[:, day]
        if self.told is not None:
            depletion = self.told[0] + self.told[1] * depletion
        limits = self.moisture_pct[self._rows, np.maximum(batch.growth_stage - 1, 0)]
        is_due: Decisions = depletion > 1 - limits / 100
        return is_due


class Fao56Rule:
    """A policy: 25 mm when depletion passes the readily available water (FAO-56 eq. 83), with the true state."""

    def decide(self, day: int, batch: FieldBatch) -> Decisions:
        """Whose depletion is beyond p of what is available, p being adjusted for the last day's demand."""
        if day == 0:
            return np.zeros(batch.size, dtype=np.bool_)
        demands_mm = crop_coefficient(day - 1) * batch.weather[:, WEATHER_COLUMNS.index("et0_mm")]
        p = np.array([depletion_fraction(demand) for demand in demands_mm])
        is_due: Decisions = batch.depletion_mm > p * batch.taw_mm
        return is_due


def depletion_errors(site: Site, seasons: Sequence[int], seeds: Sequence[int]) -> Array:
    """Errors of the measured depletion as a fraction of available water, (seeds x seasons, days), seed by seed."""
    water = soil_water(site.soil)
    available_m3_m3 = water.field_capacity_m3_m3 - water.wilting_point_m3_m3
    errors = [_moisture_error(seed, season) for seed in seeds for season in seasons]
    return np.array(errors) / available_m3_m3


def tuned(site: Site, scenario: Scenario, seeds: Sequence[int], threads: int | None = 1) -> list[float]:
    """Thresholds (4,) with the highest mean profit on the tuning seasons; no seeds: under the true state."""
    plots = for_seeds(site.plots(site.tuned_on), seeds or (0,))
    errors = depletion_errors(site, site.tuned_on, seeds) if seeds else None

    def losses(candidates: Array) -> Array:
        count = candidates.shape[1]
        pct = np.repeat(candidates.T, len(plots), axis=0)
        error = None if errors is None else np.tile(errors, (count, 1))
        profit = live(plots * count, Thresholds(pct, error), scenario, threads=threads).profit_usd_ha
        return -profit.reshape(count, len(plots)).mean(axis=1)

    found = differential_evolution(
        losses,
        bounds=[(0.0, 100.0)] * 4,
        popsize=CANDIDATES_A_PARAMETER,
        maxiter=GENERATIONS,
        tol=0.0,
        polish=False,
        vectorized=True,
        updating="deferred",
        rng=np.random.default_rng(1),
    )
    return [round(float(value), 3) for value in found.x]


def tuned_soon(site: Site, scenario: Scenario, seeds: Sequence[int]) -> list[float]:
    """As `tuned`, by fewer seasons: for many settings. CMA-ES from the FAO-56 stages' usual fractions."""
    plots, errors = for_seeds(site.plots(site.tuned_on), seeds), depletion_errors(site, site.tuned_on, seeds)
    options = {"popsize": SOON_CANDIDATES, "verbose": -9, "seed": 1, "bounds": [0.0, 100.0]}
    evolution = cma.CMAEvolutionStrategy(np.array(SOON_START_PCT), SOON_STEP_PCT, options)
    for _ in range(SOON_GENERATIONS):
        asked = np.array(evolution.ask())
        policy = Thresholds(np.repeat(asked, len(plots), axis=0), np.tile(errors, (SOON_CANDIDATES, 1)))
        earned = live(plots * SOON_CANDIDATES, policy, scenario, threads=None).profit_usd_ha
        evolution.tell(list(asked), (-earned.reshape(SOON_CANDIDATES, -1).mean(axis=1)).tolist())
    return [round(float(value), 3) for value in evolution.result.xbest]


def told_otherwise(soil: str, capacity_error: float) -> tuple[float, float]:
    """(a, b) so that a + b x is the depletion fraction believed of a true one, where field capacity is told too high.

    What probes measure is moisture; from a field capacity that is too high more of it seems to be gone.
    """
    water = soil_water(soil)
    true = water.field_capacity_m3_m3 - water.wilting_point_m3_m3
    more = water.field_capacity_m3_m3 * capacity_error
    return more / (true + more), true / (true + more)


def thresholds_row(
    name: str, site: Site, scenario: Scenario, moisture_pct: Sequence[float], seeds: Sequence[int], threads: int | None
) -> Row:
    """The test seasons under those thresholds; no seeds: under the true state."""
    plots = for_seeds(site.plots(site.tested_on), seeds or (0,))
    errors = depletion_errors(site, site.tested_on, seeds) if seeds else None
    pct = np.tile(np.asarray(moisture_pct, dtype=np.float64), (len(plots), 1))
    return _row(name, site, live(plots, Thresholds(pct, errors), scenario, threads=threads))


def fao56_row(site: Site, scenario: Scenario, threads: int | None) -> Row:
    """The test seasons under the FAO-56 rule."""
    return _row(FAO56_TRUE, site, live(site.plots(site.tested_on), Fao56Rule(), scenario, threads=threads))


def rainfed_row(site: Site, scenario: Scenario, threads: int | None) -> Row:
    """The test seasons without irrigation: thresholds that nothing passes."""
    return thresholds_row(RAINFED, site, scenario, [0.0] * 4, (), threads)


def _row(name: str, site: Site, lived: Outcomes) -> Row:
    return Row(name, site.tested_on, lived.reshaped(-1, len(site.tested_on)))


def _moisture_error(seed: int, season: int) -> Array:
    rng = np.random.default_rng((seed, season))
    return rng.normal(0.0, BIAS_SD_M3_M3) + rng.normal(0.0, WHITE_SD_M3_M3, MAX_SEASON_DAYS + 1)
