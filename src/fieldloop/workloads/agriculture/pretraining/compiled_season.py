"""The device's own season, compiled over many fields at once: the functions are fieldedge's, none is written anew.

Never imported from here: many_fields.py keeps a copy in a folder named by the hash of all that goes into it, and numba
keeps what it compiled beside the copy. (numba's cache sees changes in one file only.)
"""

import inspect

from numba import njit
from numba.extending import register_jitable

from fieldedge.workloads.agriculture import (
    agronomy,
    canopy,
    evidence,
    features,
    probes,
    season,
    sensitivity,
    water_balance,
)

for _module in (agronomy, water_balance, sensitivity, canopy, evidence, probes, season):
    for _function in vars(_module).values():
        if inspect.isfunction(_function) and _function.__module__ == _module.__name__:
            register_jitable(_function)
register_jitable(features.read_features)


@njit(cache=True, nogil=True)
def start_rows(values, fields, first, last):  # type: ignore[no-untyped-def]  # numba gives the types
    for i in range(first, last):
        season.start_season(values[i], fields[i])


@njit(cache=True, nogil=True)
def advance_rows(values, fields, days, first, last):  # type: ignore[no-untyped-def]  # numba gives the types
    for i in range(first, last):
        season.advance(values[i], fields[i], days[i])


@njit(cache=True, nogil=True)
def read_rows(values, fields, forecasts, rows, first, last):  # type: ignore[no-untyped-def]  # numba gives the types
    for i in range(first, last):
        features.read_features(values[i], fields[i], forecasts[i], rows[i])


@njit(cache=True, nogil=True)
def weigh_rows(values, fields, found, first, last):  # type: ignore[no-untyped-def]  # numba gives the types
    for i in range(first, last):
        evidence.read_evidence(values[i], fields[i], found[i])
