"""Seasons lived in lockstep, a decision a day: 0 or 25 mm, and never more than the season's allowance.

A decider sees the state of the evening before, never the day that it decides for. Profit is the scenario's. Who
decides, and from how true a view of the state, is the decider's own matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.closed_loop.sites import DOSE_MM, Array, Scenario
from fieldloop.workloads.agriculture.world.field_batch import FieldBatch, field_batch
from fieldloop.workloads.agriculture.world.plots import Plot

Decisions = NDArray[np.bool_]


class Policy(Protocol):
    """Decides on irrigation. `batch` has lived the days before `day`, day 0 being planting day."""

    def decide(self, day: int, batch: FieldBatch) -> Decisions:
        """Who irrigates on that day, (N,)."""


class NitrogenPlan(Protocol):
    """Decides on nitrogen, from the same view as a `Policy`."""

    def doses(self, day: int, batch: FieldBatch) -> Array:
        """kg/ha on that day, (N,)."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """How seasons ended; arrays of one shape: (N,) as lived, or (seeds, seasons) in a `Row`."""

    profit_usd_ha: Array
    yield_t_ha: Array
    irrigation_mm: Array
    nitrogen_kg_ha: Array
    leached_kg_ha: Array

    def reshaped(self, *shape: int) -> "Outcomes":
        """The same figures in that shape."""
        return Outcomes(**{name: getattr(self, name).reshape(shape) for name in self.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class Row:
    """A row of a table: what one decider made of the test seasons. `outcomes` are (seeds, seasons)."""

    name: str
    seasons: tuple[int, ...]
    outcomes: Outcomes

    @property
    def profit_by_season_usd_ha(self) -> Array:
        """Mean over the noise seeds, (seasons,)."""
        mean: Array = self.outcomes.profit_usd_ha.mean(axis=0)
        return mean


def live(
    plots: Sequence[Plot],
    policy: Policy,
    scenario: Scenario,
    nitrogen: NitrogenPlan | None = None,
    threads: int | None = 1,
    delivered_share: float = 1.0,
    simulated: FieldBatch | None = None,
) -> Outcomes:
    """Every plot from planting to harvest, (N,).

    Of the water that is paid `delivered_share` arrives. `simulated` are the plots in another simulator than AquaCrop.
    """
    batch = field_batch(plots, threads) if simulated is None else simulated
    nothing, paid = np.zeros(batch.size), np.zeros(batch.size)
    while not batch.is_finished.all():
        is_allowed = (paid + DOSE_MM <= scenario.water_cap_mm + 1e-9) & ~batch.is_finished
        depth = DOSE_MM * (policy.decide(batch.day, batch) & is_allowed)
        paid += depth
        batch.step(delivered_share * depth, nothing if nitrogen is None else nitrogen.doses(batch.day, batch))
    return outcomes_of(batch, scenario, paid)


def outcomes_of(batch: FieldBatch, scenario: Scenario, paid_mm: Array | None = None) -> Outcomes:
    """What a batch of finished seasons brought; `paid_mm` (N,) where less arrived than was paid."""
    figures = (batch.yield_t_ha, batch.irrigation_mm if paid_mm is None else paid_mm, batch.nitrogen_kg_ha)
    return Outcomes(scenario.profit_usd_ha(*figures), *figures, batch.leached_kg_ha)


def for_seeds(plots: Sequence[Plot], seeds: Sequence[int]) -> list[Plot]:
    """All plots once for each seed, seed by seed: what `Row` wants after `Outcomes.reshaped(seeds, seasons)`."""
    return [plot for _ in seeds for plot in plots]


def joined(rows: Sequence[Row]) -> Row:
    """One row of several with the same name and seeds but other seasons, in the order of the seasons."""
    seasons = [season for row in rows for season in row.seasons]
    order = np.argsort(seasons)
    fields = Outcomes.__dataclass_fields__
    together = {n: np.concatenate([getattr(row.outcomes, n) for row in rows], axis=1)[:, order] for n in fields}
    return Row(rows[0].name, tuple(sorted(seasons)), Outcomes(**together))
