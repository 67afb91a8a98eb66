"""The cloud's half of the toy: bearings that wear out, and a network that foresees what an action costs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from bearing_on_device import BEARING, CONTRACT, FEATURES, STOP_MM_S
from torch import Tensor, nn

from fieldedge.contract import Record
from fieldedge.workload import ask
from fieldloop.core.dataset import Array, Dataset
from fieldloop.core.settings import Params, WorkloadParams
from fieldloop.workload import (
    Agreement,
    CardWords,
    Column,
    Decider,
    FloorValues,
    Metric,
    Predict,
    Scores,
    Tables,
    Value,
)

FAILURE_USD, LOST_USD_D, DAY_USD = 300.0, 5.0, 10.0
ERROR = Metric("cost error", "USD", "cost_rmse_usd", lower_is_better=True, is_root=True)
EARNED = Metric("earnings", "USD", "earned_usd", lower_is_better=False)


class PastParams(Params):
    seed: int
    bearings: int
    years: tuple[int, int]


class BearingParams(WorkloadParams):
    reads = {"season": ("history.seed",), "compare": ("history.seed",)}  # noqa: RUF012 - a ClassVar of the core's
    history: PastParams | None


@dataclass
class Wear:
    """One bearing from its first day on: it vibrates more as it wears, and fails after `life_d` days."""

    season: int
    name: str
    seed: int
    device_id: str | None = None
    age_d: int = 0
    stopped: bool = False
    life_d: int = field(init=False)

    def __post_init__(self) -> None:
        self._draw = np.random.default_rng([self.seed, self.season, *self.name.encode()])
        self.life_d = int(self._draw.integers(15, 45))

    @property
    def is_over(self) -> bool:
        return self.stopped or self.age_d >= self.life_d

    def record(self, table: str, **values: Any) -> Record:
        day = (date(self.season, 3, 1) + timedelta(self.age_d)).isoformat()
        of = {"season": self.season, "region": "hall", "field_id": self.name, "date": day, **values}
        return CONTRACT.record(table, of, self.name)

    def context(self) -> Record:
        return {"kind": "bearing", "record": self.record("bearings", device_id=self.device_id)}

    def live(self) -> Record:
        """A day of running: its window of 64 samples."""
        amplitude = 1.0 + 8.0 * (self.age_d / self.life_d) ** 4
        samples = amplitude * self._draw.standard_normal(64)
        window = self.record("windows", rms_mm_s=float(np.sqrt(np.mean(samples**2))))
        self.age_d += 1
        return window

    def events(self) -> list[Record]:
        return [] if self.is_over else [{"kind": "window", "record": self.live()}]

    def question(self) -> Record:
        return {"kind": "decide", "date": self.record("bearings")["date"]}

    def apply(self, decision: Record) -> list[Record]:
        self.stopped = decision["action"] == "stop"
        worn = self.record("inspections", wear_pct=100.0 * self.age_d / self.life_d)
        return [{"kind": "inspection", "record": worn}] if self.stopped else []

    def ending(self) -> Record:
        return {"kind": "life", "record": self.record("lives", life_d=self.life_d)}

    def error(self, decision: Record) -> float:
        return float(decision["loss_usd"])

    def outcome(self) -> Record:
        failed = self.age_d >= self.life_d
        return {"field_id": self.name, "earned_usd": DAY_USD * self.age_d - FAILURE_USD * failed}

    # As a place, where a device stands

    def load(self) -> None: ...

    def begin(self) -> "Wear":
        return replace(self)


def lived(bearing: Wear, predict: Predict | None) -> float:
    """What a bearing earns under a model, or the device's own rule, USD."""
    life = BEARING.begin(bearing.context()["record"])
    while not bearing.is_over:
        life.fold("windows", bearing.live())
        question = life.question(bearing.question()["date"], lambda _kind: [])
        bearing.apply(life.answer(question, *ask(question, CONTRACT, predict)).values)
    return float(bearing.outcome()["earned_usd"])


@dataclass(frozen=True)
class Hall:
    params: BearingParams
    device_ids: Sequence[str]
    prefix: str

    def history(self, folder: Path, _workers: int, on_progress: Any) -> None:
        past = self.params.require_history()
        for season in range(past.years[0], past.years[1] + 1):
            rows: dict[str, list[Record]] = {table.name: [] for table in CONTRACT.tables}
            for i in range(past.bearings):
                bearing = Wear(season, f"{self.prefix}past-{i}", past.seed)
                rows["bearings"].append(bearing.context()["record"])
                while not bearing.is_over:
                    rows["windows"].append(bearing.live())
                rows["lives"].append(bearing.ending()["record"])
            target = folder / f"season={season}" / "region=hall"
            target.mkdir(parents=True, exist_ok=True)
            for name in ("bearings", "windows", "lives"):
                pd.DataFrame(rows[name]).to_parquet(target / f"{name}.parquet")
            on_progress(season - past.years[0] + 1, past.years[1] - past.years[0] + 1)

    def places(self, season: int) -> list[Wear]:
        seed = self.params.require_history().seed
        return [Wear(season, f"{one}-bearing", seed, one) for one in self.device_ids]

    def baselines(self, season: int, _workers: int, _on_progress: Any) -> dict[str, list[Record]]:
        return {"rule": [{"earned_usd": lived(place, None)} for place in self.places(season)]}


class Network(nn.Module):
    def __init__(self, hidden: Sequence[int]) -> None:
        super().__init__()
        sizes = [len(FEATURES), *hidden]
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.body = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))

    def body_inputs(self, features: Tensor) -> Tensor:
        return features

    def forward(self, features: Tensor) -> Tensor:
        return self.body(self.body_inputs(features)) * 100.0


class CostLearner:
    def network(self, hidden: Sequence[int], _dropout: float) -> nn.Module:
        return Network(hidden)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.mse_loss(outputs / 100.0, targets / 100.0)

    def forget_calibration(self, network: nn.Module) -> None: ...

    def calibrate(self, network: nn.Module, outputs: Tensor, targets: Tensor) -> None: ...

    def pretrain(self, _network: Any, tables: Tables, _params: Any, _champion: Any, _on_progress: Any) -> Dataset:
        return BEARING_IN_CLOUD.dataset(tables)

    def is_sound(self, outputs: Array) -> bool:
        return bool(np.isfinite(outputs).all())


class BearingInCloud:
    name, device, primary, learner, Params = "bearing", BEARING, ERROR, CostLearner(), BearingParams
    card = CardWords("Run or stop.", "simulated", "bearings", "windows", (Column("error USD", ERROR.key, "{:.1f}"),))

    def source(self, params: Any, device_ids: Sequence[str] = (), prefix: str = "") -> Hall:
        return Hall(params, device_ids, prefix)

    def compile(self) -> None: ...

    def dataset(self, tables: Tables) -> Dataset:
        inputs: list[Array] = []
        targets, groups = [], []
        windows = dict(iter(tables["windows"].groupby(["season", "field_id"])))
        began = {(row["season"], row["field_id"]): row for row in tables["bearings"].to_dict("records")}
        for life in tables["lives"].to_dict("records"):
            key = life["season"], life["field_id"]
            episode = BEARING.begin(began[key])
            for window in windows[key].sort_values("date").to_dict("records"):
                episode.fold("windows", window)
                following = date.fromisoformat(window["date"]) + timedelta(1)
                question = episode.question(following.isoformat(), lambda _kind: [])
                left_d = life["life_d"] - question.features[2]
                inputs.append(question.rows)
                targets += [[FAILURE_USD if left_d <= 1 else 0.0], [LOST_USD_D * left_d]]
                groups += [f"{key[0]}/{key[1]}"] * 2
        names, group = np.unique(groups, return_inverse=True)
        stacked = np.concatenate(inputs), np.array(targets, np.float32)
        return Dataset(*stacked, group.astype(np.int32), tuple(map(str, names)))

    def score(self, predict: Predict, held_out: Dataset) -> Scores:
        outputs = predict(CONTRACT.scale(held_out.inputs))
        squares = ((outputs - held_out.targets) ** 2)[:, 0].astype(np.float64)
        per_group = np.bincount(held_out.group, squares) / np.bincount(held_out.group)
        figures = {ERROR.key: float(ERROR.of(per_group)), "examples": float(len(held_out))}
        return Scores(ERROR, per_group, figures, bool(np.isfinite(outputs).all()))

    def value(self, _tables: Tables, predict: Predict | None, units: int, seed: int) -> Value:
        return Value(EARNED, np.array([lived(Wear(2001, f"new-{i}", seed), predict) for i in range(units)]))

    def floor(self, _seen: Tables, unseen: Tables, held_out: Dataset, predict: Predict, _params: Any) -> FloorValues:
        model, rule = (self.value(unseen, decides, 24, 5).per_unit for decides in (predict, None))
        deciders = (Decider("rule", f"stopping at {STOP_MM_S} mm/s", rule, 100.0),)
        return FloorValues(EARNED, "bearings", model, deciders, "the mean cost", float(held_out.targets.std()), {})

    def agreement(self, rows: Array, reference: Predict, other: Predict) -> Agreement:
        pairs = np.repeat(rows, 2, axis=0)
        pairs[::2, -1], pairs[1::2, -1] = 0.0, 1.0
        ours, theirs = (p(CONTRACT.scale(pairs)).reshape(-1, 2) for p in (reference, other))
        best = theirs.argmin(1)
        return Agreement(ours.argmin(1) == best, (ours[range(len(best)), best] - ours.min(1)).astype(np.float64))


BEARING_IN_CLOUD = BearingInCloud()
