"""The written page: whole, self-contained, honest; and its pictures."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fieldloop.report import PeriodStory, build_report, period_pictures, write_report
from fieldloop.report.pictures import COLOURS, Picture, draw_pictures
from tests.workloads.agriculture.report.sample_story import ENVIRONMENT, SECTIONS, story

VOID = {"meta", "br", "link", "img", "hr", "input"}
PICTURES = {"profit", "yield", "water", "gain", "error", "bytes", "latency"}
LINKS = {"Data Docs": "/nowhere/docs/index.html", "MLflow": "http://127.0.0.1:5000"}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Outline(HTMLParser):
    """What a browser would see: tags that close each other, addresses, ids, and the words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    def _note(self, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def stories() -> list[PeriodStory]:
    return [story(2006, "1", 6), story(2007, "2", 6)]


@pytest.fixture(scope="module")
def report(stories: list[PeriodStory]) -> dict[str, Any]:
    return build_report(stories, SECTIONS, 372.4, ENVIRONMENT)


@pytest.fixture(scope="module")
def home(stories: list[PeriodStory], report: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    home_dir = tmp_path_factory.mktemp("run") / ".fieldloop"
    write_report(report, stories, SECTIONS, home_dir, LINKS)
    return home_dir


@pytest.fixture(scope="module")
def drawn(report: dict[str, Any]) -> dict[str, Picture]:
    return draw_pictures(report, SECTIONS)


@pytest.fixture(scope="module")
def outline(home: Path) -> Outline:
    return Outline((home / "report.html").read_text(encoding="utf-8"))


def test_the_page_is_well_formed_and_no_id_comes_twice(outline: Outline) -> None:
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))


def test_the_page_loads_nothing(home: Path, outline: Outline) -> None:
    text = (home / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|iframe|img)\b|@import|url\((?!#)", text)
    assert "default-src 'none'" in text
    inside = {address.removeprefix("#") for address in outline.addresses if address.startswith("#")}
    assert inside <= set(outline.ids)
    assert [address for address in outline.addresses if "://" in address] == ["http://127.0.0.1:5000"]


def test_links_to_files_are_seen_from_the_page(outline: Outline) -> None:
    assert outline.addresses[0].startswith("../")
    assert outline.addresses[0].endswith("/nowhere/docs/index.html")


def test_the_page_tells_where_each_number_comes_from(stories: list[PeriodStory], outline: Outline) -> None:
    for told in stories:
        trace = [
            told.trace["recommendation"]["record_id"],
            told.released["sha256"],
            told.registered["mlflow_run_id"],
            told.registered["data_hash"],
            told.data_hash,
            told.data_hash_after,
            told.trace["batch_id"],
            *(note["device_id"] for note in told.trace["batches"].values()),
        ]
        assert [step for step in trace if step not in outline.text] == []


def test_the_page_says_the_gates_and_the_quarantines_reasons(stories: list[PeriodStory], outline: Outline) -> None:
    reason = stories[1].verdict["reason"].removeprefix("promoted")
    assert reason in outline.text
    assert "27 % of the bytes" in outline.text
    assert "vwc_15cm_m3_m3 is between 0.0 and 0.75 m3/m3 (14)" in outline.text


def test_figures_of_the_page_and_of_the_json_are_the_same(home: Path, report: dict[str, Any]) -> None:
    written = json.loads((home / "report.json").read_text())
    told = written.pop("stories")
    assert written == report
    again = build_report([PeriodStory(**one) for one in told], SECTIONS, report["wall_s"], report["environment"])
    assert again == report


@pytest.mark.slow
def test_writing_again_gives_the_same_bytes(
    stories: list[PeriodStory], report: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    first, again = home / "report.html", write_report(report, stories, SECTIONS, tmp_path / ".fieldloop", LINKS)
    assert again.html.read_bytes() == first.read_bytes()
    assert sorted(path.name for path in again.html.parent.iterdir()) == ["report.html", "report.json"]


def test_what_comes_from_data_is_escaped(stories: list[PeriodStory], tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    told = replace(
        stories[0],
        snapshot_note=evil,
        verdict={**stories[0].verdict, "reason": evil},
        ingest={**stories[0].ingest, "refused": {"ab" * 32: evil}},
    )
    html, _ = write_report(build_report([told], SECTIONS, 1.0, {evil: evil}), [told], SECTIONS, tmp_path, {evil: evil})
    text = html.read_text(encoding="utf-8")
    assert "<script" not in text
    assert Outline(text).open == []


def test_a_season_without_model_trace_or_batches_still_has_its_page(stories: list[PeriodStory], tmp_path: Path) -> None:
    told = replace(
        stories[0],
        fleet={**stories[0].fleet, "yield_rmse_t_ha": None, "bytes_collected": 0, "bytes_sent": 0},
        ingest={**stories[0].ingest, "batches": [], "docs_index": None},
        trace={},
    )
    html, _ = write_report(build_report([told], SECTIONS, 1.0, {}), [told], SECTIONS, tmp_path, {})
    text = Outline(html.read_text(encoding="utf-8")).text
    assert "no model recommended anything that came home" in text
    assert "none came home" in text


def test_every_picture_is_a_png_for_artifacts(report: dict[str, Any], stories: list[PeriodStory]) -> None:
    pictures = period_pictures(report, SECTIONS, stories)
    assert pictures.keys() == PICTURES
    assert all(png.startswith(PNG_SIGNATURE) for png in pictures.values())


def test_pictures_on_the_page_follow_the_readers_colours_and_say_what_they_show(drawn: dict[str, Picture]) -> None:
    for picture in drawn.values():
        colours = set(re.findall(r"#[0-9a-f]{6}\b", picture.svg))
        assert colours == set(), picture.name
        assert set(re.findall(r"var\(--(\w+)\)", picture.svg)) <= COLOURS.keys()
        assert "2006" in picture.told
        assert "2007" in picture.told


def test_every_field_is_a_dot_in_the_picture_of_profit(drawn: dict[str, Picture]) -> None:
    dots_and_means = 2 * 5 * (6 + 1)
    assert len(re.findall(r"<use ", drawn["profit"].svg)) == dots_and_means
