"""Signs that a whole column is in another unit than the contract's.

A single value out of range is a bad row. When much of what one sensor or one file says is out of range, and all of
it would be in range in another common unit, then its in-range values are wrong too, and no row can be trusted.
"""

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from fieldedge.contract import Column

# Above this share of rows outside one range, the column is judged as a whole.
SUSPICIOUS_SHARE = 0.20


class _Reading(NamedTuple):
    words: str
    to_contract_unit: Callable[[pd.Series], pd.Series]


_MISTAKEN_UNITS: dict[str, tuple[_Reading, ...]] = {
    "degC": (
        _Reading("degrees Fahrenheit instead of Celsius", lambda values: (values - 32.0) / 1.8),
        _Reading("kelvin instead of degrees Celsius", lambda values: values - 273.15),
    ),
    "m3/m3": (_Reading("percent instead of fraction", lambda values: values / 100.0),),
    "1": (_Reading("percent instead of fraction", lambda values: values / 100.0),),
}


def looks_like(column: Column, values: pd.Series) -> str | None:
    """What the values look like, in plain words, when more than a fifth of them are out of range; else None."""
    known = values.dropna()
    outside = known[~in_range(column, known)]
    if known.empty or len(outside) <= SUSPICIOUS_SHARE * len(known):
        return None
    for reading in _MISTAKEN_UNITS.get(column.unit, ()):
        if outside.median() > (column.maximum or 0.0) and in_range(column, reading.to_contract_unit(known)).all():
            return reading.words
    return None


def in_range(column: Column, values: pd.Series) -> pd.Series:
    """Per value, whether it is in the column's range."""
    inside = values.notna()
    if column.minimum is not None:
        inside &= values >= column.minimum
    if column.maximum is not None:
        inside &= values <= column.maximum
    return inside
