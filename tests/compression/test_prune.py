"""Neurons that matter stay, those that do not go, and what is left answers as before where only idle ones went."""

from typing import Any

import pytest
import torch
from torch import nn

from fieldloop.compression import OperatorError
from fieldloop.compression.prune import (
    hidden_sizes,
    importance,
    kept_sizes,
    structured,
)
from fieldloop.workloads import known_workload
from tests.training.small_training import scaled, small_examples

WORKLOAD = known_workload("agriculture")


@pytest.fixture
def half_idle() -> Any:
    """Of 32 neurons in the first layer and 16 in the second, every other one never reaches an output."""
    torch.manual_seed(0)
    network: Any = WORKLOAD.learner.network([32, 16], 0.0)
    with torch.no_grad():
        network.body[3].weight[:, ::2] = 0.0
        network.body[6].weight[:, ::2] = 0.0
    return network.eval()


def data() -> tuple[torch.Tensor, torch.Tensor]:
    examples = small_examples(field_seasons=8)
    return torch.from_numpy(scaled(examples)), torch.from_numpy(examples.targets)


def test_idle_neurons_have_no_importance(half_idle: Any) -> None:
    scores = importance(WORKLOAD.learner, half_idle, *data())
    assert [len(score) for score in scores] == [32, 16]
    for score in scores:
        assert float(score[::2].abs().max()) == 0.0
        assert float(score[1::2].max()) > 0.0


def test_a_network_without_its_idle_neurons_answers_the_same(half_idle: Any) -> None:
    inputs, targets = data()
    small = structured(WORKLOAD.learner, half_idle, 0.5, importance(WORKLOAD.learner, half_idle, inputs, targets))
    assert hidden_sizes(small) == [16, 8]
    with torch.no_grad():
        torch.testing.assert_close(small(inputs), half_idle(inputs))


def test_what_surrounds_the_body_is_kept(half_idle: Any) -> None:
    half_idle.effects.trigger_weights.data += 0.1
    half_idle.stretch.fill_(1.7)
    small: Any = structured(WORKLOAD.learner, half_idle, 0.5, [torch.rand(32), torch.rand(16)])
    assert torch.equal(small.effects.trigger_weights, half_idle.effects.trigger_weights)
    assert torch.equal(small.stretch, half_idle.stretch)


@pytest.mark.parametrize(
    ("keep", "sizes"), [(1.0, [256, 128, 20]), (0.375, [96, 48, 8]), (0.3, [80, 40, 8]), (0.001, [8, 8, 8])]
)
def test_layers_keep_whole_eights_and_never_nothing(keep: float, sizes: list[int]) -> None:
    assert kept_sizes([256, 128, 20], keep) == sizes


def test_a_body_whose_neurons_cannot_be_removed_is_refused_by_its_operator(half_idle: Any) -> None:
    half_idle.body.append(nn.LayerNorm(5))
    with pytest.raises(OperatorError, match=r"LayerNorm \(body.7\) cannot be pruned.*float32 ships instead"):
        hidden_sizes(half_idle)
