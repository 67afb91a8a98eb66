"""Draws docs/device_page.png: the page of a device in mid-season, its beginning on a desk and the rest on a phone.

    python -m tests.edge.page.picture [docs/device_page.png]

Needs Chromium, Playwright and Pillow. The season is that of the tests.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from fieldedge.page.server import page_server
from tests.edge.page.chromium import chromium, visit
from tests.edge.page.season import seasoned_device, service_state

DAYS = 70
HEIGHT, GAP, GROUND = 1120, 24, (226, 231, 225)
VIEWS = ((800, "light", "body"), (390, "dark", "section:has(.history)"))
COLOURS = 256


def draw(target: Path) -> None:
    """Write the picture."""
    shots = []
    with tempfile.TemporaryDirectory() as folder:
        device = seasoned_device(Path(folder), DAYS)
        with (
            page_server(
                device.directory, device.config, lambda: device.now, lambda: service_state(device.now)
            ) as server,
            chromium() as browser,
        ):
            for width, scheme, first in VIEWS:
                with visit(browser, server.url, width, HEIGHT, scheme) as found:
                    found.page.evaluate("place => scrollTo(0, document.querySelector(place).offsetTop - 14)", first)
                    shots.append(Image.open(io.BytesIO(found.page.screenshot())).convert("RGB"))
    width = sum(shot.width for shot in shots) + GAP * (len(shots) + 1)
    picture = Image.new("RGB", (width, HEIGHT + 2 * GAP), GROUND)
    left = GAP
    for shot in shots:
        picture.paste(shot, (left, GAP))
        left += shot.width + GAP
    picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/device_page.png"))
