"""What the device asks of a workload: what a window of samples says, how an episode unfolds, and what to do next.

A workload is a guest: it says what its records mean, and the core does what is the same in each. It keeps the records,
asks the model, doubts it where the data is old, far from what was learned or out of range (`ask`), and stores what was
decided (`decision_values`). Which workloads there are is `workloads/`'s matter; nothing here or below it names one.
"""

import argparse
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldedge.contract import CHOSEN_ROLES, MAX_CANDIDATES, MODEL, Column, Contract, Feature, Record, Role
from fieldedge.contract.samples import Channel, FlaggedSample
from fieldedge.contract.windows import Window, Windowing
from fieldedge.device.config import Site
from fieldedge.presentation.facts import Presenter
from fieldedge.presentation.plain import Plain
from fieldedge.storage.schema import Merit
from fieldedge.storage.store import Store

Array = NDArray[np.float32]
Predict = Callable[[Array], Array]
Doubt = Callable[[Array], str | None]
Noted = Callable[[str], Iterable[Record]]  # notes of a kind, newest first


class At(NamedTuple):
    """A decision is due each day, once it is that time of day in UTC; `[decide].at_utc` of device.toml sets another."""

    utc: str = "06:00"


class EveryWindow(NamedTuple):
    """A decision is due for each observation of the episode under way, at its moment; that of a day the day after."""


class OnRequest(NamedTuple):
    """Nothing is decided unless a message or a command asks."""


Trigger = At | EveryWindow | OnRequest


class Note(NamedTuple):
    """Something that a message says and that is no record: kept as an event, of which the last one is looked at."""

    text: str
    values: Record


@dataclass(frozen=True)
class Observed:
    """What a span of samples says as one record, or the reason why there is none. `flags` is how it was measured.

    `doubts` say of some of its channels why they may be wrong, or do not count, and what to do about it.
    """

    record: Record | None
    flags: Record
    reason: str | None
    doubts: Mapping[str, str] = field(default_factory=dict)


class Extrapolated(NamedTuple):
    """A feature of `Workload.extrapolated` beyond what the model has learned from, in physical units."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Question:
    """What is known at a moment, and what may be done then.

    `features` (F,) is what is known, `rows` (K, F) the same with each action that is sound now, both in physical units;
    `doubt` is why a model should not be asked, by what the workload knows. `detail` is the workload's own. In which
    features the model's answer is carried on beyond what it learned from, `extrapolated`, the core says.
    """

    at: str
    features: Array
    rows: Array
    data_age_days: int
    doubt: str | None = None
    detail: Any = None
    extrapolated: tuple[Extrapolated, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What to do. `values` are the columns of the decisions' table that only the workload knows; `source` is `MODEL`
    or the workload's own rule; `details` are the reasons and whatever else is kept beside them."""

    values: Record
    source: str
    details: Record = field(default_factory=dict)


class Episode(Protocol):
    """A field's year, a bearing's life, a kiosk's shift: folded from the store's records, in any order of arrival."""

    def fold(self, table: str, record: Record) -> None:
        """Take in a record of the episode. One for a moment that was folded already counts in its place."""

    def question(self, at: str, noted: Noted) -> Question:
        """What is known and sound at a moment of the episode.

        Raises:
            DataError: the moment is not in the episode.
        """

    def answer(self, question: Question, outputs: Array | None, abstained: str | None) -> Decision:
        """The decision by the model's outputs (K, outputs), or by the workload's rule where the model abstained.

        It changes nothing: while a model is on watch, it is asked with the former one's outputs too.
        """

    def is_over(self) -> bool:
        """Whether its outcome is known: nothing is decided any more."""


class Workload(Protocol):
    """One workload on the device. It holds nothing.

    `messages` names the table of each kind of message, and `notes` what is read of a kind that is no record. A class
    that names this as its base has what is not abstract here as it is.
    """

    @property
    def name(self) -> str: ...
    @property
    def contract(self) -> Contract: ...
    @property
    def channels(self) -> tuple[Channel, ...]: ...
    @property
    def windows(self) -> Windowing: ...
    @property
    def trigger(self) -> Trigger: ...
    @property
    def messages(self) -> Mapping[str, str]: ...

    @property
    def needs_site(self) -> bool:
        """Whether no window can be summed up unless the device's settings say where it is; `observe` has it then."""
        return False

    @property
    def looks_back(self) -> timedelta:
        """For how long before a window its samples are handed to `observe` too, which say what is usual."""
        return timedelta(0)

    @property
    def extrapolated(self) -> tuple[str, ...]:
        """Features that follow a trend and no state: beyond training the model is believed, and the answer says so."""
        return ()

    @property
    def notes(self) -> Mapping[str, Callable[[Record], Note]]:
        return {}

    @property
    def presenter(self) -> Presenter:
        return Plain(self.contract, self.channels)

    @property
    def commands(self) -> Sequence["Command"]:
        return ()

    @property
    def answers(self) -> "Answers | None":
        return None

    @abstractmethod
    def observe(self, samples: Sequence[FlaggedSample], context: Record, window: Window, site: Site | None) -> Observed:
        """The samples of a window that is over, as one record for its moment, or why there is none.

        With `looks_back` those before it come along, without what counters counted.
        """

    @abstractmethod
    def begin(self, context: Record) -> Episode:
        """The episode that this row of the context opens."""

    def contradiction(self, context: Record, site: Site | None) -> str | None:  # noqa: ARG002 - a default
        """What in a row that opens an episode cannot be true together, and what was expected; None where all can."""
        return None

    def assumed(self, decision: Record) -> Record | None:  # noqa: ARG002 - a default
        """The columns of the action that counts as done where nobody says otherwise; None where nothing was to do."""
        return None

    def uncertainty(self, decision: Record) -> float | None:  # noqa: ARG002 - a default
        """How unsure the model was of a decision, in one unit for all of them; None where it abstained."""
        return None

    def summary(self, decisions: Sequence[Record], outcomes: Sequence[Record]) -> Record:  # noqa: ARG002 - a default
        """How good the decisions of an episode were, in figures that may go home with its records."""
        return {}


def opening_kind(workload: Workload) -> str:
    """The kind of message that opens an episode, which is what people call its unit: "field"."""
    opening = workload.contract.context_table.name
    return next((kind for kind, table in workload.messages.items() if table == opening), opening)


class Command(Protocol):
    """A verb of a workload on the device's command line."""

    def add(self, commands: Any, shared: argparse.ArgumentParser) -> None:
        """Put it into the parser; `options.command(options, directory)` runs it."""


class Answers(Protocol):
    """What a person can say on the device's page."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the form's fields that are the workload's own."""

    def store(self, store: Store, form: Mapping[str, str], today: date) -> str:
        """Keep what was said; what became of it, in a word.

        Raises:
            DataError: a value is none, outside of its range, or of another episode or day than it can be.
            StoreBusy, StoreFailed: it could not be kept.
        """


def is_chosen_by_day(workload: Workload) -> bool:
    """Whether whole days are chosen to be sent: no more than one window ends on each. Else it is moments."""
    return workload.windows.hop >= timedelta(days=1)


def chosen_roles(workload: Workload) -> tuple[Role, ...]:
    """Whose rows are chosen from. Where it is moments, what was said of a decision is of no use without it."""
    return CHOSEN_ROLES if is_chosen_by_day(workload) else (*CHOSEN_ROLES, "feedback")


def chosen_with(store: Store, workload: Workload, table: str, record: Record) -> str:
    """The day or the moment with which a record is chosen, and goes: one moment is an observation and what follows it
    until the next one."""
    contract = workload.contract
    if is_chosen_by_day(workload) or table not in contract.tables_of(*chosen_roles(workload)):
        return contract.day(table, record)
    moment, observations = contract.moment(table, record), contract.tables_of("observation")
    if table in observations:
        return moment
    return store.last_moment(contract.episode.kept_as(record), observations, moment) or moment


def merit(workload: Workload | None) -> Merit | None:
    """As `merit_by`; None where the workload is not known."""
    return None if workload is None else merit_by(workload)


def merit_by(workload: Workload) -> Merit:
    """How much a record would teach: of a decision, how unsure the model was; of any other, nobody says."""
    decisions = workload.contract.decision_table.name
    return lambda table, record: workload.uncertainty(dict(record)) if table == decisions else None


def ask(
    question: Question, contract: Contract, predict: Predict | None, doubt: Doubt | None = None
) -> tuple[Array | None, str | None]:
    """What the model says of each action (K, outputs), or why it is not asked or not believed.

    `predict` is None where no model is to be trusted. `doubt(features)` says why the model should not be asked, or
    None.

    Raises:
        ReleaseError: the model failed.
    """
    if predict is None:
        return None, "no usable model is installed"
    why_not = question.doubt or (None if doubt is None else doubt(question.features))
    if why_not is not None:
        return None, why_not
    if len(question.rows) > MAX_CANDIDATES:  # a model was tried with no more
        raise ValueError(f"{len(question.rows)} actions are weighed; at most {MAX_CANDIDATES} may be")
    outputs = predict(contract.scale(question.rows))
    if not np.isfinite(outputs).all():
        return None, "the model's answer is not a number"
    fault = contract.output_fault(outputs.min(axis=0).tolist(), outputs.max(axis=0).tolist())
    return (outputs, None) if fault is None else (None, f"it says that {fault}")


def decision_columns(features: Sequence[Feature], *rules: str) -> tuple[Column, ...]:
    """The columns of a decisions' table that `decision_values` fills, for the model and these rules of a workload."""
    return (
        Column("source", "str", choices=(MODEL, *rules)),
        Column("model_version", "str"),
        Column("bundle_sha256", "str", is_nullable=True),
        Column("contract_hash", "str"),
        Column("data_age_days", "int", "d", 0, 400),
        *(Column(f"x_{feature.name}", "float", feature.unit) for feature in features),
    )


def decision_values(
    contract: Contract,
    context: Record,
    question: Question,
    decision: Decision,
    model_version: str,
    bundle_sha256: str | None,
) -> Record:
    """The columns of the decisions' table: what was decided, from what, and by which model; and the details beside."""
    values = {
        **contract.carried(context, contract.decision_table.name),
        contract.decided_at.name: question.at,
        **decision.values,
        "source": decision.source,
        "model_version": model_version,
        "bundle_sha256": bundle_sha256,
        "contract_hash": contract.hash,
        "data_age_days": question.data_age_days,
    }
    for name, value in zip(contract.feature_names, question.features, strict=True):
        values[f"x_{name}"] = round(float(value), 4)
    return values | decision.details
