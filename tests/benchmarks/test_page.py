"""The benchmark's page says what the benchmark measured, and nothing outside its markers is touched."""

import json

import pytest

from benchmarks.closed_loop.fieldloop import FIELDLOOP
from benchmarks.closed_loop.page import BEGIN, END, PAGE, tables, with_tables
from benchmarks.closed_loop.sites import MAIN


def test_what_stands_between_the_markers_is_replaced_and_the_rest_is_kept() -> None:
    once = with_tables(f"# Title\n\n{BEGIN}\nold\n{END}\n\nAfter.\n", "new")
    assert once == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nAfter.\n"
    assert with_tables(once, "new") == once


@pytest.mark.parametrize("text", ["", f"{BEGIN} alone", f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_page_without_its_two_markers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        with_tables(text, "new")


def test_the_page_in_docs_can_be_renewed() -> None:
    assert "new" in with_tables(PAGE.read_text(), "new")


def test_a_missed_bar_is_shown_and_a_row_that_did_not_run_is_left_out() -> None:
    row = {
        "row": "rainfed",
        "profit_usd_ha": -130.19,
        "median_usd_ha": 185.6,
        "yield_t_ha": 8.88,
        "irrigation_mm": 0.0,
        "kg_per_m3": None,
        "season_sd_usd_ha": 674.5,
        "seed_sd_usd_ha": None,
        "gain_usd_ha": None,
        "nitrogen_kg_ha": 0.0,
        "leached_kg_ha": 0.0,
        "profit_by_season_usd_ha": {"2008": -130.19, "2009": -130.19},
    }
    bar = {"bar": "more than rain", "measured": 1.0, "limit": 2.0, "is_met": False}
    figures = {"bars": [bar], "irrigation": {MAIN.name: {"c=1": [row]}}, "nitrogen": {MAIN.name: [row]}}
    told = tables(json.loads(json.dumps(figures)))
    assert "0 of 1 met" in told
    assert "| more than rain | 1.0 | 2.0 | **no** |" in told
    assert "| rainfed | −130.2 | −130 |" in told
    assert FIELDLOOP not in told.split("### Other soils")[0]
