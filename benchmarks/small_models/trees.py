"""LightGBM on the same examples, grown until it errs no more than the network: what its file and its time would be.

Five boosters answer as the network's body does: three quantiles of the yield, the water and the nitrogen to come. They
see the state without the candidate action, as the body does; the effects of an action would stand around them alike.
"""

import time
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldedge.workloads.agriculture import AGRICULTURE
from fieldloop.core.dataset import Dataset
from fieldloop.workloads.agriculture.metrics import rmse_t_ha
from fieldloop.workloads.agriculture.network.model import QUANTILES

STEP, MOST_TREES = 50, 1000
_PARAMS = {"num_leaves": 31, "learning_rate": 0.08, "verbose": -1, "num_threads": 1, "seed": 3}
_ACTION_COLUMNS = 2


@dataclass(frozen=True)
class Trees:
    """The boosters of the five outputs, and their held-out yield error."""

    boosters: tuple[Any, ...]
    trees: int
    yield_rmse_t_ha: float

    @property
    def data(self) -> bytes:
        """All five models as the text that LightGBM itself writes."""
        return "".join(booster.model_to_string(num_iteration=self.trees) for booster in self.boosters).encode()

    def sizes(self) -> tuple[int, int]:
        """Bytes of the file, and of the same file compressed."""
        return len(self.data), len(zlib.compress(self.data, 9))

    def call_times_us(self, rows: NDArray[np.float32], calls: int) -> NDArray[np.float64]:
        """The time of answering all rows (K, F), five outputs, on one thread."""
        times, inputs = [], state_of(rows)
        for _ in range(calls):
            started = time.perf_counter_ns()
            for booster in self.boosters:
                booster.predict(inputs, num_iteration=self.trees, num_threads=1)
            times.append((time.perf_counter_ns() - started) / 1e3)
        return np.array(times)


def state_of(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scaled rows without the candidate action."""
    return rows[:, :-_ACTION_COLUMNS]


def grown(training: Dataset, held_out: Dataset, target_rmse_t_ha: float) -> Trees:
    """The fewest trees (in steps of `STEP`) whose held-out yield error is at most the target, or the best there is."""
    import lightgbm

    inputs, targets = state_of(AGRICULTURE.contract.scale(training.inputs)), training.targets

    def booster(objective: dict[str, Any], column: int, trees: int) -> Any:
        data = lightgbm.Dataset(inputs, targets[:, column])
        return lightgbm.train({**_PARAMS, **objective}, data, num_boost_round=trees)

    low, middle, high = ({"objective": "quantile", "alpha": quantile} for quantile in QUANTILES)
    median, seen = booster(middle, 0, MOST_TREES), state_of(AGRICULTURE.contract.scale(held_out.inputs))
    counts = range(STEP, MOST_TREES + 1, STEP)
    errors = {count: rmse_t_ha(median.predict(seen, num_iteration=count), held_out) for count in counts}
    good = [count for count in counts if errors[count] <= target_rmse_t_ha]
    trees = min(good) if good else min(errors, key=lambda count: errors[count])
    plain = {"objective": "regression"}
    others = [booster(low, 0, trees), booster(high, 0, trees), booster(plain, 1, trees), booster(plain, 2, trees)]
    return Trees((others[0], median, *others[1:]), trees, errors[trees])
