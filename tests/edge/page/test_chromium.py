"""The page in a real Chromium: it fits a phone and a desk, asks for nothing elsewhere, and nothing complains."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldedge.contract.samples import FlaggedSample, Sample
from fieldedge.page.server import page_server
from tests.edge.page.chromium import chromium, visit
from tests.edge.page.season import SeasonedDevice, empty_device, seasoned_device, service_state

WINDOWS = [(360, 740, "dark"), (390, 844, "light"), (1280, 900, "light")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> SeasonedDevice:
    device = seasoned_device(tmp_path_factory.mktemp("device"), 70)
    strange = {f"channel_of_a_name_without_any_end_{'x' * 80}_c": 12.3456}
    with device.open() as store:
        store.add_samples([FlaggedSample(Sample("logger-" + "y" * 80, "2006-07-09T06:00:00Z", strange), {})])
        store.add_event("word", "z" * 300)
    return device


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height", "scheme"), WINDOWS)
def test_the_page_fits_and_needs_nothing_from_elsewhere(
    browser: Any, device: SeasonedDevice, tmp_path: Path, width: int, height: int, scheme: str
) -> None:
    with (
        page_server(device.directory, device.config, lambda: device.now, lambda: service_state(device.now)) as server,
        visit(browser, server.url, width, height, scheme) as found,
    ):
        page = found.page
        assert page.inner_text("h1") == "Irrigate 25\u00a0mm today"
        assert not found.scrolls_sideways()
        assert [page.is_visible("svg.phone"), page.is_visible("svg.wide")] == [width < 640, width >= 640]
        page.click("summary:has-text('Day by day')")
        assert page.is_visible("table.days") and not found.scrolls_sideways()
        assert found.complaints == [] and found.asked_elsewhere(server.url) == []
        assert found.asked_for == [server.url]
        assert page.evaluate("document.cookie") == ""
        picture = tmp_path / f"page_{width}.png"
        page.screenshot(path=picture, full_page=True)
        assert picture.stat().st_size > 20_000


@pytest.mark.slow
def test_an_empty_device_fits_a_phone(browser: Any, tmp_path: Path) -> None:
    device = empty_device(tmp_path)
    with (
        page_server(device.directory, device.config, lambda: device.now) as server,
        visit(browser, server.url, 360, 740) as found,
    ):
        assert found.page.inner_text("h1") == "No recommendation yet"
        assert found.page.is_visible("text=What to do next")
        assert not found.scrolls_sideways() and found.complaints == []


@pytest.mark.slow
def test_a_grower_answers_on_a_phone_by_touch_and_by_keyboard(browser: Any, tmp_path: Path) -> None:
    device = seasoned_device(tmp_path, 70, samples_per_day=4)
    with (
        page_server(device.directory, device.config, lambda: device.now) as server,
        visit(browser, server.url, 360, 740, "dark") as found,
    ):
        page = found.page
        groups = page.locator(".ask [role=group]")
        assert groups.count() == 2 and not found.scrolls_sideways()
        page.click("text=Another amount >> nth=0")
        assert not found.scrolls_sideways()
        page.fill("label:has-text('Water') + input >> nth=0", "12,5")
        page.fill("label:has-text('Why') + input >> nth=0", "the pump is weak")
        page.press("label:has-text('Why') + input >> nth=0", "Enter")  # notes the amounts, and is no yes
        page.wait_for_selector("td:has-text('the pump is weak')")
        assert groups.count() == 1
        page.click("text=Yes, as recommended")
        page.wait_for_selector(".ask", state="detached")
        assert page.url == server.url
        assert found.complaints == [] and found.asked_elsewhere(server.url) == []
    with device.open() as store:
        last = {record["date"]: record for record in store.records("2006", "operations")}
    today, before = (last[day] for day in ("2006-07-09", "2006-07-06"))
    assert (today["irrigation_mm"], today["source"], today["why"]) == (12.5, "override", "the pump is weak")
    assert (before["irrigation_mm"], before["source"], before["basis"]) == (25.0, "recommendation", "confirmed")


@pytest.mark.slow
def test_text_stands_out_from_its_ground_in_light_and_dark(browser: Any, device: SeasonedDevice) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text."""
    with page_server(device.directory, device.config, lambda: device.now, lambda: service_state(device.now)) as server:
        for scheme in ("light", "dark"):
            with visit(browser, server.url, 390, 844, scheme) as found:
                weak = found.page.evaluate(_WEAK_TEXT)
                assert weak == [], scheme


_WEAK_TEXT = """() => {
  const light = c => c.map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 })
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const ground = node => { for (; node; node = node.parentElement) {
    const c = numbers(getComputedStyle(node).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c.slice(0, 3); } };
  const weak = [];
  for (const node of document.querySelectorAll('h1,h2,h3,p,li,dt,dd,th,td,small,span,summary,a,svg text')) {
    if (!node.textContent.trim() || !node.checkVisibility()) continue;
    const style = getComputedStyle(node), ink = numbers(node.tagName === 'text' ? style.fill : style.color);
    const [a, b] = [light(ink.slice(0, 3)), light(ground(node))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) weak.push(node.tagName + ': ' + node.textContent.slice(0, 40));
  }
  return [...new Set(weak)];
}"""
