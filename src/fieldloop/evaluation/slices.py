"""In which slices a model is worse than the rule: partial pooling over slices, a one-sided 90 % end, worst slice first.

A slice has few units, and there are many slices. So each mean difference is drawn towards that of all units, the more
so the less it says (an empirical Bayes estimate: Efron & Morris, JASA 70, 1975). That is also how many looks are
treated: the noisiest of many slices is drawn in the most, and intervals of what was drawn in need no correction for
their number (Gelman, Hill & Yajima, J. Res. Educ. Eff. 5, 2012). Slices are taken to differ by at least half of what
the model earns more on the whole: where none seems to, that may be for want of units.

Slices overlap. The one that loses the most goes to the rule first, and the others are judged by the units that are left
to the model: so a wide slice is not given up for what a narrow one within it loses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldedge.inference.slices import MAX_SLICES, Condition
from fieldedge.inference.slices import Slice as DeviceSlice
from fieldloop.workload import RULE, Floats, FloorValues, Slice, SliceTerms

ONE_SIDED_90 = 1.2816  # standard deviations
LEAST_SPREAD = 0.5  # of the difference on the whole: standard deviation between slices
_POOLED_WEIGHT = 8.0  # units for which a slice's own variance counts as much as that of all


@dataclass(frozen=True)
class SliceFound:
    """What a model is worth more than the rule in one slice: as measured, and as expected with its lower 90 % end.

    `units` are those that were not the rule's already, by a slice that lost more.
    """

    name: str
    words: str
    units: int
    measured: float
    expected: float
    low: float
    is_worse: bool
    where: tuple[Condition, ...]

    def for_device(self) -> DeviceSlice:
        """As a bundle carries it."""
        return DeviceSlice(self.name, self.words, self.where)

    def as_dict(self, units: str, unit: str) -> dict[str, Any]:
        """As it is stored: figures under names with their unit."""
        return {
            "name": self.name,
            "words": self.words,
            units: self.units,
            f"measured_{unit}": self.measured,
            f"expected_{unit}": self.expected,
            f"low_{unit}": self.low,
            "is_worse": self.is_worse,
            "is_known_to_devices": bool(self.where),
        }


def slices_of(values: FloorValues) -> tuple[SliceFound, ...]:
    """Those in which the model is worse and the rule decides, the one that loses the most first; then the others that
    have enough units, in the workload's order. None where nothing is to be compared.

    A slice that no device can know is judged by the units that the model decides, and left to it.
    """
    rule = next((other.values for other in values.others if other.name == RULE), None)
    terms = values.slice_terms
    if rule is None or terms is None:
        return ()
    apart, is_models, given_up = values.model - rule, np.ones(len(rule), bool), list[SliceFound]()
    while len(given_up) < MAX_SLICES:
        found = _found(values.slices, apart, is_models, terms)
        worse = [(one, members) for one, members in found if one.is_worse and one.where]
        if not worse:
            return (*given_up, *(one for one, _ in found))
        lost, members = min(worse, key=lambda one: one[0].expected * one[0].units)
        given_up.append(lost)
        is_models = is_models & ~members
    return tuple(given_up)


def decided_by_rule(found: Sequence[SliceFound]) -> tuple[DeviceSlice, ...]:
    """Where devices are to follow the rule."""
    return tuple(one.for_device() for one in found if one.is_worse and one.where)


def _found(
    slices: Sequence[Slice], apart: Floats, is_models: np.ndarray[Any, np.dtype[np.bool_]], terms: SliceTerms
) -> list[tuple[SliceFound, np.ndarray[Any, np.dtype[np.bool_]]]]:
    """Each slice that has enough of the units that the model decides, with these."""
    able = [(one, one.members & is_models) for one in slices]
    judged = [(one, members) for one, members in able if members.sum() >= max(2, terms.least_units)]
    if not judged:
        return []
    left = apart[is_models]
    whole, count, variance = float(left.mean()), len(left), float(left.var(ddof=1))
    sizes = np.array([members.sum() for _, members in judged])
    means = np.array([apart[members].mean() for _, members in judged])
    own = np.array([apart[members].var(ddof=1) for _, members in judged])
    errors = ((sizes - 1) * own + _POOLED_WEIGHT * variance) / (sizes - 1 + _POOLED_WEIGHT) / sizes
    by_chance = errors * (1.0 - sizes / count)  # a slice is a part of the whole that it is compared with
    spread = max(float(np.mean((means - whole) ** 2 - by_chance)), (LEAST_SPREAD * whole) ** 2)
    weights = np.divide(spread, spread + errors, out=np.ones_like(errors), where=spread + errors > 0.0)
    expected = weights * means + (1.0 - weights) * whole
    low = expected - ONE_SIDED_90 * np.sqrt(weights * errors)
    is_worse = (expected < -terms.max_loss) | (low < -terms.max_risk)
    return [
        (
            SliceFound(
                one.name,
                one.words,
                int(sizes[i]),
                float(means[i]),
                float(expected[i]),
                float(low[i]),
                bool(is_worse[i]),
                one.where,
            ),
            members,
        )
        for i, (one, members) in enumerate(judged)
    ]
