"""One day of one field: AquaCrop's own steps in AquaCrop's own order, then nitrogen; and a day of many fields.

Source for translation.py, which turns the attributes below into array elements; nobody imports it. No water table,
no bunds, no tile drains, no mulch, one season: what `AquaCropSeason` simulates. The order and the arguments are those
of aquacrop/timestep/run_single_timestep.py (its numbers in the comments), nitrogen's those of nitrogen.py.
"""

import math
from typing import Any

import numpy as np
from aquacrop.solution.biomass_accumulation import biomass_accumulation
from aquacrop.solution.canopy_cover import canopy_cover
from aquacrop.solution.drainage import drainage
from aquacrop.solution.germination import germination
from aquacrop.solution.growing_degree_day import growing_degree_day
from aquacrop.solution.growth_stage import growth_stage
from aquacrop.solution.harvest_index import harvest_index
from aquacrop.solution.HIref_current_day import HIref_current_day
from aquacrop.solution.infiltration import infiltration
from aquacrop.solution.irrigation import irrigation
from aquacrop.solution.rainfall_partition import rainfall_partition
from aquacrop.solution.root_development import root_development
from aquacrop.solution.root_zone_water import root_zone_water
from aquacrop.solution.soil_evaporation import soil_evaporation
from aquacrop.solution.transpiration import transpiration

from fieldloop.workloads.agriculture.world.nitrogen import (
    DILUTION_FROM_T_HA,
    TOPSOIL_COMPARTMENTS,
    critical_uptake_kg_ha,
)


def live_rows(
    first: int,
    last: int,
    is_lived: bool,
    day: int,
    states: Any,
    water: Any,
    aeration: Any,
    crops: Any,
    profiles: Any,
    soils: Any,
    management_of_rows: Any,
    rates_of_rows: Any,
    kinds: Any,
    weathers: Any,
    irrigation_mm: Any,
    nitrogen_kg_ha: Any,
) -> None:
    """Take rows first to last through a day, in place; where `is_lived` is false, only look at their root zones.

    `kinds` (N, 3) says which crop, which soil and which weather are the row's; `day` is the weather's.
    """
    crop: Any = np.empty(crops.shape[1])
    for row in range(first, last):
        state: Any = (states[row], water[row], aeration[row])
        profile, soil = profiles[kinds[row, 1]], soils[kinds[row, 1]]
        management, rates = management_of_rows[row], rates_of_rows[row]
        if state.harvest_flag > 0:
            continue
        copy_into(crop, crops[kinds[row, 0]])
        if is_lived:
            growth_factor = min(1.0, max(rates.growth_factor_min, state.nni))
            if management.is_nitrogen_limited > 0:
                crop.WP = crop.WP * growth_factor
            live_day(state, crop, profile, soil, management, weathers[kinds[row, 2], day], irrigation_mm[row])
            live_nitrogen_day(state, profile, rates, nitrogen_kg_ha[row])
        look_at_root_zone(state, crop, profile, soil)


def live_day(state: Any, crop: Any, profile: Any, soil: Any, management: Any, weather: Any, depth_mm: float) -> None:
    """AquaCrop's day; `weather` is minimum and maximum temperature, rain and reference evapotranspiration."""
    tmin_c, tmax_c, rain_mm, et0_mm = weather[0], weather[1], weather[2], weather[3]
    growing = True
    state.dap += 1
    gdd = growing_degree_day(crop.GDDmethod, crop.Tupp, crop.Tbase, tmax_c, tmin_c)
    state.gdd_cum += gdd
    state.temp_min, state.temp_max, state.precipitation, state.et0 = tmin_c, tmax_c, rain_mm, et0_mm
    state.z_root, state.r_cor = root_development(  # 2
        crop,
        profile,
        state.dap,
        state.z_root,
        state.delayed_cds,
        state.gdd_cum,
        state.delayed_gdds,
        state.tr_ratio,
        state.th,
        state.canopy_cover,
        state.canopy_cover_ns,
        state.germination,
        state.r_cor,
        state.t_pot,
        state.z_gw,
        gdd,
        growing,
        0,
    )
    drained, deep_percolation_mm, flux_out = drainage(profile, state.th, profile.th_fc_Adj)  # 4
    copy_into(state.th, drained)
    runoff_mm, infiltrated_mm, state.day_submerged = rainfall_partition(  # 5
        rain_mm,
        state.th,
        state.day_submerged,
        False,
        False,
        0,
        soil.curve_number_adj_pct,
        soil.cn,
        soil.adj_cn,
        soil.z_cn,
        soil.nComp,
        profile,
    )
    state.depletion, state.taw, state.irr_cum, irrigated_mm = irrigation(  # 6
        management.irrigation_method,
        management.SMT,
        management.AppEff,
        management.MaxIrr,
        management.IrrInterval,
        management.SMT,  # in place of a schedule, which no row has
        depth_mm,
        management.MaxIrrSeason,
        state.growth_stage,
        state.irr_cum,
        state.e_pot,
        state.t_pot,
        state.z_root,
        state.th,
        state.dap,
        int(state.time_step_counter),
        crop,
        profile,
        soil.z_top,
        growing,
        rain_mm,
        runoff_mm,
    )
    wetted, state.surface_storage, deep_percolation_mm, runoff_mm, infiltrated_mm, flux_out = infiltration(  # 7
        profile,
        state.surface_storage,
        profile.th_fc_Adj,
        state.th,
        infiltrated_mm,
        irrigated_mm,
        management.AppEff,
        False,
        0,
        flux_out,
        deep_percolation_mm,
        runoff_mm,
        growing,
    )
    copy_into(state.th, wetted)
    germination(state, soil.z_germ, profile, crop.GermThr, crop.PlantMethod, gdd, growing)  # 9
    growth_stage(crop, state, growing)  # 10
    canopy_cover(crop, profile, soil.z_top, state, gdd, et0_mm, growing)  # 11
    (
        state.e_pot,
        _evaporated,  # state.th, changed in place
        state.stage2,
        state.w_stage_2,
        state.w_surf,
        state.surface_storage,
        state.evap_z,
        _evaporation_mm,
        _potential_evaporation_mm,
    ) = soil_evaporation(  # 12
        soil.evap_time_steps,
        False,
        state.time_step_counter,
        profile,
        soil.evap_z_min,
        soil.evap_z_max,
        soil.rew,
        soil.kex,
        soil.fwcc,
        soil.f_wrel_exp,
        soil.f_evap,
        crop.CalendarType,
        crop.Senescence,
        management.irrigation_method,
        management.WetSurf,
        False,
        0,
        0,
        state.dap,
        state.w_surf,
        state.evap_z,
        state.stage2,
        state.th,
        state.delayed_cds,
        state.gdd_cum,
        state.delayed_gdds,
        state.ccx_w,
        state.canopy_cover_adj,
        state.ccx_act,
        state.canopy_cover,
        state.premat_senes,
        state.surface_storage,
        state.w_stage_2,
        state.e_pot,
        et0_mm,
        infiltrated_mm,
        rain_mm,
        irrigated_mm,
        growing,
    )
    transpired_mm, potential_unstressed_mm, potential_mm, _state, _net_mm = transpiration(  # 13
        profile, soil.nComp, soil.z_top, crop, management.irrigation_method, 0, state, et0_mm, crop, growing, gdd
    )
    state.hi_ref, state.yield_form, state.pct_lag_phase = HIref_current_day(  # 15
        state.hi_ref,
        state.HIfinal,
        state.dap,
        state.delayed_cds,
        state.yield_form,
        state.pct_lag_phase,
        state.canopy_cover,
        state.cc_prev,
        state.ccx_w,
        crop,
        growing,
    )
    state.biomass, state.biomass_ns = biomass_accumulation(  # 16
        crop,
        state.dap,
        state.delayed_cds,
        state.hi_ref,
        state.pct_lag_phase,
        state.biomass,
        state.biomass_ns,
        transpired_mm,
        potential_unstressed_mm,
        et0_mm,
        growing,
    )
    harvest_index(profile, soil.z_top, crop, state, et0_mm, tmax_c, tmin_c, growing)  # 17
    state.DryYield = (state.biomass / 100) * state.harvest_index_adj  # 19
    passed = state.dap if crop.CalendarType == 1 else state.gdd_cum
    if passed >= crop.Maturity:
        state.crop_mature = True
    if state.crop_mature > 0 or state.crop_dead > 0 or state.dap >= management.days_max:
        state.harvest_flag = True
    state.time_step_counter += 1
    state.deep_percolation_mm, state.transpiration_mm, state.potential_transpiration_mm = (
        deep_percolation_mm,
        transpired_mm,
        potential_mm,
    )


def copy_into(target: Any, values: Any) -> None:
    """`target[:] = values`, which takes numba a second longer to compile."""
    for index in range(target.shape[0]):
        target[index] = values[index]


def look_at_root_zone(state: Any, crop: Any, profile: Any, soil: Any) -> None:
    """Depletion and total available water of the root zone as they are now."""  # 20
    root_zone = root_zone_water(profile, state.z_root, state.th, soil.z_top, crop.Zmin, crop.Aer)
    state.depletion_mm, state.taw_mm = root_zone[2], root_zone[4]


def live_nitrogen_day(state: Any, profile: Any, rates: Any, fertiliser_kg_ha: float) -> None:
    """`NitrogenBalance.step`: fertilise, mineralise, leach, take up, over the day that AquaCrop has just lived."""
    state.applied_kg_ha += fertiliser_kg_ha
    state.mineral_kg_ha += fertiliser_kg_ha - fertiliser_kg_ha * rates.fertiliser_lost_fraction
    state.mineral_kg_ha += mineralised_kg_ha(state, profile, rates)
    if state.deep_percolation_mm > 0:
        held_mm = 1000.0 * profile.th_fc[0] * rates.soil_depth_m
        lost_kg_ha = state.mineral_kg_ha * state.deep_percolation_mm / (state.deep_percolation_mm + held_mm)
        state.mineral_kg_ha -= lost_kg_ha
        state.leached_kg_ha += lost_kg_ha
    biomass_t_ha = state.biomass / 100.0
    critical_kg_ha = critical_uptake_kg_ha(biomass_t_ha)
    taken_kg_ha = taken_up_kg_ha(state, rates, critical_kg_ha)
    state.mineral_kg_ha -= taken_kg_ha
    state.uptake_kg_ha += taken_kg_ha
    state.nni = state.uptake_kg_ha / critical_kg_ha if critical_kg_ha > 1.0 else 1.0
    if biomass_t_ha < DILUTION_FROM_T_HA and state.mineral_kg_ha > rates.unavailable_kg_ha:
        state.nni = max(state.nni, 1.0)


def mineralised_kg_ha(state: Any, profile: Any, rates: Any) -> float:
    """What organic matter in the topsoil releases in a day, by its temperature and wetness."""
    mean_c = (state.temp_min + state.temp_max) / 2
    if mean_c <= 0:
        return 0.0
    topsoil_m3_m3 = 0.0
    for compartment in range(TOPSOIL_COMPARTMENTS):
        topsoil_m3_m3 += state.th[compartment]
    topsoil_m3_m3 = topsoil_m3_m3 / TOPSOIL_COMPARTMENTS
    dry, moist = profile.th_wp[0], profile.th_fc[0]
    wetness = min(1.0, max(0.0, (topsoil_m3_m3 - dry) / (moist - dry)))
    warmth = rates.mineralisation_q10 ** ((mean_c - 20.0) / 10.0)
    return float(rates.mineralised_at_20c_kg_ha_d * warmth * (0.2 + 0.8 * wetness))


def taken_up_kg_ha(state: Any, rates: Any, critical_kg_ha: float) -> float:
    """What the crop takes up in a day: its demand, or what the soil supplies to its roots."""
    demand = max(0.0, rates.luxury_uptake * critical_kg_ha - state.uptake_kg_ha)
    reach = min(1.0, state.z_root / rates.soil_depth_m)
    flow = 1.0
    if state.potential_transpiration_mm > 0:
        flow = min(1.0, state.transpiration_mm / state.potential_transpiration_mm)
    available = max(0.0, state.mineral_kg_ha - rates.unavailable_kg_ha)
    supply = rates.uptake_per_day * available * reach * (0.3 + 0.7 * flow)
    return float(min(demand, supply, rates.uptake_max_kg_ha_d))


def water_stress(
    p_upper: Any,
    p_lower: Any,
    is_adjusted_to_et0: float,
    beta: float,
    shapes: Any,
    early_senescence_days: float,
    depletion_mm: float,
    taw_mm: float,
    et0_mm: float,
    is_beta_used: float,
) -> tuple[float, float, float, float, float]:
    """The package's water_stress without its dozen little arrays: three times as fast, the same numbers.

    Returns the coefficients of canopy expansion, stomatal closure, senescence, pollination, and stomata linear.
    """
    expansion, closure, senescence, pollination, linear = 1.0, 1.0, 1.0, 1.0, 1.0
    for effect in range(4):
        upper, lower = p_upper[effect], p_lower[effect]
        if is_adjusted_to_et0 == 1 and effect < 3:
            upper = upper + (0.04 * (5 - et0_mm)) * math.log10(10 - 9 * upper)
            lower = lower + (0.04 * (5 - et0_mm)) * math.log10(10 - 9 * lower)
        if effect == 2 and is_beta_used > 0 and early_senescence_days > 0:
            upper = upper * (1 - beta / 100)
        upper, lower = min(max(upper, 0.0), 1.0), min(max(lower, 0.0), 1.0)
        relative = 1.0
        if depletion_mm <= upper * taw_mm:
            relative = 0.0
        elif depletion_mm < lower * taw_mm:
            relative = 1 - ((lower - (depletion_mm / taw_mm)) / (lower - upper))
        if effect == 3:
            pollination = 1 - relative
            continue
        stress = 1 - ((math.exp(relative * shapes[effect]) - 1) / (math.exp(shapes[effect]) - 1))
        if effect == 0:
            expansion = stress
        elif effect == 1:
            closure, linear = stress, 1 - relative
        else:
            senescence = stress
    return expansion, closure, senescence, pollination, linear
