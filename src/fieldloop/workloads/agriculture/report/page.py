"""The page's part on what the growers got: profit, yield and what was given, by practice, region and field."""

from collections.abc import Mapping, Sequence
from html import escape

from fieldloop.report.html import figure_grid, row_of, section, swatch, table_of
from fieldloop.report.words import amount
from fieldloop.workload import Figures
from fieldloop.workloads.agriculture.report.figures import practices_of
from fieldloop.workloads.agriculture.report.pictures import COLOUR_OF
from fieldloop.workloads.agriculture.report.words import SHORT_NAMES, profit_sentence


def growers_section(seasons: Sequence[Figures], pictures: Mapping[str, str]) -> str:
    """What the fields brought their growers, by practice, region and field."""
    sentences = "".join(f"<p>{escape(profit_sentence(season))}</p>" for season in seasons)
    return section(
        "What the growers got",
        sentences,
        figure_grid(pictures[name] for name in ("profit", "yield", "water", "gain")),
        f'<div class="panel"><h3>By practice</h3>{_practice_table(seasons)}{_region_details(seasons)}'
        f"{_field_details(seasons)}</div>",
    )


def _practice_table(seasons: Sequence[Figures]) -> str:
    measures = {"yield_t_ha": 2, "irrigation_mm": 0, "nitrogen_kg_ha": 0, "leached_kg_ha": 0}
    heads = (
        "mean",
        "profit<br>USD/ha",
        "median<br>profit",
        "yield<br>t/ha",
        "water<br>mm",
        "N<br>kg/ha",
        "leached N<br>kg/ha",
    )
    rows = []
    for season in seasons:
        rows.append(f'<tr class="group"><th colspan="{len(heads)}">{season["season"]}</th></tr>')
        for practice in practices_of([season]):
            cells = (
                swatch(COLOUR_OF[practice]) + SHORT_NAMES[practice],
                amount(season["profit_usd_ha"][practice]),
                amount(season["median"]["profit_usd_ha"][practice]),
                *(amount(season[measure][practice], digits) for measure, digits in measures.items()),
            )
            rows.append(row_of(cells, "ours" if practice == "fieldloop" else ""))
    return table_of(heads, rows)


def _region_details(seasons: Sequence[Figures]) -> str:
    practices = practices_of(seasons)
    heads = ("region", "fields", *(f"{SHORT_NAMES[name]}<br>USD/ha" for name in practices), "water<br>mm")
    rows = [
        row_of(
            (
                f"{escape(region)}, {season['season']}",
                amount(figures["fields"]),
                *(amount(figures["profit_usd_ha"][name]) for name in practices),
                amount(figures["irrigation_mm"]["fieldloop"]),
            )
        )
        for season in seasons
        for region, figures in season["regions"].items()
    ]
    return f"<details><summary>By region</summary>{table_of(heads, rows)}</details>"


def _field_details(seasons: Sequence[Figures]) -> str:
    practices = practices_of(seasons)
    heads = (
        "field",
        "device",
        *(f"{SHORT_NAMES[name]}<br>USD/ha" for name in practices),
        "yield<br>t/ha",
        "water<br>mm",
    )
    rows = [
        row_of(
            (
                f"{escape(field['field_id'])}, {season['season']}",
                escape(str(field["device_id"])),
                *(amount(field["profit_usd_ha"][name]) for name in practices),
                amount(field["yield_t_ha"]["fieldloop"], 2),
                amount(field["irrigation_mm"]["fieldloop"]),
            )
        )
        for season in seasons
        for field in season["fields"]
    ]
    return f"<details><summary>Every field</summary>{table_of(heads, rows)}</details>"
