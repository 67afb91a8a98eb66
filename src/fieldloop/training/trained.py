"""What a training leaves behind: plain facts, for whoever hands them on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fieldedge.system.errors import ReleaseError

NETWORK, CONFIG = "network.pt", "network.json"
WHAT_IFS = "what_ifs.npz"  # the examples of a run's practice


class OtherNetworkError(ReleaseError):
    """The weights are sound, and of a network that this version of the workload does not have."""


@dataclass(frozen=True)
class Trained:
    """A finished training run."""

    workload: str
    folder: str
    checkpoint: str
    mlflow_run_id: str
    data_hash: str
    examples: int
    episodes: int
    validation_loss: float
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Groups with a known outcome that nothing was learned from, and why."""
