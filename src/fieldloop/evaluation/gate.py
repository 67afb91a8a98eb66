"""Challenger against champion on frozen, held-out seasons, with a bootstrap interval over field-seasons.

The gate is a pure function of arrays of errors and of profits. A field-season counts once, however many days it has,
because its days share one harvest. A challenger is compared with the champion and with the anchor, the best champion of
this contract, so that many small losses do not add up. Where there is no champion to compare it with, it must pass the
absolute floor; there being nothing else is never a reason. Moving the aliases is registry.py's.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fieldedge.workloads.agriculture import AGRICULTURE
from fieldloop.core.dataset import Dataset
from fieldloop.core.settings import GateParams
from fieldloop.workloads.agriculture.floor import FloorProfits

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
class Rival:
    """A registered version that the challenger is compared with."""

    version: str
    predict: Predict


@dataclass(frozen=True)
class Absent:
    """Why there is no champion to compare with. Damage means that there should be one: then nothing is promoted.

    `runnable` is the champion that devices can run although it cannot be compared with, if there is one.
    """

    reason: str
    is_damage: bool = False
    runnable: str | None = None


NO_CHAMPION_YET = Absent("there is no champion yet")


@dataclass(frozen=True)
class Difference:
    """A mean difference with its paired 90 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Floor:
    """What the absolute floor found. Profits are means over `fields` simulated fields, USD/ha."""

    is_passed: bool
    reason: str
    fields: int
    model_usd_ha: float
    rule_usd_ha: float
    thresholds_usd_ha: float
    against_rule_usd_ha: Difference
    against_thresholds_usd_ha: Difference
    depletion_fractions: tuple[float, ...]
    mean_harvest_rmse_t_ha: float


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
    waits_for_person: bool = False
    anchor_version: str | None = None
    anchor_yield_rmse_t_ha: float | None = None
    anchor_change_pct: float | None = None
    anchor_change_low_pct: float | None = None
    anchor_change_high_pct: float | None = None
    floor: Floor | None = None

    @property
    def gate(self) -> Literal["promoted", "waiting for a person", "kept back"]:
        """The verdict in a word."""
        if self.is_promoted:
            return "promoted"
        return "waiting for a person" if self.waits_for_person else "kept back"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def squared_errors_by_group(predict: Predict, examples: Dataset) -> Floats:
    """Mean squared error of the yield median per field-season, (G,), (t/ha)^2."""
    return _squared_errors(predict(AGRICULTURE.contract.scale(examples.inputs))[:, 1], examples)


def _squared_errors(medians: npt.NDArray[Any], examples: Dataset) -> Floats:
    errors = (medians - examples.targets[:, 0]).astype(np.float64)
    sums = np.bincount(examples.group, weights=errors**2, minlength=len(examples.groups))
    return sums / np.bincount(examples.group, minlength=len(examples.groups))


def rmse_t_ha(medians: npt.NDArray[Any], examples: Dataset) -> float:
    """The error of yield medians (N,) over field-seasons, t/ha, each counted once."""
    return float(np.sqrt(_squared_errors(medians, examples).mean()))


def yield_rmse_t_ha(predict: Predict, examples: Dataset) -> float:
    """That error of a model's answers."""
    return rmse_t_ha(predict(AGRICULTURE.contract.scale(examples.inputs))[:, 1], examples)


def score(predict: Predict, examples: Dataset) -> Scores:
    """Scores of one model on examples it was not trained on."""
    outputs = predict(AGRICULTURE.contract.scale(examples.inputs))
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


def mean_difference(ours: Floats, theirs: Floats, draws: int, seed: int = 0) -> Difference:
    """The mean of `ours` less `theirs` on the same fields (N,), with a paired 90 % bootstrap interval."""
    apart = ours - theirs
    picks = np.random.default_rng(seed).integers(0, len(apart), (draws, len(apart)))
    low, high = np.quantile(apart[picks].mean(axis=1), [0.05, 0.95])
    return Difference(float(apart.mean()), float(low), float(high))


def floor_of(profits: FloorProfits, error_t_ha: float, examples: Dataset, gates: GateParams) -> Floor:
    """Whether a model may be followed at all: no comparison with another model is asked.

    It must be shown to earn no less than the rule in the box, not lose more than is allowed against tuned thresholds,
    both by the lower end of the interval, and foresee harvests better than their mean does.

    Args:
        error_t_ha: the model's held-out error.
    """
    allowed, draws = gates.floor, gates.bootstrap_draws
    rule = mean_difference(profits.model, profits.rule, draws)
    thresholds = mean_difference(profits.model, profits.thresholds, draws)
    by_mean = rmse_t_ha(np.full(len(examples), profits.mean_harvest_t_ha, np.float32), examples)
    is_passed = (
        rule.low >= -allowed.max_loss_to_rule_usd_ha
        and thresholds.low >= -allowed.max_loss_to_thresholds_usd_ha
        and error_t_ha <= allowed.max_error_to_mean_pct / 100.0 * by_mean
    )
    reason = (
        f"on {len(profits.model)} simulated fields it earned {_usd(rule)} against the FAO-56 rule and "
        f"{_usd(thresholds)} against tuned thresholds; its held-out yield error is {error_t_ha:.2f} t/ha, "
        f"the mean harvest's {by_mean:.2f} t/ha; passed when the lower ends are at least "
        f"{-allowed.max_loss_to_rule_usd_ha + 0.0:+g} and {-allowed.max_loss_to_thresholds_usd_ha + 0.0:+g} USD/ha and "
        f"the error is at most {allowed.max_error_to_mean_pct:g} % of the mean harvest's"
    )
    return Floor(
        is_passed,
        reason,
        len(profits.model),
        float(profits.model.mean()),
        float(profits.rule.mean()),
        float(profits.thresholds.mean()),
        rule,
        thresholds,
        profits.depletion_fractions,
        by_mean,
    )


def _usd(difference: Difference) -> str:
    return f"{difference.mean:+.0f} USD/ha (90 % interval {difference.low:+.0f} to {difference.high:+.0f})"


def judge(
    challenger: Predict,
    champion: Predict | None,
    champion_version: str | None,
    examples: Dataset,
    gates: GateParams,
    *,
    anchor: Rival | None = None,
    absent: Absent = NO_CHAMPION_YET,
    floor: Callable[[], FloorProfits] | None = None,
    is_deployment: bool = False,
) -> Verdict:
    """Whether the challenger becomes champion: measured on the same field-seasons, and the reason in words.

    Args:
        anchor: the best champion of this contract, where it is another version than the champion.
        absent: why there is no champion, where there is none.
        floor: measures the challenger in closed loop; asked only where there is no champion to compare with. Without
            it such a challenger is kept back.
        is_deployment: a challenger that has only passed the floor waits for a person.
    """
    scores = score(challenger, examples)
    if not _answers_numbers(challenger, examples):
        reason = "kept back: the challenger's answers are not numbers"
        return Verdict(False, reason, scores, None, champion_version, None, None, None)
    if champion is not None and not _answers_numbers(champion, examples):
        absent, champion = Absent(f"the answers of the champion, version {champion_version}, are not numbers"), None
    if champion is None:
        return _judged_alone(scores, champion_version, examples, gates, absent, floor, is_deployment)
    errors = squared_errors_by_group(challenger, examples)
    change, low, high = error_change_interval(
        errors, squared_errors_by_group(champion, examples), gates.bootstrap_draws
    )
    allowed = gates.max_error_increase_pct
    is_promoted = change <= 0.0 or (low <= 0.0 and high <= allowed)
    interval = f"90 % interval {low:+.1f} to {high:+.1f} %"
    said = f"held-out yield error {change:+.1f} % against version {champion_version} ({interval})"
    rule = f"promoted when it is lower, or not shown to be higher and surely under +{allowed:g} %"
    verdict = Verdict(False, "", scores, score(champion, examples), champion_version, change, low, high)
    if anchor is not None:
        verdict = _beside_anchor(verdict, errors, anchor, examples, gates)
        far = verdict.anchor_change_high_pct
        is_promoted = is_promoted and far is not None and far <= allowed
        said += (
            f", {verdict.anchor_change_pct:+.1f} % against the anchor, version {anchor.version} "
            f"({verdict.anchor_change_low_pct:+.1f} to {far:+.1f} %)"
        )
        rule += f", and surely under +{allowed:g} % against the anchor too"
    reason = f"{'promoted' if is_promoted else 'kept back'}: {said}; {rule}"
    return replace(verdict, is_promoted=is_promoted, reason=reason)


def _judged_alone(
    scores: Scores,
    champion_version: str | None,
    examples: Dataset,
    gates: GateParams,
    absent: Absent,
    floor: Callable[[], FloorProfits] | None,
    is_deployment: bool,
) -> Verdict:
    """The verdict on a challenger that nothing can be compared with."""
    alone = Verdict(False, "", scores, None, champion_version, None, None, None)
    if absent.is_damage:
        return replace(alone, reason=f"kept back: {absent.reason}, so that nothing can be compared")
    if floor is None:
        return replace(alone, reason=f"kept back: {absent.reason}, and the absolute floor was not measured")
    profits = floor()
    if not all(np.isfinite(part).all() for part in (profits.model, profits.rule, profits.thresholds)):
        return replace(alone, reason=f"kept back: {absent.reason}, and profits in closed loop are not numbers")
    found = floor_of(profits, scores.yield_rmse_t_ha, examples, gates)
    is_promoted, waits = found.is_passed and not is_deployment, found.is_passed and is_deployment
    if not found.is_passed:
        said = f"kept back: {absent.reason}, and it did not pass the absolute floor"
    elif waits:
        said = f"waiting for a person: {absent.reason}, and it passed the absolute floor"
    else:
        said = f"promoted: {absent.reason}, and it passed the absolute floor"
    return replace(
        alone, is_promoted=is_promoted, waits_for_person=waits, reason=f"{said}: {found.reason}", floor=found
    )


def _beside_anchor(verdict: Verdict, errors: Floats, anchor: Rival, examples: Dataset, gates: GateParams) -> Verdict:
    """The verdict with what the comparison with the anchor found."""
    theirs = squared_errors_by_group(anchor.predict, examples)
    change, low, high = error_change_interval(errors, theirs, gates.bootstrap_draws)
    return replace(
        verdict,
        anchor_version=anchor.version,
        anchor_yield_rmse_t_ha=float(np.sqrt(theirs.mean())),
        anchor_change_pct=change,
        anchor_change_low_pct=low,
        anchor_change_high_pct=high,
    )


def _answers_numbers(predict: Predict, examples: Dataset) -> bool:
    return bool(np.isfinite(predict(AGRICULTURE.contract.scale(examples.inputs))).all())
