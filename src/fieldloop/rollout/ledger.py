"""Which version each device had, when and why, and what each rollout decided: a file that only grows.

One JSON object a line, each with the SHA-256 of the line before and of itself, so that a line that was changed, left
out or put in shows. A line counts once its newline is on the disk: what a power cut left of a last line was never
acknowledged, and goes when the next is written. Beside the ledger its head is kept, number and hash of the newest line
that was written: lines missing at the end show by it. Whoever can write both files can write another history; what
the chain shows is accidents, and changes by whoever knows of the ledger alone. Keep the head elsewhere for more.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldedge.system import strict_json
from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import DataError
from fieldedge.system.plain_files import open_own, read_own

FIRST = "0" * 64  # what stands before the first line
MAX_LINE_BYTES = 16_000
_MAX_HEAD_BYTES = 1_000
_OWN = frozenset(("number", "before", "sha256"))


@dataclass(frozen=True)
class Entry:
    """One line: its number from 1, its hash, and what it says."""

    number: int
    sha256: str
    values: Mapping[str, Any]


class Ledger:
    """The ledger in one file; one that is not there is empty. One process writes at a time: that is for the caller."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head_path = path.with_name(f"{path.name}.head")

    def entries(self) -> Iterator[Entry]:
        """Every line from the first, each after it was verified; a torn last line is none.

        Raises:
            DataError: a line was changed, or lines are missing; the message names it.
            OSError: it cannot be read.
        """
        head = self._head()
        number, before = 0, FIRST
        for number, line in enumerate(self._lines(), start=1):
            entry = self._verified(number, line, before)
            if head is not None and number == head[0] and entry.sha256 != head[1]:
                raise self._damage(number, f"has the hash {entry.sha256[:12]}…, and {head[1][:12]}… was written")
            before = entry.sha256
            yield entry
        if head is not None and number < head[0]:
            raise self._damage(
                number + 1, f"to line {head[0]} are missing: {self.head_path.name} says they were written"
            )

    def append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Add lines at the end, durably; they are acknowledged by returning. What is torn there goes before.

        Raises:
            DataError: the last line is damaged, or lines are missing: nothing is added to a chain that is broken.
            OSError: it cannot be written.
        """
        if not entries:
            return
        number, before = self._end()
        lines = []
        for values in entries:
            number += 1
            line = _line(number, before, values)
            if len(line) > MAX_LINE_BYTES:
                raise DataError(f"a line of {len(line)} bytes is too long for {self.path}; {MAX_LINE_BYTES} at most")
            before = _hash_of(line)
            lines.append(line)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self.path.exists()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "ab") as file:
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            fsync_directory(self.path.parent)
        write_durably(self.head_path, json.dumps({"number": number, "sha256": before}).encode() + b"\n")

    def verify(self) -> tuple[int, str]:
        """How many lines there are, and the hash of the last, after all of them were verified.

        Raises:
            DataError: a line was changed, or lines are missing; the message names it.
        """
        number, sha256 = 0, FIRST
        for entry in self.entries():
            number, sha256 = entry.number, entry.sha256
        return number, sha256

    def _end(self) -> tuple[int, str]:
        """Number and hash of the last line, after what is torn was cut off."""
        self._heal()
        head, size = self._head(), self._size()
        if size == 0:
            if head is not None:
                raise self._damage(1, f"to line {head[0]} are missing: {self.head_path.name} says they were written")
            return 0, FIRST
        with open_own(self.path) as file:
            file.seek(max(0, size - MAX_LINE_BYTES))
            last = file.read().splitlines(keepends=True)[-1]
        values = self._parsed(0, last)
        number, sha256 = values.get("number"), _hash_of(last)
        if not isinstance(number, int) or values.get("sha256") != sha256:
            raise self._damage(0, "is not what was written")
        if head is not None and (number < head[0] or (number == head[0] and sha256 != head[1])):
            raise self._damage(number, f"is the last, and {self.head_path.name} says that line {head[0]} was written")
        return number, sha256

    def _heal(self) -> None:
        """Cut off what a power cut left of a last line."""
        size = self._size()
        if size == 0:
            return
        with self.path.open("rb+") as file:
            keep, block = size, 65_536
            while keep > 0:
                start = max(0, keep - block)
                file.seek(start)
                found = file.read(keep - start).rfind(b"\n")
                if found >= 0:
                    keep = start + found + 1
                    break
                keep = start
            if keep < size:
                file.truncate(keep)
                os.fsync(file.fileno())

    def _lines(self) -> Iterator[bytes]:
        try:
            with open_own(self.path) as raw:
                left = b""
                while block := raw.read(1_000_000):
                    *lines, left = (left + block).split(b"\n")
                    for line in lines:
                        yield line + b"\n"
        except FileNotFoundError:
            return

    def _verified(self, number: int, line: bytes, before: str) -> Entry:
        values = self._parsed(number, line)
        if values.get("number") != number:
            raise self._damage(number, f"says that it is line {str(values.get('number'))[:20]}")
        if values.get("before") != before:
            raise self._damage(
                number, f"follows {str(values.get('before'))[:12]}…, and the line before is {before[:12]}…"
            )
        said = {key: values[key] for key in values if key not in _OWN}
        try:
            is_as_written = line == _line(number, before, said)
        except ValueError:  # a number that no float holds: nobody wrote that
            is_as_written = False
        if not is_as_written:
            raise self._damage(
                number, f"was changed: its content has the hash {_hash_of(line)[:12]}…, and it says another"
            )
        return Entry(number, values["sha256"], said)

    def _parsed(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            values = strict_json.loads(line) if len(line) <= MAX_LINE_BYTES else None
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise self._damage(number, f"is no line of a ledger: {line[:60]!r}")
        return values

    def _head(self) -> tuple[int, str] | None:
        try:
            values = json.loads(read_own(self.head_path, _MAX_HEAD_BYTES))
            return int(values["number"]), str(values["sha256"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.head_path} is damaged ({error!r}); expected the number and hash of the newest line of "
                f"{self.path.name}. Restore both from a backup"
            ) from error

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _damage(self, number: int, what: str) -> DataError:
        place = f"line {number}" if number else "the last line"
        return DataError(
            f"{self.path}: {place} {what}. The history is not what was written; restore the ledger and "
            f"{self.head_path.name} from a backup: what devices reported since is read from the gateway again"
        )


def _line(number: int, before: str, values: Mapping[str, Any]) -> bytes:
    if not _OWN.isdisjoint(values):
        raise ValueError(f"{', '.join(sorted(_OWN & set(values)))} is the chain's own and cannot be said by a line")
    body = {"number": number, "before": before, **values}
    return json.dumps({**body, "sha256": _digest(body)}, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _hash_of(line: bytes) -> str:
    """The hash that a line's content asks for; empty where it has none."""
    try:
        body = json.loads(line)
        body.pop("sha256", None)
    except (ValueError, AttributeError):
        return ""
    return _digest(body)


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
