"""One period on one device, decision by decision, and the figures of a whole fleet's period.

Before each decision the environment tells what was seen; it does what was decided, and tells what was really done.
Nothing here touches the network. A period that was cut off is lived again from its beginning: the device ignores what
it has and repeats what it said, so the environment meets it where it was. Processes are `process.py`'s.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
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


def run_period(agent: AgentProcess, place: Place, device_id: str) -> DeviceRun:
    """Let the device decide for its place from the period's first day to its last, offline.

    Raises:
        DeviceError: the device ended or answered something else than it was asked.
        DataError: the device decided what is no decision.
    """
    environment = place.begin()
    agent.ask(environment.context(), "stored")
    decisions: list[Record] = []
    while not environment.is_over:
        _tell(agent, environment.events())
        decisions.append(agent.ask(environment.question(), "recommendation"))
        _tell(agent, environment.apply(decisions[-1]))
    _tell(agent, environment.events())
    agent.ask(environment.ending(), "stored")
    summary = agent.finish()
    return DeviceRun(
        period=place.period,
        device_id=device_id,
        outcome=environment.outcome(),
        recommendations=len(decisions),
        records_collected=int(summary["records_collected"]),
        records_rejected=len(agent.rejections),
        bytes_collected=int(summary["bytes_collected"]),
        model_version=str(summary["model_version"]),
        errors=tuple(
            error for said in decisions if said["source"] == MODEL and (error := environment.error(said)) is not None
        ),
        latencies_ms=tuple(said["latency_ms"] for said in decisions),
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
