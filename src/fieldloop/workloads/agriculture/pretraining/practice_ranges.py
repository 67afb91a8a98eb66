"""How wide the world is in which a model practises: what may differ from what a device is told, and how far.

Domain randomisation: a model that has only met fields that are as their records say trusts every record. The table is
the whole of it; docs/practice.md shows the same one. A share of the fields stays as the tables have them, so that a
model loses nothing where nothing is wrong.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldloop.workloads.agriculture.world.variety import MAIZE

WIDE_SHARE = 2 / 3  # of what-if fields; the others are as the tables have them
EACH_SHARE = 0.5  # of the wide ones that have a given departure: nearly all have some, few have all
_STREAM = 71  # a stream of its own, so that a field without departures is the same field
_AS_RECORDED = math.nan

_HSIAO = "around AquaCrop's own maize: Hsiao et al. 2009, Agron. J. 101:448"


@dataclass(frozen=True)
class Range:
    """What is drawn evenly between `low` and `high`; a field without the departure has `nominal`."""

    name: str
    what: str
    low: float
    high: float
    nominal: float  # NaN where it is the season's own
    unit: str
    source: str
    is_whole: bool = False


FAULTS = (
    Range(
        *("delivered_share", "water that arrives, of what the device notes and the grower pays", 0.60, 1.05, 1.0, "1"),
        "uneven and leaking equipment: Burt et al. 1997, J. Irrig. Drain. Eng. 123:423; above 1: a meter that is off",
    ),
    Range(
        *("gauge_factor", "rain that the gauge notes, of what fell", 0.75, 1.25, 1.0, "1"),
        "undercatch by wind and splash: WMO-No. 8, ch. 6; above 1: a shower that missed the field",
    ),
    Range(
        *("field_capacity_factor", "field capacity told, of the true one", 0.80, 1.20, 1.0, "1"),
        "error of pedotransfer functions: Schaap et al. 2001, J. Hydrol. 251:163",
    ),
    Range(
        *("wilting_point_factor", "wilting point told, of the true one", 0.80, 1.20, 1.0, "1"),
        "as field capacity",
    ),
    Range(
        *("sown_late_d", "days from the planting date that is told to the true one", -10.0, 10.0, 0.0, "d"),
        "assumption: a date that was planned, or entered for the whole farm",
        is_whole=True,
    ),
)
LAND = (
    Range(
        *("start_water_pct", "water at planting, of total available water", 20.0, 110.0, _AS_RECORDED, "%"),
        "assumption: from after a dry winter to above field capacity; told to half of the devices",
    ),
)
VARIETY = (
    Range(
        *("root_depth_max_m", "greatest root depth", 0.6, 2.5, MAIZE.root_depth_max_m, "m"),
        "maize 1.0 to 1.7 m by FAO-56, table 22; below: a layer that roots do not pass; above: AquaCrop's 2.3 m",
    ),
    Range(
        *("expansion_threshold", "depletion fraction from which leaves grow less", 0.05, 0.30),
        *(MAIZE.expansion_threshold, "1", _HSIAO),
    ),
    Range(
        *("stomata_threshold", "depletion fraction from which stomata close", 0.40, 0.75),
        *(MAIZE.stomata_threshold, "1", "from below FAO-56, table 22 (p = 0.55) to above AquaCrop's maize"),
    ),
    Range(
        *("canopy_growth_per_d", "relative growth of the canopy", 0.13, 0.19, MAIZE.canopy_growth_per_d, "1/d", _HSIAO),
    ),
    Range(
        *("water_productivity_g_m2", "normalised water productivity", 28.0, 37.0, MAIZE.water_productivity_g_m2),
        *("g/m2", "C4 crops 30 to 35 by AquaCrop's reference manual, and a little beyond"),
    ),
)
CLIMATE = (
    Range(
        *("warmer_c", "air temperature, above that on record", -2.0, 4.0, 0.0, "degC"),
        "assumption: a neighbouring climate, or this one by the middle of the century",
    ),
    Range(*("et0_factor", "reference evapotranspiration, of that on record", 0.85, 1.20, 1.0, "1"), "as the air"),
    Range(*("rain_factor", "rain, of that on record", 0.40, 1.40, 1.0, "1"), "as the air"),
    Range(
        *("blended_share", "another region's weather in the field's own", 0.0, 1.0, 0.0, "1"),
        "between two regions lie climates of which there is no record",
    ),
)
RANGES = (*FAULTS, *LAND, *VARIETY, *CLIMATE)


def drawn(count: int, seed: int, wide_share: float, sound_share: float = 0.0) -> dict[str, NDArray[np.float64]]:
    """Every range's values of `count` fields, (count,) by name; of those fields, `wide_share` may depart.

    Of these, `sound_share` depart in land and climate alone: nothing is told wrong, and the crop is the known one.

    With them come `chance`, evenly between 0 and 1: which region is blended in; and `is_wide`, 1 where one may depart.
    """
    rng = np.random.default_rng([seed, _STREAM])
    is_wide = rng.random(count) < wide_share
    found = {"chance": rng.random(count), "is_wide": is_wide.astype(np.float64)}
    for one in RANGES:
        departs, value = rng.random(count) < EACH_SHARE, rng.uniform(one.low, one.high, count)
        found[one.name] = np.where(is_wide & departs, np.round(value) if one.is_whole else value, one.nominal)
    is_sound = rng.random(count) < sound_share
    for one in (*FAULTS, *VARIETY):
        found[one.name] = np.where(is_sound, one.nominal, found[one.name])
    return found


def table() -> str:
    """The ranges as a table in Markdown."""
    lines = ["| name | what | from | to | else | unit | source |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for one in RANGES:
        nominal = "as recorded" if math.isnan(one.nominal) else f"{one.nominal:g}"
        lines.append(
            f"| `{one.name}` | {one.what} | {one.low:g} | {one.high:g} | {nominal} | {one.unit} | {one.source} |"
        )
    return "\n".join(lines)
