"""A student comes nearer to its teacher, rounding can be learned with, and nothing that was given is changed."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fieldloop.compression import CompressionInputs
from fieldloop.compression.distil import Teachers, ensemble, fine_tuned, quantisation_aware, subset, swapped
from fieldloop.core.params import ModelParams
from fieldloop.workloads import known_workload
from fieldloop.workloads.agriculture.network.interval import one_for_all
from tests.training.small_training import PARAMS, scaled, small_examples

EXAMPLES = small_examples()
WORKLOAD = known_workload("agriculture")
TUNING: ModelParams = PARAMS.model_copy(update={"epochs": 3, "learning_rate": 0.005})


def small(seed: int = 5) -> Any:
    torch.manual_seed(seed)
    return WORKLOAD.learner.network([16, 8], 0.0)


def distance_sd(network: Any, teacher: nn.Module) -> float:
    inputs = torch.from_numpy(scaled(EXAMPLES))
    answers, told = (Teachers(WORKLOAD, [one]).answers(inputs) for one in (network, teacher))
    return float(((answers - told) / told.std(0)).square().mean().sqrt())


@pytest.mark.slow
def test_a_student_that_listens_comes_nearer_to_its_teacher_than_one_that_sees_outcomes_alone(
    inputs: CompressionInputs,
) -> None:
    listens = fine_tuned(WORKLOAD, small(), EXAMPLES, TUNING, [inputs.network], teacher_share=1.0)
    alone = fine_tuned(WORKLOAD, small(), EXAMPLES, TUNING)
    assert distance_sd(listens, inputs.network) < distance_sd(alone, inputs.network)
    assert distance_sd(listens, inputs.network) < distance_sd(small(), inputs.network)


@pytest.mark.slow
def test_fine_tuning_leaves_the_given_network_and_its_effects_alone_and_calibrates_the_new_one() -> None:
    given = small()
    given.effects.trigger_weights.data += 0.2
    before = {name: value.clone() for name, value in given.state_dict().items()}
    tuned: Any = fine_tuned(WORKLOAD, given, EXAMPLES, TUNING)
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())
    assert torch.equal(tuned.effects.trigger_weights, given.effects.trigger_weights)
    assert not torch.equal(tuned.body[0].weight, given.body[0].weight)
    assert not torch.equal(tuned.stretch, one_for_all(torch.ones(2)))


@pytest.mark.slow
def test_fine_tuning_again_gives_the_same_network() -> None:
    first, second = (fine_tuned(WORKLOAD, small(), EXAMPLES, TUNING) for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
def test_learning_with_rounding_makes_rounding_cost_less() -> None:
    """Two bits a weight, so that the cost is plain to see."""
    trained = fine_tuned(WORKLOAD, small(), EXAMPLES, TUNING.model_copy(update={"epochs": 8}))
    aware: Any = quantisation_aware(WORKLOAD, trained, EXAMPLES, TUNING, [trained], steps=1)
    assert [type(module) for module in aware.body] == [type(module) for module in trained.body]  # type: ignore[union-attr, arg-type]  # a module
    assert _rounded_loss(aware) < _rounded_loss(trained)


def _rounded_loss(network: Any) -> float:
    import copy

    rounded = copy.deepcopy(network).eval()
    with torch.no_grad():
        for layer in rounded.body:
            if isinstance(layer, nn.Linear):
                size = layer.weight.abs().amax(1, keepdim=True)
                layer.weight.copy_((layer.weight / size).round() * size)
        outputs = rounded(torch.from_numpy(scaled(EXAMPLES)))
        return float(WORKLOAD.learner.loss(outputs, torch.from_numpy(EXAMPLES.targets)))


@pytest.mark.slow
def test_an_ensemble_teaches_by_its_mean_and_keeps_what_surrounds_the_body() -> None:
    champion = small()
    champion.effects.trigger_weights.data += 0.3
    members: list[Any] = list(ensemble(WORKLOAD, champion, EXAMPLES, PARAMS, [24, 16], members=2))
    inputs = torch.from_numpy(scaled(EXAMPLES)[:50])
    each = [Teachers(WORKLOAD, [member]).answers(inputs) for member in members]
    assert not torch.equal(*each)
    torch.testing.assert_close(Teachers(WORKLOAD, members).answers(inputs), (each[0] + each[1]) / 2)
    for member in members:
        assert torch.equal(member.effects.trigger_weights, champion.effects.trigger_weights)


def test_a_subset_holds_whole_field_seasons_and_is_the_same_each_time() -> None:
    part = subset(EXAMPLES, 200, seed=1)
    assert len(part) == 200
    assert len(part.groups) == 8
    assert (np.bincount(part.group) == 25).all()
    np.testing.assert_array_equal(part.inputs, subset(EXAMPLES, 200, seed=1).inputs)
    first = EXAMPLES.groups.index(part.groups[0])
    np.testing.assert_array_equal(part.inputs[part.group == 0], EXAMPLES.inputs[EXAMPLES.group == first])
    assert subset(EXAMPLES, 10_000, seed=1) is EXAMPLES


def test_of_a_row_that_is_asked_about_some_features_are_those_of_one_other_row() -> None:
    torch.manual_seed(1)
    rows = torch.arange(64.0)[:, None] * 100 + torch.arange(50.0)
    asked = swapped(rows, 0.2)
    assert torch.equal(asked % 100, rows % 100)  # each feature stays in its column
    origins = (asked - rows % 100) // 100
    own = torch.arange(64.0)[:, None]
    assert 0.15 < float((origins != own).float().mean()) < 0.25
    for row, origin in zip(own[:, 0].tolist(), origins.tolist(), strict=True):
        assert len(set(origin) - {row}) <= 1


def test_nobody_cannot_teach() -> None:
    with pytest.raises(ValueError, match="there is no teacher"):
        Teachers(WORKLOAD, []).answers(torch.zeros(1, 55))
