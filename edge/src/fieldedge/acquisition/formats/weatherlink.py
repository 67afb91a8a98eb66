"""Davis Instruments' WeatherLink.com, exported as CSV: some rows about the station, a header row, then a row a moment.

    "Orchard"
    "Vantage Pro2 Plus"
    "Date & Time","Temp - °F","Hum - %","Rain - in","Solar Rad - W/m^2"
    "5/1/26 12:15 PM",70.3,45.2,0.00,512

A column is called by what stands before the last ` - ` and has the unit that stands behind it, which counts where the
mapping names none; a second column of the same name is `Temp (2)`. What is `--` is missing. Times are in the station's
own zone and in the order of the user's locale: a mapping says `format`, such as `%m/%d/%y %I:%M %p`. The station's name
is the origin. `Download.txt` of the older program on a PC says no units and is not read.
"""

import re

from fieldedge.acquisition.headed_csv import HeadedCsv, Header
from fieldedge.acquisition.raw import BOM, identity, unique

MOST_ROWS = 12
_TIME = "Date & Time"
_BEGINS = re.compile(rb'(?:[^\n]{0,2000}\n){0,11}"?Date & Time"?[,;\t]')
_LOOKS_LIKE_DATA = re.compile(r"[0-9]{1,4}[/.-][0-9]{1,2}[/.-][0-9]{1,4}\b")


def _header(rows: list[list[str]]) -> Header:
    """The columns of the last row, and the station of the first."""
    split = [cell.rpartition(" - ") for cell in rows[-1][1:]]
    names = unique([_TIME, *(name.strip() if mark else unit for name, mark, unit in split)])
    units = {name: unit.strip() for name, (_, mark, unit) in zip(names[1:], split, strict=True) if mark}
    return Header(names, names[0], units, identity(rows[0][0]) if len(rows) > 1 else None)


FORMAT = HeadedCsv(
    name="WeatherLink",
    at_most=MOST_ROWS,
    begins=lambda payload: _BEGINS.match(payload.removeprefix(BOM)[:24_000]) is not None,
    is_first=lambda found: found[0] == _TIME,
    is_last=lambda rows: rows[-1][0] == _TIME,
    is_data=lambda found: _LOOKS_LIKE_DATA.match(found[0]) is not None,
    read=_header,
    has_preamble=True,
).as_format()
