"""How the loop improves: profit and error season by season in a region that the history does not contain.

The figures are those of `benchmarks/improvement.py`, kept under the project's root; the report shows them where they
are, and has no such section where they are not. They are not of the run that the rest of the report tells of.
"""

import json
from html import escape
from pathlib import Path
from typing import Any

from fieldedge.system.errors import DataError
from fieldloop.report.html import code, figure_of, row_of, section, split, swatch, table_of
from fieldloop.report.pictures import COLOURS, WIDTH_IN, Picture, drawn
from fieldloop.report.words import amount, signed, size
from fieldloop.workload import Figures
from fieldloop.workloads.agriculture.report.words import SHORT_NAMES, improvement_sentences

KEPT_AT = Path("benchmarks") / "results" / "improvement.json"
VARIANTS = {"none": "not retrained", "selected": "selected days", "random": "random days", "everything": "all days"}
THRESHOLD = "threshold"  # the grower's practice beside them
_COLOURS = {"none": "stone", "selected": "fieldloop", "random": "ochre", "everything": "blue"}
_MARKERS = {"none": "s", "selected": "o", "random": "D", "everything": "^"}


def read_improvement(root: Path) -> dict[str, Any] | None:
    """The figures kept under the project's root; None where there are none.

    Raises:
        DataError: the file is not what the benchmark writes.
    """
    path = root / KEPT_AT
    try:
        figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); run benchmarks/improvement.py again, or remove it") from error
    missing = sorted({"seasons", "variants", "last_seasons", "command"} - figures.keys())
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}; run benchmarks/improvement.py again, or remove it")
    return figures


def improvement_section(figures: Figures) -> str:
    """The part of the page."""
    known, region = escape(" and ".join(figures["history"])), escape(figures["region"].title())
    note = (
        f"Measured by {code(figures['command'])}, apart from this run: a history of "
        f"{figures['history_field_seasons']} field-seasons in {known}, then {figures['fields']} devices near {region} "
        f"with {_draws(figures['seeds'])} of fields and sensors, the same for every row. Selected and random days keep "
        f"within {size(figures['budget_bytes'])} a device and season. Every retrained model goes out; the loop's gate "
        "is not part of it."
    )
    return section(
        "How it improves",
        "".join(f"<p>{escape(sentence)}</p>" for sentence in improvement_sentences(figures)),
        split(
            figure_of(improvement_picture(figures)),
            f"The last {figures['last']} seasons",
            f'{_last_table(figures)}<p class="note">Small: the difference to no retraining on the same fields, with '
            f'its 95 % interval.</p><p class="note">{note}</p>',
        ),
        f'<div class="panel"><h3>Season by season</h3>{_season_table(figures)}</div>',
    )


def improvement_picture(figures: Figures) -> Picture:
    """Profit against no retraining, and the error, by season: one line for each variant."""
    return drawn("improvement", "Profit and error, season by season", _draw, figures)


def _draw(figure: Any, figures: Figures) -> str:
    figure.set_size_inches(WIDTH_IN, 5.0)
    above, below = figure.subplots(2, 1, sharex=True)
    none = figures["variants"]["none"]
    for name, label in VARIANTS.items():
        style = {"color": COLOURS[_COLOURS[name]], "marker": _MARKERS[name], "markersize": 5, "linewidth": 1.6}
        years = figures["variants"][name]
        gains = [mine["profit_usd_ha"] - base["profit_usd_ha"] for mine, base in zip(years, none, strict=True)]
        above.plot(range(len(years)), gains, label=label, **style)
        below.plot(range(len(years)), [year["yield_rmse_t_ha"] for year in years], **style)
    _settle(above, "profit against no retraining, USD/ha")
    _settle(below, "yield error on devices (RMSE), t/ha")
    below.set_ylim(bottom=0)
    below.set_xticks(range(len(none)), [str(season) for season in figures["seasons"]])
    above.legend(loc="upper left", frameon=False, fontsize=8, labelcolor=COLOURS["muted"])
    return _told(figures)


def _settle(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", pad=5)
    axes.grid(axis="y")
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="y", labelcolor=COLOURS["muted"])


def _told(figures: Figures) -> str:
    lines = []
    for name, label in VARIANTS.items():
        years = zip(figures["seasons"], figures["variants"][name], strict=True)
        told = (f"{season} {amount(y['profit_usd_ha'])} and {amount(y['yield_rmse_t_ha'], 2)}" for season, y in years)
        lines.append(f"{label}: {', '.join(told)}")
    return f"Profit in USD/ha and yield error in t/ha. {'; '.join(lines)}"


def _last_table(figures: Figures) -> str:
    heads = ("", "profit<br>USD/ha", "yield error<br>t/ha")
    rows = []
    for name in (*VARIANTS, THRESHOLD):
        last = figures["last_seasons"][name]
        cells = (
            _label(name),
            amount(last["profit_usd_ha"]) + _against(last.get("profit_gain_usd_ha"), 0),
            amount(last["yield_rmse_t_ha"], 2) + _against(last.get("yield_rmse_change_t_ha"), 2),
        )
        rows.append(row_of(cells, "ours" if name == "selected" else ""))
    return table_of(heads, rows)


def _season_table(figures: Figures) -> str:
    heads = ("", *(str(season) for season in figures["seasons"]))
    rows: list[str] = []
    for measure, title, digits, names in (
        ("profit_usd_ha", "profit, USD/ha", 0, (*VARIANTS, THRESHOLD)),
        ("yield_rmse_t_ha", "yield error on devices, t/ha", 2, tuple(VARIANTS)),
        ("interval_coverage_pct", "how often the 80 % interval held the harvest, %", 0, tuple(VARIANTS)),
        ("bytes_sent", "bytes that a device sent", 0, tuple(VARIANTS)),
    ):
        rows.append(f'<tr class="group"><th colspan="{len(heads)}">{title}</th></tr>')
        for name in names:
            values = (amount(year[measure], digits) for year in figures["variants"][name])
            rows.append(row_of((_label(name), *values), "ours" if name == "selected" else ""))
    return table_of(heads, rows)


def _draws(count: int) -> str:
    return "one draw" if count == 1 else f"{count} draws"


def _label(name: str) -> str:
    return swatch(_COLOURS[name]) + VARIANTS[name] if name in VARIANTS else f"{SHORT_NAMES[name]} practice"


def _against(change: Figures | None, digits: int) -> str:
    if change is None:
        return ""
    low, high = signed(change["low"], digits), signed(change["high"], digits)
    return f'<br><small class="quiet">{signed(change["mean"], digits)} ({low} to {high})</small>'
