"""How wide the world is in which a model practises: what may differ from what a device is told, and how far.

Domain randomisation: a model that has only met fields that are as their records say trusts every record. The table is
the whole of it; docs/practice.md shows the same one. A share of the fields stays as the tables have them, so that a
model loses nothing where nothing is wrong.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDE_SHARE = 2 / 3  # of what-if fields; the others are as the tables have them
EACH_SHARE = 0.5  # of the wide ones that have a given range's departure: most have some, few have all


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


DELIVERED_SHARE = Range(
    "delivered_share",
    "water that arrives, of what the device notes and the grower pays",
    0.60,
    1.05,
    1.0,
    "1",
    "field evaluations of sprinklers and drip: Burt et al. 1997, J. Irrig. Drain. Eng. 123:423; meters off by 5 %",
)
GAUGE_FACTOR = Range(
    "gauge_factor",
    "rain that the gauge notes, of what fell",
    0.75,
    1.25,
    1.0,
    "1",
    "undercatch by wind and splash: WMO-No. 8, ch. 6; above 1 where showers are local",
)
FIELD_CAPACITY_FACTOR = Range(
    "field_capacity_factor",
    "field capacity told, of the true one",
    0.80,
    1.20,
    1.0,
    "1",
    "error of pedotransfer functions: Schaap et al. 2001, J. Hydrol. 251:163",
)
WILTING_POINT_FACTOR = Range(
    "wilting_point_factor",
    "wilting point told, of the true one",
    0.80,
    1.20,
    1.0,
    "1",
    "as field capacity",
)
START_WATER_PCT = Range(
    "start_water_pct",
    "water at planting, of total available water; told to half of the devices",
    20.0,
    110.0,
    math.nan,
    "%",
    "assumption: from after a dry winter to above field capacity",
)
RANGES = (DELIVERED_SHARE, GAUGE_FACTOR, FIELD_CAPACITY_FACTOR, WILTING_POINT_FACTOR, START_WATER_PCT)
_STREAM = 71  # a stream of its own, so that a field without departures is the same field


def drawn(count: int, seed: int, wide_share: float) -> dict[str, NDArray[np.float64]]:
    """Every range's values of `count` fields, (count,) by name; of those fields, `wide_share` may depart."""
    rng = np.random.default_rng([seed, _STREAM])
    is_wide = rng.random(count) < wide_share
    found = {}
    for one in RANGES:
        departs, value = rng.random(count) < EACH_SHARE, rng.uniform(one.low, one.high, count)
        found[one.name] = np.where(is_wide & departs, value, one.nominal)
    return found
