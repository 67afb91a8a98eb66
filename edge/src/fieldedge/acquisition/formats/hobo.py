"""Onset's HOBOware and HOBOconnect, exported as CSV: a title, or none, one header row, then a row a moment.

    "Plot Title: 10345678"
    "#","Date Time, GMT-05:00","Temp, °C (LGR S/N: 10345678, SEN S/N: 10345678, LBL: Air)","Stopped (LGR S/N: 10345678)"
    1,05/01/26 12:15:00 PM,21.3,
    2,05/01/26 12:20:11 PM,,Logged

The header says the zone of the times, which counts unless the mapping says another; the order of day and month is the
user's, so a mapping says `format`, such as `%m/%d/%y %I:%M:%S %p`, unless they are ISO. A column is called as it was
labelled, `Temp / Air`, else `Temp`, and with the sensor's number where two would be called alike; its unit counts where
the mapping names none. Rows that note an event and no value are passed over. The logger's own file, `.hobo`, is
Onset's alone: export it.

The program writes its header in the language of its user: German, Spanish, French and Portuguese are read as English is
(`Datum Zeit`, `Fecha Tiempo`, `Date Heure`, `Data Hora`), and columns keep the names that they have there. A column of
the logger's that has no unit and no sensor notes events, in any language.
"""

import re
from collections import Counter
from itertools import pairwise

from fieldedge.acquisition.headed_csv import HeadedCsv, Header, begins_with
from fieldedge.acquisition.raw import identity, unique

_TITLE = re.compile(r"(?:Plot[ -]?)?(?:Title|Titel|Titre|T[íi]tulo)\b[^:,;\t]{0,20}:", re.IGNORECASE)
_TIME = re.compile(
    r"(?:Date[ -]Time|Datum[ -](?:Uhr)?[Zz]eit|Fecha[ -](?:Tiempo|Hora)|Date[ -]Heure|Data[ -](?:Hora|Tempo))\b"
)
_DATE = re.compile(r"(?:Date|Datum|Fecha|Data)\b")
_ZONE = re.compile(r"GMT\s?([+-])([0-9]{2}):?([0-9]{2})")
_COLUMN = re.compile(r"(?P<name>[^,(]+?)\s*(?:,\s*(?P<unit>[^,(]+?))?\s*(?:\((?P<about>[^)]*)\))?")
_CHANNEL = re.compile(r"Ch:\s*[0-9]+\s*-\s*")  # HOBOconnect numbers its channels
_LOGGER = re.compile(r"LGR S/N: ([0-9A-Za-z-]+)")
_SENSOR = re.compile(r"SEN S/N: ([0-9A-Za-z-]+)")
_LABEL = re.compile(r"LBL: ([^,)]+)")
_EVENTS = (
    "host connected", "host disconnected", "coupler attached", "coupler detached", "stopped", "started", "end of file",
    "button up", "button down", "bad battery", "good battery", "new interval", "event", "water detect", "logged",
)  # fmt: skip


def _is_first_row(found: list[str]) -> bool:
    return _TITLE.match(found[0]) is not None or _is_columns(found)


def _is_columns(found: list[str]) -> bool:
    return any(_TIME.match(cell) for cell in found[:2]) or _is_in_two(found)


def _is_in_two(found: list[str]) -> bool:
    """Whether date and time stand in columns of their own: `#`, `Date`, `Time, GMT-05:00`."""
    return len(found) > 2 and any(
        _DATE.fullmatch(date) is not None and _ZONE.search(time) is not None for date, time in pairwise(found[:3])
    )


def _header(rows: list[list[str]]) -> Header:
    """The columns of the header row.

    Raises:
        ValueError: date and time stand in columns of their own.
    """
    named = rows[-1]
    at = next((index for index, cell in enumerate(named[:2]) if _TIME.match(cell)), None)
    if at is None:
        raise ValueError(
            "date and time stand in columns of their own: export them as one (HOBOware: Preferences, General, Export "
            "Settings, without 'Separate date and time into two columns')"
        )
    read = [_column(cell) for cell in named]
    twice = {name for name, count in Counter(name for name, _, _ in read).items() if count > 1}
    names = unique([f"{name} ({sensor})" if name in twice and sensor else name for name, _, sensor in read])
    names[at] = "Date Time"
    units = {name: unit for name, (_, unit, _) in zip(names, read, strict=True) if unit and name != names[at]}
    events = frozenset(
        name
        for index, (name, cell) in enumerate(zip(names, named, strict=True))
        if index < at or name.lower().startswith(_EVENTS) or _notes_events(cell)
    )
    logger = _LOGGER.search(" ".join(named))
    zone = _ZONE.search(named[at])
    offset_h = None if zone is None else float(f"{zone[1]}1") * (int(zone[2]) + int(zone[3]) / 60.0)
    return Header(names, names[at], units, identity(logger[1] if logger else _title(rows)), None, offset_h, events)


def _notes_events(cell: str) -> bool:
    """Whether a column is the logger's own and of no sensor: `Coupleur détaché (LGR S/N: 10345678)`."""
    found = _COLUMN.fullmatch(cell)
    return found is not None and not found["unit"] and bool(_LOGGER.search(cell)) and not _SENSOR.search(cell)


def _title(rows: list[list[str]]) -> str:
    return rows[0][0].partition(":")[2].strip() if len(rows) > 1 else ""


def _column(cell: str) -> tuple[str, str, str]:
    """Name, unit and sensor of `Temp, °C (LGR S/N: 1, SEN S/N: 2, LBL: Air)`, or of `Ch: 1 - Temperature (°C)`."""
    found = _COLUMN.fullmatch(_CHANNEL.sub("", cell).strip())
    if found is None:
        return cell, "", ""
    about = found["about"] or ""
    name, unit = " ".join(found["name"].split()), (found["unit"] or "").strip()
    if not unit and ":" not in about:
        unit = about.strip()
    label, sensor = _LABEL.search(about), _SENSOR.search(about)
    return f"{name} / {label[1].strip()}" if label else name, unit, f"S/N {sensor[1]}" if sensor else ""


FORMAT = HeadedCsv(
    name="HOBO",
    at_most=2,
    begins=lambda payload: begins_with(payload, _is_first_row),
    is_first=_is_first_row,
    is_last=lambda rows: _is_columns(rows[-1]),
    is_data=lambda found: found[0].isdecimal(),
    read=_header,
).as_format()
