"""A judge with other physics than AquaCrop's: maize in WOFOST 7.2 (the `pcse` package), behind `FieldBatch`.

Nothing learns from it. Light is intercepted and assimilated hour by hour, the soil is two buckets (rooted and below),
and stress follows from transpiration alone; so what a decider has learned of AquaCrop's ways does not help it here.
Crop parameters are files of the user's (github.com/ajwdewit/WOFOST_crop_parameters, EUPL), which no package carries.

Sources: WOFOST 7.2, de Wit et al. 2020 (wofost.readthedocs.io); radiation and vapour pressure that the climate records
lack, FAO-56 eq. 21, 48 and 50; open water and wet soil evaporate 1.05 and 1.10 times ET0 (FAO-56 tables 12 and 19).
"""

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from fieldedge.system.errors import ConfigError, DataError
from fieldedge.workloads.agriculture.agronomy import co2_ppm
from fieldedge.workloads.agriculture.layout import LAYER_THICKNESS_M, LAYER_TOP_M
from fieldloop.workloads.agriculture.world.aquacrop_season import CropDay, soil_water
from fieldloop.workloads.agriculture.world.nitrogen import NitrogenBalance, NitrogenRates
from fieldloop.workloads.agriculture.world.plots import Plot, check_future, checked, checked_amounts

Array = NDArray[np.float64]
VARIETY = "Grain_maize_204"
OPEN_WATER_KC, WET_SOIL_KC = 1.05, 1.10
HARGREAVES = 0.16  # FAO-56 eq. 50, inland
WIND_M_S = 2.0
AIR_M3_M3 = 0.06  # below it roots lack air
PERCOLATION_CM_D = 10.0
RIPE_DVS = 2.0
STAGE_ENDS_DVS = (0.2, 0.9, 1.6)  # 10 % cover, full cover, senescence: where AquaCrop's stages end
_MIDDLES_M = np.array([top + thick / 2 for top, thick in zip(LAYER_TOP_M, LAYER_THICKNESS_M, strict=True)])


@dataclass(frozen=True)
class WofostCrop:
    """A variety of a parameter file (`CropParameters` in WOFOST's own YAML), and how deep it may root here."""

    parameters: Mapping[str, Any]
    root_depth_max_m: float

    @classmethod
    def of(cls, file: Path, root_depth_max_m: float, variety: str = VARIETY) -> "WofostCrop":
        """From `maize.yaml`.

        Raises:
            ConfigError: the file or the variety is not there.
        """
        varieties = _varieties(file)
        if variety not in varieties:
            raise ConfigError(f"{file} has no variety {variety}; it has {', '.join(sorted(varieties))}")
        values = {name: said[0] for name, said in varieties[variety].items() if name != "Metadata"}
        return cls(values, root_depth_max_m)


@cache
def _varieties(file: Path) -> dict[str, Any]:
    try:
        varieties: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["CropParameters"]["Varieties"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} holds no crop parameters of WOFOST's ({error!r}); see this module's top") from error
    return varieties


class WofostBatch:
    """See `FieldBatch`, which this is. Growth feels no nitrogen: WOFOST 7.2 knows none, the balance is kept beside."""

    why = "WOFOST is stepped by the pcse package"

    def __init__(self, fields: "list[_Field]", day: int) -> None:
        self._fields, self._day = fields, day

    @classmethod
    def of(cls, plots: Sequence[Plot], crop: WofostCrop, latitude_deg: float) -> "WofostBatch":
        """Those plots at planting.

        Raises:
            ConfigError: `pcse` is not installed.
            DataError: a plot's weather or soil cannot be used.
        """
        checked(plots)
        return cls([_Field(plot, crop, latitude_deg) for plot in plots], 0)

    @property
    def size(self) -> int:
        return len(self._fields)

    @property
    def day(self) -> int:
        return self._day

    @property
    def is_finished(self) -> NDArray[np.bool_]:
        return np.array([field.is_finished for field in self._fields])

    def step(self, irrigation_mm: Array, nitrogen_kg_ha: Array) -> None:
        irrigation_mm = checked_amounts(irrigation_mm, "irrigation_mm", self.size)
        nitrogen_kg_ha = checked_amounts(nitrogen_kg_ha, "nitrogen_kg_ha", self.size)
        for index, field in enumerate(self._fields):
            if not field.is_finished:
                field.step(float(irrigation_mm[index]), float(nitrogen_kg_ha[index]))
        self._day += 1

    def branch(self, rows: NDArray[np.int64]) -> "WofostBatch":
        """As `FieldBatch.branch`: seasons are gone through again, because pcse's own cannot be copied."""
        return WofostBatch([self._fields[row].again() for row in np.asarray(rows)], self._day)

    def replace_weather(self, weather: Array) -> None:
        check_future(weather, self.size)
        for field, future in zip(self._fields, weather, strict=True):
            field.replace_weather(future)

    @property
    def weather(self) -> Array:
        return np.array([field.weather for field in self._fields])

    @property
    def water_m3_m3(self) -> Array:
        return np.array([field.water_m3_m3 for field in self._fields])

    @property
    def compartment_middles_m(self) -> Array:
        return np.tile(_MIDDLES_M, (self.size, 1))

    @property
    def canopy_cover(self) -> Array:
        return self._each("canopy_cover")

    @property
    def root_depth_m(self) -> Array:
        return self._each("root_depth_m")

    @property
    def biomass_t_ha(self) -> Array:
        return self._each("biomass_t_ha")

    @property
    def yield_t_ha(self) -> Array:
        return self._each("yield_t_ha")

    @property
    def irrigation_mm(self) -> Array:
        return self._each("irrigation_mm")

    @property
    def deep_percolation_mm(self) -> Array:
        return self._each("deep_percolation_mm")

    @property
    def transpiration_mm(self) -> Array:
        return self._each("transpiration_mm")

    @property
    def potential_transpiration_mm(self) -> Array:
        return self._each("potential_transpiration_mm")

    @property
    def depletion_mm(self) -> Array:
        return self._each("depletion_mm")

    @property
    def taw_mm(self) -> Array:
        return self._each("taw_mm")

    @property
    def growth_stage(self) -> NDArray[np.int64]:
        return np.array([field.growth_stage for field in self._fields], dtype=np.int64)

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

    def _each(self, name: str) -> Array:
        return np.array([float(getattr(field, name)) for field in self._fields])


class _Field:
    """One season of WOFOST, with the nitrogen beside it."""

    def __init__(self, plot: Plot, crop: WofostCrop, latitude_deg: float) -> None:
        self._plot, self._crop, self._latitude_deg = plot, crop, latitude_deg
        self._soil = soil_water(plot.soil)
        self._engine = _engine(plot, crop, latitude_deg)
        self._done: list[tuple[float, float]] = []
        self.nitrogen = NitrogenBalance(
            self._soil,
            plot.initial_nitrogen_kg_ha,
            NitrogenRates(mineralised_at_20c_kg_ha_d=plot.mineralised_at_20c_kg_ha_d),
        )
        self.irrigation_mm = 0.0
        self.deep_percolation_mm = self.transpiration_mm = self.potential_transpiration_mm = 0.0
        self.weather = np.full(4, np.nan)

    def again(self) -> "_Field":
        """The same season, gone through again up to here."""
        copy = _Field(self._plot, self._crop, self._latitude_deg)
        for irrigation_mm, nitrogen_kg_ha in self._done:
            copy.step(irrigation_mm, nitrogen_kg_ha)
        return copy

    def replace_weather(self, future: Array) -> None:
        day = len(self._done)
        self._plot = replace(self._plot, weather=np.concatenate([self._plot.weather[:day], future]))
        self._engine.use_weather(self._plot.weather)

    def step(self, irrigation_mm: float, nitrogen_kg_ha: float) -> None:
        day, engine = len(self._done), self._engine
        if day >= len(self._plot.weather):
            raise DataError(f"no weather for day {day}: the last one known is day {day - 1}")
        self.weather = self._plot.weather[day]
        fluxes = engine.live(irrigation_mm * self._plot.application_efficiency / 10.0)
        self.transpiration_mm, self.potential_transpiration_mm, self.deep_percolation_mm = (10.0 * f for f in fluxes)
        self.irrigation_mm += irrigation_mm
        self._done.append((irrigation_mm, nitrogen_kg_ha))
        self.nitrogen.step(self._as_day(), nitrogen_kg_ha)

    def _as_day(self) -> CropDay:
        """The day as the nitrogen balance reads it."""
        tmin_c, tmax_c, rain_mm, et0_mm = (float(value) for value in self.weather)
        return CropDay(
            date=self._plot.planting_date + timedelta(len(self._done) - 1),
            tmin_c=tmin_c,
            tmax_c=tmax_c,
            rain_mm=rain_mm,
            et0_mm=et0_mm,
            irrigation_mm=self._done[-1][0],
            transpiration_mm=self.transpiration_mm,
            potential_transpiration_mm=self.potential_transpiration_mm,
            deep_percolation_mm=self.deep_percolation_mm,
            root_depth_m=self.root_depth_m,
            canopy_cover=self.canopy_cover,
            biomass_t_ha=self.biomass_t_ha,
            water_m3_m3=self.water_m3_m3,
        )

    @property
    def is_finished(self) -> bool:
        return self._now("DVS") >= RIPE_DVS or len(self._done) >= len(self._plot.weather) - 1

    @property
    def growth_stage(self) -> int:
        return 0 if not self._done else 1 + sum(self._now("DVS") > end for end in STAGE_ENDS_DVS)

    @property
    def canopy_cover(self) -> float:
        """Beer's law, by the extinction of diffuse light."""
        return 1.0 - math.exp(-float(self._crop.parameters["KDIFTB"][1]) * self._now("LAI"))

    @property
    def root_depth_m(self) -> float:
        return self._now("RD") / 100.0

    @property
    def biomass_t_ha(self) -> float:
        return self._now("TAGP") / 1000.0

    @property
    def yield_t_ha(self) -> float:
        return self._now("TWSO") / 1000.0

    @property
    def water_m3_m3(self) -> Array:
        rooted, below = self._engine.buckets()
        water: Array = np.where(max(self.root_depth_m, 0.1) >= _MIDDLES_M, rooted, below)
        return water

    @property
    def depletion_mm(self) -> float:
        lacks = self._soil.field_capacity_m3_m3 - self._engine.buckets()[0]
        return float(min(max(1000.0 * lacks * max(self.root_depth_m, 0.1), 0.0), self.taw_mm))

    @property
    def taw_mm(self) -> float:
        span = self._soil.field_capacity_m3_m3 - self._soil.wilting_point_m3_m3
        return 1000.0 * span * max(self.root_depth_m, 0.1)

    def _now(self, name: str) -> float:
        value = self._engine.get_variable(name)
        return 0.0 if value is None else float(value)


def _engine(plot: Plot, crop: WofostCrop, latitude_deg: float) -> Any:
    """pcse's engine on the morning of planting."""
    _load_pcse()
    from pcse.base import ParameterProvider

    soil, depth_cm = soil_water(plot.soil), 100.0 * crop.root_depth_max_m
    stored_m3_m3 = (soil.field_capacity_m3_m3 - soil.wilting_point_m3_m3) * plot.initial_water_pct / 100.0
    of_soil = {
        "SMFCF": soil.field_capacity_m3_m3,
        "SM0": soil.saturation_m3_m3,
        "SMW": soil.wilting_point_m3_m3,
        "CRAIRC": AIR_M3_M3,
        "SOPE": PERCOLATION_CM_D,
        "KSUB": PERCOLATION_CM_D,
        "RDMSOL": depth_cm,
    }
    of_site = {
        **{"IFUNRN": 0, "NOTINF": 0.0, "SSMAX": 0.0, "SSI": 0.0, "CO2": co2_ppm(plot.planting_date.year)},
        **{"WAV": stored_m3_m3 * depth_cm, "SMLIM": soil.wilting_point_m3_m3 + stored_m3_m3},
    }
    of_crop = {**crop.parameters, "RDMCR": depth_cm}
    calendar = {
        **{"crop_name": "maize", "variety_name": "maize", "crop_start_date": plot.planting_date},
        **{"crop_start_type": "sowing", "crop_end_date": None, "crop_end_type": "maturity", "max_duration": 365},
    }
    management = [{plot.planting_date: {"CropCalendar": calendar, "TimedEvents": None, "StateEvents": None}}]
    parameters = ParameterProvider(cropdata=of_crop, soildata=of_soil, sitedata=of_site)
    return _engine_class()(parameters, _weather_class()(plot, latitude_deg), management)


@cache
def _load_pcse() -> None:
    """Import pcse, which sets up logging as it likes: loggers and handlers are off then, unless put back.

    The first time under an account it copies its settings there from a file that it leaves open.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    loggers = [one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    enabled = [one for one in loggers if not one.disabled]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            import pcse  # noqa: F401  # what is imported of it below sets up nothing more
    except ImportError as error:
        raise ConfigError('WOFOST needs the package pcse; install it with: pip install "fieldloop[wofost]"') from error
    finally:
        for added in set(root.handlers).difference(handlers):
            added.close()
        root.handlers[:] = handlers
        root.level = level
        for one in enabled:
            one.disabled = False


@cache
def _engine_class() -> type[Any]:
    """pcse's engine with its day cut where a decision comes: after the morning's state, before the day's rates."""
    from pcse import signals
    from pcse.engine import Engine

    class DayEngine(Engine):  # type: ignore[misc]  # pcse has no types
        config = "Wofost72_WLP_CWB.conf"
        _is_begun = False

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self._is_begun = True

        def calc_rates(self, day: date, drv: Any) -> None:
            if self._is_begun:  # the first day's wait for what is done in its morning
                super().calc_rates(day, drv)

        def live(self, irrigation_cm: float) -> tuple[float, float, float]:
            """One day; its transpiration, what that would have been with water enough, and what left below, cm."""
            if irrigation_cm > 0.0:
                self._send_signal(signals.irrigate, amount=irrigation_cm, efficiency=1.0)
            self.calc_rates(self.day, self.drv)  # type: ignore[has-type]
            crop = [self.get_variable(name) or 0.0 for name in ("TRA", "TRAMX")]
            lost = float(self.soil.rates.LOSS)
            self.day, delt = self.timer()
            self.integrate(self.day, delt)
            self.drv = self._get_driving_variables(self.day)
            self.agromanager(self.day, self.drv)
            return crop[0], crop[1], lost

        def buckets(self) -> tuple[float, float]:
            """The water of the rooted soil and of what lies below, m3/m3."""
            water, below_cm = self.soil.states, self.soil.RDM - self.soil.RDold
            return float(water.SM), float(water.WLOW / below_cm) if below_cm > 1.0 else float(water.SM)

        def use_weather(self, weather: Array) -> None:
            """Another weather from now on."""
            self.weatherdataprovider.weather = weather

    return DayEngine


@cache
def _weather_class() -> type[Any]:
    from pcse.base import WeatherDataContainer, WeatherDataProvider

    class PlotWeather(WeatherDataProvider):  # type: ignore[misc]
        def __init__(self, plot: Plot, latitude_deg: float) -> None:
            super().__init__()
            self.weather, self._first, self._latitude_deg = plot.weather, plot.planting_date, latitude_deg

        def __call__(self, day: date, *_: Any) -> Any:
            index = min((day - self._first).days, len(self.weather) - 1)
            tmin_c, tmax_c, rain_mm, et0_mm = (float(value) for value in self.weather[index])
            et0_cm = et0_mm / 10.0
            return WeatherDataContainer(
                LAT=self._latitude_deg,
                LON=0.0,
                ELEV=0.0,
                DAY=day,
                IRRAD=1e6 * radiation_mj_m2(day, self._latitude_deg, tmin_c, tmax_c),
                TMIN=tmin_c,
                TMAX=tmax_c,
                VAP=10.0 * vapour_pressure_kpa(tmin_c),
                RAIN=rain_mm / 10.0,
                WIND=WIND_M_S,
                E0=OPEN_WATER_KC * et0_cm,
                ES0=WET_SOIL_KC * et0_cm,
                ET0=et0_cm,
            )

    return PlotWeather


def vapour_pressure_kpa(tmin_c: float) -> float:
    """Actual vapour pressure where the air is saturated at the day's lowest temperature (FAO-56 eq. 48)."""
    return 0.6108 * math.exp(17.27 * tmin_c / (tmin_c + 237.3))


def radiation_mj_m2(day: date, latitude_deg: float, tmin_c: float, tmax_c: float) -> float:
    """Global radiation of a day by Hargreaves (FAO-56 eq. 50), from what the top of the air gets (eq. 21)."""
    latitude, angle = math.radians(latitude_deg), 2.0 * math.pi * day.timetuple().tm_yday / 365.0
    nearness, declination = 1.0 + 0.033 * math.cos(angle), 0.409 * math.sin(angle - 1.39)
    sunset = math.acos(min(max(-math.tan(latitude) * math.tan(declination), -1.0), 1.0))
    high = sunset * math.sin(latitude) * math.sin(declination)
    high += math.cos(latitude) * math.cos(declination) * math.sin(sunset)
    return HARGREAVES * math.sqrt(max(tmax_c - tmin_c, 0.0)) * 24.0 * 60.0 / math.pi * 0.0820 * nearness * high
