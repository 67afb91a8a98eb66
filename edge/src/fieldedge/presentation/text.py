"""Numbers, dates and ages as a person reads them, and any text made safe for HTML.

Everything but `escaped` gives plain text; only `escaped` makes it markup. No value from outside raises here: what is
no finite number, no date or no time is shown as a dash, or as it is.
"""

import html
import math
import re
from datetime import date, datetime

from fieldedge.system.clock import parse_utc

NOTHING = "–"
DEFAULT_LIMIT = 300  # characters

_BEFORE_UNIT = re.compile(r"(?<=[0-9]) (?=(?:%|cm|mm|ms|s|min|h|days|kB|MB|t/ha|kg/ha|USD/ha|°C)(?![\w/]))")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MANY = 1e9
_YEARS = range(1900, 2201)  # others are no dates of ours, and days cannot be added to all of them


def escaped(value: object, limit: int = DEFAULT_LIMIT) -> str:
    """The value as text for HTML, in elements and attributes: one line, at most `limit` characters, none of them a
    control character or half a surrogate pair. A number keeps its unit beside it."""
    return _BEFORE_UNIT.sub("\u00a0", html.escape(shortened(str(value), limit)))


def shortened(value: str, limit: int = DEFAULT_LIMIT) -> str:
    """One line of printable characters, cut at `limit`."""
    line = value[: limit * 2]
    if not line.isprintable():
        line = "".join(character if character.isprintable() else " " for character in line)
    line = " ".join(line.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def capitalised(value: str) -> str:
    """With a capital at its beginning, and nothing else changed."""
    return value[:1].upper() + value[1:]


def as_number(value: object) -> float | None:
    """The value if it is a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number_ = float(value)
    except OverflowError:
        return None
    return number_ if math.isfinite(number_) else None


def number(value: object, digits: int = 0, unit: str = "") -> str:
    """`1,234.5 mm`, with a true minus sign; a dash where there is no number."""
    found = as_number(value)
    if found is None:
        return NOTHING
    shown = f"{found:,.{digits}f}" if abs(found) < _MANY else f"{found:.3g}"
    if shown.strip("-0.,") == "":
        shown = shown.lstrip("-")
    return shown.replace("-", "−") + (f" {unit}" if unit else "")


def as_date(value: object) -> date | None:
    """The day that an ISO date names; None for anything else."""
    try:
        day = date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None
    return day if day is not None and day.year in _YEARS else None


def as_time(value: object) -> datetime | None:
    """The moment that an ISO time with its offset names; None for anything else."""
    try:
        return parse_utc(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def short_date(value: object) -> str:
    """`12 Jul`."""
    day = as_date(value)
    return NOTHING if day is None else f"{day.day} {_MONTHS[day.month - 1]}"


def long_date(value: object) -> str:
    """`Wednesday 12 July`, but the month in short."""
    day = as_date(value)
    return NOTHING if day is None else f"{_WEEKDAYS[day.weekday()]}, {day.day} {_MONTHS[day.month - 1]}"


def short_time(value: object) -> str:
    """`12 Jul 06:05`."""
    moment = as_time(value)
    return NOTHING if moment is None else f"{short_date(value)} {moment:%H:%M}"


def time_of_day(value: object) -> str:
    """` 06:05` or ` 06:05:30` of a moment that names a time; nothing of a day."""
    moment = as_time(value) if isinstance(value, str) and len(value) > len("2006-05-01") else None
    return "" if moment is None else f" {moment:%H:%M:%S}".removesuffix(":00")


def quantity(value: object, digits: int, unit: str) -> str:
    """A number with its unit; a bare one, which counts something, has no decimals that it does not need."""
    found = as_number(value)
    return number(value, 0 if unit == "" and found is not None and found == round(found) else digits, unit)


def month(day: date) -> str:
    return _MONTHS[day.month - 1]


def plural(noun: str, count: int, many: str = "") -> str:
    """The noun, of one or of many; `many` is that of many where it is no regular one."""
    return noun if count == 1 else many or f"{noun}s"


def counted(count: int, one: str, many: str = "") -> str:
    """So many of something in words: `no files`, `1 file`, `2 files`."""
    return f"{count or 'no'} {plural(one, count, many)}"


def span(seconds: float | None) -> str:
    """A length of time, roughly: `40 s`, `12 min`, `5 h`, `3 days`."""
    if seconds is None:
        return NOTHING
    for unit_s, unit, up_to in ((1.0, "s", 90.0), (60.0, "min", 90.0), (3600.0, "h", 48.0)):
        if seconds < up_to * unit_s:
            return f"{max(seconds, 0.0) / unit_s:.0f} {unit}"
    return f"{seconds / 86_400.0:,.0f} days"


def age(seconds: float | None) -> str:
    """How long ago something was: `12 min ago`. What seems to lie ahead is said as such."""
    if seconds is None:
        return NOTHING
    if seconds < -300.0:
        return f"{span(-seconds)} ahead of this clock"
    return "just now" if seconds < 20.0 else f"{span(seconds)} ago"


def size(size_bytes: object) -> str:
    """`340 kB`, `1.2 MB`."""
    found = as_number(size_bytes)
    if found is None:
        return NOTHING
    if found < 1e6:
        return number(found / 1e3, 0 if found >= 1e4 or found == 0 else 1, "kB")
    return number(found / 1e6, 0 if found >= 1e8 else 1, "MB")


def printable(text: str) -> str:
    """What others wrote, such as the name of a file, on one line and without what a terminal would obey."""
    return "".join(character if character.isprintable() else _escaped(ord(character)) for character in text)


def _escaped(code: int) -> str:
    is_byte = 0xDC80 <= code <= 0xDCFF  # of a file's name that is not UTF-8 (PEP 383)
    return f"\\x{code - 0xDC00:02x}" if is_byte else ascii(chr(code))[1:-1]
