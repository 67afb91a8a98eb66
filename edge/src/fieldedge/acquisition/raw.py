"""What a logger's bytes hold, before anyone says what it means, and how the formats read lines, JSON and CSV.

Nothing here raises for content: what cannot be read is an `Unreadable` with its reason, and takes nothing else with it.
Lines, names, depth and the number of fields are bounded, so that no input takes more than its own size many times over.
Units and times stay as the logger wrote them; they are `mapping.py`'s.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fieldedge.system import strict_json

MAX_LINE_BYTES = 100_000
MAX_FIELDS = 1_000
MAX_DEPTH = 8
MAX_NAME_CHARACTERS = 200
MAX_ORIGIN_CHARACTERS = 64
KEPT_CHARACTERS = 4_000  # of what could not be read

BOM = b"\xef\xbb\xbf"
COMMA = ","
SEPARATORS = (COMMA, ";", "\t")  # of cells
_PADDING = b" \t\r\x00"  # a card that lost power in mid-write leaves zeros behind
_PADDING_OF_CELLS = _PADDING.replace(b"\t", b"")
_MISSING = ("", "#N/A")

_DECIMAL_COMMA = re.compile(r"([+-]?)([0-9]*|[0-9]{1,3}(?:\.[0-9]{3})+),([0-9]+)", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+", re.ASCII)
_SPACED = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:[ '\u2019\u00a0\u202f][0-9]{3})+(?:[.,][0-9]+)?")
_THOUSANDS_AND_POINT = re.compile(_THOUSANDS.pattern + r"\.[0-9]+", re.ASCII)

_THOUSANDS_BY_POINTS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3})+", re.ASCII)
_WITH_POWER = re.compile(r"([+-]?[0-9]+,[0-9]+)([eE][+-]?[0-9]{1,3})", re.ASCII)
_GROUP = 4  # a mark and three digits
_CLEAR_MARKS = tuple(
    (
        mark,
        re.compile(
            rf"[+-]?(?:[0-9]*{at}(?:[0-9]{{1,2}}|[0-9]{{4,}})|0?{at}[0-9]+|[0-9]{{1,3}}(?:{other}[0-9]{{3}})+{at}[0-9]+)"
        ),
    )
    for mark, at, other in ((",", ",", r"\."), (".", r"\.", ","))
)

RawValue = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class RawSample:
    """One logger's fields at one moment, as it wrote them.

    `time` is what stands where the format has its time; `units` are those that the logger itself states, and so is
    `utc_offset_h`, the zone of its times. `origin` is the logger's own identity, where the format carries one: several
    loggers can share a source. It is a name that two may have been given where it comes with a `serial` number.
    """

    where: str
    time: RawValue
    fields: Mapping[str, RawValue]
    origin: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    serial: str | None = None
    utc_offset_h: float | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A line that is no sample but a message for the agent, untouched."""

    where: str
    line: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What could not be read, and why. `text` is its beginning."""

    where: str
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is not empty, without what surrounds it."""

    where: str
    text: str

    def unreadable(self, reason: str) -> Unreadable:
        return Unreadable(self.where, reason, self.text[:KEPT_CHARACTERS])


Parsed = RawSample | Message | Unreadable


def lines(payload: bytes, where: str, first_line: int, fallback: str | None = None) -> Iterator[Line | Unreadable]:
    """The payload's lines. What is not UTF-8 is read in the encoding `fallback`, or not at all."""
    for number, line in enumerate(payload.removeprefix(BOM).split(b"\n"), start=first_line):
        if not line.strip(_PADDING):
            continue
        stripped = line.strip(_PADDING_OF_CELLS)  # a tab may part an empty cell from the others
        here = f"{where}, line {number}"
        if len(stripped) > MAX_LINE_BYTES:
            reason = f"the line has {len(stripped)} bytes; at most {MAX_LINE_BYTES} are read"
            yield Unreadable(here, reason, _shown(stripped))
            continue
        try:
            yield Line(here, stripped.decode())
        except UnicodeDecodeError as error:
            if fallback is None:
                yield Unreadable(here, f"the line is not UTF-8: {error.reason}", _shown(stripped))
            else:
                yield Line(here, stripped.decode(fallback))


def first_lines(payload: bytes, count: int) -> bytes:
    """The payload's first lines with their ends; fewer than `count` where it has no more whole ones."""
    end = 0
    for _ in range(count):
        found = payload.find(b"\n", end) + 1
        if not found:
            break
        end = found
    return payload[:end]


def read_json(text: str) -> Any:
    """The JSON value of a text.

    Raises:
        ValueError: it is none, says one name twice, or is nested too deeply for any logger.
    """
    try:
        return strict_json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def flattened(value: Mapping[str, Any]) -> dict[str, RawValue]:
    """An object's fields, nested ones named with dots: `soil.0.vwc`.

    Raises:
        ValueError: it has more fields or levels than any logger, or a longer name.
    """
    flat: dict[str, RawValue] = {}
    _flatten("", value, flat, MAX_DEPTH)
    return flat


def _flatten(prefix: str, value: Mapping[str, Any], flat: dict[str, RawValue], levels: int) -> None:
    if not levels:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    for key, inner in value.items():
        name = prefix + key
        if len(name) > MAX_NAME_CHARACTERS:
            raise ValueError(f"a field's name has more than {MAX_NAME_CHARACTERS} characters: {name[:40]!r}...")
        if isinstance(inner, dict):
            _flatten(f"{name}.", inner, flat, levels - 1)
        elif isinstance(inner, list):
            _flatten(f"{name}.", {str(index): item for index, item in enumerate(inner)}, flat, levels - 1)
        else:
            flat[name] = inner
        if len(flat) > MAX_FIELDS:
            raise ValueError(f"it has more than {MAX_FIELDS} fields")


def cells(text: str, separator: str = COMMA) -> list[str]:
    """The cells of one CSV line.

    Raises:
        ValueError: its quotes do not match, or it has more cells than any logger.
    """
    if '"' not in text:
        found = text.split(separator)
    else:
        try:
            found = next(csv.reader((text,), delimiter=separator, strict=True), [])
        except csv.Error as error:
            raise ValueError(f"the line is not readable CSV: {error}") from None
    if len(found) > MAX_FIELDS:
        raise ValueError(f"the line has {len(found)} cells; at most {MAX_FIELDS} are read")
    return [cell.strip() for cell in found]


def row(names: Sequence[str], found: Sequence[str]) -> dict[str, RawValue]:
    """The cells of a data row by the names of their columns. An empty cell is a missing value.

    Raises:
        ValueError: they are not as many. A row that was cut short may have been cut within a number.
    """
    if len(found) != len(names) and (len(found) < len(names) or any(found[len(names) :])):
        raise ValueError(f"the line has {len(found)} cells, the header {len(names)}; it may have been cut short")
    return {name: None if cell in _MISSING else cell for name, cell in zip(names, found, strict=False)}


def with_decimal_point(text: str, separator: str = COMMA, mark: str | None = None) -> str:
    """A number that was written with a decimal comma, with a point; anything else as it is.

    `mark` is the decimal mark where it is known. Else a comma before three digits is one where cells stand between
    semicolons, as they do for its sake, and may set thousands apart anywhere else: `1,013` is left. Two of them, or one
    with a point behind, in `1,013.2`, can do nothing else. Spaces and apostrophes between thousands, as in `1 013,2`,
    are left out.
    """
    if mark == COMMA and "." in text and _THOUSANDS_BY_POINTS.fullmatch(text):
        return text.replace(".", "")
    if not text.isalnum() and _SPACED.fullmatch(text):
        return re.sub("[ '\u2019\u00a0\u202f]", "", text).replace(",", ".")
    if "," in text and _THOUSANDS_AND_POINT.fullmatch(text):
        return text.replace(",", "")
    found = _DECIMAL_COMMA.fullmatch(text) if "," in text else None
    if "," in text and _THOUSANDS.fullmatch(text):
        if mark == "." or text.count(",") > 1:
            return text.replace(",", "")
        if mark is None and separator != ";":
            return text
    if found is None:
        power = _WITH_POWER.fullmatch(text) if "," in text else None
        return f"{power[1].replace(',', '.')}{power[2]}" if power is not None else text
    sign, whole, fraction = found.groups()
    return f"{sign}{whole.replace('.', '')}.{fraction}"


def decimal_mark(row: Iterable[object]) -> str | None:
    """The decimal mark of a row's numbers, by those that can be read in one way only; None where none is, or both are.

    Who writes one number with a comma writes all of them so.
    """
    marks = {
        mark
        for text in row
        if isinstance(text, str)
        for mark, pattern in _CLEAR_MARKS
        if mark in text and pattern.fullmatch(text.strip()) is not None
    }
    return marks.pop() if len(marks) == 1 else None


def needs_mark(text: str) -> bool:
    """Whether a text can be a number of thousands or one with a fraction, as the decimal mark is."""
    return (
        len(text) > _GROUP
        and text[-_GROUP] in ",."
        and (_THOUSANDS.fullmatch(text) is not None or _THOUSANDS_BY_POINTS.fullmatch(text) is not None)
    )


def is_undecided(text: str, row: Iterable[object]) -> bool:
    """Whether it may be a number of thousands or one with a decimal comma, and its row does not say which."""
    return text.count(",") == 1 and _THOUSANDS.fullmatch(text.strip()) is not None and decimal_mark(row) is None


def unique(names: Sequence[str]) -> list[str]:
    """Column names of which each occurs once: the second `RH` is `RH (2)`. Long ones are cut."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        short = name[:MAX_NAME_CHARACTERS]
        seen[short] = seen.get(short, 0) + 1
        found.append(short if seen[short] == 1 else f"{short} ({seen[short]})")
    return found


def identity(value: object) -> str | None:
    """A logger's own name for itself, if it can serve as an origin: short and printable."""
    if not isinstance(value, str):
        return None
    name = value.strip()
    return name if 0 < len(name) <= MAX_ORIGIN_CHARACTERS and name.isascii() and name.isprintable() else None


def _shown(line: bytes) -> str:
    return line[:KEPT_CHARACTERS].decode(errors="backslashreplace")[:KEPT_CHARACTERS]
