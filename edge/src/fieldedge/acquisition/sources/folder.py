"""A folder into which loggers drop files, or whose files they let grow.

Only whole lines are taken, in bounded pieces, the files taking turns. How far each file is done stands in one small
state file, written after the lines are durable: a crash brings lines twice, never loses one. A file that was shortened
or replaced is read anew; one that was renamed goes on. Every piece of a CSV carries the file's header. A file that
cannot be read is told and tried again later, and never stops the others. The logger's files are never changed; where
`move_done` says so, those that are done go to the subfolder `done`.
"""

import fnmatch
import hashlib
import heapq
import json
import logging
import os
import random
import stat
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import MISSING, asdict, dataclass, fields, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO

from fieldedge.acquisition.headers import cut
from fieldedge.acquisition.logger_format import LoggerFormat
from fieldedge.acquisition.raw import MAX_LINE_BYTES
from fieldedge.acquisition.source import Delivery, Look, Opening, Tell
from fieldedge.device.config import Table
from fieldedge.presentation.text import age, counted, printable
from fieldedge.system.durable import write_durably
from fieldedge.system.plain_files import not_plain, open_plain, read_own
from fieldedge.system.scheduler import back_off_s

PIECE_BYTES = 262_144  # of one file at once
EDGE_BYTES = 512  # by which a file is known to be the one that was read
COMPARED_BYTES = 67_108_864  # a longer file that was replaced is read anew without comparing
SHOWN_BYTES = 1_000  # of a line that is too long
LAST_BACK_OFF_S = 600.0
MAX_STATE_BYTES = 67_108_864
FILES_A_LOOK = 10_000  # that are lined up at once
DONE = "done"

_LARGEST = 2**64  # of what the disk counts
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", "~")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderSettings:
    """`path` is the folder, `pattern` which of its files. A last line without an end is taken after `settle_s`."""

    path: Path
    pattern: str = "*"
    settle_s: float = 60.0
    look_every_s: float = 5.0
    move_done: bool = False
    done_after_days: float = 7.0


def read_folder_settings(table: Table, root: Path) -> FolderSettings:
    """The settings of a source of kind folder; `path` may be relative to the device's directory.

    Raises:
        ConfigError: one is missing, broken or unknown.
    """
    settings = FolderSettings(
        path=root / table.text("path"),
        pattern=table.text("pattern", FolderSettings.pattern),
        settle_s=table.number("settle_s", FolderSettings.settle_s, 0.0, 86_400.0),
        look_every_s=table.number("look_every_s", FolderSettings.look_every_s, 0.0, 86_400.0),
        move_done=table.claim("move_done", FolderSettings.move_done),
        done_after_days=table.number("done_after_days", FolderSettings.done_after_days, 0.0, 3660.0),
    )
    table.end()
    return settings


def open_here(opening: Opening) -> "FolderSource":
    """A folder with these settings."""
    return FolderSource(
        opening.name,
        read_folder_settings(opening.table, opening.root),
        opening.logger_format,
        opening.state_path,
        opening.tell,
        monotonic=opening.monotonic,
        now=opening.now,
    )


def look(opening: Opening) -> Look:
    """Whether the folder can be read, what in it cannot, and when the newest file was written."""
    settings = read_folder_settings(opening.table, opening.root)
    if not settings.path.is_dir():
        return Look("fail", f"{settings.path} is not a folder", "make it, or mend path in device.toml")
    wanted = os.R_OK | os.X_OK | (os.W_OK if settings.move_done else 0)
    if not os.access(settings.path, wanted):
        return Look("fail", f"{settings.path} cannot be read by this user", "give the service's user access")
    written_s: list[float] = []
    strange: list[str] = []
    closed: list[str] = []
    for path in settings.path.iterdir():
        found = not_plain(path, follows=False)
        if not is_meant(path.name, settings.pattern) or found == "a folder":
            continue
        if found:
            strange.append(f"{printable(path.name)} is {found}")
        elif not os.access(path, os.R_OK) and path.exists():
            closed.append(printable(path.name))
        with suppress(FileNotFoundError):  # it went while we looked
            written_s.append(path.lstat().st_mtime)
    if strange:
        found = f"{counted(len(strange), 'entry', 'entries')} in {settings.path} cannot be read: {strange[0]}"
        return Look("warn", f"{found}; expected plain files", "remove them, and see what puts them there")
    if closed:
        found = f"{counted(len(closed), 'file')} in {settings.path} cannot be read by this user: {closed[0]}"
        return Look("warn", found, "give the service's user access, as by umask or group of what writes there")
    if not written_s:
        return Look("warn", f"{settings.path} holds no {settings.pattern}", "see that the logger writes there")
    when = age(opening.now().timestamp() - max(written_s))
    return Look("ok", f"{counted(len(written_s), 'file')} in {settings.path}, the newest written {when}")


@dataclass(frozen=True)
class Mark:
    """How far a file is done. `crc` is of all that is done, `edges` of its first and last bytes.

    The header that counts for what comes next stands at `header_at` and has `header_bytes`; 0 where there is none.
    `changed_ns` is when the file had last changed before it was read. `is_in_long_line` says that what follows up to
    the next line's end belongs to a line that was too long.
    """

    inode: int
    offset: int = 0
    lines: int = 0
    header_at: int = 0
    header_bytes: int = 0
    crc: int = 0
    edges: str = ""
    changed_ns: int = 0
    is_in_long_line: bool = False

    def __post_init__(self) -> None:
        """A mark from disk may be damaged.

        Raises:
            ValueError: a value is not what its name says.
        """
        for field in fields(self):
            value, default = getattr(self, field.name), 0 if field.default is MISSING else field.default
            if type(value) is not type(default) or (isinstance(value, int) and abs(value) >= _LARGEST):
                raise ValueError(f"{field.name} is {value!r}")
        if min(self.inode, self.offset, self.lines, self.header_at, self.header_bytes) < 0:
            raise ValueError(f"{self} counts below 0")


@dataclass(frozen=True)
class _Trouble:
    """A file that cannot be read, and when it is tried again."""

    failures: int
    due_s: float


class FolderSource:
    """The files of one folder, all of one logger's format."""

    is_ended = False

    def __init__(
        self,
        name: str,
        settings: FolderSettings,
        logger_format: LoggerFormat,
        state_path: Path,
        tell: Tell,
        *,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._trouble: str | None = None
        self._settings = settings
        self._format = logger_format
        self._state_path = state_path
        self._tell = tell
        self._monotonic = monotonic
        self._now = now
        self._chance = chance
        self._marks = self._read_state()
        self._is_kept = True
        self._waiting: deque[str] = deque()  # files with something new, in the order of their turns
        self._ends: dict[str, tuple[int, float]] = {}  # size and since when, of files that end within a line
        self._troubles: dict[str, _Trouble] = {}
        self._look_due_s = monotonic()

    @property
    def note(self) -> str | None:
        """What cannot be read at the moment."""
        if self._trouble is None and self._troubles:
            return f"{len(self._troubles)} files cannot be read, such as {self._where(next(iter(self._troubles)))}"
        return self._trouble

    def poll(self, limit_bytes: int) -> list[Delivery]:
        """A piece of each file with something new, in turn, until there are `limit_bytes`."""
        self._keep()
        if not self._waiting and self._monotonic() >= self._look_due_s:
            self._look()
        deliveries: list[Delivery] = []
        room = limit_bytes
        for _ in range(len(self._waiting)):
            if room <= 0:
                break
            name = self._waiting.popleft()
            delivery, has_more = self._read(name, room)
            if delivery is not None:
                deliveries.append(delivery)
                room -= len(delivery.payload)
            if has_more:
                self._waiting.append(name)
        return deliveries

    def close(self) -> None:
        self._keep()

    # Which files

    def _look(self) -> None:
        """See what is there, and line up what is new, oldest first, and only so many: a folder may hold any number."""
        self._look_due_s = self._monotonic() + self._settings.look_every_s
        self._marks, former = {}, self._marks
        try:
            due = heapq.nsmallest(FILES_A_LOOK + 1, self._due(former))
        except OSError as error:
            self._marks = former
            self._say(f"the folder {self._settings.path} cannot be read: {error.strerror}; waiting for it to come back")
            return
        self._say(None)
        for _, name, inode in due[:FILES_A_LOOK]:
            self._marks.setdefault(name, Mark(inode))
            self._waiting.append(name)
        if len(due) > FILES_A_LOOK:
            self._look_due_s = self._monotonic()  # the rest, as soon as these have had their turns
        self._is_kept = self._is_kept and self._marks == former
        for gone in (self._ends.keys() | self._troubles.keys()) - self._marks.keys():
            self._ends.pop(gone, None)
            self._troubles.pop(gone, None)

    def _due(self, former: dict[str, Mark]) -> Iterator[tuple[int, str, int]]:
        """When it changed, name and inode of each file with something new; the others' marks are kept."""
        by_inode = {mark.inode: mark for mark in former.values()}
        for name, status in self._found():
            mark = by_inode.get(status.st_ino) or former.get(name)
            if mark is not None:
                self._marks[name] = mark
            is_done = mark is not None and (mark.inode, mark.offset) == (status.st_ino, status.st_size)
            if mark is not None and is_done and mark.changed_ns == status.st_mtime_ns:
                self._move_if_old(name, status)
            elif name not in self._troubles or self._monotonic() >= self._troubles[name].due_s:
                yield status.st_mtime_ns, name, status.st_ino

    def _found(self) -> Iterator[tuple[str, os.stat_result]]:
        """The files that are meant, one by one. Neither links nor what is still being written."""
        with os.scandir(self._settings.path) as entries:
            for entry in entries:
                if is_meant(entry.name, self._settings.pattern) and entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):  # it went while we looked
                        yield entry.name, entry.stat(follow_symlinks=False)

    def _move_if_old(self, name: str, status: os.stat_result) -> None:
        if not self._settings.move_done:
            return
        if self._now().timestamp() - status.st_mtime < self._settings.done_after_days * 86_400.0:
            return
        done = self._settings.path / DONE
        try:
            with _done_folder(self._settings.path) as folder:
                target = name if not (done / name).exists() else f"{name}.{self._marks[name].crc:08x}"
                os.rename(self._settings.path / name, target, dst_dir_fd=folder)
        except OSError as error:
            self._tell(f"{self._where(name)} is done but cannot be moved to {DONE}/: {error.strerror}")
        else:
            del self._marks[name]
            self._is_kept = False

    # What of a file

    def _read(self, name: str, limit_bytes: int) -> tuple[Delivery | None, bool]:
        """The next piece of a file, if there is one, and whether more is there."""
        trouble = self._troubles.get(name)
        if name not in self._marks or (trouble is not None and self._monotonic() < trouble.due_s):
            return None, False
        try:
            with open_plain(self._settings.path / name) as file:
                found = self._next_piece(name, file, limit_bytes)
        except FileNotFoundError:
            return None, False  # it went; the next look sees it
        except OSError as error:
            failures = 1 if trouble is None else trouble.failures + 1
            wait_s = back_off_s(failures, self._settings.look_every_s, LAST_BACK_OFF_S, self._chance())
            self._troubles[name] = _Trouble(failures, self._monotonic() + wait_s)
            if trouble is None:
                self._tell(f"{self._where(name)} cannot be read: {error.strerror}; trying again later")
            return None, False
        if trouble is not None:
            del self._troubles[name]
            self._tell(f"{self._where(name)} can be read again")
        return found

    def _next_piece(self, name: str, file: IO[bytes], limit_bytes: int) -> tuple[Delivery | None, bool]:
        status = os.fstat(file.fileno())
        known = self._marks[name]
        mark = self._still_valid(name, file, status)
        self._marks[name] = mark = replace(mark, inode=status.st_ino, changed_ns=status.st_mtime_ns)
        self._is_kept = self._is_kept and mark == known
        file.seek(mark.offset)
        piece = file.read(max(min(limit_bytes, PIECE_BYTES), MAX_LINE_BYTES))
        has_more = status.st_size > mark.offset + len(piece)
        if mark.is_in_long_line:
            self._skip(name, file, mark, piece)
            return None, has_more or b"\n" in piece
        end = piece.rfind(b"\n") + 1
        if not end and len(piece) >= MAX_LINE_BYTES:
            return self._too_long(name, file, mark, piece), has_more
        if end < len(piece) and not has_more and self._is_settled(name, status.st_size):
            end = len(piece)
        return self._delivery(name, file, mark, piece[:end], has_more), has_more

    def _still_valid(self, name: str, file: IO[bytes], status: os.stat_result) -> Mark:
        """The file's mark, or a fresh one where what was done is no longer in it."""
        mark = self._marks[name]
        if mark.offset == 0:
            return mark
        is_same_file = mark.inode == status.st_ino
        is_there = mark.offset <= status.st_size and _edges(file, mark.offset) == mark.edges
        if is_there and (is_same_file or _crc(file, mark.offset) == mark.crc):
            return mark
        if is_same_file:
            self._tell(f"{self._where(name)} was shortened or written anew: it is read from its beginning")
        return Mark(status.st_ino)

    def _is_settled(self, name: str, size: int) -> bool:
        """Whether a file that ends within a line has stayed as it is for long enough: the line is all there will be."""
        now_s = self._monotonic()
        known_size, since_s = self._ends.get(name, (-1, now_s))
        if known_size != size:
            since_s = now_s
        self._ends[name] = size, since_s
        return now_s - since_s >= self._settings.settle_s

    def _delivery(self, name: str, file: IO[bytes], mark: Mark, lines: bytes, has_more: bool) -> Delivery | None:
        file.seek(mark.header_at)
        header = file.read(mark.header_bytes)
        taken = cut(self._format, header, lines, is_all=not has_more)
        if not taken.lines:
            return None
        at = mark.header_at if taken.start is None else mark.offset + taken.start
        after = _moved(file, replace(mark, header_at=at, header_bytes=len(taken.header)), taken.lines)
        return Delivery(
            payload=header + taken.lines,
            where=self._where(name),
            origin=self.name,
            done=partial(self._done, name, mark, after),
            first_line=mark.lines + 1 - header.count(b"\n"),
        )

    def _too_long(self, name: str, file: IO[bytes], mark: Mark, piece: bytes) -> Delivery:
        after = replace(_moved(file, mark, piece), is_in_long_line=True)
        return Delivery(
            payload=piece[:SHOWN_BYTES],
            where=self._where(name),
            origin=self.name,
            done=partial(self._done, name, mark, after),
            first_line=mark.lines + 1,
            fault=f"the line is longer than {MAX_LINE_BYTES} bytes; its beginning is kept",
        )

    def _skip(self, name: str, file: IO[bytes], mark: Mark, piece: bytes) -> None:
        """Pass over more of a line that was too long; its beginning has been kept."""
        end = piece.find(b"\n") + 1
        after = _moved(file, mark, piece[:end] if end else piece)
        self._done(name, mark, replace(after, is_in_long_line=not end))

    def _done(self, name: str, before: Mark, after: Mark) -> None:
        if self._marks.get(name) == before:  # else the file was found to be another one meanwhile
            self._marks[name] = after
            self._is_kept = False

    # State

    def _keep(self) -> None:
        """Write how far each file is done, if that changed. Where it cannot be written, lines come twice at worst."""
        if self._is_kept:
            return
        marks = {name: asdict(mark) for name, mark in self._marks.items() if mark.offset}
        try:
            self._state_path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._state_path, json.dumps(marks).encode())
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._state_path, error)
        else:
            self._is_kept = True

    def _read_state(self) -> dict[str, Mark]:
        try:
            return {
                str(name): Mark(**mark)
                for name, mark in json.loads(read_own(self._state_path, MAX_STATE_BYTES)).items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            self._tell(f"{self._state_path} is not readable ({error}): the files are read from their beginning")
            return {}

    def _where(self, name: str) -> str:
        return f"{self.name}/{printable(name)}"

    def _say(self, trouble: str | None) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._tell(trouble or f"the folder {self._settings.path} can be read again")


@contextmanager
def _done_folder(path: Path) -> Iterator[int]:
    """The folder for what is done, as a descriptor: who may write to `path` must not lead us elsewhere by a link."""
    done = path / DONE
    is_new = not done.exists()
    if is_new:
        done.mkdir(exist_ok=True)
    descriptor = os.open(done, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if is_new:
            os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))  # whoever reads the folder reads this
        yield descriptor
    finally:
        os.close(descriptor)


def is_meant(name: str, pattern: str) -> bool:
    """Whether a file of that name is to be read: it fits the pattern, and does not look half-written."""
    is_unfinished = name.startswith(".") or name.lower().endswith(_UNFINISHED)
    return not is_unfinished and fnmatch.fnmatchcase(name, pattern)


def _moved(file: IO[bytes], mark: Mark, taken: bytes) -> Mark:
    offset = mark.offset + len(taken)
    return replace(
        mark,
        offset=offset,
        lines=mark.lines + taken.count(b"\n"),
        crc=zlib.crc32(taken, mark.crc),
        edges=_edges(file, offset),
    )


def _edges(file: IO[bytes], offset: int) -> str:
    """What the first `offset` bytes begin and end with."""
    file.seek(0)
    digest = hashlib.sha256(file.read(min(offset, EDGE_BYTES)))
    file.seek(max(offset - EDGE_BYTES, 0))
    digest.update(file.read(min(offset, EDGE_BYTES)))
    return digest.hexdigest()[:32]


def _crc(file: IO[bytes], offset: int) -> int | None:
    if offset > COMPARED_BYTES:
        return None
    file.seek(0)
    crc = 0
    while offset > 0 and (piece := file.read(min(offset, PIECE_BYTES))):
        crc, offset = zlib.crc32(piece, crc), offset - len(piece)
    return crc
