"""Rows compared: means, medians, spread, and the paired interval of the gain over the noisy tuned thresholds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.closed_loop.harness import Row
from benchmarks.closed_loop.sites import Array

RESAMPLES = 10_000


@dataclass(frozen=True)
class Summary:
    """One row's figures. `gain` is over the reference row, season by season; None where there is none."""

    row: str
    profit_usd_ha: float
    median_usd_ha: float
    season_sd_usd_ha: float
    seed_sd_usd_ha: float | None
    yield_t_ha: float
    irrigation_mm: float
    kg_per_m3: float | None
    nitrogen_kg_ha: float
    leached_kg_ha: float
    gain_usd_ha: float | None = None
    gain_low_usd_ha: float | None = None
    gain_high_usd_ha: float | None = None


def summary(row: Row, reference: Row | None = None) -> Summary:
    """A row's figures over its seasons and seeds.

    The spread over seasons is that of means over seeds, and the other way round; the interval holds 95 % of the means
    of seasons drawn with replacement.
    """
    found, by_season = row.outcomes, row.profit_by_season_usd_ha
    by_seed = found.profit_usd_ha.mean(axis=1)
    yield_t_ha, irrigation_mm = float(found.yield_t_ha.mean()), float(found.irrigation_mm.mean())
    gain: tuple[float, float, float] | tuple[None, None, None] = (None, None, None)
    if reference is not None and reference is not row:
        gain = paired_gain(by_season - reference.profit_by_season_usd_ha)
    return Summary(
        row.name,
        float(by_season.mean()),
        float(np.median(by_season)),
        float(by_season.std(ddof=1)),
        float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None,
        yield_t_ha,
        irrigation_mm,
        100 * yield_t_ha / irrigation_mm if irrigation_mm > 0 else None,  # 1 mm on 1 ha is 10 m3
        float(found.nitrogen_kg_ha.mean()),
        float(found.leached_kg_ha.mean()),
        *gain,
    )


def paired_gain(gains: Array) -> tuple[float, float, float]:
    """Mean of the seasons' gains, and its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = gains[rng.integers(0, len(gains), (RESAMPLES, len(gains)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(gains.mean()), float(low), float(high)


def row_named(rows: Sequence[Row], name: str) -> Row | None:
    """The row of that name, if there is one."""
    return next((row for row in rows if row.name == name), None)


def as_json(rows: Sequence[Row], reference: Row | None) -> list[dict[str, Any]]:
    """Figures of every row, and its profit season by season, as plain JSON values."""
    return [
        {
            **{name: _rounded(value) for name, value in asdict(summary(row, reference)).items()},
            "profit_by_season_usd_ha": {
                str(season): round(float(profit), 2)
                for season, profit in zip(row.seasons, row.profit_by_season_usd_ha, strict=True)
            },
        }
        for row in rows
    ]


def print_irrigation(title: str, rows: Sequence[Row], reference: Row | None, measured: dict[str, float]) -> None:
    """A table of irrigation; `measured` are the project's targets, and its study's figures, by row."""
    print(f"\n{title}")
    print(
        f"{'row':<34} {'USD/ha':>7} {'target':>6} {'median':>7} {'t/ha':>6} {'mm':>5} {'kg/m3':>6} "
        f"{'sd years':>8} {'sd seeds':>8}  gain over noisy thresholds"
    )
    for row in rows:
        one = summary(row, reference)
        print(
            f"{one.row:<34} {one.profit_usd_ha:>7.1f} {_cell(measured.get(one.row), 0):>6} {one.median_usd_ha:>7.1f} "
            f"{one.yield_t_ha:>6.2f} {one.irrigation_mm:>5.0f} {_cell(one.kg_per_m3, 1):>6} "
            f"{one.season_sd_usd_ha:>8.1f} {_cell(one.seed_sd_usd_ha, 1):>8}  {_gain(one)}"
        )


def print_nitrogen(title: str, rows: Sequence[Row], best: Row | None) -> None:
    """A table of nitrogen; `best` is perfect foresight."""
    print(f"\n{title}")
    print(f"{'row':<34} {'USD/ha':>7} {'% best':>7} {'median':>7} {'t/ha':>6} {'kg N':>6} {'leached':>8}")
    for row in rows:
        one = summary(row)
        share = 100 * one.profit_usd_ha / summary(best).profit_usd_ha if best else None
        print(
            f"{one.row:<34} {one.profit_usd_ha:>7.1f} {_cell(share, 1):>7} {one.median_usd_ha:>7.1f} "
            f"{one.yield_t_ha:>6.2f} {one.nitrogen_kg_ha:>6.0f} {one.leached_kg_ha:>8.1f}"
        )


def print_calibration(title: str, figures: Mapping[str, Mapping[str, Any]]) -> None:
    """What the yield's quantiles came to, by the name of what was pooled."""
    print(f"\n{title}")
    heads = ("% within", "% < p10", "% < p50", "% < p90", "width", "bias", "RMSE t/ha")
    print(f"{'pooled':<34} " + " ".join(f"{head:>9}" for head in heads))
    for name, one in figures.items():
        shares = (one["coverage_pct"], *one["below_pct"].values())
        sizes = (one["width_t_ha"], one["bias_t_ha"], one["rmse_t_ha"])
        cells = [f"{share:>9.1f}" for share in shares] + [f"{size:>9.2f}" for size in sizes]
        print(f"{name:<34} " + " ".join(cells))


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _gain(one: Summary) -> str:
    if one.gain_usd_ha is None:
        return ""
    return f"{one.gain_usd_ha:+.1f} [{one.gain_low_usd_ha:+.1f}, {one.gain_high_usd_ha:+.1f}]"


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value
