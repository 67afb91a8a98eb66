"""How the water of a field would differ, had its soil, irrigation, rain or start been other than the device was told.

Beside the season as it is believed, the day's water balance is run once for each mode of layout.py with that mode a
step larger; what differs, over the step, is how each layer's water changes with it. The filter (probes.py) reads off
that what the probes say of the modes. Finite differences, because the balance bends where layers fill and roots dry.
"""

from collections.abc import MutableSequence, Sequence

from fieldedge.workloads.agriculture.layout import (
    BIOMASS_T_HA,
    CAPACITY,
    DEPLETION_MM,
    DRAINED_MM,
    EVAPORATION_DEPTH_M,
    FACTOR,
    FIELD_CAPACITY,
    GAUGE,
    LAYERS,
    MODES,
    RELATIVE_TRANSPIRATION,
    SATURATION,
    SENSITIVITY,
    SHADOW,
    SHADOWED,
    SHARE,
    SOIL,
    STAGE_TWO_WETNESS,
    START,
    START_WATER,
    SURFACE_WATER_MM,
    TAW_MM,
    THETA,
    THETA_BEFORE,
    THETA_BELIEVED,
    TOLD,
    WILTING_POINT,
)
from fieldedge.workloads.agriculture.water_balance import EVAPORATION_DEPTH_MIN_M, balance_day, evaporate, transpire

STEP = 0.05  # of each mode
FACTOR_LEAST = (0.6, 0.4, 0.6)  # soil, share, gauge
FACTOR_MOST = (1.4, 1.2, 1.5)
CAPACITY_ABOVE_WILTING = 0.02  # m3/m3 that any soil holds for roots
CAPACITY_BELOW_SATURATION = 0.01


def start_modes(state: MutableSequence[float], field: Sequence[float]) -> None:
    """The morning of planting: factors as told, and what the water there owes to the soil and to the start."""
    for mode in range(MODES):
        shadow = SHADOW + mode * SHADOWED
        state[shadow], state[shadow + 1], state[shadow + 2] = 0.0, -1.0, EVAPORATION_DEPTH_MIN_M
    for factor in (SOIL, SHARE, GAUGE):
        state[FACTOR + factor] = field[TOLD + factor]
    state[CAPACITY] = field[FIELD_CAPACITY]
    shifted_factor(state, field, SOIL, 0.0)  # within what this soil can hold
    for i in range(LAYERS):
        state[SENSITIVITY + START * LAYERS + i] = state[CAPACITY] - field[WILTING_POINT]
        state[SENSITIVITY + SOIL * LAYERS + i] = field[START_WATER] * field[FIELD_CAPACITY]


def live_otherwise(
    state: MutableSequence[float],
    field: Sequence[float],
    irrigation_mm: float,
    rain_mm: float,
    et0_mm: float,
    gdd_c_d: float,
) -> None:
    """The day once more for each mode, from yesterday's layers; writes the sensitivities.

    Comes after the day itself, whose canopy and roots it keeps. The amounts are those of the day as it is believed.
    """
    for i in range(LAYERS):
        state[THETA_BELIEVED + i] = state[THETA + i]
    surface_mm, stage_two, depth_m = state[SURFACE_WATER_MM], state[STAGE_TWO_WETNESS], state[EVAPORATION_DEPTH_M]
    biomass, relative = state[BIOMASS_T_HA], state[RELATIVE_TRANSPIRATION]
    drained_mm, depletion_mm, taw_mm = state[DRAINED_MM], state[DEPLETION_MM], state[TAW_MM]
    capacity, lowest = state[CAPACITY], 0.5 * field[WILTING_POINT]
    for mode in range(MODES):
        sensitivity, shadow = SENSITIVITY + mode * LAYERS, SHADOW + mode * SHADOWED
        for i in range(LAYERS):
            shifted = state[THETA_BEFORE + i] + STEP * state[sensitivity + i]
            state[THETA + i] = min(max(shifted, lowest), field[SATURATION])
        state[SURFACE_WATER_MM], state[STAGE_TWO_WETNESS] = state[shadow], state[shadow + 1]
        state[EVAPORATION_DEPTH_M] = state[shadow + 2]
        given_mm, fallen_mm = irrigation_mm, rain_mm
        if mode == SOIL:
            state[CAPACITY] = min(capacity + STEP * field[FIELD_CAPACITY], field[SATURATION])
        elif mode == SHARE:
            given_mm *= 1.0 + STEP / state[FACTOR + SHARE]
        elif mode == GAUGE:
            fallen_mm *= 1.0 + STEP / state[FACTOR + GAUGE]
        wetted_mm = balance_day(state, field, given_mm, fallen_mm)
        evaporate(state, field, et0_mm, wetted_mm)
        transpire(state, field, et0_mm, gdd_c_d, 1.0)
        for i in range(LAYERS):
            state[sensitivity + i] = (state[THETA + i] - state[THETA_BELIEVED + i]) / STEP
        state[shadow], state[shadow + 1] = state[SURFACE_WATER_MM], state[STAGE_TWO_WETNESS]
        state[shadow + 2] = state[EVAPORATION_DEPTH_M]
        state[CAPACITY] = capacity
    for i in range(LAYERS):
        state[THETA + i] = state[THETA_BELIEVED + i]
    state[SURFACE_WATER_MM], state[STAGE_TWO_WETNESS], state[EVAPORATION_DEPTH_M] = surface_mm, stage_two, depth_m
    state[BIOMASS_T_HA], state[RELATIVE_TRANSPIRATION] = biomass, relative
    state[DRAINED_MM], state[DEPLETION_MM], state[TAW_MM] = drained_mm, depletion_mm, taw_mm


def shifted_factor(state: MutableSequence[float], field: Sequence[float], mode: int, by: float) -> float:
    """Believe a mode to be larger by so much, as far as its bounds go; returns how far. The layers are not moved."""
    if mode == START:
        return by
    believed = min(max(state[FACTOR + mode] + by, FACTOR_LEAST[mode]), FACTOR_MOST[mode])
    if mode == SOIL:
        told = field[FIELD_CAPACITY]
        believed = max(believed, (field[WILTING_POINT] + CAPACITY_ABOVE_WILTING) / told)
        believed = min(believed, max((field[SATURATION] - CAPACITY_BELOW_SATURATION) / told, 1.0))
        state[CAPACITY] = believed * told
    by = believed - state[FACTOR + mode]
    state[FACTOR + mode] = believed
    return by
