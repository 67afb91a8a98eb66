"""Rows that would make a wrong 8-bit model are refused by column, and the refusal says what ships instead."""

import numpy as np
import pytest

from fieldedge.system.errors import ReleaseError
from fieldloop.compression import CalibrationError, check_calibration
from tests.training.small_training import CONTRACT, scaled, small_examples

FEATURES = CONTRACT.features
Rows = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def rows(count: int = 64) -> Rows:
    return scaled(small_examples())[:count].copy()


def with_value(value: float, column: int = 5) -> Rows:
    changed = rows()
    changed[3, column] = value
    return changed


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (rows(63), "at least 64 finite rows; found 63 rows"),
        (rows(0), "at least 64 finite rows; found 0 rows"),
        (with_value(np.nan), f"found 1 broken values in 64 rows, the first in column {FEATURES[5].name}"),
        (with_value(np.inf), f"the first in column {FEATURES[5].name}"),
        (with_value(40.0), f"outside the contract: column {FEATURES[5].name} holds"),
        (np.zeros((64, len(FEATURES)), np.float32), "rows of one class only: all 64 rows are the same"),
    ],
)
def test_a_broken_calibration_is_refused_by_what_is_wrong(broken: Rows, told: str) -> None:
    with pytest.raises(CalibrationError, match=told.replace("(", r"\(")) as refused:
        check_calibration(broken, FEATURES)
    assert str(refused.value).endswith("float32 ships instead")
    assert isinstance(refused.value, ReleaseError)


def test_a_value_outside_the_contract_is_told_in_the_units_of_the_column() -> None:
    names = [feature.name for feature in FEATURES]
    column = names.index("depletion_mm")
    with pytest.raises(CalibrationError, match=r"column depletion_mm holds 3885 mm, expected about 0 to 370"):
        check_calibration(with_value(20.0, column), FEATURES)


def test_a_column_that_never_varies_but_does_in_the_held_out_seasons_is_named() -> None:
    stuck = rows()
    stuck[:, 0] = 0.25
    with pytest.raises(CalibrationError, match=f"one class only: {FEATURES[0].name} never varies there"):
        check_calibration(stuck, FEATURES, others=rows())
    check_calibration(stuck, FEATURES, others=stuck)  # no one asks about it: nothing is wrong


def test_rows_of_the_contract_pass() -> None:
    check_calibration(rows(), FEATURES, others=rows())
