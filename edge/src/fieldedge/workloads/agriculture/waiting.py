"""How long water may wait: the latest depletion at which it is given, whatever a model answers.

Up to the readily available water (RAW) no crop suffers; how much more this one endures, nobody has seen. So how far
past RAW a model may wait is bounded: by what is at stake, since where water is cheap little is saved and much may be
lost, and by how sure the device is of the water in the soil. Where an allowance cannot carry the crop to its end, every
trigger short of the end spends it too soon, and the bound gives way. A pure function of rows of features, so that a
policy learns under the bound that it will have on a device.
"""

import numpy as np

from fieldedge.workloads.agriculture.features import INDEX, Array

WATER_COST_KG_MM = 1000.0 / 180.0  # 1 USD/mm at 180 USD/t: there the wait past RAW is WAIT
WAIT = 0.11  # of TAW
COST_EXPONENT = 0.9  # dearer water is worth more waiting
COST_SPAN = (0.2, 6.0)  # of WATER_COST_KG_MM: beyond them nothing was tried
WAIT_IN_SCARCITY = 0.6  # of TAW more, where nothing is left of what the crop will lack
SURE_SD, UNSURE_SD = 0.08, 0.16  # of the profile's relative water: to the first the wait is full, from the second none

_WET_COLUMNS = [INDEX[f"wetness_{where}"] for where in ("15cm", "35cm", "75cm", "105cm", "deep")]
_STORED_M = np.array([0.25, 0.30, 0.35, 0.30, 1.10], np.float32)  # the thickness that each of them stands for
_USABLE_SHARE = 0.6  # of the water stored in the profile
_RAIN_MM_D = 1.8
_MATURE_DAP = 132.0
_USUAL_ET0_MM_WEEK = 42.0
_NEED_DAP, _NEED_MM = (0.0, 40.0, 60.0, 80.0, 100.0, 120.0, 132.0), (560.0, 480.0, 370.0, 240.0, 110.0, 25.0, 0.0)


def latest_fraction(rows: Array) -> Array:
    """The depletion of the root zone, as a share of TAW, from which water is given at the latest (N,).

    `rows` (N, F) are features in physical units.
    """
    cost = _within(_column(rows, "water_cost_kg_mm") / WATER_COST_KG_MM, *COST_SPAN)
    sure = _within((UNSURE_SD - _column(rows, "water_uncertainty")) / (UNSURE_SD - SURE_SD), 0.0, 1.0)
    left = _column(rows, "allowance_left_mm") / np.maximum(_lacking_mm(rows), 1.0)
    scarcity = _within((1.0 - left).astype(np.float32), 0.0, 1.0)
    latest: Array = _column(rows, "raw_fraction") + WAIT * cost**COST_EXPONENT * sure + WAIT_IN_SCARCITY * scarcity
    return latest.astype(np.float32)


def _lacking_mm(rows: Array) -> Array:
    """Roughly what the crop will lack until maturity (N,): its need, less what the soil holds and usual rain."""
    dap = _column(rows, "dap")
    demand = _within(_column(rows, "et0_7d_mm") / _USUAL_ET0_MM_WEEK, 0.7, 1.4)
    wet_m = _within(rows[:, _WET_COLUMNS], 0.0, 1.0) @ _STORED_M
    storage = _column(rows, "field_capacity_m3_m3") - _column(rows, "wilting_point_m3_m3")
    rain_mm = _RAIN_MM_D * np.maximum(_MATURE_DAP - dap, 0.0)
    need_mm: Array = np.interp(dap, _NEED_DAP, _NEED_MM).astype(np.float32)
    lacking: Array = need_mm * demand - _USABLE_SHARE * 1000.0 * wet_m * storage - rain_mm
    return lacking


def _within(values: Array, low: float, high: float) -> Array:
    return np.minimum(np.maximum(values, low), high)  # clip takes ten times as long on one row


def _column(rows: Array, name: str) -> Array:
    column: Array = rows[:, INDEX[name]]
    return column
