"""What was so and what was believed on every morning of a benchmark's seasons: for pictures and calibration.

Everything is as it stood in the morning, before the day's irrigation; what no one said is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.closed_loop.harness import Decisions
from benchmarks.closed_loop.sites import Array
from benchmarks.closed_loop.thresholds import Thresholds
from fieldedge.workloads.agriculture.decision import Recommendation
from fieldedge.workloads.agriculture.features import INDEX
from fieldloop.workloads.agriculture.world.field_batch import FieldBatch


@dataclass(frozen=True, eq=False)
class Morning:
    """One day of N seasons, all (N,) but for the yields; NaN once a season is over."""

    depletion_mm: Array
    taw_mm: Array
    believed_depletion_mm: Array
    believed_raw_mm: Array
    irrigation_mm: Array  # applied on this day
    yields_t_ha: Array  # (N, 3): p10, p50, p90 as recommended; NaN also where the model abstained


@dataclass(frozen=True, eq=False)
class Watched:
    """A policy: those thresholds, with a diary."""

    thresholds: Thresholds
    diary: list[Morning]

    def decide(self, day: int, batch: FieldBatch) -> Decisions:
        """As the thresholds do. There is no RAW and no yield in their view."""
        decided, unsaid = self.thresholds.decide(day, batch), np.full(batch.size, np.nan)
        error = 0.0 if self.thresholds.error is None else self.thresholds.error[:, day]
        believed = _while_alive(batch, batch.depletion_mm + error * batch.taw_mm)
        true = (_while_alive(batch, batch.depletion_mm), _while_alive(batch, batch.taw_mm))
        self.diary.append(
            Morning(*true, believed, unsaid, _while_alive(batch, decided.astype(np.float64)), unsaid[:, None])
        )
        return decided


def morning_of(batch: FieldBatch, told: Sequence[Recommendation | None], irrigation_mm: Array) -> Morning:
    """The batch's morning beside what its devices said; None for one whose season is over."""
    seen = np.full((batch.size, 2), np.nan)
    yields = np.full((batch.size, 3), np.nan)
    for i, one in enumerate(told):
        if one is not None:
            raw_mm = one.features[INDEX["raw_fraction"]] * one.features[INDEX["taw_mm"]]
            seen[i] = one.features[INDEX["depletion_mm"]], raw_mm
            yields[i] = [
                np.nan if value is None else value
                for value in (one.yield_p10_t_ha, one.yield_p50_t_ha, one.yield_p90_t_ha)
            ]
    true = (_while_alive(batch, batch.depletion_mm), _while_alive(batch, batch.taw_mm))
    return Morning(*true, seen[:, 0], seen[:, 1], _while_alive(batch, irrigation_mm), yields)


def by_day(diary: Sequence[Morning], name: str) -> Array:
    """One of a morning's figures over the whole diary, (N, days) or (N, days, 3)."""
    figures: Array = np.stack([getattr(morning, name) for morning in diary], axis=1)
    return figures


def _while_alive(batch: FieldBatch, figures: Array) -> Array:
    return np.where(batch.is_finished, np.nan, figures)
