"""The floor that a model must pass alone: the rule in the box and tuned thresholds live the same fields as it does."""

import numpy as np
import pandas as pd
import pytest

from fieldedge.workloads.agriculture.features import FEATURES, Array
from fieldloop.core.dataset import Dataset
from fieldloop.workloads.agriculture.floor import START_FRACTIONS, at_fractions, floor_values, tuned_fractions
from fieldloop.workloads.agriculture.params import FloorParams, GateParams
from fieldloop.workloads.agriculture.pretraining.policy_search import profits_usd_ha
from fieldloop.workloads.agriculture.pretraining.training_world import TrainingWorld
from fieldloop.workloads.agriculture.pretraining.what_if import live
from tests.workloads.agriculture.test_practice import tables, world

__all__ = ["tables", "world"]  # fixtures
DAYS = 5
HELD_OUT = Dataset(
    np.zeros((4 * DAYS, len(FEATURES)), np.float32),
    np.repeat(np.float32([[9.0, 0, 0], [10.0, 0, 0], [11.0, 0, 0], [12.0, 0, 0]]), DAYS, axis=0),
    np.repeat(np.arange(4, dtype=np.int32), DAYS),
    ("2005/a", "2005/b", "2005/c", "2005/d"),
)
SMALL = FloorParams(fields=12, generations=3, population=6, seasons=16)
GATES = GateParams(holdout_seasons=(2005,), bootstrap_draws=200, max_error_increase_pct=5.0, floor=SMALL)


def never(rows: Array) -> Array:
    """A model by which every action costs more than it earns."""
    outputs = np.zeros((len(rows), 5), np.float32)
    outputs[:, :3] = np.float32([9.0, 10.0, 11.0])
    return outputs


def no_number(rows: Array) -> Array:
    """A model that always abstains, so that the device's own rule decides."""
    return np.full((len(rows), 5), np.nan, np.float32)


@pytest.mark.slow
def test_the_same_fields_are_lived_by_all_and_the_same_again(tables: dict[str, pd.DataFrame]) -> None:
    found = floor_values(tables, tables, HELD_OUT, no_number, GATES)
    rule, thresholds = found.others
    assert (rule.name, thresholds.name) == ("rule", "thresholds")
    assert found.model.shape == rule.values.shape == thresholds.values.shape == (SMALL.fields,)
    np.testing.assert_array_equal(found.model, rule.values)  # who always abstains earns what the rule earns
    again = floor_values(tables, tables, HELD_OUT, no_number, GATES)
    np.testing.assert_array_equal(thresholds.values, again.others[1].values)
    assert found.figures == again.figures
    assert found.champion is None
    assert [(one.name, one.members.tolist()) for one in found.slices] == [
        (one.name, one.members.tolist()) for one in again.slices
    ]
    off = HELD_OUT.targets[::DAYS, 0] - tables["harvests"]["yield_t_ha"].mean()
    assert found.naive_value == pytest.approx(np.sqrt(np.mean(off**2)))


@pytest.mark.slow
def test_a_model_that_never_acts_earns_less_than_the_rule(tables: dict[str, pd.DataFrame]) -> None:
    found = floor_values(tables, tables, HELD_OUT, never, GATES, champion=no_number)
    assert found.champion is not None
    np.testing.assert_array_equal(found.champion, found.others[0].values)  # who lives the very same fields
    assert found.model.mean() < found.others[0].values.mean() - 50.0


@pytest.mark.slow
def test_tuned_thresholds_earn_more_than_a_bad_setting_on_fields_that_they_were_not_tuned_on(
    world: TrainingWorld,
) -> None:
    tuned = tuned_fractions(world, SMALL)
    drawn = world.draw(24, 99)

    def earned(fractions: np.ndarray) -> float:  # type: ignore[type-arg]  # (4,)
        fields = drawn.tiled(1)
        return float(profits_usd_ha(live(fields.fields, at_fractions(fractions, fields)), fields).mean())

    assert earned(tuned) > earned(np.array([1.2, 1.2, 1.2, 1.2]))
    assert earned(tuned) > earned(np.array(START_FRACTIONS)) - 20.0
