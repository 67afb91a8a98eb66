"""A network that a workload may take as it is: layers with ReLUs, taught by the mean squared error."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from fieldedge.contract import Contract
from fieldloop.workload import Learner


class PlainNetwork(nn.Module):  # type: ignore[misc]  # torch's class has no types here
    """Scaled features (B, F) to outputs (B, O), which the body gives in multiples of `unit`.

    A feature that is no number goes past the body too, whose 8-bit form would make a number of it.
    """

    def __init__(self, features: int, hidden: Sequence[int], outputs: int, dropout: float, unit: float) -> None:
        super().__init__()
        self.unit = unit
        layers: list[nn.Module] = []
        for inner, outer in pairwise([features, *hidden]):
            layers += [nn.Linear(inner, outer), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
        self.body = nn.Sequential(*layers, nn.Linear([features, *hidden][-1], outputs))

    def body_inputs(self, features: Tensor) -> Tensor:
        """What the body sees: the features themselves."""
        return features

    def forward(self, features: Tensor) -> Tensor:
        """Outputs in the contract's units; none is a number where a feature is none."""
        outputs: Tensor = self.body(self.body_inputs(features)) * self.unit
        return outputs + 0.0 * features.sum(1, keepdim=True)


class PlainLearner(Learner):
    """Teaches a `PlainNetwork` for a contract.

    Args:
        unit: of what size outputs are, in the contract's units; the loss is counted in it.
    """

    def __init__(self, contract: Contract, unit: float = 1.0) -> None:
        self.contract, self.unit = contract, unit

    def network(self, hidden: Sequence[int], dropout: float) -> nn.Module:
        """A fresh one."""
        features, outputs = len(self.contract.features), len(self.contract.outputs)
        return PlainNetwork(features, hidden, outputs, dropout, self.unit)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean squared error."""
        return nn.functional.mse_loss(outputs / self.unit, targets / self.unit)
