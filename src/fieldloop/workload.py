"""What the loop asks of a workload in the cloud, and the plain values that it answers with.

The core knows no workload by name: it is given one, and speaks of its `primary` metric, of the `value` that following a
model has, and of groups that share one outcome. What these are in the field's words is the workload's to say. The
device's half of it is `device`: its contract and its features are what both sides have in common.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from fieldedge.contract import Record
from fieldedge.workload import Workload as DeviceWorkload
from fieldloop.core.dataset import Dataset
from fieldloop.core.settings import WorkloadParams

if TYPE_CHECKING:  # the fleet speaks of environments, and needs neither
    import pandas as pd
    from torch import Tensor, nn

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Tables = Mapping[str, "pd.DataFrame"]  # accepted rows, by table
OnProgress = Callable[[int, int], None]  # done, of so many
Predict = Callable[[Array], Array]  # scaled inputs (N, F) to outputs (N, O)


@dataclass(frozen=True)
class Metric:
    """What models are compared by.

    A figure is the mean over groups, of which each counts once; its root, where `is_root` (of squared errors).
    """

    name: str  # in words: "wear error"
    unit: str
    key: str  # what its figure is called where it is stored, its unit included
    lower_is_better: bool
    is_root: bool = False

    @property
    def unit_key(self) -> str:
        """The unit as it stands in stored names: `mm_s`."""
        return self.unit.lower().replace("/", "_")

    def of(self, per_group: Floats) -> Floats:
        """The figure of groups along the last axis."""
        mean: Floats = per_group.mean(axis=-1)
        return np.sqrt(mean) if self.is_root else mean

    def change_pct(self, ours: Floats, theirs: Floats) -> Floats:
        """How much more our figure is than theirs, %."""
        changed: Floats = 100.0 * (ours / theirs - 1.0)
        return changed


@dataclass(frozen=True)
class Scores:
    """How well one model answers on held-out groups."""

    primary: Metric
    per_group: Floats  # (G,), what `primary` is made of
    figures: Mapping[str, float]  # by the names that they are stored under, `primary.key` among them
    are_numbers: bool = True  # every output is a finite number

    @property
    def value(self) -> float:
        """The primary figure."""
        return float(self.figures[self.primary.key])


@dataclass(frozen=True)
class Decider:
    """Somebody else who decided on the same units: a model must not lose more than that against it."""

    name: str  # as it is stored: "rule"
    words: str  # "the FAO-56 rule"
    values: Floats  # (N,)
    max_loss: float  # in the units of the value


@dataclass(frozen=True)
class FloorValues:
    """What the same N units were worth under a model and under others; more is better."""

    metric: Metric
    units: str  # what they are: "fields"
    model: Floats  # (N,)
    others: tuple[Decider, ...]
    naive: str  # what foresees without a model, in words: "the mean of the past"
    naive_value: float  # its primary figure on the held-out groups
    figures: Mapping[str, Any]  # what is stored beside


@dataclass(frozen=True)
class Value:
    """What following a model is worth on N units, each alike for the same seed; more is better."""

    metric: Metric
    per_unit: Floats  # (N,)


@dataclass(frozen=True)
class Agreement:
    """What two models would decide in the same N situations."""

    is_same: npt.NDArray[np.bool_]  # (N,)
    regret: Floats  # (N,), what the other's decision costs by the reference, in the units of the value


@dataclass(frozen=True)
class Column:
    """A figure of the scores in a model card: its heading, where it is stored, and how it is written."""

    heading: str
    key: str
    written: str  # a format: "{:.2f}"


@dataclass(frozen=True)
class CardWords:
    """What a model card says that only the workload knows."""

    purpose: str
    limits: str
    groups: str  # what a group is called, of many: "field-seasons"
    examples: str  # what an example is called, of many: "days"
    columns: tuple[Column, ...]


class Learner(Protocol):
    """The network of a workload, and how it is taught. A network keeps what compression may change in `body`."""

    def network(self, hidden: Sequence[int], dropout: float) -> "nn.Module":
        """A fresh one: scaled inputs (B, F) to outputs (B, O)."""
        ...

    def loss(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """The training loss, a scalar."""
        ...

    def forget_calibration(self, network: "nn.Module") -> None:
        """Back to the network's bare answers."""
        ...

    def calibrate(self, network: "nn.Module", outputs: "Tensor", targets: "Tensor") -> None:
        """Make what the network says of its own error true, by its bare answers on groups that it has not seen."""
        ...

    def pretrain(
        self,
        network: "nn.Module",
        tables: Tables,
        params: Any,
        champion: "nn.Module | None",
        on_progress: OnProgress,
    ) -> Dataset:
        """Teach a fresh network what no log can show; the examples that came of it are learned from as well.

        Args:
            champion: where there is one, its weights may be the start.
        """
        ...

    def is_sound(self, outputs: Array) -> bool:
        """Whether answers (N, O) to the most extreme inputs keep the order that answers have."""
        ...


Figures = Mapping[str, Any]  # of report.json: all of it, or of one season


@dataclass(frozen=True)
class Card:
    """One figure at the head of the report's page."""

    value: str
    unit: str
    label: str
    is_behind: bool = False  # it is shown as a warning


@dataclass(frozen=True)
class Drawing:
    """A picture of the report: `draw` fills a matplotlib figure from the seasons, and returns what it tells."""

    title: str
    draw: Callable[[Any, Sequence[Figures]], str]


class ReportSections(Protocol):
    """What the report shows of a workload, in its words. What is said to be HTML is escaped here, text by the page."""

    @property
    def primary(self) -> Metric:
        """What models are compared by; a season's figure of the devices stands under its key."""
        ...

    @property
    def foreseen(self) -> str:
        """What a model foresees, in words: "the failure"."""
        ...

    @property
    def examples(self) -> str:
        """What an example is called, of many: "days"."""
        ...

    @property
    def about(self) -> str:
        """Where the units come from, in a sentence for the page's end."""
        ...

    @property
    def drawings(self) -> Mapping[str, Drawing]:
        """Pictures of what the seasons brought, by name."""
        ...

    def figures(self, season: int, ours: Sequence[Record], others: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
        """What a season brought under the devices and under the others, by names that stand in report.json.

        Raises:
            DataError: the others' units are not the devices' units.
        """
        ...

    def example(self, tables: Tables) -> Record | None:
        """One decision of a model, to be followed back: with `record_id` and `device_id`; None where there is none."""
        ...

    def measured(self, root: Path) -> dict[str, Any]:
        """What was measured apart from this run and is kept under the project's root, for report.json.

        Raises:
            DataError: a file is not what was written there.
        """
        ...

    def lead(self, seasons: Sequence[Figures]) -> str:
        """The page's first sentences."""
        ...

    def summary(self, seasons: Sequence[Figures]) -> str:
        """How the seasons went, in a sentence for the terminal."""
        ...

    def cards(self, season: Figures) -> Sequence[Card]:
        """What comes first at the head of the page."""
        ...

    def sections(self, report: Figures, pictures: Mapping[str, str]) -> Sequence[str]:
        """HTML: what the seasons brought, which stands before the gate's verdicts, and what stands behind them.

        Args:
            pictures: those of `drawings` as HTML, by name.
        """
        ...

    def foresight(self, seasons: Sequence[Figures]) -> str:
        """How well the devices' models foresaw, from the first season to the last, in sentences."""
        ...

    def verdict(self, scores: Figures) -> dict[str, str]:
        """The scores of a version on held-out groups, as HTML: heading: what stands below it."""
        ...

    def decision(self, example: Record) -> str:
        """A decision in words, with who made it and on how old data."""
        ...

    def terminal(self, season: Figures) -> dict[str, str]:
        """What a season brought: heading of two lines: cell."""
        ...

    def markdown(self, season: Figures) -> list[str]:
        """What a season brought: lines of Markdown, the last of them in a list that goes on."""
        ...


Message = Record  # one line to the device: its `kind`, and what it needs


class Environment(Protocol):
    """One unit (a field) for one season, stepped by what a device decides. It speaks to the device in its messages."""

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

    def error(self, decision: Message) -> float:
        """How far off the model was that foresaw the outcome with this decision, in the unit of the primary metric."""
        ...

    def outcome(self) -> Record:
        """What the season brought, for reports."""
        ...


class Place(Protocol):
    """Where a device stands in a season: light to hold, and the same however often it is begun."""

    @property
    def season(self) -> int: ...
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
        """Write the seasons before the first device as Parquet in the contract's tables; a cut-off run goes on."""
        ...

    def places(self, season: int) -> Sequence[Place]:
        """Where each device stands in a season."""
        ...

    def baselines(self, season: int, workers: int, on_progress: OnProgress) -> dict[str, list[Record]]:
        """The outcomes of the same places, in their order, under everybody who is compared with, by name."""
        ...


class Workload(Protocol):
    """What the loop is about."""

    @property
    def name(self) -> str: ...
    @property
    def device(self) -> DeviceWorkload: ...
    @property
    def primary(self) -> Metric:
        """What models are compared by."""
        ...

    @property
    def Params(self) -> type[WorkloadParams]:  # noqa: N802 - a class
        """Its block of params.yaml; `params` below are one of it."""
        ...

    @property
    def learner(self) -> Learner: ...
    @property
    def card(self) -> CardWords: ...

    def source(self, params: Any, device_ids: Sequence[str] = (), prefix: str = "") -> Source:
        """The sample world of these parameters.

        Args:
            prefix: before the names of its places, where this clone's devices have begun anew.
        """
        ...

    def compile(self) -> None:
        """Make what is compiled for this machine, so that nobody waits for it at first use."""
        ...

    def dataset(self, tables: Tables) -> Dataset:
        """Examples from accepted tables, in a stable order.

        Raises:
            DataError: there is nothing to learn from.
        """
        ...

    def score(self, predict: Predict, held_out: Dataset) -> Scores:
        """How well a model answers on groups that it was not trained on."""
        ...

    def value(self, tables: Tables, predict: Predict, units: int, seed: int) -> Value:
        """What following a model is worth on so many units made of these tables."""
        ...

    def floor(
        self, learned_from: Tables, unseen: Tables, held_out: Dataset, predict: Predict, params: Any
    ) -> FloorValues:
        """What following a model is worth beside the device's own rule, on units that nobody has seen.

        Args:
            held_out: the examples of the unseen tables.
        """
        ...

    def agreement(self, rows: Array, reference: Predict, other: Predict) -> Agreement:
        """Whether two models decide the same where a device knows these inputs (N, F), in the contract's units."""
        ...

    @property
    def report(self) -> ReportSections:
        """What the report says in the workload's words."""
        ...
