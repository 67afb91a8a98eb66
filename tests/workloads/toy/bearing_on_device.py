"""A bearing that vibrates: run on, or stop and replace it. The device's half of a toy workload."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date

import numpy as np

from fieldedge.contract import Column, Contract, EpisodeKey, Feature, Output, Record, Role, Table
from fieldedge.contract.samples import Channel, FlaggedSample
from fieldedge.device.config import Site
from fieldedge.presentation.facts import Advice, EpisodeRecords, Figure
from fieldedge.workload import MODEL, Array, Command, Decision, Note, Noted, Observed, Question

STOP_MM_S = 4.5  # ISO 10816's zone C, where no model says more
ACTIONS = ("run", "stop")
FEATURES = (
    Feature("rms_mm_s", "mm/s", 0.0, 12.0),
    Feature("rise_mm_s", "mm/s", -2.0, 4.0, about="against the three windows before"),
    Feature("age_d", "d", 0.0, 80.0),
    Feature("is_stopping", "1", 0.0, 1.0, about="the action that is weighed"),
)

_NAMES = (Column("record_id", "str"), Column("season", "int", "year", 1950, 2100), Column("region", "str"))
_OF = (*_NAMES, Column("field_id", "str", about="the bearing"), Column("date", "date", "UTC"))
_SAID = (Column("source", "str", choices=(MODEL, "iso10816")), Column("model_version", "str"))
_BY = (Column("bundle_sha256", "str", is_nullable=True), Column("contract_hash", "str"))
_SEEN = (
    Column("data_age_days", "int", "d", 0, 400),
    *(Column(f"x_{one.name}", "float", one.unit) for one in FEATURES),
)
_LOSS = Column("loss_usd", "float", "USD", -500.0, 1000.0, is_nullable=True)


def _table(name: str, role: Role, *columns: Column, identity: tuple[str, ...] = ("date",)) -> Table:
    is_once = role == "outcome"
    return Table(name, (*_OF, *columns), ("record_id",), role=role, identity=identity, is_once_an_episode=is_once)


CONTRACT = Contract(
    "bearing",
    1,
    (
        _table("bearings", "context", Column("device_id", "str", is_nullable=True), identity=()),
        _table("windows", "observation", Column("rms_mm_s", "float", "mm/s", 0.0, 50.0, digits=4)),
        _table("calls", "decision", Column("action", "str", choices=ACTIONS), _LOSS, *_SAID, *_BY, *_SEEN),
        _table("inspections", "feedback", Column("wear_pct", "float", "%", 0.0, 100.0)),
        _table("lives", "outcome", Column("life_d", "int", "d", 1, 400)),
    ),
    FEATURES,
    (Output("loss_usd", "USD"),),
    EpisodeKey(("season", "field_id"), ("season", "region"), closes_on="lives"),
)


class Life:
    """From a bearing's first day to its last."""

    def __init__(self, context: Record) -> None:
        self._first, self._rms, self._is_over = date.fromisoformat(context["date"]), dict[str, float](), False

    def fold(self, table: str, record: Record) -> None:
        if table == "windows":
            self._rms[record["date"]] = record["rms_mm_s"]
        self._is_over = self._is_over or table == "lives"

    def question(self, at: str, _noted: Noted) -> Question:
        seen = sorted(day for day in self._rms if day < at)[-4:] or [at]
        *before, last = [self._rms.get(day, 0.0) for day in seen]
        age_d = (date.fromisoformat(at) - self._first).days
        row = np.array([last, last - np.mean(before or [last]), age_d, 0.0], np.float32)
        rows = np.stack([row, row])
        rows[1, -1] = 1.0
        stale_d = (date.fromisoformat(at) - date.fromisoformat(seen[-1])).days
        return Question(at, row, rows, stale_d, None if self._rms else "nothing is measured yet")

    def answer(self, question: Question, outputs: Array | None, abstained: str | None) -> Decision:
        if outputs is None:
            stops = bool(question.features[0] > STOP_MM_S)
            return Decision({"action": ACTIONS[stops], "loss_usd": None}, "iso10816", {"reasons": [abstained]})
        best = int(np.argmin(outputs[:, 0]))
        return Decision({"action": ACTIONS[best], "loss_usd": float(outputs[best, 0])}, MODEL)

    def is_over(self) -> bool:
        return self._is_over


class Plain:
    """Everything for a person, in the records' own words."""

    def place(self, season: EpisodeRecords, _today: date) -> str:
        return str(season.context["field_id"])

    def advice(self, _season: EpisodeRecords, _today: date) -> Advice | None:
        return None

    def lines(self, record: Record) -> list[str]:
        return [f"{record['date']} {record['action']}"]

    def figures(self, _season: EpisodeRecords) -> tuple[Figure, ...]:
        return ()

    def chart(self, _season: EpisodeRecords) -> None:
        return None

    def history(self, _season: EpisodeRecords, _count: int) -> tuple[()]:
        return ()

    def questions(self, _season: EpisodeRecords, _today: date) -> tuple[()]:
        return ()

    def channel(self, name: str) -> tuple[str, str]:
        return name, "mm/s"


class Bearing:
    name = "bearing"
    contract = CONTRACT
    channels = (Channel("vibration_mm_s", "mm/s", -50.0, 50.0),)
    messages: Mapping[str, str] = {
        "bearing": "bearings",
        "window": "windows",
        "inspection": "inspections",
        "life": "lives",
    }
    notes: Mapping[str, Callable[[Record], Note]] = {}
    presenter = Plain()
    commands: Sequence[Command] = ()
    answers = None

    def observe(self, samples: Sequence[FlaggedSample], context: Record, day: str, _site: Site) -> Observed:
        speeds = [value for sample in samples for value in sample.good().values()]
        if not speeds:
            return Observed(None, {}, "no good sample")
        rms = float(np.sqrt(np.mean(np.square(speeds))))
        values = {**CONTRACT.carried(context, "windows"), "date": day, "rms_mm_s": rms}
        return Observed(CONTRACT.record("windows", values, day), {}, None)

    def begin(self, context: Record) -> Life:
        return Life(context)

    def assumed(self, _decision: Record) -> None:
        return None

    def uncertainty(self, decision: Record) -> float | None:
        loss_usd: float | None = decision["loss_usd"]
        return loss_usd

    def summary(self, decisions: Sequence[Record], _outcomes: Sequence[Record]) -> Record:
        return {"stops": sum(one["action"] == "stop" for one in decisions)}


BEARING = Bearing()
