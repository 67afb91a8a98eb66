"""Where a model has not shown that it is worth following: conditions that a bundle carries and a device checks.

A condition names a feature or a column of the context, and the interval or the list that its value lies in. Nothing is
computed, so what is not in this form is refused with its bundle. A value that nobody told lies in no interval, and in
a list only where that holds null. The gate counts its units into slices by the same functions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fieldedge.contract import Contract, Record
from fieldedge.system.errors import ReleaseError
from fieldedge.system.strict_json import as_finite, shown

MAX_SLICES, MAX_CONDITIONS, MAX_LISTED = 64, 8, 64
MAX_NAME_CHARACTERS, MAX_WORDS_CHARACTERS = 80, 120

Listed = str | float | None
Doubt = Callable[[NDArray[np.float32]], str | None]


@dataclass(frozen=True)
class Condition:
    """`minimum` <= value < `below`, or a value that is `one_of` these; of a feature (physical units) or the context."""

    kind: Literal["feature", "context"]
    name: str
    minimum: float | None = None
    below: float | None = None
    one_of: tuple[Listed, ...] = ()

    def holds(self, features: NDArray[np.float32], context: Record, contract: Contract) -> bool:
        """Whether it does for what is known (F,), physical units, and what was said when the episode was opened."""
        if self.kind == "feature":
            value: Any = float(features[contract.feature_names.index(self.name)])
        else:
            value = context.get(self.name)
        if self.one_of:
            return value in self.one_of
        number = as_finite(value)
        if number is None:
            return False
        return (self.minimum is None or number >= self.minimum) and (self.below is None or number < self.below)

    def as_record(self) -> Record:
        if self.one_of:
            return {self.kind: self.name, "in": list(self.one_of)}
        ends = {"min": self.minimum, "below": self.below}
        return {self.kind: self.name, **{key: end for key, end in ends.items() if end is not None}}


@dataclass(frozen=True)
class Slice:
    """Episodes in which the workload's rule decides: those for which all conditions hold. `words` say which they are,
    after "like this one, "."""

    name: str
    words: str
    where: tuple[Condition, ...]

    def holds(self, features: NDArray[np.float32], context: Record, contract: Contract) -> bool:
        """Whether a decision is of one of them."""
        return all(condition.holds(features, context, contract) for condition in self.where)

    def as_record(self) -> Record:
        return {"name": self.name, "words": self.words, "where": [condition.as_record() for condition in self.where]}


def doubt_in(
    slices: Sequence[Slice], context: Record, contract: Contract, unit: str, beside: Doubt | None = None
) -> Doubt:
    """Says why the model should not be asked about a row of features (F,), or None, in an episode of this context.

    Args:
        unit: what a device stands at, in words.
        beside: another doubt, which is asked where none of them holds.
    """

    def doubt(features: NDArray[np.float32]) -> str | None:
        found = next((one for one in slices if one.holds(features, context, contract)), None)
        if found is None:
            return None if beside is None else beside(features)
        return f"in a {unit} like this one, {found.words}, it has not shown that it earns more than the rule"

    return doubt


def parse_slices(values: object, where: str) -> tuple[Slice, ...]:
    """The slices in a parsed JSON document.

    Raises:
        ReleaseError: it is not in the form that this device can check.
    """
    found = [
        _slice(value, f"{where}[{i}]") for i, value in enumerate(_list(values, MAX_SLICES, where, may_be_empty=True))
    ]
    if len({one.name for one in found}) < len(found):
        raise ReleaseError(f"{where}: two slices have one name; expected a name for each")
    return tuple(found)


def check_slices(slices: Sequence[Slice], contract: Contract, where: str) -> None:
    """Refuse conditions on what this contract does not have, or has as text where an interval is meant.

    Raises:
        ReleaseError: with what was found and what there is.
    """
    columns = {column.name: column for column in contract.context_table.columns}
    for one in slices:
        for condition in one.where:
            known = contract.feature_names if condition.kind == "feature" else tuple(columns)
            if condition.name not in known:
                raise ReleaseError(
                    f"{where}: {one.name}: {condition.kind} {condition.name!r} is none of this contract's"
                )
            is_number = condition.kind == "feature" or columns[condition.name].kind in ("int", "float")
            listed = [value for value in condition.one_of if value is not None]
            if is_number and any(isinstance(value, str) for value in listed):
                raise ReleaseError(f"{where}: {one.name}: {condition.name} is a number; its list holds text")
            if not is_number and (not condition.one_of or any(not isinstance(value, str) for value in listed)):
                raise ReleaseError(f"{where}: {one.name}: {condition.name} is text; expected a list of text")


def _slice(value: object, where: str) -> Slice:
    fields = _object(value, where, ("name", "words", "where"))
    name, words = _text(fields["name"], MAX_NAME_CHARACTERS, where), _text(fields["words"], MAX_WORDS_CHARACTERS, where)
    conditions = _list(fields["where"], MAX_CONDITIONS, f"{where}.where")
    return Slice(name, words, tuple(_condition(one, f"{where}.where[{i}]") for i, one in enumerate(conditions)))


def _condition(value: object, where: str) -> Condition:
    given = set(value) if isinstance(value, dict) else set()
    kind: Literal["feature", "context"] = "feature" if "feature" in given else "context"
    if "in" in given:
        fields = _object(value, where, (kind, "in"))
        listed = tuple(_listed(one, where) for one in _list(fields["in"], MAX_LISTED, f"{where}.in"))
        return Condition(kind, _text(fields[kind], MAX_NAME_CHARACTERS, where), one_of=listed)
    ends = [end for end in ("min", "below") if end in given]
    fields = _object(value, where, (kind, *(ends or ("min", "below"))))
    minimum, below = (_number(fields[end], where) if end in ends else None for end in ("min", "below"))
    if minimum is not None and below is not None and minimum >= below:
        raise ReleaseError(f"{where}: nothing is at least {minimum:g} and below {below:g}")
    return Condition(kind, _text(fields[kind], MAX_NAME_CHARACTERS, where), minimum, below)


def _object(value: object, where: str, names: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise ReleaseError(f"{where} is {shown(value)}; expected an object with {', '.join(names)}: update fieldedge")
    return value


def _list(value: object, most: int, where: str, *, may_be_empty: bool = False) -> list[Any]:
    if not isinstance(value, list) or len(value) > most or not (value or may_be_empty):
        raise ReleaseError(f"{where} is {shown(value)}; expected a list of at most {most}")
    return value


def _text(value: object, most: int, where: str) -> str:
    if not isinstance(value, str) or not value or len(value) > most or not value.isprintable():
        raise ReleaseError(f"{where} holds {shown(value)}; expected at most {most} characters that can be printed")
    return value


def _number(value: object, where: str) -> float:
    number = as_finite(value)
    if number is None:
        raise ReleaseError(f"{where} holds {shown(value)}; expected a finite number")
    return number


def _listed(value: object, where: str) -> Listed:
    if value is None:
        return None
    return _text(value, MAX_WORDS_CHARACTERS, where) if isinstance(value, str) else _number(value, where)
