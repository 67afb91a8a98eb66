"""The parts that the page is built of: sections, tables, links, figures.

Cells, heads, figures and inner parts are HTML already; labels, values and addresses are text and escaped here.
"""

import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from fieldloop.report.pictures import Picture


def section(title: str, *parts: str) -> str:
    """A part of the page under its heading."""
    return "\n".join([f"<section><h2>{title}</h2>", *parts, "</section>"])


def figure_grid(figures: Iterable[str]) -> str:
    """Pictures side by side, as many as the screen holds."""
    return f'<div class="pictures">{"".join(figures)}</div>'


def figure_of(picture: Picture) -> str:
    """One picture under its title."""
    return f'<figure id="{picture.name}"><h3>{escape(picture.title)}</h3>{picture.svg}</figure>'


def split(figure: str, title: str, inner: str) -> str:
    """A picture, and beside it (below on a phone) what goes with it."""
    return f'<div class="split">{figure}<div class="panel"><h3>{title}</h3>{inner}</div></div>'


def table_of(heads: Sequence[str], rows: Sequence[str], words_head: str = "") -> str:
    """A table that scrolls sideways on a narrow screen; `words_head` heads a last column of prose."""
    cells = "".join(f"<th>{head}</th>" for head in heads)
    last = f'<th class="words">{words_head}</th>' if words_head else ""
    return (
        f'<div class="scroll"><table><thead><tr>{cells}{last}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def row_of(cells: Sequence[str], kind: str = "", words: int = -1) -> str:
    """A row of cells that are HTML already; the one at `words` holds prose."""
    inner = "".join(
        f'<td class="words">{cell}</td>' if place == words else f"<td>{cell}</td>" for place, cell in enumerate(cells)
    )
    return f'<tr class="{kind}">{inner}</tr>' if kind else f"<tr>{inner}</tr>"


def swatch(colour: str) -> str:
    """A dot in one of the colours of pictures, by name."""
    return f'<span class="swatch" style="background:var(--{colour})"></span>'


def code(value: object, otherwise: str = "unknown") -> str:
    """An identifier as it is, or `otherwise` where there is none."""
    return f"<code>{escape(str(value))}</code>" if value else otherwise


def link_to(label: str, place: str, home_dir: Path) -> str:
    """A link to an address, or to a path as seen from `home_dir`."""
    return f'<a href="{escape(address_from(place, home_dir))}">{escape(label)}</a>'


def docs_link(place: str | None, home_dir: Path) -> str:
    """A link to Data Docs where some were built."""
    return link_to("open", place, home_dir) if place else "–"


def address_from(place: str, home_dir: Path) -> str:
    """An address as it is; a path as seen from the page, so that the folder can be moved or served."""
    if "://" in place:
        return place
    return Path(os.path.relpath(Path(place).absolute(), home_dir.absolute())).as_posix()


def sentence(text: str) -> str:
    """The text with a full stop, and a capital where it begins with a word rather than a name of a file."""
    begins = text.split(maxsplit=1)[0].rstrip(":,;") if text.strip() else ""
    return f"{text[:1].upper() if begins.isalpha() else text[:1]}{text[1:].rstrip('.')}." if begins else ""
