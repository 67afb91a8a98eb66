"""The report's pictures, drawn once and kept in two forms.

PNG for artifacts, and SVG for the page, where every colour is a CSS variable (`--ink`, `--ochre`, …) so that a
picture follows the reader's light or dark scheme. The same figures give the same bytes. What the pictures of a workload
show is its own to draw, with these colours and parts.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from html import escape
from io import BytesIO, StringIO
from typing import Any

from fieldloop.core.stored_names import PERIOD, PERIODS
from fieldloop.core.words import Words
from fieldloop.report.story import PeriodStory
from fieldloop.report.words import amount, share_pct, size
from fieldloop.workload import Drawing, Figures, Metric, ReportSections

# The light scheme's colours. Each is used once, because the page replaces it by the variable of its name.
COLOURS = {
    "ink": "#1d2a22",
    "muted": "#5f6d64",
    "rule": "#dde3dc",
    "paper": "#fefefd",
    "fieldloop": "#23804b",
    "blue": "#3b6ea5",
    "ochre": "#9a7418",
    "stone": "#8a8278",
}
WIDTH_IN = 4.3
PNG_DPI = 160
GOLDEN_RATIO = 0.618033988749895
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["rule"],
    "axes.facecolor": "none",
    "axes.labelcolor": COLOURS["muted"],
    "axes.linewidth": 0.8,
    "axes.titlesize": 8.5,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "grid.color": COLOURS["rule"],
    "grid.linewidth": 0.8,
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["ink"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Picture:
    """One drawing for the page: its name in links, its title, and what a reader who cannot see it is told."""

    name: str
    title: str
    told: str
    svg: str


def draw_pictures(report: Figures, sections: ReportSections) -> dict[str, Picture]:
    """Every picture of a report as SVG for the page, by name."""
    drawings = _drawings(sections)
    return {name: drawn(name, one.title, one.draw, report[PERIODS]) for name, one in drawings.items()}


def period_pictures(report: Figures, sections: ReportSections, stories: Sequence[PeriodStory] = ()) -> dict[str, bytes]:
    """Every picture as PNG, with its title, by name; of the stories' periods only, where stories are given."""
    told = {story.period for story in stories}
    periods = [period for period in report[PERIODS] if not told or period[PERIOD] in told]
    return {name: _as_png(name, one, periods) for name, one in _drawings(sections).items()}


def _drawings(sections: ReportSections) -> dict[str, Drawing]:
    """What is drawn of a report: the workload's own first, then what every loop has."""
    return {
        **sections.drawings,
        "error": Drawing(
            f"Prediction error per {sections.words.period}",
            partial(_draw_error, primary=sections.primary, words=sections.words),
        ),
        "bytes": Drawing("Bytes collected and bytes sent", _draw_bytes),
        "latency": Drawing("Time of a decision on the device", _draw_latency),
    }


def drawn(name: str, title: str, draw: Callable[[Any, Any], str], figures: Any) -> Picture:
    """A picture for the page: `draw(figure, figures)` draws it, and returns what it tells."""
    with drawing(name) as figure:
        told = draw(figure, figures)
        svg = StringIO()
        unwanted = dict.fromkeys(("Date", "Creator", "Type", "Format"))
        figure.savefig(svg, format="svg", transparent=True, metadata=unwanted)
    return Picture(name, title, told, for_page(svg.getvalue(), name, told))


def _as_png(name: str, one: Drawing, periods: Sequence[Figures]) -> bytes:
    with drawing(name) as figure:
        one.draw(figure, periods)
        figure.suptitle(one.title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        figure.set_figheight(figure.get_figheight() + 0.3)
        png = BytesIO()
        figure.savefig(png, format="png", dpi=PNG_DPI, facecolor=COLOURS["paper"], metadata={"Software": None})
    return png.getvalue()


@contextmanager
def drawing(name: str) -> Iterator[Any]:
    """An empty figure in our style, which holds while it is drawn and saved."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({**_STYLE, "svg.hashsalt": name}):
        yield Figure(layout="constrained")


def for_page(svg: str, name: str, told: str) -> str:
    """The drawing alone, as wide as its place, with variables for colours and ids that no other picture has."""
    for unwanted in (r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<!--.*?-->", r" font-family: 'DejaVu Sans';"):
        svg = re.sub(unwanted, "", svg, flags=re.DOTALL)
    for colour, value in COLOURS.items():
        svg = svg.replace(value, f"var(--{colour})")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg[svg.index("<svg") :])
    viewbox = re.search(r'viewBox="[^"]+"', svg)
    kept = f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {viewbox[0] if viewbox else ""} role="img"'
    return re.sub(r"<svg[^>]*>", f'{kept} aria-label="{escape(told)}">', svg, count=1).strip()


def panels(figure: Any, count: int, row_in: float, rows: int) -> Any:
    """One panel above the other, all with the same horizontal axis."""
    figure.set_size_inches(WIDTH_IN, count * (rows * row_in + 0.26) + 0.42)
    return figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]


def settle(axes: Any, title: str, labels: Sequence[str]) -> None:
    """Rows from the top, named at the left; faint vertical lines and nothing else."""
    axes.set_title(title, loc="left", fontweight="bold", pad=5)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.45, -0.55)
    axes.grid(axis="x")
    axes.spines[:].set_visible(False)


def dots(axes: Any, values: Sequence[float], row: int, colour: str) -> None:
    """Every value as a faint dot, spread a little so that none hides another."""
    rows = [row + 0.36 * ((index * GOLDEN_RATIO) % 1.0 - 0.5) for index in range(len(values))]
    axes.scatter(values, rows, s=11, color=colour, alpha=0.38, linewidths=0)


def mean(axes: Any, value: float, row: int, colour: str, text: str, area: float = 52) -> None:
    """A larger dot, with its value in words at the right."""
    axes.scatter([value], [row], s=area, color=colour, edgecolors=COLOURS["paper"], linewidths=1.2, zorder=4)
    axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontweight="bold")


def _draw_error(figure: Any, periods: Sequence[Figures], primary: Metric, words: Words) -> str:
    figure.set_size_inches(WIDTH_IN, 2.5)
    axes = figure.subplots()
    places = range(len(periods))
    in_field = [period[primary.key] for period in periods]
    held_out = [period["held_out"][primary.key] for period in periods]
    series = (
        (f"on devices, over the {words.period}", in_field, "fieldloop", "o"),
        (f"on held-out {words.periods}, before", held_out, "muted", "D"),
    )
    for label, values, colour, marker in series:
        shown = [float("nan") if value is None else value for value in values]
        axes.plot(places, shown, color=COLOURS[colour], marker=marker, markersize=6, linewidth=1.6, label=label)
    for place, pair in enumerate(zip(in_field, held_out, strict=True)):
        _label_apart(axes, place, pair)
    axes.set_xticks(places, [f"{period[PERIOD]}\nversion {period['model_version']}" for period in periods])
    axes.set_xlim(-0.5, len(periods) - 0.5)
    axes.set_ylim(0, 1.3 * max([1e-9, *(value for value in (*in_field, *held_out) if value is not None)]))
    axes.set_ylabel(f"{primary.name}{' (RMSE)' if primary.is_root else ''}, {primary.unit}")
    axes.grid(axis="y")
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="y", labelcolor=COLOURS["muted"])
    axes.legend(loc="lower left", frameon=False, fontsize=8, labelcolor=COLOURS["muted"])
    return f"{primary.name[:1].upper()}{primary.name[1:]} on devices: " + ", ".join(
        f"{period[PERIOD]} {amount(value, 2)} {primary.unit}" for period, value in zip(periods, in_field, strict=True)
    )


def _label_apart(axes: Any, place: int, pair: tuple[float | None, float | None]) -> None:
    """Both values of a period, the higher one above its mark and the lower one below."""
    highest = max((value for value in pair if value is not None), default=None)
    for value, colour in zip(pair, ("fieldloop", "muted"), strict=True):
        if value is not None:
            axes.annotate(
                amount(value, 2),
                (place, value),
                xytext=(0, 12 if value == highest else -12),
                textcoords="offset points",
                ha="center",
                va="center",
                color=COLOURS[colour],
                fontweight="bold",
            )


def _draw_bytes(figure: Any, periods: Sequence[Figures]) -> str:
    figure.set_size_inches(WIDTH_IN, 0.62 * len(periods) + 0.25)
    axes = figure.subplots()
    settle(axes, "", [str(period[PERIOD]) for period in periods])
    axes.set_yticks([row - 0.12 for row in range(len(periods))], [str(period[PERIOD]) for period in periods])
    axes.grid(visible=False)
    axes.set_xticks([])
    told = []
    for row, period in enumerate(periods):
        collected, sent = period["bytes_collected"], period["bytes_sent"]
        axes.barh(row - 0.12, collected, height=0.22, color=COLOURS["rule"])
        axes.barh(row - 0.12, sent, height=0.22, color=COLOURS["fieldloop"])
        axes.text(0, row + 0.2, f"{size(sent)} sent", va="center", color=COLOURS["fieldloop"], fontweight="bold")
        axes.text(
            max(one["bytes_collected"] for one in periods),
            row + 0.2,
            f"{size(collected)} collected",
            va="center",
            ha="right",
            color=COLOURS["muted"],
        )
        told.append(f"{period[PERIOD]} {size(sent)} of {size(collected)}, {share_pct(sent, collected):.1f} %")
    return "Bytes sent home: " + ", ".join(told)


def _draw_latency(figure: Any, periods: Sequence[Figures]) -> str:
    periods = [period for period in periods if period["latency_p50_ms"] is not None]  # one may bring no decision home
    figure.set_size_inches(WIDTH_IN, 0.42 * len(periods) + 0.75)
    axes = figure.subplots()
    settle(axes, "", [str(period[PERIOD]) for period in periods])
    told = []
    for row, period in enumerate(periods):
        half, most = period["latency_p50_ms"], period["latency_p99_ms"]
        axes.plot([half, most], [row, row], color=COLOURS["fieldloop"], linewidth=2.5, alpha=0.35)
        axes.scatter([half, most], [row, row], s=44, color=[COLOURS["fieldloop"], COLOURS["paper"]], zorder=3)
        axes.scatter([most], [row], s=44, color="none", edgecolors=COLOURS["fieldloop"], linewidths=1.6, zorder=4)
        axes.annotate(f"{half:.1f}", (half, row), xytext=(0, 10), textcoords="offset points", ha="center")
        axes.annotate(f"{most:.1f}", (most, row), xytext=(0, 10), textcoords="offset points", ha="center")
        told.append(f"{period[PERIOD]} half within {half:.1f} ms, 99 of 100 within {most:.1f} ms")
    axes.set_xlim(0, 1.12 * max((period["latency_p99_ms"] for period in periods), default=0.0) or 1.0)
    axes.set_ylim(max(len(periods), 1) - 0.5, -0.75)
    axes.set_xlabel("ms per decision; filled: half are faster, open: 99 of 100 are")
    return "Time of a decision: " + (", ".join(told) or "no decision came home")
