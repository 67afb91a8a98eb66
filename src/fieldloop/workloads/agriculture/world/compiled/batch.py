"""Many field-seasons stepped in lockstep by the compiled core.

A batch holds one row of every state array per field; what rows share (crop, soil, weather) is held once and looked up,
so that a branch copies only states. Rows never touch each other: threads divide them, and the result is the same.
"""

import os
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fieldedge.system.errors import DataError
from fieldloop.workloads.agriculture.world.compiled.extraction import Array, SoilClass, crop_of, maize_of, soil_class
from fieldloop.workloads.agriculture.world.compiled.store import Core, core
from fieldloop.workloads.agriculture.world.nitrogen import NitrogenRates
from fieldloop.workloads.agriculture.world.plots import Plot, check_future, checked_amounts

Indices = NDArray[np.int64]
_ROWS_A_THREAD = 64  # fewer are done before another thread has started


@dataclass(frozen=True, eq=False)
class Shared:
    """What rows have in common and no step changes: (U, ...) tables, each with its own U."""

    crops: Array
    profiles: Array
    soils: Array
    middles_m: Array


@dataclass(frozen=True, eq=False)
class Rows:
    """What each row has of its own, (N, ...). `kinds` (N, 3) are its crop, its soil and its weather in the tables."""

    states: Array
    water_m3_m3: Array
    aeration_days: Array
    management: Array
    rates: Array
    kinds: Indices

    def copied(self, rows: Indices) -> "Rows":
        """Those rows, copied."""
        return Rows(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


class CompiledBatch:
    """See `FieldBatch`, which this is. `weathers` (U, D, 4) begins on day `first_day`."""

    why: str | None = None

    def __init__(
        self, core: Core, shared: Shared, rows: Rows, weathers: Array, first_day: int, day: int, threads: int
    ) -> None:
        self._core, self._shared, self._rows, self._threads = core, shared, rows, threads
        self._weathers, self._first_day, self._day = weathers, first_day, day
        self._names = core.offsets["state"]

    @classmethod
    def of(cls, plots: Sequence[Plot], threads: int | None = None) -> "CompiledBatch":
        """Those plots at planting; they have been checked."""
        compiled = core()
        shared, kinds = _shared(compiled, plots)
        weathers = _distinct([id(plot.weather) for plot in plots])
        days = min(len(plot.weather) for plot in plots)
        tables = np.array([plots[first].weather[:days] for first in weathers.first], np.float64, order="C")
        rows = _rows(compiled, plots, shared, np.column_stack([kinds, weathers.which]))
        batch = cls(compiled, shared, rows, tables, 0, 0, threads or len(os.sched_getaffinity(0)))
        batch._run(np.zeros(len(plots)), np.zeros(len(plots)), is_lived=False)
        return batch

    @property
    def size(self) -> int:
        return len(self._rows.states)

    @property
    def day(self) -> int:
        return self._day

    @property
    def is_finished(self) -> NDArray[np.bool_]:
        return self._rows.states[:, self._names["harvest_flag"]] > 0

    def step(self, irrigation_mm: Array, nitrogen_kg_ha: Array) -> None:
        irrigation_mm = checked_amounts(irrigation_mm, "irrigation_mm", self.size)
        self._run(irrigation_mm, checked_amounts(nitrogen_kg_ha, "nitrogen_kg_ha", self.size))
        self._day += 1

    def branch(self, rows: Indices) -> "CompiledBatch":
        chosen = np.asarray(rows)
        return CompiledBatch(
            self._core,
            self._shared,
            self._rows.copied(chosen),
            self._weathers,
            self._first_day,
            self._day,
            self._threads,
        )

    def replace_weather(self, weather: Array) -> None:
        check_future(weather, self.size)
        kinds = self._rows.kinds.copy()
        kinds[:, 2] = np.arange(self.size)
        self._rows = replace(self._rows, kinds=kinds)
        self._weathers = np.array(weather, dtype=np.float64, order="C")
        self._first_day = self._day

    @property
    def weather(self) -> Array:
        columns = [self._names[name] for name in ("temp_min", "temp_max", "precipitation", "et0")]
        return self._rows.states[:, columns] if self._day else np.full((self.size, 4), np.nan)

    @property
    def water_m3_m3(self) -> Array:
        return self._rows.water_m3_m3.copy()

    @property
    def compartment_middles_m(self) -> Array:
        return self._shared.middles_m[self._rows.kinds[:, 1]]

    @property
    def canopy_cover(self) -> Array:
        return self._state("canopy_cover")

    @property
    def root_depth_m(self) -> Array:
        return self._state("z_root")

    @property
    def biomass_t_ha(self) -> Array:
        return self._state("biomass") / 100.0  # AquaCrop's g/m2

    @property
    def yield_t_ha(self) -> Array:
        return self._state("DryYield")

    @property
    def irrigation_mm(self) -> Array:
        return self._state("irr_cum")

    @property
    def deep_percolation_mm(self) -> Array:
        return self._state("deep_percolation_mm")

    @property
    def transpiration_mm(self) -> Array:
        return self._state("transpiration_mm")

    @property
    def potential_transpiration_mm(self) -> Array:
        return self._state("potential_transpiration_mm")

    @property
    def depletion_mm(self) -> Array:
        return self._state("depletion_mm")

    @property
    def taw_mm(self) -> Array:
        return self._state("taw_mm")

    @property
    def growth_stage(self) -> Indices:
        return self._state("growth_stage").astype(np.int64)

    @property
    def nni(self) -> Array:
        return self._state("nni")

    @property
    def mineral_nitrogen_kg_ha(self) -> Array:
        return self._state("mineral_kg_ha")

    @property
    def nitrogen_uptake_kg_ha(self) -> Array:
        return self._state("uptake_kg_ha")

    @property
    def leached_kg_ha(self) -> Array:
        return self._state("leached_kg_ha")

    @property
    def nitrogen_kg_ha(self) -> Array:
        return self._state("applied_kg_ha")

    def _state(self, name: str) -> Array:
        return self._rows.states[:, self._names[name]].copy()

    def _run(self, irrigation_mm: Array, nitrogen_kg_ha: Array, is_lived: bool = True) -> None:
        """Take every row through a day, each thread a stretch of them."""
        day = self._day - self._first_day
        if day >= self._weathers.shape[1] and not self.is_finished.all():
            raise DataError(f"no weather for day {self._day}: the last one known is day {self._day - 1}")
        day = min(day, self._weathers.shape[1] - 1)
        rows, shared = self._rows, self._shared
        tables = (rows.states, rows.water_m3_m3, rows.aeration_days, shared.crops, shared.profiles, shared.soils)
        own = (rows.management, rows.rates, rows.kinds, self._weathers, irrigation_mm, nitrogen_kg_ha)
        parts = max(1, min(self._threads, self.size // _ROWS_A_THREAD))
        bounds = [self.size * part // parts for part in range(parts + 1)]
        if parts == 1:
            self._core.live_rows(0, self.size, is_lived, day, *tables, *own)
            return
        work = [
            _pool(parts, os.getpid()).submit(self._core.live_rows, first, last, is_lived, day, *tables, *own)
            for first, last in pairwise(bounds)
        ]
        for one in work:
            one.result()


@dataclass(frozen=True)
class _Distinct:
    """The first index of each distinct value, in order of appearance, and which of them each index has."""

    first: list[int]
    which: list[int]


def _distinct(values: Sequence[Hashable]) -> _Distinct:
    places: dict[Hashable, int] = {}
    which = [places.setdefault(value, len(places)) for value in values]
    first: dict[int, int] = {}
    for index, place in enumerate(which):
        first.setdefault(place, index)
    return _Distinct(list(first.values()), which)


def _shared(core: Core, plots: Sequence[Plot]) -> tuple[Shared, Indices]:
    """The tables of those plots' crops and soils, and which of them are each plot's, (N, 2)."""
    crops = _distinct([(p.planting_date.year, p.variety, p.sown_late_d) for p in plots])
    soils = _distinct([(p.soil, p.variety.is_deep) for p in plots])
    classes = [_soil_class(core, plots[index]) for index in soils.first]
    tables = Shared(
        crops=np.stack([_crop(core, plots[index]) for index in crops.first]),
        profiles=np.stack([one.profile for one in classes]),
        soils=np.stack([one.soil for one in classes]),
        middles_m=np.stack([one.middles_m for one in classes]),
    )
    return tables, np.column_stack([crops.which, soils.which])


def _crop(core: Core, plot: Plot) -> Array:
    return crop_of(core, plot.planting_date.year, plot.variety, plot.sown_late_d)


def _soil_class(core: Core, plot: Plot) -> SoilClass:
    return soil_class(core, plot.soil, plot.variety.is_deep)


def _rows(core: Core, plots: Sequence[Plot], shared: Shared, kinds: Indices) -> Rows:
    """The plots' states and managements on planting day."""
    count, names = len(plots), core.offsets["state"]
    of_maize = maize_of(core, plots[0].planting_date.year)
    states, management = np.tile(of_maize.state, (count, 1)), np.tile(of_maize.management, (count, 1))
    rates = np.tile(_rates(core, NitrogenRates()), (count, 1))
    states[:, names["nni"]] = 1.0
    states[:, names["cc0_adj"]] = shared.crops[kinds[:, 0], core.offsets["crop"]["CC0"]]
    states[:, names["mineral_kg_ha"]] = [plot.initial_nitrogen_kg_ha for plot in plots]
    column = core.offsets["management"]
    management[:, column["AppEff"]] = [100.0 * plot.application_efficiency for plot in plots]
    management[:, column["days_max"]] += [plot.sown_late_d for plot in plots]
    management[:, column["is_nitrogen_limited"]] = [plot.is_nitrogen_limited for plot in plots]
    released = core.offsets["rates"]["mineralised_at_20c_kg_ha_d"]
    rates[:, released] = [plot.mineralised_at_20c_kg_ha_d for plot in plots]
    water = _initial_water(core, plots, shared.profiles.shape[2])
    return Rows(states, water, np.zeros_like(water), management, rates, kinds.astype(np.int64))


def _initial_water(core: Core, plots: Sequence[Plot], compartments: int) -> Array:
    """As read_model_initial_conditions.py does it, the same share of the available water all through the profile."""
    soils = [_soil_class(core, plot) for plot in plots]
    dry = np.array([soil.wilting_point_m3_m3 for soil in soils])
    moist = np.array([soil.field_capacity_m3_m3 for soil in soils])
    shares = np.array([plot.initial_water_pct for plot in plots]) / 100
    return np.repeat((dry + shares * (moist - dry))[:, None], compartments, axis=1)


def _rates(core: Core, rates: NitrogenRates) -> Array:
    values, found = asdict(rates), np.zeros(core.sizes["rates"])
    for name, index in core.offsets["rates"].items():
        found[index] = values[name]
    return found


def _middles_m(core: Core, profile: Array) -> Array:
    names = core.offsets["profile"]
    middles: Array = profile[names["dzsum"]] - profile[names["dz"]] / 2
    return middles


@cache
def _pool(threads: int, process_id: int) -> ThreadPoolExecutor:  # noqa: ARG001  # a fork has none of its parent's threads
    return ThreadPoolExecutor(threads, thread_name_prefix="field-batch")
