"""The slices in which maize fields are judged: by region, soil, start water, price and allowance; and by fault.

A slice is a choice of one band in one dimension, or in two. A dimension that a device knows is a condition on what it
was told of its field; a fault is what no device knows, and only has members. Bands are wide, so that a gate's few
hundred fields fill them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fieldedge.contract import Record
from fieldedge.inference.slices import Condition
from fieldedge.inference.slices import Slice as DeviceSlice
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldloop.workload import Array, Slice
from fieldloop.workloads.agriculture.pretraining.faults import Faults

Mask = NDArray[np.bool_]
Kind = Literal["feature", "context"]

COARSE, MEDIUM, FINE = (
    ("Sand", "LoamySand", "SandyLoam"),
    ("Loam", "SiltLoam", "Silt", "SandyClayLoam"),
    ("ClayLoam", "SiltClayLoam", "SandyClay", "SiltClay", "Clay"),
)
DRY_BELOW_PCT, MOIST_FROM_PCT = 60.0, 85.0  # of total available water, told at planting
CHEAP_BELOW_KG_MM, DEAR_FROM_KG_MM = 5.0, 11.0  # grain that pays for one millimetre: 0.9 and 2 USD at 180 USD/t
SHORT_BELOW_MM, AMPLE_FROM_MM = 160.0, 400.0  # the season's allowance


@dataclass(frozen=True)
class Band:
    """A part of one dimension, and how a device knows that its field is in it."""

    dimension: str
    name: str
    words: str
    where: tuple[Condition, ...]


def _of(dimension: str, kind: Kind, column: str, *bands: tuple[str, str, float | None, float | None]) -> list[Band]:
    """Bands of one number of what a device knows, each from its least value to below its end."""
    return [
        Band(dimension, name, words, (Condition(kind, column, least, below),)) for name, words, least, below in bands
    ]


SOILS = [
    Band("soil", name, f"on {name} soil", (Condition("context", "soil", one_of=soils),))
    for name, soils in (("coarse", COARSE), ("medium", MEDIUM), ("fine", FINE))
]
START_WATER = [
    *_of(
        "start_water",
        "context",
        "initial_water_pct",
        ("dry", "dry at planting", None, DRY_BELOW_PCT),
        ("half", "half full at planting", DRY_BELOW_PCT, MOIST_FROM_PCT),
        ("moist", "moist at planting", MOIST_FROM_PCT, None),
    ),
    Band(
        "start_water",
        "untold",
        "whose water at planting nobody told",
        (Condition("context", "initial_water_pct", one_of=(None,)),),
    ),
]
WATER_PRICE = _of(
    "water_price",
    "feature",
    "water_cost_kg_mm",
    ("cheap", "where water is cheap", None, CHEAP_BELOW_KG_MM),
    ("middle", "where water has a middle price", CHEAP_BELOW_KG_MM, DEAR_FROM_KG_MM),
    ("dear", "where water is dear", DEAR_FROM_KG_MM, None),
)
ALLOWANCE = _of(
    "allowance",
    "context",
    "water_allowance_mm",
    ("short", "with little water allowed", None, SHORT_BELOW_MM),
    ("limited", "with limited water allowed", SHORT_BELOW_MM, AMPLE_FROM_MM),
    ("ample", "with plenty of water allowed", AMPLE_FROM_MM, None),
)
ROOTS_TOLD_SHARE = (
    0.9  # of the least depth told to practice, and of the greatest its inverse: beyond, roots are untried
)
CROSSED = (  # the fewest that tell apart what was found to fail: dry starts, and water that is dear or short
    ("region", "soil"),
    ("region", "start_water"),
    ("region", "water_price"),
    ("start_water", "water_price"),
    ("water_price", "allowance"),
)


def slices_of(records: Sequence[Record], first_rows: Array, faults: Mapping[str, Mask] | None = None) -> list[Slice]:
    """Every slice with its members among N fields; which of them are too small is the gate's to say.

    Args:
        records: what the device of each field was told, rows of table `fields`.
        first_rows: the features of planting day (N, F), physical units.
        faults: by name in words ("the rain gauge is low"), the fields (N,) that have it.
    """
    known = _dimensions(records)
    counted = {band: _members(band, records, first_rows) for bands in known.values() for band in bands}
    found = [_crossed((band,), counted) for band in counted]
    for one, other in CROSSED:
        found += [_crossed(pair, counted) for pair in product(known[one], known[other])]
    hidden = [Slice(f"fault={name}", f"of which {name}", members) for name, members in (faults or {}).items()]
    return [*found, *hidden]


def untried_roots(told_m: Iterable[float]) -> tuple[DeviceSlice, ...]:
    """Fields whose roots are told as shallow, or as deep, as no what-if field's: how long to wait was learned on those.

    Args:
        told_m: the greatest root depths that the fields of practice were told.
    """
    depths = sorted(told_m)
    if not depths:
        return ()
    shallow_m, deep_m = round(ROOTS_TOLD_SHARE * depths[0], 2), round(depths[-1] / ROOTS_TOLD_SHARE, 2)
    column = "root_depth_max_m"
    return (
        DeviceSlice(
            "roots=shallower",
            f"whose crop roots less than {shallow_m:g} m deep",
            (Condition("context", column, below=shallow_m),),
        ),
        DeviceSlice(
            "roots=deeper",
            f"whose crop roots {deep_m:g} m deep or more",
            (Condition("context", column, minimum=deep_m),),
        ),
    )


def fault_members(faults: Faults) -> dict[str, Mask]:
    """By fault in words, the fields (N,) of which what is told is so far from the truth."""
    return {
        "less than 90 % of the irrigation arrives": faults.delivered_share < 0.9,
        "the rain gauge notes less than 90 %": faults.gauge_factor < 0.9,
        "the rain gauge notes more than 110 %": faults.gauge_factor > 1.1,
        "field capacity is told 10 % too low or more": faults.field_capacity_factor < 0.9,
        "field capacity is told 10 % too high or more": faults.field_capacity_factor > 1.1,
        "the crop was sown five days early or more": faults.sown_late_d <= -5.0,
        "the crop was sown five days late or more": faults.sown_late_d >= 5.0,
    }


def _dimensions(records: Sequence[Record]) -> dict[str, list[Band]]:
    regions = sorted({str(record["region"]) for record in records})
    places = [Band("region", name, f"in {name}", (Condition("context", "region", one_of=(name,)),)) for name in regions]
    return {
        "region": places,
        "soil": SOILS,
        "start_water": START_WATER,
        "water_price": WATER_PRICE,
        "allowance": ALLOWANCE,
    }


def _members(band: Band, records: Sequence[Record], rows: Array) -> Mask:
    held = [
        all(condition.holds(row, record, CONTRACT) for condition in band.where)
        for record, row in zip(records, rows, strict=True)
    ]
    return np.array(held, bool)


def _crossed(bands: Sequence[Band], counted: Mapping[Band, Mask]) -> Slice:
    return Slice(
        " and ".join(f"{band.dimension}={band.name}" for band in bands),
        " and ".join(band.words for band in bands),
        np.logical_and.reduce([counted[band] for band in bands]),
        tuple(condition for band in bands for condition in band.where),
    )
