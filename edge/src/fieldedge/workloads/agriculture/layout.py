"""Where each number of a field stands: the flat arrays that the device and the cloud fold a season into.

A field's constants and its state are flat sequences of floats, and the functions over them (water_balance.py,
canopy.py, probes.py, season.py) use indexing and plain arithmetic only. So the device runs them on lists in
plain Python, and the cloud compiles the very same functions over a million simulated days. Units are in the names.
"""

from fieldedge.workloads.agriculture.tables import PROBE_DEPTHS_CM

# The soil in layers: thin where roots are dense. AquaCrop lays out a maize profile in the same way.
LAYERS = 12
LAYER_THICKNESS_M = (0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3)
LAYER_TOP_M = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9, 1.2, 1.5, 1.8, 2.1)
LAYER_MM = (100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 300.0, 300.0, 300.0, 300.0, 300.0, 300.0)
PROBES = len(PROBE_DEPTHS_CM)

# Constants of one field in one season.
(
    FIELD_CAPACITY,
    WILTING_POINT,
    SATURATION,
    DRAINAGE_TAU,  # share of the water above field capacity that a saturated layer drains in a day
    CURVE_NUMBER,
    REW_MM,  # readily evaporable water
    ROOT_DEPTH_MAX_M,
    APPLICATION_EFFICIENCY,
    IRRIGATION_CAPACITY_MM,
    WATER_ALLOWANCE_MM,
    WATER_COST_KG_MM,  # grain that pays for one millimetre
    NITROGEN_COST_KG_KG,  # grain that pays for one kilogram of nitrogen
    START_WATER,  # of total available water, at planting
    START_WATER_SD,
    IS_ADVISED,  # 1 where this model's advice is followed, 0 in a grower's own books
    CO2_PPM,
) = range(16)
TOLD = 16  # FACTORS: what a factor is before any reading, 1 unless a person confirmed another
TOLD_SD = 19  # FACTORS: how sure that is
CONSTANTS = 22

# The state, in the evening of a day.
(
    DAP,
    GDD_C_D,
    ROOT_DEPTH_M,
    CANOPY,
    CANOPY_ACTUAL_MAX,  # what the crop has reached, and senescence starts from
    CANOPY_PEAK,
    CANOPY_AT_STRESS,
    EARLY_SENESCENCE_D,
    SURFACE_WATER_MM,
    STAGE_TWO_WETNESS,
    EVAPORATION_DEPTH_M,
    RELATIVE_TRANSPIRATION,
    BIOMASS_T_HA,
    DRAINED_MM,
    DEPLETION_MM,
    TAW_MM,
    STRESS_VEGETATIVE_D,
    STRESS_FLOWERING_D,
    STRESS_FILLING_D,
    STRESS_EXPANSION_D,
    RAIN_SEASON_MM,
    ET0_SEASON_MM,
    IRRIGATION_MM,
    SINCE_IRRIGATION_D,
    NITROGEN_KG_HA,
    SINCE_NITROGEN_D,
    MINERAL_NITROGEN_KG_HA,
    NITROGEN_TAKEN_KG_HA,
    NDVI,
    NDRE,
    SINCE_FLIGHT_D,
    WITHOUT_READING_D,
) = range(32)
THETA = 32  # LAYERS water contents, m3/m3
RAIN_MM = THETA + LAYERS  # the last 14 days, newest first
RAIN_DAYS = 14
ET0_MM = RAIN_MM + RAIN_DAYS  # the last 7 days, newest first; so are the temperatures
WEEK = 7
TMIN_C = ET0_MM + WEEK
TMAX_C = TMIN_C + WEEK
PROBE_BIAS = TMAX_C + WEEK  # m3/m3, estimated
PROBE_LAST = PROBE_BIAS + PROBES
PROBE_REPEATS_D = PROBE_LAST + PROBES
# What may be other than a device was told, each a multiple of it: 1 is as told.
(
    SOIL,  # the soil's field capacity
    SHARE,  # the irrigation that arrives, of what was noted
    GAUGE,  # the rain that fell, of what was measured
    START,  # the water at planting, a share of TAW that is added to what was told
) = range(4)
FACTORS = 3  # the first of the modes: constants of a field that the season teaches
MODES = 4
FACTOR = PROBE_REPEATS_D + PROBES  # FACTORS estimates
CAPACITY = FACTOR + FACTORS  # field capacity as told times its factor, m3/m3
SENSITIVITY = CAPACITY + 1  # MODES x LAYERS: how a layer's water changes with each mode, m3/m3
SURPRISE = SENSITIVITY + MODES * LAYERS  # how far readings lie from what was expected: normalised innovation squared
SINCE_WETTED_D = SURPRISE + 1
SHADOW = SINCE_WETTED_D + 1  # MODES x SHADOWED: what evaporation keeps, had the mode been a step larger
SHADOWED = 3
ERRORS = 2 * PROBES + MODES  # of the estimate: water around each probe, then each probe's bias, then the modes
COVARIANCE = SHADOW + MODES * SHADOWED  # ERRORS x ERRORS
# Room to work in, within a day: compiled code reads a list far slower than the state.
THETA_BEFORE = COVARIANCE + ERRORS * ERRORS  # LAYERS
THETA_BELIEVED = THETA_BEFORE + LAYERS  # LAYERS
SEEN = THETA_BELIEVED + LAYERS  # ERRORS
CANOPY_SURPRISE = SEEN + ERRORS  # of all flights, standard deviations, summed up with forgetting
CANOPY_FLIGHTS = CANOPY_SURPRISE + 1  # the variance of that sum: how many flights it is worth
STATES = CANOPY_FLIGHTS + 1

# One day as the device learns of it; what is unknown is NaN. A day without any reading has no weather either.
(
    DAY_IRRIGATION_MM,
    DAY_NITROGEN_KG_HA,
    DAY_TMIN_C,
    DAY_TMAX_C,
    DAY_RAIN_MM,
    DAY_ET0_MM,
    DAY_NDVI,
    DAY_NDRE,
    DAY_PROBE,
) = range(9)
DAY_VALUES = DAY_PROBE + PROBES
