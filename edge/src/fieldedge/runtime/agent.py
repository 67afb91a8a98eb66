"""The device through a season: readings in, a recommendation out, everything kept.

The agent needs no link and no clock: the field's messages carry their dates. A record is on disk before anything is
answered that depends on it, and what the agent knows of a season it follows from the store alone: so it sees what
another process recorded, and after a crash the field simply repeats its season. A message that cannot be accepted is
kept with the reason, answered, and forgotten; the season goes on.
"""

import json
import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from fieldedge.contract import Record
from fieldedge.device.config import DeviceConfig
from fieldedge.inference.loading import NO_MODEL, Booted
from fieldedge.inference.ood import Familiarity
from fieldedge.storage.store import Store
from fieldedge.system import strict_json
from fieldedge.system.errors import DataError, FieldloopError, ReleaseError
from fieldedge.transfer.summary import season_summary
from fieldedge.workloads import Workload
from fieldedge.workloads.agriculture import Day, Forecast, Recommendation

MAX_LINE_CHARACTERS = 100_000
FAULTY_WINDOW_D, USABLE_DAYS_MIN = 7, 4  # of the last week at least so many days must have had a usable reading
SEASON_TABLES = ("fields", "readings", "operations")
MAX_FORECAST_D, MIN_FORECAST_D = 7, 3

_log = logging.getLogger(__name__)


class FieldSeason:
    """One field's season in memory: what was read and done, and the state folded from it so far."""

    def __init__(self, record: Record, workload: Workload) -> None:
        self.record = record
        self._workload = workload
        self._episode = workload.contract.episode
        self._planting = date.fromisoformat(record["planting_date"])
        self._readings: dict[str, Record] = {}
        self._done: dict[str, tuple[float, float]] = {}
        self._state: Any = None
        self._state_date = self._planting

    @property
    def identity(self) -> tuple[int, str]:
        return self.record["season"], self.record["field_id"]

    def add_reading(self, reading: Record) -> None:
        self._readings[reading["date"]] = reading
        self._forget_from(reading["date"])

    def add_operation(self, operation: Record) -> None:
        self._done[operation["date"]] = operation["irrigation_mm"], operation["nitrogen_kg_ha"]
        self._forget_from(operation["date"])

    def has(self, today: str) -> bool:
        """Whether the day is in this season: from planting on, and not far beyond any season."""
        return self._episode.has_day(today, self.record)

    def state_on(self, today: str) -> Any:
        """What is known on the morning of `today`. Folds in only the days since the last call.

        Raises:
            DataError: the day is before planting or far beyond any season.
        """
        morning = date.fromisoformat(today)
        if not self.has(today):
            raise DataError(
                f"{today} is not in the season {self._episode.of(self.record)}; expected "
                f"{self._episode.window_words(self.record)}"
            )
        if self._state is None or self._state_date > morning:
            self._state, self._state_date = self._workload.start(self.record), self._planting
        state, self._state = self._state, None  # a day that fails must not leave a half-folded state behind
        while self._state_date < morning:
            state.advance(self._day(self._state_date.isoformat()))
            self._state_date += timedelta(days=1)
        self._state = state
        return state

    def usable_days(self, today: str) -> tuple[int, int]:
        """Of the last week (or of the days since planting), how many had a usable reading, and how many there were."""
        morning = date.fromisoformat(today)
        days = min((morning - self._planting).days, FAULTY_WINDOW_D)
        dates = [(morning - timedelta(days=back)).isoformat() for back in range(1, days + 1)]
        return sum(day in self._readings for day in dates), days

    def _day(self, day: str) -> Day:
        irrigation_mm, nitrogen_kg_ha = self._done.get(day, (0.0, 0.0))
        return Day(day, self._readings.get(day), irrigation_mm, nitrogen_kg_ha)

    def _forget_from(self, day: str) -> None:
        """A record for a day that was folded in already came late: fold anew."""
        if day < self._state_date.isoformat():
            self._state = None


class Agent:
    """Handles the field's messages one by one. `booted` is None where no model may be trusted."""

    def __init__(self, config: DeviceConfig, workload: Workload, store: Store, booted: Booted | None) -> None:
        self._config = config
        self._workload = workload
        self._store = store
        self._field: FieldSeason | None = None
        self._followed = 0  # the store's sequence up to which this season is known
        self.use_model(booted)
        self._restore()

    def use_model(self, booted: Booted | None) -> None:
        """Decide with another model from now on."""
        self._model = None if booted is None else booted.model
        self.model_version = NO_MODEL if booted is None else booted.installed.version
        self._bundle_sha256 = None if booted is None else booted.installed.bundle_sha256 or None
        reference = None if booted is None else booted.reference
        self._familiarity = None if reference is None else Familiarity(reference, self._workload.contract)

    @property
    def field(self) -> Record | None:
        """The field of the season under way, as it was described."""
        self._follow()
        return None if self._field is None else self._field.record

    def answers(self, lines: Iterable[str]) -> Iterator[Record]:
        """The answers to a stream of JSON lines, and the season's summary at its end."""
        for number, line in enumerate(lines, start=1):
            if line.strip():
                answer = self.answer_line(line, f"line {number}")
                if answer is not None:
                    yield answer
        season = None if self._field is None else self._field.identity[0]
        yield {"kind": "summary", **season_summary(self._store, season, self.model_version)}

    def answer_line(self, line: str, where: str) -> Record | None:
        """The answer to one line, if it gets one. Never raises for what the field sends.

        Raises:
            StoreBusy, StoreFailed, OSError: the store cannot be written.
        """
        try:
            message = _parsed(line)
            where = _named(message, where)
            return self._handle(message)
        except DataError as error:
            _log.warning("rejected %s: %s", where, error)
            reason = str(error)
        except (FieldloopError, OSError):
            raise  # the store or the disk: nothing can be kept, so the process ends and the field repeats
        except Exception as error:  # noqa: BLE001  (the loop's edge: one message never ends a season)
            _log.exception("rejected %s", where)
            reason = f"this fieldedge cannot handle it ({error!r}); report it with the device's log"
        self._store.reject(where, reason, line.strip()[:MAX_LINE_CHARACTERS])
        return {"kind": "rejected", "where": where, "error": reason}

    def _handle(self, message: Record) -> Record | None:
        kind = message.get("kind")
        if kind == "field":
            self._take_field(_record(message))
            return {"kind": "stored"}
        if kind == "reading":
            self.keep("readings", _record(message))
            return None
        if kind == "operation":
            # whoever tells of an operation says that it was done; messages of before say no basis
            self.keep("operations", {"basis": "confirmed", **_record(message)})
            return None
        if kind == "harvest":
            self.keep("harvests", _record(message))
            return {"kind": "stored"}
        if kind == "forecast":
            self._take_forecast(message)
            return {"kind": "stored"}
        if kind == "decide":
            return {"kind": "recommendation", **self.decide(_day(message))}
        raise DataError(f"kind is {kind!r}; expected field, reading, forecast, decide, operation or harvest")

    def decide(self, today: str) -> Record:
        """Today's recommendation. A day once decided keeps its recommendation.

        Raises:
            DataError: no field is known yet, or the day is not in its season.
        """
        started_ns = time.perf_counter_ns()
        field = self._current()
        identity = self._identity(field.record, "recommendations", today)
        known = self._store.get(identity) or self._decided_in_another_season(field, today)
        if known is not None:
            return known
        recommendation = self._recommendation(field, today)
        try:
            record = self._recorded(field, recommendation)
        except DataError as error:
            if recommendation.source != "model":
                raise
            record = self._recorded(field, self._without_model(field, today, str(error)))
        record["latency_ms"] = round((time.perf_counter_ns() - started_ns) / 1e6, 3)
        try:
            self._store.add("recommendations", record)
        except DataError:  # another process decided this day in the meantime; its answer was given, so it stands
            return self._store.get(identity) or record
        return record

    def _recorded(self, field: FieldSeason, recommendation: Recommendation) -> Record:
        """A recommendation as it is stored.

        Raises:
            DataError: it breaks the contract.
        """
        contract, (season, field_id) = self._workload.contract, field.identity
        values = recommendation.as_record(
            season, field.record["region"], field_id, self.model_version, contract.hash, self._bundle_sha256
        )
        return {**values, **contract.record("recommendations", values, f"recommendation of {recommendation.date}")}

    def _decided_in_another_season(self, field: FieldSeason, today: str) -> Record | None:
        """The recommendation of a day that is not of this season, which a source asks for again after a crash."""
        if field.has(today):
            return None
        for season in self._store.seasons():
            for other in self._store.records(season, "fields"):
                known = self._store.get(self._identity(other, "recommendations", today))
                if known is not None:
                    return known
        return None

    def _identity(self, field: Record, table: str, day: str) -> str:
        return self._workload.contract.record_id(table, {**field, "date": day})

    def keep(self, table: str, record: Record, flags: Mapping[str, Any] | None = None) -> Record:
        """Check a dated record of the current field and store it; `flags` is what quality control said of it.

        Raises:
            DataError: the record breaks the contract, is of another field, is of a day outside its season, or
                contradicts a stored one.
        """
        checked = self._workload.contract.record(table, record, str(record.get("date"))[:40])
        return self.store_checked(table, checked, flags)

    def store_checked(self, table: str, checked: Record, flags: Mapping[str, Any] | None = None) -> Record:
        """As `keep`, for what the contract made already.

        Raises:
            DataError: the record is of another field or of a day outside its season, or contradicts a stored one, also
                by being a second one of what a season has once.
        """
        field = self._current()
        try:
            self._check_is_of(field, table, checked)
        except DataError:
            if self._store.get(checked["record_id"]) == checked:
                return checked  # after a crash a source brings again what is stored; the device may be a season on
            raise
        self._store.add(table, checked, flags)
        return checked

    def _check_is_of(self, field: FieldSeason, table: str, checked: Record) -> None:
        season, field_id = field.identity
        if (checked["season"], checked["field_id"]) != (season, field_id):
            raise DataError(
                f"season and field_id are {checked['season']} and {checked['field_id']!r}; "
                f"this device is in season {season} on {field_id!r}"
            )
        contract, where = self._workload.contract, str(checked.get("date"))
        contract.check_days(table, checked, field.record, where)
        if contract.table(table).is_once_an_episode:
            contract.check_is_only_one(table, checked, self._store.records(season, table), where)

    def _recommendation(self, field: FieldSeason, today: str) -> Recommendation:
        state = field.state_on(today)
        forecast = self._forecast(today)
        predict = None if self._model is None else self._model.predict

        def doubt(row: NDArray[np.float32]) -> str | None:
            usable, days = field.usable_days(today)
            if days == FAULTY_WINDOW_D and usable < USABLE_DAYS_MIN:
                return f"only {usable} of the last {days} days had a usable reading"
            return None if self._familiarity is None else self._familiarity.doubt(row)

        try:
            return self._workload.recommend_from_state(field.record, state, today, predict, forecast, doubt)
        except ReleaseError as error:
            return self._without_model(field, today, str(error))

    def _without_model(self, field: FieldSeason, today: str, why: str) -> Recommendation:
        """What the balance recommends, where the model failed."""
        _log.error("the model abstains on %s: %s", today, why)
        predict = None if self._model is None else self._model.predict
        state, forecast = field.state_on(today), self._forecast(today)
        return self._workload.recommend_from_state(field.record, state, today, predict, forecast, lambda _: why)

    def _take_forecast(self, message: Record) -> None:
        """Keep a weather forecast for the days from `date` on, until a later one comes."""
        issued = _day(message)
        amounts = {name: _amounts(message, name) for name in ("rain_mm", "et0_mm")}
        if len(amounts["rain_mm"]) != len(amounts["et0_mm"]):
            raise DataError("rain_mm and et0_mm have different lengths; expected one value a day in each")
        self._store.add_event("forecast", f"a forecast from {issued} on", {"issued": issued, **amounts})

    def _forecast(self, today: str) -> Forecast | None:
        """What the last forecast still says of the days from today on; None where too little is left of it."""
        for kept in self._store.events(1, "forecast"):
            passed = (date.fromisoformat(today) - date.fromisoformat(kept["issued"])).days
            if passed >= 0 and len(kept["rain_mm"]) - passed >= MIN_FORECAST_D:
                return Forecast(kept["rain_mm"][passed:], kept["et0_mm"][passed:])
        return None

    def _take_field(self, record: Record) -> None:
        checked = self._workload.contract.record("fields", record, f"season {record.get('season')}")
        season, field_id = checked["season"], checked["field_id"]
        if checked["device_id"] not in (None, self._config.device_id):
            raise DataError(f"the field is of device {checked['device_id']}; this is {self._config.device_id}")
        is_new = self._store.add("fields", checked)
        if not is_new and (self._field is None or self._field.identity != (season, field_id)):
            self._load(checked)  # an earlier season is told again

    def _current(self) -> FieldSeason:
        self._follow()
        if self._field is None:
            raise DataError("no field is known yet; expected a message of kind field first")
        return self._field

    def _restore(self) -> None:
        """The latest season that the store knows, as it was left."""
        seasons = self._store.seasons()
        fields = self._store.records(seasons[-1], "fields") if seasons else []
        if fields:
            self._load(fields[-1])

    def _load(self, record: Record) -> None:
        """Take up a season from all that the store has of it."""
        self._followed = self._store.last_sequence()
        self._field = field = FieldSeason(record, self._workload)
        season, _ = field.identity
        for table in ("readings", "operations"):
            for row in self._store.records(season, table):
                self._fold_in(table, row)

    def _follow(self) -> None:
        """Take in what came into the store since the last look, whoever put it there."""
        for sequence, table, record in self._store.records_after(self._followed, SEASON_TABLES):
            self._followed = sequence
            if table != "fields":
                self._fold_in(table, record)
            elif self._field is None or self._field.identity != (record["season"], record["field_id"]):
                self._field = FieldSeason(record, self._workload)

    def _fold_in(self, table: str, record: Record) -> None:
        field = self._field
        if field is None or (record["season"], record["field_id"]) != field.identity:
            return
        if table == "readings":
            field.add_reading(record)
        else:
            field.add_operation(record)


def bounded_lines(stream: TextIO) -> Iterator[str]:
    """The lines of a stream, of one that is too long only so much that it is seen: the rest is read past."""
    while line := stream.readline(MAX_LINE_CHARACTERS + 1):
        yield line
        while len(line) > MAX_LINE_CHARACTERS and not line.endswith("\n"):
            line = stream.readline(MAX_LINE_CHARACTERS + 1)


def _amounts(message: Record, name: str) -> list[float]:
    values = message.get(name)
    if not isinstance(values, list) or not MIN_FORECAST_D <= len(values) <= MAX_FORECAST_D:
        raise DataError(f"{name} is {values!r}; expected a list of {MIN_FORECAST_D} to {MAX_FORECAST_D} amounts")
    for value in values:
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0.0 <= value <= 450.0:
            raise DataError(f"{name} holds {value!r}; expected amounts between 0 and 450 mm")
    return [float(value) for value in values]


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


def _named(message: Record, where: str) -> str:
    """What a message is about, for the person who reads why it was rejected."""
    record = message.get("record")
    day = message.get("date") or (record.get("date") if isinstance(record, dict) else None)
    return " ".join(str(part)[:40] for part in (message.get("kind"), day) if part) or where


def _record(message: Record) -> Record:
    record = message.get("record")
    if not isinstance(record, dict):
        raise DataError(f"record is {type(record).__name__}; expected an object with the table's columns")
    return record


def _day(message: Record) -> str:
    day = message.get("date")
    try:
        if not isinstance(day, str):
            raise ValueError(day)
        return date.fromisoformat(day).isoformat()
    except ValueError:
        raise DataError(f"date is {day!r}; expected a date like 2006-05-01") from None
