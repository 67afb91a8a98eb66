"""How the loop improves, on the page: shown where it was measured, in words that are true of the figures."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fieldedge.system.errors import DataError
from fieldloop.report import build_report, write_report
from fieldloop.report.pictures import COLOURS
from fieldloop.workloads.agriculture.report.improvement import (
    KEPT_AT,
    improvement_picture,
    improvement_section,
    read_improvement,
)
from fieldloop.workloads.agriculture.report.words import improvement_sentences
from tests.workloads.agriculture.report.sample_story import ENVIRONMENT, SECTIONS, story

SEASONS = (1997, 1998, 1999)
PROFITS = {"none": -300.0, "selected": -280.0, "random": -290.0, "everything": -270.0, "threshold": -350.0}
ERRORS = {"none": 2.5, "selected": 2.0, "random": 2.1, "everything": 1.8, "threshold": None}
SENT = {"none": 0.0, "selected": 3950.0, "random": 3960.0, "everything": 11300.0, "threshold": 0.0}


def figures() -> dict[str, Any]:
    """As the benchmark writes them, from a small run."""
    years = {name: [_year(name, -10.0 * n) for n in range(len(SEASONS))] for name in PROFITS}
    last = {name: {**_year(name, -10.0), **_against_none(name)} for name in PROFITS}
    return {
        "command": ".venv/bin/python benchmarks/improvement.py",
        "region": "tunis",
        "history": {"champion": [1985, 1996], "cordoba": [1992, 1996]},
        "history_field_seasons": 102,
        "fields": 12,
        "seeds": 2,
        "budget_bytes": 4000,
        "seasons": list(SEASONS),
        "variants": years,
        "last": 2,
        "last_seasons": last,
    }


def _year(name: str, later_usd_ha: float) -> dict[str, float | None]:
    return {
        "profit_usd_ha": PROFITS[name] + later_usd_ha,
        "yield_rmse_t_ha": ERRORS[name],
        "interval_coverage_pct": None if name == "threshold" else 70.0,
        "bytes_sent": SENT[name],
    }


def _against_none(name: str) -> dict[str, dict[str, float]]:
    if name == "none":
        return {}
    gain = PROFITS[name] - PROFITS["none"]
    told = {"profit_gain_usd_ha": {"mean": gain, "low": gain - 5.0, "high": gain + 5.0}}
    if (error := ERRORS[name]) is not None:
        change = error - 2.5
        told["yield_rmse_change_t_ha"] = {"mean": change, "low": change - 0.1, "high": change + 0.1}
    return told


def test_where_nothing_was_measured_there_is_no_section(tmp_path: Path) -> None:
    assert read_improvement(tmp_path) is None
    told = [story(2006, "1", 4)]
    report = build_report(told, SECTIONS, 1.0, ENVIRONMENT) | SECTIONS.measured(tmp_path)
    html, kept = write_report(report, told, SECTIONS, tmp_path, {})
    assert "How it improves" not in html.read_text(encoding="utf-8")
    assert "improvement" not in json.loads(kept.read_text())


def test_what_the_benchmark_wrote_stands_on_the_page_and_in_the_json(tmp_path: Path) -> None:
    path = tmp_path / KEPT_AT
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(figures()))
    told = [story(2006, "1", 4)]
    report = build_report(told, SECTIONS, 1.0, ENVIRONMENT) | SECTIONS.measured(tmp_path)
    html, kept = write_report(report, told, SECTIONS, tmp_path, {})
    text = html.read_text(encoding="utf-8")
    assert "How it improves" in text
    assert "benchmarks/improvement.py" in text
    assert json.loads(kept.read_text())["improvement"] == figures()


@pytest.mark.parametrize("text", ["{", '{"seasons": []}'])
def test_a_broken_file_is_refused_by_name_with_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / KEPT_AT
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(DataError, match=r"improvement\.json .*run benchmarks/improvement\.py again"):
        read_improvement(tmp_path)


def test_the_table_has_every_variant_and_its_interval() -> None:
    text = improvement_section(figures())
    for label in ("not retrained", "selected days", "random days", "all days", "threshold practice"):
        assert label in text
    assert '−290<br><small class="quiet">+20 (+15 to +25)</small>' in text
    assert '2.00<br><small class="quiet">−0.50 (−0.60 to −0.40)</small>' in text


def test_the_picture_follows_the_readers_colours_and_tells_every_season() -> None:
    picture = improvement_picture(figures())
    assert not re.search(r"#[0-9a-f]{6}\b", picture.svg)
    assert set(re.findall(r"var\(--(\w+)\)", picture.svg)) <= COLOURS.keys()
    assert all(str(season) in picture.told for season in SEASONS)


def test_a_gain_is_said_with_its_interval() -> None:
    first, second = improvement_sentences(figures())
    assert "earned 20 USD/ha more (95 % interval +15 to +25) than the first model" in first
    assert "0.50 t/ha less (95 % interval −0.60 to −0.40) of error, 2.00 for 2.50" in first
    assert "35 % of the bytes" in second
    assert "with selected days: −290 USD/ha and 2.00 t/ha; with random days" in second


def test_a_loss_and_what_may_be_chance_are_said_too() -> None:
    behind = copy.deepcopy(figures())
    selected = behind["last_seasons"]["selected"]
    selected |= {"profit_usd_ha": -330.0, "yield_rmse_t_ha": 2.6}
    selected["profit_gain_usd_ha"] = {"mean": -20.0, "low": -45.0, "high": 5.0}
    first, _ = improvement_sentences(behind)
    assert "earned 20 USD/ha less (within chance: 95 % interval −45 to +5)" in first
