"""Two files of one name for their logger that tell of the same hours: two loggers may write them, and neither says so.

Files of one logger follow one another. Where two of them say the same channels of the same hours at other moments, what
they say adds up: two gauges would be twice the rain.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from fieldedge.acquisition.raw import MAX_ORIGIN_CHARACTERS, RawSample
from fieldedge.system.instants import parse_instant

OVERLAP = timedelta(hours=2)
MAX_FILES = 8  # of a logger, those that were read last
MAX_LOGGERS = 200
NAME_SENDERS = "what they say adds up: have each say its name as origin, or give each a [[source]]"

_CALLS_ITSELF = re.compile(
    r"(?:dev(?:ice)?|station|logger|node|gauge)(?:id|name|eui|serial|sn|no|number)?|serial(?:no|number)?|sn|imei|mac|macaddress"
)
_MAX_NAMES = 20  # of fields, of one logger


@dataclass(frozen=True)
class _Told:
    """What a file was about so far."""

    first: datetime
    last: datetime
    channels: frozenset[str]


class Interleaving:
    """What the latest files of each logger were about. It forgets with the process."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, str], dict[str, _Told]] = {}

    def note(
        self, source: str, origin: str, file: str, times: Iterable[datetime], channels: Iterable[str]
    ) -> str | None:
        """New samples of a file. Another file of the same hours, if there is one."""
        key, new = (source, origin), sorted(times)
        if key not in self._files and len(self._files) >= MAX_LOGGERS:
            return None
        files = self._files.setdefault(key, {})
        before = files.pop(file, None)
        told = _Told(new[0], new[-1], frozenset(channels))
        if before is not None:
            told = _Told(min(before.first, told.first), max(before.last, told.last), before.channels | told.channels)
        files[file] = told
        while len(files) > MAX_FILES:
            del files[next(iter(files))]
        return next(
            (
                other
                for other, one in files.items()
                if other != file
                and one.channels & told.channels
                and min(one.last, told.last) - max(one.first, told.first) >= OVERLAP
            ),
            None,
        )


class Senders:
    """What the samples of one name call themselves, where their format has no place for it: a device, a serial number.

    A field that says one thing, then another, then the first again, speaks of two loggers, as does one that says
    another thing of hours that are told already; one that changes for good is of one that took the other's place.
    """

    def __init__(self) -> None:
        self._said: dict[str, list[str]] = {}
        self._oldest, self._newest = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
        self._is_told = False

    def note(self, raw: RawSample, time_utc: str) -> str | None:
        """One more sample. That there are two, once."""
        if raw.origin is not None or self._is_told:
            return None
        at = parse_instant(time_utc)
        is_told_already = self._oldest <= at <= self._newest - OVERLAP
        self._oldest, self._newest = min(self._oldest, at), max(self._newest, at)
        for name, value in raw.fields.items():
            if not isinstance(value, str | int) or isinstance(value, bool) or not _is_name(name):
                continue
            called = f"{value!s:.{MAX_ORIGIN_CHARACTERS}}"
            said = self._said.setdefault(name, []) if len(self._said) < _MAX_NAMES else self._said.get(name, [])
            if called in said[:-1]:
                self._is_told = True
                return f"{name} says {called} and {said[-1]} in turns: several loggers may share a name"
            if is_told_already and said and called not in said:
                self._is_told = True
                return f"{name} says {called} of hours of which {said[-1]} told: several loggers may share a name"
            if not said or said[-1] != called:
                said[:] = [*said[-2:], called]
        return None


@lru_cache(maxsize=4096)
def _is_name(field: str) -> bool:
    *before, last = field.lower().split(".")
    if any(part.isdecimal() for part in before):
        return False  # an element of a list: a sensor, and no logger
    return _CALLS_ITSELF.fullmatch(re.sub(r"[^a-z0-9]", "", last)) is not None
