"""Draw the rooms of both packages and the arrows between them: `python tools/house.py [--check]`.

The layers are those of import-linter in pyproject.toml, the arrows are the imports themselves: what the picture shows
is what the code does. An arrow that a way over other rooms says already is left out. With `--check` nothing is written;
it ends with 1 where the picture is out of date.
"""

import sys
import tomllib
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "house.svg"
ABOUT = "The rooms of the cloud and of the device; an arrow leads to what a room stands on."
BOX_W, BOX_H, GAP_X, GAP_Y, MARGIN = 148, 34, 18, 44, 24
STYLE = (
    "svg{--paper:#fff;--ink:#1d2a26;--soft:#5b6b65;--line:#9fb0a7;--box:#f3f6f2;font:13px system-ui,sans-serif}"
    "@media(prefers-color-scheme:dark){svg{--paper:#141a18;--ink:#e6ece8;--soft:#9fb0a7;--line:#5b6b65;--box:#1f2825}}"
    ".paper{fill:var(--paper)}.room{fill:var(--box);stroke:var(--line)}text{fill:var(--ink)}"
    ".head{font-weight:600;font-size:15px}.arrow{stroke:var(--line);fill:none}.tip{fill:var(--line)}"
)


def layers_of(package: str) -> list[list[str]]:
    """The rooms of a package from top to bottom, as import-linter holds them."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for contract in config["tool"]["importlinter"]["contracts"]:
        layers = [[name.strip() for name in layer.split("|")] for layer in contract.get("layers", ())]
        if layers and layers[0][0].startswith(f"{package}."):
            return layers
    raise SystemExit(f"pyproject.toml has no layers of {package}")


def arrows_of(package: str, rooms: list[str]) -> list[tuple[str, str]]:
    """Which room imports which."""
    graph = grimp.build_graph(package)
    inside = {room: {room, *graph.find_descendants(room)} for room in rooms}
    return [
        (above, below)
        for above in rooms
        for below in rooms
        if above != below
        and any(graph.find_modules_directly_imported_by(module) & inside[below] for module in inside[above])
    ]


def reduced(arrows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without the arrows that a longer way says already; there is no circle, since the layers hold."""

    def leads(start: str, end: str) -> bool:
        return any(over == end or leads(over, end) for first, over in arrows if first == start)

    def is_said(above: str, below: str) -> bool:
        return any(leads(over, below) for first, over in arrows if first == above and over != below)

    return [(above, below) for above, below in arrows if not is_said(above, below)]


def house(package: str, left: float) -> tuple[list[str], float, float]:
    """A package's part of the picture: its elements, width and height."""
    layers = [layer for layer in layers_of(package) if not layer[0].endswith("__main__")]
    rooms = [room for layer in layers for room in layer]
    width = max(len(layer) for layer in layers) * (BOX_W + GAP_X) - GAP_X
    place: dict[str, tuple[float, float]] = {}
    for row, layer in enumerate(layers):
        indent = (width - len(layer) * (BOX_W + GAP_X) + GAP_X) / 2
        for column, room in enumerate(layer):
            place[room] = left + indent + column * (BOX_W + GAP_X), MARGIN + 34 + row * (BOX_H + GAP_Y)
    level = {room: row for row, layer in enumerate(layers) for room in layer}
    parts = [f'<text class="head" x="{left}" y="{MARGIN + 12}">{package}</text>']
    for above, below in reduced(arrows_of(package, rooms)):
        (x1, y1), (x2, y2) = place[above], place[below]
        start, end = (x1 + BOX_W / 2, y1 + BOX_H), (x2 + BOX_W / 2, y2 - 3)
        bend = 16 + 12 * (level[below] - level[above])
        down = f"{start[0]:g} {start[1] + bend:g} {end[0]:g} {end[1] - bend:g} {end[0]:g} {end[1]:g}"
        path = f"M{start[0]:g} {start[1]:g}C{down}"
        words = f"{above.split('.')[1]} stands on {below.split('.')[1]}"
        parts.append(f'<path class="arrow" marker-end="url(#tip)" d="{path}"><title>{words}</title></path>')
    for room, (x, y) in place.items():
        name = escape(room.split(".")[1])
        parts.append(f'<rect class="room" x="{x:g}" y="{y:g}" width="{BOX_W}" height="{BOX_H}" rx="6"/>')
        parts.append(f'<text x="{x + BOX_W / 2:g}" y="{y + 22:g}" text-anchor="middle">{name}</text>')
    return parts, width, MARGIN + 34 + len(layers) * (BOX_H + GAP_Y)


def picture() -> str:
    """Both packages side by side, as SVG."""
    cloud, cloud_width, cloud_height = house("fieldloop", MARGIN)
    edge, edge_width, edge_height = house("fieldedge", MARGIN + cloud_width + 60)
    width, height = cloud_width + edge_width + 60 + 2 * MARGIN, max(cloud_height, edge_height)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
            f'aria-label="{ABOUT}">',
            f"<style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>',
            f'<rect class="paper" width="{width:g}" height="{height:g}"/>',
            *cloud,
            *edge,
            "</svg>\n",
        ]
    )


def main(arguments: list[str]) -> int:
    """Write the picture, or say that it is out of date."""
    drawn = picture()
    if "--check" not in arguments:
        PICTURE.write_text(drawn)
        return 0
    if PICTURE.is_file() and PICTURE.read_text() == drawn:
        return 0
    where = PICTURE.relative_to(ROOT)
    sys.stderr.write(f"{where} does not show the house as it stands; draw it: python tools/house.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
