"""The deployed form answers as the network does, wherever a device can ask, and an input that is no number shows."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloop.workloads import known_workload
from tests.training.small_training import scaled, small_examples

FEATURES = len(known_workload("agriculture").device.contract.features)


@pytest.fixture(scope="module")
def network() -> Any:
    """Every weight differs from its start, so that a term left out would show."""
    torch.manual_seed(3)
    made: Any = known_workload("agriculture").learner.network([16, 16], 0.1)
    with torch.no_grad():
        for weights in made.effects.parameters():
            weights += 0.2 * torch.randn_like(weights)
        made.stretch.copy_(0.2 * torch.randn_like(made.stretch))
        made.stretch[0] = torch.tensor([0.7, 1.4])
    return made.eval()


def both(network: Any, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return network.deployed().eval()(rows), network(rows)


def test_it_answers_the_same_on_fields_of_every_kind(network: Any) -> None:
    torch.testing.assert_close(*both(network, torch.from_numpy(scaled(small_examples()))), rtol=1e-4, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 30), reach=st.floats(0.1, 1.5))
def test_it_answers_the_same_as_far_as_the_devices_scaling_goes(network: Any, seed: int, reach: float) -> None:
    rows = reach * (2.0 * torch.rand(64, FEATURES, generator=torch.Generator().manual_seed(seed)) - 1.0)
    torch.testing.assert_close(*both(network, rows), rtol=1e-4, atol=2e-3)


def test_it_answers_the_same_in_the_corners(network: Any) -> None:
    corners = 3.0 * torch.randint(0, 2, (256, FEATURES), generator=torch.Generator().manual_seed(0)) - 1.5
    torch.testing.assert_close(*both(network, corners), rtol=1e-4, atol=5e-3)


def test_the_body_and_its_inputs_are_the_networks_own(network: Any) -> None:
    deployed = network.deployed()
    rows = torch.rand(4, FEATURES)
    assert deployed.body is network.body
    assert torch.equal(deployed.body_inputs(rows), network.body_inputs(rows))


def test_any_feature_that_is_no_number_makes_an_answer_that_is_none(network: Any) -> None:
    rows = torch.zeros(FEATURES, FEATURES)
    rows.fill_diagonal_(float("nan"))
    with torch.no_grad():
        answers = network.deployed().eval()(rows)
    assert not torch.isfinite(answers).all(dim=1).any()
