"""From where the search for when to act begins: the weights that a long search found once, beside how it was made.

start_weights.py holds them; benchmarks/practice.py writes it. They mean something only to the policy that they were
searched for: its terms by name, and what each of them says of given mornings. For any other they are refused, and
the search begins from nothing.
"""

import logging
from collections.abc import Mapping

import numpy as np
import torch

from fieldedge.workloads.agriculture.features import FEATURES
from fieldloop.workloads.agriculture.network.model import dose_terms, forecast_terms, trigger_terms
from fieldloop.workloads.agriculture.pretraining import start_weights
from fieldloop.workloads.agriculture.pretraining.policy_search import TERMS
from fieldloop.workloads.agriculture.pretraining.what_if import Floats

_log = logging.getLogger(__name__)
_PROBED_AT = (0.25, 0.6)  # of every feature's range
_TOLERANCE = 1e-3
_NAMED = 3


def shipped_start() -> Floats | None:
    """The weights (K,) that are shipped; None where they are of another policy, and the log says how."""
    why = why_not(start_weights.WEIGHTS, start_weights.FORM)
    if why is not None:
        _log.warning(
            "the shipped start is refused: %s. The search for when to act begins from nothing; "
            "benchmarks/practice.py searches a start for this policy",
            why,
        )
        return None
    return np.array([start_weights.WEIGHTS[name] for name in names()])


def names() -> list[str]:
    """The terms' names, in the order of the weights."""
    return [name for name, _, _ in TERMS]


def form() -> dict[str, list[float]]:
    """What each term says of two mornings in the middle of what can be: the policy's form."""
    rows = torch.tensor([[f.minimum + share * (f.maximum - f.minimum) for f in FEATURES] for share in _PROBED_AT])
    said = torch.cat([trigger_terms(rows), forecast_terms(rows), dose_terms(rows)], dim=1).T
    return {name: [round(value, 5) for value in values] for name, values in zip(names(), said.tolist(), strict=True)}


def why_not(weights: Mapping[str, float], searched_for: Mapping[str, list[float]]) -> str | None:
    """Why weights that were searched for that form are not of this policy; None where they are."""
    said = form()
    if set(weights) != set(said):
        strange, missing = sorted(set(weights) - set(said)), sorted(set(said) - set(weights))
        return f"it has weights of {_told(strange)} that the policy has not, and none of {_told(missing)}"
    other = [
        name for name in said if not np.allclose(searched_for.get(name, [np.nan]), said[name], atol=_TOLERANCE, rtol=0)
    ]
    return f"it was searched when {_told(other)} meant something else" if other else None


def _told(terms: list[str]) -> str:
    if not terms:
        return "no term"
    return ", ".join(terms[:_NAMED]) + (f" and {len(terms) - _NAMED} more" if len(terms) > _NAMED else "")
