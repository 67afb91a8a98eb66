"""METER ZENTRA's CSV, as ZENTRA Cloud and ZENTRA Utility write it: three header rows, then a row a moment.

    z6-12345,Port1,Port1,Port2,Port7
    # Records: 2,TEROS 12 Moisture/Temp/EC,TEROS 12 Moisture/Temp/EC,ATMOS 41 Weather Station,Battery
    Timestamps, m³/m³ Water Content, degree_C Soil Temperature, mm Precipitation, % Battery Percent
    05/01/2026 12:15:00 PM,0.213,18.4,0.0,100

The rows say the logger and its ports, the sensors, and what each measures with its unit before it. A column is named by
its port and its measurement, `Port 1 / Water Content`; its unit counts where the mapping names none. Times are in the
logger's own zone and in the order of the user's locale: a mapping says `format`, such as `%m/%d/%Y %I:%M:%S %p`, unless
they are ISO. A header may come again, with other columns. UTF-8 with or without a mark, or Latin-1; empty cells and
`#N/A` are missing values.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fieldedge.loggers.raw import (
    BOM,
    Parsed,
    RawSample,
    Unreadable,
    cells,
    first_lines,
    identity,
    lines,
    row,
    unique,
)

HEADER_LINES = 3

_PORT = re.compile(r"port\s*([0-9]{1,3})", re.IGNORECASE)
_WORD_UNITS = frozenset(
    {"mm", "cm", "in", "km", "mi", "mph", "kPa", "hPa", "Pa", "mbar", "bar", "inHg", "mV", "V", "K"}
)
_UNIT_MARKS = frozenset("/%°_µμ²³^")
_RELATIVE_HUMIDITY = "RH"  # stands in the place of a unit; METER's is a fraction


@dataclass(frozen=True)
class _Header:
    names: list[str]
    units: dict[str, str]
    origin: str | None


def parse(payload: bytes, where: str, first_line: int = 1) -> Iterator[Parsed]:
    """The samples of a payload that begins with its header; never raises for its content."""
    head: list[list[str]] = []
    header: _Header | None = None
    for line in lines(payload, where, first_line, fallback="latin-1"):
        if isinstance(line, Unreadable):
            yield line
            continue
        try:
            found = cells(line.text)
            if _is_first_row(found):
                head, header = [found], None
            elif head:
                head.append(found)
                if len(head) == HEADER_LINES:
                    rows, head = head, []
                    header = _header(rows)
            elif header is None:
                raise ValueError("the line comes before the three header rows of a ZENTRA file")
            else:
                fields = row(header.names, found)
                yield RawSample(line.where, fields[header.names[0]], fields, header.origin, header.units)
        except ValueError as error:
            yield line.unreadable(str(error))


def header(payload: bytes) -> bytes:
    """The leading bytes of a file that are its header; none where it has no whole one."""
    head = first_lines(payload, HEADER_LINES)
    return head if head.count(b"\n") == HEADER_LINES and _begins(payload) else payload[:0]


def awaits_header(payload: bytes) -> bool:
    """Whether a file begins with a header that is not wholly there yet."""
    return payload.count(b"\n") < HEADER_LINES and _begins(payload)


def _begins(payload: bytes) -> bool:
    text = first_lines(payload, 1).removeprefix(BOM).decode(errors="replace")
    try:
        return _is_first_row(cells(text))
    except ValueError:
        return False


def _is_first_row(found: list[str]) -> bool:
    return len(found) > 1 and _PORT.fullmatch(found[1]) is not None


def _header(rows: list[list[str]]) -> _Header:
    """The columns of three header rows.

    Raises:
        ValueError: they are none.
    """
    ports, _, measured = rows
    if not measured[0].lower().startswith("timestamp"):
        raise ValueError(f"the third header row begins with {measured[0][:40]!r}; expected Timestamps")
    if len(ports) != len(measured):
        raise ValueError(f"the header rows have {len(ports)} and {len(measured)} cells; expected as many")
    split = [_split(cell) for cell in measured[1:]]
    names = unique(
        [measured[0], *(f"{_port(port)} / {name}" for port, (_, name) in zip(ports[1:], split, strict=True))]
    )
    units = {name: unit for name, (unit, _) in zip(names[1:], split, strict=True) if unit}
    return _Header(names, units, identity(ports[0]))


def _port(cell: str) -> str:
    found = _PORT.fullmatch(cell)
    return cell if found is None else f"Port {found[1]}"


def _split(cell: str) -> tuple[str, str]:
    """Unit and name of `m³/m³ Water Content`; the unit is empty where there is none."""
    first, _, rest = cell.partition(" ")
    if not rest:
        return "", cell
    if first == _RELATIVE_HUMIDITY:
        return "fraction", rest.strip()
    is_unit = first in _WORD_UNITS or not _UNIT_MARKS.isdisjoint(first)
    return (first, rest.strip()) if is_unit else ("", cell)
