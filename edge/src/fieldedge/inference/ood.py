"""How far a day lies from what the model was trained on.

A model answers anything. Where a feature stands further outside its training range than that range is wide, nobody
knows what the answer is worth. Values beyond the contract's range count as at its end, since the model sees them so.
A feature with one single value in the logged episodes says nothing of distance and is not judged: what it means is
taught by what-if episodes alone (that advice is followed, that a forecast is at hand). Nor is one that a workload says
is a trend, as it goes by the year: every episode to come lies beyond what was learned. There the answer is carried on,
and how far is said.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldedge.contract import Contract
from fieldedge.inference.bundles import Reference
from fieldedge.workload import Extrapolated

MAX_DISTANCE = 1.0  # widths of a feature's training range beyond its end
NEVER_VARIED = 1e-6  # of the contract's range
LEAST_SPAN_SHARE = 0.1  # of the contract's range: what hardly varied in training must not make everything strange
WORTH_SAYING = 0.1  # widths beyond, from which it is said that a trend is carried on


class OodDetector:
    """The training range of a model, ready to be asked about rows (F,) in physical units.

    `extrapolated` names the features that are trends.
    """

    def __init__(self, reference: Reference, contract: Contract, extrapolated: Sequence[str] = ()) -> None:
        self._contract, self._p01, self._p99 = contract, reference.p01, reference.p99
        self._low = np.array([feature.minimum for feature in contract.features], np.float64)
        self._high = np.array([feature.maximum for feature in contract.features], np.float64)
        span = np.maximum(reference.p99 - reference.p01, LEAST_SPAN_SHARE * (self._high - self._low))
        is_judged = reference.std >= NEVER_VARIED * (self._high - self._low)
        self._per_unit = np.where(is_judged, 1.0 / span, 0.0)
        self._trends = [contract.feature_names.index(name) for name in extrapolated]

    def distances(self, row: NDArray[np.float32]) -> NDArray[np.float64]:
        """How far each feature (F,) lies outside its training range, in widths of that range; 0 within it."""
        seen = np.minimum(np.maximum(row, self._low), self._high)
        beyond: NDArray[np.float64] = np.maximum(np.maximum(seen - self._p99, self._p01 - seen), 0.0) * self._per_unit
        return beyond

    def doubt(self, row: NDArray[np.float32]) -> str | None:
        """Why this row is too far from the training data, in words; None where it is not."""
        beyond = self.distances(row)
        beyond[self._trends] = 0.0
        furthest = int(beyond.argmax())
        if beyond[furthest] <= MAX_DISTANCE:
            return None
        feature = self._contract.features[furthest]
        unit = "" if feature.unit == "1" else f" {feature.unit}"
        return (
            f"{feature.name} is {row[furthest]:.3g}{unit}, far from the {self._p01[furthest]:.3g} to "
            f"{self._p99[furthest]:.3g} that the model has learned from"
        )

    def extrapolated(self, row: NDArray[np.float32]) -> tuple[Extrapolated, ...]:
        """The trends of this row that lie beyond what the model has learned from."""
        if not self._trends:
            return ()
        beyond = self.distances(row)
        return tuple(
            Extrapolated(self._contract.features[i].name, float(row[i]), float(self._p01[i]), float(self._p99[i]))
            for i in self._trends
            if beyond[i] > WORTH_SAYING
        )
