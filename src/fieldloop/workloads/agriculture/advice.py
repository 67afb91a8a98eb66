"""What a model file would advise: the device's own decision on given mornings, and over whole simulated seasons.

Nothing is decided here. Every morning goes through `recommend_from_state` as it does on a device; only the fields are
many, and the state that a device keeps is given as the row of features that it had come to. In whole seasons it comes
with what the device has seen of its crop, so that it leans on the rule as a device would; a row that was only kept has
no such evidence, and says what the model would, trusted fully.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fieldedge.contract import Record
from fieldedge.workload import Predict
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.decision import (
    Recommendation,
    largest_depth_mm,
    largest_dose_kg_ha,
    recommend_from_state,
)
from fieldedge.workloads.agriculture.evidence import NOTHING_SEEN, Evidence
from fieldedge.workloads.agriculture.features import INDEX, Array, Forecast, with_actions
from fieldedge.workloads.agriculture.learned import Learned
from fieldloop.workload import Agreement
from fieldloop.workloads.agriculture.pretraining.faults import Faults
from fieldloop.workloads.agriculture.pretraining.policy_search import habit_kg_ha, profits_usd_ha
from fieldloop.workloads.agriculture.pretraining.practice_ranges import WIDE_SHARE
from fieldloop.workloads.agriculture.pretraining.training_world import Drawn, TrainingWorld
from fieldloop.workloads.agriculture.pretraining.what_if import Decide, Floats, Rows, live

_PLANTING = date(2001, 4, 20)
_GRAIN_PRICE_USD_T = 180.0  # rows hold prices in grain; a middle price makes them money
_APPLICATION_EFFICIENCY = 0.85


@dataclass(frozen=True)
class Morning:
    """What a device knows one morning, where only its row of features was kept, and what it has seen of the crop."""

    row: Array
    dap: int
    days_without_reading: int = 0
    evidence: Evidence = NOTHING_SEEN
    learned: tuple[Learned, ...] = ()

    def features(self, _forecast: Forecast | None = None) -> Array:
        """The row, in physical units."""
        return self.row


def advice(rows: Rows, predict: Predict) -> Floats:
    """What the device would advise on mornings with these rows (N, F), physical units: (N, 2) mm and kg/ha."""
    told = recommendations(rows, predict)
    return np.array([(one.irrigation_mm, one.nitrogen_kg_ha) for one in told]).reshape(-1, 2)


def recommendations(rows: Rows, predict: Predict) -> list[Recommendation]:
    """The same, with who decided and why: one for each row (N, F), physical units."""
    mornings = (Morning(row, round(float(row[INDEX["dap"]]))) for row in rows)
    return [_recommended(morning, _record_of(morning.row), predict) for morning in mornings]


def values_usd_ha(rows: Rows, actions: Floats, predict: Predict) -> Floats:
    """What the model expects of these actions on these mornings (N,), as the decision values them."""
    asked = np.concatenate(
        [
            with_actions(row, np.float32([mm]), np.float32([kg]))  # type: ignore[arg-type]  # arrays of one
            for row, (mm, kg) in zip(rows, actions, strict=True)
        ]
    )
    outputs = predict(CONTRACT.scale(asked)).astype(np.float64)
    grain_kg = 1000.0 * outputs[:, 1]
    grain_kg -= rows[:, INDEX["water_cost_kg_mm"]] * (actions[:, 0] + outputs[:, 3])
    grain_kg -= rows[:, INDEX["nitrogen_cost_kg_kg"]] * (actions[:, 1] + outputs[:, 4])
    usd: Floats = grain_kg * (_GRAIN_PRICE_USD_T / 1000.0)
    return usd


def closed_loop_profits_usd_ha(
    world: TrainingWorld,
    predict: Predict | None,
    fields: int,
    seed: int,
    wide_share: float = WIDE_SHARE,
    faults: Faults | None = None,
) -> Floats:
    """What simulated fields earn under this model's advice (N,): the same fields and weather for the same arguments.

    Without a model the device's own FAO-56 rule advises. `wide_share` and `faults` are those of `TrainingWorld.draw`.
    """
    drawn = world.draw(fields, seed, wide_share=wide_share, faults=faults)
    return profits_usd_ha(live(drawn.fields, as_advised(drawn, predict)), drawn)


@dataclass(frozen=True, eq=False)
class _Tables:
    """The very same tables, not equal ones: what a step reads once it gives to every file that it measures."""

    tables: Mapping[str, pd.DataFrame]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Tables) and self.tables is other.tables

    def __hash__(self) -> int:
        return id(self.tables)


@lru_cache(maxsize=1)
def _world_of(kept: _Tables) -> TrainingWorld:
    return TrainingWorld.of(kept.tables)


def world_of_value(tables: Mapping[str, pd.DataFrame]) -> TrainingWorld:
    """The world that a file's value is measured in; kept for the next file, which is measured in the same."""
    return _world_of(_Tables(tables))


def as_advised(drawn: Drawn, predict: Predict | None) -> Decide:
    """What the devices of these fields advise each morning, by what they know and have seen by then."""
    prices = (drawn.grain_price_usd_t, drawn.water_price_usd_mm, drawn.nitrogen_price_usd_kg)
    records = [_record(*values) for values in zip(*prices, drawn.fields.application_efficiency, strict=True)]
    efficiency = drawn.fields.application_efficiency.astype(np.float32)

    def decide(day: int, rows: Rows) -> tuple[Floats, Floats]:
        # Where the balances allow neither water nor nitrogen, nothing is all that can be advised: most mornings.
        has_choice = (largest_depth_mm(rows, efficiency) > 0.0) | (largest_dose_kg_ha(rows) > 0.0)
        seen = drawn.fields.devices.evidence()
        actions = np.zeros((len(rows), 2))
        for i in np.flatnonzero(has_choice & ~drawn.fields.batch.is_finished):
            told = _recommended(Morning(rows[i], day, evidence=Evidence(*seen[i].tolist())), records[i], predict)
            actions[i] = told.irrigation_mm, told.nitrogen_kg_ha
        return actions[:, 0], habit_kg_ha(day, actions[:, 1], drawn.has_ample_nitrogen)

    return decide


def _recommended(morning: Morning, record: Record, predict: Predict | None) -> Recommendation:
    today = (_PLANTING + timedelta(morning.dap)).isoformat()
    return recommend_from_state(record, morning, today, predict)  # type: ignore[arg-type]  # all that it asks of a state


def _record_of(row: Array) -> Record:
    water, nitrogen = (float(row[INDEX[name]]) for name in ("water_cost_kg_mm", "nitrogen_cost_kg_kg"))
    price = _GRAIN_PRICE_USD_T
    return _record(price, water * price / 1000.0, nitrogen * price / 1000.0, _APPLICATION_EFFICIENCY)


def _record(grain_usd_t: float, water_usd_mm: float, nitrogen_usd_kg: float, efficiency: float) -> Record:
    """What the decision reads of a field's record."""
    return {
        "planting_date": _PLANTING.isoformat(),
        "application_efficiency": float(efficiency),
        "grain_price_usd_t": float(grain_usd_t),
        "water_price_usd_mm": float(water_usd_mm),
        "nitrogen_price_usd_kg": float(nitrogen_usd_kg),
    }


@dataclass(frozen=True)
class _Asked:
    """Mornings by their content, and the model that is asked about them: many files are compared with one."""

    content: bytes
    predict: Predict
    rows: Rows = field(compare=False)


@lru_cache(maxsize=1)
def _advice_of_reference(asked: _Asked) -> Floats:
    return advice(asked.rows, asked.predict)


def agreement(rows: Rows, reference: Predict, other: Predict) -> Agreement:
    """Whether both advise the same on these mornings (N,), and what the other's costs by the reference, USD/ha."""
    ours = _advice_of_reference(_Asked(rows.tobytes(), reference, rows))
    theirs = ours if other is reference else advice(rows, other)
    same: NDArray[np.bool_] = np.all(np.isclose(ours, theirs, atol=0.05), axis=1)
    regret: Floats = np.zeros(len(rows))
    differs: Sequence[int] = np.flatnonzero(~same).tolist()
    if differs:
        chosen = [values_usd_ha(rows[differs], one[differs], reference) for one in (ours, theirs)]
        regret[differs] = np.maximum(chosen[0] - chosen[1], 0.0)
    return Agreement(same, regret)
