"""Where the bundle that ships is tried: sites, prices, allowances, start water, faults that nobody knows of, WOFOST.

A setting is lived three times, on the test seasons alone and under the same sensors: by the bundle, by the device
without its model (the FAO-56 rule in the box), and by thresholds that were tuned under noise on the tuning seasons of
the same site, prices and start water. Under a fault all three go on as they were: none of them was tuned for it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.closed_loop import thresholds
from benchmarks.closed_loop.fieldloop import Senses, advised, aquacrop, later
from benchmarks.closed_loop.harness import Outcomes, for_seeds, live
from benchmarks.closed_loop.kept import Kept
from benchmarks.closed_loop.shipped import Decider, DoubtOf
from benchmarks.closed_loop.sites import (
    MAIN,
    PRODUCT_SCENARIOS,
    PRODUCT_SITES,
    SCENARIOS,
    START_WATER_PCT,
    Array,
    Scenario,
    Site,
)
from benchmarks.closed_loop.table import RESAMPLES
from fieldedge.contract import Record
from fieldedge.workload import Doubt
from fieldloop.workloads.agriculture.world.field_batch import FieldBatch
from fieldloop.workloads.agriculture.world.plots import Plot
from fieldloop.workloads.agriculture.world.wofost import WofostBatch, WofostCrop

OURS, RULE, THRESHOLDS = "bundle", "rule", "thresholds"
PRICES, START, FAULT, WOFOST = "prices", "start water", "fault", "WOFOST"
NO_FAULT = "none"
FAULTS = {
    "field capacity told 15 % too high": Senses(capacity_error=0.15),
    "80 % of the irrigation arrives": Senses(delivered_share=0.8),
    "sown 10 days late": Senses(sown_late_d=10),
    "wet soil record, low gauge, poor delivery": Senses(capacity_error=0.15, gauge_factor=0.8, delivered_share=0.8),
}
WOFOST_ROOTS_M, WOFOST_PRICES = (1.0, 1.5), ("c=1", "c=3")
LATITUDE_DEG = 41.4  # Champion, Nebraska


@dataclass(frozen=True)
class Setting:
    """One table's worth of circumstances."""

    kind: str
    site: Site
    scenario: Scenario
    fault: str = NO_FAULT
    senses: Senses = field(default_factory=Senses)
    roots_m: float | None = None  # of the crop, where it is WOFOST's

    @property
    def name(self) -> str:
        """For tables and keys."""
        wrong = "" if self.fault == NO_FAULT else f", {self.fault}"
        physics = "" if self.roots_m is None else f", WOFOST, roots {self.roots_m:g} m"
        return f"{self.site.name}, {self.scenario.name}, {self.site.initial_water_pct:.0f} % at sowing{wrong}{physics}"


@dataclass(frozen=True, eq=False)
class Judged:
    """What each decider earned, by season: the mean over the sensors' seeds, (seasons,)."""

    setting: Setting
    usd_ha: dict[str, Array]
    abstained_pct: float

    def mean(self, who: str) -> float:
        """USD/ha over the test seasons."""
        return float(self.usd_ha[who].mean())

    def gain(self, over: str) -> Array:
        """The bundle's gain by season, (seasons,)."""
        return self.usd_ha[OURS] - self.usd_ha[over]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; intervals are of seasons drawn with replacement, 95 % over thresholds, 90 % over rule."""
        one = self.setting
        return {
            "setting": one.name,
            "kind": one.kind,
            "site": one.site.name,
            "scenario": one.scenario.name,
            "start_water_pct": one.site.initial_water_pct,
            "fault": one.fault,
            "usd_ha": {who: round(self.mean(who), 1) for who in self.usd_ha},
            "gain_over_thresholds_usd_ha": [round(value, 1) for value in interval(self.gain(THRESHOLDS), 95.0)],
            "gain_over_rule_usd_ha": [round(value, 1) for value in interval(self.gain(RULE), 90.0)],
            "abstained_pct": round(self.abstained_pct, 1),
        }


def interval(gains: Array, percent: float) -> tuple[float, float, float]:
    """Mean of the seasons' gains, and the ends of its bootstrap interval."""
    drawn = np.random.default_rng(0).integers(0, len(gains), (RESAMPLES, len(gains)))
    rest = (100.0 - percent) / 2
    low, high = np.percentile(gains[drawn].mean(axis=1), [rest, 100.0 - rest])
    return float(gains.mean()), float(low), float(high)


def pooled_gain(judged: Sequence[Judged], over: str, percent: float = 95.0) -> tuple[float, float, float]:
    """Mean gain over settings and its interval; settings of a climate share their seasons, which are drawn for all."""
    rng, draws = np.random.default_rng(0), np.zeros(RESAMPLES)
    for region in dict.fromkeys(one.setting.site.region.name for one in judged):
        gains = np.array([one.gain(over) for one in judged if one.setting.site.region.name == region])
        chosen = rng.integers(0, gains.shape[1], (RESAMPLES, gains.shape[1]))
        draws += gains.sum(axis=0)[chosen].mean(axis=1)
    rest = (100.0 - percent) / 2
    low, high = np.percentile(draws / len(judged), [rest, 100.0 - rest])
    return float(np.mean([one.gain(over).mean() for one in judged])), float(low), float(high)


def settings(wofost: Path | None, is_quick: bool = False) -> list[Setting]:
    """Every setting; `is_quick`: one of each kind. Without WOFOST's parameters there are none of its own."""
    found = [*_prices(), *_starts(), *_faults(), *(_wofost() if wofost is not None else ())]
    if not is_quick:
        return found
    firsts = {one.kind: one for one in reversed(found)}
    return [one for one in found if firsts[one.kind] is one]


def _prices() -> Iterator[Setting]:
    for site in PRODUCT_SITES:
        for scenario in PRODUCT_SCENARIOS:
            yield Setting(PRICES, site, scenario)


def _starts() -> Iterator[Setting]:
    for site in PRODUCT_SITES:
        for start_pct in START_WATER_PCT:
            for scenario in SCENARIOS if start_pct != site.initial_water_pct else ():
                yield Setting(START, replace(site, initial_water_pct=start_pct), scenario)


def _faults() -> Iterator[Setting]:
    cheap = SCENARIOS[0]
    for site in (MAIN, *PRODUCT_SITES[5:]):
        for fault, senses in FAULTS.items():
            yield Setting(FAULT, site, cheap, fault, senses)


def _wofost() -> Iterator[Setting]:
    for roots_m in WOFOST_ROOTS_M:
        for scenario in PRODUCT_SCENARIOS:
            if scenario.name in WOFOST_PRICES:
                yield Setting(WOFOST, MAIN, scenario, roots_m=roots_m)


def judged(setting: Setting, ours: Decider, seeds: Sequence[int], kept: Kept, wofost: Path | None) -> Judged:
    """The setting lived by all three deciders."""
    moisture_pct = _tuned_pct(setting, kept)
    simulated = aquacrop if setting.roots_m is None else partial(_in_wofost, file=wofost, roots_m=setting.roots_m)
    abstained: list[bool] = []

    def by_device(decider: Decider) -> Array:
        return _by_season(
            setting,
            seeds,
            advised(
                setting.site,
                setting.scenario,
                seeds,
                decider.predict,
                senses=setting.senses,
                doubt=_noted(decider, abstained),
                simulated=simulated,
                root_depth_max_m=setting.roots_m,
            ),
        )

    usd_ha = {
        OURS: by_device(ours),
        RULE: by_device(Decider(RULE)),
        THRESHOLDS: _by_thresholds(setting, moisture_pct, seeds, simulated),
    }
    return Judged(setting, usd_ha, 100.0 * float(np.mean(abstained)) if abstained else 0.0)


def _noted(decider: Decider, abstained: list[bool]) -> DoubtOf | None:
    """The decider's doubt, with a note of every morning on which it had one."""
    doubt_of = decider.doubt
    if doubt_of is None:
        return None

    def noted_of(record: Record) -> Doubt:
        doubt = doubt_of(record)

        def noted(row: Any) -> str | None:
            why = doubt(row)
            abstained.append(why is not None)
            return why

        return noted

    return noted_of


def _by_season(setting: Setting, seeds: Sequence[int], outcomes: Outcomes) -> Array:
    mean: Array = outcomes.profit_usd_ha.reshape(len(seeds), len(setting.site.tested_on)).mean(axis=0)
    return mean


def _by_thresholds(
    setting: Setting, moisture_pct: Sequence[float], seeds: Sequence[int], simulated: Callable[..., FieldBatch]
) -> Array:
    """Thresholds under the setting's fault: of soil and delivery, and sown late; no gauge is among their senses."""
    site, senses = setting.site, setting.senses
    sown = replace(site, planting=later(site, senses.sown_late_d))
    plots = for_seeds(sown.plots(site.tested_on), seeds)
    told = thresholds.told_otherwise(site.soil, senses.capacity_error) if senses.capacity_error else None
    errors = thresholds.depletion_errors(site, site.tested_on, seeds)
    policy = thresholds.Thresholds(np.tile(np.asarray(moisture_pct), (len(plots), 1)), errors, told)
    lived = live(plots, policy, setting.scenario, delivered_share=senses.delivered_share, simulated=simulated(plots))
    return _by_season(setting, seeds, lived)


def _tuned_pct(setting: Setting, kept: Kept) -> list[float]:
    """Thresholds of the same site, prices and start water in AquaCrop: of no fault and no other physics."""
    site, scenario = setting.site, setting.scenario
    effort = (thresholds.SOON_GENERATIONS, thresholds.SOON_CANDIDATES, thresholds.SOON_SEEDS)
    noise = (thresholds.BIAS_SD_M3_M3, thresholds.WHITE_SD_M3_M3)
    key = f"soon/{site.name}/{site.initial_water_pct:.0f} %/{scenario.name}"
    asked = (replace(site, tested_on=()), scenario, effort, noise)
    found: list[float] = kept.get(key, asked, lambda: thresholds.tuned_soon(site, scenario, thresholds.SOON_SEEDS))
    return found


def _in_wofost(plots: Sequence[Plot], file: Path | None, roots_m: float) -> FieldBatch:
    assert file is not None
    return WofostBatch.of(plots, WofostCrop.of(file, roots_m), LATITUDE_DEG)
