"""The system's own Chromium, driven by Playwright. Where either is missing, the test that asks for it is skipped."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.edge.patience import PATIENCE_S

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


@dataclass
class Visit:
    """A page in the browser, and what it complained of or asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)

    def asked_elsewhere(self, origin: str) -> list[str]:
        """The requests that went anywhere but to that origin."""
        own = urlsplit(origin).netloc
        return [url for url in self.asked_for if urlsplit(url).netloc != own and not url.startswith("data:")]

    def scrolls_sideways(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next((path for name in NAMES if (path := shutil.which(name)) is not None), None)
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS), timeout=1000.0 * PATIENCE_S)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(
    browser: Any, url: str, width: int, height: int, scheme: str = "light", scale: float = 1.0
) -> Iterator[Visit]:
    """That page in a window of its own."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=scale
    )
    try:
        context.set_default_timeout(1000.0 * PATIENCE_S)
        found = Visit(context.new_page())
        found.page.on("console", lambda message: found.complaints.append(message.text))
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("request", lambda request: found.asked_for.append(request.url))
        found.page.goto(url)
        yield found
    finally:
        context.close()
