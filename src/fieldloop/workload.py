"""What the loop asks of a workload in the cloud, and the plain values that it answers with.

The core knows no workload by name: it is given one, and speaks of its `primary` metric, of the `value` that following a
model has, and of groups that share one outcome. What these are in the field's words is the workload's to say. The
device's half of it is `device`: its contract and its features are what both sides have in common.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from fieldedge.contract import MODEL, RECORD_ID, Record
from fieldedge.inference.slices import Condition
from fieldedge.inference.slices import Slice as DeviceSlice
from fieldedge.system.errors import DataError
from fieldedge.workload import Question
from fieldedge.workload import Workload as DeviceWorkload
from fieldloop.closed_loop import live
from fieldloop.core.console import OnProgress
from fieldloop.core.dataset import Dataset
from fieldloop.core.episodes import AcceptedEpisode, accepted_episodes
from fieldloop.core.params import WorkloadParams
from fieldloop.core.stored_names import PERIOD
from fieldloop.core.words import Words, decimals
from fieldloop.source import Source

if TYPE_CHECKING:  # the fleet speaks of environments, and needs neither
    import pandas as pd
    from torch import Tensor, nn

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Tables = Mapping[str, "pd.DataFrame"]  # accepted rows, by table
Predict = Callable[[Array], Array]  # scaled inputs (N, F) to outputs (N, O)
FLOOR_UNITS, FLOOR_SEED = 96, 7_002  # where a workload says none of its own
RULE = "rule"  # the decider that is in every device


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
    words: str  # "the built-in rule"
    values: Floats  # (N,)
    max_loss: float  # in the units of the value


@dataclass(frozen=True)
class Slice:
    """Some of the N units, to be judged apart from the others.

    `where` are the conditions by which a device knows that its own unit is one of them, which `members` were counted
    by; none, where no device can know it. `words` say which they are, after "like this one, ".
    """

    name: str  # as it is stored: "start_water=dry"
    words: str
    members: npt.NDArray[np.bool_]  # (N,)
    where: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class SliceTerms:
    """When a slice counts as one in which a model is worse than the rule; losses in the units of the value."""

    least_units: int  # a slice of fewer is not judged
    max_loss: float  # what the rule may be expected to be worth more
    max_risk: float  # and what it may be worth more with one chance in ten


@dataclass(frozen=True)
class FloorValues:
    """What the same N units were worth under a model and under others; more is better.

    `champion` is what they were worth under the model that devices run now, where there is one. Slices are judged
    against the decider that is called `RULE`.
    """

    metric: Metric
    units: str  # what they are: "fields"
    model: Floats  # (N,)
    others: tuple[Decider, ...]
    naive: str  # what foresees without a model, in words: "the mean of the past"
    naive_value: float  # its primary figure on the held-out groups
    figures: Mapping[str, Any]  # what is stored beside
    champion: Floats | None = None  # (N,)
    slices: tuple[Slice, ...] = ()
    slice_terms: SliceTerms | None = None
    untried: tuple[DeviceSlice, ...] = ()  # where no unit is, and no model has practised: left to the rule unjudged


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
class CardColumn:
    """A figure of the scores in a model card: its heading, where it is stored, and how it is written."""

    heading: str
    key: str
    written: str  # a format: "{:.2f}"


@dataclass(frozen=True)
class CardWords:
    """What a model card says that only the workload knows."""

    purpose: str
    limits: str
    groups: str  # what a group is called, of many: "episodes"
    examples: str  # what an example is called, of many: "days"
    columns: tuple[CardColumn, ...]


class Learner(Protocol):
    """The network of a workload, and how it is taught. A network keeps what compression may change in `body`.

    A subclass says what its network and loss are, and of the rest what it has: none is calibrated or practises unless
    its learner says so. `training/plain.py` has one for any contract.
    """

    def network(self, hidden: Sequence[int], dropout: float) -> "nn.Module":
        """A fresh one: scaled inputs (B, F) to outputs (B, O)."""
        ...

    def loss(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """The training loss, a scalar."""
        ...

    def forget_calibration(self, network: "nn.Module") -> None:
        """Back to the network's bare answers."""

    def calibrate(self, network: "nn.Module", inputs: "Tensor", outputs: "Tensor", targets: "Tensor") -> None:
        """Make what the network says of its own error true, by its bare answers on groups that it has not seen.

        Args:
            inputs: scaled (B, F), as the network takes them.
            outputs: its bare answers to them (B, O).
            targets: what came (B, T).
        """

    def pretrain(
        self,
        network: "nn.Module",
        tables: Tables,
        params: Any,
        champion: "nn.Module | None",
        on_progress: OnProgress,
    ) -> Dataset | None:
        """Teach a fresh network what no log can show; the examples that came of it, if any, are learned from as well.

        Args:
            champion: where there is one, its weights may be the start.
        """
        return None

    def is_sound(self, outputs: Array) -> bool:
        """Whether answers (N, O) to the most extreme inputs, all of them numbers, keep the order that answers have."""
        return True


Figures = Mapping[str, Any]  # of report.json: all of it, or of one period


@dataclass(frozen=True)
class Card:
    """One figure at the head of the report's page."""

    value: str
    unit: str
    label: str
    is_behind: bool = False  # it is shown as a warning


@dataclass(frozen=True)
class Drawing:
    """A picture of the report: `draw` fills a matplotlib figure from the periods, and returns what it tells."""

    title: str
    draw: Callable[[Any, Sequence[Figures]], str]


_PLAIN = "All figures stand in report.json."
_OURS = "ours"  # of the devices' outcomes, where they stand beside others'


class ReportSections(Protocol):
    """What the report shows of a workload, in its words. What is said to be HTML is escaped here, text by the page.

    A subclass names the metric; what it does not say besides, the page does without.
    """

    @property
    def primary(self) -> Metric:
        """What models are compared by; a period's figure of the devices stands under its key."""
        ...

    @property
    def foreseen(self) -> str:
        """What a model foresees, in words: "the failure"."""
        return "the outcome"

    @property
    def words(self) -> Words:
        """What periods and units are called."""
        ...

    @property
    def examples(self) -> str:
        """What an example is called, of many, as on the model's card: "days"."""
        return "examples"

    @property
    def about(self) -> str:
        """Where the units come from, in a sentence for the page's end."""
        return ""

    @property
    def drawings(self) -> Mapping[str, Drawing]:
        """Pictures of what the periods brought, by name."""
        return {}

    def figures(self, period: int, ours: Sequence[Record], others: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
        """What a period brought under the devices and under the others, by names that stand in report.json.

        As it is here: the mean of each number of the outcomes, by who decided.

        Raises:
            DataError: the others' units are not the devices' units.
        """
        everybody = {_OURS: ours, **others}
        names = [name for name, value in ours[0].items() if isinstance(value, int | float)] if ours else []
        return {
            f"{name}_{who}": float(np.mean([one[name] for one in outcomes]))
            for name in names
            for who, outcomes in everybody.items()
        }

    def example(self, tables: Tables) -> Record | None:
        """One decision of a model, to be followed back: with `record_id` and `device_id`; None where there is none."""
        return None

    def measured(self, root: Path) -> dict[str, Any]:
        """What was measured apart from this run and is kept under the project's root, for report.json.

        Raises:
            DataError: a file is not what was written there.
        """
        return {}

    def lead(self, periods: Sequence[Figures]) -> str:
        """The page's first sentences."""
        return _PLAIN

    def summary(self, periods: Sequence[Figures]) -> str:
        """How the periods went, in a sentence for the terminal."""
        return _PLAIN

    def cards(self, period: Figures) -> Sequence[Card]:
        """What comes first at the head of the page."""
        return ()

    def sections(self, report: Figures, pictures: Mapping[str, str]) -> Sequence[str]:
        """HTML: what the periods brought, which stands before the gate's verdicts, and what stands behind them.

        Args:
            pictures: those of `drawings` as HTML, by name.
        """
        return ("",)

    def foresight(self, periods: Sequence[Figures]) -> str:
        """How well the devices' models foresaw, from the first period to the last, in sentences."""
        return _PLAIN

    def verdict(self, scores: Figures) -> dict[str, str]:
        """The scores of a version on held-out groups, as HTML: heading: what stands below it."""
        return {f"{self.primary.name} {self.primary.unit}": f"{scores[self.primary.key]:.2f}"}

    def decision(self, example: Record) -> str:
        """A decision in words, with who made it and on how old data."""
        return ""

    def terminal(self, period: Figures) -> dict[str, str]:
        """What a period brought: heading of two lines: cell."""
        return {}

    def markdown(self, period: Figures) -> list[str]:
        """What a period brought: lines of Markdown, the last of them in a list that goes on."""
        return []


class PlainSections(ReportSections):
    """A report without words of its own: what outcomes were worth, by who decided, and what the contract names."""

    def __init__(self, device: DeviceWorkload, primary: Metric, worth: Metric | None, examples: str) -> None:
        self._device, self._primary, self._worth, self._examples = device, primary, worth, examples

    @property
    def primary(self) -> Metric:
        """What models are compared by."""
        return self._primary

    @property
    def words(self) -> Words:
        """What periods and units are called."""
        return Words.of(self._device.contract.episode)

    @property
    def examples(self) -> str:
        """What an example is called, of many."""
        return self._examples

    def example(self, tables: Tables) -> Record | None:
        """The first decision of a model, as stored, without features."""
        contract = self._device.contract
        said = tables[contract.decision_table.name]
        said = said[said["source"] == MODEL].sort_values([contract.decided_at.name, RECORD_ID])
        if said.empty:
            return None
        contexts: Any = tables[contract.context_table.name].to_dict("records")  # keys are columns, which are text
        device_of = {contract.episode.of(context): context["device_id"] for context in contexts}
        row = {str(name): None if value != value else value for name, value in said.iloc[0].to_dict().items()}
        shown = {name: value for name, value in row.items() if not name.startswith("x_")}
        return shown | {"device_id": device_of.get(contract.episode.of(row))}

    def figures(self, period: int, ours: Sequence[Record], others: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
        """The mean of each number of the outcomes, by who decided; and of them what counts, as `worth`."""
        found, key = super().figures(period, ours, others), "" if self._worth is None else self._worth.key
        worth = {who: found[f"{key}_{who}"] for who in (_OURS, *others) if f"{key}_{who}" in found}
        return found | ({"worth": worth} if worth else {})

    def decision(self, example: Record) -> str:
        """What was decided, in the contract's names."""
        return ", ".join(self._device.presenter.lines(example))

    def lead(self, periods: Sequence[Figures]) -> str:
        """What the outcomes were worth."""
        return " ".join(filter(None, map(self._earned, periods))) or _PLAIN

    def summary(self, periods: Sequence[Figures]) -> str:
        """The same."""
        return self.lead(periods)

    def cards(self, period: Figures) -> Sequence[Card]:
        """What outcomes were worth on devices, and how much more than under each other."""
        found = self._worth_of(period)
        if self._worth is None or not found:
            return ()
        name, unit, ours = self._worth.name, self._worth.unit, found.pop(_OURS)
        first = Card(_three_digits(ours), unit, f"mean {name} on devices in {period[PERIOD]}")
        return [
            first,
            *(
                Card(
                    _three_digits(ours - theirs, "+"),
                    unit,
                    f"{name} against the {who} in {period[PERIOD]}",
                    ours < theirs,
                )
                for who, theirs in found.items()
            ),
        ]

    def terminal(self, period: Figures) -> dict[str, str]:
        """What outcomes were worth, by who decided; a dash where that is no number in one of the periods."""
        if self._worth is None:
            return {}
        found = period.get("worth", {})
        return {f"{self._worth.name} {self._worth.unit}\n{who}": _three_digits(value) for who, value in found.items()}

    def markdown(self, period: Figures) -> list[str]:
        """What outcomes were worth."""
        return [f"- {said}" for said in [self._earned(period)] if said]

    def foresight(self, periods: Sequence[Figures]) -> str:
        """The newest model's error on groups that it was not trained on."""
        error = periods[-1]["held_out"].get(self._primary.key)
        return (
            _PLAIN if error is None else f"Held-out {self._primary.name}: {_three_digits(error)} {self._primary.unit}."
        )

    def _worth_of(self, period: Figures) -> dict[str, float]:
        """The mean worth by who decided, the devices first; nothing where theirs is no number."""
        found = {} if self._worth is None else period.get("worth", {})
        return {} if found.get(_OURS) is None else {who: value for who, value in found.items() if value is not None}

    def _earned(self, period: Figures) -> str:
        found = self._worth_of(period)
        if self._worth is None or not found:
            return ""
        others = "".join(f", {_three_digits(value)} under the {who}" for who, value in found.items() if who != _OURS)
        ours = f"{_three_digits(found[_OURS])} {self._worth.unit} on devices"
        return f"Mean {self._worth.name} in {period[PERIOD]}: {ours}{others}."


def _three_digits(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign},.{decimals(value, digits=3)}f}".replace("-", "−")


class Workload(Protocol):
    """What the loop is about. A subclass need not say what has an answer here."""

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

    @property
    def worth(self) -> Metric | None:
        """What following a model is worth: a number of the outcomes of the source's units, the more the better."""
        return None

    def targets(self, known: Array, outcome: Record) -> Sequence[float]:
        """What came of it (T,), by the inputs (F,) with an action, in physical units, and the episode's outcome."""
        raise TypeError(f"{self.name} says no `targets`, and has no `examples` or `dataset` of its own")

    def examples(self, episode: AcceptedEpisode) -> Iterable[tuple[Sequence[float] | Array, Sequence[float]]]:
        """What an episode teaches: inputs (F,) in physical units, and what came of it (T,).

        As it is here: `targets` of the inputs that the device had at each decision, as it sent them; where no device
        was, of each action that could be weighed when an observation was there. A workload whose decisions have
        feedback of their own takes `answered` instead.
        """
        return [(row, self.targets(row, episode.outcomes[0])) for row in _inputs_of(self.device, episode)]

    def dataset(self, tables: Tables) -> Dataset:
        """Examples from accepted tables, in a stable order: `examples` of each episode.

        Raises:
            DataError: there is nothing to learn from.
        """
        blocks: list[Array] = []
        targets: list[Array] = []
        groups: list[str] = []
        left_out: dict[str, str] = {}
        for episode in accepted_episodes(tables, self.device.contract):
            taught = list(self.examples(episode))
            inputs, came = (np.array([one[part] for one in taught], np.float32) for part in (0, 1))
            if len(episode.outcomes) > 1:
                left_out[episode.name] = f"it has {len(episode.outcomes)} outcomes, and nobody said which is true"
            elif not taught and (episode.rows or episode.decisions):
                left_out[episode.name] = "nothing that was recorded of it is an example"
            elif not taught:
                left_out[episode.name] = "nothing was recorded of it before its outcome"
            elif not (np.isfinite(inputs).all() and np.isfinite(came).all()):
                left_out[episode.name] = "an input or a target is no number, and one such value spoils a whole training"
            else:
                blocks.append(inputs)
                targets.append(came)
                groups.append(episode.name)
        if not blocks:
            why = "".join(f"; {name} is left out: {reason}" for name, reason in list(left_out.items())[:3])
            raise DataError(f"no episode with an outcome is accepted, so that nothing can be learned{why}")
        group = np.repeat(np.arange(len(blocks), dtype=np.int32), [len(block) for block in blocks])
        return Dataset(np.concatenate(blocks), np.concatenate(targets), group, tuple(groups), left_out)

    def score(self, predict: Predict, held_out: Dataset) -> Scores:
        """How well a model answers on groups that it was not trained on.

        As it is here: the errors of all outputs, squared where the primary metric is a root of them.
        """
        outputs = predict(self.device.contract.scale(held_out.inputs))
        errors = np.abs(outputs.astype(np.float64) - held_out.targets)
        per_example = (errors**2 if self.primary.is_root else errors).mean(axis=1)
        per_group = np.bincount(held_out.group, per_example) / np.bincount(held_out.group)
        figures = {self.primary.key: float(self.primary.of(per_group)), "examples": float(len(held_out))}
        return Scores(self.primary, per_group, figures, bool(np.isfinite(outputs).all()))

    def value(self, tables: Tables, predict: Predict | None, params: Any, units: int, seed: int) -> Value | None:
        """What following a model is worth on so many units made of these tables; None where nothing measures it.

        As it is here: `worth` of units that the source makes, in closed loop. Without a model the rule decides.
        """
        if (worth := self.worth) is None:
            return None
        contract = self.device.contract
        period = int(tables[contract.context_table.name][contract.episode.period].min())
        if not (places := self.source(params).trials(period, units, seed)):
            return None
        earned = [live(self.device, place.begin(), predict)[worth.key] for place in places]
        return Value(worth, np.array(earned, np.float64))

    def floor(
        self,
        learned_from: Tables,
        unseen: Tables,
        held_out: Dataset,
        predict: Predict,
        params: Any,
        champion: Predict | None = None,
    ) -> FloorValues | None:
        """What following a model is worth beside the device's own rule, on units that nobody has seen.

        None where that cannot be measured: a model that nothing can be compared with then waits for a person.

        As it is here: `value` of both, which must not be less; and the error beside that of the mean of all targets.

        Args:
            held_out: the examples of the unseen tables.
            champion: the model that devices run now, for the same units.
        """

        def value(one: Predict | None) -> Value | None:
            return self.value(unseen, one, params, FLOOR_UNITS, FLOOR_SEED)

        model, rule = value(predict), value(None)
        if model is None or rule is None:
            return None
        standing = None if champion is None else value(champion)
        mean = self.dataset(learned_from).targets.mean(axis=0)
        naive = self.score(lambda rows: np.tile(mean, (len(rows), 1)), held_out).value
        units = Words.of(self.device.contract.episode).units
        decider = Decider(RULE, "the device's rule", rule.per_unit, 0.0)
        return FloorValues(
            model.metric,
            units,
            model.per_unit,
            (decider,),
            "the mean of the past",
            naive,
            {},
            champion=None if standing is None else standing.per_unit,
        )

    def agreement(self, rows: Array, reference: Predict, other: Predict) -> Agreement | None:
        """Whether two models decide the same where a device knows these inputs (N, F), in the contract's units.

        None where nothing compares decisions.
        """
        return None

    @property
    def report(self) -> ReportSections:
        """What the report says in the workload's words."""
        return PlainSections(self.device, self.primary, self.worth, self.card.examples)


def answered(device: DeviceWorkload, episode: AcceptedEpisode) -> list[tuple[Array, Record]]:
    """What was known (F,) at a decision of an episode, and the decision's own feedback, in the order of their moments.

    A row of feedback is the decision's whose moment it bears. Where no device was, it is that of what would have been
    decided on an observation. What was known is without the action, which the feedback is to repeat.
    """
    contract = device.contract
    if episode.decisions:
        known = dict(_decided_on(device, episode))
    else:
        known = {question.at: question.features for question in _asked(device, episode)}
    feedback = contract.tables_of("feedback")
    told = [(contract.moment(table, row), row) for table, row in episode.rows if table in feedback]
    return [(known[moment], row) for moment, row in told if moment in known]


def _inputs_of(device: DeviceWorkload, episode: AcceptedEpisode) -> Array:
    """Inputs (n, F) of an episode in the order of their moments: those that a device sent, else all it would weigh."""
    if episode.decisions:
        return np.array([features for _moment, features in _decided_on(device, episode)], np.float32)
    rows = [question.rows for question in _asked(device, episode)]
    return np.concatenate(rows) if rows else np.empty((0, len(device.contract.features)), np.float32)


def _decided_on(device: DeviceWorkload, episode: AcceptedEpisode) -> Iterator[tuple[str, Array]]:
    """The moment of each decision that a device sent, and its inputs (F,)."""
    contract = device.contract
    for decision in episode.decisions:
        features = np.array([decision[f"x_{name}"] for name in contract.feature_names], np.float32)
        yield contract.moment(contract.decision_table.name, decision), features


def _asked(device: DeviceWorkload, episode: AcceptedEpisode) -> Iterator[Question]:
    """What a device would have asked at each observation, by what was recorded until then."""
    contract, folded = device.contract, device.begin(episode.context)
    for table, record in episode.rows:
        folded.fold(table, record)
        if contract.table(table).role == "observation":
            window = device.windows.window(contract.moment(table, record))
            yield folded.question(contract.decided_at.at(window.end), lambda _kind: ())
