"""Whether the model's yield interval tells the truth: what devices foretold every morning against what was harvested.

Every morning of every test season of the main site counts, from planting to harvest, in the three irrigation tables
and the nitrogen table, without a forecast. Mornings of one season are kin, so the intervals come from drawing whole
seasons with replacement, the same for all tables.

`under_other_air` is an ablation: AquaCrop's CO2 rises from year to year and yields with it, which a model that is not
told the year cannot know. The same weather in the air of a tuning year says how much of a miss is that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.closed_loop.diary import Morning, by_day
from benchmarks.closed_loop.fieldloop import advised
from benchmarks.closed_loop.shipped import Decider
from benchmarks.closed_loop.sites import CHEAP_WATER, SCENARIOS, Array, Scenario, Site
from benchmarks.closed_loop.table import RESAMPLES
from fieldloop.workloads.agriculture.network.model import QUANTILES
from fieldloop.workloads.agriculture.world.plots import Plot

SPAN_DAYS = 10
LAST_DAY = 130  # later, few seasons are still growing
NITROGEN = "nitrogen"


@dataclass(frozen=True, eq=False)
class Foretold:
    """One table's predictions: `quantiles_t_ha` (seeds, seasons, days, 3), NaN where none; yields (seeds, seasons)."""

    table: str
    seasons: tuple[int, ...]
    quantiles_t_ha: Array
    yield_t_ha: Array

    @property
    def is_said(self) -> NDArray[np.bool_]:
        """Where there is a prediction, (seeds, seasons, days)."""
        said: NDArray[np.bool_] = np.asarray(np.isfinite(self.quantiles_t_ha).all(axis=-1), dtype=np.bool_)
        return said

    @property
    def is_covered(self) -> NDArray[np.bool_]:
        """Where the yield was within the interval, (seeds, seasons, days)."""
        low, high, came = self.quantiles_t_ha[..., 0], self.quantiles_t_ha[..., 2], self.yield_t_ha[..., None]
        covered: NDArray[np.bool_] = (came >= low) & (came <= high)
        return covered


def foretold(site: Site, nitrogen_pct: Sequence[float], seeds: Sequence[int], ours: Decider) -> list[Foretold]:
    """What the devices foretold in each table; the thresholds `nitrogen_pct` irrigate in the nitrogen table."""

    def lived(table: str, scenario: Scenario, moisture_pct: Sequence[float] | None = None) -> Foretold:
        diary: list[Morning] = []
        shape = len(seeds), len(site.tested_on)
        outcomes = advised(
            site, scenario, seeds, ours.predict, moisture_pct=moisture_pct, diary=diary, doubt=ours.doubt
        )
        quantiles = by_day(diary, "yields_t_ha")
        harvest = outcomes.yield_t_ha.reshape(shape)
        return Foretold(table, site.tested_on, quantiles.reshape(*shape, *quantiles.shape[1:]), harvest)

    irrigation = [lived(scenario.name, scenario) for scenario in SCENARIOS]
    return [*irrigation, lived(NITROGEN, CHEAP_WATER, nitrogen_pct)]


class _UnderOtherAir(Site):
    """A site whose fields grow in the CO2 of the middle of its tuning years, under each season's own weather."""

    def plots(self, seasons: tuple[int, ...], is_nitrogen_limited: bool = False) -> list[Plot]:
        own = super().plots(seasons, is_nitrogen_limited)
        return [replace(plot, planting_date=self.planting_date(middle_year(self))) for plot in own]


def middle_year(site: Site) -> int:
    """The middle one of the tuning years."""
    return site.tuned_on[len(site.tuned_on) // 2]


def under_other_air(site: Site) -> Site:
    """The site, but for the air (see this module's docstring)."""
    return _UnderOtherAir(**{one.name: getattr(site, one.name) for one in fields(site)})


def calibration(tables: Sequence[Foretold]) -> dict[str, Any]:
    """Coverage and quantiles, over all and by table, by days after planting and by season, as plain JSON values."""
    return {
        "mornings": sum(int(one.is_said.sum()) for one in tables),
        "mornings_without_prediction_pct": _without_prediction_pct(tables),
        **_figures(tables),
        "coverage_95_pct": _coverage_interval(tables),
        "by_table": {one.table: _figures([one]) for one in tables},
        "by_day": [{"from_day": day, **_by_table(tables, day)} for day in range(0, LAST_DAY, SPAN_DAYS)],
        "by_season": {
            str(season): _pct(
                _pooled([one.is_covered[:, at] for one in tables], [one.is_said[:, at] for one in tables])
            )
            for at, season in enumerate(tables[0].seasons)
        },
    }


def _figures(tables: Sequence[Foretold]) -> dict[str, Any]:
    """Shares of the yields within the interval and below each quantile, and what the interval and median are like."""
    quantiles = np.concatenate([one.quantiles_t_ha[one.is_said] for one in tables])  # (mornings, 3)
    came = np.concatenate(
        [np.broadcast_to(one.yield_t_ha[..., None], one.is_said.shape)[one.is_said] for one in tables]
    )
    error = quantiles[:, 1] - came
    return {
        "coverage_pct": _pct(_pooled([one.is_covered for one in tables], [one.is_said for one in tables])),
        "below_pct": {
            f"p{100 * level:.0f}": _pct(float((came < quantiles[:, at]).mean())) for at, level in enumerate(QUANTILES)
        },
        "width_t_ha": round(float((quantiles[:, 2] - quantiles[:, 0]).mean()), 2),
        "bias_t_ha": round(float(error.mean()), 2),
        "rmse_t_ha": round(float(np.sqrt(np.square(error).mean())), 2),
    }


def _by_table(tables: Sequence[Foretold], from_day: int) -> dict[str, Any]:
    """Coverage and mean width in one span of days: over all tables, and each table's coverage."""
    span = slice(from_day, from_day + SPAN_DAYS)
    covered, said = ([getattr(one, name)[..., span] for one in tables] for name in ("is_covered", "is_said"))
    quantiles = np.concatenate([one.quantiles_t_ha[..., span, :][one.is_said[..., span]] for one in tables])
    each = {one.table: _pct(_pooled([c], [s])) for one, c, s in zip(tables, covered, said, strict=True)}
    width = round(float((quantiles[:, 2] - quantiles[:, 0]).mean()), 2)
    return {"coverage_pct": _pct(_pooled(covered, said)), "width_t_ha": width, "by_table_pct": each}


def _coverage_interval(tables: Sequence[Foretold]) -> list[float]:
    """95 % interval of the coverage over seasons."""
    covered, said = (
        np.sum([getattr(one, name).sum(axis=(0, 2)) for one in tables], axis=0) for name in ("is_covered", "is_said")
    )
    drawn = np.random.default_rng(0).integers(0, len(said), (RESAMPLES, len(said)))
    shares = covered[drawn].sum(axis=1) / said[drawn].sum(axis=1)
    return [_pct(float(end)) for end in np.percentile(shares, [2.5, 97.5])]


def _without_prediction_pct(tables: Sequence[Foretold]) -> float:
    """Mornings on which the model abstained; a season's mornings end with its last prediction."""
    lasted = sum(int((np.cumsum(one.is_said[..., ::-1], axis=-1) > 0).sum()) for one in tables)
    return _pct(1.0 - sum(int(one.is_said.sum()) for one in tables) / lasted)


def _pooled(covered: Sequence[NDArray[np.bool_]], said: Sequence[NDArray[np.bool_]]) -> float:
    return sum(int(one.sum()) for one in covered) / max(sum(int(one.sum()) for one in said), 1)


def _pct(share: float) -> float:
    return round(100.0 * share, 1)
