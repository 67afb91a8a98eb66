"""What compression is compared with: single weights at zero, the smallest ones."""

from typing import Any

import pytest
import torch

from benchmarks.small_models.sparse import unstructured, zero_share
from fieldloop.compression.prune import hidden_sizes
from fieldloop.workloads import known_workload


def test_unstructured_pruning_zeroes_the_smallest_weights_and_removes_nothing() -> None:
    torch.manual_seed(0)
    network: Any = known_workload("agriculture").learner.network([32, 16], 0.0)
    sparse: Any = unstructured(network, 0.6)
    assert zero_share(sparse) == pytest.approx(0.6, abs=0.01)
    assert hidden_sizes(sparse) == hidden_sizes(network)
    left = sparse.body[0].weight
    assert torch.equal(left[left != 0.0], network.body[0].weight[left != 0.0])
