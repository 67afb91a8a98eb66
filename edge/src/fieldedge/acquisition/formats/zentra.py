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

from fieldedge.acquisition.headed_csv import HeadedCsv, Header, begins_with
from fieldedge.acquisition.raw import identity, unique

_PORT = re.compile(r"port\s*([0-9]{1,3})", re.IGNORECASE)
_WORD_UNITS = frozenset(
    {"mm", "cm", "in", "km", "mi", "mph", "kPa", "hPa", "Pa", "mbar", "bar", "inHg", "mV", "V", "K"}
)
_UNIT_MARKS = frozenset("/%°_µμ²³^")
_RELATIVE_HUMIDITY = "RH"  # stands in the place of a unit; METER's is a fraction


def _is_first_row(found: list[str]) -> bool:
    return len(found) > 1 and _PORT.fullmatch(found[1]) is not None


def _header(rows: list[list[str]]) -> Header:
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
    return Header(names, names[0], units, identity(ports[0]))


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


FORMAT = HeadedCsv(
    name="ZENTRA",
    at_most=3,
    begins=lambda payload: begins_with(payload, _is_first_row),
    is_first=_is_first_row,
    is_last=lambda rows: len(rows) == 3,
    is_data=lambda _: False,
    read=_header,
).as_format()
