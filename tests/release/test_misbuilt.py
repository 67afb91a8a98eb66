"""A version that was built wrong passes a device's trial, and its answers are all off by the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fieldedge.inference.bundles import GOLDEN, MODEL, open_bundle, parse_golden
from fieldedge.inference.model import Model
from fieldloop.release import try_bundle
from fieldloop.release.misbuilt import OFF_SD, misbuilt
from tests.conftest import CONTRACT


def test_it_passes_the_trial_and_answers_far_off(make_bundle: Callable[..., Path]) -> None:
    data = make_bundle("7").read_bytes()
    made = misbuilt(data, "7.bad", CONTRACT)
    assert try_bundle(made, CONTRACT).version == "7.bad"
    assert misbuilt(data, "7.bad", CONTRACT) == made
    good = parse_golden(open_bundle(data, CONTRACT).files[GOLDEN], CONTRACT)
    off = Model(open_bundle(made, CONTRACT).files[MODEL], CONTRACT).predict(good.features) - good.outputs
    assert np.allclose(off, OFF_SD * np.maximum(good.outputs.std(axis=0), 1e-3), rtol=1e-3, atol=1e-3)
