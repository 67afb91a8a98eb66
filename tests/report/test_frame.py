"""The frame of the report around another workload's sections: its words and units, and nobody else's."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fieldloop.report import PeriodStory, build_report, period_markdown, period_pictures, terminal_summary, write_report
from fieldloop.report.page import page
from fieldloop.report.pictures import draw_pictures
from tests.report.bearings import ENVIRONMENT, SECTIONS, story

OTHERS_WORDS = (
    r"(?i)agricult|irrigat|nitrogen|yield|maize|crop|soil|harvest|planting|grower|weather|/ha\b|rainfed|threshold|"
    r"calendar|field-|\bfields?\b|\bdays?\b"
)


@pytest.fixture(scope="module")
def stories() -> list[PeriodStory]:
    return [story(2006, "1"), story(2007, "2")]


@pytest.fixture(scope="module")
def report(stories: list[PeriodStory]) -> dict[str, Any]:
    return build_report(stories, SECTIONS, 372.4, ENVIRONMENT)


@pytest.fixture(scope="module")
def text(stories: list[PeriodStory], report: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    home_dir: Path = tmp_path_factory.mktemp("bearings") / ".fieldloop"
    html, kept = write_report(report, stories, SECTIONS, home_dir, {})
    told = json.loads(kept.read_text())
    assert told["seasons"][1]["vibration_rmse_mm_s"] == 0.31
    assert told["seasons"][1]["hours_run"] == {"fieldloop": 3606, "fixed": 4000}
    return html.read_text(encoding="utf-8")


def test_the_page_shows_the_workloads_sections_around_the_gates_verdict(text: str) -> None:
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles[:3] == ["What the bearings ran", "How well the model foresees the wear", "What else was measured"]
    assert titles[3:] == ["What came home", "On the device", "What was refused", "Where each number comes from"]


def test_the_page_speaks_in_the_workloads_units(text: str) -> None:
    assert "<b>0.31 <small>mm/s</small></b><span>vibration error on devices in 2007</span>" in text
    assert "vibration error (RMSE), mm/s" in text
    assert "INT8&#x27;s held-out vibration error is +0.40 %" in text
    assert "the outcomes and the most telling windows" in text
    assert "<code>2006/b-0/1</code><br>replace after 900 hours" in text
    assert 'class="card behind"><b>3,606 <small>h</small></b>' in text


def test_what_the_workload_says_as_text_is_escaped(text: str) -> None:
    assert "Bearings &lt;of any kind&gt; ran 3,606 hours." in text
    assert "run before &lt;replacement&gt;" in text


def test_nothing_of_another_workload_is_said(text: str, report: dict[str, Any], stories: list[PeriodStory]) -> None:
    page = re.sub(r"(?s)<style>.*?</style>", "", text)
    pictures = period_pictures(report, SECTIONS)
    assert list(pictures) == ["hours", "error", "bytes", "latency"]
    said = [page, terminal_summary(report, SECTIONS, {}), period_markdown(stories[1], SECTIONS, stories), *pictures]
    assert not [word for one in said for word in re.findall(OTHERS_WORDS, re.sub("(?i)fieldloop", "", one))]


def test_the_terminal_and_the_artifact_have_the_workloads_figures(
    report: dict[str, Any], stories: list[PeriodStory]
) -> None:
    said = terminal_summary(report, SECTIONS, {})
    assert re.search(r"hours +error", said)
    assert re.search(r"2007 +v2 +3,606 +0\.31", said)
    markdown = period_markdown(stories[1], SECTIONS, stories)
    assert "- They ran.\n- In 2007, 4 devices collected 90.0 kB" in markdown


def test_a_figure_that_is_none_has_no_card(report: dict[str, Any], tmp_path: Path) -> None:
    periods = [{**period, "vibration_rmse_mm_s": None} for period in report["seasons"]]
    cards = page({**report, "seasons": periods}, SECTIONS, tmp_path, {}).partition("</header>")[0]
    assert "lost on the way home" in cards and "–" not in cards
    assert "on devices in" not in cards


def test_a_period_without_a_decision_has_no_time_of_one(report: dict[str, Any], tmp_path: Path) -> None:
    idle = {"latency_p50_ms": None, "latency_p99_ms": None, "recommendations": 0}
    periods = [*report["seasons"][:-1], {**report["seasons"][-1], **idle}]
    told = {**report, "seasons": periods}
    assert "In 2007, no decision was asked for." in terminal_summary(told, SECTIONS, {})
    assert "In 2007, no decision was asked for." in page(told, SECTIONS, tmp_path, {})
    assert "2007" not in draw_pictures(told, SECTIONS)["latency"].told
