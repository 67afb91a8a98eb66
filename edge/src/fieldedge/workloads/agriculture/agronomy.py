"""The field's own formulas: FAO-56's crop coefficient and readily available water, and a mineral-nitrogen balance.

Plain functions over floats; nothing here knows a model, a sensor or a file. With the balance by layers
(water_balance.py) they bound every recommendation and are the fallback where the model abstains. Sources: FAO
Irrigation and Drainage Paper 56 (Allen et al. 1998) for water; Plénet & Lemaire 2000 (doi:10.1023/A:1004783431055)
for critical nitrogen; Burns 1975 for leaching.
"""

import math

DAYS_TO_MATURITY = 132
DEPLETION_FRACTION_P = 0.55  # maize, FAO-56 table 22
GDD_BASE_C = 8.0
GDD_CAP_C = 30.0
FINAL_BIOMASS_T_HA = 26.0

VOLATILISED_FRACTION = 0.25
MINERALISATION_KG_HA_D = 1.2
MINERALISATION_Q10 = 2.0
START_MINERAL_NITROGEN_KG_HA = 70.0
RESIDUAL_NITROGEN_KG_HA = 20.0
LEACHING_DEPTH_M = 1.2
UPTAKE_LUXURY = 1.1
UPTAKE_MAX_KG_HA_D = 6.0
UPTAKE_AVAILABLE_FRACTION = 0.10
CRITICAL_NITROGEN_CAP_T_HA = 22.0
NITROGEN_SUPPLY_TRUST = 0.8  # of the mineralisation to come

# Stage lengths of grain maize (FAO-56 table 11, scaled to 132 days) and crop coefficients (table 12).
_KC_DAYS = (0.0, 22.0, 55.0, 100.0, 132.0)
_KC_VALUES = (0.25, 0.25, 1.15, 1.15, 0.45)


def growing_degrees_c_d(tmin_c: float, tmax_c: float) -> float:
    """Thermal time of one day, degC d, above 8 and capped at 30 degC."""
    mean_c = 0.5 * (min(max(tmin_c, GDD_BASE_C), GDD_CAP_C) + min(max(tmax_c, GDD_BASE_C), GDD_CAP_C))
    return mean_c - GDD_BASE_C


def crop_coefficient(days_after_planting: float) -> float:
    """Single crop coefficient Kc by day after planting (FAO-56 fig. 34, tables 11 and 12)."""
    for i in range(1, len(_KC_DAYS)):
        if days_after_planting <= _KC_DAYS[i]:
            share = (days_after_planting - _KC_DAYS[i - 1]) / (_KC_DAYS[i] - _KC_DAYS[i - 1])
            return _KC_VALUES[i - 1] + share * (_KC_VALUES[i] - _KC_VALUES[i - 1])
    return _KC_VALUES[-1]


def depletion_fraction(etc_mm: float) -> float:
    """p, the share of TAW that is readily available, adjusted for the day's demand (FAO-56 table 22, note 2)."""
    return min(max(DEPLETION_FRACTION_P + 0.04 * (5.0 - etc_mm), 0.1), 0.8)


def critical_nitrogen_kg_ha(biomass_t_ha: float) -> float:
    """Nitrogen in a crop that just lacks none: 34 W^0.63 kg/ha, linear below 1 t/ha (Plénet & Lemaire 2000)."""
    biomass = min(max(biomass_t_ha, 0.0), CRITICAL_NITROGEN_CAP_T_HA)
    return 34.0 * biomass if biomass < 1.0 else 34.0 * math.pow(biomass, 0.63)


def mineralised_kg_ha(mean_temperature_c: float, relative_wetness: float) -> float:
    """Nitrogen that the soil frees in one day, kg/ha: 1.2 at 20 degC in moist soil, Q10 of 2."""
    if mean_temperature_c <= 0.0:
        return 0.0
    wetness = min(max(relative_wetness, 0.0), 1.0)
    warmth = math.pow(MINERALISATION_Q10, (mean_temperature_c - 20.0) / 10.0)
    return MINERALISATION_KG_HA_D * warmth * (0.2 + 0.8 * wetness)


def leached_kg_ha(mineral_kg_ha: float, drainage_mm: float, field_capacity: float) -> float:
    """Nitrogen washed below 1.2 m by one day's drainage, kg/ha (Burns 1975)."""
    if drainage_mm <= 0.0 or mineral_kg_ha <= 0.0:
        return 0.0
    return mineral_kg_ha * drainage_mm / (drainage_mm + 1000.0 * field_capacity * LEACHING_DEPTH_M)


def uptake_kg_ha(biomass_t_ha: float, taken_kg_ha: float, mineral_kg_ha: float, depth_m: float, stress: float) -> float:
    """Nitrogen that the crop takes up in one day, kg/ha: the least of demand, supply and 6 kg/ha."""
    demand = max(0.0, UPTAKE_LUXURY * critical_nitrogen_kg_ha(biomass_t_ha) - taken_kg_ha)
    rooted = min(1.0, depth_m / LEACHING_DEPTH_M)
    available = max(0.0, mineral_kg_ha - RESIDUAL_NITROGEN_KG_HA)
    supply = UPTAKE_AVAILABLE_FRACTION * available * rooted * (0.3 + 0.7 * stress)
    return min(demand, supply, UPTAKE_MAX_KG_HA_D)


def nitrogen_nutrition_index(taken_kg_ha: float, biomass_t_ha: float) -> float:
    """NNI: nitrogen taken up over the critical amount; 1 where the crop is too small to tell."""
    critical = critical_nitrogen_kg_ha(biomass_t_ha)
    return taken_kg_ha / critical if critical > 34.0 else 1.0


def mineralisation_to_come_kg_ha(days_after_planting: float) -> float:
    """What the soil will probably still free before maturity, kg/ha, at 18 degC and half-wet soil."""
    days_left = max(0.0, 110.0 - days_after_planting)
    return days_left * mineralised_kg_ha(18.0, 0.5)


def nitrogen_need_kg_ha(days_after_planting: float, mineral_kg_ha: float, taken_kg_ha: float) -> float:
    """Fertiliser that a full crop still needs beyond what it took and what the soil will give, kg/ha."""
    target = critical_nitrogen_kg_ha(FINAL_BIOMASS_T_HA)
    in_soil = max(0.0, mineral_kg_ha - RESIDUAL_NITROGEN_KG_HA)
    to_come = NITROGEN_SUPPLY_TRUST * mineralisation_to_come_kg_ha(days_after_planting)
    return max(0.0, target - taken_kg_ha - in_soil - to_come) / (1.0 - VOLATILISED_FRACTION)


def co2_ppm(year: int) -> float:
    """Carbon dioxide of the air, ppm: the trend of Mauna Loa since 1960 (NOAA GML), within 3 ppm."""
    since_1980 = year - 1980
    return 339.0 + 1.35 * since_1980 + 0.013 * since_1980**2
