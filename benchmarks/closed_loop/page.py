"""The tables of docs/decisions.md, written from results/decisions.json, so that the page says what was measured.

    .venv/bin/python -m benchmarks.closed_loop.page

What stands between the two markers is the benchmark's; the rest of the page is people's.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.closed_loop.bars import TARGET_USD_HA
from benchmarks.closed_loop.fieldloop import FIELDLOOP, FIELDLOOP_FORECAST, FIELDLOOP_OWN
from benchmarks.closed_loop.foresight import FORESIGHT
from benchmarks.closed_loop.settings import OURS, RULE, THRESHOLDS
from benchmarks.closed_loop.sites import MAIN
from benchmarks.closed_loop.thresholds import FAO56_TRUE, RAINFED, TUNED_NOISY, TUNED_TRUE
from fieldloop.report.words import amount, signed

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "decisions.md"
BEGIN = "<!-- tables: benchmarks/closed_loop/page.py writes them -->"
END = "<!-- end of tables -->"
_ELSEWHERE = (RAINFED, FAO56_TRUE, TUNED_NOISY, FIELDLOOP, FIELDLOOP_FORECAST, FIELDLOOP_OWN, FORESIGHT)

Figures = Mapping[str, Any]


def write(figures: Figures, path: Path = PAGE) -> None:
    """Renew the page's tables."""
    path.write_text(with_tables(path.read_text(encoding="utf-8"), tables(figures)), encoding="utf-8")


def with_tables(text: str, told: str) -> str:
    """The page with `told` between its markers.

    Raises:
        ValueError: the markers are not there once each, in their order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the page needs {BEGIN!r} and then {END!r}, once each")
    return f"{text[: text.index(BEGIN)]}{BEGIN}\n\n{told.strip()}\n\n{text[text.index(END) :]}"


def tables(figures: Figures) -> str:
    """Every table of the page as Markdown."""
    irrigation = figures["irrigation"]
    parts = [
        _bars(figures["bars"]),
        *(_main_site(name, rows) for name, rows in irrigation[MAIN.name].items()),
        _elsewhere({site: found for site, found in irrigation.items() if site != MAIN.name}),
        _settings(figures.get("settings", ())),
        _nitrogen(figures["nitrogen"][MAIN.name]),
        _calibration(figures.get("calibration", {}).get(MAIN.name)),
        _limits(irrigation[MAIN.name]),
    ]
    return "\n\n".join(part for part in parts if part)


def _bars(bars: Sequence[Figures]) -> str:
    if not bars:
        return ""
    lines = [
        [bar["bar"], amount(bar["measured"], 1), amount(bar["limit"], 1), "yes" if bar["is_met"] else "**no**"]
        for bar in bars
    ]
    met = sum(bool(bar["is_met"]) for bar in bars)
    return f"### The bars: {met} of {len(bars)} met\n\n" + _table(("bar", "measured", "limit", "met"), lines)


def _main_site(name: str, rows: Sequence[Figures]) -> str:
    target = TARGET_USD_HA.get(name, {})
    lines = [
        [
            _emphasised(row["row"]),
            amount(row["profit_usd_ha"], 1),
            amount(target.get(row["row"]), 0),
            amount(row["median_usd_ha"], 1),
            _gain(row),
            amount(row["yield_t_ha"], 2),
            amount(row["irrigation_mm"], 0),
            amount(row["kg_per_m3"], 1),
            amount(row["season_sd_usd_ha"], 0),
            amount(row["seed_sd_usd_ha"], 1),
        ]
        for row in rows
    ]
    heads = (
        "",
        "USD/ha",
        "target",
        "median",
        "gain over noisy thresholds",
        "t/ha",
        "mm",
        "kg/m³",
        "sd years",
        "sd seeds",
    )
    seasons = sorted(int(season) for season in rows[0]["profit_by_season_usd_ha"])
    title = f"### {MAIN.name}, {name}, {seasons[0]}-{seasons[-1]} ({len(seasons)} seasons)"
    return f"{title}\n\n" + _table(heads, lines)


def _elsewhere(sites: Mapping[str, Mapping[str, Sequence[Figures]]]) -> str:
    lines = []
    for site, scenarios in sites.items():
        for name, rows in scenarios.items():
            by_name = {row["row"]: row for row in rows}
            profits = [amount(by_name[one]["profit_usd_ha"], 0) if one in by_name else "–" for one in _ELSEWHERE]
            gain = _gain(by_name[FIELDLOOP]) if FIELDLOOP in by_name else "–"
            lines.append([site, name, *profits, gain])
    heads = ("site", "", *_ELSEWHERE, "Fieldloop's gain over noisy thresholds")
    return "### Other soils and climates, USD/ha\n\n" + _table(heads, lines) if lines else ""


def _settings(settings: Sequence[Figures]) -> str:
    lines = [
        [
            one["setting"],
            *(amount(one["usd_ha"][who], 0) for who in (RULE, THRESHOLDS, OURS)),
            *(
                f"{signed(mean, 0)} ({signed(low, 0)} to {signed(high, 0)})"
                for mean, low, high in (one["gain_over_thresholds_usd_ha"], one["gain_over_rule_usd_ha"])
            ),
            amount(one["abstained_pct"], 1),
        ]
        for one in settings
    ]
    heads = (
        *("setting", "the rule in the box", "noisy thresholds", "the bundle"),
        *("over thresholds, 95 %", "over the rule, 90 %", "abstained, %"),
    )
    return "### The bundle that ships in every setting, USD/ha\n\n" + _table(heads, lines) if lines else ""


def _nitrogen(rows: Sequence[Figures]) -> str:
    best = next((row["profit_usd_ha"] for row in rows if row["row"] == FORESIGHT), None)
    lines = [
        [
            _emphasised(row["row"]),
            amount(row["profit_usd_ha"], 1),
            amount(100 * row["profit_usd_ha"] / best if best else None, 1),
            amount(row["median_usd_ha"], 1),
            amount(row["yield_t_ha"], 2),
            amount(row["nitrogen_kg_ha"], 0),
            amount(row["leached_kg_ha"], 1),
        ]
        for row in rows
    ]
    heads = ("", "USD/ha", "% of foresight", "median", "t/ha", "kg N/ha", "leached, kg/ha")
    return "### Nitrogen at 1 USD/kg\n\n" + _table(heads, lines)


def _calibration(found: Figures | None) -> str:
    if not found:
        return ""
    older = found["in_air_of"]
    pooled = {
        "all": found,
        **found["by_table"],
        f"all, in the air of {older['year']}": older,
        **{f"{name}, in the air of {older['year']}": one for name, one in older["by_table"].items()},
    }
    lines = [
        [
            name,
            *(amount(share, 1) for share in (one["coverage_pct"], *one["below_pct"].values())),
            *(amount(one[size], 2) for size in ("width_t_ha", "bias_t_ha", "rmse_t_ha")),
        ]
        for name, one in pooled.items()
    ]
    (low, high), silent_pct = found["coverage_95_pct"], found["mornings_without_prediction_pct"]
    told = (
        f"The 80 % interval held {found['coverage_pct']:.1f} % of the yields (95 % interval over seasons {low:.0f} to "
        f"{high:.0f} %), over {found['mornings']:,} mornings; on {silent_pct:.1f} % more the model abstained."
    )
    heads = (
        "",
        "% within p10-p90",
        "% below p10",
        "% below p50",
        "% below p90",
        "width, t/ha",
        "bias, t/ha",
        "RMSE, t/ha",
    )
    return f"### Calibration, {MAIN.name}\n\n{told}\n\n" + _table(heads, lines)


def _limits(scenarios: Mapping[str, Sequence[Figures]]) -> str:
    lines = [line for name, rows in scenarios.items() for line in _limit(name, {row["row"]: row for row in rows})]
    heads = ("", "noise costs thresholds", "forecast adds", "foresight earns more", "of that, its dearest season")
    return "### What is left, USD/ha\n\n" + _table(heads, lines) if lines else ""


def _limit(name: str, rows: Mapping[str, Figures]) -> Iterator[list[str]]:
    if FIELDLOOP not in rows or FORESIGHT not in rows:
        return
    ours, best = rows[FIELDLOOP], rows[FORESIGHT]
    earned = ours["profit_by_season_usd_ha"]
    missed = {season: usd_ha - earned[season] for season, usd_ha in best["profit_by_season_usd_ha"].items()}
    dearest = max(missed, key=lambda season: missed[season])
    foretold = rows.get(FIELDLOOP_FORECAST)
    yield [
        name,
        amount(rows[TUNED_TRUE]["profit_usd_ha"] - rows[TUNED_NOISY]["profit_usd_ha"], 1),
        amount(foretold["profit_usd_ha"] - ours["profit_usd_ha"] if foretold else None, 1),
        amount(best["profit_usd_ha"] - ours["profit_usd_ha"], 1),
        f"{amount(missed[dearest] / len(missed), 1)} ({dearest})",
    ]


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _emphasised(name: str) -> str:
    return f"**{name}**" if name.startswith(FIELDLOOP) else name


def _gain(row: Figures) -> str:
    if row["gain_usd_ha"] is None:
        return "–"
    ends = f"{signed(row['gain_low_usd_ha'], 1)} to {signed(row['gain_high_usd_ha'], 1)}"
    return f"{signed(row['gain_usd_ha'], 1)} ({ends})"


if __name__ == "__main__":
    write(json.loads((ROOT / "benchmarks" / "results" / "decisions.json").read_text()))
