"""Campbell Scientific's TOA5: four header rows, then a record a row.

    "TOA5","Station","CR1000","1048","CR1000.Std.32","CPU:Weather.CR1","54655","Met15"
    "TIMESTAMP","RECORD","AirTC_Avg","Rain_mm_Tot","VWC(1)"
    "TS","RN","Deg C","mm","m^3/m^3"
    "","","Avg","Tot","Smp"
    "2026-05-01 12:15:00",0,21.3,0,0.213

The rows say the logger and its table, the fields, their units, and how the logger summed them up. The origin is
`Station/Met15`: two tables of one logger share their moments, and neither is the other's repetition. A field's unit
counts where the mapping names none. Times are in the logger's own zone, at the end of each interval. Loggers append to
such files, and a header may come again at any line; a field that is an array has an element a column.
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

HEADER_LINES = 4

_FIRST = "TOA5"
_TIME_NAMES = ("TIMESTAMP", "TMSTAMP")
_TABLE_CELL = 7
_LOOKS_LIKE_DATA = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class _Header:
    names: list[str]
    time_name: str
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
            if found[0] == _FIRST:
                head, header = [found], None
            elif head:
                if _LOOKS_LIKE_DATA.match(found[0]):
                    rows, head = len(head), []
                    raise ValueError(f"the line stands where header row {rows + 1} of a TOA5 file should")
                head.append(found)
                if len(head) == HEADER_LINES:
                    whole, head = head, []
                    header = _header(whole)
            elif header is None:
                raise ValueError("the line comes before the four header rows of a TOA5 file")
            else:
                fields = row(header.names, found)
                yield RawSample(line.where, fields[header.time_name], fields, header.origin, header.units)
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
    return payload.removeprefix(BOM).startswith((b'"TOA5"', b"TOA5"))


def _header(rows: list[list[str]]) -> _Header:
    """The fields of four header rows.

    Raises:
        ValueError: none of them is the time.
    """
    logger, named, stated, _ = rows
    names = unique(named)
    time_name = next((name for name in names if name.upper() in _TIME_NAMES), None)
    if time_name is None:
        raise ValueError(f"the header names no TIMESTAMP; it names {', '.join(names)[:200]}")
    units = {name: unit for name, unit in zip(names, stated, strict=False) if unit and name != time_name}
    station = logger[1] if len(logger) > 1 else ""
    table = logger[_TABLE_CELL] if len(logger) > _TABLE_CELL else ""
    return _Header(names, time_name, units, identity("/".join(part for part in (station, table) if part)))
