"""Settings of the bundle that ships: what is paid, believed and compared."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.closed_loop.bars import setting_bars
from benchmarks.closed_loop.fieldloop import Senses, advised, later
from benchmarks.closed_loop.harness import live
from benchmarks.closed_loop.settings import (
    FAULT,
    FAULTS,
    OURS,
    PRICES,
    RULE,
    START,
    THRESHOLDS,
    WOFOST,
    Judged,
    Setting,
    pooled_gain,
    settings,
)
from benchmarks.closed_loop.sites import CHEAP_WATER, MAIN, PRODUCT_SITES, SCENARIOS, Scenario
from benchmarks.closed_loop.thresholds import Thresholds, told_otherwise
from fieldloop.workloads.agriculture.world.aquacrop_season import soil_water

WET = np.full((1, 4), 70.0)  # thresholds that ask for water often


def found(usd_ha: tuple[float, float, float], kind: str = PRICES, fault: str = "none") -> Judged:
    """A setting at the main site whose every season earned the same: bundle, rule, thresholds."""
    earned = {who: np.full(3, one) for who, one in zip((OURS, RULE, THRESHOLDS), usd_ha, strict=True)}
    return Judged(Setting(kind, MAIN, CHEAP_WATER, fault), earned, 0.0)


def test_every_setting_has_a_name_of_its_own_and_no_test_season_is_a_tuning_season() -> None:
    every = settings(Path("maize.yaml"))
    assert len({one.name for one in every}) == len(every)
    assert {one.kind for one in every} == {PRICES, START, FAULT, WOFOST}
    assert not any(set(site.tuned_on) & set(site.tested_on) for site in PRODUCT_SITES)
    assert WOFOST not in {one.kind for one in settings(None)}


def test_a_quick_run_has_one_setting_of_each_kind() -> None:
    assert sorted(one.kind for one in settings(Path("maize.yaml"), is_quick=True)) == sorted(
        (PRICES, START, FAULT, WOFOST)
    )


def test_water_that_does_not_arrive_is_paid_and_counts_against_the_allowance() -> None:
    capped = Scenario("cap", 1.0, water_cap_mm=100.0)
    plots = MAIN.plots((2012,))
    whole, part = (live(plots, Thresholds(WET), capped, delivered_share=share) for share in (1.0, 0.6))
    assert whole.irrigation_mm[0] == part.irrigation_mm[0] == 100.0
    assert part.yield_t_ha[0] < whole.yield_t_ha[0]


def test_a_field_capacity_that_is_told_too_high_makes_a_full_soil_seem_to_lack_water() -> None:
    add, times = told_otherwise(MAIN.soil, 0.15)
    water = soil_water(MAIN.soil)
    told = 1.15 * water.field_capacity_m3_m3
    seems = (told - water.field_capacity_m3_m3) / (told - water.wilting_point_m3_m3)
    assert add == pytest.approx(seems)
    assert add + times == pytest.approx(1.0)  # a soil at wilting point lacks all, whatever it is told to hold
    assert told_otherwise(MAIN.soil, 0.0) == (0.0, 1.0)


def test_a_crop_that_is_sown_late_grows_later_in_the_year_than_its_device_believes() -> None:
    assert later(MAIN, 10) == (5, 11)
    on_time, late = (
        advised(MAIN, CHEAP_WATER, [300], None, senses=senses) for senses in (Senses(), FAULTS["sown 10 days late"])
    )
    assert not np.array_equal(on_time.yield_t_ha, late.yield_t_ha)


def test_settings_of_a_climate_share_the_seasons_that_are_drawn() -> None:
    gains = [np.array([30.0, -30.0, 0.0]), np.array([-30.0, 30.0, 0.0])]
    pair = [
        Judged(Setting(PRICES, MAIN, one), {OURS: gain, RULE: gain, THRESHOLDS: np.zeros(3)}, 0.0)
        for one, gain in zip(SCENARIOS[:2], gains, strict=True)
    ]
    assert pooled_gain(pair, THRESHOLDS) == pytest.approx((0.0, 0.0, 0.0))
    assert pooled_gain(pair[:1], THRESHOLDS)[1] < 0.0


def test_one_setting_far_below_thresholds_or_below_the_rule_misses_its_bar() -> None:
    fine, poor = found((600.0, 550.0, 590.0)), found((500.0, 550.0, 590.0), START)
    missed = [bar["bar"] for bar in setting_bars([fine, poor]) if not bar["is_met"]]
    assert any("worst of them against thresholds" in name for name in missed)
    assert any("worst of 2 against the rule in the box" in name for name in missed)
    assert all(bar["is_met"] for bar in setting_bars([fine]))


def test_under_a_fault_half_of_what_it_took_may_be_lost() -> None:
    name = next(iter(FAULTS))
    nominal = found((600.0, 550.0, 590.0))
    for earned, is_met in ((580.0, True), (560.0, False)):
        (loss,) = (
            bar
            for bar in setting_bars([nominal, found((earned, 550.0, 550.0), FAULT, name)])
            if bar["bar"] == f"{name}: loss, USD/ha"
        )
        assert loss["is_met"] is is_met
