"""It improves each season: five seasons of the loop in a region that the history does not contain.

    .venv/bin/python benchmarks/improvement.py [--seeds 2] [--first-season 1997]

The history is Champion and Córdoba; the fleet's twelve fields are near Tunis. Every season is lived in closed loop by
the device's own decision code (`fieldedge`) with the exported model, under noisy sensors, scarce nitrogen and the
sample world's prices and allowances. What then comes home decides what the next model learns: nothing (`none`), the
days that the device selects within its byte budget (`selected`), random days within the same budget (`random`), or
all days (`everything`). Fields, weather and sensors are the same in every variant. The retrained model always goes
out; the loop's gate is not part of this.
"""

import argparse
import io
import json
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from fieldedge.contract import ALWAYS_SENT_ROLES, CHOSEN_ROLES, Record
from fieldedge.contract.batches import pack, unpack
from fieldedge.device.config import DEFAULT_AUDIT_FRACTION
from fieldedge.inference.bundles import Reference
from fieldedge.inference.model import METADATA_CONTRACT_HASH, METADATA_WORKLOAD, Model
from fieldedge.transfer.selection import DayCandidate, episode_seed, select
from fieldedge.workloads.agriculture import AGRICULTURE, Day, Predict, SeasonState
from fieldedge.workloads.agriculture.decision import recommend_from_state
from fieldedge.workloads.agriculture.features import ADVISED, PROBE_COLUMNS
from fieldloop.compression import export_float32
from fieldloop.core.dataset import Dataset, joined
from fieldloop.core.params import ModelParams
from fieldloop.training.networks import load_network
from fieldloop.training.trainer import train
from fieldloop.workloads import known_workload
from fieldloop.workloads.agriculture.dataset import build_examples
from fieldloop.workloads.agriculture.params import WhatIfParams
from fieldloop.workloads.agriculture.pretraining.pretrain import pretrain
from fieldloop.workloads.agriculture.pretraining.training_world import TrainingWorld
from fieldloop.workloads.agriculture.world.field_batch import field_batch
from fieldloop.workloads.agriculture.world.history import simulate_history
from fieldloop.workloads.agriculture.world.plots import plot_of
from fieldloop.workloads.agriculture.world.practices import Practice, Threshold
from fieldloop.workloads.agriculture.world.sensor_rows import SensorRows
from fieldloop.workloads.agriculture.world.sensors import Sensors
from fieldloop.workloads.agriculture.world.world import FieldSpec, field_specs

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "improvement.json"
KEPT = ROOT / ".fieldloop" / "benchmarks" / "improvement"
COMMAND = ".venv/bin/python benchmarks/improvement.py"

REGION, SEASONS, FIELDS, BUDGET_BYTES = "tunis", 5, 12, 4000
HISTORY = {"champion": tuple(range(1985, 1997)), "cordoba": tuple(range(1992, 1997))}
HISTORY_FIELDS, HISTORY_SEED = 6, 7
VARIANTS = ("none", "selected", "random", "everything")
LAST_SEASONS = 3  # what is compared: by then every variant but `none` has learned from the region twice
BOOTSTRAP_DRAWS = 4000
WHAT_IF = WhatIfParams(generations=14, generations_from_champion=6, population=12, seasons=100, pairs=400)
MODEL = ModelParams(
    hidden=(128, 64), dropout=0.1, epochs=6, batch_size=1024, learning_rate=0.002, weight_decay=0.0001, seed=3
)

CONTRACT = AGRICULTURE.contract
_READ = ("tmin_c", "tmax_c", "rain_mm", "et0_mm", "ndvi", "ndre", *PROBE_COLUMNS)
Tables = Mapping[str, pd.DataFrame]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Taught:
    """A model as its devices have it."""

    version: str
    network: nn.Module
    predict: Predict
    reference: Reference


@dataclass
class FieldYear:
    """What a field's season left: its rows by table, and what it earned."""

    spec: FieldSpec
    rows: dict[str, list[Record]]
    profit_usd_ha: float = 0.0
    yield_t_ha: float = 0.0
    irrigation_mm: float = 0.0
    nitrogen_kg_ha: float = 0.0
    bytes_sent: int = 0
    days_sent: int = 0

    def errors_t_ha(self) -> Floats:
        """The model's median yield less the harvest, for every day on which the model decided."""
        said = [row["yield_p50_t_ha"] for row in self.rows["recommendations"] if row["source"] == "model"]
        return np.array(said, np.float64) - self.yield_t_ha

    def covered(self) -> NDArray[np.bool_]:
        """On which of those days the 80 % interval held the harvest."""
        said = [row for row in self.rows["recommendations"] if row["source"] == "model"]
        return np.array([row["yield_p10_t_ha"] <= self.yield_t_ha <= row["yield_p90_t_ha"] for row in said])


class Decider(Protocol):
    """Decides in the morning and learns in the evening, on one field."""

    def decide(self, today: str) -> tuple[float, float]:
        """Irrigation (mm) and nitrogen (kg/ha)."""

    def learn(self, day: Day) -> None:
        """What was done and what the sensors said of that day."""


@dataclass
class Device:
    """The device's own code."""

    record: Record
    model: Taught
    state: SeasonState
    said: list[Record] = field(default_factory=list)

    def decide(self, today: str) -> tuple[float, float]:
        told = recommend_from_state(self.record, self.state, today, self.model.predict)
        values = told.as_values(self.record, self.model.version)
        self.said.append({"record_id": CONTRACT.record_id("recommendations", values), **values})
        return told.irrigation_mm, told.nitrogen_kg_ha

    def learn(self, day: Day) -> None:
        self.state.advance(day)


@dataclass
class Grower:
    """A grower with a practice, within what the equipment and the allowance hold."""

    record: Record
    practice: Practice
    history: list[Day] = field(default_factory=list)

    def decide(self, today: str) -> tuple[float, float]:
        water, nitrogen = self.practice.decide(self.record, self.history, today)
        left = self.record["water_allowance_mm"] - sum(day.irrigation_mm for day in self.history)
        return round(max(0.0, min(water, left, self.record["irrigation_capacity_mm"])), 1), round(nitrogen, 1)

    def learn(self, day: Day) -> None:
        self.history.append(day)


def main() -> int:
    """Run, print the table, write the JSON; 1 where retraining on selected days earns less than not retraining."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=2)
    arguments.add_argument("--first-season", type=int, default=1997)
    arguments.add_argument("--out", type=Path, default=RESULT)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    started = time.monotonic()
    history = past()
    seasons = range(options.first_season, options.first_season + SEASONS)
    runs = []
    for seed in range(1, options.seeds + 1):
        with tempfile.TemporaryDirectory() as scratch:
            runs.append(run(history, seasons, seed, Path(scratch)))
    figures = summary(runs, seasons)
    print_tables(figures)
    figures["machine"] = {"processor": platform.machine(), "python": platform.python_version(), "threads": 1}
    figures["run_s"] = round(time.monotonic() - started)
    print(f"\n{figures['run_s']} s")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n")
    return int(figures["last_seasons"]["selected"]["profit_gain_usd_ha"]["mean"] <= 0)


def past() -> Tables:
    """The history's tables, simulated once."""
    folder = KEPT / "history"
    simulate_history(HISTORY, HISTORY_FIELDS, HISTORY_SEED, folder, workers=1)
    return {table.name: frame_of(table.name, _parquet(folder, table.name)) for table in CONTRACT.tables}


def _parquet(folder: Path, table: str) -> list[Record]:
    parts = [pd.read_parquet(io.BytesIO(path.read_bytes())) for path in sorted(folder.rglob(f"{table}.parquet"))]
    rows: list[Record] = [row for part in parts for row in part.to_dict("records")]  # type: ignore[misc]  # named columns
    return rows


def frame_of(table: str, rows: Sequence[Record]) -> pd.DataFrame:
    """Rows as accepted data have them: the contract's columns, NaN for nothing."""
    columns = CONTRACT.table(table).columns
    frame = pd.DataFrame(list(rows), columns=[column.name for column in columns])
    kinds = {"float": "float64", "int": "int64"}
    return frame.astype({column.name: kinds[column.kind] for column in columns if column.kind in kinds})


def run(history: Tables, seasons: Sequence[int], seed: int, scratch: Path) -> dict[str, list[list[FieldYear]]]:
    """Every variant's seasons, and the threshold practice's, each as one list of fields a season."""
    learner = Learner(history, seed, scratch)
    first = learner.teach({}, None, "first")
    specs = [fleet(season, seed) for season in seasons]
    lived = {"threshold": [live(fields, [Grower(s.record(), Threshold()) for s in fields]) for fields in specs]}
    opening = live_advised(specs[0], first)
    for variant in VARIANTS:
        model, home, years = first, dict[str, list[Record]](), []
        for number, fields in enumerate(specs):
            began = time.monotonic()
            year = [copied(one) for one in opening] if number == 0 else live_advised(fields, model)
            for one in year if variant != "none" else ():
                send_home(one, variant, model, home)
            years.append(year)
            if variant != "none" and number + 1 < len(specs):
                model = learner.teach(home, model.network, f"{variant}-{seasons[number]}")
            print(f"  seed {seed} {variant:<10} {told(year)}  ({time.monotonic() - began:.0f} s)", flush=True)
        lived[variant] = years
    return lived


def told(year: Sequence[FieldYear]) -> str:
    """A season in one line."""
    figures = season_figures([year])
    return (
        f"{year[0].spec.season}: {figures['profit_usd_ha']:7.1f} USD/ha, error {figures['yield_rmse_t_ha']:.2f} t/ha, "
        f"covered {figures['interval_coverage_pct']:.0f} %, {figures['bytes_sent']:.0f} B and "
        f"{figures['days_sent']:.0f} days a device"
    )


def fleet(season: int, seed: int) -> list[FieldSpec]:
    """The season's fields; a field keeps its land over the years."""
    devices = [f"dev-{number:02d}" for number in range(FIELDS)]
    return field_specs(REGION, season, FIELDS, seed, ADVISED, devices)


@dataclass
class Learner:
    """Teaches models: the history, and what came home."""

    history: Tables
    seed: int
    scratch: Path
    past_examples: Dataset | None = None

    def teach(self, home: Mapping[str, Sequence[Record]], champion: nn.Module | None, name: str) -> Taught:
        """A model from the history and those rows, its search begun at the champion's weights as the loop does."""
        arrived = {table: frame_of(table, home.get(table, ())) for table in self.history}
        if self.past_examples is None:
            self.past_examples = build_examples(self.history)
        examples = joined(self.past_examples, build_examples(arrived)) if home else self.past_examples
        tables = {table: pd.concat([frame, arrived[table]], ignore_index=True) for table, frame in self.history.items()}
        workload, params = known_workload("agriculture"), MODEL.model_copy(update={"seed": MODEL.seed + self.seed})

        def taught(network: nn.Module) -> Dataset:
            return pretrain(network, TrainingWorld.of(tables), WHAT_IF, champion, params.seed, lambda *_: None)

        folder = self.scratch / name
        uri = f"sqlite:///{mlflow_database(self.scratch)}"
        trained = train(workload, examples, params, folder, uri, name, {}, lambda *_: None, taught)
        network = load_network(Path(trained.checkpoint), workload)
        metadata = {METADATA_CONTRACT_HASH: CONTRACT.hash, METADATA_WORKLOAD: CONTRACT.workload}
        file = export_float32(network, len(CONTRACT.features), metadata, folder / "model.onnx")
        values = examples.inputs.astype(np.float64)
        reference = Reference(values.mean(axis=0), values.std(axis=0), *np.percentile(values, [1, 99], axis=0))
        return Taught(name, network, Model(file.read_bytes(), CONTRACT).predict, reference)


def mlflow_database(scratch: Path) -> Path:
    """Where training logs to; gone with the scratch folder."""
    folder = scratch / "mlflow"
    folder.mkdir(exist_ok=True)
    return folder / "mlflow.db"


def live_advised(specs: Sequence[FieldSpec], model: Taught) -> list[FieldYear]:
    """The season under the model's advice, with the rows that the devices then hold."""
    records = [spec.record() for spec in specs]
    devices = [Device(record, model, SeasonState.start(record)) for record in records]
    years = live(specs, devices)
    for year, device in zip(years, devices, strict=True):
        year.rows["recommendations"] = device.said
    return years


def live(specs: Sequence[FieldSpec], deciders: Sequence[Decider]) -> list[FieldYear]:
    """All fields from planting to harvest, a decision a day, under each field's own sensors."""
    batch, sensors = field_batch([plot_of(spec) for spec in specs], 1), SensorRows([Sensors(spec) for spec in specs])
    years = [FieldYear(spec, {"fields": [spec.record()], "readings": [], "operations": []}) for spec in specs]
    while not batch.is_finished.all():
        growing: list[int] = np.flatnonzero(~batch.is_finished).tolist()
        days = [date.fromisoformat(spec.planting_date) + timedelta(batch.day) for spec in specs]
        done = np.zeros((len(specs), 2))
        for i in growing:
            done[i] = deciders[i].decide(days[i].isoformat())
        batch.step(done[:, 0], done[:, 1])
        weather = np.nan_to_num(batch.weather)
        read = sensors.read(weather, batch.water_m3_m3, batch.compartment_middles_m, batch.canopy_cover, batch.nni)
        for i in growing:
            today, (water, nitrogen) = days[i].isoformat(), done[i].tolist()
            values = {name: None if np.isnan(v) else float(v) for name, v in zip(_READ, read[i], strict=True)}
            reading = {**_identity(specs[i], "readings", today), **values}
            deciders[i].learn(Day(today, reading, water, nitrogen))
            years[i].rows["readings"].append(reading)
            if water or nitrogen:
                operation = {"irrigation_mm": water, "nitrogen_kg_ha": nitrogen, "source": "recommendation"}
                operation |= {"basis": "confirmed"}
                years[i].rows["operations"].append({**_identity(specs[i], "operations", today), **operation})
        ripe = [i for i in growing if batch.is_finished[i]]
        for i in ripe:
            grain, harvested = round(float(batch.yield_t_ha[i]), 3), (days[i] + timedelta(1)).isoformat()
            years[i].rows["harvests"] = [{**_identity(specs[i], "harvests", harvested), "yield_t_ha": grain}]
            settle(years[i], grain, float(batch.irrigation_mm[i]), float(batch.nitrogen_kg_ha[i]))
    return years


def _identity(spec: FieldSpec, table: str, day: str) -> Record:
    identity = CONTRACT.record_id(table, {"season": spec.season, "field_id": spec.field_id, "date": day})
    return {
        "record_id": identity,
        "season": spec.season,
        "region": spec.region,
        "field_id": spec.field_id,
        "date": day,
    }


def settle(year: FieldYear, yield_t_ha: float, irrigation_mm: float, nitrogen_kg_ha: float) -> None:
    """What the season brought its grower."""
    spec = year.spec
    costs = spec.water_price_usd_mm * irrigation_mm + spec.nitrogen_price_usd_kg * nitrogen_kg_ha
    year.yield_t_ha, year.irrigation_mm, year.nitrogen_kg_ha = yield_t_ha, irrigation_mm, nitrogen_kg_ha
    year.profit_usd_ha = spec.grain_price_usd_t * yield_t_ha - costs - spec.fixed_cost_usd_ha


def copied(year: FieldYear) -> FieldYear:
    """The same season, to be sent home another way."""
    return FieldYear(**{**vars(year), "bytes_sent": 0, "days_sent": 0})


def send_home(year: FieldYear, variant: str, model: Taught, home: dict[str, list[Record]]) -> None:
    """The batch that the device would send in that variant, unpacked into `home` as the cloud would."""
    outcomes = {table: year.rows[table] for table in CONTRACT.tables_of(*ALWAYS_SENT_ROLES)}
    days = {table: year.rows[table] for table in CONTRACT.tables_of(*CHOSEN_ROLES)}

    def on(dates: Sequence[str]) -> bytes:
        wanted = set(dates)
        chosen = {table: [row for row in rows if row["date"] in wanted] for table, rows in days.items()}
        return pack(_header(year, model.version), {**outcomes, **chosen}, CONTRACT)

    candidates = [_candidate(row, model.reference) for row in days["recommendations"]]
    if variant == "everything":
        dates = [candidate.date for candidate in candidates]
    else:
        seed = episode_seed(f"{year.spec.seed}-{year.spec.device_id}", str(year.spec.season))
        audit = 1.0 if variant == "random" else DEFAULT_AUDIT_FRACTION
        dates = [day.date for day in select(candidates, BUDGET_BYTES, audit, seed, lambda some: len(on(some)))]
    batch = on(dates)
    year.bytes_sent, year.days_sent = len(batch), len(dates)
    for table, rows in unpack(batch)["tables"].items():
        home.setdefault(table, []).extend(rows)


def _header(year: FieldYear, version: str) -> Record:
    summary = {"recommendations": len(year.rows["recommendations"]), "model_version": version}
    return {
        "device_id": year.spec.device_id,
        "workload": CONTRACT.workload,
        "contract_hash": CONTRACT.hash,
        "bundle_version": version,
        "season": year.spec.season,
        "summary": summary,
    }


def _candidate(said: Record, reference: Reference) -> DayCandidate:
    """A day as the device's outbox ranks it: by its interval, and by its place among the training data."""
    row = np.array([said[f"x_{name}"] for name in CONTRACT.feature_names], np.float32)
    floor = np.array([(feature.maximum - feature.minimum) / 20.0 for feature in CONTRACT.features])
    position = (row - reference.mean) / np.maximum(reference.std, floor)
    low, high = said["yield_p10_t_ha"], said["yield_p90_t_ha"]
    return DayCandidate(said["date"], None if low is None or high is None else high - low, position)


def season_figures(years: Sequence[Sequence[FieldYear]]) -> dict[str, float | None]:
    """One season's figures over all fields, of one or several seeds."""
    fields = [one for year in years for one in year]
    has_model = "recommendations" in fields[0].rows
    errors = np.concatenate([one.errors_t_ha() for one in fields]) if has_model else np.zeros(0)
    covered = np.concatenate([one.covered() for one in fields]) if has_model else np.zeros(0)
    scarce = [one.irrigation_mm > one.spec.water_allowance_mm - 8.0 for one in fields]
    return {
        **{name: _mean([getattr(one, name) for one in fields]) for name in _MEANS},
        "yield_rmse_t_ha": round(float(np.sqrt(np.mean(np.square(errors)))), 4) if has_model else None,
        "interval_coverage_pct": round(100.0 * float(covered.mean()), 2) if has_model else None,
        "allowance_used_up_pct": round(100.0 * float(np.mean(scarce)), 1),
    }


_MEANS = ("profit_usd_ha", "yield_t_ha", "irrigation_mm", "nitrogen_kg_ha", "bytes_sent", "days_sent")


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 3)


def summary(runs: Sequence[Mapping[str, list[list[FieldYear]]]], seasons: Sequence[int]) -> dict[str, Any]:
    """All figures: by season and variant, and the last seasons against `none`."""
    by_variant = {
        variant: [season_figures([run[variant][number] for run in runs]) for number in range(len(seasons))]
        for variant in (*VARIANTS, "threshold")
    }
    return {
        "command": COMMAND,
        "contract_hash": CONTRACT.hash,
        "region": REGION,
        "history": {region: [years[0], years[-1]] for region, years in HISTORY.items()},
        "history_field_seasons": HISTORY_FIELDS * sum(len(years) for years in HISTORY.values()),
        "fields": FIELDS,
        "seeds": len(runs),
        "budget_bytes": BUDGET_BYTES,
        "seasons": list(seasons),
        "variants": by_variant,
        "last": LAST_SEASONS,
        "last_seasons": {variant: last_seasons(runs, variant) for variant in (*VARIANTS, "threshold")},
        "selected_against_random": compared(runs, "selected", "random"),
    }


def last_seasons(runs: Sequence[Mapping[str, list[list[FieldYear]]]], variant: str) -> dict[str, Any]:
    """Means over the last seasons, and the differences to `none` on the same fields with 95 % intervals."""
    told: dict[str, Any] = dict(season_figures([run[variant][-n] for run in runs for n in range(LAST_SEASONS, 0, -1)]))
    return told if variant == "none" else told | compared(runs, variant, "none")


def compared(runs: Sequence[Mapping[str, list[list[FieldYear]]]], variant: str, other: str) -> dict[str, Any]:
    """What the variant changed against the other in the last seasons, on the same fields, with 95 % intervals."""
    cells = [(run[variant][-n], run[other][-n]) for run in runs for n in range(LAST_SEASONS, 0, -1)]
    profits = _paired(cells, lambda one: one.profit_usd_ha)
    told = {"profit_gain_usd_ha": bootstrapped(profits, lambda mine, theirs: (mine - theirs).mean(axis=-1))}
    if variant != "threshold":
        squares = _paired(cells, lambda one: float(np.mean(np.square(one.errors_t_ha()))))
        told["yield_rmse_change_t_ha"] = bootstrapped(
            squares, lambda mine, theirs: np.sqrt(mine.mean(axis=-1)) - np.sqrt(theirs.mean(axis=-1))
        )
    return told


def _paired(
    cells: Sequence[tuple[Sequence[FieldYear], Sequence[FieldYear]]], figure: Callable[[FieldYear], float]
) -> Floats:
    """(2, cells, fields): a variant's figure and that of the other."""
    return np.array([[[figure(one) for one in pair[side]] for pair in cells] for side in (0, 1)])


def bootstrapped(pairs: Floats, statistic: Callable[[Floats, Floats], Floats]) -> dict[str, float]:
    """The statistic with its 95 % interval: seasons are drawn, then fields, for a season's fields share its weather."""
    _, cells, fields = pairs.shape
    rng = np.random.default_rng(0)
    cell = rng.integers(0, cells, (BOOTSTRAP_DRAWS, cells))[:, :, None]
    drawn = pairs[:, cell, rng.integers(0, fields, (BOOTSTRAP_DRAWS, cells, fields))].reshape(2, BOOTSTRAP_DRAWS, -1)
    low, high = np.quantile(statistic(drawn[0], drawn[1]), [0.025, 0.975])
    flat = pairs.reshape(2, -1)
    return {
        "mean": round(float(statistic(flat[0], flat[1])), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
    }


def print_tables(figures: Mapping[str, Any]) -> None:
    """By season, then the last seasons against `none`."""
    for name, digits in (("profit_usd_ha", 0), ("yield_rmse_t_ha", 2), ("interval_coverage_pct", 0), ("bytes_sent", 0)):
        print(f"\n{name:<24}" + "".join(f"{season:>10}" for season in figures["seasons"]) + f"{'last':>10}")
        for variant, years in figures["variants"].items():
            values = [*(year[name] for year in years), figures["last_seasons"][variant][name]]
            print(f"  {variant:<22}" + "".join(f"{'-' if v is None else f'{v:.{digits}f}':>10}" for v in values))
    print(f"\nthe last {figures['last']} seasons")
    pairs = [(f"{name} against none", told) for name, told in figures["last_seasons"].items()]
    for label, told in (*pairs, ("selected against random", figures["selected_against_random"])):
        for name in ("profit_gain_usd_ha", "yield_rmse_change_t_ha"):
            if name in told:
                gain = told[name]
                print(f"  {label:<24} {name:<24} {gain['mean']:+8.2f}  ({gain['low']:+.2f} to {gain['high']:+.2f})")


if __name__ == "__main__":
    sys.exit(main())
