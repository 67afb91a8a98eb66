"""Reads what the page shows: the store, the slots, the settings, and what the service says of itself.

It only reads. Each part is asked for on its own: one that cannot be read becomes a notice, and the others are shown.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from fieldedge.contract import Contract, Record, Role
from fieldedge.device.config import DeviceConfig, DeviceDirectory
from fieldedge.inference.loading import slices_of, usable
from fieldedge.inference.standing import standing
from fieldedge.page.loggers import NO_LOGGERS, read_loggers
from fieldedge.presentation.facts import (
    AS_JSON,
    ClockFacts,
    EpisodeRecords,
    EventFacts,
    LinkFacts,
    ModelFacts,
    Notice,
    Presenter,
    ServiceState,
    StepState,
    StoreFacts,
    View,
)
from fieldedge.presentation.text import as_number, shortened, size, span
from fieldedge.storage.episodes import of_moment_or_latest
from fieldedge.storage.store import PreparedBatch, Store
from fieldedge.system.clock import format_utc, parse_utc
from fieldedge.system.errors import FieldloopError
from fieldedge.workload import At, EveryWindow, Trigger, Workload, opening_kind

HISTORY_DAYS = 10
EVENTS = 12
DOUBTS = "doubt", "shift", "loggers", "asked"  # events of what loggers send
NEWS = timedelta(days=2)  # they are looked at for so long
NEARLY_FULL = 0.9
LONG_STEP_S = 300.0

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass
class Reader:
    """Asks for the parts of a view, and keeps what could not be answered."""

    directory: DeviceDirectory
    config: DeviceConfig
    workload: Workload
    presenter: Presenter
    now: datetime
    store: Store | None
    state: ServiceState
    problems: list[str] = field(default_factory=list)

    def ask(self, what: Callable[[], _T], default: _T) -> _T:
        """The answer, or the default and a problem to tell of."""
        try:
            return what()
        except (FieldloopError, OSError) as error:
            problem = str(error)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _log.exception("a part of the page cannot be shown")
            problem = f"a part of this page cannot be shown ({type(error).__name__}: {error})"
        if problem not in self.problems:
            self.problems.append(problem)
        return default


def read_view(
    directory: DeviceDirectory,
    config: DeviceConfig,
    workload: Workload,
    now: datetime,
    store: Store | None,
    state: ServiceState | None = None,
    problems: Sequence[str] = (),
    *,
    is_readable: bool = True,
) -> View:
    """Everything that the page shows at this moment. `store` is None where there is none yet or, if not `is_readable`,
    none that can be read. `problems` are what is known to be wrong already."""
    presenter = workload.presenter
    reader = Reader(directory, config, workload, presenter, now, store, state or {}, list(problems))
    episode = None if store is None else reader.ask(lambda: _episode_of(store, workload.contract, now), None)
    view = View(
        device_id=config.device_id,
        workload=config.workload,
        clock=ClockFacts(format_utc(now), reader.state.get("is_time_trusted"), reader.state.get("clock_note")),
        model=_with_standing(_model(directory, workload), reader),
        store=_store(reader),
        is_readable=is_readable,
        link=_link(reader),
        steps=tuple(step for step in reader.state.get("steps") or () if isinstance(step, dict)),
        events=() if store is None else reader.ask(lambda: _events(store), ()),
    )
    if store is not None:
        found = reader.ask(lambda: read_loggers(store, episode, workload, reader.presenter, now), NO_LOGGERS)
        view = replace(view, loggers=found.shown, more_loggers=found.more)
    if episode is not None:
        view = _with_episode(view, reader, episode)
    next_steps = _next_steps(view, config, workload)
    doubts = [] if store is None else reader.ask(lambda: _doubts(store, now), list[Notice]())
    notices = [*_notices(view, reader.problems, presenter.rule), *doubts]
    return replace(view, next_steps=next_steps, notices=tuple(notices))


def plain(value: Any) -> Any:
    """The view as JSON can hold it; what is not a finite number is None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.metadata.get(AS_JSON, one.name): plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return as_number(value)
    return value


# The episode


def _episode_of(store: Store, contract: Contract, now: datetime) -> EpisodeRecords | None:
    """The episode that this moment is of, else the latest that the store knows."""
    context = of_moment_or_latest(store, contract, format_utc(now))
    if context is None:
        return None

    def said(role: Role) -> list[tuple[str, Record]]:
        return [
            (table, record)
            for table in contract.tables_of(role)
            for record in store.records(contract.episode.kept_as(context), table)
            if all(record.get(name) == context.get(name) for name in contract.episode.columns)
        ]

    def last(role: Role) -> list[Record]:
        by_moment = {
            f"{table}/{contract.moment(table, record)}": contract.current(table, record) for table, record in said(role)
        }
        return list(by_moment.values())

    return EpisodeRecords(
        context,
        observations=last("observation"),
        actions=last("action"),
        decisions=last("decision"),
        outcomes=last("outcome"),
        feedback=[record for _, record in said("feedback")],
    )


def _with_episode(view: View, reader: Reader, episode: EpisodeRecords) -> View:
    presenter, today = reader.presenter, reader.now.date()
    number = episode.context.get(reader.workload.contract.episode.period)
    return replace(
        view,
        period=number if isinstance(number, int) else None,
        place=reader.ask(lambda: presenter.place(episode, today), ""),
        advice=reader.ask(lambda: presenter.advice(episode, today), None),
        figures=reader.ask(lambda: presenter.figures(episode), ()),
        chart=reader.ask(lambda: presenter.chart(episode), None),
        history=reader.ask(lambda: presenter.history(episode, HISTORY_DAYS), ()),
        questions=reader.ask(lambda: presenter.questions(episode, today), ())
        if reader.config.page.takes_answers
        else (),
    )


# The device


def _model(directory: DeviceDirectory, workload: Workload) -> ModelFacts:
    """The model that truly decides, and why it is not the one that was installed last, where it is not."""
    contract_hash = workload.contract.hash
    try:
        used, problem = usable(directory, workload)
    except OSError as error:
        return ModelFacts(contract_hash, error=str(error))
    if used is None:
        return ModelFacts(contract_hash, error=problem)
    left_to_rule = tuple(one.words for one in slices_of(directory, used, workload))
    return ModelFacts(contract_hash, used.version, used.precision, used.slot, problem, left_to_rule)


def _with_standing(facts: ModelFacts, reader: Reader) -> ModelFacts:
    found = reader.ask(lambda: standing(reader.directory, reader.store, reader.config.watch), None)
    if found is None:
        return facts
    return replace(
        facts,
        state=found.state,
        reason=found.reason,
        watched=found.watched,
        to_watch=found.to_watch,
        former_version=found.former_version,
        standing=found.words,
    )


def _store(reader: Reader) -> StoreFacts:
    facts, store = StoreFacts(reader.config.store.max_bytes), reader.store
    if store is None:
        return facts
    return replace(
        facts, used_bytes=reader.ask(store.used_bytes, None), records=reader.ask(store.states, dict[str, int]())
    )


def _link(reader: Reader) -> LinkFacts:
    link, state = reader.config.link, reader.state.get("link") or {}
    waiting: list[PreparedBatch] = []
    if reader.store is not None:
        waiting = reader.ask(reader.store.prepared_batches, waiting)
    return LinkFacts(
        gateway=None if link is None else link.gateway,
        waiting_batches=len(waiting),
        waiting_bytes=sum(batch.bytes for batch in waiting),
        last_sync_utc=state.get("last_sync_utc") or _last_utc(reader, "link_sync"),
        last_update_utc=state.get("last_update_utc") or _last_utc(reader, "link_update"),
    )


def _last_utc(reader: Reader, kind: str) -> str | None:
    """When an event of that kind came last: what the link did before this start."""
    store = reader.store
    events = [] if store is None else reader.ask(lambda: store.events(1, kind), list[Record]())
    return events[0]["last_utc"] if events else None


def _events(store: Store) -> tuple[EventFacts, ...]:
    return tuple(
        EventFacts(event["kind"], event["text"], event["time_utc"], event["last_utc"], event["times"])
        for event in store.events(EVENTS)
    )


# What to know, and what to do


def _when(trigger: Trigger, config: DeviceConfig) -> str:
    if isinstance(trigger, At):
        return f"at {config.decide.at_utc or trigger.utc} UTC"
    return "with its first observation" if isinstance(trigger, EveryWindow) else "when a message asks"


def _next_steps(view: View, config: DeviceConfig, workload: Workload) -> tuple[str, ...]:
    """What a device that is not at work yet still needs, in order."""
    if view.advice is not None or not view.is_readable:
        return ()
    steps, kind = [], opening_kind(workload)
    if view.period is None:
        steps.append(
            f'Describe the {kind}: send its record, a line of JSON with "kind": "{kind}", to a source or to fieldedge '
            "run."
        )
    if not view.loggers:
        has_source = bool(config.sources)
        steps.append(
            "Wait for the first samples; fieldedge doctor says what each source sees."
            if has_source
            else "Connect the loggers: add a [[source]] for each to device.toml, then try fieldedge doctor."
        )
    if view.model.version is None:
        steps.append(
            "Install a model: fieldedge update where there is a link, fieldedge import from a stick where there is "
            f"none. Until then {workload.presenter.rule} decides."
        )
    steps.append(
        f"The first recommendation comes once the {kind} is known, {_when(workload.trigger, config)}, "
        "or at once with fieldedge recommend."
    )
    return tuple(steps)


def _notices(view: View, problems: Sequence[str], rule: str) -> list[Notice]:
    notices = [Notice("bad", problem) for problem in problems]
    if view.model.error is not None:
        until = "" if view.model.version is not None else f". Until then {rule} decides."
        notices.append(Notice("bad", f"{view.model.error}{until}"))
    for step in view.steps:
        if (as_number(step.get("failures")) or 0) > 0:
            notices.append(Notice("warn", _failing(step)))
        if (as_number(step.get("running_s")) or 0.0) > LONG_STEP_S:
            notices.append(Notice("warn", f"{step.get('name')} has been at it for {running(step)}."))
    if view.clock.note:
        notices.append(Notice("warn", f"The time may be wrong: {view.clock.note}."))
    silent = [f"{logger.name} ({span(logger.age_s)})" for logger in view.loggers if logger.is_silent]
    if silent:
        notices.append(Notice("warn", f"Silent, with the age of the last sample: {', '.join(silent)}."))
    used = view.store.used_bytes
    if used is not None and used > NEARLY_FULL * view.store.max_bytes:
        notices.append(
            Notice("warn", f"The store holds {size(used)} of {size(view.store.max_bytes)}: old samples make room.")
        )
    if view.advice is not None and view.model.version is None and view.model.error is None:
        notices.append(Notice("note", f"No model is installed: {rule} decides. Run fieldedge update."))
    return notices


def _doubts(store: Store, now: datetime) -> list[Notice]:
    """What the service last doubted of what loggers send, of each kind, while it is news."""
    latest = [event for kind in DOUBTS for event in store.events(1, kind)]
    return [Notice("warn", f"{event['text']}.") for event in latest if now - parse_utc(event["last_utc"]) <= NEWS]


def running(step: StepState) -> str:
    """For how long a step has run, and what it is doing."""
    doing = str(step.get("doing") or "")
    return span(as_number(step.get("running_s"))) + (f": {shortened(doing)}" if doing else "")


def _failing(step: StepState) -> str:
    failures = as_number(step.get("failures")) or 0
    due = as_number(step.get("due_in_s"))
    times = "once" if failures == 1 else f"{failures:.0f} times in a row"
    again = "" if due is None else f" It is tried again in {span(due)}."
    return f"{step.get('name')} failed {times}: {shortened(str(step.get('error')))}.{again}".replace("..", ".")
