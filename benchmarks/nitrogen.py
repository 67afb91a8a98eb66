"""The nitrogen layer against what maize does: response, economic optimum, Ziadi's check, sensitivity, and a picture.

    .venv/bin/python benchmarks/nitrogen.py

Champion, maize planted on 1 May at field capacity, irrigated by thresholds that see the true state, 37 seasons. Half a
minute on one core. docs/nitrogen.md tells what comes out; the picture is docs/nitrogen.svg.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.closed_loop.sites import CHEAP_WATER, DOSE_MM, MAIN, Array
from benchmarks.closed_loop.thresholds import Thresholds
from fieldloop.report import pictures
from fieldloop.report.pictures import COLOURS
from fieldloop.workloads.agriculture.world.field_batch import field_batch
from fieldloop.workloads.agriculture.world.nitrogen import NitrogenRates

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "nitrogen.json"
PICTURE = ROOT / "docs" / "nitrogen.svg"

SEASONS = tuple(range(1982, 2019))
RATES_KG_HA: Array = np.arange(0.0, 301.0, 10.0)
SHOWN_RATES_KG_HA = (0, 50, 100, 150, 200, 250, 300)
COMMON_RATE_KG_HA = 200.0
NNI_DAY = 91  # silking, day 66 of AquaCrop's maize, and 25 days
ZIADI_SLOPE, ZIADI_OFFSET, ZIADI_PLATEAU = 1.17, -0.11, 0.98  # Ziadi et al. 2008, doi:10.2134/agronj2007.0059
BY_SEASON_PCT = (10, 50, 90)


@dataclass(frozen=True)
class Case:
    """One set of assumptions; the defaults are the layer's own. `shares` is the split by days after planting."""

    about: str = "standard"
    value: str = ""
    soil: str = MAIN.soil
    initial_kg_ha: float = 70.0
    mineralised_at_20c_kg_ha_d: float = NitrogenRates.mineralised_at_20c_kg_ha_d
    lost_fraction: float = NitrogenRates.fertiliser_lost_fraction
    shares: Mapping[int, float] = field(default_factory=lambda: {0: 0.33, 40: 0.67})
    moisture_pct: tuple[float, float, float, float] = (4.14, 47.33, 37.14, 17.51)  # of available water, by stage
    nitrogen_price_usd_kg: float = CHEAP_WATER.nitrogen_price_usd_kg

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.about} {self.value}".strip()


STANDARD = Case()
SENSITIVITY = (
    *(Case("start nitrogen, kg/ha", f"{kg:.0f}", initial_kg_ha=kg) for kg in (30.0, 70.0, 120.0)),
    *(Case("mineralised, kg/ha/d at 20 °C", f"{kg}", mineralised_at_20c_kg_ha_d=kg) for kg in (0.6, 1.2, 1.8)),
    *(Case("volatilised, %", f"{100 * lost:.0f}", lost_fraction=lost) for lost in (0.10, 0.25, 0.35)),
    *(Case("soil", soil, soil=soil) for soil in ("LoamySand", "SandyLoam", "Loam", "SiltLoam", "ClayLoam")),
    Case("doses", "all at planting", shares={0: 1.0}),
    Case("doses", "33/67"),
    Case("doses", "four", shares={0: 0.25, 30: 0.25, 45: 0.25, 60: 0.25}),
    Case("water", "rainfed", moisture_pct=(0.0, 0.0, 0.0, 0.0)),
    Case("water", "thresholds"),
    Case("water", "far too much", moisture_pct=(90.0, 90.0, 90.0, 90.0)),
    *(Case("nitrogen price, USD/kg", f"{usd}", nitrogen_price_usd_kg=usd) for usd in (0.5, 1.0, 2.0)),
)


@dataclass(frozen=True, eq=False)
class Response:
    """What each rate brought in each season, all (rates, seasons). `nni` is that of day NNI_DAY."""

    yield_t_ha: Array
    irrigation_mm: Array
    drained_mm: Array
    uptake_kg_ha: Array
    leached_kg_ha: Array
    nni: Array


@dataclass(frozen=True)
class QuadraticPlateau:
    """Yield = y0 + slope (x - x²/2p) up to the plateau from p on: t/ha against kg/ha."""

    y0_t_ha: float
    slope_t_kg: float
    plateau_from_kg_ha: float

    @property
    def plateau_t_ha(self) -> float:
        return self.y0_t_ha + self.slope_t_kg * self.plateau_from_kg_ha / 2

    def optimum_kg_ha(self, price_ratio_t_kg: float) -> float:
        """Where the last kilogram earns its price; the ratio is nitrogen's price over grain's."""
        if self.slope_t_kg <= price_ratio_t_kg:
            return 0.0
        return self.plateau_from_kg_ha * (1 - price_ratio_t_kg / self.slope_t_kg)


def main() -> None:
    """Measure, print, write the JSON and the picture."""
    base = respond(STANDARD)
    figures = {
        "set_up": {"site": MAIN.name, "seasons": [SEASONS[0], SEASONS[-1]], "rates_kg_ha": RATES_KG_HA.tolist()},
        "response": response_table(base),
        "optimum": optimum_figures(base),
        "ziadi": ziadi_check(base),
        "sensitivity": sensitivity(base),
    }
    print_figures(figures)
    RESULT.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    PICTURE.write_text(picture(base, figures))
    print(f"\nwritten to {RESULT.relative_to(ROOT)} and {PICTURE.relative_to(ROOT)}")


def respond(case: Case) -> Response:
    """All seasons at all rates, day by day; 25 mm whenever the evening before was drier than the threshold."""
    plots = [
        replace(
            plot,
            initial_nitrogen_kg_ha=case.initial_kg_ha,
            mineralised_at_20c_kg_ha_d=case.mineralised_at_20c_kg_ha_d,
        )
        for plot in replace(MAIN, soil=case.soil).plots(SEASONS, is_nitrogen_limited=True)
    ]
    batch = field_batch(plots * len(RATES_KG_HA), threads=1)
    thresholds = Thresholds(np.tile(case.moisture_pct, (batch.size, 1)))
    # The layer's own loss is fixed, so another loss is simulated by the dose that leaves as much in the soil.
    kept = (1 - case.lost_fraction) / (1 - NitrogenRates.fertiliser_lost_fraction)
    doses_kg_ha: Array = kept * np.repeat(RATES_KG_HA, len(SEASONS))
    drained_mm, nni = np.zeros(batch.size), np.ones(batch.size)
    while not (is_finished := batch.is_finished).all():
        is_irrigated = thresholds.decide(batch.day, batch)
        batch.step(np.where(is_irrigated, DOSE_MM, 0.0), doses_kg_ha * case.shares.get(batch.day, 0.0))
        drained_mm += np.where(is_finished, 0.0, batch.deep_percolation_mm)
        nni = batch.nni if batch.day <= NNI_DAY else nni
    shape = len(RATES_KG_HA), len(SEASONS)
    amounts = (batch.yield_t_ha, batch.irrigation_mm, drained_mm, batch.nitrogen_uptake_kg_ha, batch.leached_kg_ha, nni)
    return Response(*(amount.reshape(shape) for amount in amounts))


def fitted(yield_t_ha: Array) -> QuadraticPlateau:
    """Least squares on yields (rates,): linear in y0 and slope for each place where the plateau may begin."""
    best, best_loss = QuadraticPlateau(float(yield_t_ha.mean()), 0.0, float(RATES_KG_HA[-1])), np.inf
    for plateau_from in np.arange(40.0, 500.0, 0.5):
        x = np.minimum(RATES_KG_HA, plateau_from)
        design = np.stack([np.ones_like(x), x - x**2 / (2 * plateau_from)], axis=1)
        (y0, slope), *_ = np.linalg.lstsq(design, yield_t_ha, rcond=None)
        loss = float(((design @ (y0, slope) - yield_t_ha) ** 2).sum())
        if loss < best_loss:
            best, best_loss = QuadraticPlateau(float(y0), float(slope), float(plateau_from)), loss
    return best


def optimum_kg_ha(response: Response, nitrogen_price_usd_kg: float = CHEAP_WATER.nitrogen_price_usd_kg) -> float:
    """The economic optimum of the mean over seasons."""
    return fitted(response.yield_t_ha.mean(axis=1)).optimum_kg_ha(nitrogen_price_usd_kg / CHEAP_WATER.grain_price_usd_t)


def optima_by_season_kg_ha(response: Response) -> Array:
    """Each season's own optimum, (seasons,)."""
    ratio = CHEAP_WATER.nitrogen_price_usd_kg / CHEAP_WATER.grain_price_usd_t
    return np.array([fitted(season).optimum_kg_ha(ratio) for season in response.yield_t_ha.T])


def profit_usd_ha(response: Response, nitrogen_price_usd_kg: float = CHEAP_WATER.nitrogen_price_usd_kg) -> Array:
    """Profit with water at 1 USD/mm, (rates, seasons)."""
    prices = replace(CHEAP_WATER, nitrogen_price_usd_kg=nitrogen_price_usd_kg)
    return prices.profit_usd_ha(response.yield_t_ha, response.irrigation_mm, RATES_KG_HA[:, None])


def at_rate(figures: Array, rate_kg_ha: float) -> float:
    """The mean over seasons of figures (rates, seasons) at any rate within those simulated."""
    return float(np.interp(rate_kg_ha, RATES_KG_HA, figures.mean(axis=1)))


def response_table(response: Response) -> list[dict[str, float]]:
    """Means over seasons by rate."""
    profit = profit_usd_ha(response)
    return [
        {
            "nitrogen_kg_ha": rate,
            "yield_t_ha": round(at_rate(response.yield_t_ha, rate), 2),
            "profit_usd_ha": round(at_rate(profit, rate)),
            "uptake_kg_ha": round(at_rate(response.uptake_kg_ha, rate)),
            "nni": round(at_rate(response.nni, rate), 2),
            "leached_kg_ha": round(at_rate(response.leached_kg_ha, rate), 1),
            "irrigation_mm": round(at_rate(response.irrigation_mm, rate)),
        }
        for rate in SHOWN_RATES_KG_HA
    ]


def optimum_figures(response: Response) -> dict[str, Any]:
    """The optimum, how it differs by season, and what the crop makes of it."""
    curve, best = fitted(response.yield_t_ha.mean(axis=1)), optimum_kg_ha(response)
    profit = profit_usd_ha(response)
    by_season = np.percentile(optima_by_season_kg_ha(response), BY_SEASON_PCT)
    taken = at_rate(response.uptake_kg_ha, best) - at_rate(response.uptake_kg_ha, 0)
    grown = at_rate(response.yield_t_ha, best) - at_rate(response.yield_t_ha, 0)
    return {
        "optimum_kg_ha": round(best),
        "by_season_kg_ha": {f"p{pct}": round(kg) for pct, kg in zip(BY_SEASON_PCT, by_season, strict=True)},
        "yield_without_t_ha": round(curve.y0_t_ha, 2),
        "plateau_t_ha": round(curve.plateau_t_ha, 2),
        "plateau_from_kg_ha": round(curve.plateau_from_kg_ha),
        "profit_usd_ha": round(at_rate(profit, best)),
        "best_simulated_rate_kg_ha": round(RATES_KG_HA[profit.mean(axis=1).argmax()]),
        "best_simulated_profit_usd_ha": round(profit.mean(axis=1).max()),
        "gain_of_each_seasons_best_rate_usd_ha": round(profit.max(axis=0).mean() - profit.mean(axis=1).max()),
        "recovery": round(taken / best, 2),
        "grain_kg_per_kg": round(1000 * grown / best, 1),
        "leached_kg_ha": round(at_rate(response.leached_kg_ha, best), 1),
    }


def ziadi_yield(nni: Array) -> Array:
    """Relative yield that Ziadi et al. 2008 found at that nitrogen nutrition index."""
    return np.minimum(ZIADI_PLATEAU, ZIADI_OFFSET + ZIADI_SLOPE * nni)


def ziadi_check(response: Response) -> dict[str, float]:
    """Simulated relative yield, of the same season's at the highest rate, against Ziadi's."""
    relative = response.yield_t_ha / response.yield_t_ha[-1]
    error = relative - ziadi_yield(response.nni)
    return {
        "bias": round(float(error.mean()), 3),
        "rmse": round(float(np.sqrt((error**2).mean())), 3),
        "bias_where_limited": round(float(error[response.nni < 0.93].mean()), 3),  # where their line ends
        "nni_min": round(float(response.nni.min()), 2),
        "nni_max": round(float(response.nni.max()), 2),
        "season_rates": int(error.size),
    }


def sensitivity(base: Response) -> list[dict[str, Any]]:
    """Optimum and consequences under each case, and what the standard optimum would lose against the best rate."""
    standard_kg_ha = optimum_kg_ha(base)
    rows = []
    for case in SENSITIVITY:
        response = respond(case)
        best = optimum_kg_ha(response, case.nitrogen_price_usd_kg)
        profit = profit_usd_ha(response, case.nitrogen_price_usd_kg)
        rows.append(
            {
                "about": case.about,
                "value": case.value,
                "optimum_kg_ha": round(best),
                "yield_without_t_ha": round(at_rate(response.yield_t_ha, 0), 2),
                "yield_at_300_t_ha": round(at_rate(response.yield_t_ha, 300), 2),
                "profit_at_optimum_usd_ha": round(at_rate(profit, best)),
                "lost_by_standard_usd_ha": round(profit.mean(axis=1).max() - at_rate(profit, standard_kg_ha)),
                "leached_at_200_kg_ha": round(at_rate(response.leached_kg_ha, COMMON_RATE_KG_HA), 1),
                "drained_mm": round(at_rate(response.drained_mm, COMMON_RATE_KG_HA)),
                "irrigation_mm": round(at_rate(response.irrigation_mm, COMMON_RATE_KG_HA)),
            }
        )
    return rows


def print_figures(figures: Mapping[str, Any]) -> None:
    """The tables."""
    _print_table(figures["response"])
    for name in ("optimum", "ziadi"):
        print(f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in figures[name].items()))
    print()
    _print_table(figures["sensitivity"])


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    widths = {key: max(len(key), *(len(str(row[key])) for row in rows)) for key in rows[0]}
    print("  ".join(f"{key:>{width}}" for key, width in widths.items()))
    for row in rows:
        print("  ".join(f"{row[key]!s:>{width}}" for key, width in widths.items()))


def picture(base: Response, figures: Mapping[str, Any]) -> str:
    """The page's picture, in the report's style; like the report's it follows the reader's light or dark scheme."""
    best = figures["optimum"]
    told = (
        f"Yield and profit against nitrogen: optimum {best['optimum_kg_ha']} kg/ha; relative yield against the "
        "nitrogen nutrition index, beside Ziadi's line; and the optimum under other assumptions"
    )
    with pictures.drawing("nitrogen") as figure:
        figure.set_size_inches(2 * pictures.WIDTH_IN, 6.6)
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
        upper, lower = figure.subfigures(2, 1)
        (upper_left, upper_right), (lower_left, lower_right) = upper.subplots(1, 2), lower.subplots(1, 2)
        _draw_yield(upper_left, base, best)
        _draw_profit(upper_right, base, best)
        _draw_ziadi(lower_left, base, figures["ziadi"])
        _draw_sensitivity(lower_right, figures["sensitivity"], best["optimum_kg_ha"])
        svg = StringIO()
        figure.savefig(svg, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator")))
    return _alone(pictures.for_page(_with_short_numbers(svg.getvalue()), "nitrogen", told))


def _with_short_numbers(svg: str) -> str:
    """Hundredths of a point are finer than any screen, and a third of the bytes."""
    return re.sub(r"(\d+\.\d\d)\d+", r"\1", svg)


def _alone(svg: str) -> str:
    """The page's drawing as a file of its own: with namespace, colours, font and paper."""
    css = Path(pictures.__file__).with_name("page.css").read_text()
    colours = css[: css.index("* {")].strip()
    style = f"<style>{colours} text {{ font-family: system-ui, 'DejaVu Sans', sans-serif }}</style>"
    paper = '<rect width="100%" height="100%" rx="12" style="fill: var(--paper)"/>'
    opened = re.sub(r"<svg([^>]*)>", rf'<svg xmlns="http://www.w3.org/2000/svg"\1>{style}{paper}', svg, count=1)
    return f"{opened}\n"


def _settle(axes: Any, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", pad=8)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid()
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="y", labelcolor=COLOURS["muted"])


def _draw_seasons(axes: Any, figures: Array, colour: str) -> None:
    """Each season faintly, and the mean."""
    axes.plot(RATES_KG_HA, figures, color=COLOURS["stone"], linewidth=0.6, alpha=0.4)
    axes.plot(RATES_KG_HA, figures.mean(axis=1), color=COLOURS[colour], linewidth=2.4)


def _mark_optimum(axes: Any, optimum_kg_ha: float, height: float) -> None:
    axes.axvline(optimum_kg_ha, color=COLOURS["ink"], linewidth=0.9, linestyle=(0, (4, 3)))
    axes.scatter([optimum_kg_ha], [height], s=52, color=COLOURS["ink"], edgecolors=COLOURS["paper"], zorder=4)


def _draw_yield(axes: Any, base: Response, best: Mapping[str, Any]) -> None:
    _settle(axes, "Yield", "nitrogen, kg/ha", "t/ha dry grain; thin: seasons, thick: mean")
    _draw_seasons(axes, base.yield_t_ha, "fieldloop")
    _mark_optimum(axes, best["optimum_kg_ha"], at_rate(base.yield_t_ha, best["optimum_kg_ha"]))
    spread = best["by_season_kg_ha"]
    axes.set_ylim(bottom=0)
    axes.text(
        best["optimum_kg_ha"] - 6,
        0.6,
        f"optimum {best['optimum_kg_ha']} kg/ha\nby season {spread['p10']} to {spread['p90']}",
        ha="right",
        fontweight="bold",
    )


def _draw_profit(axes: Any, base: Response, best: Mapping[str, Any]) -> None:
    _settle(axes, "Profit", "nitrogen, kg/ha", "USD/ha; dots: each season's own optimum")
    profit, optima = profit_usd_ha(base), optima_by_season_kg_ha(base)
    _draw_seasons(axes, profit, "blue")
    heights = [
        np.interp(min(kg, RATES_KG_HA[-1]), RATES_KG_HA, season) for kg, season in zip(optima, profit.T, strict=True)
    ]
    axes.scatter(optima, heights, s=11, color=COLOURS["blue"], alpha=0.7, linewidths=0, zorder=3)
    _mark_optimum(axes, best["optimum_kg_ha"], best["profit_usd_ha"])
    axes.set_xlim(-5, RATES_KG_HA[-1] + 5)


def _draw_ziadi(axes: Any, base: Response, check: Mapping[str, float]) -> None:
    _settle(
        axes, "Check: Ziadi et al. 2008", f"nitrogen nutrition index, day {NNI_DAY}", "yield over the season's highest"
    )
    relative = base.yield_t_ha / base.yield_t_ha[-1]
    axes.scatter(base.nni[::3], relative[::3], s=7, color=COLOURS["fieldloop"], alpha=0.3, linewidths=0)
    x = np.linspace(0.4, 1.15, 200)
    axes.plot(x, ziadi_yield(x), color=COLOURS["ochre"], linewidth=2.0)
    axes.text(0.64, 0.55, "measured, Canada", color=COLOURS["ochre"], fontweight="bold")
    told = f"simulated: bias {check['bias']:.2f},\nRMSE {check['rmse']:.2f}"
    axes.text(0.42, 0.84, told, color=COLOURS["fieldloop"], fontweight="bold")
    axes.set_xlim(0.38, 1.15)
    axes.set_ylim(0.35, 1.05)


def _draw_sensitivity(axes: Any, rows: Sequence[Mapping[str, Any]], standard_kg_ha: float) -> None:
    """One line for each assumption, from its lowest to its highest optimum, each dot named by its value."""
    _settle(axes, "The optimum under other assumptions", "economic optimum, kg/ha", "")
    abouts = list(dict.fromkeys(row["about"] for row in rows))
    axes.axvline(standard_kg_ha, color=COLOURS["ink"], linewidth=0.9, linestyle=(0, (4, 3)))
    for place, about in enumerate(abouts):
        variants = sorted((row for row in rows if row["about"] == about), key=lambda row: row["optimum_kg_ha"])
        optima = [row["optimum_kg_ha"] for row in variants]
        axes.plot([optima[0], optima[-1]], [place, place], color=COLOURS["fieldloop"], linewidth=2.5, alpha=0.35)
        axes.scatter(optima, [place] * len(optima), s=30, color=COLOURS["fieldloop"], zorder=3, linewidths=0)
        for end, alignment in ((0, "right"), (-1, "left")):
            shift = 5 if end else -5
            axes.text(optima[end] + shift, place, variants[end]["value"], ha=alignment, va="center", fontsize=7.5)
    axes.set_yticks(range(len(abouts)), [about.replace(", ", "\n") for about in abouts])
    axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
    axes.set_ylim(len(abouts) - 0.5, -0.5)
    axes.set_xlim(60, 330)
    axes.grid(visible=False, axis="y")


if __name__ == "__main__":
    main()
