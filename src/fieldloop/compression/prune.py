"""Fewer neurons, so that the file and the time shrink on any processor.

Which ones go is measured: how much the loss would change without each (first-order Taylor: |activation x gradient|;
Molchanov et al. 2017, doi:10.48550/arXiv.1611.06440).
"""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fieldloop.compression.calibration import INSTEAD, OperatorError
from fieldloop.workload import Learner

_ROUND_TO = 8  # kernels work on eight neurons at a time


def hidden_sizes(network: nn.Module) -> list[int]:
    """The widths of the body's hidden layers."""
    return [layer.out_features for layer in _layers(network)[:-1]]


def kept_sizes(hidden: Sequence[int], keep: float) -> list[int]:
    """The widths that are left of `hidden`, in whole eights."""
    return [min(size, max(_ROUND_TO, _ROUND_TO * math.ceil(keep * size / _ROUND_TO))) for size in hidden]


def with_other_body(learner: Learner, network: nn.Module, hidden: Sequence[int], dropout: float) -> nn.Module:
    """A fresh body of these hidden layers; what surrounds it is the network's."""
    fresh = learner.network(hidden, dropout)
    state = {name: value for name, value in network.state_dict().items() if not name.startswith("body.")}
    fresh.load_state_dict(state, strict=False)
    return fresh


def importance(learner: Learner, network: nn.Module, inputs: Tensor, targets: Tensor) -> list[Tensor]:
    """How much the loss hangs on each hidden neuron, one tensor per hidden layer, measured on scaled rows (N, F)."""
    model = copy.deepcopy(network).eval()
    seen: list[Tensor] = []

    def keep_output(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        output.retain_grad()
        seen.append(output)

    layers = _layers(model)
    hooks = [layer.register_forward_hook(keep_output) for layer in layers[:-1]]
    loss = learner.loss(model(inputs.requires_grad_(True)), targets)
    loss.backward()
    for hook in hooks:
        hook.remove()
    # The rectifier passes what is positive: a neuron's effect is its positive output's.
    return [(output.clamp(min=0.0) * output.grad).abs().sum(0).detach() for output in seen]


def structured(
    learner: Learner, network: nn.Module, keep: float, scores: Sequence[Tensor], dropout: float = 0.0
) -> nn.Module:
    """A smaller network of the neurons that matter most; everything around the body is the same.

    Args:
        dropout: of the smaller network. A teacher keeps it from learning by heart, so it needs none.
    """
    layers = _layers(network)
    sizes = kept_sizes(hidden_sizes(network), keep)
    smaller = with_other_body(learner, network, sizes, dropout)
    before = torch.arange(layers[0].in_features)
    chosen = [score.topk(size).indices.sort().values for score, size in zip(scores, sizes, strict=True)]
    with torch.no_grad():
        for old, new, after in zip(layers, _layers(smaller), [*chosen, None], strict=True):
            rows = old.weight if after is None else old.weight[after]
            new.weight.copy_(rows[:, before])
            new.bias.copy_(old.bias if after is None else old.bias[after])
            before = before if after is None else after
    return smaller.eval()


def _layers(network: Any) -> list[Any]:
    """The body's linear layers.

    Raises:
        OperatorError: the body has a layer whose neurons cannot be removed.
    """
    known = (nn.Linear, nn.ReLU, nn.Dropout)
    for name, module in network.body.named_children():
        if not isinstance(module, known):
            raise OperatorError(
                f"the operator {type(module).__name__} (body.{name}) cannot be pruned: neurons are removed from chains "
                f"of Linear, ReLU and Dropout; set compression.search.keep to [1.0] in params.yaml; {INSTEAD}"
            )
    return [module for module in network.body if isinstance(module, nn.Linear)]
