import math
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.presentation.text import (
    age,
    as_date,
    as_number,
    as_time,
    counted,
    escaped,
    number,
    plural,
    printable,
    short_date,
    short_time,
    size,
    span,
)

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.none()),
)


@given(ANYTHING)
def test_no_value_makes_a_formatter_raise_or_yield_markup(value: Any) -> None:
    shown = [number(value, 1, "mm"), short_date(value), short_time(value), size(value), escaped(value, 50)]
    assert not any(character in text for text in shown for character in "<>\"'\n\x00")
    assert as_number(value) is None or math.isfinite(as_number(value) or 0.0)
    "".join(shown).encode()


@given(st.text(), st.integers(1, 40))
def test_escaped_text_is_one_line_within_its_limit(value: str, limit: int) -> None:
    plain = escaped(value, limit).replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
    plain = plain.replace("&quot;", '"').replace("&#x27;", "'")
    assert len(plain) <= limit
    assert plain.replace("\u00a0", " ").isprintable()


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (1234.56, 1, "1,234.6"),
        (-3.2, 1, "−3.2"),
        (-0.01, 1, "0.0"),
        (math.nan, 0, "–"),
        (None, 0, "–"),
        (True, 0, "–"),
        ("7", 0, "–"),
        (10**400, 0, "–"),
        (1e12, 0, "1e+12"),
    ],
)
def test_numbers_are_shown_as_people_write_them(value: object, digits: int, shown: str) -> None:
    assert number(value, digits) == shown


def test_a_number_keeps_its_unit_beside_it() -> None:
    assert escaped("Irrigate 22 mm today") == "Irrigate 22\u00a0mm today"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (5.0, "just now"),
        (-60.0, "just now"),
        (-7200.0, "2 h ahead of this clock"),
        (80.0, "80 s ago"),
        (3000.0, "50 min ago"),
        (90_000.0, "25 h ago"),
        (864_000.0, "10 days ago"),
        (None, "–"),
    ],
)
def test_ages_are_rough_and_a_future_is_said(seconds: float | None, said: str) -> None:
    assert age(seconds) == said


def test_what_is_no_date_of_ours_is_none() -> None:
    assert as_date("2006-07-12") is not None
    assert [as_date(value) for value in ("9999-12-31", "0001-01-01", "yesterday", 20060712, None)] == [None] * 5
    assert as_time("2006-07-12T06:00:00") is None
    assert short_time("2006-07-12T06:05:00Z") == "12 Jul 06:05"


def test_of_one_thing_and_of_many_the_noun_fits() -> None:
    assert [counted(count, "file") for count in (0, 1, 2)] == ["no files", "1 file", "2 files"]
    assert [plural("batch", count, "batches") for count in (0, 1, 2)] == ["batches", "batch", "batches"]


def test_sizes_and_spans_have_a_unit_that_fits() -> None:
    assert [size(0), size(4_400), size(640_000), size(2_500_000), size(200_000_000)] == [
        "0 kB",
        "4.4 kB",
        "640 kB",
        "2.5 MB",
        "200 MB",
    ]
    assert [span(40), span(600), span(7200), span(400_000)] == ["40 s", "10 min", "2 h", "5 days"]


@given(text=st.text() | st.binary().map(os.fsdecode))
def test_what_others_wrote_is_shown_on_one_line_and_commands_no_terminal(text: str) -> None:
    said = printable(text)
    assert said.isprintable()
    assert said == text or not text.isprintable()
    said.encode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Jährlich 1.csv", "Jährlich 1.csv"),
        ("a\nb", r"a\nb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\ud800", r"\ud800"),
        (os.fsdecode(b"\xff"), r"\xff"),
    ],
)
def test_what_cannot_be_shown_is_escaped(text: str, said: str) -> None:
    assert printable(text) == said
