"""What is said of values that settings or params.yaml have and may not have."""

from collections.abc import Callable

from pydantic import ValidationError


def told(error: ValidationError, name: Callable[[str], str]) -> str:
    """Each broken value: what `name` calls its place (`gates.bootstrap_draws`), what is wrong, and what was found."""
    lines = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"]) or "(the whole block)"
        found = "" if item["type"] == "missing" else f"; found {item['input']!r}"
        message = item["msg"].removeprefix("Value error, ")
        lines.append(f"{name(place)}: {message[0].lower() + message[1:]}{found if len(found) < 120 else ''}")
    return "; ".join(lines)
