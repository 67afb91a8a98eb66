"""Our rows: the device's own code deciding day by day, with the bundle that ships, or with a model of the site alone.

The device is `fieldedge`'s: it folds noisy readings (all the faults of world/sensors.py) into its state, scores
the candidates with the exported model in ONNX Runtime, and keeps its guardrails. It knows what the benchmark says of
the field: soil, sowing day, and how full the profile was. What equipment applies is 25 mm or nothing.

The bundle that ships is shipped.py's. Beside it stands a model that was trained on the site's tuning seasons alone with
a long search: what learning for one place could bring. Such models are kept under `.fieldloop/benchmarks/`, by a hash
of the contract, the seasons and the settings that they learned from; after a change of the learning itself `--retrain`
forgets them.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.closed_loop.diary import Morning, morning_of
from benchmarks.closed_loop.harness import Outcomes, Row, for_seeds, outcomes_of
from benchmarks.closed_loop.shipped import Decider, DoubtOf
from benchmarks.closed_loop.sites import CHEAP_WATER, DOSE_MM, MAIN, Array, Scenario, Site
from benchmarks.closed_loop.thresholds import Thresholds
from fieldedge.contract import Record
from fieldedge.workload import Doubt
from fieldedge.workloads.agriculture import AGRICULTURE, Day, Forecast, Predict, SeasonState
from fieldedge.workloads.agriculture.decision import Recommendation, recommend_from_state
from fieldedge.workloads.agriculture.features import ADVISED, PROBE_COLUMNS
from fieldloop.compression import export_float32
from fieldloop.core.dataset import Dataset
from fieldloop.core.params import ModelParams
from fieldloop.evaluation.predictor import predictor
from fieldloop.training.networks import load_network
from fieldloop.training.trainer import train
from fieldloop.workloads.agriculture.params import WhatIfParams
from fieldloop.workloads.agriculture.pretraining import practice_ranges
from fieldloop.workloads.agriculture.pretraining.counterfactuals import live_twice
from fieldloop.workloads.agriculture.pretraining.followed import without_years, years_set_aside
from fieldloop.workloads.agriculture.pretraining.policy_search import START
from fieldloop.workloads.agriculture.pretraining.pretrain import pretrain
from fieldloop.workloads.agriculture.pretraining.training_world import KnownField, TrainingWorld, Weather
from fieldloop.workloads.agriculture.pretraining.what_if import Floats
from fieldloop.workloads.agriculture.workload import AGRICULTURE_IN_CLOUD
from fieldloop.workloads.agriculture.world.field_batch import FieldBatch, field_batch
from fieldloop.workloads.agriculture.world.forecasts import LEAD_DAYS, daily_forecasts
from fieldloop.workloads.agriculture.world.plots import Plot
from fieldloop.workloads.agriculture.world.sensor_rows import SensorRows
from fieldloop.workloads.agriculture.world.sensors import FaultRates, Sensors
from fieldloop.workloads.agriculture.world.world import FieldSpec

FIELDLOOP, FIELDLOOP_FORECAST = "Fieldloop", "Fieldloop with a 5-day forecast"  # the bundle that ships
FIELDLOOP_OWN = "a model of this site alone, long search"
ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".fieldloop" / "benchmarks"
WHAT_IF = WhatIfParams(  # from nothing: what is shipped has seen seasons on which such a model is tested
    generations=70, generations_from_champion=0, from_shipped=False, population=16, seasons=200, pairs=3000
)
MODEL = ModelParams(
    hidden=(128, 64), dropout=0.1, epochs=6, batch_size=1024, learning_rate=0.002, weight_decay=0.0001, seed=3
)
SOILS = ("SandyLoam", "SandyLoam", "Loam", "SiltLoam", "LoamySand")
HABIT_KG_HA = 250.0  # in the irrigation tables nitrogen is plenty, and the device is told so
Simulated = Callable[[Sequence[Plot]], FieldBatch]
_READ = ("tmin_c", "tmax_c", "rain_mm", "et0_mm", "ndvi", "ndre", *PROBE_COLUMNS)


def fieldloop_rows(site: Site, scenario: Scenario, seeds: Sequence[int], ours: Decider) -> list[Row]:
    """The bundle without and with a forecast, then the site's own model, on the site's test seasons."""
    rows = [
        _row(name, site, seeds, advised(site, scenario, seeds, ours.predict, has_forecast, doubt=ours.doubt))
        for name, has_forecast in ((FIELDLOOP, False), (FIELDLOOP_FORECAST, True))
    ]
    return [*rows, own_model_row(site, scenario, seeds)]


def own_model_row(site: Site, scenario: Scenario, seeds: Sequence[int]) -> Row:
    """What a model of the site's tuning seasons alone makes of its test seasons."""
    return _row(FIELDLOOP_OWN, site, seeds, advised(site, scenario, seeds, predictor(model_for(site))))


def fieldloop_nitrogen_rows(
    site: Site, moisture_pct: Sequence[float], seeds: Sequence[int], ours: Decider
) -> list[Row]:
    """Nitrogen by our advice, under the irrigation of every row of that table."""
    own = Decider(FIELDLOOP_OWN, predictor(model_for(site)))
    return [
        _row(name, site, seeds, advised(site, CHEAP_WATER, seeds, one.predict, False, moisture_pct, doubt=one.doubt))
        for one, name in ((ours, FIELDLOOP), (own, FIELDLOOP_OWN))
    ]


def _row(name: str, site: Site, seeds: Sequence[int], outcomes: Outcomes) -> Row:
    return Row(name, site.tested_on, outcomes.reshaped(len(seeds), len(site.tested_on)))


def aquacrop(plots: Sequence[Plot]) -> FieldBatch:
    """Those plots in AquaCrop, on one thread."""
    return field_batch(plots, 1)


@dataclass(frozen=True)
class Senses:
    """What a device can know, and what is wrong that nobody knows of; the defaults are the benchmark's."""

    faults: FaultRates | None = None  # None: the sample world's
    has_probes: bool = True
    knows_start_water: bool = True
    soil_error: float = 0.0  # the soil's water contents in its record are that share too high
    capacity_error: float = 0.0  # the record's field capacity alone is that share too high
    delivered_share: float = 1.0  # of the irrigation that is noted and paid, what arrives
    gauge_factor: float = 1.0  # what the gauge notes, of the rain that falls
    sown_late_d: int = 0  # days from the planting date in the record to the day of sowing
    has_exact_forecast: bool = False


@dataclass
class _Device:
    """One device in one season."""

    record: Record
    state: SeasonState
    foretold: tuple[Floats, Floats] | None
    sown_late_d: int = 0

    def forecast(self, day: int) -> Forecast | None:
        if self.foretold is None:
            return None
        rain, et0 = self.foretold
        return Forecast(rain[day].tolist(), et0[day].tolist())


def advised(
    site: Site,
    scenario: Scenario,
    seeds: Sequence[int],
    predict: Predict | None,
    with_forecast: bool = False,
    moisture_pct: Sequence[float] | None = None,
    diary: list[Morning] | None = None,
    senses: Senses | None = None,
    doubt: DoubtOf | None = None,
    simulated: Simulated = aquacrop,
    root_depth_max_m: float | None = None,
) -> Outcomes:
    """Every test season under every seed's sensors, (seeds * seasons,), as the device advises.

    With `moisture_pct` the device advises on nitrogen alone, and those thresholds irrigate.
    What was said every morning, and what was so, is added to a `diary`.

    Args:
        predict: the model; None for the device without one, whose rule decides.
        doubt: of a field by its record, why the model is not to be asked, as the bundle has it.
        simulated: makes a batch of plots; AquaCrop's by default.
        root_depth_max_m: as the device is told it, where the crop is another one.
    """
    about_nitrogen, senses = moisture_pct is not None, senses or Senses()
    sown = replace(site, planting=later(site, senses.sown_late_d))
    plots = for_seeds(sown.plots(site.tested_on, is_nitrogen_limited=about_nitrogen), seeds)
    specs = [_spec(site, scenario, season, seed) for seed in seeds for season in site.tested_on]
    sensors, batch = SensorRows([Sensors(spec, senses.faults) for spec in specs]), simulated(plots)
    before = for_seeds(site.plots(site.tested_on), seeds)
    devices = []
    for spec, plot, bare in zip(specs, plots, before, strict=True):
        record = _known(spec, site, senses)
        if root_depth_max_m is not None:
            record["root_depth_max_m"] = root_depth_max_m
        foretold = daily_forecasts(plot.weather, spec.rng("forecast")) if with_forecast else None
        foretold = _exact_forecasts(plot.weather) if senses.has_exact_forecast else foretold
        devices.append(_Device(record, _until_sown(record, bare, senses), foretold, senses.sown_late_d))
    others = None if moisture_pct is None else Thresholds(np.tile(np.asarray(moisture_pct), (len(plots), 1)))
    paid = np.zeros(len(devices))
    doubts = [None if doubt is None else doubt(device.record) for device in devices]
    while not batch.is_finished.all():
        day, live = batch.day, ~batch.is_finished
        told = [_told_by(devices[i], day, predict, doubts[i]) if live[i] else None for i in range(len(devices))]
        advice = np.array([(one.irrigation_mm, one.nitrogen_kg_ha) if one else (0.0, 0.0) for one in told])
        water = advice[:, 0] > 0.0 if others is None else others.decide(day, batch)
        may = paid + DOSE_MM <= scenario.water_cap_mm + 1e-9
        habit = np.full(len(devices), HABIT_KG_HA if day == 0 else 0.0)
        depth: Array = np.where(water & may & live, DOSE_MM, 0.0)
        dose = advice[:, 1] if about_nitrogen else habit
        if diary is not None:
            diary.append(morning_of(batch, told, depth))
        paid += depth
        batch.step(senses.delivered_share * depth, dose * live)
        weather = np.nan_to_num(batch.weather)
        read = sensors.read(weather, batch.water_m3_m3, batch.compartment_middles_m, batch.canopy_cover, batch.nni)
        read[:, _READ.index("rain_mm")] *= senses.gauge_factor
        for i in np.flatnonzero(live):
            reading = _reading(read[i] if senses.has_probes else _blinded(read[i]))
            devices[i].state.advance(Day("", reading, float(depth[i]), float(dose[i])))
    done = outcomes_of(batch, scenario, paid)
    return done if about_nitrogen else _without_habit(done, scenario)


def later(site: Site, days: int) -> tuple[int, int]:
    """(month, day) so many days after the site's planting."""
    moved = site.planting_date(site.tested_on[0]) + timedelta(days)
    return moved.month, moved.day


def _until_sown(record: Record, bare: Plot, senses: Senses) -> SeasonState:
    """The device on the morning of sowing: it has taken the days since the told planting date for the crop's first."""
    state = SeasonState.start(record)
    for tmin_c, tmax_c, rain_mm, et0_mm in bare.weather[: senses.sown_late_d].tolist():
        noted = (tmin_c, tmax_c, senses.gauge_factor * rain_mm, et0_mm)
        silent = dict.fromkeys(_READ[len(noted) :])
        state.advance(Day("", {**dict(zip(_READ, noted, strict=False)), **silent}))
    return state


def _known(spec: FieldSpec, site: Site, senses: Senses) -> Record:
    """The field's record as its device has it."""
    record = {**spec.record(), "initial_water_pct": site.initial_water_pct if senses.knows_start_water else None}
    for name in ("field_capacity_m3_m3", "wilting_point_m3_m3", "saturation_m3_m3"):
        record[name] *= 1.0 + senses.soil_error
    record["field_capacity_m3_m3"] *= 1.0 + senses.capacity_error
    return record


def _exact_forecasts(weather: Array) -> tuple[Floats, Floats]:
    ahead = np.minimum(np.arange(len(weather))[:, None] + np.arange(LEAD_DAYS), len(weather) - 1)
    return weather[ahead, 2], weather[ahead, 3]


def _blinded(read: Array) -> Array:
    return np.where(np.arange(len(read)) < len(_READ) - len(PROBE_COLUMNS), read, np.nan)


def _told_by(device: _Device, day: int, predict: Predict | None, doubt: Doubt | None) -> Recommendation:
    today = (date.fromisoformat(device.record["planting_date"]) + timedelta(day + device.sown_late_d)).isoformat()
    return recommend_from_state(device.record, device.state, today, predict, device.forecast(day), doubt)


def _reading(values: Array) -> Record:
    return {name: None if np.isnan(v) else float(v) for name, v in zip(_READ, values, strict=True)}


def _without_habit(done: Outcomes, scenario: Scenario) -> Outcomes:
    nothing = np.zeros_like(done.nitrogen_kg_ha)
    profit = scenario.profit_usd_ha(done.yield_t_ha, done.irrigation_mm)
    return Outcomes(profit, done.yield_t_ha, done.irrigation_mm, nothing, nothing)


def _spec(site: Site, scenario: Scenario, season: int, seed: int, soil: str | None = None) -> FieldSpec:
    """The site's field as the sample world names fields; the seed decides its sensors."""
    return FieldSpec(
        season=season,
        region=site.region.name,
        field_id=site.name,
        device_id=None,
        practice=ADVISED,
        seed=seed,
        soil=soil or site.soil,
        planting_date=site.planting_date(season).isoformat(),
        initial_water_pct=site.initial_water_pct,
        initial_nitrogen_kg_ha=70.0,
        mineralised_at_20c_kg_ha_d=1.2,
        application_efficiency=1.0,
        irrigation_capacity_mm=DOSE_MM,
        water_allowance_mm=min(scenario.water_cap_mm, 3000.0),
        grain_price_usd_t=scenario.grain_price_usd_t,
        water_price_usd_mm=scenario.water_price_usd_mm,
        nitrogen_price_usd_kg=scenario.nitrogen_price_usd_kg,
        fixed_cost_usd_ha=scenario.fixed_cost_usd_ha,
    )


@cache
def model_for(site: Site) -> Path:
    """The model of the site's region and tuning seasons as an ONNX file; trained where it is not kept."""
    known = MAIN if site.region is MAIN.region and site.tuned_on == MAIN.tuned_on else site  # soils share a model
    learned_from = [known.region.name, known.tuned_on, known.planting, known.initial_water_pct, SOILS]
    params = [WHAT_IF.model_dump(), MODEL.model_dump(mode="json"), AGRICULTURE.contract.hash, practice_ranges.table()]
    digest = hashlib.sha256(json.dumps([learned_from, params]).encode())
    folder = KEPT / f"{known.name}-{digest.hexdigest()[:12]}"
    file = folder / "model.onnx"
    if not file.is_file():
        file = _trained(known, folder)
    return file


def forget_models() -> None:
    """Train anew from here on."""
    shutil.rmtree(KEPT, ignore_errors=True)


def _trained(site: Site, folder: Path) -> Path:
    torch.set_num_threads(1)
    (KEPT / "mlflow").mkdir(parents=True, exist_ok=True)
    world, contract = _world(site), AGRICULTURE.contract

    def taught(network: nn.Module) -> Dataset:
        return pretrain(network, world, WHAT_IF, None, MODEL.seed, _told(site.name))

    first = live_twice(without_years(world, years_set_aside(world)), START, 200, MODEL.seed)[1]
    uri = f"sqlite:///{KEPT}/mlflow/mlflow.db"
    trained = train(AGRICULTURE_IN_CLOUD, first, MODEL, folder, uri, "benchmark", {}, lambda *_: None, taught)
    network = load_network(Path(trained.checkpoint), AGRICULTURE_IN_CLOUD)
    return export_float32(network, len(contract.features), {"contract_hash": contract.hash}, folder / "model.onnx")


def _told(name: str) -> Callable[[int, int], None]:
    def on_progress(done: int, total: int) -> None:
        if done % 10 == 0 or done == total:
            print(f"  {name}: what-if practice {done}/{total}", flush=True)

    return on_progress


def _world(site: Site) -> TrainingWorld:
    """What-if fields on the site's tuning seasons, in several soils."""
    days_before = timedelta(8)
    weather, fields = {}, []
    for season, plot in zip(site.tuned_on, site.plots(site.tuned_on), strict=True):
        first = site.planting_date(season) - days_before
        lead = np.repeat(plot.weather[:1], days_before.days, axis=0)
        weather[site.region.name, season] = Weather(first, np.concatenate([lead, plot.weather]))
        for soil in SOILS:
            record = _spec(site, CHEAP_WATER, season, 0, soil).record()
            fields.append(KnownField(record, site.initial_water_pct))
    return TrainingWorld(fields, weather)
