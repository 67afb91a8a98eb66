"""One process at a time changes a clone, and says who it is: flows, and the commands that change what flows read."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fieldedge.system.durable import write_durably
from fieldedge.system.errors import ConfigError, StoreBusy

BRIEF_S = 60.0  # whoever holds a clone briefly has ended within it, and so has a process after its flow
_HOLDER = "loop.holder.json"


@dataclass(frozen=True)
class Holder:
    """The process that holds a clone, as it noted itself; without `pid` where it left no note."""

    doing: str = ""
    pid: int | None = None
    since_utc: str = ""
    is_brief: bool = False

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        return f"`{self.doing}`, process {self.pid}, since {self.since_utc}"

    @property
    def how_to_end_it(self) -> str:
        return "end it with Ctrl-C" if self.pid is None else f"end it with Ctrl-C or `kill {self.pid}`"


@contextmanager
def held(
    home: Path,
    doing: str,
    *,
    is_brief: bool = False,
    wait_s: float = 0.0,
    on_wait: Callable[[str], None] = lambda _who: None,
) -> Iterator[None]:
    """No second process changes what this clone's loop reads meanwhile. The system frees the lock however this ends.

    Args:
        home: the clone's own folder.
        doing: the name of the flow or command, for whoever finds the clone held.
        is_brief: it ends by itself in seconds, so that whoever comes meanwhile waits for it.
        wait_s: how long another holder is waited for. A flow that failed holds the clone until its process has ended,
            which takes seconds.
        on_wait: is told who is waited for, once.

    Raises:
        ConfigError: the folder cannot be made or written.
        StoreBusy: another process holds it.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / "loop.lock", timeout=0, is_singleton=True)
        lock.acquire()
    except Timeout:
        _wait_for(lock, home, wait_s, on_wait)
    except OSError as error:
        raise ConfigError(
            f"{home} cannot be used ({error.strerror}): set FIELDLOOP_HOME to a folder that this user can write"
        ) from error
    is_outermost = lock.lock_counter == 1
    try:
        if is_outermost:
            note = {"doing": doing, "pid": os.getpid(), "since_utc": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
            write_durably(home / _HOLDER, json.dumps({**note, "is_brief": is_brief}).encode())
        yield
    finally:
        if is_outermost:
            (home / _HOLDER).unlink(missing_ok=True)
        lock.release()


def _wait_for(lock: Any, home: Path, wait_s: float, on_wait: Callable[[str], None]) -> None:
    """Acquire the lock from a holder that ends in time.

    Raises:
        StoreBusy: it does not.
    """
    holder = _holder(home)
    within_s = max(wait_s, BRIEF_S) if holder.is_brief else wait_s
    if within_s > 0:
        on_wait(str(holder))
    try:
        lock.acquire(timeout=within_s)
    except Timeout:
        holder = _holder(home)
        raise StoreBusy(
            f"{home} is in use by {holder}: let it finish, or {holder.how_to_end_it}, then try again. A flow holds it "
            "until its process ends, one that failed too; one in a notebook until its kernel is shut down"
        ) from None


def _holder(home: Path) -> Holder:
    """Who noted itself last, if it still lives: a holder of this moment may not have come to its note yet."""
    try:
        note = json.loads((home / _HOLDER).read_bytes())
        found = Holder(str(note["doing"]), int(note["pid"]), str(note["since_utc"]), bool(note["is_brief"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Holder()
    return found if _lives(found.pid) else Holder()


def _lives(pid: int | None) -> bool:
    if pid is None or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
