"""The cloud's half of the toy: bearings that wear out, and a network that foresees what an action costs."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from bearing_on_device import BEARING, CONTRACT

from fieldedge.contract import Record
from fieldloop.core.dataset import Array
from fieldloop.core.params import Params, WorkloadParams
from fieldloop.simulated import SimulatedPlace, SimulatedUnit, SimulatedWorld
from fieldloop.source import Message
from fieldloop.workload import Agreement, CardColumn, CardWords, Learner, Metric, Predict, Workload

FAILURE_USD, LOST_USD_D, DAY_USD = 300.0, 5.0, 10.0
ERROR = Metric("cost error", "USD", "cost_rmse_usd", lower_is_better=True, is_root=True)


class PastParams(Params):
    seed: int
    bearings: int
    months: tuple[int, ...]


class BearingParams(WorkloadParams):
    reads = {"run": ("history.seed",), "compare": ("history.seed",)}  # noqa: RUF012 - a ClassVar of the core's
    history: PastParams | None


class Wear(SimulatedUnit):
    """One bearing from its first day on: it vibrates more as it wears, and fails after `life_d` days."""

    device = BEARING

    def __init__(self, place: SimulatedPlace) -> None:
        super().__init__(place)
        self.draw, self.age_d, self.stopped = place.draw(), 0, False
        self.life_d = int(self.draw.integers(15, 45))

    @property
    def now(self) -> datetime:
        return datetime(*divmod(self.place.period, 100), 1, tzinfo=UTC) + timedelta(self.age_d)

    @property
    def is_over(self) -> bool:
        return self.stopped or self.age_d >= self.life_d

    def events(self) -> list[Message]:
        """A day of running: its window of 64 samples."""
        if self.is_over:
            return []
        samples = (1.0 + 8.0 * (self.age_d / self.life_d) ** 4) * self.draw.standard_normal(64)
        self.age_d += 1
        return [self.tell("window", rms_mm_s=float(np.sqrt(np.mean(samples**2))))]

    def apply(self, decision: Record) -> list[Message]:
        self.stopped = decision["action"] == "stop"
        return [self.tell("inspection", wear_pct=100.0 * self.age_d / self.life_d)] if self.stopped else []

    def ending(self) -> Message:
        return self.tell("life", life_d=self.life_d)

    def outcome(self) -> Record:
        failed = self.age_d >= self.life_d
        return {"bearing_id": self.place.name, "earned_usd": DAY_USD * self.age_d - FAILURE_USD * failed}


class Hall(SimulatedWorld):
    device, unit, where = BEARING, Wear, "north"

    def habit(self, _asked: Message) -> Record:
        return {"action": "run"}

    def past(self) -> list[SimulatedPlace]:
        past = self.params.require_history()
        return [self.place(month, f"past-{i}") for month in past.months for i in range(past.bearings)]


class BearingInCloud(Workload):
    name, device, primary, Params, source = "bearing", BEARING, ERROR, BearingParams, Hall
    worth = Metric("earnings", "USD", "earned_usd", lower_is_better=False)
    card = CardWords("Run or stop.", "simulated", "bearings", "windows", (CardColumn("error", ERROR.key, "{:.1f}"),))

    @property
    def learner(self) -> Learner:
        from fieldloop.training.plain import PlainLearner  # torch, which no process needs that simulates

        return PlainLearner(CONTRACT, unit=100.0)

    def targets(self, known: Array, outcome: Record) -> Sequence[float]:
        left_d = outcome["life_d"] - known[2]
        return [LOST_USD_D * left_d if known[3] else FAILURE_USD * (left_d <= 1)]

    def agreement(self, rows: Array, reference: Predict, other: Predict) -> Agreement:
        pairs = np.repeat(rows, 2, axis=0)
        pairs[::2, -1], pairs[1::2, -1] = 0.0, 1.0
        ours, theirs = (p(CONTRACT.scale(pairs)).reshape(-1, 2) for p in (reference, other))
        best = theirs.argmin(1)
        return Agreement(ours.argmin(1) == best, (ours[range(len(best)), best] - ours.min(1)).astype(np.float64))


BEARING_IN_CLOUD = BearingInCloud()
