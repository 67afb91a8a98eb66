"""The one feature builder of the agriculture workload: training and the device call the same functions.

A season is folded day by day into a flat state (season.py); a row of features is read off it. The last features are
the candidate action itself, so the model answers for each action what would come of it. Prices and allowance are
features too: what a crop needs for the rest of a season depends on what its grower pays for water.
"""

import math
from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from fieldedge.contract import Feature, Record
from fieldedge.workloads.agriculture import agronomy as ag
from fieldedge.workloads.agriculture import layout as at
from fieldedge.workloads.agriculture.evidence import EVIDENCE_VALUES, Evidence, read_evidence
from fieldedge.workloads.agriculture.learned import Learned, learned
from fieldedge.workloads.agriculture.probes import FACTOR_SD, uncertainty, wetness
from fieldedge.workloads.agriculture.season import advance, start_season
from fieldedge.workloads.agriculture.tables import PROBE_DEPTHS_CM

Array = npt.NDArray[np.float32]

PROBE_COLUMNS = tuple(f"vwc_{depth}cm_m3_m3" for depth in PROBE_DEPTHS_CM)
START_WATER_UNKNOWN, START_WATER_UNKNOWN_SD = 0.85, 0.12  # of total available water, where no one measured it
START_WATER_KNOWN_SD = 0.03
CONFIRMED_SD = 0.02  # of a factor that a person confirmed
ADVISED = "fieldloop"  # the practice of a field that follows this advice
FORECAST_VALUES = 3  # rain of two days, rain of five days, mean ET0 of five days

# AquaCrop's default soils (reference manual, annex II): drainage tau, curve number, readily evaporable water in mm.
SOILS = {
    "Sand": (1.0, 46.0, 4.0),
    "LoamySand": (1.0, 46.0, 5.0),
    "SandyLoam": (1.0, 46.0, 7.0),
    "Loam": (0.76, 61.0, 9.0),
    "SiltLoam": (0.80, 61.0, 11.0),
    "Silt": (0.76, 61.0, 11.0),
    "SandyClayLoam": (0.58, 72.0, 9.0),
    "ClayLoam": (0.47, 72.0, 11.0),
    "SiltClayLoam": (0.50, 72.0, 13.0),
    "SandyClay": (0.30, 77.0, 10.0),
    "SiltClay": (0.43, 72.0, 14.0),
    "Clay": (0.30, 77.0, 14.0),
}
_SOIL_UNKNOWN = SOILS["Loam"]

FEATURES = (
    Feature("dap", "d", 0, 150, "days after planting"),
    Feature("gdd_c_d", "degC d", 0, 2200),
    Feature("depletion_mm", "mm", 0, 370, "root-zone depletion Dr"),
    Feature("depletion_fraction", "1", 0, 1, "Dr / TAW"),
    Feature("raw_fraction", "1", 0.1, 0.8, "RAW / TAW: FAO-56 p adjusted for demand"),
    Feature("taw_mm", "mm", 0, 470),
    Feature("surface_wetness", "1", -0.8, 2.6, "of the top 0.1 m: (theta - WP) / (FC - WP)"),
    Feature("wetness_15cm", "1", -0.6, 2.0, "balance and probe together"),
    Feature("wetness_35cm", "1", -0.4, 1.8),
    Feature("wetness_75cm", "1", -0.4, 1.8),
    Feature("wetness_105cm", "1", -0.3, 1.6),
    Feature("wetness_deep", "1", -0.3, 1.6, "1.2 to 2.4 m"),
    Feature("water_uncertainty", "1", 0, 0.15, "of the profile's relative water content, standard deviation"),
    Feature("canopy_cover", "1", 0, 1),
    Feature("relative_transpiration", "1", 0, 1, "actual over potential, yesterday"),
    Feature("biomass_t_ha", "t/ha", 0, 32),
    Feature("stress_expansion_d", "d", 0, 30, "sum of 1 - Ks of leaf expansion"),
    Feature("stress_vegetative_d", "d", 0, 30, "sum of 1 - relative transpiration before flowering"),
    Feature("stress_flowering_d", "d", 0, 20, "around flowering"),
    Feature("stress_filling_d", "d", 0, 40, "in grain filling"),
    Feature("rain_1d_mm", "mm", 0, 40),
    Feature("rain_3d_mm", "mm", 0, 80),
    Feature("rain_7d_mm", "mm", 0, 110),
    Feature("rain_14d_mm", "mm", 0, 160),
    Feature("rain_season_mm", "mm", 0, 700),
    Feature("et0_1d_mm", "mm", 0, 11),
    Feature("et0_7d_mm", "mm", 0, 65),
    Feature("et0_season_mm", "mm", 0, 1000),
    Feature("tmax_7d_c", "degC", 5, 42),
    Feature("tmin_7d_c", "degC", -5, 26),
    Feature("irrigation_season_mm", "mm", 0, 700),
    Feature("days_since_irrigation", "d", 0, 30),
    Feature("allowance_left_mm", "mm", 0, 700),
    Feature("irrigation_capacity_mm", "mm/day", 0, 40),
    Feature("water_cost_kg_mm", "kg/mm", 0, 25, "grain that pays for one millimetre"),
    Feature("nitrogen_cost_kg_kg", "kg/kg", 0, 15, "grain that pays for one kilogram"),
    Feature("nitrogen_applied_kg_ha", "kg/ha", 0, 320),
    Feature("mineral_nitrogen_kg_ha", "kg/ha", 0, 300, "balance estimate"),
    Feature("nitrogen_taken_kg_ha", "kg/ha", 0, 280, "balance estimate"),
    Feature("nitrogen_need_kg_ha", "kg/ha", 0, 320, "fertiliser that a full crop still needs"),
    Feature("days_since_nitrogen", "d", 0, 60),
    Feature("nni", "1", 0.2, 1.3, "nitrogen nutrition index, balance estimate"),
    Feature("ndvi", "1", 0.1, 0.95, "last flight"),
    Feature("ndre", "1", 0.05, 0.6, "last flight"),
    Feature("days_since_flight", "d", 0, 30),
    Feature("field_capacity_m3_m3", "m3/m3", 0.1, 0.45),
    Feature("wilting_point_m3_m3", "m3/m3", 0.03, 0.3),
    Feature("is_advised", "1", 0, 1, "whether the model's advice is followed, or a grower's own practice"),
    Feature("co2_ppm", "ppm", 330, 450, "of the air, by the year: crops make more of the same water"),
    Feature("has_forecast", "1", 0, 1, "whether a weather forecast is at hand"),
    Feature("forecast_rain_2d_mm", "mm", 0, 50, "0 without a forecast"),
    Feature("forecast_rain_5d_mm", "mm", 0, 80, "0 without a forecast"),
    Feature("forecast_et0_5d_mm", "mm/day", 0, 11, "0 without a forecast"),
    Feature("candidate_irrigation_mm", "mm", 0, 60, "the action asked about"),
    Feature("candidate_nitrogen_kg_ha", "kg/ha", 0, 150, "the action asked about"),
)
INDEX = {feature.name: i for i, feature in enumerate(FEATURES)}
_CANDIDATE_IRRIGATION = INDEX["candidate_irrigation_mm"]
_CANDIDATE_NITROGEN = INDEX["candidate_nitrogen_kg_ha"]


@dataclass(frozen=True)
class Day:
    """What is known of one past day: the reading (None where it is missing) and what was done."""

    date: str
    reading: Record | None
    irrigation_mm: float = 0.0
    nitrogen_kg_ha: float = 0.0


@dataclass(frozen=True)
class Forecast:
    """The weather of the next days as a service foretold it: rain and reference evapotranspiration by day, mm."""

    rain_mm: Sequence[float]
    et0_mm: Sequence[float]

    def values(self) -> tuple[float, float, float]:
        """What the features take of it."""
        et0 = self.et0_mm[:5]
        return sum(self.rain_mm[:2]), sum(self.rain_mm[:5]), sum(et0) / max(len(et0), 1)


NO_FORECAST = (math.nan, math.nan, math.nan)


class SeasonState:
    """One field's season up to yesterday evening. `advance` folds in one more day."""

    def __init__(self, record: Record, confirmed: Mapping[int, float] | None = None) -> None:
        self.constants = field_constants(record, confirmed)
        self.values = [0.0] * at.STATES
        start_season(self.values, self.constants)

    @classmethod
    def start(cls, record: Record, confirmed: Mapping[int, float] | None = None) -> "SeasonState":
        """The morning of planting. `record` is a row of table `fields`; `confirmed` as in `field_constants`."""
        return cls(record, confirmed)

    @property
    def dap(self) -> int:
        """Days after planting of the coming day."""
        return int(self.values[at.DAP])

    @property
    def days_without_reading(self) -> int:
        return int(self.values[at.WITHOUT_READING_D])

    @property
    def days_since_nitrogen(self) -> int:
        return int(self.values[at.SINCE_NITROGEN_D])

    @property
    def learned(self) -> tuple[Learned, ...]:
        """What the season taught of the field beyond what was told."""
        return learned(self.values, self.constants)

    @property
    def evidence(self) -> Evidence:
        """Whether the crop does what was foretold."""
        found = [0.0] * EVIDENCE_VALUES
        read_evidence(self.values, self.constants, found)
        return Evidence(*found)

    def advance(self, day: Day) -> None:
        """Fold in one day: what was done in its morning, its weather, and the probes in its evening."""
        advance(self.values, self.constants, day_values(day))

    def features(self, forecast: Forecast | None = None) -> Array:
        """One row of features in physical units, shape (F,), without any action."""
        row = [0.0] * len(FEATURES)
        read_features(self.values, self.constants, NO_FORECAST if forecast is None else forecast.values(), row)
        return np.array(row, np.float32)


def field_constants(record: Record, confirmed: Mapping[int, float] | None = None) -> list[float]:
    """A row of table `fields` as layout.py lays a field's constants out.

    `confirmed` are factors, by their place, of which a person said what they are.
    """
    tau, curve_number, rew_mm = SOILS.get(record["soil"], _SOIL_UNKNOWN)
    sampled_pct = record.get("initial_water_pct")
    water_pct = math.nan if sampled_pct is None else float(sampled_pct)
    is_known = not math.isnan(water_pct)
    field = [0.0] * at.CONSTANTS
    field[at.FIELD_CAPACITY] = record["field_capacity_m3_m3"]
    field[at.WILTING_POINT] = record["wilting_point_m3_m3"]
    field[at.SATURATION] = record["saturation_m3_m3"]
    field[at.DRAINAGE_TAU], field[at.CURVE_NUMBER], field[at.REW_MM] = tau, curve_number, rew_mm
    field[at.ROOT_DEPTH_MAX_M] = record["root_depth_max_m"]
    field[at.APPLICATION_EFFICIENCY] = record["application_efficiency"]
    field[at.IRRIGATION_CAPACITY_MM] = record["irrigation_capacity_mm"]
    field[at.WATER_ALLOWANCE_MM] = record["water_allowance_mm"]
    grain_usd_kg = record["grain_price_usd_t"] / 1000.0
    field[at.WATER_COST_KG_MM] = record["water_price_usd_mm"] / grain_usd_kg
    field[at.NITROGEN_COST_KG_KG] = record["nitrogen_price_usd_kg"] / grain_usd_kg
    field[at.START_WATER] = water_pct / 100.0 if is_known else START_WATER_UNKNOWN
    field[at.CO2_PPM] = ag.co2_ppm(int(str(record["planting_date"])[:4]))
    field[at.IS_ADVISED] = 1.0 if record["practice"] == ADVISED else 0.0
    field[at.START_WATER_SD] = START_WATER_KNOWN_SD if is_known else START_WATER_UNKNOWN_SD
    for factor in range(at.FACTORS):
        field[at.TOLD + factor], field[at.TOLD_SD + factor] = 1.0, FACTOR_SD[factor]
    for factor, times in (confirmed or {}).items():
        field[at.TOLD + factor], field[at.TOLD_SD + factor] = times, CONFIRMED_SD
    return field


def day_values(day: Day) -> list[float]:
    """A day as layout.py lays it out: NaN for what nobody knows."""
    values = [math.nan] * at.DAY_VALUES
    values[at.DAY_IRRIGATION_MM], values[at.DAY_NITROGEN_KG_HA] = day.irrigation_mm, day.nitrogen_kg_ha
    reading = day.reading
    if reading is not None:
        values[at.DAY_TMIN_C], values[at.DAY_TMAX_C] = reading["tmin_c"], reading["tmax_c"]
        values[at.DAY_RAIN_MM], values[at.DAY_ET0_MM] = reading["rain_mm"], reading["et0_mm"]
        seen = ((at.DAY_NDVI, "ndvi"), (at.DAY_NDRE, "ndre"))
        probes = ((at.DAY_PROBE + i, column) for i, column in enumerate(PROBE_COLUMNS))
        for place, column in (*seen, *probes):
            value = reading.get(column)
            values[place] = math.nan if value is None else value
    return values


def read_features(
    state: Sequence[float], field: Sequence[float], forecast: Sequence[float], row: MutableSequence[float]
) -> None:
    """Write the features in the order of FEATURES, physical units, without any action."""
    capacity, wilting = state[at.CAPACITY], field[at.WILTING_POINT]
    taw_mm, dap = state[at.TAW_MM], state[at.DAP]
    rain_3d, rain_7d, rain_14d, et0_7d, tmax_7d, tmin_7d = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(at.RAIN_DAYS):
        rain_14d += state[at.RAIN_MM + i]
        rain_3d += state[at.RAIN_MM + i] if i < 3 else 0.0
        rain_7d += state[at.RAIN_MM + i] if i < 7 else 0.0
    for i in range(at.WEEK):
        et0_7d += state[at.ET0_MM + i]
        tmax_7d += state[at.TMAX_C + i] / at.WEEK
        tmin_7d += state[at.TMIN_C + i] / at.WEEK
    deep = 0.0
    for i in range(8, at.LAYERS):
        deep += (state[at.THETA + i] - wilting) / (capacity - wilting) / (at.LAYERS - 8)
    row[0], row[1] = dap, state[at.GDD_C_D]
    row[2], row[3] = max(state[at.DEPLETION_MM], 0.0), max(state[at.DEPLETION_MM], 0.0) / taw_mm
    row[4], row[5] = ag.depletion_fraction(ag.crop_coefficient(dap) * et0_7d / at.WEEK), taw_mm
    row[6] = (state[at.THETA] - wilting) / (capacity - wilting)
    for i in range(at.PROBES):
        row[7 + i] = wetness(state, field, i)
    row[11], row[12] = deep, uncertainty(state, field)
    row[13], row[14], row[15] = state[at.CANOPY], state[at.RELATIVE_TRANSPIRATION], state[at.BIOMASS_T_HA]
    row[16], row[17] = state[at.STRESS_EXPANSION_D], state[at.STRESS_VEGETATIVE_D]
    row[18], row[19] = state[at.STRESS_FLOWERING_D], state[at.STRESS_FILLING_D]
    row[20], row[21], row[22], row[23] = state[at.RAIN_MM], rain_3d, rain_7d, rain_14d
    row[24], row[25], row[26] = state[at.RAIN_SEASON_MM], state[at.ET0_MM], et0_7d
    row[27], row[28], row[29] = state[at.ET0_SEASON_MM], tmax_7d, tmin_7d
    row[30], row[31] = state[at.IRRIGATION_MM], state[at.SINCE_IRRIGATION_D]
    row[32] = max(0.0, field[at.WATER_ALLOWANCE_MM] - state[at.IRRIGATION_MM])
    row[33], row[34] = field[at.IRRIGATION_CAPACITY_MM], field[at.WATER_COST_KG_MM]
    row[35], row[36] = field[at.NITROGEN_COST_KG_KG], state[at.NITROGEN_KG_HA]
    row[37], row[38] = state[at.MINERAL_NITROGEN_KG_HA], state[at.NITROGEN_TAKEN_KG_HA]
    row[39] = ag.nitrogen_need_kg_ha(dap, state[at.MINERAL_NITROGEN_KG_HA], state[at.NITROGEN_TAKEN_KG_HA])
    row[40] = min(state[at.SINCE_NITROGEN_D], 60.0)
    row[41] = ag.nitrogen_nutrition_index(state[at.NITROGEN_TAKEN_KG_HA], state[at.BIOMASS_T_HA])
    row[42], row[43], row[44] = state[at.NDVI], state[at.NDRE], state[at.SINCE_FLIGHT_D]
    row[45], row[46] = capacity, wilting
    is_foretold = not math.isnan(forecast[0])
    row[47], row[48], row[49] = field[at.IS_ADVISED], field[at.CO2_PPM], 1.0 if is_foretold else 0.0
    for i in range(FORECAST_VALUES):
        row[50 + i] = forecast[i] if is_foretold else 0.0
    row[53], row[54] = 0.0, 0.0


def featurize(history: Sequence[Day], record: Record) -> Array:
    """Feature rows in physical units, shape (len(history) + 1, F), without actions.

    Row i is what is known on the morning after i days; row 0 is the morning of planting.
    """
    state = SeasonState.start(record)
    rows = np.empty((len(history) + 1, len(FEATURES)), np.float32)
    rows[0] = state.features()
    for i, day in enumerate(history):
        state.advance(day)
        rows[i + 1] = state.features()
    return rows


def with_actions(row: Array, irrigation_mm: Array, nitrogen_kg_ha: Array) -> Array:
    """The row once for each of K candidate actions: shape (F,) and (K,), (K,) to (K, F), physical units."""
    rows = np.repeat(np.asarray(row, np.float32)[None, :], len(irrigation_mm), axis=0)
    return set_actions(rows, irrigation_mm, nitrogen_kg_ha)


def set_actions(rows: Array, irrigation_mm: Array, nitrogen_kg_ha: Array) -> Array:
    """Write one action into each of N rows (N, F), in place."""
    rows[:, _CANDIDATE_IRRIGATION] = irrigation_mm
    rows[:, _CANDIDATE_NITROGEN] = nitrogen_kg_ha
    return rows


def days_between(first: str, last: str) -> int:
    """Whole days from one ISO date to another."""
    return (date.fromisoformat(last) - date.fromisoformat(first)).days
