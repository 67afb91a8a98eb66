"""The last lines on the terminal: a small table of the seasons, and where to look next. Plain text, no colours."""

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from fieldloop.report.words import (
    amount,
    duration,
    latency_sentence,
    shipping_sentence,
    size,
    transfer_sentence,
)
from fieldloop.workload import Figures, ReportSections

WIDTH = 100


def terminal_summary(report: Figures, sections: ReportSections, links: Mapping[str, str]) -> str:
    """The seasons in a table of at most 100 columns, the bundle in a line, and the links.

    Args:
        report: what `build_report` made.
        sections: the workload's.
        links: label: path or address, told in their order.
    """
    seasons = report["seasons"]
    said = [
        sections.summary(seasons),
        shipping_sentence(report["bundle"], sections.primary),
        latency_sentence(seasons[-1]),
    ]
    said += [transfer_sentence(season, sections.examples) for season in seasons if season.get("records_waiting")]
    places = {**links, "Look closer": "make ui   (Prefect, MLflow, Data Docs)"}
    label_width = max(len(label) for label in places)
    return "\n".join(
        [
            _rendered(_table(seasons, sections)),
            *(_wrapped(sentence) for sentence in said),
            f"  The whole loop took {duration(report['wall_s'])}.",
            "",
            *(f"  {label:<{label_width}}  {place}" for label, place in places.items()),
        ]
    )


def _table(seasons: Sequence[Figures], sections: ReportSections) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    brought = [sections.terminal(season) for season in seasons]
    headings = (f"error\n{sections.primary.unit}", "records\nsent home", "\nlost", "\nsize")
    for label in ("\nseason", "\nmodel", *brought[0], *headings):
        table.add_column(label, justify="right", no_wrap=True)
    for season, cells in zip(seasons, brought, strict=True):
        table.add_row(
            str(season["season"]),
            f"v{season['model_version']}",
            *cells.values(),
            amount(season[sections.primary.key], 2),
            amount(season["records_acknowledged"]),
            amount(season["records_lost"]),
            size(season["bytes_sent"]),
        )
    return table


def _wrapped(sentence: str) -> str:
    text = _rendered(sentence, WIDTH - 2)
    return "\n".join(f"  {line.strip()}" for line in text.splitlines())


def _rendered(content: Any, width: int = WIDTH) -> str:
    out = StringIO()
    Console(file=out, width=width, color_system=None, highlight=False, markup=False, legacy_windows=False).print(
        content
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
