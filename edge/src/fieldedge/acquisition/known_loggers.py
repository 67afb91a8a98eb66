"""Which loggers were heard, by what a file beside the store remembers: their serial numbers, and the fields they send.

A logger's name is its own word, and two can be given the same. The first that is heard under a name has it; another
serial number under that name is another logger, with the number behind the name. What a name meant stays so over
restarts. Of each logger the names of its fields are kept with the time of the first sample that had them, so that it
can be said which are new. Losing the file loses no sample: what is heard next is written down anew.
"""

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fieldedge.contract.samples import with_serial
from fieldedge.system.durable import write_durably
from fieldedge.system.plain_files import read_own

MAX_LOGGERS = 500
MAX_NAMES = 1_000  # of fields, of one logger
MAX_FILE_BYTES = 50_000_000

_log = logging.getLogger(__name__)


@dataclass
class KnownLogger:
    """One logger by its origin: the source that it was heard in, its serial number, and since when it sends which."""

    source: str
    serial: str | None = None
    fields: dict[str, str] = field(default_factory=dict)
    elements: dict[str, str] = field(default_factory=dict)  # by an element's name for itself, such as messages.0.id


class KnownLoggers:
    """The loggers of a device. Without a path nothing is kept."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._is_changed = False
        self.by_origin: dict[str, KnownLogger] = {} if path is None else _read(path)

    def origin(self, source: str, name: str, serial: str) -> str:
        """Whose the samples of that name and serial number are."""
        known = self._logger(source, name)
        if known is None:
            return name
        if known.serial is None:
            known.serial, self._is_changed = serial, True
        if known.serial == serial:
            return name
        origin = with_serial(name, serial)
        other = self._logger(source, origin)
        if other is not None and other.serial is None:
            other.serial, self._is_changed = serial, True
        return origin

    def note(self, source: str, origin: str, names: Collection[str], time_utc: str) -> None:
        """A sample of that time had these fields."""
        known = self._logger(source, origin)
        if known is None or known.fields.keys() >= set(names):
            return
        new = [name for name in names if name not in known.fields]
        for name in new[: MAX_NAMES - len(known.fields)]:
            known.fields[name], self._is_changed = time_utc, True

    def moved(self, source: str, origin: str, elements: Mapping[str, Mapping[str, str]]) -> str | None:
        """The element of a list that says another name of itself than it did, where that was another's; else None.

        `elements` has, for each place of a list that a mapping names (`messages.0`), the names that all places of that
        list give themselves, such as `{"messages.0.id": "4097", "messages.1.id": "4098"}`.
        """
        known = self._logger(source, origin)
        for place, said in elements.items() if known is not None else ():
            assert known is not None  # noqa: S101 - it is looked at only then
            for name, value in said.items():
                key = name.rpartition(".")[2]
                before = known.elements.get(name) if name.rpartition(".")[0] == place else None
                if before is None or before == value:
                    continue
                others = {one: other for one, other in (*known.elements.items(), *said.items()) if one != name}
                if any(one.endswith(f".{key}") and other in (before, value) for one, other in others.items()):
                    return f"{place} says {key} {value}, where it said {before} before"
            for name, value in list(said.items())[: MAX_NAMES - len(known.elements)]:
                if name not in known.elements:
                    known.elements[name], self._is_changed = value, True
        return None

    def keep(self) -> None:
        """Write what changed. A disk that refuses keeps no sample from being stored."""
        if self._path is None or not self._is_changed:
            return
        body = {origin: asdict(known) for origin, known in self.by_origin.items()}
        try:
            write_durably(self._path, json.dumps(body).encode())
        except OSError as error:
            _log.warning("which loggers were heard could not be written: %s", error)
            return
        self._is_changed = False

    def _logger(self, source: str, origin: str) -> KnownLogger | None:
        """The logger of that origin, noted from now on; None where as many are known as are kept."""
        known = self.by_origin.get(origin)
        if known is None and len(self.by_origin) < MAX_LOGGERS:
            known = self.by_origin[origin] = KnownLogger(source)
            self._is_changed = True
        return known


def _read(path: Path) -> dict[str, KnownLogger]:
    """What the file says; nothing where it is missing or damaged."""
    found: dict[str, KnownLogger] = {}
    try:
        for origin, said in json.loads(read_own(path, MAX_FILE_BYTES)).items():
            fields = {str(name): str(time_utc) for name, time_utc in said["fields"].items()}
            elements = {str(name): str(value) for name, value in said.get("elements", {}).items()}
            serial = said["serial"]
            found[origin] = KnownLogger(str(said["source"]), None if serial is None else str(serial), fields, elements)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    return found
