"""The last lines on the terminal: a small table of the seasons, and where to look next. Plain text, no colours."""

from collections.abc import Mapping
from io import StringIO
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from fieldloop.report.figures import PRACTICES
from fieldloop.report.words import (
    amount,
    duration,
    latency_sentence,
    shipping_sentence,
    size,
    threshold_sentence,
    transfer_sentence,
)

WIDTH = 100


def terminal_summary(report: Mapping[str, Any], links: Mapping[str, str]) -> str:
    """The seasons in a table of at most 100 columns, the bundle in a line, and the links.

    Args:
        report: what `build_report` made.
        links: label: path or address, told in their order.
    """
    seasons = report["seasons"]
    said = [threshold_sentence(seasons), shipping_sentence(report["bundle"]), latency_sentence(seasons[-1])]
    said += [transfer_sentence(season) for season in seasons if season.get("records_waiting")]
    places = {**links, "Look closer": "make ui   (Prefect, MLflow, Data Docs)"}
    label_width = max(len(label) for label in places)
    return "\n".join(
        [
            _rendered(_table(seasons)),
            *(_wrapped(sentence) for sentence in said),
            f"  The whole loop took {duration(report['wall_s'])}.",
            "",
            *(f"  {label:<{label_width}}  {place}" for label, place in places.items()),
        ]
    )


def _table(seasons: list[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    headings = ("water\nmm", "error\nt/ha", "records\nsent home", "\nlost", "\nsize")
    for label in ("\nseason", "\nmodel", *(f"USD/ha\n{practice}" for practice in PRACTICES), *headings):
        table.add_column(label, justify="right", no_wrap=True)
    for season in seasons:
        table.add_row(
            str(season["season"]),
            f"v{season['model_version']}",
            *(amount(season["profit_usd_ha"][name]) for name in PRACTICES),
            amount(season["irrigation_mm"]["fieldloop"]),
            amount(season["yield_rmse_t_ha"], 2),
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
