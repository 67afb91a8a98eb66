"""Calibration rows, checked before an observer sees them.

Eight-bit ranges are read off these rows, so rows that are few, alike or outside the contract make a model that is wrong
and does not say so. What is refused here is refused by column, in physical units.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fieldedge.contract import SCALED_LIMIT, Feature
from fieldedge.system.errors import ReleaseError

Array = npt.NDArray[np.float32]

MIN_ROWS = 64
INSTEAD = "float32 ships instead"


class CalibrationError(ReleaseError):
    """These rows cannot calibrate an 8-bit model. Mend the data; until then float32 ships."""


class OperatorError(ReleaseError):
    """The network has an operator that cannot be made 8-bit. Until it is replaced, float32 ships."""


def check_calibration(rows: Array, features: Sequence[Feature], others: Array | None = None) -> None:
    """Refuse scaled rows (N, F) that would make a wrong 8-bit model.

    Args:
        features: the contract's, one for each column.
        others: rows that the model must answer too (the held-out ones); what varies there must vary here.

    Raises:
        CalibrationError: with the column, what was found there and what was expected.
    """
    _check_finite(rows, features)
    if len(rows) < MIN_ROWS:
        raise CalibrationError(
            f"calibration needs at least {MIN_ROWS} finite rows; found {len(rows)} rows. Accept more data, or raise "
            f"compression.calibration_rows in params.yaml; {INSTEAD}"
        )
    _check_within_contract(rows, features)
    _check_varied(rows, features, others)


def _check_finite(rows: Array, features: Sequence[Feature]) -> None:
    broken = ~np.isfinite(rows)
    if broken.any():
        column = int(np.flatnonzero(broken.any(axis=0))[0])
        raise CalibrationError(
            f"calibration needs finite rows; found {int(broken.sum())} broken values in {len(rows)} rows, the first in "
            f"column {features[column].name}. Look at the training data; {INSTEAD}"
        )


def _check_within_contract(rows: Array, features: Sequence[Feature]) -> None:
    far = np.abs(rows) > SCALED_LIMIT + 1e-4
    if not far.any():
        return
    column = int(far.sum(axis=0).argmax())
    feature, worst = features[column], float(rows[np.abs(rows[:, column]).argmax(), column])
    value = feature.minimum + (worst + 1.0) / 2.0 * (feature.maximum - feature.minimum)
    raise CalibrationError(
        f"calibration data is outside the contract: column {feature.name} holds {value:.4g} {feature.unit}, expected "
        f"about {feature.minimum:g} to {feature.maximum:g} ({int(far[:, column].sum())} of {len(rows)} rows). "
        f"Scale rows with the workload's own `scale`; {INSTEAD}"
    )


def _check_varied(rows: Array, features: Sequence[Feature], others: Array | None) -> None:
    is_stuck = np.ptp(rows, axis=0) == 0.0
    if is_stuck.all():
        raise CalibrationError(
            f"calibration has rows of one class only: all {len(rows)} rows are the same. Draw them from several "
            f"episodes and days; {INSTEAD}"
        )
    if others is None or not len(others):
        return
    missing = np.flatnonzero(is_stuck & (np.ptp(others, axis=0) > 0.0)).tolist()
    if missing:
        names = ", ".join(features[i].name for i in missing)
        raise CalibrationError(
            f"calibration has rows of one class only: {names} never varies there, and does in the held-out rows. "
            f"Draw the rows from more episodes and days; {INSTEAD}"
        )
