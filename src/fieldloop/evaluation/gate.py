"""Challenger against champion on frozen, held-out periods, with a bootstrap interval over groups; and in closed loop.

The gate is a pure function of scores and of values. A group (an episode) counts once, however many examples it has,
because they share one outcome. A challenger is compared with the champion and with the anchor, the best champion of
this contract, so that many small losses do not add up. Whatever there is to compare it with, it must pass the absolute
floor, in closed loop beside the device's own rule; there being nothing else is never a reason. Slices in which it is
worse than the rule are named, and left to the rule (`slices.py`). Moving the aliases is the registry's.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from fieldedge.inference.slices import MAX_SLICES
from fieldedge.inference.slices import Slice as DeviceSlice
from fieldloop.core.params import GateParams
from fieldloop.core.words import decimals
from fieldloop.evaluation.slices import SliceFound, decided_by_rule, slices_of
from fieldloop.workload import Floats, FloorValues, Metric, Scores


@dataclass(frozen=True)
class Rival:
    """A registered version that the challenger is compared with, and how well it answers."""

    version: str
    scores: Scores


@dataclass(frozen=True)
class Absent:
    """Why there is no champion to compare with. Damage means that there should be one: then nothing is promoted.

    `runnable` is the champion that devices can run although it cannot be compared with, if there is one.
    """

    reason: str
    is_damage: bool = False
    runnable: str | None = None


SKIPPED = "the closed loop was skipped: the workload measures none"
NO_CHAMPION_YET = Absent("there is no champion yet")


@dataclass(frozen=True)
class Difference:
    """A mean difference with its paired 90 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Beside:
    """Another decider's mean value, and what the model's is more than it."""

    name: str
    mean: float
    difference: Difference


@dataclass(frozen=True)
class Floor:
    """What the absolute floor found. Values are means over so many units, `units_name` what these are."""

    is_passed: bool
    reason: str
    metric: Metric
    units: int
    model: float
    others: tuple[Beside, ...]
    figures: Mapping[str, Any]
    units_name: str = "units"
    slices: tuple[SliceFound, ...] = ()
    untried: tuple[DeviceSlice, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As it is stored: each value under a name with its unit."""
        unit = self.metric.unit_key
        return {
            "is_passed": self.is_passed,
            "reason": self.reason,
            "fields": self.units,
            f"model_{unit}": self.model,
            **{f"{other.name}_{unit}": other.mean for other in self.others},
            **{f"against_{other.name}_{unit}": asdict(other.difference) for other in self.others},
            **self.figures,
            "slices": [one.as_dict(self.units_name, unit) for one in self.slices],
            **({"untried": [one.name for one in self.untried]} if self.untried else {}),
        }


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
    anchor_value: float | None = None
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

    @property
    def worse_slices(self) -> tuple[SliceFound, ...]:
        """Where the challenger is worse than the rule."""
        return () if self.floor is None else tuple(one for one in self.floor.slices if one.is_worse)

    @property
    def decided_by_rule(self) -> tuple[DeviceSlice, ...]:
        """Where its devices are to follow the rule: where no model has practised, then where this one is worse."""
        if self.floor is None:
            return ()
        return (*self.floor.untried, *decided_by_rule(self.floor.slices))[:MAX_SLICES]

    def as_dict(self) -> dict[str, Any]:
        """As it is stored: figures under the workload's own names."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        plain["challenger"] = dict(self.challenger.figures)
        plain["champion"] = dict(self.champion.figures) if self.champion else None
        plain["floor"] = self.floor.as_dict() if self.floor else None
        anchor = f"anchor_{self.challenger.primary.key}"
        return {anchor if name == "anchor_value" else name: value for name, value in plain.items()}


def change_interval(
    metric: Metric, challenger: Floats, champion: Floats, draws: int, seed: int = 0
) -> tuple[float, float, float]:
    """Relative change of a metric from champion to challenger in %, with a paired 90 % bootstrap interval.

    Both arrays are what the metric is made of on the same G groups, (G,).
    """
    picks = np.random.default_rng(seed).integers(0, len(challenger), (draws, len(challenger)))
    drawn = metric.change_pct(metric.of(challenger[picks]), metric.of(champion[picks]))
    low, high = np.quantile(drawn, [0.05, 0.95])
    return float(metric.change_pct(metric.of(challenger), metric.of(champion))), float(low), float(high)


def mean_difference(ours: Floats, theirs: Floats, draws: int, seed: int = 0) -> Difference:
    """The mean of `ours` less `theirs` on the same units (N,), with a paired 90 % bootstrap interval."""
    apart = ours - theirs
    picks = np.random.default_rng(seed).integers(0, len(apart), (draws, len(apart)))
    low, high = np.quantile(apart[picks].mean(axis=1), [0.05, 0.95])
    return Difference(float(apart.mean()), float(low), float(high))


def floor_of(values: FloorValues, scores: Scores, gates: GateParams) -> Floor:
    """Whether a model may be followed at all.

    It must be shown to be worth no less than each other decider, but for what it may lose, by the lower end of the
    interval, not be shown to be worth less than the champion, and answer better than one foresees without a model.

    Args:
        scores: the model's, on held-out groups.
    """
    primary, error, draws = scores.primary, scores.value, gates.bootstrap_draws
    others = [
        Beside(other.name, float(other.values.mean()), mean_difference(values.model, other.values, draws))
        for other in values.others
    ]
    allowed_pct = gates.floor.max_error_to_mean_pct
    is_passed = (
        all(found.difference.low >= -other.max_loss for found, other in zip(others, values.others, strict=True))
        and error <= allowed_pct / 100.0 * values.naive_value
    )
    unit, slices = values.metric.unit, slices_of(values)
    earned = [
        f"{_told(found.difference, unit)} against {other.words}"
        for found, other in zip(others, values.others, strict=True)
    ]
    beside_champion = ""
    if values.champion is not None:
        standing = mean_difference(values.model, values.champion, draws)
        others.append(Beside("champion", float(values.champion.mean()), standing))
        earned.append(f"{_told(standing, unit)} against the champion")
        is_passed = is_passed and standing.high >= 0.0
        beside_champion = ", and it is not shown to earn less than the champion"
    places = max(2, decimals(error, values.naive_value))
    lowest = [f"{-other.max_loss + 0.0:+g}" for other in values.others]
    reason = (
        f"on {len(values.model)} simulated {values.units} it earned {' and '.join(earned)}; its held-out "
        f"{primary.name} is {error:.{places}f} {primary.unit}, "
        f"{values.naive}'s {values.naive_value:.{places}f} {primary.unit}; "
        f"passed when the lower ends are at least {' and '.join(lowest)} {unit} and the error is at most "
        f"{allowed_pct:g} % of {values.naive}'s{beside_champion}{_worse_than_rule(slices, values)}"
    )
    return Floor(
        is_passed,
        reason,
        values.metric,
        len(values.model),
        float(values.model.mean()),
        tuple(others),
        values.figures,
        values.units,
        slices,
        values.untried,
    )


def _worse_than_rule(slices: tuple[SliceFound, ...], values: FloorValues) -> str:
    """The slices in which the model is worse than the rule, as the end of a reason; nothing where none was judged."""
    if not slices:
        return ""
    worse, unit = [one for one in slices if one.is_worse], values.metric.unit
    if not worse:
        return f"; in no slice of {len(slices)} is it worse than the rule"
    told = [
        f"{one.words} ({one.expected:+.{decimals(one.expected, one.low)}f} {unit} expected of {one.units} "
        f"{values.units}{'' if one.where else ', which no device can know'})"
        for one in worse
    ]
    return f"; in these slices it has not shown that it earns more than the rule: {', '.join(told)}"


def _told(difference: Difference, unit: str) -> str:
    mean, low, high = difference.mean, difference.low, difference.high
    places = decimals(mean, low, high)
    return f"{mean:+.{places}f} {unit} (90 % interval {low:+.{places}f} to {high:+.{places}f})"


def judge(
    challenger: Scores,
    champion: Scores | None,
    champion_version: str | None,
    gates: GateParams,
    *,
    anchor: Rival | None = None,
    absent: Absent = NO_CHAMPION_YET,
    floor: Callable[[], FloorValues | None] | None = None,
    is_deployment: bool = False,
) -> Verdict:
    """Whether the challenger becomes champion: measured on the same held-out groups, and the reason in words.

    Args:
        anchor: the best champion of this contract, where it is another version than the champion.
        absent: why there is no champion, where there is none.
        floor: measures the challenger in closed loop. Without it a challenger is kept back; where the workload
            measures nothing there, the champion decides, and where there is none a person.
        is_deployment: a challenger that has only passed the floor waits for a person.
    """
    if not challenger.are_numbers:
        reason = "kept back: the challenger's answers are not numbers"
        return Verdict(False, reason, challenger, None, champion_version, None, None, None)
    if champion is not None and not champion.are_numbers:
        absent, champion = Absent(f"the answers of the champion, version {champion_version}, are not numbers"), None
    if champion is None:
        return _judged_alone(challenger, champion_version, gates, absent, floor, is_deployment)
    primary, allowed = challenger.primary, gates.max_error_increase_pct
    change, low, high = change_interval(primary, challenger.per_group, champion.per_group, gates.bootstrap_draws)
    loss, least, most = _losses(primary, change, low, high)
    is_promoted = loss <= 0.0 or (least <= 0.0 and most <= allowed)
    better, worse, far = ("lower", "higher", "under +") if primary.lower_is_better else ("higher", "lower", "over -")
    interval = f"90 % interval {low:+.1f} to {high:+.1f} %"
    said = f"held-out {primary.name} {change:+.1f} % against version {champion_version} ({interval})"
    rule = f"promoted when it is {better}, or not shown to be {worse} and surely {far}{allowed:g} %"
    verdict = Verdict(False, "", challenger, champion, champion_version, change, low, high)
    if anchor is not None:
        theirs = anchor.scores.per_group
        beside = change_interval(primary, challenger.per_group, theirs, gates.bootstrap_draws)
        verdict = replace(
            verdict,
            anchor_version=anchor.version,
            anchor_value=float(primary.of(theirs)),
            anchor_change_pct=beside[0],
            anchor_change_low_pct=beside[1],
            anchor_change_high_pct=beside[2],
        )
        is_promoted = is_promoted and _losses(primary, *beside)[2] <= allowed
        said += (
            f", {beside[0]:+.1f} % against the anchor, version {anchor.version} "
            f"({beside[1]:+.1f} to {beside[2]:+.1f} %)"
        )
        rule += f", and surely {far}{allowed:g} % against the anchor too"
    found, in_closed_loop = _in_closed_loop(challenger, gates, floor)
    is_promoted = is_promoted and (in_closed_loop == SKIPPED if found is None else found.is_passed)
    reason = f"{'promoted' if is_promoted else 'kept back'}: {said}; {rule}; {in_closed_loop}"
    return replace(verdict, is_promoted=is_promoted, reason=reason, floor=found)


def _in_closed_loop(
    scores: Scores, gates: GateParams, floor: Callable[[], FloorValues | None] | None
) -> tuple[Floor | None, str]:
    """What was found in closed loop, and in words; where nothing was, why."""
    if floor is None:
        return None, "the closed loop was not measured"
    values = floor()
    if values is None:
        return None, SKIPPED
    if not _are_numbers(values):
        return None, f"{values.metric.name}s in closed loop are not numbers"
    found = floor_of(values, scores, gates)
    return found, f"the absolute floor was {'passed' if found.is_passed else 'not passed'}: {found.reason}"


def _are_numbers(values: FloorValues) -> bool:
    all_of_them = [values.model, *(other.values for other in values.others)]
    all_of_them += [] if values.champion is None else [values.champion]
    return all(bool(np.isfinite(part).all()) for part in all_of_them)


def _losses(metric: Metric, change: float, low: float, high: float) -> tuple[float, float, float]:
    """A change and its interval as how much worse it is, %: the least, and the most."""
    return (change, low, high) if metric.lower_is_better else (-change, -high, -low)


def _judged_alone(
    scores: Scores,
    champion_version: str | None,
    gates: GateParams,
    absent: Absent,
    floor: Callable[[], FloorValues | None] | None,
    is_deployment: bool,
) -> Verdict:
    """The verdict on a challenger that nothing can be compared with."""
    alone = Verdict(False, "", scores, None, champion_version, None, None, None)
    if absent.is_damage:
        return replace(alone, reason=f"kept back: {absent.reason}, so that nothing can be compared")
    if floor is None:
        return replace(alone, reason=f"kept back: {absent.reason}, and the absolute floor was not measured")
    values = floor()
    if values is None:
        said = f"waiting for a person: {absent.reason}, and the absolute floor was skipped: the workload measures none"
        return replace(alone, waits_for_person=True, reason=said)
    if not _are_numbers(values):
        return replace(
            alone, reason=f"kept back: {absent.reason}, and {values.metric.name}s in closed loop are not numbers"
        )
    found = floor_of(values, scores, gates)
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
