"""What device and cloud agree on: tables, features, outputs, and one hash over all of it.

The declaration here is the only one. The device checks readings against it, the cloud builds its validation
suites from it, and the hash is written into every model; a device refuses a model whose hash differs. Records are
another matter: a contract says how it reads those of its predecessors (`upgrades`), so that what was recorded or
accepted under a former one stays of use.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fieldedge.system.errors import DataError

Kind = Literal["float", "int", "str", "date", "time"]
MOMENTS: Mapping[Kind, str] = {"date": "2006-05-01", "time": "2006-05-01T12:00:00Z"}  # UTC; as texts in order of time
# What a table's rows are to the loop. The loop asks for roles; which tables have them, a workload says.
Role = Literal["context", "observation", "decision", "action", "outcome", "feedback"]
# Rows that teach with their episode's outcome and are chosen from; all others are sent in any case.
CHOSEN_ROLES: tuple[Role, ...] = ("observation", "decision")
ALWAYS_SENT_ROLES: tuple[Role, ...] = ("context", "action", "outcome", "feedback")
Record = dict[str, Any]
RECORD_ID = "record_id"
MODEL = "model"  # the source of a decision that a model made; every other is a rule of the workload
SCALED_LIMIT = 1.5  # how far beyond [-1, 1] a scaled input may lie; what lies further counts as there
MAX_CANDIDATES = 16  # actions that a decision weighs, so the rows that a model is asked for at once
MAX_AMENDMENTS = 9  # times that the same thing may be said, the first included
# (name of the table, record of a former contract) -> the record as the contract after it has it
Upgrade = Callable[[str, Record], Record]


@dataclass(frozen=True)
class Column:
    """One column of a table, with its unit and the range that a true value can have.

    `digits` is how many significant digits of a float travel; None: exactly the value that is stored. A `date` is a
    text like 2006-05-01, a `time` one like 2006-05-01T12:00:00Z, both in UTC; a person's date may be the place's own.
    """

    name: str
    kind: Kind
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    is_nullable: bool = False
    choices: tuple[str, ...] = ()
    about: str = ""
    digits: int | None = None

    @property
    def is_moment(self) -> bool:
        """Whether it names a day, or a time of one."""
        return self.kind in MOMENTS

    def at(self, time_: datetime) -> str:
        """The moment that a time with an offset is, as this column writes it."""
        return _moment(self.kind, time_.astimezone(UTC))

    def check(self, value: Any, where: str) -> Any:
        """The value as it is stored.

        Raises:
            DataError: it is missing, of another type or outside its range.
        """
        return _checked_value(self, value, where)


@dataclass(frozen=True)
class Ordered:
    """`larger` is never below `smaller`; with `is_strict`, always above it. A row that lacks either is passed over."""

    smaller: str
    larger: str
    is_strict: bool = False

    @property
    def words(self) -> str:
        """What must hold, for people."""
        return f"{self.larger} is {'above' if self.is_strict else 'not below'} {self.smaller}"

    def holds(self, record: Mapping[str, Any]) -> bool:
        """Whether a record keeps it."""
        smaller, larger = record[self.smaller], record[self.larger]
        if smaller is None or larger is None:
            return True
        return bool(larger > smaller or (larger == smaller and not self.is_strict))


@dataclass(frozen=True)
class EpisodeKey:
    """What one episode is named by: a field's year, a bearing's life, a kiosk's shift.

    `columns` stand in every table and begin every record's identity, in this order. Accepted data lies in folders by
    `partition`. A cloud takes in episodes of two columns, a period and a unit, in folders by period and place.

    An episode begins on the day that its context's column `opens_with` names, a date or a time, and lasts `max_days` at
    most: no dated row of it lies outside. It is over with a row of the table `closes_on`. Without columns all is one
    episode.
    """

    columns: tuple[str, ...] = ()
    partition: tuple[str, ...] = ()
    closes_on: str | None = None
    opens_with: str | None = None
    max_days: int | None = None

    @property
    def period(self) -> str:
        """The column of whole numbers that the loop turns by: a year, a month, a campaign."""
        return self.partition[0]

    @property
    def place(self) -> str:
        """The column of where a unit stands: a region, a hall."""
        return self.partition[1]

    @property
    def unit(self) -> str:
        """The column of whose episode it is: a field, a bearing."""
        (unit,) = (name for name in self.columns if name != self.period)
        return unit

    def of(self, record: Mapping[str, Any]) -> str:
        """The episode that a record is of, as text."""
        return "/".join(str(record[name]) for name in self.columns)

    def kept_as(self, record: Mapping[str, Any]) -> str:
        """The first part of that, under which a device's store keeps it and makes its batches."""
        return self.of(record).partition("/")[0]

    def days_into(self, day: str, context: Mapping[str, Any]) -> int:
        """How many days after its episode's first day a day is; negative before it."""
        return (date.fromisoformat(day) - self._first_day(context)).days

    def has_day(self, day: str, context: Mapping[str, Any]) -> bool:
        """Whether a day can be of the episode that this row of the context opens."""
        if self.opens_with is None:
            return True
        days = self.days_into(day, context)
        return days >= 0 and (self.max_days is None or days <= self.max_days)

    def window_words(self, context: Mapping[str, Any]) -> str:
        """The days that an episode can have, for people."""
        latest = "" if self.max_days is None else f", at most {self.max_days} days later"
        return f"a day from {self.opens_with} on {self._first_day(context)} on{latest}"

    def _first_day(self, context: Mapping[str, Any]) -> date:
        return date.fromisoformat(str(context[self.opens_with or ""])[:10])


@dataclass(frozen=True)
class Table:
    """A table of the contract. `key` names the columns that identify a row; no two rows share it.

    `identity` names the columns that tell the rows of one episode apart; none where an episode has one row. `rules`
    hold between the columns of a row. Where `is_amendable`, a row that was sent can be said again, under the next
    identity: `…/2` to `…/9`; the last one counts. Where `is_once_an_episode`, an episode has one row, whatever its
    identity: another one contradicts it.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    about: str = ""
    role: Role = "observation"
    identity: tuple[str, ...] = ()
    rules: tuple[Ordered, ...] = ()
    is_amendable: bool = False
    is_once_an_episode: bool = False

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def date_columns(self) -> tuple[Column, ...]:
        """The columns that name a day, or a time of one."""
        return tuple(column for column in self.columns if column.is_moment)

    @cached_property
    def moment(self) -> Column:
        """The column that says when a row is for: of its identity, else of all, the first that names a day or a time.

        Raises:
            DataError: none does.
        """
        apart = [column for column in self.date_columns if column.name in self.identity]
        for column in (*apart, *self.date_columns):
            return column
        raise DataError(f"the table {self.name} has no column of kind date or time, which says when a row is for")

    def check(self, record: Mapping[str, Any], where: str) -> Record:
        """The record with exactly this table's columns, or an error that names the first broken one.

        Raises:
            DataError: a column is missing, of another type or outside its range, or a rule between columns is broken.
        """
        checked: Record = {}
        for column in self.columns:
            checked[column.name] = column.check(record.get(column.name), f"{where}: {self.name}")
        for rule in self.rules:
            if not rule.holds(checked):
                raise DataError(
                    f"{where}: {self.name}: {rule.larger} is {checked[rule.larger]!r} and {rule.smaller} is "
                    f"{checked[rule.smaller]!r}; expected that {rule.words}"
                )
        return checked


@dataclass(frozen=True)
class Feature:
    """One model input, in physical units. `minimum` and `maximum` scale it to [-1, 1] for the model."""

    name: str
    unit: str
    minimum: float
    maximum: float
    about: str = ""


@dataclass(frozen=True)
class Output:
    """One model output, in physical units."""

    name: str
    unit: str


@dataclass(frozen=True)
class Contract:
    """Everything that device and cloud must agree on for one workload.

    `upgrades` names the former contracts by hash, oldest first. Each upgrade leads to the contract named after it, the
    last one to this one: a new contract adds one line at the end and changes none. How former records are read is no
    part of the hash, nor is what the loop makes of a table (its role, identity and rules) and of an episode.
    """

    workload: str
    revision: int
    tables: tuple[Table, ...]
    features: tuple[Feature, ...]
    outputs: tuple[Output, ...]
    episode: EpisodeKey = EpisodeKey()
    constants: Mapping[str, float] = field(default_factory=dict)
    upgrades: Mapping[str, Upgrade] = field(default_factory=dict)

    def __post_init__(self) -> None:
        opens = self.episode.opens_with
        for table in (table for table in self.tables if table.role == "context" and opens is not None):
            kinds = [column.kind for column in table.columns if column.name == opens and not column.is_nullable]
            if not set(kinds) & MOMENTS.keys():
                raise DataError(
                    f"the episodes of {self.workload} open with {opens}; expected a column of that name in the table "
                    f"{table.name}, of kind date or time, that is never empty"
                )

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the declaration, as 64 hex digits. Prose (`about`) does not count."""

        def plain(items: Sequence[Any]) -> list[dict[str, Any]]:
            return [
                {k: v for k, v in asdict(item).items() if k != "about" and (k, v) != ("digits", None)} for item in items
            ]

        declared = {
            "workload": self.workload,
            "revision": self.revision,
            "tables": [{"name": t.name, "key": t.key, "columns": plain(t.columns)} for t in self.tables],
            "features": plain(self.features),
            "outputs": plain(self.outputs),
            "constants": dict(sorted(self.constants.items())),
        }
        return hashlib.sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest()

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        return tuple(output.name for output in self.outputs)

    def table(self, name: str) -> Table:
        """The table of that name.

        Raises:
            DataError: the contract has no such table.
        """
        for table in self.tables:
            if table.name == name:
                return table
        known = ", ".join(table.name for table in self.tables)
        raise DataError(f"the contract of {self.workload} has no table {name!r}; it has {known}")

    def tables_of(self, *roles: Role) -> tuple[str, ...]:
        """The names of the tables of these roles, in the order in which the contract declares them."""
        return tuple(table.name for table in self.tables if table.role in roles)

    @cached_property
    def context_table(self) -> Table:
        """The table whose rows open the episodes."""
        return self._only("context")

    @cached_property
    def decision_table(self) -> Table:
        """The table of what a device decides."""
        return self._only("decision")

    def _only(self, role: Role) -> Table:
        found = self.tables_of(role)
        if len(found) != 1:
            raise DataError(f"the contract of {self.workload} has {len(found)} tables of role {role}; expected one")
        return self.table(found[0])

    @cached_property
    def decided_at(self) -> Column:
        """The column of the decisions' table that names when a decision is for: it tells those of an episode apart."""
        table = self.decision_table
        for column in table.columns:
            if (column.name,) == table.identity and column.is_moment:
                return column
        apart = ", ".join(table.identity) or "nothing"
        raise DataError(
            f"the table {table.name} of {self.workload} tells its rows apart by {apart}; expected one column, of "
            "kind date or time, which names when a decision is for"
        )

    def moment(self, table_name: str, record: Mapping[str, Any]) -> str:
        """When a row of a table is for, a day or a time; as far as it says."""
        return str(record.get(self.table(table_name).moment.name))

    def day(self, table_name: str, record: Mapping[str, Any]) -> str:
        """The day that a row of a table is for."""
        return self.moment(table_name, record)[:10]

    def carried(self, context: Mapping[str, Any], table_name: str) -> Record:
        """What a row of a table says of its episode: the columns that the context's table has too."""
        ours, theirs = self.table(table_name).column_names, self.context_table.column_names
        return {name: context[name] for name in theirs if name in ours and name != RECORD_ID}

    def scale(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows (N, F) in physical units as a model takes them: a feature's range becomes [-1, 1], clipped at 1.5."""
        low, span = self._scaling
        scaled = 2.0 * (np.asarray(rows, np.float32) - low) / span - 1.0
        clipped: NDArray[np.float32] = np.clip(scaled, -SCALED_LIMIT, SCALED_LIMIT).astype(np.float32)
        return clipped

    @cached_property
    def _scaling(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        low = np.array([feature.minimum for feature in self.features], np.float32)
        return low, np.array([feature.maximum - feature.minimum for feature in self.features], np.float32)

    @cached_property
    def output_ranges(self) -> tuple[tuple[float, float], ...]:
        """What each output can be: the range of the decisions' column of its name, and no bound where there is none."""
        columns = {column.name: column for table in self.tables if table.role == "decision" for column in table.columns}
        ranges = []
        for name in self.output_names:
            low, high = (columns[name].minimum, columns[name].maximum) if name in columns else (None, None)
            ranges.append((-math.inf if low is None else low, math.inf if high is None else high))
        return tuple(ranges)

    def output_fault(self, smallest: Sequence[float], largest: Sequence[float]) -> str | None:
        """Which output leaves its range, of answers that lie between these of each; None where none does."""
        for output, bounds, *found in zip(self.outputs, self.output_ranges, smallest, largest, strict=True):
            for value in found:
                if not bounds[0] <= value <= bounds[1]:
                    expected = f"expected {bounds[0]:g} to {bounds[1]:g} {output.unit}"
                    return f"{output.name} is {value:.6g} {output.unit}; {expected}"
        return None

    def record_id(self, table_name: str, record: Mapping[str, Any]) -> str:
        """The identity of a record, the same wherever it is made: its episode, its table, and what tells it apart."""
        apart = [str(record[name]) for name in self.table(table_name).identity]
        return "/".join(part for part in (self.episode.of(record), table_name, *apart) if part)

    def record(self, table_name: str, values: Mapping[str, Any], where: str) -> Record:
        """The record of these values under its identity, checked: the only place where identities are made.

        Values that name their identity must name this one, or, in a table that can be amended, a later one of it.

        Raises:
            DataError: a column is missing, of another type or outside its range, a rule between columns is broken, or
                the identity is another record's.
        """
        table = self.table(table_name)
        checked = table.check({RECORD_ID: "", **values}, where)
        expected, said = self.record_id(table_name, checked), checked[RECORD_ID]
        if said not in ("", expected) and not (table.is_amendable and said in amendments(expected)):
            raise DataError(f"{where}: record_id is {said!r}; this row's is {expected!r}")
        return {**checked, RECORD_ID: said or expected}

    def check_days(self, table_name: str, record: Mapping[str, Any], context: Mapping[str, Any], where: str) -> None:
        """See that a record's dates lie in the episode that this row of the context opens.

        Raises:
            DataError: one is before the episode's first day, or later than any episode lasts.
        """
        for column in self.table(table_name).date_columns:
            day = record[column.name]
            if day is not None and not self.episode.has_day(day[:10], context):
                raise DataError(
                    f"{where}: {table_name}: {column.name} is {day}, which is not in {self.episode.of(context)}; "
                    f"expected {self.episode.window_words(context)}. Is the year right?"
                )

    def check_is_only_one(self, table_name: str, record: Record, stored: Iterable[Record], where: str) -> None:
        """See that a record is the only one of its episode, in a table that has one row an episode.

        Raises:
            DataError: another one is among those that are stored; the same one told again is one.
        """
        if not self.table(table_name).is_once_an_episode:
            return
        for other in stored:
            if other[RECORD_ID] != record[RECORD_ID] and self.episode.of(other) == self.episode.of(record):
                raise DataError(
                    f"{where}: {table_name}: {self.episode.of(record)} has {other[RECORD_ID]} already; expected one "
                    "row an episode. The stored one stays; if it is wrong, tell the office which one is true"
                )

    def reads(self, contract_hash: str) -> bool:
        """Whether records of that contract can be read: it is this one, or a former one with an upgrade."""
        return contract_hash == self.hash or contract_hash in self.upgrades

    def current(self, table_name: str, record: Record) -> Record:
        """A record that a device stored, under this contract or a former one, as this one has it.

        A store does not say of which contract a record is; its columns do. What lacks one is read by the latest upgrade
        that fills it.
        """
        names = self.table(table_name).column_names
        if all(name in record for name in names):
            return record
        for contract_hash in reversed(list(self.upgrades)):
            try:
                upgraded = self.upgraded(contract_hash, table_name, record)
            except DataError:
                continue  # it lacks more than that contract did
            if all(name in upgraded for name in names):
                return upgraded
        return record

    def upgraded(self, contract_hash: str, table_name: str, record: Mapping[str, Any]) -> Record:
        """A record of the contract of that hash as this one has it; the one given stays as it is.

        What is upgraded is not checked: a former record may be as wrong as one of today.

        Raises:
            DataError: the contract is not known here, or the record is not of the shape that its upgrade expects.
        """
        if not self.reads(contract_hash):
            raise DataError(
                f"the contract {contract_hash[:12]}… is none that {self.workload} {self.hash[:12]}… reads: it is newer "
                "or of another workload; install the version of Fieldloop that wrote it, or a later one"
            )
        upgraded = dict(record)
        former = list(self.upgrades)
        for step in former[former.index(contract_hash) :] if contract_hash != self.hash else []:
            try:
                upgraded = dict(self.upgrades[step](table_name, dict(upgraded)))
            except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
                raise DataError(
                    f"{table_name}: a record of the contract {contract_hash[:12]}… cannot be read by the upgrade of "
                    f"{step[:12]}…: {error!r}"
                ) from error
        return upgraded


def kept_under(identity: str, table_name: str) -> str:
    """As `EpisodeKey.kept_as`, of an identity: that begins with its episode, or with its table for want of one."""
    first = identity.partition("/")[0]
    return "" if first == table_name else first


def amendments(identity: str) -> tuple[str, ...]:
    """The identities under which the same thing is said again, in order; the first one is its own."""
    return identity, *(f"{identity}/{times}" for times in range(2, MAX_AMENDMENTS + 1))


def _checked_value(column: Column, value: Any, where: str) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        if column.is_nullable:
            return None
        raise DataError(f"{where}: {column.name} is missing; expected {_expected(column)}")
    if column.kind in ("float", "int"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DataError(f"{where}: {column.name} is {value!r}; expected {_expected(column)}")
        if not math.isfinite(value):
            raise DataError(f"{where}: {column.name} is {value!r}; expected {_expected(column)}")
        if column.kind == "int" and value != int(value):
            raise DataError(f"{where}: {column.name} is {value!r}; expected a whole number")
        low, high = column.minimum, column.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            raise DataError(f"{where}: {column.name} is {value!r}; expected {_expected(column)}")
        return int(value) if column.kind == "int" else float(value)
    if not isinstance(value, str):
        raise DataError(f"{where}: {column.name} is {value!r}; expected {_expected(column)}")
    if column.is_moment:
        try:
            if _moment(column.kind, datetime.fromisoformat(value)) != value:
                raise ValueError(value)
        except ValueError:
            like = MOMENTS[column.kind]
            raise DataError(f"{where}: {column.name} is {value!r}; expected a {column.kind} like {like}") from None
    if column.choices and value not in column.choices:
        raise DataError(f"{where}: {column.name} is {value!r}; expected one of {', '.join(column.choices)}")
    return value


def _moment(kind: Kind, time_: datetime) -> str:
    return time_.date().isoformat() if kind == "date" else f"{time_.replace(microsecond=0, tzinfo=None).isoformat()}Z"


def _expected(column: Column) -> str:
    unit = f" {column.unit}" if column.unit else ""
    if column.minimum is not None and column.maximum is not None:
        return f"{column.kind} between {column.minimum:g} and {column.maximum:g}{unit}"
    return f"{column.kind}{unit}"
