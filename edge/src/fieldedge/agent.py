"""The device through a season: readings in, a recommendation out, everything kept.

The agent needs no link and no clock: the field's messages carry their dates. A record is on disk before anything is
answered that depends on it, and every message may come again: after a crash the field simply repeats its season. A
message that cannot be accepted is kept with the reason, answered, and forgotten; the season goes on.
"""

import json
import logging
import math
import time
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import Any

from fieldedge.boot import NO_MODEL, Booted
from fieldedge.config import DeviceConfig
from fieldedge.contract import Record
from fieldedge.errors import DataError, FieldloopError, ReleaseError
from fieldedge.store import Store
from fieldedge.summary import season_summary
from fieldedge.workloads import Workload
from fieldedge.workloads.agriculture import Day, Recommendation
from fieldedge.workloads.agriculture.tables import record_id

MAX_SEASON_DAYS = 400
MAX_LINE_CHARACTERS = 100_000

_log = logging.getLogger(__name__)


class FieldSeason:
    """One field's season in memory: what was read and done, and the state folded from it so far."""

    def __init__(self, record: Record, workload: Workload) -> None:
        self.record = record
        self._workload = workload
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

    def state_on(self, today: str) -> Any:
        """What is known on the morning of `today`. Folds in only the days since the last call.

        Raises:
            DataError: the day is before planting or far beyond any season.
        """
        morning = date.fromisoformat(today)
        if not 0 <= (morning - self._planting).days <= MAX_SEASON_DAYS:
            raise DataError(
                f"{today} is not in the season: expected a day from planting on {self._planting}, "
                f"at most {MAX_SEASON_DAYS} days later"
            )
        if self._state is None or self._state_date > morning:
            self._state, self._state_date = self._workload.start(self.record), self._planting
        state, self._state = self._state, None  # a day that fails must not leave a half-folded state behind
        while self._state_date < morning:
            state.advance(self._day(self._state_date.isoformat()))
            self._state_date += timedelta(days=1)
        self._state = state
        return state

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
        self._model = None if booted is None else booted.model
        self.model_version = NO_MODEL if booted is None else booted.installed.version
        self._field = self._restored()

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
            StoreBusy, OSError: the store cannot be written.
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
            self._current().add_reading(self._keep("readings", _record(message)))
            return None
        if kind == "operation":
            self._current().add_operation(self._keep("operations", _record(message)))
            return None
        if kind == "harvest":
            self._keep("harvests", _record(message))
            return {"kind": "stored"}
        if kind == "decide":
            return {"kind": "recommendation", **self.decide(_day(message))}
        raise DataError(f"kind is {kind!r}; expected field, reading, decide, operation or harvest")

    def decide(self, today: str) -> Record:
        """Today's recommendation. A day once decided keeps its recommendation.

        Raises:
            DataError: no field is known yet, or the day is not in its season.
        """
        field = self._current()
        season, field_id = field.identity
        known = self._store.get(record_id(season, field_id, "recommendations", today))
        if known is not None:
            return known
        started_ns = time.perf_counter_ns()
        recommendation = self._recommendation(field, today)
        record = recommendation.as_record(
            season, field.record["region"], field_id, self.model_version, self._workload.contract.hash
        )
        self._workload.contract.table("recommendations").check(record, f"recommendation of {today}")
        record["latency_ms"] = round((time.perf_counter_ns() - started_ns) / 1e6, 3)
        self._store.add("recommendations", record)
        return record

    def _recommendation(self, field: FieldSeason, today: str) -> Recommendation:
        state = field.state_on(today)
        predict = None if self._model is None else self._model.predict
        try:
            return self._workload.recommend_from_state(field.record, state, today, predict)
        except ReleaseError as error:
            _log.error("the model abstains on %s: %s", today, error)
            return self._workload.recommend_from_state(field.record, state, today, None)

    def _take_field(self, record: Record) -> None:
        checked = self._workload.contract.table("fields").check(record, f"season {record.get('season')}")
        season, field_id = checked["season"], checked["field_id"]
        _check_identity(checked, f"{season}/{field_id}/fields")
        if checked["field_capacity_m3_m3"] <= checked["wilting_point_m3_m3"]:
            raise DataError(
                f"field_capacity_m3_m3 is {checked['field_capacity_m3_m3']}; "
                f"expected more than wilting_point_m3_m3, {checked['wilting_point_m3_m3']}"
            )
        if checked["device_id"] not in (None, self._config.device_id):
            raise DataError(f"the field is of device {checked['device_id']}; this is {self._config.device_id}")
        self._store.add("fields", checked)
        if self._field is None or self._field.identity != (season, field_id):
            self._field = self._loaded(checked)

    def _keep(self, table: str, record: Record) -> Record:
        """Check a dated record of the current field and store it."""
        season, field_id = self._current().identity
        checked = self._workload.contract.table(table).check(record, str(record.get("date"))[:40])
        if (checked["season"], checked["field_id"]) != (season, field_id):
            raise DataError(
                f"season and field_id are {checked['season']} and {checked['field_id']!r}; "
                f"this device is in season {season} on {field_id!r}"
            )
        _check_identity(checked, record_id(season, field_id, table, checked["date"]))
        self._store.add(table, checked)
        return checked

    def _current(self) -> FieldSeason:
        if self._field is None:
            raise DataError("no field is known yet; expected a message of kind field first")
        return self._field

    def _restored(self) -> FieldSeason | None:
        """The latest season that the store knows, as it was left."""
        seasons = self._store.seasons()
        fields = self._store.records(seasons[-1], "fields") if seasons else []
        return self._loaded(fields[-1]) if fields else None

    def _loaded(self, record: Record) -> FieldSeason:
        field = FieldSeason(record, self._workload)
        season, field_id = field.identity
        for reading in self._store.records(season, "readings"):
            if reading["field_id"] == field_id:
                field.add_reading(reading)
        for operation in self._store.records(season, "operations"):
            if operation["field_id"] == field_id:
                field.add_operation(operation)
        return field


def _parsed(line: str) -> Record:
    if len(line) > MAX_LINE_CHARACTERS:
        raise DataError(f"the line has {len(line)} characters; at most {MAX_LINE_CHARACTERS} are read")
    try:
        message = json.loads(line, parse_float=_finite, parse_constant=_finite)
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


def _check_identity(record: Record, expected: str) -> None:
    if record["record_id"] != expected:
        raise DataError(f"record_id is {record['record_id']!r}; this field and season expect {expected!r}")
