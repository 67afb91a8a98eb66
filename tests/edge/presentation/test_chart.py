import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.presentation.chart import MAX_DAYS, PHONE, WIDE, Bars, Chart, Line, Mark, draw, fitted, legend, table

VALUE = st.one_of(st.none(), st.floats(), st.floats(0, 300))
SERIES = st.lists(VALUE, max_size=40).map(tuple)


def chart_of(
    level: tuple[float | None, ...],
    limit: tuple[float | None, ...] = (),
    end: tuple[float | None, ...] = (),
    given: tuple[float | None, ...] = (),
    fallen: tuple[float | None, ...] = (),
    advised: tuple[float | None, ...] = (),
    first_day: str = "2006-05-01",
    days: int | None = None,
    marks: tuple[Mark, ...] = (),
) -> Chart:
    return Chart(
        title="Soil <water>",
        about="A & B",
        first_day=first_day,
        days=len(level) if days is None else days,
        unit="mm",
        level_label="Lacking",
        bars_label="Rain",
        lines=(Line("Level", "level", level), Line("RAW: a limit", "limit", limit), Line("TAW", "end", end)),
        bars=(Bars("Given", "given", given), Bars("Fallen", "fallen", fallen), Bars("Advised", "advised", advised)),
        marks=marks,
        marks_label="Nitrogen",
    )


@given(SERIES, SERIES, SERIES, SERIES, SERIES, st.text(max_size=12), st.integers(-3, 600), st.text(max_size=9))
def test_any_numbers_make_a_well_formed_picture_inside_its_frame(
    level: tuple[float | None, ...],
    limit: tuple[float | None, ...],
    end: tuple[float | None, ...],
    bars: tuple[float | None, ...],
    advised: tuple[float | None, ...],
    label: str,
    days: int,
    day: str,
) -> None:
    marks = (Mark("2006-05-03", label), Mark(day, "x"))
    chart = chart_of(level, limit, end, bars, bars, advised, day or "2006-05-01", days, marks)
    for size in (PHONE, WIDE):
        picture = draw(chart, size, "phone")
        ElementTree.fromstring(picture)  # noqa: S314  (our own text)
        assert "nan" not in picture and "inf" not in picture
        for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", picture):
            assert -1 <= float(x) <= size[0] + 1 and 0 <= float(y) <= size[1]
    ElementTree.fromstring(legend(chart).replace("<i ", "<b ").replace("</i>", "</b>"))  # noqa: S314


def test_a_gap_breaks_the_line_and_a_single_day_is_still_seen() -> None:
    picture = draw(chart_of((10.0, 12.0, None, 30.0, None)), WIDE, "wide")
    path = re.search(r'<path class="level" d="([^"]*)"', picture)
    assert path is not None
    assert path[1].count("M") == 2 and path[1].endswith("h.1")


def test_more_lacking_is_drawn_lower_and_water_from_above() -> None:
    picture = draw(chart_of((10.0, 90.0), end=(100.0, 100.0), given=(20.0, 0.0)), WIDE, "wide")
    path = re.search(r'<path class="level" d="M[\d.]+ ([\d.]+)L[\d.]+ ([\d.]+)"', picture)
    assert path is not None and float(path[1]) < float(path[2])
    bar = re.search(r'<path class="given" d="M[\d.]+ ([\d.]+)h[\d.]+V([\d.]+)', picture)
    assert bar is not None and float(bar[1]) < float(bar[2]) < float(path[1])


def test_what_lacks_beyond_the_limit_is_shaded() -> None:
    calm = draw(chart_of((10.0, 20.0), (50.0, 50.0), (90.0, 90.0)), WIDE, "wide")
    dry = draw(chart_of((60.0, 70.0), (50.0, 50.0), (90.0, 90.0)), WIDE, "wide")

    def shaded(picture: str) -> set[str]:
        area = re.search(r'class="lacking" d="([^"]*)"', picture)
        assert area is not None
        return set(re.findall(r"[\d.]+ ([\d.]+)", area[1]))

    assert len(shaded(calm)) == 1  # a shape without height
    assert len(shaded(dry)) == 3


def test_advice_is_outlined_only_where_something_else_was_done() -> None:
    followed = draw(chart_of((1.0,), given=(25.0,), advised=(25.2,)), WIDE, "wide")
    other = draw(chart_of((1.0,), given=(10.0,), advised=(25.0,)), WIDE, "wide")
    assert 'class="advised"' not in followed
    assert 'class="advised"' in other


def test_the_axis_names_weeks_in_a_young_season_and_months_later() -> None:
    assert ">8 May<" in draw(chart_of((1.0,), days=30), WIDE, "wide")
    assert ">Jun<" in draw(chart_of((1.0,), days=100), WIDE, "wide")


def test_the_legend_names_only_what_is_in_the_picture() -> None:
    words = legend(chart_of((10.0,), fallen=(4.0,)))
    assert "Level" in words and "Fallen" in words
    assert "RAW" not in words and "Given" not in words and "Nitrogen" not in words


def test_the_table_has_each_day_once_newest_first() -> None:
    rows = table(chart_of((10.0, None, 30.0), given=(None, None, 5.0)))
    assert re.findall(r"<tr><th>(\d+ \w+)", rows) == ["3 May", "1 May"]
    assert "<th>RAW<" in rows
    assert table(chart_of((1.0,) * 9), 4).count("<tr>") == 1 + 4


@pytest.mark.parametrize("days", [0, 1, MAX_DAYS, 10_000])
def test_series_are_cut_or_filled_to_the_days_of_the_picture(days: int) -> None:
    assert fitted((1.0, float("nan"), "7", None), 3) == (1.0, None, None)
    assert fitted((), 2) == (None, None)
    draw(chart_of((5.0,) * min(days, 500), days=days), PHONE, "phone")
