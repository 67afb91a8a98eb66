"""A bearing that vibrates: run on, or stop and replace it. The device's half of a toy workload."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from fieldedge import workload
from fieldedge.contract import MODEL, Column, Contract, EpisodeKey, Feature, Output, Record, Role, Table
from fieldedge.contract.samples import Channel, FlaggedSample
from fieldedge.contract.windows import Sliding, Window
from fieldedge.device.config import Site
from fieldedge.workload import Array, Decision, EveryWindow, Noted, Observed, Question

STOP_MM_S = 2.8  # where zone C of ISO 10816-1 begins for machines of class II; the rule where no model says more
ACTIONS = ("run", "stop")
FEATURES = (
    Feature("rms_mm_s", "mm/s", 0.0, 12.0),
    Feature("rise_mm_s", "mm/s", -2.0, 4.0, about="against the three windows before"),
    Feature("age_d", "d", 0.0, 80.0),
    Feature("is_stopping", "1", 0.0, 1.0, about="the action that is weighed"),
)
_NAMES = (Column("record_id", "str"), Column("month", "int", "yyyymm", 195001, 210012), Column("hall", "str"))
_OF = (*_NAMES, Column("bearing_id", "str"), Column("time_utc", "time"))
_CALL = (Column("action", "str", choices=ACTIONS), Column("loss_usd", "float", "USD", -500, 1000, is_nullable=True))


def _table(name: str, role: Role, *columns: Column, identity: tuple[str, ...] = ("time_utc",)) -> Table:
    return Table(name, (*_OF, *columns), ("record_id",), "", role, identity, is_once_an_episode=role == "outcome")


TABLES = (
    _table("bearings", "context", Column("device_id", "str", is_nullable=True), identity=()),
    _table("windows", "observation", Column("rms_mm_s", "float", "mm/s", 0.0, 50.0, digits=4)),
    _table("calls", "decision", *_CALL, *workload.decision_columns(FEATURES, "iso10816")),
    _table("inspections", "feedback", Column("wear_pct", "float", "%", 0.0, 100.0)),
    _table("lives", "outcome", Column("life_d", "int", "d", 1, 400)),
)
EPISODE = EpisodeKey(("month", "bearing_id"), ("month", "hall"), closes_on="lives")
CONTRACT = Contract("bearing", 1, TABLES, FEATURES, (Output("loss_usd", "USD"),), EPISODE)


class Life:
    """From a bearing's first window to its end."""

    def __init__(self, context: Record) -> None:
        self._first, self._rms, self._is_over = context["time_utc"], dict[str, float](), False

    def fold(self, table: str, record: Record) -> None:
        if table == "windows":
            self._rms[record["time_utc"]] = record["rms_mm_s"]
        self._is_over = self._is_over or table == "lives"

    def question(self, at: str, _noted: Noted) -> Question:
        seen = sorted(moment for moment in self._rms if moment <= at)[-4:] or [at]
        *before, last = [self._rms.get(moment, 0.0) for moment in seen]
        first, latest, now = map(datetime.fromisoformat, (self._first, seen[-1], at))
        known = last, last - np.mean(before or [last]), (now - first).days
        rows = np.array([[*known, stops] for stops in (0, 1)], np.float32)
        return Question(at, rows[0], rows, (now - latest).days, None if self._rms else "nothing is measured yet")

    def answer(self, question: Question, outputs: Array | None, abstained: str | None) -> Decision:
        if outputs is None:
            stops = bool(question.features[0] > STOP_MM_S)
            return Decision({"action": ACTIONS[stops], "loss_usd": None}, "iso10816", {"reasons": [abstained]})
        best = int(np.argmin(outputs[:, 0]))
        return Decision({"action": ACTIONS[best], "loss_usd": float(outputs[best, 0])}, MODEL)

    def is_over(self) -> bool:
        return self._is_over


class Bearing(workload.Workload):
    name, contract, channels = "bearing", CONTRACT, (Channel("vibration_mm_s", "mm/s", -50.0, 50.0),)
    windows, trigger = Sliding(timedelta(hours=1), timedelta(minutes=30)), EveryWindow()
    messages = {"bearing": "bearings", "window": "windows", "inspection": "inspections", "life": "lives"}  # noqa: RUF012

    def observe(
        self, samples: Sequence[FlaggedSample], context: Record, window: Window, _site: Site | None
    ) -> Observed:
        speeds = [value for sample in samples for value in sample.good().values()]
        if not speeds:
            return Observed(None, {}, "no good sample")
        rms = float(np.sqrt(np.mean(np.square(speeds))))
        values = {**CONTRACT.carried(context, "windows"), "time_utc": window.moment, "rms_mm_s": rms}
        return Observed(CONTRACT.record("windows", values, window.moment), {"samples": len(speeds)}, None)

    def begin(self, context: Record) -> Life:
        return Life(context)

    def uncertainty(self, decision: Record) -> float | None:
        return None if decision["loss_usd"] is None else float(decision["loss_usd"])


BEARING = Bearing()
