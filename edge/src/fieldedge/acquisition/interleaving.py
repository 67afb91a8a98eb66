"""Two files of one name for their logger that tell of the same hours: two loggers may write them, and neither says so.

Files of one logger follow one another. Where two of them say the same channels of the same hours at other moments, what
they say adds up: two gauges would be twice the rain.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

OVERLAP = timedelta(hours=2)
MAX_FILES = 8  # of a logger, those that were read last
MAX_LOGGERS = 200


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
