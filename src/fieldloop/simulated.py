"""A sample world of units that are drawn by a seed: what every such world would write again.

A workload says how a unit unfolds (`SimulatedUnit`) and which units there were before the first device (`past`). What
is compared with its devices is the rule that each has in the box.
"""

import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from fieldedge.contract import Record
from fieldedge.system.durable import write_durably
from fieldedge.workload import Workload
from fieldloop.closed_loop import live, told
from fieldloop.core.console import OnProgress
from fieldloop.core.parquet import parquet_bytes
from fieldloop.source import Environment, Message, Source


@dataclass(frozen=True)
class SimulatedPlace:
    """A unit in a period, drawn by its name."""

    period: int
    where: str  # the place that the contract's partition names: a hall
    name: str
    device_id: str | None
    seed: int
    unit: Callable[["SimulatedPlace"], Environment]

    def draw(self) -> np.random.Generator:
        """Random numbers that are this unit's in this period, whatever other units there are."""
        return np.random.default_rng([self.seed, self.period, *self.name.encode()])

    def load(self) -> None:
        """Nothing: a draw needs nothing."""

    def begin(self) -> Environment:
        """The unit before anything happened."""
        return self.unit(self)


class SimulatedUnit(Environment):
    """One unit in a period. A subclass has a clock, and says in its own columns what happens; `tell` says the rest."""

    device: Workload

    def __init__(self, place: SimulatedPlace) -> None:
        self.place = place

    @property
    def now(self) -> datetime:
        """What the time is there."""
        raise NotImplementedError

    def tell(self, kind: str, /, **values: Any) -> Message:
        """A message of this kind, at this moment: its record has the names of the unit and these values."""
        contract, place = self.device.contract, self.place
        episode, moment = contract.episode, contract.table(self.device.messages[kind]).moment
        of = {episode.period: place.period, episode.place: place.where, episode.unit: place.name}
        return {"kind": kind, "record": {**of, moment.name: moment.at(self.now), **values}}

    def context(self) -> Message:
        """Its names and its device."""
        table = self.device.contract.context_table.name
        (kind,) = (kind for kind, of in self.device.messages.items() if of == table)
        return self.tell(kind, device_id=self.place.device_id)

    def question(self) -> Message:
        """What to do at this moment."""
        column = self.device.contract.decided_at
        return {"kind": "decide", column.name: column.at(self.now)}


class SimulatedWorld(Source):
    """Simulated units: a past, one for each device in each period, and as many as are asked for to try a model in."""

    device: Workload
    unit: Callable[[SimulatedPlace], Environment]  # a class
    where: str  # the place that all of them stand at

    def __init__(self, params: Any, device_ids: Sequence[str] = (), prefix: str = "") -> None:
        self.params, self.device_ids, self.prefix = params, device_ids, prefix

    def habit(self, _asked: Message) -> Record:
        """What was decided before there were devices: the columns of a decision that `apply` reads."""
        return {}

    def past(self) -> Sequence[SimulatedPlace]:
        """The units before the first device, in order."""
        return ()

    def place(self, period: int, name: str, device_id: str | None = None, seed: int | None = None) -> SimulatedPlace:
        """The unit of that name, in the world of the history's seed unless another one is given."""
        seed = self.params.require_history().seed if seed is None else seed
        return SimulatedPlace(period, self.where, name, device_id, seed, type(self).unit)

    def history(self, folder: Path, workers: int, on_progress: OnProgress) -> None:  # noqa: ARG002 - in this process
        """Run the past, unit by unit, and write its records; what was there before goes first."""
        contract = self.device.contract
        period, where = contract.episode.partition
        for former in folder.glob(f"{period}=*/{where}=*"):
            shutil.rmtree(former)
        names = [table.name for table in contract.tables if table.role not in ("decision", "feedback")]
        partitions: dict[Path, dict[str, list[Record]]] = defaultdict(lambda: {name: [] for name in names})
        places = self.past()
        for done, place in enumerate(places, 1):
            for table, record in told(self.device, place.begin(), self.habit):
                partition = folder / f"{period}={record[period]}" / f"{where}={record[where]}"
                partitions[partition].setdefault(table, []).append(record)
            on_progress(done, len(places))
        for partition, tables in partitions.items():
            partition.mkdir(parents=True, exist_ok=True)
            for name, records in tables.items():
                write_durably(partition / f"{name}.parquet", parquet_bytes(contract.table(name), records))

    def places(self, period: int) -> Sequence[SimulatedPlace]:
        """A unit for each device, named after it."""
        word = self.device.contract.episode.unit.removesuffix("_id")
        return [self.place(period, f"{one}-{word}", one) for one in self.device_ids]

    def baselines(self, period: int, workers: int, on_progress: OnProgress) -> dict[str, list[Record]]:  # noqa: ARG002 - in this process
        """The same units under the rule that every device has in the box."""
        places, outcomes = self.places(period), []
        for place in places:
            outcomes.append(live(self.device, place.begin(), None))
            on_progress(len(outcomes), len(places))
        return {"rule": outcomes}

    def trials(self, period: int, count: int, seed: int) -> Sequence[SimulatedPlace]:
        """Units that nobody has seen, in a world of another seed."""
        return [self.place(period, f"trial-{i}", seed=seed) for i in range(count)]
