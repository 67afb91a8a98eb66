"""Batches that were refused whole: `quarantine/batches/<device_id>/<sha256>.batch`, with the reason beside each.

Its sender was told that a batch is held, so a refused one is not home: it counts as missing until a person decides, who
lets it be judged again (`release`) or sets it aside for good (`discard`). Nothing here is ever deleted.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import DataError
from fieldedge.system.plain_files import NotPlainError, read_own, read_plain
from fieldloop.gateway.inbox import MAX_BATCH_BYTES, MAX_ENVELOPE_BYTES, UNKNOWN_SENDER, Held, Inbox, is_plain_name
from fieldloop.ingest.received import named_records

REFUSED_NAME = "batches"
DISCARDED_NAME = "discarded"
MAX_NOTE_BYTES = 1_000_000


@dataclass(frozen=True)
class RefusedBatch:
    """A refused batch. `name` is `<device_id>/<sha256>`; period and record ids are what it says of itself."""

    name: str
    path: Path
    reason: str
    period: int | None
    record_ids: tuple[str, ...]
    unnamed: int
    """Its records that cannot be looked for by an id; a batch that cannot be opened counts as one."""

    @property
    def sha256(self) -> str:
        return self.path.stem


class Refusals:
    """The refused batches below a quarantine."""

    def __init__(self, quarantine_dir: Path) -> None:
        self._directory = quarantine_dir / REFUSED_NAME
        self._discarded = quarantine_dir / DISCARDED_NAME

    def keep(self, inbox: Inbox, held: Held, reason: str) -> None:
        """Take a batch out of the inbox. Copy, then delete: quarantine may stand on another disk.

        For who holds the device's batches alone (`Inbox.alone`): what comes again meanwhile would be deleted with it.
        """
        target = self._directory / held.device_id
        target.mkdir(parents=True, exist_ok=True)
        note = {"reason": reason, "envelope": _envelope(held)}
        write_durably(target / held.batch.name, held.read())
        write_durably(target / held.envelope.name, json.dumps(note, indent=1, sort_keys=True).encode() + b"\n")
        inbox.remove(held)

    def undecided(self) -> Iterator[RefusedBatch]:
        """The batches that wait for a person's decision, opened one at a time."""
        for path in self._batches():
            yield _refused(path)

    def discarded_names(self) -> set[str]:
        """The names of the batches that a person set aside for good."""
        return {f"{path.parent.name}/{path.stem}" for path in self._discarded.glob("*/*.batch")}

    def names(self) -> dict[str, Path]:
        """The names of the batches that wait for a person's decision."""
        return {f"{_device_of(path)}/{path.stem}": path for path in self._batches()}

    def _batches(self) -> list[Path]:
        found = (*self._directory.glob("*.batch"), *self._directory.glob("*/*.batch"))
        return sorted(path for path in found if path.is_file())

    def find(self, name: str) -> str:
        """The whole name of the one batch that `name` begins, with its device or without.

        Raises:
            DataError: there is none, or more than one.
        """
        found = [whole for whole in self.names() if whole.startswith(name) or whole.partition("/")[2].startswith(name)]
        if not name or len(found) != 1:
            raise DataError(
                f"{len(found)} refused batches are called {name!r}; expected one: fieldloop quarantine list names them"
            )
        return found[0]

    def release(self, name: str, inbox: Inbox) -> None:
        """Let a batch be judged again by the next ingestion. Repeatable.

        Raises:
            DataError: there is no such batch.
        """
        path = self._path(name)
        inbox.put_back(
            _device_of(path), path.stem, _note(path).get("envelope", "").encode(), read_own(path, MAX_BATCH_BYTES)
        )
        _remove(path)

    def discard(self, name: str, decided_utc: str) -> Path:
        """Set a batch aside for good: it is kept in `discarded/`, and nobody misses it any more. Repeatable.

        Raises:
            DataError: there is no such batch.
        """
        path = self._path(name)
        target = self._discarded / _device_of(path)
        target.mkdir(parents=True, exist_ok=True)
        note = {**_note(path), "discarded_utc": decided_utc}
        write_durably(target / path.name, read_own(path, MAX_BATCH_BYTES))
        write_durably(target / f"{path.stem}.json", json.dumps(note, indent=1, sort_keys=True).encode() + b"\n")
        _remove(path)
        return target / path.name

    def _path(self, name: str) -> Path:
        return self.names()[self.find(name)]


def _refused(path: Path) -> RefusedBatch:
    name, reason = f"{_device_of(path)}/{path.stem}", str(_note(path).get("reason", "its reason was lost"))
    try:
        period, ids, rows = named_records(read_own(path, MAX_BATCH_BYTES))
    except DataError:
        return RefusedBatch(name, path, reason, None, (), 1)
    named = [record_id for of_table in ids.values() for record_id in of_table]
    return RefusedBatch(name, path, reason, period, tuple(sorted(set(named))), rows - len(named))


def _envelope(held: Held) -> str:
    """The envelope as it is, or nothing where there is none to keep."""
    try:
        return read_plain(held.envelope, MAX_ENVELOPE_BYTES).decode(errors="replace")
    except (FileNotFoundError, NotPlainError):
        return ""


def _device_of(path: Path) -> str:
    if path.parent.name != REFUSED_NAME or path.parent.parent.name == REFUSED_NAME:
        return path.parent.name
    try:  # before batches were kept by device
        device_id = json.loads(_note(path)["envelope"])["device_id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return UNKNOWN_SENDER
    return device_id if isinstance(device_id, str) and is_plain_name(device_id) else UNKNOWN_SENDER


def _note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(read_own(path.with_suffix(".json"), MAX_NOTE_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)
    fsync_directory(path.parent)
