"""The water of one field: drainage, runoff, infiltration, evaporation and transpiration, layer by layer, each day.

A compact form of FAO AquaCrop's soil water balance (reference manual, chapter 3), because it is the published method
that keeps track of a root zone by layers; the balance of FAO-56 (eq. 85) is its sum over the root zone. It is written
for maize. Left out: water tables, bunds, mulches, salinity, waterlogging. Arrays are laid out in layout.py; the
functions change `state` in place and know no numpy, so that the cloud can compile them as they are.
"""

import math
from collections.abc import MutableSequence, Sequence

from fieldedge.workloads.agriculture.layout import (
    APPLICATION_EFFICIENCY,
    BIOMASS_T_HA,
    CANOPY,
    CANOPY_ACTUAL_MAX,
    CANOPY_PEAK,
    CAPACITY,
    CURVE_NUMBER,
    DAP,
    DEPLETION_MM,
    DRAINAGE_TAU,
    DRAINED_MM,
    EARLY_SENESCENCE_D,
    EVAPORATION_DEPTH_M,
    LAYER_MM,
    LAYER_THICKNESS_M,
    LAYER_TOP_M,
    LAYERS,
    RELATIVE_TRANSPIRATION,
    REW_MM,
    ROOT_DEPTH_M,
    ROOT_DEPTH_MAX_M,
    SATURATION,
    STAGE_TWO_WETNESS,
    SURFACE_WATER_MM,
    TAW_MM,
    THETA,
    WILTING_POINT,
)

# Maize in AquaCrop 7 (reference manual, annex I): days by calendar, upper and lower thresholds, shapes.
DAYS_TO_MAX_CANOPY = 54
DAYS_TO_SENESCENCE = 107
DAYS_TO_MAX_ROOTING = 108
ROOTING_STARTS_D = 3
ROOT_DEPTH_MIN_M = 0.3
ROOT_DEPTH_SOWN_SHARE = 0.7
ROOT_SHAPE = 1.3
ROOT_STRESS_P = 0.845
SINK_TOP, SINK_BOTTOM = 0.050666667, 0.005333333  # m3/(m3 day)
KC_TRANSPIRATION = 1.05
KC_AGEING_PER_DAY = 0.003
WATER_PRODUCTIVITY_T_HA = 0.337
COLD_GDD_C_D = 12.0
STOMATA_P, STOMATA_SHAPE = 0.69, 6.0
EVAPORATION_KC = 1.10
EVAPORATION_DEPTH_MIN_M, EVAPORATION_DEPTH_MAX_M = 0.15, 0.30
EVAPORATION_SHAPE = 4.0
EVAPORATION_DEEPENS_BELOW = 0.4
EVAPORATION_STEPS = 4
EVAPORATION_LAYERS = 3
COVER_NONE = 1e-9  # below it there is no canopy that could wither
WITHERED_SHELTER = 0.5  # of the evaporation under a withered canopy
RUNOFF_WEIGHTS = (0.7621, 0.1905, 0.0476)  # of the top three layers' wetness in the curve number


def share_above(depth_m: float, i: int) -> float:
    """The share of layer i that lies above a depth."""
    return min(max((depth_m - LAYER_TOP_M[i]) / LAYER_THICKNESS_M[i], 0.0), 1.0)


def drain(state: MutableSequence[float], field: Sequence[float]) -> float:
    """Water above field capacity sinks a day's way down; returns what leaves the profile, mm."""
    capacity, saturation = state[CAPACITY], field[SATURATION]
    per_day = field[DRAINAGE_TAU] * (saturation - capacity)
    span = math.exp(saturation - capacity) - 1.0
    sinking_mm = 0.0
    for i in range(LAYERS):
        theta = state[THETA + i] + sinking_mm / LAYER_MM[i]
        leaving = 0.0
        if theta > capacity:
            leaving = per_day * (math.exp(min(theta, saturation) - capacity) - 1.0) / span
            leaving = max(min(leaving, theta - capacity), theta - saturation)
        state[THETA + i] = theta - leaving
        sinking_mm = leaving * LAYER_MM[i]
    return sinking_mm


def runoff_mm(state: Sequence[float], field: Sequence[float], rain_mm: float) -> float:
    """Rain that does not enter the soil (curve number by the wetness of the top 0.3 m, initial loss 5 % of S)."""
    if rain_mm <= 0.0:
        return 0.0
    wet = 0.0
    for i in range(3):
        above = max(state[THETA + i], field[WILTING_POINT]) - field[WILTING_POINT]
        wet += RUNOFF_WEIGHTS[i] * above / (state[CAPACITY] - field[WILTING_POINT])
    cn = field[CURVE_NUMBER]
    dry_cn = round(0.507 * cn - 0.00374 * cn**2 + 0.0000867 * cn**3)
    wet_cn = round(2.33 * cn - 0.0209 * cn**2 + 0.000076 * cn**3)
    storage_mm = 25400.0 / round(dry_cn + (wet_cn - dry_cn) * min(max(wet, 0.0), 1.0)) - 254.0
    beyond = rain_mm - 0.05 * storage_mm
    return beyond**2 / (rain_mm + 0.95 * storage_mm) if beyond > 0.0 else 0.0


def infiltrate(state: MutableSequence[float], field: Sequence[float], water_mm: float) -> float:
    """Water fills the layers from the top, each as far as it can drain in a day; returns what passes through, mm."""
    capacity, saturation = state[CAPACITY], field[SATURATION]
    per_day = field[DRAINAGE_TAU] * (saturation - capacity)
    span = math.exp(saturation - capacity) - 1.0
    left_mm = water_mm
    for i in range(LAYERS):
        if left_mm <= 0.0:
            return 0.0
        inflow = left_mm / LAYER_MM[i]
        highest = saturation
        if inflow < per_day:
            highest = min(capacity + math.log(1.0 + inflow * span / per_day), saturation)
        taken_mm = min(max(highest - state[THETA + i], 0.0) * LAYER_MM[i], left_mm)
        state[THETA + i] += taken_mm / LAYER_MM[i]
        left_mm -= taken_mm
    return left_mm


def measure_root_zone(state: MutableSequence[float], field: Sequence[float]) -> float:
    """Write the root zone's depletion and TAW, mm; returns the depletion fraction that the crop feels.

    It is the lesser of the root zone's and of the top layer's, because a wet surface alone already feeds the crop.
    """
    depth_m = max(round(state[ROOT_DEPTH_M], 2), ROOT_DEPTH_MIN_M)
    capacity, wilting = state[CAPACITY], field[WILTING_POINT]
    lacking_mm = 0.0
    for i in range(LAYERS):
        lacking_mm += (capacity - state[THETA + i]) * LAYER_MM[i] * share_above(depth_m, i)
    state[TAW_MM] = 1000.0 * (capacity - wilting) * depth_m
    state[DEPLETION_MM] = min(lacking_mm, state[TAW_MM])
    surface = min((capacity - state[THETA]) / (capacity - wilting), 1.0)
    return min(state[DEPLETION_MM] / state[TAW_MM], surface)


def stress_share(depletion_fraction: float, upper: float, lower: float, et0_mm: float) -> float:
    """How far a depletion fraction lies between the thresholds, 0 to 1; they move with demand (manual eq. 3.2)."""
    drier = 0.04 * (5.0 - et0_mm)
    upper = min(max(upper + drier * math.log10(10.0 - 9.0 * upper), 0.0), 1.0)
    lower = min(max(lower + drier * math.log10(10.0 - 9.0 * lower), 0.0), 1.0)
    return min(max((depletion_fraction - upper) / max(lower - upper, 1e-9), 0.0), 1.0)


def shaped(share: float, shape: float) -> float:
    """The stress coefficient of a share of the way to full stress: 1 without stress, 0 in full stress."""
    return 1.0 - (math.exp(share * shape) - 1.0) / (math.exp(shape) - 1.0)


def potential_root_depth_m(dap: float, deepest_m: float) -> float:
    """Rooting depth without stress (manual eq. 3.6)."""
    sown_m = ROOT_DEPTH_MIN_M * ROOT_DEPTH_SOWN_SHARE
    share = min(max((dap - ROOTING_STARTS_D) / (DAYS_TO_MAX_ROOTING - ROOTING_STARTS_D), 0.0), 1.0)
    return max(ROOT_DEPTH_MIN_M, sown_m + (deepest_m - sown_m) * math.pow(share, 1.0 / ROOT_SHAPE))


def grow_roots(state: MutableSequence[float], field: Sequence[float]) -> None:
    """Deepen the roots by a day, slower where the crop transpires less than it could or meets dry soil."""
    deepest_m, dap = field[ROOT_DEPTH_MAX_M], state[DAP]
    grown_m = potential_root_depth_m(dap, deepest_m) - potential_root_depth_m(dap - 1.0, deepest_m)
    if grown_m <= 0.0:
        return
    if state[RELATIVE_TRANSPIRATION] < 0.9999:
        grown_m *= (math.exp(-6.0 * state[RELATIVE_TRANSPIRATION]) - 1.0) / (math.exp(-6.0) - 1.0)
    layer = LAYERS - 1
    for i in range(LAYERS):
        if state[ROOT_DEPTH_M] + grown_m <= LAYER_TOP_M[i] + LAYER_THICKNESS_M[i] + 1e-9:
            layer = i
            break
    dry = (state[CAPACITY] - state[THETA + layer]) / (state[CAPACITY] - field[WILTING_POINT])
    if dry >= 1.0:
        grown_m = 0.0
    elif dry > ROOT_STRESS_P:
        grown_m *= shaped((dry - ROOT_STRESS_P) / (1.0 - ROOT_STRESS_P), STOMATA_SHAPE)
    state[ROOT_DEPTH_M] += grown_m


def adjusted_cover(cover: float) -> float:
    """Canopy cover with the air between the rows (manual eq. 3.8)."""
    return 1.72 * cover - cover**2 + 0.3 * cover**3


def evaporate(state: MutableSequence[float], field: Sequence[float], et0_mm: float, wetted_mm: float) -> None:
    """Soil evaporation: at its potential while the surface holds REW, then falling (manual ch. 3.9)."""
    if wetted_mm > 0.0:
        state[SURFACE_WATER_MM] = min(wetted_mm, field[REW_MM])
        state[STAGE_TWO_WETNESS] = 0.0
        state[EVAPORATION_DEPTH_M] = EVAPORATION_DEPTH_MIN_M
    potential_mm = _potential_evaporation(state, et0_mm)
    dry = 0.5 * field[WILTING_POINT]
    first_mm = min(potential_mm, state[SURFACE_WATER_MM])
    lacking_mm = first_mm
    for i in range(2):
        held_mm = max(state[THETA + i] - dry, 0.0) * LAYER_MM[i] * share_above(EVAPORATION_DEPTH_MIN_M, i)
        taken_mm = min(held_mm, lacking_mm)
        state[THETA + i] -= taken_mm / LAYER_MM[i]
        lacking_mm -= taken_mm
    first_mm -= lacking_mm
    was_wet = state[SURFACE_WATER_MM] > 0.0
    state[SURFACE_WATER_MM] = max(state[SURFACE_WATER_MM] - first_mm, 0.0) if lacking_mm <= 1e-4 else 0.0
    if (was_wet and state[SURFACE_WATER_MM] < 1e-4) or state[STAGE_TWO_WETNESS] < 0.0:
        wettest, lowest, held = _evaporating(state, field)
        state[STAGE_TWO_WETNESS] = max((held - lowest) / (wettest - lowest), 0.0)
    remaining_mm = potential_mm - first_mm
    if remaining_mm <= 0.0:
        return
    for _ in range(EVAPORATION_STEPS):
        _evaporate_step(state, field, remaining_mm / EVAPORATION_STEPS)


def _potential_evaporation(state: Sequence[float], et0_mm: float) -> float:
    """What the air would take from a wet surface under this canopy, mm."""
    potential_mm = EVAPORATION_KC * (1.0 - adjusted_cover(state[CANOPY])) * et0_mm
    highest_mm = EVAPORATION_KC * et0_mm * (1.0 - state[CANOPY_PEAK] * WITHERED_SHELTER)
    reached = state[CANOPY_ACTUAL_MAX]
    if state[DAP] > DAYS_TO_SENESCENCE and reached > COVER_NONE:
        withered = 1.0
        if state[CANOPY] > reached / 2.0:
            withered = min(max((reached - state[CANOPY]) / (reached / 2.0), 0.0), 1.0)
        lowest_mm = max(EVAPORATION_KC * (1.0 - adjusted_cover(reached)) * et0_mm, 0.0)
        sheltered_mm = potential_mm * (1.0 - reached * WITHERED_SHELTER * withered)
        return min(max(sheltered_mm, lowest_mm), max(lowest_mm, highest_mm))
    if state[EARLY_SENESCENCE_D] > 0.0:
        return min(potential_mm, highest_mm)
    return potential_mm


def _evaporating(state: Sequence[float], field: Sequence[float]) -> tuple[float, float, float]:
    """Of the layer that evaporates: water at saturation, at the end of stage one, and now, mm."""
    depth_mm = held_mm = 0.0
    for i in range(EVAPORATION_LAYERS):
        thick_mm = LAYER_MM[i] * share_above(state[EVAPORATION_DEPTH_M], i)
        depth_mm += thick_mm
        held_mm += state[THETA + i] * thick_mm
    return depth_mm * field[SATURATION], depth_mm * state[CAPACITY] - field[REW_MM], held_mm


def _evaporate_step(state: MutableSequence[float], field: Sequence[float], demand_mm: float) -> None:
    dry = 0.5 * field[WILTING_POINT]
    wettest_mm, lowest_mm, held_mm = _evaporating(state, field)
    dry_mm = dry * wettest_mm / field[SATURATION]
    upper_mm = state[STAGE_TWO_WETNESS] * (wettest_mm - lowest_mm) + lowest_mm
    wet = (held_mm - dry_mm) / max(upper_mm - dry_mm, 1e-6)
    room_m = EVAPORATION_DEPTH_MAX_M - state[EVAPORATION_DEPTH_M]
    limit = EVAPORATION_DEEPENS_BELOW * room_m / (EVAPORATION_DEPTH_MAX_M - EVAPORATION_DEPTH_MIN_M)
    if wet < limit:
        deeper_m = min((limit - wet) * 0.35, 0.03)
        state[EVAPORATION_DEPTH_M] = min(state[EVAPORATION_DEPTH_M] + deeper_m, EVAPORATION_DEPTH_MAX_M)
    reduction = (math.exp(EVAPORATION_SHAPE * max(wet, 0.0)) - 1.0) / (math.exp(EVAPORATION_SHAPE) - 1.0)
    left_mm = min(max(reduction, 0.0), 1.0) * demand_mm
    for i in range(EVAPORATION_LAYERS):
        thick_mm = LAYER_MM[i] * share_above(state[EVAPORATION_DEPTH_M], i)
        taken_mm = min(max(state[THETA + i] - dry, 0.0) * thick_mm, left_mm)
        state[THETA + i] -= taken_mm / LAYER_MM[i]
        left_mm -= taken_mm


def potential_transpiration_mm(state: Sequence[float], et0_mm: float, gdd_c_d: float) -> float:
    """What the canopy would transpire with all the water it wants (manual eq. 3.10; cold days limit it)."""
    kc = KC_TRANSPIRATION
    age_d = state[DAP] - DAYS_TO_MAX_CANOPY - 5.0
    if age_d > 0.0:
        kc -= age_d * KC_AGEING_PER_DAY * state[CANOPY_PEAK]
    potential_mm = kc * adjusted_cover(state[CANOPY]) * et0_mm
    if state[CANOPY] < state[CANOPY_PEAK] and state[CANOPY_PEAK] > 0.001:
        potential_mm *= state[CANOPY] / state[CANOPY_PEAK]
    if gdd_c_d >= COLD_GDD_C_D:
        return potential_mm
    warm = gdd_c_d / COLD_GDD_C_D
    steep = -math.log((0.02 - 0.98 * 0.02) / (0.98 * 0.98))
    return potential_mm * (0.02 / (0.02 + 0.98 * math.exp(-steep * warm)) - 0.02 * (1.0 - warm))


def transpire(
    state: MutableSequence[float], field: Sequence[float], et0_mm: float, gdd_c_d: float, growth_factor: float
) -> None:
    """The crop takes water from the top down; writes its relative transpiration and the biomass that it makes.

    `growth_factor` (0 to 1) is what the nitrogen status leaves of water productivity.
    """
    potential_mm = potential_transpiration_mm(state, et0_mm, gdd_c_d)
    depletion_fraction = measure_root_zone(state, field)
    demand_mm = potential_mm * (1.0 - stress_share(depletion_fraction, STOMATA_P, 1.0, et0_mm))
    capacity, wilting = state[CAPACITY], field[WILTING_POINT]
    depth_m = max(round(state[ROOT_DEPTH_M], 2), ROOT_DEPTH_MIN_M)
    critical = STOMATA_P + 0.04 * (5.0 - et0_mm) * math.log10(10.0 - 9.0 * STOMATA_P)
    bottom_sink = SINK_BOTTOM * _root_crowding(state, field)
    left_mm, sink_below = demand_mm, SINK_TOP
    for i in range(LAYERS):
        share = share_above(depth_m, i)
        if left_mm <= 0.0 or share <= 0.0:
            break
        sink_above, reach_m = sink_below, LAYER_TOP_M[i] + LAYER_THICKNESS_M[i]
        sink_below = bottom_sink
        if reach_m <= depth_m:
            sink_below += (SINK_TOP - bottom_sink) * (depth_m - reach_m) / depth_m
        dry = (capacity - state[THETA + i]) / (capacity - wilting)
        open_ = 1.0
        if dry >= 1.0:
            open_ = 0.0
        elif dry > critical:
            open_ = shaped(min(max((dry - STOMATA_P) / (1.0 - STOMATA_P), 0.0), 1.0), STOMATA_SHAPE)
        taken_mm = min(open_ * 0.5 * (sink_above + sink_below) * share * LAYER_MM[i], left_mm)
        taken_mm = min(taken_mm, max(state[THETA + i] - 0.5 * wilting, 0.0) * LAYER_MM[i])
        state[THETA + i] -= taken_mm / LAYER_MM[i]
        left_mm -= taken_mm
    made_mm = demand_mm - left_mm
    state[RELATIVE_TRANSPIRATION] = min(max(made_mm / potential_mm, 0.0), 1.0) if potential_mm > 1e-9 else 1.0
    state[BIOMASS_T_HA] += growth_factor * WATER_PRODUCTIVITY_T_HA * made_mm / max(et0_mm, 0.1)


def _root_crowding(state: Sequence[float], field: Sequence[float]) -> float:
    """How much denser roots are at the bottom where the crop could not root as deep as it would (manual eq. 3.7)."""
    wanted_m = potential_root_depth_m(state[DAP], field[ROOT_DEPTH_MAX_M])
    if state[ROOT_DEPTH_M] >= wanted_m - 1e-9:
        return 1.0
    denser = (wanted_m / state[ROOT_DEPTH_M] * (SINK_TOP + SINK_BOTTOM) - SINK_TOP) / SINK_BOTTOM
    return max(1.0, denser * state[RELATIVE_TRANSPIRATION])


def balance_day(
    state: MutableSequence[float],
    field: Sequence[float],
    irrigation_mm: float,
    rain_mm: float,
) -> float:
    """Drain yesterday's water and take in today's; returns what wets the surface, mm."""
    state[DRAINED_MM] = drain(state, field)
    entering_mm = rain_mm - runoff_mm(state, field, rain_mm) + irrigation_mm * field[APPLICATION_EFFICIENCY]
    state[DRAINED_MM] += infiltrate(state, field, entering_mm)
    return entering_mm
