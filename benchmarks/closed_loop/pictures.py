"""The benchmark's three pictures for docs/decisions.md: a season's soil water, profits, and calibration.

Profits and calibration are drawn from what decisions.json holds; the soil water of two test seasons is lived again
under one seed's sensors. SVGs follow the reader's light or dark scheme, as the report's do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.closed_loop.bars import COVERAGE_PCT, TARGET_USD_HA
from benchmarks.closed_loop.calibration import SPAN_DAYS
from benchmarks.closed_loop.diary import Morning, Watched, by_day
from benchmarks.closed_loop.fieldloop import FIELDLOOP, FIELDLOOP_FORECAST, advised
from benchmarks.closed_loop.foresight import FORESIGHT
from benchmarks.closed_loop.harness import Outcomes, live
from benchmarks.closed_loop.shipped import Decider
from benchmarks.closed_loop.sites import CHEAP_WATER, DOSE_MM, MAIN, SCENARIOS, Array
from benchmarks.closed_loop.thresholds import (
    FAO56_TRUE,
    RAINFED,
    TUNED_NOISY,
    TUNED_TRUE,
    Thresholds,
    depletion_errors,
)
from benchmarks.nitrogen import _alone, _with_short_numbers
from fieldloop.report import pictures
from fieldloop.report.pictures import COLOURS
from fieldloop.report.words import amount, signed

DOCS = Path(__file__).resolve().parents[2] / "docs"
SHOWN = CHEAP_WATER  # the prices of the soil-water picture
_MONTHS = {0: "May", 31: "June", 61: "July", 92: "Aug", 123: "Sept"}  # days after planting on 1 May
_BEST_KNOWN = (TUNED_TRUE, FIELDLOOP, FIELDLOOP_FORECAST, FORESIGHT)
_TABLE_COLOURS = ("blue", "ochre", "stone", "ink")
_PROFIT_LIMITS_USD_HA, _GAIN_LIMITS_USD_HA = (-1250.0, 850.0), (-130.0, 130.0)
_MEAN_AREA = 46
_DEEPEST_MM = 290.0

Figures = Mapping[str, Any]


def draw(figures: Figures, thresholds_pct: Sequence[float], seed: int, ours: Decider) -> list[Path]:
    """Draw all three to docs/ and say where they are; `thresholds_pct` are those tuned under noise for `SHOWN`."""
    seasons = shown_seasons(figures)
    return [
        _write(
            "soil_water", (8.6, 6.2), lambda figure: draw_soil_water(figure, lived(thresholds_pct, seed, ours), seasons)
        ),
        _write("profit", (8.6, 6.2), lambda figure: draw_profit(figure, figures["irrigation"][MAIN.name])),
        _write("calibration", (8.6, 3.9), lambda figure: draw_calibration(figure, figures["calibration"][MAIN.name])),
    ]


def _write(name: str, size_in: tuple[float, float], drawn: Callable[[Any], str]) -> Path:
    with pictures.drawing(name) as figure:
        figure.set_size_inches(*size_in)
        figure.get_layout_engine().set(w_pad=0.1, h_pad=0.09)
        told = drawn(figure)
        svg = StringIO()
        figure.savefig(svg, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator")))
    path = DOCS / f"{name}.svg"
    path.write_text(_alone(pictures.for_page(_with_short_numbers(svg.getvalue()), name, told)))
    return path


def shown_seasons(figures: Figures) -> tuple[int, int]:
    """The driest and the median test season: those in which maize without irrigation earns least, and the middle."""
    rows = figures["irrigation"][MAIN.name][SHOWN.name]
    rainfed = next(row for row in rows if row["row"] == RAINFED)["profit_by_season_usd_ha"]
    by_profit = sorted(rainfed, key=lambda season: float(rainfed[season]))
    return int(by_profit[0]), int(by_profit[len(by_profit) // 2])


@dataclass(frozen=True, eq=False)
class Trace:
    """One decider's test seasons: its diary, and how they ended."""

    name: str
    colour: str
    diary: list[Morning]
    outcomes: Outcomes

    def of(self, season: int, name: str) -> Array:
        """One season's figures by day."""
        figures: Array = by_day(self.diary, name)[MAIN.tested_on.index(season)]
        return figures

    def ended(self, season: int) -> str:
        """What was given and what came of it, in words."""
        at, found = MAIN.tested_on.index(season), self.outcomes
        doses = found.irrigation_mm[at] / DOSE_MM
        return f"{doses:.0f} × {DOSE_MM:.0f} mm, {found.yield_t_ha[at]:.1f} t/ha, {found.profit_usd_ha[at]:.0f} USD/ha"


def lived(thresholds_pct: Sequence[float], seed: int, ours: Decider) -> tuple[Trace, Trace]:
    """The test seasons under our advice and under the tuned thresholds, each with its noisy view of the soil."""
    diary: list[Morning] = []
    theirs: list[Morning] = []
    earned = advised(MAIN, SHOWN, [seed], ours.predict, diary=diary, doubt=ours.doubt)
    plots = MAIN.plots(MAIN.tested_on)
    rule = Thresholds(np.tile(thresholds_pct, (len(plots), 1)), depletion_errors(MAIN, MAIN.tested_on, [seed]))
    rival = live(plots, Watched(rule, theirs), SHOWN)
    return Trace(FIELDLOOP, "fieldloop", diary, earned), Trace("thresholds", "blue", theirs, rival)


def draw_soil_water(figure: Any, traces: tuple[Trace, Trace], seasons: tuple[int, int]) -> str:
    """Seasons side by side: rain, and each decider's root zone with its irrigations."""
    panels = figure.subplots(3, 2, sharex=True, sharey="row", height_ratios=(0.7, 2, 2))
    for column, season in enumerate(seasons):
        rain_mm = MAIN.plots((season,))[0].weather[: len(traces[0].diary), 2]
        _draw_rain(panels[0, column], rain_mm, f"{season}, {('the driest', 'the median')[column]} test season")
        for row, trace in enumerate(traces, 1):
            _draw_root_zone(panels[row, column], trace, season, traces[0].of(season, "believed_raw_mm"))
    panels[0, 0].set_ylabel("rain, mm")
    for row in (1, 2):
        panels[row, 0].set_ylabel("root-zone depletion, mm")
    panels[2, 0].set_xticks(list(_MONTHS), list(_MONTHS.values()))
    told = [f"{season}, {trace.name}: {trace.ended(season)}" for season in seasons for trace in traces]
    return "Root-zone depletion day by day with rain and irrigations. " + "; ".join(told)


def _draw_rain(axes: Any, rain_mm: Array, title: str) -> None:
    _settle(axes, title)
    axes.bar(range(len(rain_mm)), rain_mm, width=0.9, color=COLOURS["muted"])


def _draw_root_zone(axes: Any, trace: Trace, season: int, raw_mm: Array) -> None:
    _settle(axes, f"{trace.name.capitalize()}: {trace.ended(season)}")
    days = np.arange(len(trace.diary))
    depletion_mm, taw_mm = trace.of(season, "depletion_mm"), trace.of(season, "taw_mm")
    believed_mm, doses_mm = trace.of(season, "believed_depletion_mm"), trace.of(season, "irrigation_mm")
    axes.plot(days, taw_mm, color=COLOURS["ink"], linewidth=1.1)
    axes.plot(np.arange(len(raw_mm)), raw_mm, color=COLOURS["muted"], linewidth=0.9, linestyle=(0, (4, 2)))
    axes.plot(days, depletion_mm, color=COLOURS[trace.colour], linewidth=2.0, label="true")
    believed = "believed by the device" if trace.name == FIELDLOOP else "as its probe has it"
    axes.plot(days, believed_mm, color=COLOURS["ink"], linewidth=0.9, linestyle=(0, (1, 1.2)), label=believed)
    axes.legend(loc="lower left", frameon=False, fontsize=7.5, labelcolor=COLOURS["ink"])
    given = days[np.nan_to_num(doses_mm) > 0]
    axes.scatter(given, np.full(len(given), -22.0), marker="v", s=34, color=COLOURS[trace.colour], linewidths=0)
    for name, line, colour in (("TAW", taw_mm, "ink"), ("RAW", raw_mm, "muted")):
        last = int(np.flatnonzero(np.isfinite(line))[-1])
        axes.text(last + 2, min(line[last], _DEEPEST_MM - 8), name, va="center", color=COLOURS[colour], fontsize=7.5)
    axes.set_ylim(_DEEPEST_MM, -35)
    axes.set_xlim(-2, 146)


def draw_profit(figure: Any, scenarios: Mapping[str, Sequence[Figures]]) -> str:
    """Above: every row's profit. Below: what the best few earn more than the noisy thresholds, season by season."""
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.75, 1))
    names = sorted((row["row"] for row in scenarios[SCENARIOS[0].name]), key=lambda name: name == FORESIGHT)
    best = [name for name in _BEST_KNOWN if name in names]
    told = []
    above, below = upper.subplots(1, 3, sharey=True), lower.subplots(1, 3, sharey=True)
    for place, (left, right, scenario) in enumerate(zip(above, below, SCENARIOS, strict=True)):
        rows = {row["row"]: row for row in scenarios[scenario.name]}
        pictures.settle(left, scenario.name, [_short(name) for name in names])
        pictures.settle(right, "", [_short(name) for name in best])
        for at, name in enumerate(names):
            if name in rows:
                _draw_row(left, at, rows[name], TARGET_USD_HA[scenario.name])
        for at, name in enumerate(best):
            _draw_gain(right, at, rows[name], rows[TUNED_NOISY], TARGET_USD_HA[scenario.name])
        right.axvline(0, color=COLOURS["blue"], linewidth=1.2, zorder=1)
        left.set_xlim(*_PROFIT_LIMITS_USD_HA)
        right.set_xlim(*_GAIN_LIMITS_USD_HA)
        told += [f"{scenario.name}, {name} {rows[name]['profit_usd_ha']:.0f} USD/ha" for name in best]
        if place == 1:
            left.set_xlabel(
                "USD/ha; small dots: seasons, large: their mean, line: the middle half; | the project's target for ours"
            )
            right.set_xlabel("USD/ha over noisy thresholds; line: 95 % interval of the mean over seasons")
    return "Profits by row and scenario: " + ", ".join(told)


def _draw_row(axes: Any, at: int, row: Figures, bars: Mapping[str, float]) -> None:
    colour, seasons = _colour(row["row"]), list(row["profit_by_season_usd_ha"].values())
    _dots(axes, seasons, at, colour, _PROFIT_LIMITS_USD_HA)
    axes.plot(np.percentile(seasons, (25, 75)), [at, at], color=colour, linewidth=2.2, alpha=0.55)
    _mean(axes, row["profit_usd_ha"], at, colour, amount(row["profit_usd_ha"], 0))
    if row["row"].startswith(FIELDLOOP):
        _mark_bar(axes, bars[row["row"]], at)


def _draw_gain(axes: Any, at: int, row: Figures, reference: Figures, bars: Mapping[str, float]) -> None:
    colour, own = _colour(row["row"]), row["profit_by_season_usd_ha"]
    gains = [own[season] - usd_ha for season, usd_ha in reference["profit_by_season_usd_ha"].items()]
    _dots(axes, gains, at, colour, _GAIN_LIMITS_USD_HA)
    axes.plot([row["gain_low_usd_ha"], row["gain_high_usd_ha"]], [at, at], color=colour, linewidth=2.2)
    _mean(axes, row["gain_usd_ha"], at, colour, signed(row["gain_usd_ha"]))
    if row["row"].startswith(FIELDLOOP):
        _mark_bar(axes, bars[row["row"]] - reference["profit_usd_ha"], at)


def _dots(axes: Any, values: Sequence[float], at: int, colour: str, limits: tuple[float, float]) -> None:
    """Every season as a dot; at the edges, how many lie beyond."""
    pictures.dots(axes, [value for value in values if limits[0] <= value <= limits[1]], at, colour)
    fewer, more = sum(value < limits[0] for value in values), sum(value > limits[1] for value in values)
    for count, told, edge, align in ((fewer, f"‹ {fewer}", 0.01, "left"), (more, f"{more} ›", 0.99, "right")):
        if count:
            where = {"transform": axes.get_yaxis_transform(), "ha": align, "va": "center"}
            axes.text(edge, at + 0.34, told, fontsize=7, color=colour, **where)


def _mean(axes: Any, value: float, at: int, colour: str, told: str) -> None:
    axes.scatter([value], [at], s=_MEAN_AREA, color=colour, edgecolors=COLOURS["paper"], linewidths=1.1, zorder=4)
    axes.text(1.01, at, told, transform=axes.get_yaxis_transform(), va="center", fontsize=7.5)


def _mark_bar(axes: Any, value: float, at: int) -> None:
    axes.plot([value, value], [at - 0.42, at + 0.42], color=COLOURS["ink"], linewidth=1.6, zorder=5)


def _colour(name: str) -> str:
    if name.startswith(FIELDLOOP):
        return COLOURS["fieldloop"]
    known = {RAINFED: "stone", TUNED_TRUE: "blue", TUNED_NOISY: "blue", FORESIGHT: "ink"}
    return COLOURS[known.get(name, "ochre")]


def _short(name: str) -> str:
    known = {
        FAO56_TRUE: "FAO-56, true state",
        TUNED_TRUE: "tuned, true state",
        TUNED_NOISY: "tuned, noisy sensors",
        FIELDLOOP_FORECAST: "Fieldloop, forecast",
    }
    return known.get(name, name)


def draw_calibration(figure: Any, found: Figures) -> str:
    """Left: how often the yield was below each quantile. Right: coverage of the interval through the season."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    older = found["in_air_of"]
    _draw_quantiles(left, found, older)
    _draw_by_day(right, found, older)
    coverage = f"{found['coverage_pct']:.0f} %, {older['coverage_pct']:.0f} % in the air of {older['year']}"
    return f"Quantiles of the yield against the share of yields below them; the 80 % interval covers {coverage}"


def _draw_quantiles(axes: Any, found: Figures, older: Figures) -> None:
    _settle(axes, "Yields below each quantile")
    nominal = [int(name[1:]) for name in found["below_pct"]]
    axes.plot([0, 100], [0, 100], color=COLOURS["muted"], linewidth=0.9, linestyle=(0, (4, 3)))
    for (name, one), colour in zip(found["by_table"].items(), _TABLE_COLOURS, strict=True):
        style = {"linewidth": 1.0, "markersize": 3.5, "marker": "o", "color": COLOURS[colour], "label": name}
        axes.plot(nominal, list(one["below_pct"].values()), **style)
    style = {"linewidth": 2.4, "markersize": 6.5, "marker": "o", "color": COLOURS["fieldloop"]}
    axes.plot(nominal, list(found["below_pct"].values()), **style, label="all")
    style |= {"linewidth": 1.6, "linestyle": (0, (2, 1.5)), "markersize": 4.5}
    axes.plot(nominal, list(older["below_pct"].values()), **style, label=f"all, air of {older['year']}")
    axes.set_xlabel("quantile, %")
    axes.set_ylabel("yields below it, %")
    axes.set_xticks(nominal, [f"p{level}" for level in nominal])
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.legend(loc="upper left", frameon=False, fontsize=7.5, labelcolor=COLOURS["ink"])


def _draw_by_day(axes: Any, found: Figures, older: Figures) -> None:
    _settle(axes, f"Coverage of the 80 % interval: {found['coverage_pct']:.1f} %")
    axes.axhspan(*COVERAGE_PCT, color=COLOURS["rule"], zorder=0)
    days = [span["from_day"] + SPAN_DAYS / 2 for span in found["by_day"]]
    for name, colour in zip(found["by_table"], _TABLE_COLOURS, strict=True):
        shares = [span["by_table_pct"][name] for span in found["by_day"]]
        axes.plot(days, shares, color=COLOURS[colour], linewidth=1.0)
    axes.plot(days, [span["coverage_pct"] for span in found["by_day"]], color=COLOURS["fieldloop"], linewidth=2.4)
    shares = [span["coverage_pct"] for span in older["by_day"]]
    axes.plot(days, shares, color=COLOURS["fieldloop"], linewidth=1.6, linestyle=(0, (2, 1.5)))
    axes.text(days[-1] + SPAN_DAYS / 2, 80, "bar", va="center", ha="right", color=COLOURS["muted"], fontsize=7.5)
    axes.set_xlabel("days after planting")
    axes.set_ylabel("yields within p10 to p90, %")
    axes.set_ylim(0, 100)
    axes.set_xlim(0, days[-1] + SPAN_DAYS / 2)


def _settle(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", pad=6)
    axes.grid()
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="y", labelcolor=COLOURS["muted"])
