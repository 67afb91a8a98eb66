"""Many devices folded at once are each the device itself."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldedge.contract import Record
from fieldedge.workloads.agriculture import layout as at
from fieldedge.workloads.agriculture.evidence import EVIDENCE_VALUES, read_evidence
from fieldedge.workloads.agriculture.features import FEATURES, field_constants, read_features
from fieldedge.workloads.agriculture.season import advance, start_season
from fieldloop.workloads.agriculture.pretraining.many_fields import ManyFields
from fieldloop.workloads.agriculture.world.world import field_specs

pytestmark = pytest.mark.slow  # the first test of an environment compiles

Floats = NDArray[np.float64]
DAYS = 132


def records(count: int) -> list[Record]:
    """Fields of every soil, every other one sampled at planting."""
    specs = field_specs("champion", 2006, count, 3, "fieldloop")
    return [
        {**spec.record(), "initial_water_pct": spec.initial_water_pct if i % 2 else None}
        for i, spec in enumerate(specs)
    ]


def faulty_days(count: int, seed: int) -> Floats:
    """(DAYS, N, DAY_VALUES): weather, work, flights, and probes that are silent, stuck or absurd; some days missing."""
    rng = np.random.default_rng(seed)
    shape = (DAYS, count)
    days = np.full((*shape, at.DAY_VALUES), np.nan)
    days[..., at.DAY_IRRIGATION_MM] = np.where(rng.random(shape) < 0.1, 25.0, 0.0)
    days[..., at.DAY_NITROGEN_KG_HA] = np.where(rng.random(shape) < 0.02, 80.0, 0.0)
    days[..., at.DAY_TMIN_C] = rng.normal(12, 4, shape)
    days[..., at.DAY_TMAX_C] = days[..., at.DAY_TMIN_C] + rng.uniform(4, 16, shape)
    days[..., at.DAY_RAIN_MM] = np.where(rng.random(shape) < 0.25, rng.exponential(12, shape), 0.0)
    days[..., at.DAY_ET0_MM] = rng.uniform(1, 10, shape)
    days[..., at.DAY_NDVI] = np.where(rng.random(shape) < 0.1, 0.7, np.nan)
    probes = rng.choice([0.15, 0.18, 0.21, 0.24, 0.6], (*shape, at.PROBES)) + rng.normal(0, 0.01, (*shape, at.PROBES))
    days[..., at.DAY_PROBE :] = np.where(rng.random((*shape, at.PROBES)) < 0.2, np.nan, probes)
    days[30:60, :, at.DAY_PROBE] = 0.2
    days[rng.random(shape) < 0.03, at.DAY_TMIN_C :] = np.nan
    return days


def test_the_compiled_form_is_plain_python_to_a_billionth() -> None:
    fields, days = records(10), faulty_days(10, seed=1)
    together = ManyFields.of(fields)
    alone = [([0.0] * at.STATES, field_constants(record)) for record in fields]
    for state, field in alone:
        start_season(state, field)
    forecasts = np.array([[math.nan] * 3, [5.0, 12.0, 6.0]] * 5)
    for today in days:
        together.advance(today)
        for (state, field), day in zip(alone, today.tolist(), strict=True):
            advance(state, field, day)
        np.testing.assert_allclose(together.values, [state for state, _ in alone], rtol=1e-9, atol=1e-9)
    rows = np.zeros((10, len(FEATURES)))
    for (state, field), forecast, row in zip(alone, forecasts, rows, strict=True):
        read_features(state, field, forecast, row)
    np.testing.assert_allclose(together.features(forecasts), rows, rtol=1e-6, atol=1e-6)
    found = np.zeros((10, EVIDENCE_VALUES))
    for (state, field), one in zip(alone, found, strict=True):
        read_evidence(state, field, one)
    np.testing.assert_allclose(together.evidence(), found, rtol=1e-9, atol=1e-9)
    assert found[:, 0].min() < 1.0 and np.ptp(found[:, 1]) > 0.0
    assert together.values[:, at.BIOMASS_T_HA].min() > 5.0


def test_threads_change_nothing() -> None:
    fields, days = records(5) * 120, np.tile(faulty_days(5, seed=2), (1, 120, 1))
    one, three = ManyFields.of(fields, threads=1), ManyFields.of(fields, threads=3)
    for today in days[:20]:
        one.advance(today)
        three.advance(today)
    np.testing.assert_array_equal(one.values, three.values)
    np.testing.assert_array_equal(one.features(), three.features())
    np.testing.assert_array_equal(one.values[:5], one.values[-5:])


def test_a_branch_goes_on_by_itself() -> None:
    days, chosen = faulty_days(6, seed=3), np.array([4, 1, 4])
    trunk = ManyFields.of(records(6))
    for today in days[:60]:
        trunk.advance(today)
    before, branch = trunk.values.copy(), trunk.branch(chosen)
    assert len(branch) == 3
    for today in days[60:]:
        branch.advance(today[chosen])
    np.testing.assert_array_equal(trunk.values, before)
    for today in days[60:]:
        trunk.advance(today)
    np.testing.assert_array_equal(branch.values, trunk.values[chosen])
    np.testing.assert_array_equal(branch.constants, trunk.constants[chosen])
