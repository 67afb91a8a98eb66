"""What a training leaves behind: plain facts, for whoever hands them on."""

from dataclasses import dataclass


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
