"""How well a crop model foresees: the error of the yield, and what is told beside it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from fieldedge.workloads.agriculture import AGRICULTURE
from fieldloop.core.dataset import Dataset
from fieldloop.workload import Floats, Metric, Predict, Scores

YIELD_ERROR = Metric("yield error", "t/ha", "yield_rmse_t_ha", lower_is_better=True, is_root=True)
PROFIT = Metric("profit", "USD/ha", "profit_usd_ha", lower_is_better=False)


def score(predict: Predict, held_out: Dataset) -> Scores:
    """Scores of one model on field-seasons that it was not trained on.

    Each counts once, however many days it has, for they share one harvest.

    `interval_coverage_pct` is of the 80 % interval.
    """
    outputs, truth = predict(AGRICULTURE.contract.scale(held_out.inputs)), held_out.targets[:, 0]
    covered = (outputs[:, 0] <= truth) & (truth <= outputs[:, 2])
    per_group = squared_errors(outputs[:, 1], held_out)
    figures = {
        YIELD_ERROR.key: float(YIELD_ERROR.of(per_group)),
        "yield_bias_t_ha": float((outputs[:, 1] - truth).mean()),
        "interval_coverage_pct": float(100 * covered.mean()),
        "water_to_come_rmse_mm": float(np.sqrt(((outputs[:, 3] - held_out.targets[:, 1]) ** 2).mean())),
        "field_seasons": len(held_out.groups),
        "examples": len(held_out),
    }
    return Scores(YIELD_ERROR, per_group, figures, bool(np.isfinite(outputs).all()))


def squared_errors(medians: npt.NDArray[Any], held_out: Dataset) -> Floats:
    """Mean squared error of yield medians (N,) per field-season, (G,), (t/ha)^2."""
    errors = (medians - held_out.targets[:, 0]).astype(np.float64)
    sums = np.bincount(held_out.group, weights=errors**2, minlength=len(held_out.groups))
    return sums / np.bincount(held_out.group, minlength=len(held_out.groups))


def rmse_t_ha(medians: npt.NDArray[Any], held_out: Dataset) -> float:
    """The error of yield medians (N,) over field-seasons, t/ha, each counted once."""
    return float(YIELD_ERROR.of(squared_errors(medians, held_out)))
