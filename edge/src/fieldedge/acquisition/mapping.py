"""From a logger's own fields and units to a workload's channels, by the table `[source.fields]` of device.toml.

    [source.fields]
    air_temperature_c = { field = "AirTC_Avg", unit = "degF" }
    rain_mm = { field = "rainfall_total", counter = true, wraps_at = 6553.6 }
    vwc_15cm_m3_m3 = "messages[measurementId=4100].measurementValue"
    time = { field = "TIMESTAMP", format = "%m/%d/%y %H:%M", zone = "America/Chicago" }

Without any channel in it, the fields that are named like channels are those. Where no unit is named, the one that the
logger states counts, and where it states none, the channel's own; one that is not in `UNITS` is asked for. A value that
is no number is missing; nothing is ever guessed. A field that is not there says nothing of its channel. Whether a value
can be true is `quality.py`'s.

An element of a list is named by its place (`messages.0`) or, where a place is no identity, by what it says of itself
(`messages[measurementId=4100]`; `*` stands for any place). A counter is kept as it counts, and what it counted is told
by `counters.py`. A time that is a date and no more is that day, in every zone.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from fieldedge.acquisition.raw import COMMA, RawSample, RawValue, decimal_mark, needs_mark, with_decimal_point
from fieldedge.contract.samples import Channel, Sample, count_name, whole_day
from fieldedge.system.errors import ConfigError, DataError
from fieldedge.system.instants import in_order, instant_utc

FIRST_YEAR, LAST_YEAR = 1950, 2100
MAX_UTC_OFFSET_H = 14.0
MAX_TIME_CHARACTERS = 64
EPOCH_S, EPOCH_MS = "epoch_s", "epoch_ms"

_TIME = "time"
_SETTINGS = ("field", "unit", "scale", "counter", "wraps_at", "interval_min", "decimal", "is_meant")
_TIME_SETTINGS = ("field", "format", "utc_offset_h", "zone", "ends_day", "begins_min")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_NAMES_HOURS = ("%H", "%I", "%T", "%R", "%r", "%c", "%X")
_NEXT_MIDNIGHT = re.compile(r"(?<![0-9:])24(?=:00(?::00(?:[.,]0+)?)?(?![0-9:]))")
_CHOICE = re.compile(r"\*|\[([^\[\]=]+)=([^\[\]=]+)\]")  # of a place in a list: any, or by what the element says
_DECIMALS = 6  # of a converted value: more than any sensor has
_SHOWN_NAMES = 12
_COUNTS = ("clicks", "tips", "tip", "pulses", "pulse", "counts", "count", "ct", "cnt")  # of a bucket
_AND_UNIT = re.compile(r"([+-]?[0-9.,]*[0-9])[ \u00a0\u202f]?([^0-9\s.,+-][^\s]{0,15})")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_LIKELY_EPOCH_S = (3e8, 5e9)  # 1979 to 2128; a thousand times that can only be milliseconds


class Unit(NamedTuple):
    """A unit of a quantity: value * scale + offset is in the quantity's base unit."""

    quantity: str
    scale: float
    offset: float = 0.0


UNITS: dict[str, Unit] = {
    "degC": Unit("temperature", 1.0),
    "degF": Unit("temperature", 5.0 / 9.0, -160.0 / 9.0),
    "K": Unit("temperature", 1.0, -273.15),
    "1": Unit("ratio", 1.0),
    "fraction": Unit("ratio", 1.0),
    "%": Unit("ratio", 0.01),
    "m3/m3": Unit("ratio", 1.0),
    "cm3/cm3": Unit("ratio", 1.0),
    "mm": Unit("depth of water", 1.0),
    "cm": Unit("depth of water", 10.0),
    "in": Unit("depth of water", 25.4),
    "L/m2": Unit("depth of water", 1.0),
    "m/s": Unit("speed", 1.0),
    "km/h": Unit("speed", 1.0 / 3.6),
    "mph": Unit("speed", 0.44704),
    "kn": Unit("speed", 1852.0 / 3600.0),
    "W/m2": Unit("irradiance", 1.0),
    "kW/m2": Unit("irradiance", 1000.0),
    "MJ/m2/h": Unit("irradiance", 1e6 / 3600.0),
    "MJ/m2/d": Unit("irradiance", 1e6 / 86400.0),
    "MJ/m2": Unit("irradiation", 1.0),
    "kJ/m2": Unit("irradiation", 1e-3),
    "J/m2": Unit("irradiation", 1e-6),
    "J/cm2": Unit("irradiation", 1e-2),
    "Wh/m2": Unit("irradiation", 3.6e-3),
    "kWh/m2": Unit("irradiation", 3.6),
    "Ly": Unit("irradiation", 0.04184),
    "kPa": Unit("pressure", 1.0),
    "hPa": Unit("pressure", 0.1),
    "mbar": Unit("pressure", 0.1),
    "Pa": Unit("pressure", 0.001),
    "inHg": Unit("pressure", 3.386389),
}

_TOTAL_AND_RATE = ("irradiation", "irradiance")  # of an interval, in MJ/m2; in W/m2

_SPELLINGS = {
    "c": "degC", "celsius": "degC", "f": "degF", "fahrenheit": "degF", "kelvin": "K", "percent": "%", "pct": "%",
    "millimeters": "mm", "millimeter": "mm", "millimetres": "mm", "millimetre": "mm", "in.": "in",
    "inch": "in", "inches": "in", "meters/second": "m/s", "m/sec": "m/s", "kph": "km/h",
    "kmh": "km/h", "kmph": "km/h", "miles/hour": "mph", "mi/h": "mph", "knots": "kn", "kt": "kn", "watts/m2": "W/m2",
    "wm-2": "W/m2", "wm2": "W/m2", "mb": "mbar", "millibar": "mbar", "m3m-3": "m3/m3", "%rh": "%", "%vwc": "%",
    "ms-1": "m/s", "m.s-1": "m/s", "w.m-2": "W/m2", "vol%": "%", "vol.%": "%", "%vol": "%", "mm/mm": "m3/m3",
    "langley": "Ly", "langleys": "Ly", "cal/cm2": "Ly", "mjm-2": "MJ/m2",
}  # fmt: skip
_BY_SPELLING = {**{name.lower(): name for name in UNITS}, **_SPELLINGS}
_PLAIN = str.maketrans(
    {"°": "deg", "º": "deg", "²": "2", "³": "3", "⁻": "-", "¹": "1", "^": "", "_": "", " ": "", "·": ""}
)

_PLACE = re.compile(r"(.+)\.[0-9]+(?=\.)")  # an element of a list by where it stands
_IDENTITIES = (
    "id",
    "type",
    "name",
    "key",
    "channel",
    "sensor",
    "parameter",
)  # how what an element calls itself is called

_Line = tuple[float, float] | None  # slope and intercept; None where nothing is to be done


@dataclass(frozen=True)
class TimeSetting:
    """Where a sample's time stands and how it is written. Without `format` it is ISO 8601, or seconds since 1970.

    Without a zone of its own it is in `zone`, where one is named, which may have summer time, else `utc_offset_h` ahead
    of UTC; where these are the site's, and not `is_zone_set` for this source, what the logger itself states goes before
    them. `24:00` is the midnight that ends its day. With `ends_day` the time is the end of a day there, of which the
    sample is as a whole. With `begins_min` it is the begin of an interval of so many minutes, at whose end a sample is.
    """

    field: str | None = None
    format: str | None = None
    utc_offset_h: float = 0.0
    zone: ZoneInfo | None = None
    ends_day: bool = False
    is_zone_set: bool = False
    begins_min: float = 0.0

    def read(self, raw: RawSample, *, is_second: bool = False) -> str:
        """A sample's time as `instants.py` writes it, to the microsecond; what is finer is cut off.

        Of a time that comes twice, in an autumn night, it is the first, or with `is_second` the other.

        Raises:
            DataError: it is missing or cannot be read.
        """
        value = raw.time if self.field is None else raw.fields.get(self.field)
        if value is None:
            name = "a time" if self.field is None else f"the field {self.field!r} with its time"
            todo = "name the one of its time in [source.fields]: time = { field = ... }" if self.field is None else ""
            raise DataError(
                f"{raw.where}: the sample has not {name}; it has {_named(raw.fields)}{todo and f'; {todo}'}"
            )
        try:
            moment = self._moment(value)
            if self.ends_day:
                moment -= timedelta(microseconds=1)
            is_of_day = self.ends_day or self._is_date(value)
            if moment.tzinfo is None and not is_of_day:
                moment = moment.replace(tzinfo=self._zone_of(raw), fold=int(is_second))
            utc = moment.replace(tzinfo=UTC) if is_of_day else moment.astimezone(UTC) + self._interval
        except (ValueError, OverflowError):
            raise DataError(f"{raw.where}: the time is {_shown(value)}; expected {self._expected()}") from None
        if not FIRST_YEAR <= utc.year <= LAST_YEAR:
            raise DataError(f"{raw.where}: the time is {_shown(value)}; is the logger's clock set?")
        return whole_day(utc.date().isoformat()) if is_of_day else instant_utc(utc)

    @property
    def _interval(self) -> timedelta:
        return timedelta(minutes=self.begins_min)

    def in_the_other_order(self) -> "TimeSetting | None":
        """The setting with day and month in the other order; None where the format has not both as numbers."""
        if self.format is None or "%d" not in self.format or "%m" not in self.format:
            return None
        return replace(self, format=self.format.replace("%d", "%\0").replace("%m", "%d").replace("%\0", "%m"))

    @property
    def is_known(self) -> bool:
        """Whether somebody set a zone, for this source or for the site."""
        return self.is_zone_set or self.zone is not None or self.utc_offset_h != 0.0

    def is_without_zone(self, raw: RawSample) -> bool:
        """Whether a sample's time, which can be read, has an hour and no zone."""
        value = raw.time if self.field is None else raw.fields.get(self.field)
        if self.ends_day or self._is_date(value):
            return False
        return self._moment(value).tzinfo is None

    def zone_words(self, raw: RawSample) -> str:
        """In which zone a sample's time is read, and who says so."""
        value = raw.time if self.field is None else raw.fields.get(self.field)
        if self.ends_day or self._is_date(value):
            return "a day as a whole"
        if self._moment(value).tzinfo is not None:
            return "the zone that stands in it"
        if raw.utc_offset_h is not None and not self.is_zone_set:
            return f"UTC{raw.utc_offset_h:+g} h, as the file says"
        by = "[source.fields] time" if self.is_zone_set else "[site]"
        if self.zone is not None:
            return f"{self.zone.key}, by {by}"
        return f"UTC{self.utc_offset_h:+g} h, by {by}" if self.is_zone_set or self.utc_offset_h else "UTC: none is set"

    def _zone_of(self, raw: RawSample) -> tzinfo:
        if raw.utc_offset_h is not None and not self.is_zone_set:
            return _zone(raw.utc_offset_h)
        return self.zone or _zone(self.utc_offset_h)

    def _is_date(self, value: RawValue) -> bool:
        """Whether it is written as a date, without any hour."""
        if self.format is None:
            return isinstance(value, str) and _DATE.fullmatch(value.strip()) is not None
        return self.format not in (EPOCH_S, EPOCH_MS) and not _names_hours(self.format)

    def _moment(self, value: RawValue) -> datetime:
        if isinstance(value, bool) or value is None or len(str(value)) > MAX_TIME_CHARACTERS:
            raise ValueError(value)
        if self.format in (EPOCH_S, EPOCH_MS):
            return _since_1970(_required(number(value)), is_milliseconds=self.format == EPOCH_MS)
        if self.format is not None:
            return _read_with_midnight(partial(_read_by, self.format), str(value).strip())
        if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
            return _read_with_midnight(datetime.fromisoformat, value.strip())
        seconds = _required(number(value))
        low, high = _LIKELY_EPOCH_S
        if low <= seconds < high:
            return _since_1970(seconds, is_milliseconds=False)
        if low <= seconds / 1000.0 < high:
            return _since_1970(seconds, is_milliseconds=True)
        raise ValueError(value)

    def _expected(self) -> str:
        if self.format is not None:
            return f"the format {self.format} of [source.fields] time"
        return (
            "ISO 8601 like 2026-05-01T12:15:00Z, or seconds since 1970; "
            'for another one set time = { format = "%m/%d/%y %H:%M" } in [source.fields]'
        )


@dataclass(frozen=True)
class Mapped:
    """Which field is a channel, and how its values become the channel's. `line` counts where `is_unit_set`.

    `scale` is what one of the field's counts is of its unit; `name` is the channel's, or that of its running total.
    `interval_min` is how long the interval is of which the field has the total, where the channel is a rate. `decimal`
    is the decimal mark, where it is set. It `is_meant` where somebody says that it is the channel, whatever its name.
    """

    channel: Channel
    field: str
    is_unit_set: bool = False
    line: _Line = None
    scale: float = 1.0
    name: str = ""
    interval_min: float | None = None
    decimal: str | None = None
    is_meant: bool = False

    @property
    def kept_as(self) -> str:
        return self.name or self.channel.name

    @property
    def is_choice(self) -> bool:
        """Whether it is named by what an element of a list says, or stands at any place."""
        return _CHOICE.search(self.field) is not None

    def found_in(self, fields: Mapping[str, RawValue]) -> str | None:
        """The name of the field in what a logger said; None where it is not there.

        Raises:
            ValueError: two elements of a list say of themselves what the mapping asks for.
        """
        if self.field in fields:
            return self.field
        return _selected(self.field, fields) if self.is_choice else None


@dataclass(frozen=True)
class Mapper:
    """Makes samples of what a logger says. It holds nothing but its settings."""

    mapped: tuple[Mapped, ...]
    time: TimeSetting

    @cached_property
    def names_places(self) -> bool:
        """Whether a field is named by its place in a list of objects."""
        return any(_PLACE.match(mapped.field) for mapped in self.mapped)

    @classmethod
    def from_config(
        cls,
        fields: Mapping[str, Any],
        channels: Sequence[Channel],
        utc_offset_h: float = 0.0,
        where: str = "fields",
        zone: str | None = None,
    ) -> "Mapper":
        """The mapper of a table `[source.fields]`. `utc_offset_h` and `zone` are the site's, for times without a zone.

        Raises:
            ConfigError: a channel or unit is unknown, a unit is of another quantity, or a setting is broken.
        """
        by_name = {channel.name: channel for channel in channels}
        time = _time_setting(fields.get(_TIME, {}), utc_offset_h, zone, f"{where}: time")
        mapped = tuple(
            _mapped(by_name, name, setting, where) for name, setting in fields.items() if name != _TIME
        ) or tuple(Mapped(channel, channel.name) for channel in channels)
        return cls(mapped, time)

    def sample(self, raw: RawSample, origin: str, *, is_second: bool = False) -> Sample:
        """The sample of what a logger said. `origin` is the source's; a logger's own goes before it.

        `is_second` tells the two times apart that an autumn night has of one name.

        Raises:
            DataError: it has no usable time, or none of the fields that are mapped.
        """
        time_utc = self.time.read(raw, is_second=is_second)
        try:
            found = [(mapped, mapped.found_in(raw.fields)) for mapped in self.mapped]
        except ValueError as error:
            raise DataError(f"{raw.where}: {error}") from None
        values = {mapped.kept_as: _value(raw, mapped, name) for mapped, name in found if name is not None}
        if not values:
            wanted = ", ".join(mapped.field for mapped in self.mapped[:_SHOWN_NAMES])
            raise DataError(
                f"{raw.where}: the sample has none of the fields {wanted}; it has {_named(raw.fields)}; "
                "name the logger's fields in [source.fields]"
            )
        return Sample(raw.origin or origin, time_utc, values)

    def elements(self, raw: RawSample) -> dict[str, dict[str, str]]:
        """Of each place in a list that the mapping names, what the elements of that list call themselves."""
        found: dict[str, dict[str, str]] = {}
        for mapped in self.mapped:
            place = _PLACE.match(mapped.field)
            if place is None or place[0] in found or mapped.field not in raw.fields:
                continue
            name = re.compile(rf"{re.escape(place[1])}\.[0-9]+\.[^.]*({'|'.join(_IDENTITIES)})", re.IGNORECASE)
            found[place[0]] = {one: str(value) for one, value in raw.fields.items() if name.fullmatch(one)}
        return found

    def second(self, raw: RawSample, origin: str) -> Sample | None:
        """The sample at the other of the two times that its time can mean; None where it means one.

        Raises:
            DataError: as `sample`.
        """
        if self.time.zone is None:
            return None
        first, second = self.sample(raw, origin), self.sample(raw, origin, is_second=True)
        return second if in_order(second.time_utc) > in_order(first.time_utc) else None


def number(value: RawValue, mark: str | None = None) -> float | None:
    """The finite number that a field holds; None for anything else. Digits are digits, not `1_000` or `nan`.

    `mark` is the decimal mark of the row, where it is known.
    """
    if isinstance(value, str):
        text = with_decimal_point(value.strip(), mark=mark)
        if len(text) > MAX_TIME_CHARACTERS or not _NUMBER.fullmatch(text):
            return None
        found = float(text)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    else:
        try:
            found = float(value)
        except OverflowError:
            return None
    return found if math.isfinite(found) else None


def _value(raw: RawSample, mapped: Mapped, name: str) -> float | None:
    value = raw.fields[name]
    mark = mapped.decimal
    if mark is None and isinstance(value, str) and needs_mark(value.strip()):
        mark = decimal_mark(raw.fields.values())
    found, stated = number(value, mark), raw.units.get(name)
    if found is None and isinstance(value, str):
        found, stated = _with_its_unit(value, mapped, mark)
    if found is None:
        return None
    line = mapped.line
    if not mapped.is_unit_set and stated is not None:
        line = _stated_line(stated, mapped, raw.where)
    if line is None and mapped.scale == 1.0:
        return found
    slope, intercept = line or (1.0, 0.0)
    converted = round(found * mapped.scale * slope + intercept, _DECIMALS)
    return converted if math.isfinite(converted) else None


def value_of(raw: RawSample, mapped: Mapped) -> float | None:
    """What a sample says of a channel, in the channel's unit; None where that is no number, or in no such unit."""
    try:
        return _value(raw, mapped, mapped.field)
    except DataError:
        return None


def says_unit(text: str) -> bool:
    """Whether a text is a number with its unit behind it."""
    found = _AND_UNIT.fullmatch(text.strip()) if len(text) <= MAX_TIME_CHARACTERS else None
    return found is not None and known_unit(found[2]) is not None


def _with_its_unit(text: str, mapped: Mapped, mark: str | None) -> tuple[float | None, str | None]:
    """The number and the unit of a text like `21.3 °C`; nothing where the unit is none of the channel's quantity."""
    found = _AND_UNIT.fullmatch(text.strip()) if len(text) <= MAX_TIME_CHARACTERS else None
    unit = known_unit(found[2]) if found is not None else None
    if found is None or unit is None or UNITS[unit].quantity != UNITS[mapped.channel.unit].quantity:
        return None, None
    if mapped.is_unit_set and mapped.line != _line(unit, mapped.channel.unit):
        return None, None  # the mapping says another one
    return number(found[1], mark), unit


def _selected(field: str, fields: Mapping[str, RawValue]) -> str | None:
    """The field that a name with `[key=value]` or `*` in it means.

    Raises:
        ValueError: several are meant.
    """
    present = sorted({one for one in _places("", field, fields) if one in fields})
    if len(present) > 1:
        raise ValueError(f"{field} means {len(present)} elements, {present[0]} and {present[1]}; expected one")
    return present[0] if present else None


def _places(before: str, rest: str, fields: Mapping[str, RawValue]) -> Iterator[str]:
    """The names that `before` and `rest` can mean, where every star and selector in `rest` is put as a place."""
    choice = _CHOICE.search(rest)
    if choice is None:
        yield before + rest
        return
    key, value = choice.groups()
    begin = before + rest[: choice.start()] + ("" if key is None else ".")
    for place in {name[len(begin) :].partition(".")[0] for name in fields if name.startswith(begin)}:
        if key is None or str(fields.get(f"{begin}{place}.{key}")) == value:
            yield from _places(begin + place, rest[choice.end() :], fields)


def _stated_line(stated: str, mapped: Mapped, where: str) -> _Line:
    """How to convert from the unit that the logger states."""
    try:
        return _line_of(known_unit(stated), mapped.channel, mapped.interval_min)
    except ValueError as error:
        quantity = UNITS[mapped.channel.unit].quantity
        todo = str(error) or f"name its unit in [source.fields] ({_units_of(quantity)}), or another field"
        if stated.strip().lower() in _COUNTS:
            todo = 'say what one of them is in [source.fields], such as scale = 0.2 beside unit = "mm"'
        raise DataError(
            f"{where}: the logger gives {mapped.field!r} in {stated[:20]!r}; expected {_a(quantity)} for "
            f"{mapped.channel.name}: {todo}"
        ) from None


def _line_of(unit: str | None, channel: Channel, interval_min: float | None) -> _Line:
    """How to convert from a unit into a channel's.

    Raises:
        ValueError: it cannot be converted; the message says what to set, if that would help.
    """
    quantity = UNITS[channel.unit].quantity
    if unit is not None and UNITS[unit].quantity == quantity:
        return _line(unit, channel.unit)
    if unit is None or (UNITS[unit].quantity, quantity) != _TOTAL_AND_RATE:
        raise ValueError
    if interval_min is None:
        raise ValueError(
            f"{unit} is a total: say of how long, interval_min = 15 beside field in [source.fields], for logging every "
            "15 minutes"
        )
    return UNITS[unit].scale * 1e6 / (60.0 * interval_min) / UNITS[channel.unit].scale, 0.0


@lru_cache(maxsize=256)
def known_unit(text: str) -> str | None:
    """The unit of `UNITS` that a text means, however it is spelled: `Deg C`, `m³/m³`, `W/m^2`."""
    if text in UNITS:
        return text
    plain = text.translate(_PLAIN).lower()
    return _BY_SPELLING.get(plain) or _BY_SPELLING.get(plain.replace("degree", "deg").replace("deg", ""))


@lru_cache(maxsize=256)
def _line(unit: str, into: str) -> _Line:
    """Slope and intercept from one unit into another of the same quantity."""
    one, other = UNITS[unit], UNITS[into]
    slope, intercept = one.scale / other.scale, (one.offset - other.offset) / other.scale
    return None if (slope, intercept) == (1.0, 0.0) else (slope, intercept)


def _a(quantity: str) -> str:
    return f"an {quantity}" if quantity[0] in "aeiou" else f"a {quantity}"


def _units_of(quantity: str) -> str:
    return ", ".join(name for name, unit in UNITS.items() if unit.quantity == quantity)


def _mapped(channels: Mapping[str, Channel], name: str, setting: Any, where: str) -> Mapped:
    channel = channels.get(name)
    if channel is None:
        raise ConfigError(f"{where}: {name} is not a channel; expected time or one of {', '.join(channels)}")
    if isinstance(setting, str):
        setting = {"field": setting}
    if not isinstance(setting, Mapping) or not setting.keys() <= set(_SETTINGS):
        raise ConfigError(
            f'{where}: {name} is {_shown(setting)}; expected the logger\'s field like "AirTC_Avg", '
            f'or {{ field = "AirTC_Avg", unit = "degF" }}, with some of {", ".join(_SETTINGS)}'
        )
    field = setting.get("field", name)
    if not isinstance(field, str) or not field:
        raise ConfigError(f"{where}: {name}.field is {_shown(field)}; expected the name of the logger's field")
    scale = _scale(setting, f"{where}: {name}.scale")
    line: _Line = None
    unit = setting.get("unit")
    interval_min = _interval_min(channel, setting, where)
    if unit is not None:
        quantity = UNITS[channel.unit].quantity
        try:
            line = _line_of(known_unit(unit) if isinstance(unit, str) else None, channel, interval_min)
        except ValueError as error:
            expected = f"expected {_a(quantity)}: {_units_of(quantity)}"
            raise ConfigError(f"{where}: {name}.unit is {_shown(unit)}; {error if str(error) else expected}") from None
    kept_as = _kept_as(channel, setting, line, scale, where)
    decimal = setting.get("decimal")
    if decimal not in (None, COMMA, "."):
        raise ConfigError(f'{where}: {name}.decimal is {_shown(decimal)}; expected "," or "."')
    is_meant = setting.get("is_meant", False)
    if not isinstance(is_meant, bool):
        raise ConfigError(f"{where}: {name}.is_meant is {_shown(is_meant)}; expected true or false")
    return Mapped(channel, field, unit is not None, line, scale, kept_as, interval_min, decimal, is_meant)


def _kept_as(channel: Channel, setting: Mapping[str, Any], line: _Line, scale: float, where: str) -> str:
    """The name of what is kept: of a counter, its running total, with where that begins anew in the channel's unit."""
    is_counter, wraps_at = setting.get("counter", False), setting.get("wraps_at")
    if not isinstance(is_counter, bool):
        raise ConfigError(f"{where}: {channel.name}.counter is {_shown(is_counter)}; expected true or false")
    if is_counter and channel.how != "sum":
        raise ConfigError(f"{where}: {channel.name}.counter is true; {channel.name} is no amount that adds up")
    if wraps_at is None:
        return count_name(channel.name) if is_counter else channel.name
    if not is_counter or isinstance(wraps_at, bool) or not isinstance(wraps_at, int | float) or not wraps_at > 0:
        raise ConfigError(
            f"{where}: {channel.name}.wraps_at is {_shown(wraps_at)}; expected where a counter begins again at 0, in "
            "the field's own numbers, beside counter = true"
        )
    return count_name(channel.name, round(wraps_at * scale * (line or (1.0, 0.0))[0], _DECIMALS))


def _interval_min(channel: Channel, setting: Mapping[str, Any], where: str) -> float | None:
    found = setting.get("interval_min")
    if found is None:
        return None
    if UNITS[channel.unit].quantity != _TOTAL_AND_RATE[1]:
        raise ConfigError(f"{where}: {channel.name}.interval_min is set; only radiation can be a total of its interval")
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0.0 < found <= 1440.0:
        raise ConfigError(f"{where}: {channel.name}.interval_min is {_shown(found)}; expected minutes, 1440 at most")
    return float(found)


def _scale(setting: Mapping[str, Any], where: str) -> float:
    scale = setting.get("scale", 1.0)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not math.isfinite(scale) or scale == 0.0:
        raise ConfigError(f"{where} is {_shown(scale)}; expected what one of the field's counts is, such as 0.2")
    return float(scale)


def _time_setting(setting: Any, utc_offset_h: float, zone: str | None, where: str) -> TimeSetting:
    if isinstance(setting, str):
        setting = {"field": setting}
    if not isinstance(setting, Mapping) or not setting.keys() <= set(_TIME_SETTINGS):
        raise ConfigError(
            f"{where} is {_shown(setting)}; expected the field that holds it, or "
            '{ field = "TIMESTAMP", format = "%m/%d/%y %H:%M", utc_offset_h = -6 }, each of them optional, or zone = '
            '"America/Chicago" in place of utc_offset_h'
        )
    field, format_ = setting.get("field"), setting.get("format")
    if field is not None and (not isinstance(field, str) or not field):
        raise ConfigError(f"{where}.field is {_shown(field)}; expected the name of the logger's field")
    if format_ is not None and not _can_read(format_):
        raise ConfigError(
            f"{where}.format is {_shown(format_)}; expected {EPOCH_S}, {EPOCH_MS}, "
            "or a date and time like %m/%d/%y %H:%M, with %p where hours are %I"
        )
    offset = setting.get("utc_offset_h", utc_offset_h)
    if isinstance(offset, bool) or not isinstance(offset, int | float) or not abs(offset) <= MAX_UTC_OFFSET_H:
        raise ConfigError(f"{where}.utc_offset_h is {_shown(offset)}; expected hours between -14 and 14")
    if "zone" in setting and "utc_offset_h" in setting:
        raise ConfigError(f"{where} has both zone and utc_offset_h; a zone knows its offset: remove utc_offset_h")
    named = setting.get("zone", None if "utc_offset_h" in setting else zone)
    ends_day = setting.get("ends_day", False)
    if not isinstance(ends_day, bool):
        raise ConfigError(f"{where}.ends_day is {_shown(ends_day)}; expected true or false")
    begins_min = setting.get("begins_min", 0.0)
    if isinstance(begins_min, bool) or not isinstance(begins_min, int | float) or not 0.0 <= begins_min < 1440.0:
        raise ConfigError(f"{where}.begins_min is {_shown(begins_min)}; expected minutes, fewer than 1440")
    is_set = "zone" in setting or "utc_offset_h" in setting
    found = None if named is None else zone_of(named, where)
    return TimeSetting(field, format_, float(offset), found, ends_day, is_set, float(begins_min))


def zone_of(name: Any, where: str) -> ZoneInfo:
    """The time zone of a name.

    Raises:
        ConfigError: this system knows none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, TypeError, OSError, LookupError):
        raise ConfigError(
            f"{where}.zone is {_shown(name)}; expected a name like America/Chicago or Africa/Tunis that this system "
            "knows (apt install tzdata), or utc_offset_h where the logger keeps one time all year"
        ) from None


def _can_read(format_: Any) -> bool:
    """Whether what a format writes of a date can be read again by it."""
    if format_ in (EPOCH_S, EPOCH_MS):
        return True
    if not isinstance(format_, str) or len(format_) > MAX_TIME_CHARACTERS:
        return False
    moment = datetime(2026, 11, 28, 17, 45, 39, tzinfo=UTC)
    try:
        seen = datetime.strptime(moment.strftime(format_), format_)
    except (ValueError, re.error):
        return False
    return seen.date() == moment.date() and (seen.hour == moment.hour or not _names_hours(format_))


def _names_hours(format_: str) -> bool:
    return any(directive in format_ for directive in _NAMES_HOURS)


def _read_with_midnight(read: Callable[[str], datetime], text: str) -> datetime:
    """A time that may be 24:00 of a day, which is 0:00 of the next one."""
    try:
        return read(text)
    except ValueError:
        begun = _NEXT_MIDNIGHT.sub("00", text, count=1)
        if begun == text:
            raise
        return read(begun) + timedelta(days=1)


def _read_by(format_: str, text: str) -> datetime:
    """A time by its format. Loggers leave a fraction out where it is zero, so seconds may have one or not."""
    try:
        return datetime.strptime(text, format_)
    except ValueError:
        other = _with_or_without_fraction(format_)
        if other == format_:
            raise
        return datetime.strptime(text, other)


@lru_cache(maxsize=64)
def _with_or_without_fraction(format_: str) -> str:
    if "%f" in format_:
        return format_.replace("%S.%f", "%S")
    return format_.replace("%S", "%S.%f")


def _since_1970(count: float, *, is_milliseconds: bool) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=count / 1000.0 if is_milliseconds else count)


@lru_cache(maxsize=64)
def _zone(utc_offset_h: float) -> timezone:
    return timezone(timedelta(hours=utc_offset_h))


def _required(value: float | None) -> float:
    if value is None:
        raise ValueError("no number")
    return value


def _named(fields: Mapping[str, RawValue]) -> str:
    shown = ", ".join(ascii(name[:40])[1:-1] for name in list(fields)[:_SHOWN_NAMES])
    return f"{shown}, ..." if len(fields) > _SHOWN_NAMES else shown or "no fields"


def _shown(value: object) -> str:
    return f"{value!r:.80}"
