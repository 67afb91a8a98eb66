"""Challenger against champion on frozen, held-out seasons, with a bootstrap interval over field-seasons.

The gate is a pure function of two arrays of errors. A field-season counts once, however many days it has, because its
days share one harvest. Moving the alias is registry.py's.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldloop.settings import GateParams
from fieldloop.workloads.agriculture.examples import Examples

Floats = npt.NDArray[np.float64]
Predict = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Scores:
    """How well one model foresees the held-out seasons."""

    yield_rmse_t_ha: float
    yield_bias_t_ha: float
    interval_coverage_pct: float  # of the 80 % interval
    water_to_come_rmse_mm: float
    field_seasons: int
    examples: int


@dataclass(frozen=True)
class Verdict:
    """What the gate says, and why."""

    is_promoted: bool
    reason: str
    challenger: Scores
    champion: Scores | None
    champion_version: str | None
    error_change_pct: float | None
    error_change_low_pct: float | None
    error_change_high_pct: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def squared_errors_by_group(predict: Predict, examples: Examples) -> Floats:
    """Mean squared error of the yield median per field-season, (G,), (t/ha)^2."""
    return _squared_errors(predict(examples.model_inputs())[:, 1], examples)


def _squared_errors(medians: npt.NDArray[Any], examples: Examples) -> Floats:
    errors = (medians - examples.targets[:, 0]).astype(np.float64)
    sums = np.bincount(examples.group, weights=errors**2, minlength=len(examples.groups))
    return sums / np.bincount(examples.group, minlength=len(examples.groups))


def rmse_t_ha(medians: npt.NDArray[Any], examples: Examples) -> float:
    """The error of yield medians (N,) over field-seasons, t/ha, each counted once."""
    return float(np.sqrt(_squared_errors(medians, examples).mean()))


def yield_rmse_t_ha(predict: Predict, examples: Examples) -> float:
    """That error of a model's answers."""
    return rmse_t_ha(predict(examples.model_inputs())[:, 1], examples)


def score(predict: Predict, examples: Examples) -> Scores:
    """Scores of one model on examples it was not trained on."""
    outputs = predict(examples.model_inputs())
    truth = examples.targets[:, 0]
    covered = (outputs[:, 0] <= truth) & (truth <= outputs[:, 2])
    return Scores(
        yield_rmse_t_ha=rmse_t_ha(outputs[:, 1], examples),
        yield_bias_t_ha=float((outputs[:, 1] - truth).mean()),
        interval_coverage_pct=float(100 * covered.mean()),
        water_to_come_rmse_mm=float(np.sqrt(((outputs[:, 3] - examples.targets[:, 1]) ** 2).mean())),
        field_seasons=len(examples.groups),
        examples=len(examples),
    )


def error_change_interval(
    challenger: Floats, champion: Floats, draws: int, seed: int = 0
) -> tuple[float, float, float]:
    """Relative change of RMSE from champion to challenger in %, with a paired 90 % bootstrap interval.

    Both arrays are squared errors of the same G field-seasons, (G,).
    """
    picks = np.random.default_rng(seed).integers(0, len(challenger), (draws, len(challenger)))

    def change(a: Floats, b: Floats) -> Floats:
        return 100.0 * (np.sqrt(a) / np.sqrt(b) - 1.0)

    low, high = np.quantile(change(challenger[picks].mean(axis=1), champion[picks].mean(axis=1)), [0.05, 0.95])
    return float(change(challenger.mean(keepdims=True), champion.mean(keepdims=True))[0]), float(low), float(high)


def judge(
    challenger: Predict,
    champion: Predict | None,
    champion_version: str | None,
    examples: Examples,
    gates: GateParams,
) -> Verdict:
    """Whether the challenger becomes champion: measured on the same field-seasons, and the reason in words."""
    scores = score(challenger, examples)
    if not _answers_numbers(challenger, examples):
        reason = "kept back: the challenger's answers are not numbers"
        return Verdict(False, reason, scores, None, champion_version, None, None, None)
    if champion is None:
        reason = "promoted: there is no champion on this contract to compare with"
        return Verdict(True, reason, scores, None, None, None, None, None)
    if not _answers_numbers(champion, examples):
        reason = f"promoted: the answers of the champion, version {champion_version}, are not numbers"
        return Verdict(True, reason, scores, None, champion_version, None, None, None)
    change, low, high = error_change_interval(
        squared_errors_by_group(challenger, examples),
        squared_errors_by_group(champion, examples),
        gates.bootstrap_draws,
    )
    is_promoted = change <= 0.0 or (low <= 0.0 and high <= gates.max_error_increase_pct)
    interval = f"90 % interval {low:+.1f} to {high:+.1f} %"
    said = f"held-out yield error {change:+.1f} % against version {champion_version} ({interval})"
    rule = f"promoted when it is lower, or not shown to be higher and surely under +{gates.max_error_increase_pct:g} %"
    reason = f"{'promoted' if is_promoted else 'kept back'}: {said}; {rule}"
    return Verdict(is_promoted, reason, scores, score(champion, examples), champion_version, change, low, high)


def _answers_numbers(predict: Predict, examples: Examples) -> bool:
    return bool(np.isfinite(predict(examples.model_inputs())).all())
