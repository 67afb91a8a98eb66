"""A contract's kinds as Arrow and pandas types, and frames brought into them.

Nothing is lost on the way: a cell that is not of its declared kind is named with its value, never silently
replaced. Ranges and presence are expectations (`expectations.py`), not types.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fieldedge.contract import MOMENTS, Column, Table
from fieldloop.core.parquet import arrow_schema

MAX_ID_CHARS = 200
MAX_TEXT_CHARS = 1_000
_MOST_PROBLEMS_OF_A_ROW = 5
_LARGEST_WHOLE = 2.0**53  # beyond it a float64 does not hold every whole number


def empty_frame(table: Table) -> pd.DataFrame:
    """No rows, with the table's columns and types."""
    return _to_pandas(arrow_schema(table).empty_table())


def is_storable(column: Column, found: pa.DataType) -> bool:
    """Whether a Parquet column of type `found` can hold this column's values as they are."""
    if pa.types.is_dictionary(found):
        return is_storable(column, found.value_type)
    if pa.types.is_null(found):
        return column.is_nullable
    if column.kind in ("float", "int"):
        return bool(pa.types.is_integer(found) or pa.types.is_floating(found))
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found))


def kind_fault(column: Column, found: pa.DataType) -> str | None:
    """Why a Parquet column of type `found` cannot hold this column's values, after the file's name; None if it can."""
    return None if is_storable(column, found) else f"has {column.name} as {found}; {expected_kind(column)}"


def expected_kind(column: Column) -> str:
    """What a file's column should be, for people: `expected float degC`."""
    return f"expected {column.kind} {column.unit}".rstrip()


def unreadable(error: Exception) -> str:
    """That a file is no Parquet, after its name."""
    return f"cannot be read as Parquet ({str(error).partition(chr(10))[0].rstrip('. ')})"


def conform(table: Table, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """The frame's contract columns in their kinds, and per row the cells that are of another kind.

    Whole numbers stay float64 here, so that a missing one can still be seen and said. The series holds plain
    words, empty where all is well. Every column of the table must be in the frame.
    """
    columns: dict[str, pd.Series] = {}
    problems: list[list[str]] = [[] for _ in range(len(frame))]
    for column in table.columns:
        raw = frame[column.name]
        columns[column.name] = typed = _numbers(column, raw) if _is_number(column) else _texts(column, raw)
        mistyped = np.flatnonzero(raw.notna().to_numpy() & typed.isna().to_numpy())
        for place in (place for place in mistyped if len(problems[place]) < _MOST_PROBLEMS_OF_A_ROW):
            found = raw.iat[int(place)]
            problems[place].append(f"{column.name} is {_shown(found)}, not a {_kind_words(column, found)}")
    words = pd.Series(["; ".join(of_row) for of_row in problems], index=frame.index, dtype=object)
    return pd.DataFrame(columns, index=frame.index), words


def finished(table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    """Accepted rows in the types that are stored: whole numbers as int64, text as text."""
    return _to_pandas(to_arrow(table, frame))


def to_arrow(table: Table, frame: pd.DataFrame) -> pa.Table:
    """The frame's contract columns as an Arrow table without pandas metadata."""
    plain = pa.Table.from_pandas(frame[list(table.column_names)], schema=arrow_schema(table), preserve_index=False)
    return plain.replace_schema_metadata(None)


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _is_number(column: Column) -> bool:
    return column.kind in ("float", "int")


def _numbers(column: Column, raw: pd.Series) -> pd.Series:
    if pd.api.types.is_bool_dtype(raw.dtype):
        return pd.Series(np.nan, index=raw.index, dtype="float64")
    if not pd.api.types.is_numeric_dtype(raw.dtype):
        raw = raw.map(_number_or_none)
    numbers = pd.to_numeric(raw, errors="coerce").astype("float64")
    if column.kind == "int":
        numbers = numbers.where(numbers.isna() | ((numbers % 1 == 0) & (numbers.abs() <= _LARGEST_WHOLE)))
    return numbers


def _number_or_none(value: Any) -> float | None:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _texts(column: Column, raw: pd.Series) -> pd.Series:
    if isinstance(raw.dtype, pd.CategoricalDtype):
        raw = raw.astype(object)
    most = max_chars(column.name)
    if isinstance(raw.dtype, pd.StringDtype):
        return raw.where(raw.str.len().fillna(0) <= most)
    return raw.map(lambda value: value if is_text(value, most) else None).astype("str")


def max_chars(column_name: str) -> int:
    """How long a text of that column may be."""
    return MAX_ID_CHARS if column_name == "record_id" else MAX_TEXT_CHARS


def is_text(value: Any, most_chars: int = MAX_TEXT_CHARS) -> bool:
    """Whether a value is text that every file can hold."""
    if not isinstance(value, str) or len(value) > most_chars:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can say it, no file can hold it
        return False
    return True


def _shown(value: Any) -> str:
    if isinstance(value, str):
        value = value[:60]  # what is cut off here is not shown either
    elif isinstance(value, list | dict):
        return f"a {type(value).__name__}"
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST_WHOLE:
        return f"a whole number of {value.bit_length()} bits"
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind_words(column: Column, found: Any) -> str:
    if isinstance(found, str) and len(found) > max_chars(column.name):
        return f"text of at most {max_chars(column.name)} characters"
    words = {"float": "number", "int": "whole number", "str": "text"}
    return words.get(column.kind) or f"{column.kind} like {MOMENTS[column.kind]}"
