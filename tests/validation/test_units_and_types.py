"""Signs of a mistaken unit, and cells of another kind."""

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloop.validation.typed import conform, finished
from fieldloop.validation.units import looks_like
from tests.sample_season import CONTRACT, field_row, season_rows

COLUMNS = {column.name: column for column in CONTRACT.table("readings").columns}


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("tmax_c", [64.0, 71.6, 84.2, 50.0], "degrees Fahrenheit instead of Celsius"),
        ("tmin_c", [280.0, 285.5, 290.0], "kelvin instead of degrees Celsius"),
        ("vwc_35cm_m3_m3", [21.0, 25.0, 30.0, None], "percent instead of fraction"),
        ("ndvi", [60.0, 71.0], "percent instead of fraction"),
    ],
)
def test_another_unit_is_recognised(column: str, values: list[float | None], words: str) -> None:
    assert looks_like(COLUMNS[column], pd.Series(values, dtype="float64")) == words


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("tmax_c", [21.0, 25.0, 30.0]),
        ("tmax_c", [21.0, 25.0, 30.0, 24.0, 22.0, 99.0]),  # one bad value is a bad value
        ("tmax_c", [9000.0, 9100.0]),  # no unit makes this true
        ("rain_mm", [-1.0, -2.0]),
        ("ndvi", [None, None]),
    ],
)
def test_bad_values_alone_are_no_sign_of_another_unit(column: str, values: list[float | None]) -> None:
    assert looks_like(COLUMNS[column], pd.Series(values, dtype="float64")) is None


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2)
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.fixed_dictionaries({"rain_mm": anything, "season": anything, "date": anything}), max_size=5))
def test_a_cell_is_kept_as_it_is_or_named_never_changed_in_silence(cells: list[dict[str, object]]) -> None:
    table = CONTRACT.table("readings")
    reading = season_rows(field_row(), days=1)["readings"][0]
    frame = pd.DataFrame([reading | row for row in cells], columns=list(table.column_names), dtype=object)
    typed, problems = conform(table, frame)
    for number, row in enumerate(cells):
        for name, value in row.items():
            kept = typed[name].iloc[number]
            is_missing = value is None or (isinstance(value, float) and math.isnan(value))
            if is_missing:
                assert pd.isna(kept)
            elif pd.isna(kept):
                assert name in problems.iloc[number]
            else:
                assert kept == (value if isinstance(value, str) else float(value))  # type: ignore[arg-type]
    sound = typed[(problems == "") & typed["season"].notna()]
    assert len(finished(table, sound[sound["season"].abs() < 2**53])) <= len(sound)
