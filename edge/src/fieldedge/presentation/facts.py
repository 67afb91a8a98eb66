"""What the page shows, as plain values: the same for the HTML and for `status.json`.

Numbers are finite or None, times are UTC text, and text is as it came: making it safe is the business of whoever
writes it out. What a workload's records mean is asked of its `Presenter`; the rest of the page knows no workload.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, Protocol, TypedDict

from fieldedge.contract import Record
from fieldedge.contract.batches import PERIOD_KEY
from fieldedge.presentation.chart import Chart

AS_JSON = "as_json"  # in a field's metadata, the name that it has in `status.json`
Level = Literal["bad", "warn", "note"]


class StepState(TypedDict, total=False):
    """A step of the service; `failures` are those in a row. While it runs, for how long and what it is `doing`."""

    name: str
    failures: int
    error: str | None
    due_in_s: float | None
    running_s: float | None
    done_age_s: float | None
    doing: str


class LinkState(TypedDict, total=False):
    """When the link was last used with success."""

    last_sync_utc: str | None
    last_update_utc: str | None


class ServiceState(TypedDict, total=False):
    """What only the running service knows. Every key may be missing."""

    steps: list[StepState]
    link: LinkState | None
    is_time_trusted: bool
    clock_note: str | None
    model_version: str


@dataclass(frozen=True)
class EpisodeRecords:
    """The records of one episode by their role, each list by date; of an action what was said last of it."""

    context: Record
    observations: Sequence[Record] = ()
    actions: Sequence[Record] = ()
    decisions: Sequence[Record] = ()
    outcomes: Sequence[Record] = ()
    feedback: Sequence[Record] = ()  # all that was said, earlier words too


@dataclass(frozen=True)
class Notice:
    """What a person should know before they read on."""

    level: Level
    text: str


@dataclass(frozen=True)
class Range:
    """An estimate with the interval that holds four times in five."""

    name: str
    low: float
    middle: float
    high: float
    unit: str


@dataclass(frozen=True)
class Gauge:
    """How much is left of something: of `full`, with `limit` the mark below which it is too little."""

    name: str
    left: float
    limit: float
    full: float
    unit: str
    about: str


@dataclass(frozen=True)
class Figure:
    """One number of the episode; `of` is what it is a part of."""

    name: str
    value: float | None
    unit: str
    of: float | None = None
    digits: int = 0


@dataclass(frozen=True)
class Amount:
    """Something that was to be applied: `name` is its column, `advised` how much was recommended."""

    name: str
    label: str
    unit: str
    advised: float


@dataclass(frozen=True)
class Question:
    """A day of which nobody has said whether it was done as recommended. `episode` names its own, `2006/a-01`.

    With `about`, whether something that the device found is so: `choices` are the answers, each with its words.
    """

    episode: str
    date: str
    text: str
    amounts: tuple[Amount, ...] = ()
    about: str = ""
    choices: tuple[tuple[str, str], ...] = (("done", "Yes, as recommended"), ("nothing", "No, nothing was applied"))


@dataclass(frozen=True)
class Advice:
    """One recommendation in words. `done` says what was really done on its day, once that is known."""

    date: str
    is_today: bool
    is_action: bool
    headline: str
    reasons: tuple[str, ...]
    guardrails: tuple[str, ...]
    expected: Range | None
    gauge: Gauge | None
    basis: tuple[str, ...]
    is_fallback: bool
    done: str | None


@dataclass(frozen=True)
class PastDay:
    """What was recommended and what was done on one day."""

    date: str
    recommended: str | None
    done: str | None
    is_override: bool
    note: str


@dataclass(frozen=True)
class ChannelHealth:
    """One channel of a logger: its last value, whether that is good, and how many of its latest values were."""

    name: str
    label: str
    unit: str
    value: float | None
    is_good: bool
    time_utc: str | None
    age_s: float | None
    samples: int
    good: int
    last_flag: str | None
    last_flag_utc: str | None


@dataclass(frozen=True)
class LoggerHealth:
    """One logger. It is silent when its last sample is older than a logger's should be."""

    name: str
    last_utc: str | None
    age_s: float | None
    is_silent: bool
    channels: tuple[ChannelHealth, ...]


@dataclass(frozen=True)
class ModelFacts:
    """The model on the device, or why there is none that can be used; in words, where the rule decides in its place.

    `state` is watching, confirmed or reverted, and `standing` says it in words; on watch, so many decisions were seen.
    """

    contract_hash: str
    version: str | None = None
    precision: str | None = None
    slot: str | None = None
    error: str | None = None
    left_to_rule: tuple[str, ...] = ()
    state: str | None = None
    reason: str = ""
    watched: int | None = None
    to_watch: int | None = None
    former_version: str | None = None
    standing: str = ""


@dataclass(frozen=True)
class LinkFacts:
    """What waits to be sent, and when the link was last used."""

    gateway: str | None = None
    waiting_batches: int = 0
    waiting_bytes: int = 0
    last_sync_utc: str | None = None
    last_update_utc: str | None = None


@dataclass(frozen=True)
class StoreFacts:
    """How full the store is. `records` counts them by state."""

    max_bytes: int
    used_bytes: int | None = None
    records: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ClockFacts:
    """The device's time, and whether anyone confirmed it; None where only the service could say."""

    now_utc: str
    is_trusted: bool | None = None
    note: str | None = None


@dataclass(frozen=True)
class EventFacts:
    """Something that happened to the device, `times` times between the two moments."""

    kind: str
    text: str
    time_utc: str
    last_utc: str
    times: int


@dataclass(frozen=True)
class View:
    """The whole page."""

    device_id: str
    workload: str
    clock: ClockFacts
    model: ModelFacts
    store: StoreFacts
    link: LinkFacts
    is_readable: bool = True
    period: int | None = field(default=None, metadata={AS_JSON: PERIOD_KEY})
    place: str = ""
    notices: tuple[Notice, ...] = ()
    next_steps: tuple[str, ...] = ()
    advice: Advice | None = None
    figures: tuple[Figure, ...] = ()
    chart: Chart | None = None
    history: tuple[PastDay, ...] = ()
    questions: tuple[Question, ...] = ()
    loggers: tuple[LoggerHealth, ...] = ()
    more_loggers: int = 0
    steps: tuple[StepState, ...] = ()
    events: tuple[EventFacts, ...] = ()


class Presenter(Protocol):
    """What the numbers of one workload mean for a person. Nothing that a record holds makes it raise."""

    @property
    def rule(self) -> str:
        """What decides where no model does: "the built-in rule"."""

    def place(self, episode: EpisodeRecords, today: date) -> str:
        """Which unit this is and how far its episode has come, in one line."""

    def advice(self, episode: EpisodeRecords, today: date) -> Advice | None:
        """Today's recommendation, else the last one before it, else the last one."""

    def lines(self, record: Record) -> list[str]:
        """One decision for a person on a terminal."""

    def figures(self, episode: EpisodeRecords) -> tuple[Figure, ...]:
        """The few numbers that sum up the episode so far."""

    def chart(self, episode: EpisodeRecords) -> Chart | None:
        """The episode day by day; None while there is nothing to draw."""

    def history(self, episode: EpisodeRecords, count: int) -> tuple[PastDay, ...]:
        """The last days on which something was recommended or done, newest first."""

    def questions(self, episode: EpisodeRecords, today: date) -> tuple[Question, ...]:
        """What a person should be asked of the last days, newest first."""

    def channel(self, name: str) -> tuple[str, str]:
        """A channel's name and unit for a person."""
