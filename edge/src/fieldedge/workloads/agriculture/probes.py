"""What the soil probes add to the water balance: a Kalman filter over the water around each probe and its bias.

A probe reads with a bias that it keeps, a drift, and noise; now and then it sticks or falls silent. The balance knows
the weather but not how much water the profile held at planting. Each corrects the other: the filter's state is the
error of the balance around each probe, and the probe's own bias. Wetting past field capacity makes the soil forget.
"""

import math
from collections.abc import MutableSequence, Sequence

from fieldedge.workloads.agriculture.layout import (
    COVARIANCE,
    DAY_PROBE,
    ERRORS,
    FIELD_CAPACITY,
    LAYERS,
    PROBE_BIAS,
    PROBE_LAST,
    PROBE_REPEATS_D,
    PROBES,
    SATURATION,
    START_WATER_SD,
    THETA,
    WILTING_POINT,
)

BIAS_SD = 0.015  # m3/m3, with what a wrong depth adds
WHITE_SD = 0.015
BALANCE_SD_PER_DAY = 0.0002
DRIFT_SD_PER_DAY = 0.0008
KEPT_AFTER_WETTING = 0.3  # of an error, once the soil there has been past field capacity
STUCK_DAYS = 4  # a probe that repeats itself exactly for so long is not believed
OUTLIER_SD = 5.0
PASSING_ABOVE = 0.002  # m3/m3 over field capacity
LAYER_OF_PROBE = (1, 3, 6, 7)  # 15, 35, 75 and 105 cm are the middles of these layers
PROBE_OF_LAYER = (0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 3, 3)  # which probe speaks for a layer
_OWN_SD = 0.001


def start_filter(state: MutableSequence[float], field: Sequence[float]) -> None:
    """Before any reading: one common error from the unknown water at planting, and each probe's own bias."""
    common = (field[START_WATER_SD] * (field[FIELD_CAPACITY] - field[WILTING_POINT])) ** 2
    for i in range(PROBES):
        for j in range(PROBES):
            state[COVARIANCE + i * ERRORS + j] = common
        state[COVARIANCE + i * ERRORS + i] += _OWN_SD**2
        state[COVARIANCE + (PROBES + i) * ERRORS + PROBES + i] = BIAS_SD**2


def correct(state: MutableSequence[float], field: Sequence[float], day: Sequence[float]) -> None:
    """Let a day's probe readings correct the layers and the probes' biases."""
    _predict(state, field)
    for probe in range(PROBES):
        is_heard = _is_believable(state, probe, day[DAY_PROBE + probe])
        # Water on its way down passes within days: a reading of it says nothing of what will stay.
        seen = day[DAY_PROBE + probe] - state[PROBE_BIAS + probe]
        if is_heard and max(state[THETA + LAYER_OF_PROBE[probe]], seen) <= field[FIELD_CAPACITY] + PASSING_ABOVE:
            _observe(state, field, probe, day[DAY_PROBE + probe])


def wetness(state: Sequence[float], field: Sequence[float], probe: int) -> float:
    """Relative water content at a probe as the balance and all readings have it: 0 wilting, 1 field capacity."""
    theta = state[THETA + LAYER_OF_PROBE[probe]]
    return (theta - field[WILTING_POINT]) / (field[FIELD_CAPACITY] - field[WILTING_POINT])


def uncertainty(state: Sequence[float], field: Sequence[float]) -> float:
    """Standard deviation of the profile's relative water content, as the filter has it."""
    total = 0.0
    for i in range(PROBES):
        for j in range(PROBES):
            total += state[COVARIANCE + i * ERRORS + j]
    return math.sqrt(max(total, 0.0)) / PROBES / (field[FIELD_CAPACITY] - field[WILTING_POINT])


def _predict(state: MutableSequence[float], field: Sequence[float]) -> None:
    """A day passes: errors grow a little, and shrink where the soil was wetted past field capacity."""
    for probe in range(PROBES):
        is_wetted = False
        for layer in range(LAYERS):
            if PROBE_OF_LAYER[layer] == probe and state[THETA + layer] > field[FIELD_CAPACITY] + 1e-4:
                is_wetted = True
        if is_wetted:
            for j in range(ERRORS):
                state[COVARIANCE + probe * ERRORS + j] *= KEPT_AFTER_WETTING
            for j in range(ERRORS):
                state[COVARIANCE + j * ERRORS + probe] *= KEPT_AFTER_WETTING
        bias = PROBES + probe
        state[COVARIANCE + probe * ERRORS + probe] += BALANCE_SD_PER_DAY**2
        state[COVARIANCE + bias * ERRORS + bias] += DRIFT_SD_PER_DAY**2


def _is_believable(state: MutableSequence[float], probe: int, reading: float) -> bool:
    """Whether the probe said something, and not the same thing for days."""
    if math.isnan(reading):
        return False
    if reading == state[PROBE_LAST + probe]:
        state[PROBE_REPEATS_D + probe] += 1.0
    else:
        state[PROBE_REPEATS_D + probe] = 0.0
    state[PROBE_LAST + probe] = reading
    return state[PROBE_REPEATS_D + probe] < STUCK_DAYS


def _observe(state: MutableSequence[float], field: Sequence[float], probe: int, reading: float) -> None:
    """One scalar Kalman update: reading = water + bias + noise."""
    bias = PROBES + probe
    seen = [state[COVARIANCE + i * ERRORS + probe] + state[COVARIANCE + i * ERRORS + bias] for i in range(ERRORS)]
    spread = seen[probe] + seen[bias] + WHITE_SD**2
    innovation = reading - state[THETA + LAYER_OF_PROBE[probe]] - state[PROBE_BIAS + probe]
    if innovation**2 > OUTLIER_SD**2 * spread:
        return
    for i in range(ERRORS):
        for j in range(ERRORS):
            state[COVARIANCE + i * ERRORS + j] -= seen[i] * seen[j] / spread
    for i in range(PROBES):
        _shift(state, field, i, seen[i] / spread * innovation)
        state[PROBE_BIAS + i] += seen[PROBES + i] / spread * innovation


def _shift(state: MutableSequence[float], field: Sequence[float], probe: int, by: float) -> None:
    """Move the layers that a probe speaks for, within what the soil can hold."""
    for layer in range(LAYERS):
        if PROBE_OF_LAYER[layer] == probe:
            moved = state[THETA + layer] + by
            state[THETA + layer] = min(max(moved, 0.5 * field[WILTING_POINT]), field[SATURATION])
