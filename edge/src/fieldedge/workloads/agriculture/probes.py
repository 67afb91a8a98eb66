"""What the soil probes teach the water balance: a Kalman filter over the water around each probe, the probes' biases,
and what a device was told of its field.

A probe reads with a bias that it keeps, a drift, and noise; now and then it sticks or falls silent. The balance knows
the weather but neither how much water the profile held at planting, nor whether the soil record, the noted irrigation
and the gauge are right. Each corrects the other. The error of a layer's water is what it owes to those modes, by the
sensitivities of sensitivity.py, and an error of its own around each probe; wetting past field capacity makes the soil
forget the latter. How much of its own the balance errs, it learns from how far the readings surprise it.

Sources: the filter's state augmented by constants, Jazwinski 1970 ch. 8; the scale of its noise from normalised
innovations with exponential forgetting, Mehra 1970 (doi:10.1109/TAC.1970.1099422), Akhlaghi et al. 2017
(arXiv:1702.00884); soil parameters beside moisture, arXiv:2305.15549.
"""

import math
from collections.abc import MutableSequence, Sequence

from fieldedge.workloads.agriculture.layout import (
    CAPACITY,
    COVARIANCE,
    DAY_PROBE,
    ERRORS,
    FACTORS,
    FIELD_CAPACITY,
    LAYERS,
    MODES,
    PROBE_BIAS,
    PROBE_LAST,
    PROBE_REPEATS_D,
    PROBES,
    SATURATION,
    SEEN,
    SENSITIVITY,
    SINCE_WETTED_D,
    SOIL,
    START,
    START_WATER_SD,
    SURPRISE,
    THETA,
    TOLD_SD,
    WILTING_POINT,
)
from fieldedge.workloads.agriculture.sensitivity import shifted_factor

BIAS_SD = 0.015  # m3/m3, with what a wrong depth adds
WHITE_SD = 0.015
ALIKE_D = 28.0  # of a reading's error besides its bias: so many days of readings tell no more than one
BALANCE_SD_PER_DAY = 0.0002  # of a balance that the readings do not surprise
DRIFT_SD_PER_DAY = 0.002
FACTOR_SD = (0.10, 0.12, 0.10)  # soil, share, gauge: how far what is told is wrong on an ordinary field
KEPT_AFTER_WETTING = 0.3  # of an error, once the soil there has been past field capacity
STUCK_DAYS = 4  # a probe that repeats itself exactly for so long is not believed
OUTLIER_SD = 5.0
PASSING_ABOVE = 0.002  # m3/m3 over field capacity
PASSED_AFTER_D = 3.0  # days after a wetting, water that still stands above field capacity is no longer on its way
SURPRISE_KEPT = 0.95  # of the mean surprise, for each reading
SURPRISE_USUAL = 0.5  # up to it, the balance errs no more than BALANCE_SD_PER_DAY
SURPRISE_MOST = 5.0  # times the usual: from there on the doubt grows no more
LAYER_OF_PROBE = (1, 3, 6, 7)  # 15, 35, 75 and 105 cm are the middles of these layers
PROBE_OF_LAYER = (0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 3, 3)  # which probe speaks for a layer
_MODE = 2 * PROBES  # where the modes stand among the errors
_OWN_SD = 0.001


def start_filter(state: MutableSequence[float], field: Sequence[float]) -> None:
    """Before any reading: little error of the probes' own, each probe's bias, and the modes as they are at large."""
    for i in range(PROBES):
        state[COVARIANCE + i * ERRORS + i] = _OWN_SD**2
        state[COVARIANCE + (PROBES + i) * ERRORS + PROBES + i] = BIAS_SD**2
    for mode in range(FACTORS):
        state[COVARIANCE + (_MODE + mode) * ERRORS + _MODE + mode] = field[TOLD_SD + mode] ** 2
    start = _MODE + START
    state[COVARIANCE + start * ERRORS + start] = field[START_WATER_SD] ** 2


def correct(state: MutableSequence[float], field: Sequence[float], day: Sequence[float]) -> None:
    """Let a day's probe readings correct the layers, the probes' biases and the modes."""
    _predict(state)
    for probe in range(PROBES):
        if _is_believable(state, probe, day[DAY_PROBE + probe]) and _stands(state, probe, day[DAY_PROBE + probe]):
            _observe(state, field, probe, day[DAY_PROBE + probe])


def wetness(state: Sequence[float], field: Sequence[float], probe: int) -> float:
    """Relative water content at a probe as the balance and all readings have it: 0 wilting, 1 field capacity."""
    theta = state[THETA + LAYER_OF_PROBE[probe]]
    return (theta - field[WILTING_POINT]) / (state[CAPACITY] - field[WILTING_POINT])


def uncertainty(state: Sequence[float], field: Sequence[float]) -> float:
    """Standard deviation of the profile's relative water content, as the filter has it."""
    total = 0.0
    for i in range(PROBES):
        for j in range(PROBES):
            total += state[COVARIANCE + i * ERRORS + j]
    for mode in range(MODES):
        own, row = _in_profile(state, field, mode), COVARIANCE + (_MODE + mode) * ERRORS
        with_others = 0.0
        for i in range(PROBES):
            with_others += 2.0 * state[row + i]
        for other in range(mode):
            with_others += 2.0 * _in_profile(state, field, other) * state[row + _MODE + other]
        total += own * (with_others + own * state[row + _MODE + mode])
    return math.sqrt(max(total, 0.0)) / PROBES / (state[CAPACITY] - field[WILTING_POINT])


def factor_sd(state: Sequence[float], factor: int) -> float:
    """Standard deviation of a factor's estimate."""
    return math.sqrt(max(state[COVARIANCE + (_MODE + factor) * ERRORS + _MODE + factor], 0.0))


def _in_profile(state: Sequence[float], field: Sequence[float], mode: int) -> float:
    """What a unit of a mode adds to the sum of the probes' layers over what the soil holds, m3/m3."""
    added = 0.0
    for probe in range(PROBES):
        added += state[SENSITIVITY + mode * LAYERS + LAYER_OF_PROBE[probe]]
        if mode == SOIL:
            added -= wetness(state, field, probe) * field[FIELD_CAPACITY]
    return added


def _predict(state: MutableSequence[float]) -> None:
    """A day passes: errors grow, the more the readings surprise, and shrink where the soil was wetted past capacity."""
    surprise = min(max(state[SURPRISE] / SURPRISE_USUAL, 1.0), SURPRISE_MOST)
    grown = (BALANCE_SD_PER_DAY * surprise**2) ** 2
    for probe in range(PROBES):
        is_wetted = False
        for layer in range(LAYERS):
            if PROBE_OF_LAYER[layer] == probe and state[THETA + layer] > state[CAPACITY] + 1e-4:
                is_wetted = True
        if is_wetted:
            for j in range(ERRORS):
                state[COVARIANCE + probe * ERRORS + j] *= KEPT_AFTER_WETTING
            for j in range(ERRORS):
                state[COVARIANCE + j * ERRORS + probe] *= KEPT_AFTER_WETTING
        bias = PROBES + probe
        state[COVARIANCE + probe * ERRORS + probe] += grown
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


def _stands(state: Sequence[float], probe: int, reading: float) -> bool:
    """Whether the water there stays: on its way down it passes within days, and says nothing of what will stay."""
    limit = state[CAPACITY] + PASSING_ABOVE
    if state[THETA + LAYER_OF_PROBE[probe]] > limit:
        return False
    return reading - state[PROBE_BIAS + probe] <= limit or state[SINCE_WETTED_D] >= PASSED_AFTER_D


def _observe(state: MutableSequence[float], field: Sequence[float], probe: int, reading: float) -> None:
    """One scalar Kalman update: reading = water, by the probe's own error and by the modes, + bias + noise."""
    bias = PROBES + probe
    for i in range(ERRORS):
        state[SEEN + i] = state[COVARIANCE + probe * ERRORS + i] + state[COVARIANCE + bias * ERRORS + i]
    for mode in range(MODES):
        felt, row = state[SENSITIVITY + mode * LAYERS + LAYER_OF_PROBE[probe]], COVARIANCE + (_MODE + mode) * ERRORS
        for i in range(ERRORS):
            state[SEEN + i] += felt * state[row + i]
    spread = state[SEEN + probe] + state[SEEN + bias] + WHITE_SD**2
    for mode in range(MODES):
        spread += state[SENSITIVITY + mode * LAYERS + LAYER_OF_PROBE[probe]] * state[SEEN + _MODE + mode]
    innovation = reading - state[THETA + LAYER_OF_PROBE[probe]] - state[PROBE_BIAS + probe]
    if innovation**2 > OUTLIER_SD**2 * spread:
        return
    state[SURPRISE] += (1.0 - SURPRISE_KEPT) * (innovation**2 / spread - state[SURPRISE])
    spread += (ALIKE_D - 1.0) * WHITE_SD**2
    for i in range(ERRORS):
        gain, row = state[SEEN + i] / spread, COVARIANCE + i * ERRORS
        for j in range(i):
            left = state[row + j] - gain * state[SEEN + j]
            state[row + j] = left
            state[COVARIANCE + j * ERRORS + i] = left
        state[row + i] -= gain * state[SEEN + i]
    by = innovation / spread
    for i in range(PROBES):
        state[PROBE_BIAS + i] += state[SEEN + PROBES + i] * by
    for mode in range(MODES):
        state[SEEN + _MODE + mode] = shifted_factor(state, field, mode, state[SEEN + _MODE + mode] * by)
    lowest = 0.5 * field[WILTING_POINT]
    for layer in range(LAYERS):
        moved = state[THETA + layer] + state[SEEN + PROBE_OF_LAYER[layer]] * by
        for mode in range(MODES):
            moved += state[SEEN + _MODE + mode] * state[SENSITIVITY + mode * LAYERS + layer]
        state[THETA + layer] = min(max(moved, lowest), field[SATURATION])
