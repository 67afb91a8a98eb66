"""The fields and the weather that what-if seasons are made of: those that the accepted data know.

A field's soil, equipment and planting come from the tables; a region's weather from what all its devices measured,
day by day (the median over fields, so that one bad station or one unsent day changes nothing). A reading of a day
that its field's season cannot have, accepted before days were judged, counts for neither. Prices, allowances and what
no one measured are drawn around what growers have. A season's weather may turn into another year's half-way, so that a
rule cannot learn the few years by heart. A share of the fields is wide: not as it was told (practice_ranges.py).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fieldedge.contract import Record
from fieldedge.system.errors import DataError
from fieldedge.workloads.agriculture import AGRICULTURE
from fieldedge.workloads.agriculture.features import ADVISED, PROBE_COLUMNS, START_WATER_UNKNOWN
from fieldloop.workloads.agriculture.pretraining import practice_ranges
from fieldloop.workloads.agriculture.pretraining.faults import Faults
from fieldloop.workloads.agriculture.pretraining.practice_ranges import WIDE_SHARE
from fieldloop.workloads.agriculture.pretraining.what_if import WhatIfs, no_forecast
from fieldloop.workloads.agriculture.world.climate import MAX_SEASON_DAYS
from fieldloop.workloads.agriculture.world.forecasts import forecasts
from fieldloop.workloads.agriculture.world.plots import WEATHER_COLUMNS, Plot
from fieldloop.workloads.agriculture.world.sensors import Sensors
from fieldloop.workloads.agriculture.world.variety import Variety
from fieldloop.workloads.agriculture.world.world import FieldSpec, World

Floats = NDArray[np.float64]
SPLICED_SHARE = 0.7
YEARS_AHEAD, LAST_YEAR_OF_AIR = 20, 2030
DROUGHT_SHARE = 0.25
DROUGHT_RAIN, DROUGHT_ET0 = (0.3, 1.0), (1.0, 1.15)  # of what was measured
ADVISED_SHARE = 0.5  # of what-if fields that are the fleet's own, once it has lived a season: it is for them
FORECAST_SHARE = 0.4  # of fields that have a forecast at hand
AMPLE_NITROGEN_SHARE = 0.4  # of fields whose grower fertilises by habit, so that only water is advised
AMPLE_NITROGEN_KG_HA = 250.0
UNLIMITED_MM = 3000.0
_RAIN = WEATHER_COLUMNS.index("rain_mm")
_LITTLE_RAIN_MM, _WETTER_MAX = 20.0, 2.5  # a dry season's few showers do not become a wet one's
_DAYS_TO_SHIFT = 7
_FIRST_DAYS = 5


@dataclass(frozen=True)
class KnownField:
    """One field-season that the tables know."""

    record: Record
    initial_water_pct: float


@dataclass(frozen=True)
class Weather:
    """A region's season by day from `first` on: (days, 4) tmin_c, tmax_c, rain_mm, et0_mm."""

    first: date
    days: Floats

    def since(self, planting: date) -> Floats:
        """From planting day over the longest season; days beyond the record are like its last fortnight."""
        start = max(0, (planting - self.first).days)
        known = self.days[start : start + MAX_SEASON_DAYS + 1]
        missing = MAX_SEASON_DAYS + 1 - len(known)
        tail = self.days[-14:]
        return np.concatenate([known, tail[np.arange(missing) % len(tail)]]) if missing > 0 else known


@dataclass(frozen=True)
class Drawn:
    """What-if fields with what a profit needs, arrays (N,); `records` are what their growers told, rows of `fields`."""

    fields: WhatIfs
    grain_price_usd_t: Floats
    water_price_usd_mm: Floats
    nitrogen_price_usd_kg: Floats
    has_ample_nitrogen: NDArray[np.bool_]
    is_wide: NDArray[np.bool_]  # whether a field may depart from what is told and known
    records: tuple[Record, ...]

    def tiled(self, times: int) -> "Drawn":
        """All fields over again, `times` times."""
        rows = np.tile(np.arange(len(self.grain_price_usd_t)), times)
        return Drawn(
            self.fields.branch(rows),
            self.grain_price_usd_t[rows],
            self.water_price_usd_mm[rows],
            self.nitrogen_price_usd_kg[rows],
            self.has_ample_nitrogen[rows],
            self.is_wide[rows],
            self.records * times,
        )


class TrainingWorld:
    """Draws what-if fields from known fields and weather."""

    def __init__(self, fields: Sequence[KnownField], weather: Mapping[tuple[str, int], Weather]) -> None:
        self.fields = [f for f in fields if (f.record["region"], f.record["season"]) in weather]
        self.advised = [f for f in self.fields if f.record["practice"] == ADVISED]
        self.weather = dict(weather)
        if not self.fields:
            raise DataError("no accepted field has weather: rows of `fields` and `readings` of a season are needed")

    @classmethod
    def of(cls, tables: Mapping[str, pd.DataFrame]) -> "TrainingWorld":
        """From accepted tables of the contract."""
        readings = _in_their_season(tables["readings"], tables["fields"])
        first_days = readings.sort_values("date").groupby(["season", "field_id"]).head(_FIRST_DAYS)
        wet = dict(first_days.groupby(["season", "field_id"])[list(PROBE_COLUMNS)].mean().mean(axis=1).items())
        fields = []
        for record in tables["fields"].sort_values("record_id").to_dict("records"):
            named: Record = {str(name): value for name, value in record.items()}
            theta = wet.get((named["season"], named["field_id"]), math.nan)
            span = named["field_capacity_m3_m3"] - named["wilting_point_m3_m3"]
            share = START_WATER_UNKNOWN if math.isnan(theta) else (theta - named["wilting_point_m3_m3"]) / span
            fields.append(KnownField(named, min(max(100.0 * share, 30.0), 105.0)))
        return cls(fields, _pooled_weather(readings))

    def within(self, years: Collection[int]) -> "TrainingWorld":
        """The fields and the weather of these years alone."""
        fields = [known for known in self.fields if known.record["season"] in years]
        return TrainingWorld(fields, {place: days for place, days in self.weather.items() if place[1] in years})

    def draw(
        self,
        count: int,
        seed: int,
        ample_share: float = AMPLE_NITROGEN_SHARE,
        forecast_share: float = FORECAST_SHARE,
        wide_share: float = WIDE_SHARE,
        faults: Faults | None = None,
        drought_share: float = DROUGHT_SHARE,
        sound_share: float = 0.0,
    ) -> Drawn:
        """`count` fields on the morning of planting, the same for the same arguments.

        Fields of the same `count` and `seed` differ in nothing but what is wide or wrong of them, so that they can be
        compared one by one.

        Args:
            ample_share: of fields whose nitrogen is plenty by habit and limits nothing.
            forecast_share: of fields with a weather forecast at hand.
            wide_share: of fields that may depart from what is told and known; 0 for none.
            faults: what is wrong with the fields, where that is not to be drawn: to judge by faults that have a name.
            drought_share: of seasons that are made drier than those on record.
            sound_share: of the wide fields that depart in land and climate alone.
        """
        rng = np.random.default_rng(seed)
        wide = practice_ranges.drawn(count, seed, wide_share, sound_share)
        made = [
            self._field(rng, ample_share, drought_share, {name: float(wide[name][i]) for name in wide})
            for i in range(count)
        ]
        plots, records, sensors = [m[0] for m in made], [m[1] for m in made], [m[2] for m in made]
        prices = np.array([[record[name] for name in _PRICES] for record in records])
        ample = np.array([not plot.is_nitrogen_limited for plot in plots])
        foretold = np.stack([_forecasts(plot, rng, forecast_share) for plot in plots])
        wrong = Faults.of(count, **{name: wide[name] for name in Faults.names()}) if faults is None else faults
        fields = WhatIfs.of(plots, records, sensors, foretold, faults=wrong)
        is_wide, told = wide["is_wide"] > 0.0, tuple(wrong.told(records))
        return Drawn(fields, prices[:, 0], prices[:, 1], prices[:, 2], ample, is_wide, told)

    def _field(
        self, rng: np.random.Generator, ample_share: float, drought_share: float, departures: Mapping[str, float]
    ) -> tuple[Plot, Record, Sensors]:
        fields = self.advised if self.advised and rng.random() < ADVISED_SHARE else self.fields
        known = fields[int(rng.integers(len(fields)))]
        region, season = known.record["region"], known.record["season"]
        planting = date.fromisoformat(str(known.record["planting_date"])[:10])
        planting += timedelta(int(rng.integers(-_DAYS_TO_SHIFT, _DAYS_TO_SHIFT + 1)))
        planting = max(planting, self.weather[region, season].first)
        # The air of the years to come: a model is for seasons after those that it learned from.
        in_year = min(planting.year + int(rng.integers(0, YEARS_AHEAD + 1)), LAST_YEAR_OF_AIR)
        in_that_air = planting.replace(year=max(in_year, planting.year))
        spec = _spec(known, in_that_air, rng)
        if not math.isnan(departures["start_water_pct"]):
            spec = replace(spec, initial_water_pct=departures["start_water_pct"])
        record = {**known.record, **{name: getattr(spec, name) for name in _DRAWN}, "practice": ADVISED}
        record["initial_water_pct"] = spec.initial_water_pct if rng.random() < 0.5 else None
        plot = Plot(
            weather=self._shifted(
                self._weather(region, season, planting, rng, drought_share), region, season, planting, departures
            ),
            soil=spec.soil,
            planting_date=in_that_air,
            initial_water_pct=spec.initial_water_pct,
            application_efficiency=spec.application_efficiency,
            initial_nitrogen_kg_ha=spec.initial_nitrogen_kg_ha,
            mineralised_at_20c_kg_ha_d=spec.mineralised_at_20c_kg_ha_d,
            is_nitrogen_limited=bool(rng.random() >= ample_share),
            variety=Variety(**{one.name: departures[one.name] for one in practice_ranges.VARIETY}),
        )
        return plot, record, Sensors(spec)

    def _weather(
        self, region: str, season: int, planting: date, rng: np.random.Generator, drought_share: float
    ) -> Floats:
        days = self._spliced(region, season, planting, rng)
        if rng.random() < drought_share:  # worse than the few years on record: those are when water is dearest
            days = days * np.array([1.0, 1.0, rng.uniform(*DROUGHT_RAIN), rng.uniform(*DROUGHT_ET0)])
        return days

    def _shifted(
        self, days: Floats, region: str, season: int, planting: date, departures: Mapping[str, float]
    ) -> Floats:
        """That weather in another climate: blended with a region's, warmer, thirstier, drier.

        Temperatures and evapotranspiration are means of both; the rain is the field's own, as much of it as the mean
        of both: two regions' rains on one another would fall on too many days, and too little on each.
        """
        others = sorted(key for key in self.weather if key[0] != region)
        share = departures["blended_share"]
        if others and share > 0.0:
            other = self.weather[others[int(departures["chance"] * len(others))]]
            theirs = other.since(other.first + timedelta((planting - self.weather[region, season].first).days))
            own_mm, their_mm = (float(one[:, _RAIN].sum()) for one in (days, theirs))
            mixed = (1.0 - share) * days + share * theirs
            wetter = ((1.0 - share) * own_mm + share * their_mm) / max(own_mm, _LITTLE_RAIN_MM)
            mixed[:, _RAIN] = days[:, _RAIN] * min(wetter, _WETTER_MAX)
            days = mixed
        if any(departures[one.name] != one.nominal for one in practice_ranges.CLIMATE[:3]):
            days = days * np.array([1.0, 1.0, departures["rain_factor"], departures["et0_factor"]])
            days[:, :2] += departures["warmer_c"]
        return days

    def _spliced(self, region: str, season: int, planting: date, rng: np.random.Generator) -> Floats:
        own = self.weather[region, season].since(planting)
        others = [year for place, year in self.weather if place == region and year != season]
        if not others or rng.random() >= SPLICED_SHARE:
            return own
        other = self.weather[region, others[int(rng.integers(len(others)))]]
        same_day = other.first + timedelta((planting - self.weather[region, season].first).days)
        cut = int(rng.integers(15, 115))
        return np.concatenate([own[:cut], other.since(same_day)[cut:]])


_PRICES = ("grain_price_usd_t", "water_price_usd_mm", "nitrogen_price_usd_kg")
_DRAWN = (*_PRICES, "planting_date", "water_allowance_mm", "irrigation_capacity_mm", "application_efficiency")


def _spec(known: KnownField, planting: date, rng: np.random.Generator) -> FieldSpec:
    """The field as what-if seasons know it: its own land, and a grower's prices and water drawn anew."""
    world, record = World(), known.record
    is_scarce = rng.random() < 0.45
    return FieldSpec(
        season=record["season"],
        region=record["region"],
        field_id="what-if",
        device_id=None,
        practice=ADVISED,
        seed=int(rng.integers(1 << 40)),
        soil=record["soil"],
        planting_date=planting.isoformat(),
        initial_water_pct=float(np.clip(known.initial_water_pct + rng.normal(0.0, 6.0), 25.0, 105.0)),
        initial_nitrogen_kg_ha=float(rng.uniform(*world.initial_nitrogen_kg_ha)),
        mineralised_at_20c_kg_ha_d=float(rng.uniform(*world.mineralised_at_20c_kg_ha_d)),
        application_efficiency=float(rng.choice(world.application_efficiencies)),
        irrigation_capacity_mm=float(rng.choice(world.irrigation_capacities_mm)),
        water_allowance_mm=float(rng.uniform(60.0, 400.0)) if is_scarce else UNLIMITED_MM,
        grain_price_usd_t=float(rng.uniform(150.0, 210.0)),
        water_price_usd_mm=float(np.exp(rng.uniform(np.log(0.4), np.log(4.0)))),
        nitrogen_price_usd_kg=float(rng.uniform(0.7, 1.4)),
        fixed_cost_usd_ha=world.fixed_cost_usd_ha,
    )


def _forecasts(plot: Plot, rng: np.random.Generator, share: float) -> Floats:
    """A season's forecasts, or none for a field without a link."""
    if rng.random() < share:
        return forecasts(plot.weather, rng)
    (nothing,) = no_forecast(1, len(plot.weather))
    return np.asarray(nothing)


def _in_their_season(readings: pd.DataFrame, fields: pd.DataFrame) -> pd.DataFrame:
    """The readings of days that the season of their field can have."""
    episode = AGRICULTURE.contract.episode
    began = fields.drop_duplicates(["season", "field_id"]).set_index(["season", "field_id"])[episode.opens_with]
    first = began.reindex(pd.MultiIndex.from_frame(readings[["season", "field_id"]]))
    days = (pd.to_datetime(readings["date"]) - pd.to_datetime(first.set_axis(readings.index))).dt.days
    can_be = days.between(0, np.inf if episode.max_days is None else episode.max_days)
    return readings if can_be.all() else readings[can_be]  # a copy sums in another order, so to other last bits


def _pooled_weather(readings: pd.DataFrame) -> dict[tuple[str, int], Weather]:
    """Every region-season's days from all its fields' readings; a day that no one sent is between its neighbours."""
    days = readings.assign(date=pd.to_datetime(readings["date"]))
    found: dict[tuple[str, int], Weather] = {}
    for (region, season), season_days in days.groupby(["region", "season"]):
        daily = season_days.groupby("date")[list(WEATHER_COLUMNS)].median().asfreq("D").interpolate()
        if len(daily) > _FIRST_DAYS:
            found[str(region), int(str(season))] = Weather(daily.index[0].date(), daily.to_numpy(np.float64))
    return found
