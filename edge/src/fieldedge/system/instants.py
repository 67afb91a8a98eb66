"""The moment of a sample as text: UTC, to the microsecond, and one text for each instant.

`2006-05-01T12:15:00Z`, and `2006-05-01T12:15:00.5Z` where there is a fraction, without zeros at its end. As texts these
do not sort by time, for '.' comes before 'Z': whatever orders or compares them does it by `in_order`, under which the
store keeps them too.
"""

import re
from datetime import UTC, datetime

_CANONICAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{0,5}[1-9])?Z")


def instant_utc(moment: datetime) -> str:
    """The one text of a moment that knows its offset from UTC."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    return f"{text.rstrip('0') if '.' in text else text}Z"


def parse_instant(time_utc: str) -> datetime:
    """The moment that `instant_utc` wrote.

    Raises:
        ValueError: it is not written so: two texts of one instant would be two samples.
    """
    if not _CANONICAL.fullmatch(time_utc):
        raise ValueError(f"{time_utc!r:.80} is no time like 2006-05-01T12:15:00Z or 2006-05-01T12:15:00.5Z")
    return datetime.fromisoformat(time_utc)


def in_order(time_utc: str) -> str:
    """A text that sorts by time: the fraction goes behind the Z. Times of whole seconds, and their beginnings, stay.

    `2006-05-01T12:15:00Z` < `2006-05-01T12:15:00Z.5` < `2006-05-01T12:15:01Z`, and all of a day after `2006-05-01`.
    """
    whole, point, fraction = time_utc.partition(".")
    return f"{whole}Z.{fraction.removesuffix('Z')}" if point else time_utc


def from_order(key: str) -> str:
    """The time of which `in_order` made this."""
    whole, point, fraction = key.partition("Z.")
    return f"{whole}.{fraction}Z" if point else key


def whole_second(time_utc: str) -> str:
    """The time without its fraction."""
    whole, point, _ = time_utc.partition(".")
    return f"{whole}Z" if point else time_utc
