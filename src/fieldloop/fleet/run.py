"""One period on one device, decision by decision, and the figures of a whole fleet's period.

Before each decision the environment tells what was seen; it does what was decided, and tells what was really done.
Nothing here touches the network. A period that was cut off is lived again from its beginning: the device ignores what
it has and repeats what it said, so the environment meets it where it was. Processes are `process.py`'s.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from itertools import chain
from typing import Any, Self

import numpy as np

from fieldedge.contract import MODEL, Record
from fieldedge.system.errors import DataError
from fieldloop.core.stored_names import PERIOD, PERIODS, stored, unstored
from fieldloop.fleet.process import AgentProcess
from fieldloop.source import Message, Place
from fieldloop.workload import Metric


@dataclass(frozen=True)
class DeviceRun:
    """One device's period, as its place saw it. `outcome` is what the workload says of it."""

    period: int
    device_id: str
    outcome: Record
    recommendations: int
    records_collected: int
    records_rejected: int
    bytes_collected: int
    model_version: str
    errors: tuple[float, ...]  # of what the model foresaw, in the unit of the primary metric
    latencies_ms: tuple[float, ...]
    last_day: str = ""
    decided_by: Mapping[str, int] = field(default_factory=dict)  # how many decisions, by the model's version


@dataclass(frozen=True)
class FleetSync:
    """What the devices sent home, added up. Bytes sent are those of acknowledged batches."""

    period: int
    devices: int
    records_collected: int
    records_selected: int
    records_acknowledged: int
    bytes_collected: int
    bytes_sent: int
    batches: int

    @classmethod
    def of(cls, reports: Sequence[Record]) -> Self:
        """The sum of the devices' own reports.

        Raises:
            DataError: there is none, or they are of different periods.
        """
        counts = ("records_collected", "records_selected", "records_acknowledged")
        sizes = ("bytes_collected", "bytes_sent", "batches")
        return cls(
            period=_one_period(report[PERIOD] for report in reports),
            devices=len(reports),
            **{name: sum(int(report[name]) for report in reports) for name in (*counts, *sizes)},
        )


@dataclass(frozen=True)
class FleetRun:
    """A period of the whole fleet in figures that go into JSON as they are.

    What was selected, acknowledged and sent is 0 until `with_sync` adds what the devices sent home.
    The error is over every recommendation that a model made; None where none did.
    """

    period: int
    devices: int
    recommendations: int
    records_collected: int
    records_rejected: int
    bytes_collected: int
    error: float | None  # in the unit of the primary metric
    latency_p50_ms: float | None  # of no decision there is no time
    latency_p99_ms: float | None
    model_version: str
    outcomes: list[Record]
    records_selected: int = 0
    records_acknowledged: int = 0
    bytes_sent: int = 0
    batches: int = 0
    last_day: str = ""
    decided_by: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, devices: Sequence[DeviceRun]) -> Self:
        """The devices' periods pooled; every recommendation counts the same.

        Raises:
            DataError: there is none, or they are of different periods.
        """
        latencies_ms = list(chain.from_iterable(device.latencies_ms for device in devices))
        half, most = np.percentile(latencies_ms, (50, 99)).tolist() if latencies_ms else (None, None)
        return cls(
            period=_one_period(device.period for device in devices),
            devices=len(devices),
            recommendations=sum(device.recommendations for device in devices),
            records_collected=sum(device.records_collected for device in devices),
            records_rejected=sum(device.records_rejected for device in devices),
            bytes_collected=sum(device.bytes_collected for device in devices),
            error=_rmse(chain.from_iterable(device.errors for device in devices)),
            latency_p50_ms=half,
            latency_p99_ms=most,
            model_version=", ".join(sorted({device.model_version for device in devices})),
            outcomes=[device.outcome for device in devices],
            last_day=max(device.last_day for device in devices),
            decided_by=dict(sum((Counter(device.decided_by) for device in devices), Counter())),
        )

    def with_sync(self, sync: FleetSync) -> Self:
        """The same period with what was sent home of it.

        Raises:
            DataError: the devices sent another period.
        """
        if sync.period != self.period:
            raise DataError(f"the devices sent {PERIOD} {sync.period}; expected {self.period}")
        return replace(
            self,
            records_selected=sync.records_selected,
            records_acknowledged=sync.records_acknowledged,
            bytes_sent=sync.bytes_sent,
            batches=sync.batches,
        )

    def as_record(self, primary: Metric) -> Record:
        """Plain JSON values, the error under the metric's own name."""
        return {primary.key if name == "error" else name: value for name, value in stored(asdict(self)).items()}

    @classmethod
    def of_record(cls, record: Record, primary: Metric) -> Self:
        """The period that `as_record` wrote down."""
        return cls(**{"error" if name == primary.key else name: value for name, value in unstored(record).items()})


class DevicePeriod:
    """One device's period at its place, as far as it was lived: in one go, or until a day, and on from there.

    Args:
        moment: the name under which a question says what it is asked for.
    """

    def __init__(self, place: Place, device_id: str, moment: str) -> None:
        self._place, self._device_id, self._moment = place, device_id, moment
        self._environment = place.begin()
        self._decisions: list[Record] = []
        self._rejections = 0

    @property
    def day(self) -> date:
        """The day of the decision that is due next; of the last one once the period is over."""
        asked = self._decisions[-1] if self._environment.is_over else self._environment.question()
        return date.fromisoformat(str(asked[self._moment])[:10])

    @property
    def is_over(self) -> bool:
        return self._environment.is_over

    def live(self, agent: AgentProcess, until: date | None = None) -> DeviceRun | None:
        """Let the device decide, offline, until a day, or to the end; None where the end is not reached.

        Raises:
            DeviceError: the device ended or answered something else than it was asked.
            DataError: the device decided what is no decision.
        """
        environment = self._environment
        agent.ask(environment.context(), "stored")
        while not environment.is_over and (until is None or self.day < until):
            _tell(agent, environment.events())
            self._decisions.append(agent.ask(environment.question(), "recommendation"))
            _tell(agent, environment.apply(self._decisions[-1]))
        is_ended = until is None
        if is_ended:
            _tell(agent, environment.events())
            agent.ask(environment.ending(), "stored")
        summary = agent.finish()
        self._rejections += len(agent.rejections)
        return self._lived(summary) if is_ended else None

    def _lived(self, summary: Record) -> DeviceRun:
        environment, decisions = self._environment, self._decisions
        return DeviceRun(
            period=self._place.period,
            device_id=self._device_id,
            outcome=environment.outcome(),
            recommendations=len(decisions),
            records_collected=int(summary["records_collected"]),
            records_rejected=self._rejections,
            bytes_collected=int(summary["bytes_collected"]),
            model_version=str(summary["model_version"]),
            errors=tuple(
                error
                for said in decisions
                if said["source"] == MODEL and (error := environment.error(said)) is not None
            ),
            latencies_ms=tuple(said["latency_ms"] for said in decisions),
            last_day=self.day.isoformat(),
            decided_by=Counter(str(said["model_version"]) for said in decisions),
        )


def _tell(agent: AgentProcess, messages: Iterable[Message]) -> None:
    for message in messages:
        agent.tell(message)


def _one_period(periods: Iterable[Any]) -> int:
    found = sorted(set(periods))
    if len(found) != 1:
        raise DataError(f"the devices are in {PERIODS} {found or 'none'}; expected one {PERIOD} for all")
    return int(found[0])


def _rmse(errors: Iterable[float]) -> float | None:
    squares = [error * error for error in errors]
    return math.sqrt(sum(squares) / len(squares)) if squares else None
