"""A day far from the training data is known as such, and its feature is named."""

import numpy as np
import pytest

from fieldedge.inference.bundles import Reference
from fieldedge.inference.ood import MAX_DISTANCE, OodDetector
from tests.edge.sample import AGRICULTURE

CONTRACT = AGRICULTURE.contract
LOW = np.array([f.minimum for f in CONTRACT.features])
HIGH = np.array([f.maximum for f in CONTRACT.features])
MIDDLE, SPAN = (LOW + HIGH) / 2, HIGH - LOW
REFERENCE = Reference(MIDDLE, SPAN / 8, MIDDLE - SPAN / 8, MIDDLE + SPAN / 8)  # a quarter of each range was seen


def row_with(name: str, value: float) -> np.ndarray:
    row = MIDDLE.astype(np.float32)
    row[CONTRACT.feature_names.index(name)] = value
    return row


def test_a_row_within_the_training_range_is_familiar() -> None:
    assert OodDetector(REFERENCE, CONTRACT).doubt(MIDDLE.astype(np.float32)) is None
    assert OodDetector(REFERENCE, CONTRACT).distances(MIDDLE.astype(np.float32)).max() == 0.0


def test_one_feature_far_out_is_named_with_its_value_and_what_was_learned_from() -> None:
    told = OodDetector(REFERENCE, CONTRACT).doubt(row_with("tmax_7d_c", 41.9))
    assert told == "tmax_7d_c is 41.9 degC, far from the 18.9 to 28.1 that the model has learned from"


def test_a_little_outside_is_still_familiar() -> None:
    edge = 28.125 + 0.9 * MAX_DISTANCE * 9.25
    assert OodDetector(REFERENCE, CONTRACT).doubt(row_with("tmax_7d_c", edge)) is None


def test_a_value_beyond_the_contract_counts_as_at_its_end() -> None:
    at_end, beyond = row_with("allowance_left_mm", 700.0), row_with("allowance_left_mm", 30_000.0)
    assert OodDetector(REFERENCE, CONTRACT).distances(beyond).max() == pytest.approx(
        OodDetector(REFERENCE, CONTRACT).distances(at_end).max()
    )


def test_a_feature_that_hardly_varied_in_training_does_not_make_every_day_strange() -> None:
    narrow = Reference(MIDDLE, SPAN / 1e4, MIDDLE - SPAN / 1e4, MIDDLE + SPAN / 1e4)
    assert OodDetector(narrow, CONTRACT).doubt(row_with("tmax_7d_c", 25.0)) is None


def test_a_feature_with_one_value_in_all_of_training_is_not_judged() -> None:
    constant = Reference(MIDDLE, np.zeros_like(MIDDLE), MIDDLE, MIDDLE)
    assert OodDetector(constant, CONTRACT).doubt(row_with("is_advised", 1.0)) is None


def test_a_trend_beyond_training_is_no_reason_to_abstain_and_is_said() -> None:
    detector, late = OodDetector(REFERENCE, CONTRACT, ("co2_ppm",)), row_with("co2_ppm", 449.0)
    assert OodDetector(REFERENCE, CONTRACT).doubt(late) is not None
    assert detector.doubt(late) is None
    (said,) = detector.extrapolated(late)
    assert said == ("co2_ppm", 449.0, 375.0, 405.0)


def test_a_state_far_out_is_doubted_beside_a_trend_that_is_further_out() -> None:
    detector, row = OodDetector(REFERENCE, CONTRACT, ("co2_ppm",)), row_with("co2_ppm", 450.0)
    row[CONTRACT.feature_names.index("tmax_7d_c")] = 41.9
    assert (detector.doubt(row) or "").startswith("tmax_7d_c is 41.9")


def test_a_trend_within_training_is_not_worth_saying() -> None:
    detector = OodDetector(REFERENCE, CONTRACT, ("co2_ppm",))
    assert detector.extrapolated(MIDDLE.astype(np.float32)) == ()
    assert detector.extrapolated(row_with("tmax_7d_c", 41.9)) == ()
