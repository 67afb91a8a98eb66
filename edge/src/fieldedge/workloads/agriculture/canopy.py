"""The canopy of one field of maize: it spreads, is held back by drought, and withers (AquaCrop manual, ch. 3.4)."""

import math
from collections.abc import MutableSequence, Sequence

from fieldedge.workloads.agriculture.agronomy import DAYS_TO_MATURITY
from fieldedge.workloads.agriculture.layout import (
    CANOPY,
    CANOPY_ACTUAL_MAX,
    CANOPY_AT_STRESS,
    CANOPY_PEAK,
    DAP,
    EARLY_SENESCENCE_D,
    STRESS_EXPANSION_D,
)
from fieldedge.workloads.agriculture.water_balance import DAYS_TO_SENESCENCE, measure_root_zone, shaped, stress_share

DAYS_TO_EMERGENCE = 6
DAYS_TO_CANOPY_END = 72  # no leaves are added after it
COVER_AT_EMERGENCE = 0.004875
COVER_MAX = 0.96
GROWTH_PER_DAY = 0.16312
DECLINE_PER_DAY = 0.11691
EXPANSION_P_UPPER, EXPANSION_P_LOWER, EXPANSION_SHAPE = 0.14, 0.72, 2.9
SENESCENCE_P, SENESCENCE_SHAPE, SENESCENCE_EASED = 0.69, 2.7, 0.12


def grow_canopy(state: MutableSequence[float], field: Sequence[float], et0_mm: float) -> None:
    """The canopy of this day, from yesterday's and from how dry the root zone is."""
    dap, before = state[DAP], state[CANOPY]
    if dap < DAYS_TO_EMERGENCE:
        return
    if dap > DAYS_TO_MATURITY:
        state[CANOPY] = 0.0
        return
    felt = measure_root_zone(state, field)
    expansion = shaped(stress_share(felt, EXPANSION_P_UPPER, EXPANSION_P_LOWER, et0_mm), EXPANSION_SHAPE)
    cover = before
    if dap < DAYS_TO_CANOPY_END:
        cover = _spread(before, expansion, dap)
        state[STRESS_EXPANSION_D] += 1.0 - expansion
    elif dap >= DAYS_TO_SENESCENCE:
        cover = _withered(state[CANOPY_ACTUAL_MAX], dap - DAYS_TO_SENESCENCE)
    if dap < DAYS_TO_SENESCENCE:
        state[CANOPY_ACTUAL_MAX] = max(state[CANOPY_ACTUAL_MAX], cover)
    state[CANOPY] = _drought(state, felt, et0_mm, before, cover)
    state[CANOPY_PEAK] = max(state[CANOPY_PEAK], state[CANOPY])


def _spread(before: float, expansion: float, dap: float) -> float:
    """A day's growth: exponential to half of full cover, then slowing (manual eq. 3.4)."""
    if before <= 0.0:
        return COVER_AT_EMERGENCE
    if before >= 0.98 * COVER_MAX:
        unstressed = math.exp(-GROWTH_PER_DAY * (dap - DAYS_TO_EMERGENCE))
        return max(before, COVER_MAX - 0.25 * COVER_MAX**2 / COVER_AT_EMERGENCE * unstressed)
    growth = GROWTH_PER_DAY * expansion
    if before >= COVER_MAX / 2.0:
        return COVER_MAX - (COVER_MAX - before) * math.exp(-growth)
    grown = before * math.exp(growth)
    return grown if grown <= COVER_MAX / 2.0 else COVER_MAX - 0.25 * COVER_MAX**2 / grown


def _withered(reached: float, days: float) -> float:
    """Cover that many days into senescence (manual eq. 3.5)."""
    decline = DECLINE_PER_DAY * (reached + 2.29) / (COVER_MAX + 2.29)
    cover = reached * (1.0 - 0.05 * (math.exp(days * decline * 3.33 / (reached + 2.29)) - 1.0))
    return min(max(cover, 0.0), 1.0)


def _drought(state: MutableSequence[float], felt: float, et0_mm: float, before: float, cover: float) -> float:
    """Early senescence: severe drought withers the canopy before its time."""
    eased = 1.0 - SENESCENCE_EASED if state[EARLY_SENESCENCE_D] > 0.0 else 1.0
    share = _senescence_share(felt, et0_mm, eased)
    may_wither = state[DAP] < DAYS_TO_SENESCENCE or state[EARLY_SENESCENCE_D] > 0.0
    if share <= 0.0 or not may_wither or cover <= 1.25 * COVER_AT_EMERGENCE:
        state[EARLY_SENESCENCE_D] = 0.0
        return cover
    if state[EARLY_SENESCENCE_D] == 0.0:
        state[CANOPY_AT_STRESS] = before
    state[EARLY_SENESCENCE_D] += 1.0
    coefficient = shaped(_senescence_share(felt, et0_mm, 1.0), SENESCENCE_SHAPE)
    left = _early_withered(state[CANOPY_AT_STRESS], before, coefficient)
    if state[DAP] < DAYS_TO_SENESCENCE:
        left = min(left, before)
        state[CANOPY_ACTUAL_MAX] = left
        return left
    return min(left, cover)


def _senescence_share(felt: float, et0_mm: float, eased: float) -> float:
    upper = SENESCENCE_P + 0.04 * (5.0 - et0_mm) * math.log10(10.0 - 9.0 * SENESCENCE_P)
    upper = min(max(upper * eased, 0.0), 1.0)
    return min(max((felt - upper) / max(1.0 - upper, 1e-9), 0.0), 1.0)


def _early_withered(at_stress: float, before: float, coefficient: float) -> float:
    """Cover after one more day of drought, from what it was when the drought began."""
    if at_stress < 0.001:
        return 0.0
    decline = 0.0001 if coefficient > 0.99999 else (1.0 - coefficient**8) * DECLINE_PER_DAY
    rate = decline * 3.33 / (at_stress + 2.29)
    days = math.log(1.0 + max(1.0 - before / at_stress, 0.0) / 0.05) / rate + 1.0
    return max(at_stress * (1.0 - 0.05 * (math.exp(min(days * rate, 50.0)) - 1.0)), 0.0)
