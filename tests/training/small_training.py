"""A training run small enough for a test, and a process that trains and is killed in the middle of an epoch.

python -m tests.training.small_training FOLDER EPOCH  # train; SIGKILL itself at the end of that epoch, not kept yet
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fieldloop.core.dataset import Array, Dataset
from fieldloop.core.params import ModelParams
from fieldloop.training.trained import Trained
from fieldloop.training.trainer import train
from fieldloop.workloads import known_workload

PARAMS = ModelParams(
    hidden=(32, 32), dropout=0.2, epochs=5, batch_size=128, learning_rate=0.01, weight_decay=0.0001, seed=3
)
WORKLOAD = known_workload("agriculture")
CONTRACT = WORKLOAD.device.contract
DATA_HASH = "d" * 32


def small_examples(field_seasons: int = 40, days: int = 25, seed: int = 1, season: int = 2003) -> Dataset:
    """Days whose yield follows their depletion and nitrogen, with a little noise."""
    draw = np.random.default_rng(seed)
    low = np.array([feature.minimum for feature in CONTRACT.features], np.float32)
    high = np.array([feature.maximum for feature in CONTRACT.features], np.float32)
    rows = draw.uniform(low, high, (field_seasons * days, len(low))).astype(np.float32)
    scaled = CONTRACT.scale(rows)
    yields = 10.0 - 2.0 * scaled[:, 2] + 1.5 * scaled[:, 22] + draw.normal(0, 0.3, len(rows))
    targets = np.stack([yields, 100.0 + 50.0 * scaled[:, 0], 60.0 - 30.0 * scaled[:, 21]], axis=1)
    names = tuple(f"{season}/champion-{i:02d}" for i in range(field_seasons))
    group = np.repeat(np.arange(field_seasons, dtype=np.int32), days)
    left_out = {f"{season}/champion-99": "it has 2 harvests"}
    return Dataset(rows, targets.astype(np.float32), group, names, left_out)


def scaled(examples: Dataset) -> Array:
    """What the model sees of them."""
    return CONTRACT.scale(examples.inputs)


def tracking_uri(folder: Path) -> str:
    """The tracking store beside a run's folder, as a clone has it."""
    (folder.parent / "mlflow").mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder.parent}/mlflow/mlflow.db"


def train_in(folder: Path, on_progress: Callable[[int, int], None] = lambda *_: None) -> Trained:
    """Train, or go on training, the small model in its folder."""
    tags = {"git_commit": "c" * 40, "for_season": "2006"}
    return train(WORKLOAD, small_examples(), PARAMS, folder, tracking_uri(folder), DATA_HASH, tags, on_progress)


def _killed_at(epoch: int) -> Callable[[int, int], None]:
    def on_progress(done: int, _total: int) -> None:
        if done == epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    return on_progress


if __name__ == "__main__":
    train_in(Path(sys.argv[1]), _killed_at(int(sys.argv[2])))
