"""From an initialised AquaCropModel to the compiled core's arrays: what one row is made of.

A row is a crop (which knows the year, for its carbon dioxide), a soil, a management and a state. For our maize the
first two depend on the year and on the soil class alone, never on the weather, so they are made once and kept; a
variety's crop array is the year's with the package's own crop and calendar of that variety written over it.
"""

from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldedge.system.errors import DataError
from fieldloop.workloads.agriculture.world.aquacrop_season import AquaCropSeason, crop_with
from fieldloop.workloads.agriculture.world.climate import MAX_SEASON_DAYS
from fieldloop.workloads.agriculture.world.compiled.store import Core
from fieldloop.workloads.agriculture.world.variety import MAIZE, ROOTS_OF_DEEP_PROFILE_M, Variety

Array = NDArray[np.float64]
_NONE, _THRESHOLDS, _INTERVAL, EXTERNAL = 0, 1, 2, 5
_METHODS = (_NONE, _THRESHOLDS, _INTERVAL, EXTERNAL)
_ANY_YEAR = 2000
_PLANTING = date(_ANY_YEAR, 5, 1)
_C3_G_M2, _C4_G_M2 = 20.0, 40.0  # water productivities between which carbon dioxide acts less and less
_OF_THE_CALENDAR = (
    *("Emergence", "MaxRooting", "Senescence", "Maturity", "Canopy10Pct", "MaxCanopy", "MaxCanopyCD"),
    *("CanopyDevEnd", "CanopyDevEndCD", "HIendCD", "CGC", "CC0"),
)


@dataclass(frozen=True, eq=False)
class Row:
    """One row's arrays, all of them: crop (C,), profile (P, K), soil (S,), management (M,), state (V,), water (K,)."""

    crop: Array
    profile: Array
    soil: Array
    management: Array
    state: Array
    water_m3_m3: Array


@dataclass(frozen=True, eq=False)
class SoilClass:
    """A soil's arrays, its compartments' middles, and its water contents as AquaCrop averages them."""

    profile: Array
    soil: Array
    middles_m: Array
    wilting_point_m3_m3: float
    field_capacity_m3_m3: float


def row_of(core: Core, model: Any) -> Row:
    """The arrays of an initialised package model of one season that begins on its planting day.

    Raises:
        DataError: it uses what the compiled day leaves out.
    """
    _refuse_unknown(model)
    parameters, clock = model._param_struct, model._clock_struct
    return Row(
        crop=_crop(core, parameters),
        profile=_profile(core, parameters.Soil.Profile, model._init_cond),
        soil=_soil(core, model),
        management=_management(core, parameters.IrrMngt, _days_max(clock)),
        state=_state(core, model._init_cond),
        water_m3_m3=np.array(model._init_cond.th, dtype=np.float64),
    )


def _refuse_unknown(model: Any) -> None:
    parameters = model._param_struct
    left_out = {
        "a water table": parameters.water_table == 1,
        "bunds": bool(parameters.FieldMngt.bunds),
        "mulches": bool(parameters.FieldMngt.mulches),
        "inhibited run-off": bool(parameters.FieldMngt.sr_inhb),
        "tile drains": bool(getattr(parameters.Soil, "tile_drainage", False)),
        f"irrigation method {parameters.IrrMngt.irrigation_method}": (
            parameters.IrrMngt.irrigation_method not in _METHODS
        ),
        "days before planting": model._clock_struct.season_counter != 0,
        "a compartment across the curve number's depth": _is_clipped(parameters.Soil),
    }
    if found := [what for what, is_there in left_out.items() if is_there]:
        raise DataError(f"the compiled season has no {', '.join(found)}; use the aquacrop package itself")


def _is_clipped(soil: Any) -> bool:
    """Whether the package would cut a compartment short (it does so in place, which rows that share it cannot)."""
    bottoms = np.asarray(soil.Profile.dzsum)
    across = bottoms[bottoms >= soil.z_cn]
    return bool(soil.adj_cn == 1 and across.size > 0 and across[0] > soil.z_cn)


def _days_max(clock: Any) -> int:
    """The last day is the one before the harvest date, or before the simulation's end."""
    end = min(clock.harvest_dates[0], clock.simulation_end_date)
    return int((end - clock.planting_dates[0]).days)


def _crop(core: Core, parameters: Any) -> Array:
    crop, found = parameters.Seasonal_Crop_List[0], np.zeros(core.sizes["crop"])
    for name, first in core.offsets["crop"].items():
        if name.startswith("CO2_"):
            found[first] = getattr(parameters.CO2, name.removeprefix("CO2_"))
        else:
            value = np.atleast_1d(np.asarray(getattr(crop, name), dtype=np.float64))
            found[first : first + value.size] = value
    return found


def _profile(core: Core, profile: Any, state: Any) -> Array:
    found = np.zeros((core.sizes["profile"], len(profile.dz)))
    for name, row in core.offsets["profile"].items():
        found[row] = state.th_fc_Adj if name == "th_fc_Adj" else getattr(profile, name)
    return found


def _soil(core: Core, model: Any) -> Array:
    parameters, found = model._param_struct, np.zeros(core.sizes["soil"])
    elsewhere = {
        "curve_number_adj_pct": parameters.FieldMngt.curve_number_adj_pct,
        "evap_time_steps": model._clock_struct.evap_time_steps,
    }
    for name, index in core.offsets["soil"].items():
        found[index] = elsewhere[name] if name in elsewhere else getattr(parameters.Soil, name)
    return found


def _management(core: Core, irrigation: Any, days_max: int) -> Array:
    found = np.zeros(core.sizes["management"])
    ours = {"is_nitrogen_limited": 0, "days_max": days_max}
    for name, first in core.offsets["management"].items():
        value = np.atleast_1d(np.asarray(ours.get(name, getattr(irrigation, name, None)), dtype=np.float64))
        found[first : first + value.size] = value
    return found


def _state(core: Core, state: Any) -> Array:
    """The package's own names from the package; those that only we have begin at nothing."""
    found = np.zeros(core.sizes["state"])
    for name, index in core.offsets["state"].items():
        found[index] = float(getattr(state, name, 0.0) or 0.0)
    return found


@cache
def maize_of(core: Core, year: int) -> Row:
    """Maize planted in that year: its crop, its state at planting, its management by external depths.

    Planting day, weather and soil leave no trace in these arrays; profile, soil and water are a sandy loam's.
    """
    return row_of(core, _maize_model("SandyLoam", year))


def crop_of(core: Core, year: int, variety: Variety, sown_late_d: int) -> Array:
    """The crop array (C,) of that maize in that year: the package's own account of its calendar, in a moment."""
    own = maize_of(core, year).crop
    if variety == MAIZE and sown_late_d == 0:
        return own
    crop, found, at = crop_with(_PLANTING, variety, sown_late_d), own.copy(), core.offsets["crop"]
    _compute_crop_calendar()(crop, [_PLANTING], None, None, None, None)  # by days: it looks at no weather
    for name in (*variety.parameters(sown_late_d), *_OF_THE_CALENDAR):
        if name in at:
            found[at[name]] = getattr(crop, name)
    found[at["p_up"] : at["p_up"] + len(crop.p_up)] = crop.p_up
    c3_share, own_c3_share = ((_C4_G_M2 - wp) / (_C4_G_M2 - _C3_G_M2) for wp in (crop.WP, own[at["WP"]]))
    found[at["fCO2"]] = 1.0 + (own[at["fCO2"]] - 1.0) * c3_share / own_c3_share
    return found


@cache
def _compute_crop_calendar() -> Any:
    from aquacrop.initialize.compute_crop_calendar import compute_crop_calendar

    return compute_crop_calendar


@cache
def soil_class(core: Core, soil: str, is_deep: bool = False) -> SoilClass:
    """That soil under maize; a deep one for roots that reach beyond AquaCrop's own.

    Raises:
        DataError: the package knows no such soil.
    """
    model = _maize_model(soil, _ANY_YEAR, Variety(ROOTS_OF_DEEP_PROFILE_M) if is_deep else MAIZE)
    row, layer = row_of(core, model), model._param_struct.Soil.Hydrology.iloc[0]
    profile = model._param_struct.Soil.Profile
    middles_m = np.asarray(profile.dzsum, dtype=np.float64) - np.asarray(profile.dz) / 2
    return SoilClass(row.profile, row.soil, middles_m, float(layer.th_wp), float(layer.th_fc))


def _maize_model(soil: str, year: int, variety: Variety = MAIZE) -> Any:
    """The package's own model of maize, set up under a weather that it does not look at."""
    import pandas as pd

    days = pd.date_range(date(year, 5, 1), periods=MAX_SEASON_DAYS + 1)
    weather = pd.DataFrame(
        {"MinTemp": 15.0, "MaxTemp": 28.0, "Precipitation": 2.0, "ReferenceET": 5.0, "Date": days}, index=None
    )
    return AquaCropSeason(weather, soil, date(year, 5, 1), 100.0, variety=variety)._model
