import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldedge.contract.samples import FlaggedSample, Sample
from fieldedge.page.loggers import logger_health
from fieldedge.page.render import STYLE, STYLE_HASH, render, render_failure
from fieldedge.page.view import plain, read_view
from fieldedge.presentation.facts import (
    ClockFacts,
    EpisodeRecords,
    EventFacts,
    LinkFacts,
    ModelFacts,
    Notice,
    StoreFacts,
    View,
)
from tests.edge.page.season import seasoned_device, service_state
from tests.edge.sample import AGRICULTURE, field_record
from tests.edge.workloads.agriculture.test_presenter import JUNK, RECORD, TODAY

KNOWN_TAGS = {
    *("html", "head", "meta", "link", "title", "style", "body", "header", "main", "footer", "section"),
    *("h1", "h2", "h3", "p", "ul", "ol", "li", "dl", "dt", "dd", "div", "span", "small", "br", "i", "a"),
    *("table", "thead", "tbody", "tr", "th", "td", "details", "summary"),
    *("figure", "svg", "path", "rect", "circle", "text", "desc"),
}
VOID = {"meta", "link", "br"}
OPEN_ENDED = {"li", "dt", "dd", "tr", "th", "td", "p"}  # HTML closes them itself
PIERCING = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;\u202e\ud800\x00"


class Page(HTMLParser):
    """Reads a page and notes what must not be in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.foreign: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in KNOWN_TAGS:
            self.foreign.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name in ("style", "src"):
                self.foreign.append(f"{tag} {name}")
            if name == "href" and not str(value).startswith(("data:image/svg+xml,", "status.json")):
                self.foreign.append(f"{tag} {value}")
        if tag not in VOID | OPEN_ENDED and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in OPEN_ENDED:
            assert self.open and self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def checked(view: View) -> Page:
    text = render(view)
    text.encode()
    page = Page(text)
    assert page.foreign == [] and page.open == []
    assert "<script" not in text and "nan" not in re.sub(r"<style>.*</style>", "", text).lower().split()
    return page


def view_of(season: EpisodeRecords | None, said: str, flagged: list[FlaggedSample], state: dict[str, Any]) -> View:
    season = season or EpisodeRecords(field_record())
    now = "2006-05-11T06:00:00Z"
    health = logger_health(said, flagged, _at(now), AGRICULTURE.presenter)
    return View(
        device_id=said,
        workload=said,
        clock=ClockFacts(now, None, said),
        model=ModelFacts(said, said, said, said, said),
        store=StoreFacts(1, 5, {said: 3}),
        link=LinkFacts(said, 2, 9, said, said),
        period=2006,
        place=AGRICULTURE.presenter.place(season, TODAY),
        notices=(Notice("bad", said),),
        next_steps=(said,),
        advice=AGRICULTURE.presenter.advice(season, TODAY),
        figures=AGRICULTURE.presenter.figures(season),
        chart=AGRICULTURE.presenter.chart(season),
        history=AGRICULTURE.presenter.history(season, 10),
        loggers=(health,),
        more_loggers=3,
        steps=(state,),  # type: ignore[arg-type]  # whatever a service says
        events=(EventFacts(said, said, said, said, 2),),
    )


def _at(utc: str) -> Any:
    from fieldedge.system.clock import parse_utc

    return parse_utc(utc)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    RECORD,
    st.lists(RECORD, max_size=3),
    st.lists(RECORD, max_size=3),
    st.text(),
    st.dictionaries(st.text(max_size=20), st.one_of(st.none(), st.floats()), max_size=4),
    st.dictionaries(st.sampled_from(["name", "failures", "error", "due_in_s"]), JUNK),
)
def test_whatever_is_stored_or_said_the_page_is_whole_and_escaped(
    field: dict[str, Any],
    records: list[dict[str, Any]],
    others: list[dict[str, Any]],
    said: str,
    values: dict[str, float | None],
    state: dict[str, Any],
) -> None:
    records = [{"date": "2006-05-10", **record} for record in records]
    season = EpisodeRecords({**field_record(), **field}, others, records, records, others)
    flags = dict.fromkeys(values, said)
    checked(view_of(season, said, [FlaggedSample(Sample("a", said, values), flags)], state))  # type: ignore[arg-type]


def test_markup_in_every_text_stays_text() -> None:
    record = {"date": "2006-05-11", "reasons": [PIERCING], "guardrails": [PIERCING], "model_version": PIERCING}
    operation = {"date": "2006-05-11", "source": "override", "why": PIERCING, "nitrogen_kg_ha": 3.0}
    field = {**field_record(), "soil": PIERCING, "crop": PIERCING, "field_id": PIERCING}
    season = EpisodeRecords(field, decisions=[record], actions=[operation])
    sample = FlaggedSample(Sample("a", PIERCING, {PIERCING: 1.0}), {PIERCING: PIERCING})  # type: ignore[dict-item]
    page = checked(view_of(season, PIERCING, [sample], {"name": PIERCING, "failures": 2, "error": PIERCING}))
    assert page.text.count("<script>alert(1)</script>") > 10


def test_a_page_that_could_not_be_made_is_whole_too() -> None:
    page = Page(render_failure(PIERCING, PIERCING))
    assert page.foreign == [] and page.open == []


def test_the_mark_of_a_page_and_of_its_tab_is_a_ring_whatever_the_workload() -> None:
    text = render_failure("dev-00", "x")
    ring, leaf = "M19 12a7 7 0 1 1-3.5-6.06M12 12h.01", "M4 20c0-9"
    assert (text.count(ring), text.count(leaf)) == (2, 0)


def test_the_style_is_the_one_that_the_policy_lets_in(tmp_path: Path) -> None:
    text = render_failure("dev-00", "x")
    assert f"<style>{STYLE}</style>" in text and len(STYLE_HASH) == 44
    assert "url(" not in STYLE and "@import" not in STYLE


def test_a_full_season_with_four_loggers_stays_small(tmp_path: Path) -> None:
    device = seasoned_device(tmp_path, 150, samples_per_day=24, sampled_days=20)
    with device.open() as store:
        view = read_view(device.directory, device.config, AGRICULTURE, device.now, store, service_state(device.now))
    text = render(view)
    assert view.chart is not None and view.chart.days == 150 and len(view.loggers) == 4
    assert len(text.encode()) < 100_000
    checked(view)


@pytest.mark.parametrize("days_later", [0, 1, 30])
def test_the_page_names_the_day_that_its_advice_is_for(tmp_path: Path, days_later: int) -> None:
    device = seasoned_device(tmp_path, 5)
    with device.open() as store:
        now = device.now + timedelta(days=days_later)
        text = Page(render(read_view(device.directory, device.config, AGRICULTURE, now, store))).text
    assert ("there is none for today" in text) == (days_later > 0)
    assert "Friday, 5 May" in text


def test_the_worst_text_keeps_the_page_below_its_bound() -> None:
    long = "lorem ipsum " * 9_000
    events = (EventFacts(long, long, "", "", 1),) * 12
    view = view_of(None, long, [], {"name": long, "failures": 1, "error": long})
    text = render(View(**{**vars(view), "events": events, "notices": (Notice("bad", long),) * 20}))
    assert len(text.encode()) < 100_000
    assert len(plain(view)["events"]) == 1
