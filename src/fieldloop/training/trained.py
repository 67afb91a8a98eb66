"""What a training leaves behind: plain facts, for whoever hands them on."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Trained:
    """A finished training run."""

    workload: str
    folder: str
    checkpoint: str
    mlflow_run_id: str
    data_hash: str
    examples: int
    field_seasons: int
    validation_loss: float
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Groups with a known outcome that nothing was learned from, and why."""
