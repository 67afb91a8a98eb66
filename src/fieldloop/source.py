"""What the loop asks of the sample world: where records come from that no device of this clone has sent.

A unit's period is an `Environment`: it tells what was seen, asks what to do, does it, and tells what was really done,
in the messages that a device takes in. Who decides is a device in a process of its own (`fleet/`), or its half of the
workload in this process (`closed_loop.py`). `simulated.py` has what most worlds would write again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fieldedge.contract import Record
from fieldloop.core.console import OnProgress

Message = Record  # one line to the device: its `kind`, and what it needs


class Environment(Protocol):
    """One unit (a field) for one period, stepped by what a device decides. It speaks to the device in its messages."""

    @property
    def is_over(self) -> bool: ...

    def context(self) -> Message:
        """What is known of the unit before anything happens there."""
        ...

    def events(self) -> list[Message]:
        """What was seen since the last decision."""
        ...

    def question(self) -> Message:
        """Asks for the decision that is due."""
        ...

    def apply(self, decision: Message) -> list[Message]:
        """Do what was decided, as far as it can be done, and go on to the next decision; what was really done.

        Raises:
            DataError: the decision is none.
        """
        ...

    def ending(self) -> Message:
        """The outcome as the device is told it."""
        ...

    def error(self, decision: Message) -> float | None:
        """How far off the model was that foresaw the outcome with this decision, in the unit of the primary metric.

        None where a decision foresees nothing that the outcome could be compared with.
        """
        return None

    def outcome(self) -> Record:
        """What the period brought, for reports."""
        ...


class Place(Protocol):
    """Where a device stands in a period: light to hold, and the same however often it is begun."""

    @property
    def period(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def device_id(self) -> str | None: ...

    def load(self) -> None:
        """Load what beginning needs, once, before many threads do."""
        ...

    def begin(self) -> Environment: ...


class Source(Protocol):
    """Where records come from that no device of this clone has sent: the sample world."""

    def history(self, folder: Path, workers: int, on_progress: OnProgress) -> None:
        """Write the periods before the first device as Parquet in the contract's tables; a cut-off run goes on."""
        ...

    def places(self, period: int) -> Sequence[Place]:
        """Where each device stands in a period."""
        ...

    def baselines(self, period: int, workers: int, on_progress: OnProgress) -> dict[str, list[Record]]:
        """The outcomes of the same places, in their order, under everybody who is compared with, by name."""
        ...

    def trials(self, period: int, count: int, seed: int) -> Sequence[Place]:
        """So many places that no device has been at, to try a model in; none where nothing is tried like that.

        It reads no parameters: what a model is worth is asked in steps that may not read a world's.
        """
        return ()
