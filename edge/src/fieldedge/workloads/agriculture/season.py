"""One field's season folded day by day: what the device knows on a morning. Training folds the same functions.

A day brings what was done, the weather, and what probes and drones said; a missing day brings no weather, and is
guessed to be dry and otherwise like the week before. Pure functions over the arrays of layout.py.
"""

import math
from collections.abc import MutableSequence, Sequence

from fieldedge.workloads.agriculture import agronomy as ag
from fieldedge.workloads.agriculture.canopy import grow_canopy
from fieldedge.workloads.agriculture.evidence import weigh_canopy
from fieldedge.workloads.agriculture.layout import (
    BIOMASS_T_HA,
    CANOPY,
    CAPACITY,
    DAP,
    DAY_ET0_MM,
    DAY_IRRIGATION_MM,
    DAY_NDRE,
    DAY_NDVI,
    DAY_NITROGEN_KG_HA,
    DAY_RAIN_MM,
    DAY_TMAX_C,
    DAY_TMIN_C,
    DRAINED_MM,
    ET0_MM,
    ET0_SEASON_MM,
    EVAPORATION_DEPTH_M,
    FACTOR,
    GAUGE,
    GDD_C_D,
    IRRIGATION_MM,
    LAYERS,
    MINERAL_NITROGEN_KG_HA,
    NDRE,
    NDVI,
    NITROGEN_KG_HA,
    NITROGEN_TAKEN_KG_HA,
    PROBE_LAST,
    PROBES,
    RAIN_DAYS,
    RAIN_MM,
    RAIN_SEASON_MM,
    RELATIVE_TRANSPIRATION,
    ROOT_DEPTH_M,
    SHARE,
    SINCE_FLIGHT_D,
    SINCE_IRRIGATION_D,
    SINCE_NITROGEN_D,
    SINCE_WETTED_D,
    STAGE_TWO_WETNESS,
    START_WATER,
    STRESS_FILLING_D,
    STRESS_FLOWERING_D,
    STRESS_VEGETATIVE_D,
    THETA,
    THETA_BEFORE,
    TMAX_C,
    TMIN_C,
    WEEK,
    WILTING_POINT,
    WITHOUT_READING_D,
)
from fieldedge.workloads.agriculture.probes import correct, start_filter
from fieldedge.workloads.agriculture.sensitivity import live_otherwise, start_modes
from fieldedge.workloads.agriculture.water_balance import (
    EVAPORATION_DEPTH_MIN_M,
    ROOT_DEPTH_MIN_M,
    balance_day,
    evaporate,
    grow_roots,
    measure_root_zone,
    transpire,
)

FLOWERING_D = (60.0, 80.0)
GROWTH_FACTOR_MIN = 0.3
WETTING_MM = 5.0  # less does not get down to a probe
_LONG_AGO_D = 30.0
_NEVER_D = 999.0
_BARE_NDVI, _BARE_NDRE = 0.15, 0.10


def start_season(state: MutableSequence[float], field: Sequence[float]) -> None:
    """The morning of planting. `state` comes in as zeros."""
    wilting = field[WILTING_POINT]
    start_modes(state, field)
    for i in range(LAYERS):
        state[THETA + i] = wilting + field[START_WATER] * (state[CAPACITY] - wilting)
    state[ROOT_DEPTH_M] = ROOT_DEPTH_MIN_M
    state[STAGE_TWO_WETNESS] = -1.0  # not known before the first day
    state[EVAPORATION_DEPTH_M] = EVAPORATION_DEPTH_MIN_M
    state[RELATIVE_TRANSPIRATION] = 1.0
    state[SINCE_IRRIGATION_D] = state[SINCE_FLIGHT_D] = _LONG_AGO_D
    state[SINCE_NITROGEN_D] = _NEVER_D
    state[MINERAL_NITROGEN_KG_HA] = ag.START_MINERAL_NITROGEN_KG_HA
    state[NDVI], state[NDRE] = _BARE_NDVI, _BARE_NDRE
    for i in range(PROBES):
        state[PROBE_LAST + i] = -1.0
    for i in range(WEEK):
        state[ET0_MM + i], state[TMIN_C + i], state[TMAX_C + i] = 5.0, 12.0, 25.0
    start_filter(state, field)
    measure_root_zone(state, field)


def advance(state: MutableSequence[float], field: Sequence[float], day: Sequence[float]) -> None:
    """Fold in one day: what was done in its morning, its weather, and the probes in its evening."""
    is_missing = math.isnan(day[DAY_ET0_MM])
    rain_mm, et0_mm = 0.0, _mean(state, ET0_MM)
    tmin_c, tmax_c = _mean(state, TMIN_C), _mean(state, TMAX_C)
    if not is_missing:
        rain_mm, et0_mm, tmin_c, tmax_c = day[DAY_RAIN_MM], day[DAY_ET0_MM], day[DAY_TMIN_C], day[DAY_TMAX_C]
    rain_mm *= state[FACTOR + GAUGE]
    arrives_mm = day[DAY_IRRIGATION_MM] * state[FACTOR + SHARE]
    state[WITHOUT_READING_D] = state[WITHOUT_READING_D] + 1.0 if is_missing else 0.0
    state[DAP] += 1.0
    canopy_before = state[CANOPY]
    gdd_c_d = ag.growing_degrees_c_d(tmin_c, tmax_c)
    grow_roots(state, field)
    for i in range(LAYERS):
        state[THETA_BEFORE + i] = state[THETA + i]
    wetted_mm = balance_day(state, field, arrives_mm, rain_mm)
    grow_canopy(state, field, et0_mm)
    evaporate(state, field, et0_mm, wetted_mm)
    nni = ag.nitrogen_nutrition_index(state[NITROGEN_TAKEN_KG_HA], state[BIOMASS_T_HA])
    transpire(state, field, et0_mm, gdd_c_d, min(max(nni, GROWTH_FACTOR_MIN), 1.0))
    live_otherwise(state, field, arrives_mm, rain_mm, et0_mm, gdd_c_d)
    state[SINCE_WETTED_D] = 0.0 if arrives_mm + rain_mm >= WETTING_MM else state[SINCE_WETTED_D] + 1.0
    correct(state, field, day)
    measure_root_zone(state, field)
    _count_stress(state)
    _balance_nitrogen(state, field, day[DAY_NITROGEN_KG_HA], 0.5 * (tmin_c + tmax_c))
    _remember_weather(state, rain_mm, et0_mm, tmin_c, tmax_c, gdd_c_d)
    _see_from_above(state, day)
    weigh_canopy(state, canopy_before, day)
    _count_work(state, day[DAY_IRRIGATION_MM], day[DAY_NITROGEN_KG_HA])


def _mean(state: Sequence[float], first: int) -> float:
    total = 0.0
    for i in range(WEEK):
        total += state[first + i]
    return total / WEEK


def _count_stress(state: MutableSequence[float]) -> None:
    lacking = 1.0 - state[RELATIVE_TRANSPIRATION]
    if state[DAP] <= FLOWERING_D[0]:
        state[STRESS_VEGETATIVE_D] += lacking
    elif state[DAP] <= FLOWERING_D[1]:
        state[STRESS_FLOWERING_D] += lacking
    else:
        state[STRESS_FILLING_D] += lacking


def _balance_nitrogen(state: MutableSequence[float], field: Sequence[float], applied: float, mean_c: float) -> None:
    """The mineral nitrogen pool and the crop's uptake (agronomy.py), kg/ha."""
    wetness = 0.0
    for i in range(3):
        wetness += (state[THETA + i] - field[WILTING_POINT]) / (state[CAPACITY] - field[WILTING_POINT]) / 3.0
    pool = state[MINERAL_NITROGEN_KG_HA] + applied * (1.0 - ag.VOLATILISED_FRACTION)
    pool += ag.mineralised_kg_ha(mean_c, wetness)
    pool -= ag.leached_kg_ha(pool, state[DRAINED_MM], state[CAPACITY])
    taken = ag.uptake_kg_ha(
        state[BIOMASS_T_HA], state[NITROGEN_TAKEN_KG_HA], pool, state[ROOT_DEPTH_M], state[RELATIVE_TRANSPIRATION]
    )
    state[MINERAL_NITROGEN_KG_HA] = pool - taken
    state[NITROGEN_TAKEN_KG_HA] += taken


def _remember_weather(
    state: MutableSequence[float], rain_mm: float, et0_mm: float, tmin_c: float, tmax_c: float, gdd_c_d: float
) -> None:
    for i in range(RAIN_DAYS - 1, 0, -1):
        state[RAIN_MM + i] = state[RAIN_MM + i - 1]
    for i in range(WEEK - 1, 0, -1):
        state[ET0_MM + i] = state[ET0_MM + i - 1]
        state[TMIN_C + i] = state[TMIN_C + i - 1]
        state[TMAX_C + i] = state[TMAX_C + i - 1]
    state[RAIN_MM], state[ET0_MM], state[TMIN_C], state[TMAX_C] = rain_mm, et0_mm, tmin_c, tmax_c
    state[RAIN_SEASON_MM] += rain_mm
    state[ET0_SEASON_MM] += et0_mm
    state[GDD_C_D] += gdd_c_d


def _see_from_above(state: MutableSequence[float], day: Sequence[float]) -> None:
    state[SINCE_FLIGHT_D] = min(state[SINCE_FLIGHT_D] + 1.0, _LONG_AGO_D)
    if not math.isnan(day[DAY_NDVI]):
        state[NDVI], state[SINCE_FLIGHT_D] = day[DAY_NDVI], 0.0
    if not math.isnan(day[DAY_NDRE]):
        state[NDRE] = day[DAY_NDRE]


def _count_work(state: MutableSequence[float], irrigation_mm: float, nitrogen_kg_ha: float) -> None:
    state[IRRIGATION_MM] += irrigation_mm
    state[SINCE_IRRIGATION_D] = 1.0 if irrigation_mm > 0.0 else min(state[SINCE_IRRIGATION_D] + 1.0, _LONG_AGO_D)
    state[NITROGEN_KG_HA] += nitrogen_kg_ha
    state[SINCE_NITROGEN_D] = 1.0 if nitrogen_kg_ha > 0.0 else min(state[SINCE_NITROGEN_D] + 1.0, _NEVER_D)
