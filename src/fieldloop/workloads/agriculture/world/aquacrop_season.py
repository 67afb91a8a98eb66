"""One AquaCrop season of maize, stepped from outside: each day, water in; the day's fluxes and state out.

The package is the published one, unchanged but for speed: half of its time goes into the built-in `round` on numpy
scalars, so its modules get a `round` that casts first. Yields are the same (`test_aquacrop_season.py` says so). What
limits growth besides water comes in as a factor on water productivity; the nitrogen that sets it lives in nitrogen.py.
"""

import builtins
import sys
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from fieldedge.system.errors import DataError
from fieldloop.workloads.agriculture.world.climate import MAX_SEASON_DAYS
from fieldloop.workloads.agriculture.world.variety import MAIZE, Variety

CROP = "Maize"
EFFECTIVELY_UNLIMITED_MM = 1e6

_FLUX_IRRIGATION, _FLUX_DEEP_PERCOLATION, _FLUX_TRANSPIRATION, _FLUX_POTENTIAL_TRANSPIRATION = 6, 9, 15, 16


@dataclass(frozen=True)
class SoilWater:
    """A soil's volumetric water contents, m3/m3."""

    wilting_point_m3_m3: float
    field_capacity_m3_m3: float
    saturation_m3_m3: float


@dataclass(frozen=True)
class CropDay:
    """What one day did, and the state in the evening. `water_m3_m3` is by soil compartment, downwards."""

    date: date
    tmin_c: float
    tmax_c: float
    rain_mm: float
    et0_mm: float
    irrigation_mm: float
    deep_percolation_mm: float
    transpiration_mm: float
    potential_transpiration_mm: float
    water_m3_m3: NDArray[np.float64]
    root_depth_m: float
    canopy_cover: float
    biomass_t_ha: float


class AquaCropSeason:
    """A season from planting to maturity or death of the crop.

    `weather` starts on the planting day; the crop may have been sown so many days after it, or before it where that is
    negative. Irrigation is gross: the soil receives it times the application efficiency.
    """

    def __init__(
        self,
        weather: Any,
        soil: str,
        planting_date: date,
        initial_water_pct: float,
        application_efficiency: float = 1.0,
        variety: Variety = MAIZE,
        sown_late_d: int = 0,
    ) -> None:
        self._model = _initialised(
            weather, soil, planting_date, initial_water_pct, application_efficiency, variety, sown_late_d
        )
        self._crop = self._model._param_struct.Seasonal_Crop_List[0]
        self._water_productivity = float(self._crop.WP)
        self._planting_date = planting_date
        self._days = 0
        profile = self._model._param_struct.Soil.Profile
        self.soil_water = SoilWater(float(profile.th_wp[0]), float(profile.th_fc[0]), float(profile.th_s[0]))
        bottoms = np.asarray(profile.dzsum, dtype=np.float64)
        self.compartment_middles_m: NDArray[np.float64] = bottoms - np.asarray(profile.dz) / 2

    @property
    def date(self) -> date:
        """The day that the next step lives through; after the end, the day after the last one."""
        return self._planting_date + timedelta(days=self._days)

    @property
    def is_finished(self) -> bool:
        return bool(self._model._clock_struct.model_is_finished)

    @property
    def yield_t_ha(self) -> float:
        """Dry grain, t/ha. Raises DataError before the end: there is no harvest yet."""
        if not self.is_finished:
            raise DataError(f"the crop planted on {self._planting_date} is not ripe on {self.date}")
        return float(self._model._outputs.final_stats["Dry yield (tonne/ha)"].iloc[0])

    @property
    def growth_stage(self) -> int:
        """AquaCrop's stage for irrigation: 1 to 10 % cover, 2 to full cover, 3 to senescence, 4 after."""
        return int(self._model._init_cond.growth_stage)

    def step(self, irrigation_mm: float, growth_factor: float = 1.0) -> CropDay:
        """Live through one day with that gross irrigation; `growth_factor` (0-1) scales water productivity."""
        if self.is_finished:
            raise DataError(f"the season planted on {self._planting_date} ended on {self.date}")
        self._model._param_struct.IrrMngt.depth = irrigation_mm
        self._crop.WP = self._water_productivity * growth_factor
        day = self._days
        with np.errstate(all="ignore"):
            self._model.run_model(initialize_model=False)
        self._days += 1
        return self._day_done(day)

    def root_zone_mm(self) -> tuple[float, float]:
        """Depletion and total available water of the root zone this evening, mm (FAO-56 eq. 82)."""
        from aquacrop.solution.root_zone_water import root_zone_water

        soil, state = self._model._param_struct.Soil, self._model._init_cond
        water = root_zone_water(
            soil.Profile, float(state.z_root), state.th, soil.z_top, float(self._crop.Zmin), self._crop.Aer
        )
        return float(water[2]), float(water[4])

    def _day_done(self, day: int) -> CropDay:
        state, weather = self._model._init_cond, self._model._weather[day]
        flux = np.asarray(self._model._outputs.water_flux)[day]
        return CropDay(
            date=self._planting_date + timedelta(days=day),
            tmin_c=float(weather[0]),
            tmax_c=float(weather[1]),
            rain_mm=float(weather[2]),
            et0_mm=float(weather[3]),
            irrigation_mm=float(flux[_FLUX_IRRIGATION]),
            deep_percolation_mm=float(flux[_FLUX_DEEP_PERCOLATION]),
            transpiration_mm=float(flux[_FLUX_TRANSPIRATION]),
            potential_transpiration_mm=float(flux[_FLUX_POTENTIAL_TRANSPIRATION]),
            water_m3_m3=state.th.copy(),
            root_depth_m=float(state.z_root),
            canopy_cover=float(state.canopy_cover),
            biomass_t_ha=float(state.biomass) / 100.0,  # AquaCrop's g/m2
        )


@cache
def soil_water(soil: str) -> SoilWater:
    """AquaCrop's own hydraulic values of that soil class.

    Raises:
        DataError: the package knows no such soil.
    """
    layer = _soil(soil).profile.iloc[0]
    return SoilWater(float(layer.th_wp), float(layer.th_fc), float(layer.th_s))


@cache
def crop_root_depth_max_m() -> float:
    """How deep AquaCrop's maize roots."""
    return float(_package().Crop(CROP, planting_date="05/01").Zmax)


def crop_with(planting_date: date, variety: Variety, sown_late_d: int = 0) -> Any:
    """The package's crop of that variety."""
    return _package().Crop(CROP, planting_date=f"{planting_date:%m/%d}", **variety.parameters(sown_late_d))


def _initialised(
    weather: Any,
    soil: str,
    planting_date: date,
    water_pct: float,
    efficiency: float,
    variety: Variety,
    sown_late_d: int,
) -> Any:
    package = _package()
    end = planting_date + timedelta(days=MAX_SEASON_DAYS)
    model = package.AquaCropModel(
        f"{planting_date:%Y/%m/%d}",
        f"{end:%Y/%m/%d}",
        weather,
        _soil(soil, variety.profile_m),
        crop_with(planting_date, variety, sown_late_d),
        package.InitialWaterContent(wc_type="Pct", value=[water_pct]),
        irrigation_management=package.IrrigationManagement(
            irrigation_method=5, AppEff=100.0 * efficiency, MaxIrr=EFFECTIVELY_UNLIMITED_MM
        ),
    )
    with np.errstate(all="ignore"):
        model._initialize()
    return model


def _soil(name: str, profile_m: tuple[float, ...] = MAIZE.profile_m) -> Any:
    package = _package()
    if name not in package.soil_names:
        raise DataError(f"AquaCrop has no soil {name!r}; it has {', '.join(package.soil_names)}")
    return package.Soil(name, dz=list(profile_m))


@dataclass(frozen=True)
class _Package:
    AquaCropModel: Any
    Crop: Any
    InitialWaterContent: Any
    IrrigationManagement: Any
    Soil: Any
    soil_names: tuple[str, ...] = (
        *("Sand", "LoamySand", "SandyLoam", "Loam", "SiltLoam", "Silt", "SandyClayLoam", "ClayLoam"),
        *("SiltClayLoam", "SandyClay", "SiltClay", "Clay"),
    )


@cache
def _package() -> _Package:
    """The package's classes, loaded once and made fast. It takes most of a second, so nothing loads it on import."""
    # From the modules themselves: the package's __init__ imports nothing when `-m` stands on the command line.
    from aquacrop.core import AquaCropModel
    from aquacrop.entities.crop import Crop
    from aquacrop.entities.inititalWaterContent import InitialWaterContent
    from aquacrop.entities.irrigationManagement import IrrigationManagement
    from aquacrop.entities.soil import Soil

    for name, module in list(sys.modules.items()):
        if name.startswith("aquacrop.") and module is not None:
            module.round = _round  # type: ignore[attr-defined]  # shadows the built-in for that module alone
    return _Package(AquaCropModel, Crop, InitialWaterContent, IrrigationManagement, Soil)


def _round(number: SupportsFloat, ndigits: int | None = None) -> Any:
    """The built-in `round`, ten times faster on numpy scalars because it casts them to Python's float first."""
    plain: Any = float(number) if type(number) is np.float64 else number
    return builtins.round(plain, ndigits)
