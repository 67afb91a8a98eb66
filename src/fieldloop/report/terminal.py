"""The last lines on the terminal: a small table of the periods, and where to look next. Plain text, no colours."""

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from fieldloop.core.stored_names import PERIOD, PERIODS
from fieldloop.report.words import (
    amount,
    duration,
    latency_sentence,
    rollout_sentence,
    shipping_sentence,
    size,
    transfer_sentence,
)
from fieldloop.workload import Figures, ReportSections

WIDTH = 100


def terminal_summary(report: Figures, sections: ReportSections, links: Mapping[str, str]) -> str:
    """The periods in a table of at most 100 columns, the bundle in a line, and the links.

    Args:
        report: what `build_report` made.
        sections: the workload's.
        links: label: path or address, told in their order.
    """
    periods = report[PERIODS]
    said = [
        sections.summary(periods),
        shipping_sentence(report["bundle"], sections.primary),
        latency_sentence(periods[-1]),
    ]
    said += [rollout_sentence(one, sections.words) for period in periods for one in period.get("rollouts", ())]
    said += [transfer_sentence(period, sections.examples) for period in periods if period.get("records_waiting")]
    places = {**links, "Look closer": "make ui   (Prefect, MLflow, Data Docs)"}
    label_width = max(len(label) for label in places)
    return "\n".join(
        [
            _rendered(_table(periods, sections)),
            *(_wrapped(sentence) for sentence in said),
            f"  The whole loop took {duration(report['wall_s'])}.",
            "",
            *(f"  {label:<{label_width}}  {place}" for label, place in places.items()),
        ]
    )


def _table(periods: Sequence[Figures], sections: ReportSections) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    brought = [sections.terminal(period) for period in periods]
    headings = (f"error\n{sections.primary.unit}", "records\nsent home", "\nlost", "\nsize")
    for label in (f"\n{sections.words.period}", "\nmodel", *brought[0], *headings):
        table.add_column(label, justify="right", no_wrap=True)
    for period, cells in zip(periods, brought, strict=True):
        table.add_row(
            str(period[PERIOD]),
            f"v{period['model_version']}",
            *cells.values(),
            amount(period[sections.primary.key], 2),
            amount(period["records_acknowledged"]),
            amount(period["records_lost"]),
            size(period["bytes_sent"]),
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
