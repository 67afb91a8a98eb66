"""The front of what can be had, and the point that the tolerance picks on it.

On the front are the files that no other beats in all of decision value, time and bytes; where no value is measured, the
held-out error stands in its place. Of those that pass every gate
the smallest ships; equal bytes, the faster one.
"""

from collections.abc import Mapping, Sequence

from fieldloop.compression.device_classes import OnClass
from fieldloop.compression.gates import WHOLE, Candidate


def pareto_front(candidates: Sequence[Candidate], on_class: OnClass) -> list[str]:
    """The names of the files that none beats in value (or error), time and bytes at once; times where there are any."""
    figures = {one.name: _figures(one, on_class) for one in candidates}
    return [name for name, own in figures.items() if not any(_beats(other, own) for other in figures.values())]


def picked(candidates: Sequence[Candidate], refused: Mapping[str, Sequence[str]], on_class: OnClass) -> Candidate:
    """The smallest of the files that nothing speaks against; the whole float32 file is always among them."""
    allowed = [one for one in candidates if one.name == WHOLE or not refused[one.name]]
    return min(allowed, key=lambda one: (one.bytes, on_class.p50_us.get(one.name, 0.0), one.name))


def _figures(one: Candidate, on_class: OnClass) -> tuple[float, float, float]:
    loss = one.error_increase_pct if one.value is None else -one.value
    return loss, on_class.p50_us.get(one.name, 0.0), float(one.bytes)


def _beats(other: tuple[float, ...], own: tuple[float, ...]) -> bool:
    no_worse = all(a <= b for a, b in zip(other, own, strict=True))
    return no_worse and any(a < b for a, b in zip(other, own, strict=True))
