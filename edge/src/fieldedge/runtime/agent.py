"""The device through an episode: records in, a decision out, everything kept.

The agent needs no link and no clock: the messages carry their dates. A record is on disk before anything is answered
that depends on it, and what the agent knows of an episode it follows from the store alone: so it sees what another
process recorded, and after a crash the source simply repeats the episode. A message that cannot be accepted is kept
with the reason, answered, and forgotten; the episode goes on. What a message means is asked of the workload.
"""

import json
import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TextIO

from fieldedge.contract import MODEL, Record
from fieldedge.device.config import DeviceConfig
from fieldedge.inference.loading import NO_MODEL, LoadedModel
from fieldedge.presentation.text import printable
from fieldedge.runtime.adviser import Adviser, Answer
from fieldedge.runtime.watching import Watching
from fieldedge.storage import episodes
from fieldedge.storage.corrections import put, said
from fieldedge.storage.schema import asked
from fieldedge.storage.store import Store
from fieldedge.system import strict_json
from fieldedge.system.errors import DataError, FieldloopError
from fieldedge.transfer.summary import episode_summary
from fieldedge.workload import (
    Decision,
    Episode,
    EveryWindow,
    Question,
    Workload,
    chosen_with,
    decision_values,
    merit_by,
)

MAX_LINE_CHARACTERS = 100_000
ASKS = "decide"  # the kind of message that asks for a decision

_log = logging.getLogger(__name__)


class Agent:
    """Handles a device's messages one by one. `loaded` is None where no model may be trusted."""

    def __init__(self, config: DeviceConfig, workload: Workload, store: Store, loaded: LoadedModel | None) -> None:
        self._config = config
        self._workload, self._contract = workload, workload.contract
        self._merit = merit_by(workload)
        self._folded = self._contract.tables_of("observation", "action", "outcome", "feedback")
        self._store = store
        self._context: Record | None = None
        self._episode: Episode | None = None
        self._followed = 0  # the store's sequence up to which this episode is known
        self._known: list[Record] | None = None
        self._undecided: set[str] = set()  # moments of observations, of which some may be decided by now
        self.use_model(loaded)
        self._restore()

    def use_model(self, loaded: LoadedModel | None) -> None:
        """Decide with another model from now on; one on watch is watched, and left where what was seen says so."""
        self._take(loaded)
        is_watched = loaded is not None and loaded.watch is not None
        self._watching = Watching(loaded, self._config, self._workload, self._store) if loaded and is_watched else None
        self._end_watch()

    def _take(self, loaded: LoadedModel | None) -> None:
        self.model_version = NO_MODEL if loaded is None else loaded.installed.version
        self._bundle_sha256 = None if loaded is None else loaded.installed.bundle_sha256 or None
        self._adviser = Adviser(loaded, self._workload)

    def _end_watch(self) -> None:
        if self._watching is None:
            return
        is_over, loaded = self._watching.end()
        if is_over:
            self._watching = None
            self._take(loaded)

    @property
    def context(self) -> Record | None:
        """What was said of the episode under way when it was opened."""
        self._follow()
        return self._context

    @property
    def is_over(self) -> bool:
        """Whether the outcome of the episode under way is known."""
        self._follow()
        return self._episode is not None and self._episode.is_over()

    def undecided(self) -> list[str]:
        """The moments that the workload wants a decision for, by the observations of the episode under way."""
        self._follow()
        context = self._context
        if context is not None:
            self._undecided = {at for at in self._undecided if self._store.get(self._identity(context, at)) is None}
        return sorted(self._undecided)

    def take_up(self, at: str) -> Record | None:
        """Go on with the episode that a day or a time is of, the last that was opened by then; its context, if any.

        What was told last need not be it: next year's episode is described ahead, a former one is told late.
        """
        self._follow()
        if self._contract.episode.opens_with is None:
            return self._context
        found = episodes.of_moment(self._contexts(), self._contract, at, self._context)
        if found is not None and not self._is_current(found):
            self._load(found)
        return found

    def answers(self, lines: Iterable[str]) -> Iterator[Record]:
        """The answers to a stream of JSON lines, and the episode's summary at its end."""
        for number, line in enumerate(lines, start=1):
            if line.strip():
                answer = self.answer_line(line, f"line {number}")
                if answer is not None:
                    yield answer
        episode = None if self._context is None else self._contract.episode.kept_as(self._context)
        yield {"kind": "summary", **episode_summary(self._store, self._workload, episode, self.model_version)}

    def answer_line(self, line: str, where: str) -> Record | None:
        """The answer to one line, if it gets one. Never raises for what a source sends.

        Raises:
            StoreBusy, StoreFailed, OSError: the store cannot be written.
        """
        try:
            message = _parsed(line)
            where = self._named(message, where)
            return self._handle(message)
        except DataError as error:
            _log.warning("rejected %s: %s", where, error)
            reason = str(error)
        except (FieldloopError, OSError):
            raise  # the store or the disk: nothing can be kept, so the process ends and the source repeats
        except Exception as error:  # noqa: BLE001  (the loop's edge: one message ends nothing)
            _log.exception("rejected %s", where)
            reason = f"this fieldedge cannot handle it ({error!r}); report it with the device's log"
        self._store.reject(where, reason, line.strip()[:MAX_LINE_CHARACTERS])
        return {"kind": "rejected", "where": where, "error": reason}

    def _handle(self, message: Record) -> Record | None:
        kind, workload = message.get("kind"), self._workload
        if kind == ASKS:
            return {"kind": "recommendation", **self.decide(self._moment(message))}
        if isinstance(kind, str) and kind in workload.notes:
            note = workload.notes[kind](message)
            self._store.add_event(kind, note.text, note.values)
            return {"kind": "stored"}
        if not isinstance(kind, str) or kind not in workload.messages:
            *others, last = (*workload.messages, *workload.notes, ASKS)
            raise DataError(f"kind is {kind!r}; expected {', '.join(others)} or {last}")
        table = self._contract.table(workload.messages[kind])
        if table.role == "context":
            self._take_context(_record(message))
        elif table.role == "action" and "basis" in table.column_names:
            self._keep_done(table.name, _record(message))
        else:
            self.keep(table.name, _record(message))
        return {"kind": "stored"} if table.role in ("context", "outcome") else None

    def decide(self, at: str) -> Record:
        """The decision for a moment of the episode that it is of. A moment once decided keeps its decision.

        Raises:
            DataError: no episode is known yet, or the moment is in none.
        """
        started_ns = time.perf_counter_ns()
        self.take_up(at)
        context, episode = self._current()
        identity = self._identity(context, at)
        known = self._store.get(identity)
        if known is not None:
            return known
        question = self._adviser.as_asked(episode.question(at, lambda kind: self._store.events(1, kind)))
        spent_ns = time.perf_counter_ns() - started_ns
        with self._asking(question):  # what it writes is no part of the decision's time
            record = self._decided(context, episode, question, time.perf_counter_ns() - spent_ns)
        self._end_watch()
        return record

    def _asking(self, question: Question) -> AbstractContextManager[None]:
        """Where a model on watch will be asked, who dies of it is counted."""
        if self._watching is None or question.doubt is not None:
            return nullcontext()
        return self._watching.asking()

    def _decided(self, context: Record, episode: Episode, question: Question, started_ns: int) -> Record:
        """The answer to a question, stored; what another process stored for that moment meanwhile stands."""
        answer = self._adviser.ask(context, question)
        decision = episode.answer(question, answer.outputs, answer.abstained)
        try:
            record = self._recorded(context, question, decision)
        except DataError as error:
            if decision.source != MODEL:
                raise
            _log.error("the model abstains on %s: %s", question.at, error)
            answer = Answer(None, str(error))
            decision = episode.answer(question, None, str(error))
            record = self._recorded(context, question, decision)
        record["latency_ms"] = round((time.perf_counter_ns() - started_ns) / 1e6, 3)
        table = self._contract.decision_table.name
        taught, day = asked(self._merit, table, record), chosen_with(self._store, self._workload, table, record)
        watched = None
        if self._watching is not None:
            watched = self._watching.seen(context, episode, question, answer, decision, record)
        try:
            self._store.add(table, record, merit=taught, day=day, watched=watched)
        except DataError:  # another process decided this moment in the meantime; its answer was given, so it stands
            return self._store.get(record["record_id"]) or record
        if self._watching is not None and watched is not None:
            self._watching.add(watched)
        return record

    def _recorded(self, context: Record, question: Question, decision: Decision) -> Record:
        """A decision as it is stored, with what the model was asked and which one that was.

        Raises:
            DataError: it breaks the contract.
        """
        contract = self._contract
        values = decision_values(contract, context, question, decision, self.model_version, self._bundle_sha256)
        table = contract.decision_table.name
        return {**values, **contract.record(table, values, f"recommendation of {question.at}")}

    def _identity(self, context: Record, at: str) -> str:
        """Which decision is for that moment."""
        contract = self._contract
        return contract.record_id(contract.decision_table.name, {**context, contract.decided_at.name: at})

    def keep(self, table: str, record: Record, flags: Mapping[str, Any] | None = None) -> Record:
        """Check a record and store it with the episode that it names; `flags` is what quality control said of it.

        Raises:
            DataError: the record breaks the contract, is of no episode that is known or of a day outside it, or
                contradicts a stored one.
        """
        checked = self._contract.record(table, record, self._contract.moment(table, record)[:40])
        return self.store_checked(table, checked, flags)

    def store_checked(self, table: str, checked: Record, flags: Mapping[str, Any] | None = None) -> Record:
        """As `keep`, for what the contract made already.

        Raises:
            DataError: the record is of no episode that is known or of a day outside it, or contradicts a stored one,
                also by being a second one of what an episode has once.
        """
        try:
            self._check_is_of_an_episode(table, checked)
        except DataError:
            if self._store.get(checked["record_id"]) == checked:
                return checked  # after a crash a source brings again what is stored, and a former version took more
            raise
        self._store.add(table, checked, flags, day=chosen_with(self._store, self._workload, table, checked))
        return checked

    def _keep_done(self, table: str, told: Record) -> None:
        """Keep what a source says was done. It takes the place of what was assumed, as a person's word does.

        Whoever tells of an action says that it was done; messages of before say no basis.
        """
        contract = self._contract
        checked = contract.record(table, {"basis": "confirmed", **told}, contract.moment(table, told)[:40])
        rows = said(self._store, checked["record_id"])
        if any(self._is_told_again(table, told, checked, row) for row in rows):
            return
        is_assumed = bool(rows) and contract.current(table, rows[-1])["basis"] == "assumed"
        if is_assumed and checked["basis"] == "confirmed":
            self._check_is_of_an_episode(table, checked)
            put(self._store, contract, table, checked)
        else:
            self.store_checked(table, checked)

    def _is_told_again(self, table: str, told: Record, checked: Record, row: Record) -> bool:
        """Whether a stored row says the same; of one from before there was a basis, as far as it goes."""
        is_former = "basis" not in row and "basis" not in told
        noted = row if is_former else self._contract.current(table, row)
        differing = {"record_id", "basis"} if is_former else {"record_id"}
        names = [name for name in self._contract.table(table).column_names if name not in differing]
        return all(noted.get(name) == checked.get(name) for name in names)

    def _check_is_of_an_episode(self, table: str, checked: Record) -> None:
        """The one under way, or a former or coming one that the record names."""
        contract, where = self._contract, self._contract.moment(table, checked)
        key, (current, _) = contract.episode, self._current()
        known = [current] if self._is_current(checked) else self._contexts()
        context = next((one for one in known if key.of(one) == key.of(checked)), None)
        if context is None:
            found, here = (", ".join(f"{name} {row[name]!r}" for name in key.columns) for row in (checked, current))
            raise DataError(f"the record is of {found}; this device is in {here}")
        contract.check_days(table, checked, context, where)
        if contract.table(table).is_once_an_episode:
            contract.check_is_only_one(
                table, checked, self._store.records(contract.episode.kept_as(context), table), where
            )

    def _take_context(self, record: Record) -> None:
        """An episode begins. One that is told again is known; told otherwise, it is corrected while it was not sent.

        Raises:
            DataError: it breaks the contract, contradicts itself, is of another device, or was sent already.
        """
        contract, table = self._contract, self._contract.context_table
        where = f"{contract.episode.columns[0]} {record.get(contract.episode.columns[0])}"
        checked = contract.record(table.name, record, where)
        if checked.get("device_id") not in (None, self._config.device_id):
            raise DataError(f"the record is of device {checked['device_id']}; this is {self._config.device_id}")
        fault = self._workload.contradiction(checked, self._config.site)
        known = self._store.get(checked["record_id"])
        if fault is not None and known != checked:  # a former version took what is known already
            raise DataError(f"{where}: {fault}")
        if known is None:
            self._store.add(table.name, checked, day=contract.day(table.name, checked))
        elif known != checked:
            self._store.replace(table.name, checked, "it was told anew")

    def _current(self) -> tuple[Record, Episode]:
        self._follow()
        if self._context is None or self._episode is None:
            opening = self._contract.context_table.name
            kind = next(kind for kind, table in self._workload.messages.items() if table == opening)
            raise DataError(f"no {kind} is known yet; expected a message of kind {kind} first")
        return self._context, self._episode

    def _restore(self) -> None:
        """The episode of the last moment that the store tells of, as it was left; the latest where there is none."""
        self._followed = self._store.last_sequence()
        told = (*self._folded, self._contract.decision_table.name)
        for episode in reversed(self._store.episodes()):
            last = [(table, rows[-1]) for table in told if (rows := self._store.records(episode, table))]
            if last and self.take_up(max(self._contract.moment(*one) for one in last)) is not None:
                return
        if known := self._contexts():
            self._load(known[-1])

    def _load(self, context: Record) -> None:
        """Take up an episode from all that the store has of it."""
        self._followed, self._known = self._store.last_sequence(), None
        self._begin(context)
        for table in self._folded:
            for row in self._store.records(self._contract.episode.kept_as(context), table):
                self._fold_in(table, row)

    def _begin(self, context: Record) -> None:
        self._context, self._episode = context, self._workload.begin(context)
        self._undecided = set()

    def _follow(self) -> None:
        """Take in what came into the store since the last look, whoever put it there."""
        opens = self._contract.context_table.name
        for sequence, table, record in self._store.records_after(self._followed, (opens, *self._folded)):
            self._followed = sequence
            if table != opens:
                self._fold_in(table, record)
                continue
            self._known = None
            if self._context is not None and self._is_current(record):
                if record != self._context:
                    self._load(record)  # it was corrected: all that was folded is folded anew
                    return
            else:
                self._begin(record)

    def _contexts(self) -> list[Record]:
        """What was said of each episode when it was opened, read again once something was."""
        if self._known is None:
            self._known = episodes.contexts(self._store, self._contract)
        return self._known

    def _fold_in(self, table: str, record: Record) -> None:
        if self._episode is not None and self._is_current(record):
            self._episode.fold(table, record)
            if self._contract.table(table).role == "observation" and isinstance(self._workload.trigger, EveryWindow):
                window = self._workload.windows.window(self._contract.moment(table, record))
                self._undecided.add(self._contract.decided_at.at(window.end))

    def _is_current(self, record: Record) -> bool:
        key = self._contract.episode
        return self._context is not None and key.of(record) == key.of(self._context)

    def _named(self, message: Record, where: str) -> str:
        """What a message is about, for the person who reads why it was rejected."""
        kind, record = message.get("kind"), message.get("record")
        table = self._workload.messages.get(kind) if isinstance(kind, str) else None
        if table is not None and isinstance(record, dict):
            moment = record.get(self._contract.table(table).moment.name)
        else:
            moment = message.get(self._contract.decided_at.name)
        return " ".join(printable(str(part)[:40]) for part in (kind, moment) if part) or where

    def _moment(self, message: Record) -> str:
        """What a decision is asked for."""
        column = self._contract.decided_at
        moment: str = column.check(message.get(column.name), "decide")
        return moment


def bounded_lines(stream: TextIO) -> Iterator[str]:
    """The lines of a stream, of one that is too long only so much that it is seen: the rest is read past."""
    while line := stream.readline(MAX_LINE_CHARACTERS + 1):
        yield line
        while len(line) > MAX_LINE_CHARACTERS and not line.endswith("\n"):
            line = stream.readline(MAX_LINE_CHARACTERS + 1)


def _parsed(line: str) -> Record:
    if len(line) > MAX_LINE_CHARACTERS:
        raise DataError(f"the line has {len(line)} characters or more; at most {MAX_LINE_CHARACTERS} are read")
    try:
        message = strict_json.loads(line, parse_float=_finite, parse_constant=_finite)
        json.dumps(message, ensure_ascii=False).encode()  # half a surrogate pair is JSON, but cannot be stored
    except (ValueError, RecursionError) as error:
        raise DataError(f"the line is not readable JSON: {error}") from error
    if not isinstance(message, dict):
        raise DataError(f"the line holds {type(message).__name__}; expected an object with a kind")
    return message


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number; a missing value is null")
    return value


def _record(message: Record) -> Record:
    record = message.get("record")
    if not isinstance(record, dict):
        raise DataError(f"record is {type(record).__name__}; expected an object with the table's columns")
    return record
