"""Many field-seasons of maize at once, in lockstep by day after planting; each can be branched mid-season.

`field_batch(plots)` compiles the installed AquaCrop with the nitrogen layer (compiled/) and steps thousands of fields
in milliseconds. Where that is not possible it steps the package's own `AquaCropSeason` behind the same interface,
hundreds of times slower, and says why in the log and in `why`. Sensors, equipment limits and prices are field.py's.
"""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldedge.system.errors import DataError
from fieldloop.workloads.agriculture.world.aquacrop_season import AquaCropSeason, CropDay
from fieldloop.workloads.agriculture.world.nitrogen import NitrogenBalance, NitrogenRates
from fieldloop.workloads.agriculture.world.plots import WEATHER_COLUMNS, Plot, check_future, checked, checked_amounts

Array = NDArray[np.float64]
_log = logging.getLogger(__name__)


class FieldBatch(Protocol):
    """N field-seasons, all of them `day` days old; a finished one stays as it is while the others live on.

    Arrays are (N,) unless said otherwise, and of the last day lived. Before the first day fluxes are 0 and weather is
    NaN, while water, depletion and total available water are those of planting.
    """

    @property
    def size(self) -> int:
        """N."""

    @property
    def day(self) -> int:
        """Days lived so far."""

    @property
    def why(self) -> str | None:
        """Why the package itself is stepped, slowly; None for the compiled core."""

    @property
    def is_finished(self) -> NDArray[np.bool_]:
        """Whose crop is ripe or dead."""

    def step(self, irrigation_mm: Array, nitrogen_kg_ha: Array) -> None:
        """Live through one day with those gross irrigations and nitrogen doses (N,).

        Raises:
            DataError: an amount is negative or no number, or an unfinished row has no more weather.
        """

    def branch(self, rows: NDArray[np.int64]) -> "FieldBatch":
        """A batch of copies of these rows, which may repeat; neither ever changes the other."""

    def replace_weather(self, weather: Array) -> None:
        """Set the weather still to come, (N, D, 4): its first day is the one that the next step lives through.

        Raises:
            DataError: another shape, or a value that no weather has.
        """

    @property
    def weather(self) -> Array:
        """The day's `WEATHER_COLUMNS`, (N, 4)."""

    @property
    def water_m3_m3(self) -> Array:
        """Volumetric water by compartment, downwards, (N, K)."""

    @property
    def compartment_middles_m(self) -> Array:
        """Depth of the middle of each compartment, (N, K)."""

    @property
    def canopy_cover(self) -> Array:
        """Fraction of the soil that leaves cover."""

    @property
    def root_depth_m(self) -> Array:
        """Depth of the roots."""

    @property
    def biomass_t_ha(self) -> Array:
        """Dry shoot biomass so far."""

    @property
    def yield_t_ha(self) -> Array:
        """Dry grain so far; the harvest once finished."""

    @property
    def irrigation_mm(self) -> Array:
        """Gross irrigation so far."""

    @property
    def deep_percolation_mm(self) -> Array:
        """Water that left the profile downwards on that day."""

    @property
    def transpiration_mm(self) -> Array:
        """The crop's transpiration of that day."""

    @property
    def potential_transpiration_mm(self) -> Array:
        """What it would have been without water stress."""

    @property
    def depletion_mm(self) -> Array:
        """Root-zone depletion in the evening (FAO-56 eq. 82)."""

    @property
    def taw_mm(self) -> Array:
        """Total available water of the root zone in the evening."""

    @property
    def growth_stage(self) -> NDArray[np.int64]:
        """AquaCrop's stage for irrigation, 1 to 4; 0 before the first day."""

    @property
    def nni(self) -> Array:
        """Nitrogen nutrition index: uptake over critical uptake."""

    @property
    def mineral_nitrogen_kg_ha(self) -> Array:
        """The soil's mineral pool."""

    @property
    def nitrogen_uptake_kg_ha(self) -> Array:
        """Taken up so far."""

    @property
    def leached_kg_ha(self) -> Array:
        """Leached so far."""

    @property
    def nitrogen_kg_ha(self) -> Array:
        """Applied so far."""


def field_batch(plots: Sequence[Plot], threads: int | None = None) -> FieldBatch:
    """A batch of those plots at planting, compiled where the installed packages allow it.

    Args:
        plots: any number of them, from any regions and years.
        threads: among how many threads the rows are divided, and those of its branches; by default, the cores that
            this process may use.

    Raises:
        DataError: a plot's weather or soil cannot be used.
    """
    from fieldloop.workloads.agriculture.world.compiled import store

    checked(plots)
    if (why := store.why_not()) is not None:
        _log_once(why)
        return PackageBatch.of(plots, why)
    from fieldloop.workloads.agriculture.world.compiled.batch import CompiledBatch

    return CompiledBatch.of(plots, threads)


@cache
def _log_once(why: str) -> None:
    _log.warning("fields are simulated by the aquacrop package itself, slowly: %s", why)


class PackageBatch:
    """See `FieldBatch`, which this is: the package's own seasons, one object each, copied to branch."""

    def __init__(self, fields: "list[_PackageField]", day: int, why: str) -> None:
        self._fields, self._day, self.why = fields, day, why

    @classmethod
    def of(cls, plots: Sequence[Plot], why: str) -> "PackageBatch":
        """Those plots at planting; they have been checked."""
        return cls([_PackageField.of(plot) for plot in plots], 0, why)

    @property
    def size(self) -> int:
        return len(self._fields)

    @property
    def day(self) -> int:
        return self._day

    @property
    def is_finished(self) -> NDArray[np.bool_]:
        return np.array([field.season.is_finished for field in self._fields])

    def step(self, irrigation_mm: Array, nitrogen_kg_ha: Array) -> None:
        irrigation_mm = checked_amounts(irrigation_mm, "irrigation_mm", self.size)
        nitrogen_kg_ha = checked_amounts(nitrogen_kg_ha, "nitrogen_kg_ha", self.size)
        growing = [index for index, field in enumerate(self._fields) if not field.season.is_finished]
        if any(self._day >= self._fields[index].days_known for index in growing):
            raise DataError(f"no weather for day {self._day}: the last one known is day {self._day - 1}")
        for index in growing:
            self._fields[index].step(float(irrigation_mm[index]), float(nitrogen_kg_ha[index]))
        self._day += 1

    def branch(self, rows: NDArray[np.int64]) -> "PackageBatch":
        return PackageBatch([copy.deepcopy(self._fields[row]) for row in np.asarray(rows)], self._day, self.why)

    def replace_weather(self, weather: Array) -> None:
        check_future(weather, self.size)
        for field, future in zip(self._fields, weather, strict=True):
            field.replace_weather(self._day, future)

    @property
    def weather(self) -> Array:
        unknown = (np.nan,) * len(WEATHER_COLUMNS)
        days = (field.last_day for field in self._fields)
        return np.array([(d.tmin_c, d.tmax_c, d.rain_mm, d.et0_mm) if d else unknown for d in days])

    @property
    def water_m3_m3(self) -> Array:
        return np.array([field.state.th for field in self._fields])

    @property
    def compartment_middles_m(self) -> Array:
        return np.array([field.season.compartment_middles_m for field in self._fields])

    @property
    def canopy_cover(self) -> Array:
        return np.array([float(field.state.canopy_cover) for field in self._fields])

    @property
    def root_depth_m(self) -> Array:
        return np.array([float(field.state.z_root) for field in self._fields])

    @property
    def biomass_t_ha(self) -> Array:
        return np.array([float(field.state.biomass) for field in self._fields]) / 100.0  # AquaCrop's g/m2

    @property
    def yield_t_ha(self) -> Array:
        return np.array([float(field.state.DryYield) for field in self._fields])

    @property
    def irrigation_mm(self) -> Array:
        return np.array([field.irrigation_mm for field in self._fields])

    @property
    def deep_percolation_mm(self) -> Array:
        return self._of_day("deep_percolation_mm")

    @property
    def transpiration_mm(self) -> Array:
        return self._of_day("transpiration_mm")

    @property
    def potential_transpiration_mm(self) -> Array:
        return self._of_day("potential_transpiration_mm")

    @property
    def depletion_mm(self) -> Array:
        return np.array([field.season.root_zone_mm()[0] for field in self._fields])

    @property
    def taw_mm(self) -> Array:
        return np.array([field.season.root_zone_mm()[1] for field in self._fields])

    @property
    def growth_stage(self) -> NDArray[np.int64]:
        return np.array([field.season.growth_stage for field in self._fields], dtype=np.int64)

    @property
    def nni(self) -> Array:
        return np.array([field.nitrogen.nni for field in self._fields])

    @property
    def mineral_nitrogen_kg_ha(self) -> Array:
        return np.array([field.nitrogen.mineral_kg_ha for field in self._fields])

    @property
    def nitrogen_uptake_kg_ha(self) -> Array:
        return np.array([field.nitrogen.uptake_kg_ha for field in self._fields])

    @property
    def leached_kg_ha(self) -> Array:
        return np.array([field.nitrogen.leached_kg_ha for field in self._fields])

    @property
    def nitrogen_kg_ha(self) -> Array:
        return np.array([field.nitrogen.applied_kg_ha for field in self._fields])

    def _of_day(self, name: str) -> Array:
        return np.array([getattr(field.last_day, name) if field.last_day else 0.0 for field in self._fields])


@dataclass
class _PackageField:
    """One season of the package with its nitrogen; weather is known for `days_known` days from planting."""

    season: AquaCropSeason
    nitrogen: NitrogenBalance
    is_nitrogen_limited: bool
    days_known: int
    irrigation_mm: float = 0.0
    last_day: CropDay | None = None

    @classmethod
    def of(cls, plot: Plot) -> "_PackageField":
        season = AquaCropSeason(
            _frame(plot),
            plot.soil,
            plot.planting_date,
            plot.initial_water_pct,
            plot.application_efficiency,
            plot.variety,
            plot.sown_late_d,
        )
        rates = NitrogenRates(mineralised_at_20c_kg_ha_d=plot.mineralised_at_20c_kg_ha_d)
        nitrogen = NitrogenBalance(season.soil_water, plot.initial_nitrogen_kg_ha, rates)
        return cls(season, nitrogen, plot.is_nitrogen_limited, len(plot.weather))

    @property
    def state(self) -> Any:
        """The package's own state."""
        return self.season._model._init_cond

    def step(self, irrigation_mm: float, nitrogen_kg_ha: float) -> None:
        factor = self.nitrogen.growth_factor if self.is_nitrogen_limited else 1.0
        self.last_day = self.season.step(irrigation_mm, factor)
        self.nitrogen.step(self.last_day, nitrogen_kg_ha)
        self.irrigation_mm += irrigation_mm

    def replace_weather(self, day: int, future: Array) -> None:
        known = self.season._model._weather
        days = min(len(future), len(known) - day)
        known[day : day + days, : len(WEATHER_COLUMNS)] = future[:days]
        self.days_known = day + len(future)


def _frame(plot: Plot) -> Any:
    """The plot's weather as the package reads it."""
    import pandas as pd

    frame = pd.DataFrame(plot.weather, columns=["MinTemp", "MaxTemp", "Precipitation", "ReferenceET"])
    frame["Date"] = pd.date_range(plot.planting_date, periods=len(frame))
    return frame
