"""Files are compared by the device's own decisions: a model agrees with itself, another one costs what it costs."""

import numpy as np
import pytest

from fieldedge.contract import MODEL
from fieldedge.workloads.agriculture import layout as at
from fieldedge.workloads.agriculture.decision import largest_depth_mm, largest_dose_kg_ha
from fieldedge.workloads.agriculture.features import INDEX
from fieldedge.workloads.agriculture.waiting import latest_fraction
from fieldloop.workloads import known_workload
from fieldloop.workloads.agriculture.advice import advice, as_advised, recommendations, values_usd_ha
from fieldloop.workloads.agriculture.pretraining.training_world import TrainingWorld
from tests.training.small_training import small_examples
from tests.workloads.agriculture.test_practice import tables, world

__all__ = ["tables", "world"]  # fixtures

WORKLOAD = known_workload("agriculture")
Rows = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def mornings() -> Rows:
    """Thirsty fields in the middle of the season: water is due everywhere, and may wait a little."""
    rows = small_examples(field_seasons=2, days=20).inputs.copy()
    rows[:, INDEX["dap"]] = 60.0
    rows[:, INDEX["taw_mm"]] = 150.0
    rows[:, INDEX["depletion_mm"]] = 84.0
    rows[:, INDEX["depletion_fraction"]] = 0.56
    rows[:, INDEX["water_uncertainty"]] = 0.05
    rows[:, INDEX["raw_fraction"]] = 0.5
    rows[:, INDEX["allowance_left_mm"]] = 300.0
    rows[:, INDEX["irrigation_capacity_mm"]] = 30.0
    rows[:, INDEX["nitrogen_need_kg_ha"]] = 0.0
    rows[:, INDEX["water_cost_kg_mm"]] = 5.0
    return rows


class Gains:
    """A model to which a millimetre brings so many kilograms."""

    def __init__(self, kg_mm: float, width_t_ha: float = 2.0) -> None:
        self.kg_mm, self.width_t_ha = kg_mm, width_t_ha

    def __call__(self, scaled: Rows) -> Rows:
        index = INDEX["candidate_irrigation_mm"]
        depth_mm = (scaled[:, index] + 1.0) * 30.0
        outputs = np.zeros((len(scaled), 5), np.float32)
        outputs[:, 1] = 9.0 + self.kg_mm * depth_mm / 1000.0
        outputs[:, 0], outputs[:, 2] = outputs[:, 1] - self.width_t_ha / 2, outputs[:, 1] + self.width_t_ha / 2
        return outputs


def test_a_model_for_which_water_pays_advises_water_and_one_for_which_it_does_not_advises_none() -> None:
    wet, dry = advice(mornings(), Gains(10.0)), advice(mornings(), Gains(1.0))
    assert (wet[:, 0] > 20.0).all()
    assert (dry[:, 0] == 0.0).all()
    assert {one.source for one in recommendations(mornings(), Gains(10.0))} == {MODEL}


def test_a_model_that_knows_too_little_abstains_as_on_a_device() -> None:
    told = advice(mornings(), Gains(1.0, width_t_ha=20.0))
    assert (told[:, 0] > 20.0).all()  # the balance decides: such a model, sure of itself, advises none
    assert MODEL not in {one.source for one in recommendations(mornings(), Gains(1.0, width_t_ha=20.0))}


def test_a_model_agrees_with_itself_and_regrets_nothing() -> None:
    told = WORKLOAD.agreement(mornings(), Gains(10.0), Gains(10.0))
    assert told.is_same.all()
    assert (told.regret == 0.0).all()


def test_another_action_costs_what_the_reference_expects_of_it() -> None:
    told = WORKLOAD.agreement(mornings(), Gains(10.0), Gains(1.0))
    assert not told.is_same.any()
    depth = advice(mornings(), Gains(10.0))[:, 0]
    np.testing.assert_allclose(told.regret, (10.0 - 5.0) * depth * 0.18, rtol=1e-2)


def test_values_are_money_per_hectare() -> None:
    rows = mornings()[:1]
    idle, watered = (values_usd_ha(rows, np.array([[mm, 0.0]]), Gains(10.0))[0] for mm in (0.0, 20.0))
    assert idle == pytest.approx(9.0 * 180.0, rel=1e-3)
    assert watered - idle == pytest.approx(20.0 * (10.0 - 5.0) * 0.18, rel=1e-2)


def test_where_the_balances_allow_nothing_nothing_is_advised_whoever_decides() -> None:
    rows = mornings()
    rows[:, INDEX["depletion_mm"]], rows[:, INDEX["depletion_fraction"]] = 20.0, 0.13
    assert not largest_depth_mm(rows, np.full(len(rows), 0.85, np.float32)).any()
    assert not largest_dose_kg_ha(rows).any()
    for predict in (Gains(10.0), Gains(1.0, width_t_ha=20.0)):
        assert not advice(rows, predict).any()


@pytest.mark.slow
def test_in_the_closed_loop_fields_whose_crops_do_not_as_foretold_get_the_rules_water(world: TrainingWorld) -> None:
    drawn, idle, day = world.draw(8, 5), np.zeros(8), 0
    while day < 70:
        drawn.fields.step(idle, idle)
        day += 1
    rows, never = drawn.fields.features(), Gains(-50.0)
    state = drawn.fields.devices.values
    state[:, at.CANOPY_FLIGHTS], state[:, at.CANOPY_SURPRISE] = 1.0, 0.0
    by_rule = as_advised(drawn, None)(day, rows)[0]
    waited = np.where(rows[:, INDEX["depletion_fraction"]] >= latest_fraction(rows), by_rule, 0.0)
    np.testing.assert_array_equal(as_advised(drawn, never)(day, rows)[0], waited)
    assert (by_rule > 0.0).any()
    state[:4, at.CANOPY_SURPRISE] = -9.0
    leaning = as_advised(drawn, never)(day, rows)[0]
    np.testing.assert_array_equal(leaning[:4], by_rule[:4])
    np.testing.assert_array_equal(leaning[4:], waited[4:])
