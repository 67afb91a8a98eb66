"""Campbell Scientific's TOA5: four header rows, then a record a row.

    "TOA5","Station","CR1000","1048","CR1000.Std.32","CPU:Weather.CR1","54655","Met15"
    "TIMESTAMP","RECORD","AirTC_Avg","Rain_mm_Tot","VWC(1)"
    "TS","RN","Deg C","mm","m^3/m^3"
    "","","Avg","Tot","Smp"
    "2026-05-01 12:15:00",0,21.3,0,0.213

The rows say the logger and its table, the fields, their units, and how the logger summed them up. The origin is
`Station/Met15`: two tables of one logger share their moments, and neither is the other's repetition; the serial number
tells loggers apart that were given one name. A field's unit
counts where the mapping names none. Times are in the logger's own zone, at the end of each interval. Loggers append to
such files, and a header may come again at any line; a field that is an array has an element a column.
"""

import re

from fieldedge.acquisition.headed_csv import HeadedCsv, Header
from fieldedge.acquisition.raw import BOM, identity, unique

_FIRST = "TOA5"
_TIME_NAMES = ("TIMESTAMP", "TMSTAMP")
_SERIAL_CELL, _TABLE_CELL = 3, 7
_LOOKS_LIKE_DATA = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _header(rows: list[list[str]]) -> Header:
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
    origin = identity("/".join(part for part in (station, table) if part))
    serial = identity(logger[_SERIAL_CELL]) if origin is not None and len(logger) > _SERIAL_CELL else None
    return Header(names, time_name, units, origin, serial)


FORMAT = HeadedCsv(
    name="TOA5",
    at_most=4,
    begins=lambda payload: payload.removeprefix(BOM).startswith((b'"TOA5"', b"TOA5")),
    is_first=lambda found: found[0] == _FIRST,
    is_last=lambda rows: len(rows) == 4,
    is_data=lambda found: _LOOKS_LIKE_DATA.match(found[0]) is not None,
    read=_header,
).as_format()
