"""What-if seasons: lived within the device's guardrails, and the same morning can be lived twice."""

import numpy as np
import pytest

from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.decision import (
    IRRIGATION_LAST_DAP,
    NITROGEN_MAX_KG_HA,
    largest_depth_mm,
    largest_dose_kg_ha,
)
from fieldedge.workloads.agriculture.features import FEATURES, INDEX
from fieldloop.workloads.agriculture.pretraining.what_if import Decide, Floats, Lived, Rows, WhatIfs, live, no_forecast
from fieldloop.workloads.agriculture.world.climate import MAX_SEASON_DAYS
from fieldloop.workloads.agriculture.world.plots import plot_of
from fieldloop.workloads.agriculture.world.sensors import Sensors
from fieldloop.workloads.agriculture.world.world import FieldSpec, field_specs

pytestmark = pytest.mark.slow  # the first test of an environment compiles


def specs(count: int = 8, season: int = 2012) -> list[FieldSpec]:
    return field_specs("champion", season, count, 3, "fieldloop")


def planted(fields: list[FieldSpec], depth_mm: float | None = None) -> WhatIfs:
    return WhatIfs.of(
        [plot_of(spec) for spec in fields],
        [spec.record() for spec in fields],
        [Sensors(spec) for spec in fields],
        no_forecast(len(fields), MAX_SEASON_DAYS + 2),
        depth_mm,
    )


def all_that_is_sound(fields: WhatIfs) -> Decide:
    """As much water and nitrogen as the guardrails allow, on every day."""
    efficiency = fields.application_efficiency.astype(np.float32)

    def decide(_: int, rows: Rows) -> tuple[Floats, Floats]:
        depth, dose = largest_depth_mm(rows, efficiency), largest_dose_kg_ha(rows)
        return depth.astype(np.float64), dose.astype(np.float64)

    return decide


def nothing(_: int, rows: Rows) -> tuple[Floats, Floats]:
    return np.zeros(len(rows)), np.zeros(len(rows))


def lived_greedily(fields: list[FieldSpec]) -> Lived:
    what_ifs = planted(fields)
    return live(what_ifs, all_that_is_sound(what_ifs), keep_rows=True)


def test_the_guardrails_keep_any_rule_within_allowance_capacity_and_need() -> None:
    fields = specs(24)
    lived = lived_greedily(fields)
    total_mm, allowance_mm = lived.irrigation_mm.sum(axis=1), [spec.water_allowance_mm for spec in fields]
    assert (total_mm <= np.array(allowance_mm) + 1e-6).all()
    assert (total_mm > 0.9 * np.array(allowance_mm)).any()
    assert (lived.irrigation_mm.max(axis=1) <= [spec.irrigation_capacity_mm + 1e-6 for spec in fields]).all()
    assert (lived.irrigation_mm[:, IRRIGATION_LAST_DAP + 1 :] == 0.0).all()
    assert (lived.nitrogen_kg_ha.max(axis=1) <= NITROGEN_MAX_KG_HA).all()
    assert (lived.nitrogen_kg_ha.sum(axis=1) < 400.0).all()
    dry = live(planted(fields), nothing)
    assert dry.irrigation_mm.sum() == dry.nitrogen_kg_ha.sum() == 0.0
    assert lived.yield_t_ha.mean() > dry.yield_t_ha.mean() + 1.0


def test_the_model_sees_nearly_every_feature_of_a_simulated_season_unclipped() -> None:
    rows = np.concatenate([morning for year in (1988, 1993, 2012) for morning in lived_greedily(specs(10, year)).rows])
    assert np.isfinite(rows).all()
    clipped = np.abs(CONTRACT.scale(rows)) >= 1.5
    names = [feature.name for feature in FEATURES]
    assert {name for name, share in zip(names, clipped.mean(axis=0), strict=True) if share > 0.05} == set()
    low, high = np.array([(feature.minimum, feature.maximum) for feature in FEATURES]).T
    middle = np.median(rows, axis=0)
    assert [
        name for name, is_inside in zip(names, (low <= middle) & (middle <= high), strict=True) if not is_inside
    ] == []


def test_the_balances_of_a_simulated_season_are_physical() -> None:
    rows = np.concatenate(lived_greedily(specs(10)).rows)

    def of(name: str) -> Rows:
        values: Rows = rows[:, INDEX[name]]
        return values

    assert ((of("depletion_mm") >= 0.0) & (of("depletion_mm") <= of("taw_mm") * 1.0001)).all()
    for share in ("depletion_fraction", "canopy_cover", "relative_transpiration", "has_forecast", "is_advised"):
        assert ((of(share) >= 0.0) & (of(share) <= 1.0)).all(), share
    wettest = [spec.record() for spec in specs(10)]
    saturated = max(
        (r["saturation_m3_m3"] - r["wilting_point_m3_m3"]) / (r["field_capacity_m3_m3"] - r["wilting_point_m3_m3"])
        for r in wettest
    )
    for name in (n for n in INDEX if "wetness" in n):
        assert -1.0 <= of(name).min() <= of(name).max() <= saturated + 1e-5, name
    assert ((of("nni") > 0.0) & (of("nni") < 1.3)).all()
    assert ((of("biomass_t_ha") >= 0.0) & (of("biomass_t_ha") < 32.0)).all()
    assert ((of("mineral_nitrogen_kg_ha") >= 0.0) & (of("mineral_nitrogen_kg_ha") < 300.0)).all()
    assert (of("rain_1d_mm") <= of("rain_3d_mm") + 1e-4).all()
    assert (of("rain_3d_mm") <= of("rain_7d_mm") + 1e-4).all()
    assert (of("rain_7d_mm") <= of("rain_14d_mm") + 1e-4).all()
    assert (of("rain_14d_mm") <= of("rain_season_mm") + 1e-3).all()
    assert ((of("water_uncertainty") > 0.0) & (of("water_uncertainty") < 0.2)).all()


def test_the_device_counts_what_was_really_done() -> None:
    fields = planted(specs())
    rule = all_that_is_sound(fields)
    for day in range(70):
        fields.step(*rule(day, fields.features()))
    rows = fields.features()
    np.testing.assert_allclose(rows[:, INDEX["irrigation_season_mm"]], fields.batch.irrigation_mm, rtol=1e-5)
    np.testing.assert_allclose(rows[:, INDEX["nitrogen_applied_kg_ha"]], fields.batch.nitrogen_kg_ha, rtol=1e-5)
    assert set(rows[:, INDEX["dap"]]) == {70.0}
    assert (rows[:, INDEX["has_forecast"]] == 0.0).all()


def test_equipment_of_one_depth_applies_that_depth_whenever_it_is_asked() -> None:
    fields = planted(specs(4), depth_mm=15.0)
    lived = live(fields, lambda day, _: (np.full(4, 3.0 if day % 20 == 10 else 0.0), np.zeros(4)))
    assert set(lived.irrigation_mm.round(9).flat) == {0.0, 15.0}


def test_the_same_morning_lived_twice_in_the_same_way_ends_the_same() -> None:
    chosen = np.array([5, 2, 5])
    trunk = planted(specs())
    rule = all_that_is_sound(trunk)
    for day in range(60):
        trunk.step(*rule(day, trunk.features()))
    before = trunk.features()
    branch = trunk.branch(chosen)
    assert len(branch) == 3
    np.testing.assert_array_equal(branch.features(), before[chosen])
    branched = live(branch, all_that_is_sound(branch), keep_rows=True)
    np.testing.assert_array_equal(trunk.features(), before)
    whole = live(trunk, rule, keep_rows=True)
    np.testing.assert_array_equal(branched.yield_t_ha, whole.yield_t_ha[chosen])
    days = branched.irrigation_mm.shape[1]
    np.testing.assert_array_equal(branched.irrigation_mm, whole.irrigation_mm[chosen, :days])
    np.testing.assert_array_equal(np.stack(branched.rows), np.stack(whole.rows)[:days, chosen])


def test_what_is_done_differently_is_all_that_differs() -> None:
    """Twins of one morning: where one is watered, it alone changes, and both see the same weather."""
    fields = planted(specs(2)).branch(np.array([0, 0, 1, 1]))
    for _ in range(65):
        fields.step(np.zeros(4), np.zeros(4))
    fields.step(np.array([25.0, 0.0, 0.0, 0.0]), np.zeros(4))
    rows = fields.features()
    assert rows[0, INDEX["irrigation_season_mm"]] == 25.0
    assert rows[0, INDEX["wetness_15cm"]] != rows[1, INDEX["wetness_15cm"]]
    weather = [i for i, feature in enumerate(FEATURES) if feature.name.startswith(("rain_", "et0_", "tm", "gdd"))]
    np.testing.assert_array_equal(rows[0, weather], rows[1, weather])
    np.testing.assert_array_equal(rows[2], rows[3])


def test_a_finished_field_stays_as_it_is_and_takes_no_more_water() -> None:
    early, late = specs(8, 1988)[0], specs(8, 1992)[0]
    fields = planted([early, late])
    while not fields.batch.is_finished.any():
        fields.step(np.zeros(2), np.zeros(2))
    over = fields.batch.is_finished
    harvest = fields.batch.yield_t_ha[over].copy()
    while not fields.batch.is_finished.all():
        fields.step(np.full(2, 10.0), np.full(2, 20.0))
    fields.step(np.full(2, 10.0), np.full(2, 20.0))
    np.testing.assert_array_equal(fields.batch.yield_t_ha[over], harvest)
    assert (fields.batch.irrigation_mm[over] == 0.0).all()
    assert (fields.batch.nitrogen_kg_ha[over] == 0.0).all()
