"""JSON that others wrote, read so that nothing of it is lost.

Python keeps the last of two values under one name and says nothing. What came from elsewhere may name a table, or an
episode, twice: then nobody knows which one was meant, and the text is refused.
"""

import json
import math
from collections.abc import Callable
from typing import Any

_MAX_SHOWN = 60


def loads(
    text: str | bytes,
    parse_float: Callable[[str], Any] | None = None,
    parse_constant: Callable[[str], Any] | None = None,
) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON, or an object in it has one name twice.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_object, parse_float=parse_float, parse_constant=parse_constant)


def shown(value: object) -> str:
    """A value as a message can hold it, however long or deep it is."""
    try:
        return f"{value!r:.100}"
    except (RecursionError, ValueError):
        return f"a {type(value).__name__}"


def as_finite(value: object) -> float | None:
    """A JSON value as a number; None where it is none, or none that a float holds."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # None
        raise ValueError(f"an object has the name {twice[:_MAX_SHOWN]!r} more than once; expected each name once")
    return found
