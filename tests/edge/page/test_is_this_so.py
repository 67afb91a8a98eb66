"""What the season taught is asked on the page, answered there or on a terminal, and holds from the next decision on."""

import html
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fieldedge.cli import main
from fieldedge.contract import Record
from fieldedge.device.config import DeviceDirectory, PageConfig
from fieldedge.page.server import PageServer, page_server
from fieldedge.system.clock import Clock
from tests.edge.page.chromium import chromium, visit
from tests.edge.page.season import service_state
from tests.edge.page.taught import TaughtDevice, taught_device
from tests.edge.page.test_answers import page, post
from tests.edge.sample import DEVICE_ID, EPISODE, Repository, day_of, field_record

DAYS = 90
TODAY = day_of(DAYS)
SOIL, SHARE = "field_capacity", "delivered_share"
LONGEST_SENTENCE = 130  # characters, four lines on a phone


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> TaughtDevice:
    """Its soil holds 13 % less than it was told, and a fifth of the irrigation never arrives."""
    return taught_device(tmp_path_factory.mktemp("lived") / "device", DAYS, capacity_told=1.15, share=0.8)


@pytest.fixture
def taught(lived: TaughtDevice, tmp_path: Path, repository: Repository, capsys: Any) -> TaughtDevice:
    """The same, provisioned, for one test alone."""
    root = tmp_path / "device"
    shutil.copytree(lived.device.directory.root, root)
    named = ["--device-id", DEVICE_ID, "--workload", "agriculture", "--root", str(repository.trusted_root)]
    assert main(["init", "--dir", str(root), *named]) == 0
    capsys.readouterr()
    return replace(lived, device=replace(lived.device, directory=DeviceDirectory(root)))


@pytest.fixture
def server(taught: TaughtDevice) -> Iterator[PageServer]:
    device = taught.device
    with page_server(
        device.directory, device.config, lambda: taught.device.now, lambda: service_state(device.now)
    ) as serving:
        yield serving


def forms_about(text: str) -> dict[str, dict[str, str]]:
    """The hidden fields of the questions about what was learned, by their factor."""
    found = {}
    for form in re.findall(r"<form.*?</form>", text):
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
        if "about" in hidden:
            found[hidden["about"]] = hidden
    return found


def asked(text: str) -> list[str]:
    """What the page asks under "Is this so?", as a person reads it."""
    panel = re.search(r"<h2>Is this so\?</h2>(.*?)</section>", text)
    return [] if panel is None else [html.unescape(one) for one in re.findall(r"</h3><p>(.*?)</p><form", panel[1])]


def rows(taught: TaughtDevice, table: str = "confirmations") -> list[Record]:
    with taught.device.open() as store:
        return store.records(EPISODE, table)


def test_each_finding_is_asked_once_with_its_interval_and_an_answer_in_its_own_words(server: PageServer) -> None:
    text = page(server)
    soil, share = asked(text)
    assert re.fullmatch(r"The soil holds less water .*about 8\d\xa0% .*\(80\xa0% sure: 8\d to 9\d\xa0%\)\.", soil)
    assert re.match(r"Not all of your irrigation arrives: about \d\d\xa0% of it, perhaps less\.", share)
    assert html.unescape(text).count(soil) == html.unescape(text).count(share) == 1, "not above as a reason too"
    assert "No, it is as I told you" in text and "No, it is as I noted" in text
    assert set(forms_about(text)) == {SOIL, SHARE}
    for sentence in re.split(r"(?<=[.?]) ", f"{soil} {share}"):
        assert len(sentence) <= LONGEST_SENTENCE


def test_a_page_that_takes_no_answers_says_what_was_learned_and_does_not_ask(taught: TaughtDevice) -> None:
    quiet = replace(taught.device.config, page=PageConfig(port=0, takes_answers=False))
    with page_server(taught.device.directory, quiet, lambda: taught.device.now) as server:
        text = page(server)
    assert asked(text) == [] and "The soil holds less water than you told me." in text


@pytest.mark.parametrize(("answer", "times"), [("taken", 0.88), ("refused", 0.97)])
def test_an_answer_is_kept_and_its_question_is_gone_at_once_and_on_the_days_after(
    server: PageServer, taught: TaughtDevice, answer: str, times: float
) -> None:
    """What was told holds again where it is not so, but for what little doubt a person's word leaves."""
    told = field_record()["field_capacity_m3_m3"] * 1.15
    before = rows(taught, "recommendations")[-1]
    code, headers, _ = post(server, {**forms_about(page(server))[SOIL], "answer": answer})
    assert (code, headers["location"]) == (303, "./")
    (row,) = rows(taught)
    assert (row["factor"], row["answer"], row["date"]) == (SOIL, answer, TODAY)
    (learned,) = [one for one in before["learned"] if one["name"] == SOIL]
    assert row["times"] == learned["times"]
    text = page(server)
    assert set(forms_about(text)) == {SHARE} and "The soil holds less" not in text
    assert f"field capacity: {'taken, 8' if answer == 'taken' else 'not so, it is as before'}" in html.unescape(text)
    after = taught.go_on(1)
    assert after["x_field_capacity_m3_m3"] == pytest.approx(times * told, rel=0.02)
    assert SOIL not in [one["name"] for one in after.get("learned", [])]
    assert SOIL not in forms_about(page(server))


def test_a_button_that_is_pressed_twice_notes_one_answer(server: PageServer, taught: TaughtDevice) -> None:
    form = {**forms_about(page(server))[SOIL], "answer": "taken"}
    assert [post(server, form)[0] for _ in range(2)] == [303, 303]
    assert len(rows(taught)) == 1


def test_who_pressed_the_wrong_button_says_so_on_the_same_page_and_the_last_word_counts(
    server: PageServer, taught: TaughtDevice
) -> None:
    form = forms_about(page(server))[SOIL]
    assert [post(server, {**form, "answer": answer})[0] for answer in ("taken", "refused")] == [303, 303]
    (row,) = rows(taught)
    assert row["answer"] == "refused"
    assert taught.go_on(1)["x_field_capacity_m3_m3"] == pytest.approx(0.97 * 0.22 * 1.15, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answer": "perhaps"}, "expected taken or refused"),
        ({"answer": "taken", "about": "gauge"}, "does not ask about &#x27;gauge&#x27;"),
        ({"answer": "taken", "about": "<script>"}, "does not ask about &#x27;&lt;script&gt;&#x27;"),
        ({"answer": "taken", "about": ""}, "it asks about field_capacity, delivered_share"),
        ({"answer": "taken", "episode": "2001/elsewhere"}, "the device has "),
        ({"answer": "taken", "token": "x"}, "open it again"),
    ],
)
def test_an_answer_to_what_was_not_asked_is_refused_in_words_and_nothing_is_kept(
    server: PageServer, taught: TaughtDevice, changes: dict[str, str], said: str
) -> None:
    code, _, text = post(server, {**forms_about(page(server))[SOIL], **changes})
    assert code in (403, 422) and said in text and "This was not noted" in text
    assert rows(taught) == []


# Page, terminal and record


def command(taught: TaughtDevice, capsys: Any, *arguments: str) -> Record:
    assert main([*arguments, "--dir", str(taught.device.directory.root), "--json"]) == 0
    said: Record = json.loads(capsys.readouterr().out)
    return said


def learned(taught: TaughtDevice, capsys: Any, *arguments: str) -> Record:
    return command(taught, capsys, "learned", *arguments)


def test_page_terminal_and_record_say_the_same_before_and_after_an_answer(
    server: PageServer, taught: TaughtDevice, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = rows(taught, "recommendations")[-1]
    found = learned(taught, capsys)["findings"]
    assert [one["name"] for one in found] == list(forms_about(page(server))) == [SOIL, SHARE]
    assert [{k: v for k, v in one.items() if k != "date"} for one in found] == record["learned"]
    monkeypatch.setattr(Clock, "now", lambda _: taught.device.now)
    reasons = command(taught, capsys, "status")["advice"]["reasons"]
    assert [one.replace("\u00a0", " ") for one in asked(page(server))] == reasons[-2:]
    learned(taught, capsys, "--take", SHARE)
    server.pages._kept = {}
    assert list(forms_about(page(server))) == [SOIL] == [one["name"] for one in learned(taught, capsys)["findings"]]
    after = command(taught, capsys, "status")
    assert after["advice"]["reasons"] == reasons[:-1]
    assert re.fullmatch(r"delivered share: taken, \d\d % of what is noted", after["events"][0]["text"])


def test_what_was_answered_on_a_terminal_changes_the_water_that_a_running_device_reckons_with(
    taught: TaughtDevice, capsys: Any
) -> None:
    untold = rows(taught, "recommendations")[-1]
    learned(taught, capsys, "--take", SOIL)
    learned(taught, capsys, "--take", SHARE)
    after = taught.go_on(2)
    assert after["x_taw_mm"] < untold["x_taw_mm"] * 1.02
    assert after.get("learned") is None
    assert [one["answer"] for one in learned(taught, capsys)["answers"]] == ["taken", "taken"]


def test_a_season_in_which_all_was_as_told_asks_nothing(tmp_path: Path) -> None:
    plain = taught_device(tmp_path / "device", DAYS)
    with page_server(plain.device.directory, plain.device.config, lambda: plain.device.now) as server:
        assert "Is this so?" not in page(server)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(360, 740), (900, 1600)])
def test_the_question_is_answered_with_a_thumb_in_a_real_browser(
    server: PageServer, taught: TaughtDevice, width: int, height: int
) -> None:
    with chromium() as browser, visit(browser, server.url, width, height) as found:
        assert not found.scrolls_sideways()
        buttons = found.page.locator("section.ask:has(h2:text('Is this so?')) button")
        assert buttons.count() == 4
        for place in range(4):
            box = buttons.nth(place).bounding_box()
            assert box["height"] >= 44 and box["x"] + box["width"] <= width
        buttons.nth(0).click()
        found.page.wait_for_selector("text=field capacity: taken")
        assert found.page.locator("section.ask button[value=taken]").count() == 1
        assert found.complaints == []
    assert [row["answer"] for row in rows(taught)] == ["taken"]
