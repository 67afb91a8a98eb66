"""One season on one device, decision by decision, and the figures of a whole fleet's season.

Before each decision the environment tells what was seen; it does what was decided, and tells what was really done.
Nothing here touches the network. A season that was cut off is lived again from its beginning: the device ignores what
it has and repeats what it said, so the environment meets it where it was. Processes are `process.py`'s.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, Self

import numpy as np

from fieldedge.contract import Record
from fieldedge.system.errors import DataError
from fieldloop.fleet.process import AgentProcess
from fieldloop.workload import Message, Metric, Place


@dataclass(frozen=True)
class DeviceSeason:
    """One device's season, as its place saw it. `outcome` is what the workload says of it."""

    season: int
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

    season: int
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
            DataError: there is none, or they are of different seasons.
        """
        counts = ("records_collected", "records_selected", "records_acknowledged")
        sizes = ("bytes_collected", "bytes_sent", "batches")
        return cls(
            season=_one_season(report["season"] for report in reports),
            devices=len(reports),
            **{name: sum(int(report[name]) for report in reports) for name in (*counts, *sizes)},
        )


@dataclass(frozen=True)
class FleetSeason:
    """A season of the whole fleet in figures that go into JSON as they are.

    What was selected, acknowledged and sent is 0 until `with_sync` adds what the devices sent home.
    The error is over every recommendation that a model made; None where none did.
    """

    season: int
    devices: int
    recommendations: int
    records_collected: int
    records_rejected: int
    bytes_collected: int
    error: float | None  # in the unit of the primary metric
    latency_p50_ms: float
    latency_p99_ms: float
    model_version: str
    outcomes: list[Record]
    records_selected: int = 0
    records_acknowledged: int = 0
    bytes_sent: int = 0
    batches: int = 0

    @classmethod
    def of(cls, devices: Sequence[DeviceSeason]) -> Self:
        """The devices' seasons pooled; every recommendation counts the same.

        Raises:
            DataError: there is none, or they are of different seasons.
        """
        latencies_ms = list(chain.from_iterable(device.latencies_ms for device in devices)) or [0.0]
        return cls(
            season=_one_season(device.season for device in devices),
            devices=len(devices),
            recommendations=sum(device.recommendations for device in devices),
            records_collected=sum(device.records_collected for device in devices),
            records_rejected=sum(device.records_rejected for device in devices),
            bytes_collected=sum(device.bytes_collected for device in devices),
            error=_rmse(chain.from_iterable(device.errors for device in devices)),
            latency_p50_ms=float(np.percentile(latencies_ms, 50)),
            latency_p99_ms=float(np.percentile(latencies_ms, 99)),
            model_version=", ".join(sorted({device.model_version for device in devices})),
            outcomes=[device.outcome for device in devices],
        )

    def with_sync(self, sync: FleetSync) -> Self:
        """The same season with what was sent home of it.

        Raises:
            DataError: the devices sent another season.
        """
        if sync.season != self.season:
            raise DataError(f"the devices sent season {sync.season}; expected {self.season}")
        return replace(
            self,
            records_selected=sync.records_selected,
            records_acknowledged=sync.records_acknowledged,
            bytes_sent=sync.bytes_sent,
            batches=sync.batches,
        )

    def as_record(self, primary: Metric) -> Record:
        """Plain JSON values, the error under the metric's own name."""
        return {primary.key if name == "error" else name: value for name, value in asdict(self).items()}

    @classmethod
    def of_record(cls, record: Record, primary: Metric) -> Self:
        """The season that `as_record` wrote down."""
        return cls(**{"error" if name == primary.key else name: value for name, value in record.items()})


def live_season(agent: AgentProcess, place: Place, device_id: str) -> DeviceSeason:
    """Let the device decide for its place from the season's first day to its last, offline.

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
    return DeviceSeason(
        season=place.season,
        device_id=device_id,
        outcome=environment.outcome(),
        recommendations=len(decisions),
        records_collected=int(summary["records_collected"]),
        records_rejected=len(agent.rejections),
        bytes_collected=int(summary["bytes_collected"]),
        model_version=str(summary["model_version"]),
        errors=tuple(environment.error(said) for said in decisions if said["source"] == "model"),
        latencies_ms=tuple(said["latency_ms"] for said in decisions),
    )


def _tell(agent: AgentProcess, messages: Iterable[Message]) -> None:
    for message in messages:
        agent.tell(message)


def _one_season(seasons: Iterable[Any]) -> int:
    found = sorted(set(seasons))
    if len(found) != 1:
        raise DataError(f"the devices are in seasons {found or 'none'}; expected one season for all")
    return int(found[0])


def _rmse(errors: Iterable[float]) -> float | None:
    squares = [error * error for error in errors]
    return math.sqrt(sum(squares) / len(squares)) if squares else None
