"""Does the crop do what was foretold? A running check of the season, from what flights see, folded day by day.

The balance foretells each day's canopy; a flight sees it. How far the two lie apart, in standard deviations of what is
usual, is summed up over the season, older flights counting less. Where crop, soil and sowing day are as the device was
told the sum stays small; where the crop lags, it grows, whatever the cause is. The model waits as long as such a crop
endures, so the less the crop does what was foretold, the more its advice leans on the FAO-56 rule (decision.py). The
rule gives more water than the model: where water is dear a false alarm costs more, and more is asked of the evidence.
Plain functions over the arrays of layout.py, which the cloud compiles.
"""

import math
from collections.abc import MutableSequence, Sequence
from typing import NamedTuple

from fieldedge.workloads.agriculture.layout import (
    CANOPY,
    CANOPY_FLIGHTS,
    CANOPY_SURPRISE,
    DAY_NDVI,
    WATER_COST_KG_MM,
)

COVER_PER_NDVI, COVER_AT_NDVI_0 = 1.26, -0.18  # Johnson & Trout 2012 (doi:10.3390/rs4020439)
COVER_SD = 0.03  # of a flight's cover and the balance's, where the canopy stands still
BARE_COVER = 0.1  # below it, foretold, a flight sees the soil: what that looks like says nothing of the crop
TIMING_SD_D = 1.5  # a crop is that many days ahead or behind, and nothing is wrong
SURPRISE_MAX = 2.4  # standard deviations that one flight counts for: a bad picture alone condemns nothing
HALF_LIFE_D = 60.0
USUAL_SD, STRANGE_SD = 1.0, 2.5  # up to the first the model is trusted fully, from the second not at all
REFERENCE_COST_KG_MM = 1000.0 / 180.0  # 1 USD/mm at 180 USD/t: there those two hold
COST_EXPONENT, COST_SPAN = 0.25, (0.2, 6.0)  # by how much they grow with the price of water, of that one
EVIDENCE_VALUES = 2


class Evidence(NamedTuple):
    """How far the model is to be trusted, 0 to 1, and the canopy's surprise in standard deviations: below 0 it lags."""

    trust: float
    canopy: float


NOTHING_SEEN = Evidence(1.0, 0.0)


def weigh_canopy(state: MutableSequence[float], canopy_before: float, day: Sequence[float]) -> None:
    """Take in a day: `canopy_before` is the balance's canopy of the day before."""
    kept = math.pow(0.5, 1.0 / HALF_LIFE_D)
    state[CANOPY_SURPRISE] *= kept
    state[CANOPY_FLIGHTS] *= kept * kept
    if math.isnan(day[DAY_NDVI]) or state[CANOPY] < BARE_COVER:
        return
    timing = TIMING_SD_D * (state[CANOPY] - canopy_before)
    seen = COVER_PER_NDVI * day[DAY_NDVI] + COVER_AT_NDVI_0
    surprise = (seen - state[CANOPY]) / math.sqrt(COVER_SD**2 + timing**2)
    state[CANOPY_SURPRISE] += min(max(surprise, -SURPRISE_MAX), SURPRISE_MAX)
    state[CANOPY_FLIGHTS] += 1.0


def read_evidence(state: Sequence[float], field: Sequence[float], found: MutableSequence[float]) -> None:
    """Write the values of `Evidence`. A sum of independent surprises is divided by its own standard deviation."""
    canopy = state[CANOPY_SURPRISE] / math.sqrt(max(state[CANOPY_FLIGHTS], 1.0))
    found[0], found[1] = _trust(canopy / asked_of(field)), canopy


def asked_of(field: Sequence[float]) -> float:
    """By how much more than at the price of reference a crop must surprise here."""
    cost = min(max(field[WATER_COST_KG_MM] / REFERENCE_COST_KG_MM, COST_SPAN[0]), COST_SPAN[1])
    return math.pow(cost, COST_EXPONENT)


def _trust(surprise: float) -> float:
    return min(max((STRANGE_SD - abs(surprise)) / (STRANGE_SD - USUAL_SD), 0.0), 1.0)
