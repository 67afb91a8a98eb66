"""How long water may wait: never less than RAW, longer where water is dear, and as long as the device is sure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.workloads.agriculture.features import FEATURES, INDEX, Array
from fieldedge.workloads.agriculture.waiting import SURE_SD, UNSURE_SD, WAIT, WATER_COST_KG_MM, latest_fraction

RAW = 0.5


def morning(**changes: float) -> Array:
    """One row of midsummer with plenty of water to give."""
    row = np.array([(feature.minimum + feature.maximum) / 2.0 for feature in FEATURES], np.float32)
    known = {
        "dap": 70.0,
        "raw_fraction": RAW,
        "water_cost_kg_mm": WATER_COST_KG_MM,
        "water_uncertainty": 0.05,
        "allowance_left_mm": 3000.0,
        **changes,
    }
    for name, value in known.items():
        row[INDEX[name]] = value
    return row[None, :]


def latest(**changes: float) -> float:
    return float(latest_fraction(morning(**changes))[0])


def test_at_the_price_of_reference_it_is_as_said_past_raw() -> None:
    assert latest() == pytest.approx(RAW + WAIT)


def test_the_dearer_the_water_the_longer_it_may_wait() -> None:
    waits = [latest(water_cost_kg_mm=times * WATER_COST_KG_MM) - RAW for times in (0.5, 1.0, 2.0, 3.0)]
    assert waits == sorted(waits)
    assert waits[3] > 2.5 * waits[1]


def test_the_less_sure_the_device_is_of_the_water_the_nearer_is_the_latest_to_raw() -> None:
    half = (SURE_SD + UNSURE_SD) / 2.0
    assert latest(water_uncertainty=SURE_SD) == pytest.approx(RAW + WAIT)
    assert latest(water_uncertainty=half) == pytest.approx(RAW + WAIT / 2.0)
    assert latest(water_uncertainty=UNSURE_SD) == latest(water_uncertainty=0.5) == pytest.approx(RAW)


def test_where_the_allowance_cannot_carry_the_crop_the_bound_gives_way() -> None:
    dry = dict.fromkeys(("wetness_15cm", "wetness_35cm", "wetness_75cm", "wetness_105cm", "wetness_deep"), 0.1)
    waits = [latest(allowance_left_mm=left, dap=50.0, **dry) for left in (3000.0, 200.0, 100.0, 10.0)]
    assert waits == sorted(waits)
    assert waits[-1] > 1.0 > waits[0]


@given(
    dap=st.floats(0.0, 150.0),
    raw_fraction=st.floats(0.1, 0.8),
    water_cost_kg_mm=st.floats(0.0, 200.0),
    water_uncertainty=st.floats(0.0, 1.0),
    allowance_left_mm=st.floats(0.0, 3000.0),
)
def test_the_latest_is_never_before_raw(**changes: float) -> None:
    assert latest(**changes) >= np.float32(changes["raw_fraction"])
