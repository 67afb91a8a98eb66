"""One process at a time for a job of the device.

The kernel releases the lock when its holder ends, however it ends, so a killed process leaves nothing to clean up.
Who waits for a lock holds another one meanwhile, which says so: a holder that only waits for the network looks, and
gives way.
"""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fieldedge.system.clock import read_boot_id, seconds_since_boot
from fieldedge.system.errors import StoreBusy
from fieldedge.system.plain_files import NotPlainError, descriptor_of, open_own

GIVE_WAY_S = 90.0  # for a holder to look around, or to end what cannot be left half done
_LOOK_EVERY_S = 0.1
_GLANCES_S = (0.0, 0.001, 0.002, 0.004, 0.008, 0.016)  # who only asks whether it is held, holds it for a moment itself
_SECONDS = re.compile(r"\d{1,12}\.\d{3}")


@contextmanager
def exclusive(path: Path, wait_s: float = 0.0, doing: str = "") -> Iterator[None]:
    """Hold the lock file at `path` for the length of the block. Another holder is waited for as long as `wait_s`.

    What the holder is `doing` stands in the file, for `holder`.

    Raises:
        StoreBusy: another process holds it.
        NotPlainError: what lies there is no file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path) as file:
        if not _taken(file) and not (wait_s > 0.0 and _waited_for(path, file, wait_s)):
            raise StoreBusy(f"another fieldedge process holds {path}; wait until it has finished, then try again")
        tell(path, doing)
        yield


def tell(path: Path, doing: str) -> None:
    """Say in the lock file at `path`, which this process holds, what it is doing from now on.

    Since when stands there as seconds of this boot: the system clock may be set meanwhile.
    """
    since = f"{read_boot_id()} {seconds_since_boot():.3f}"
    with (
        suppress(OSError),  # a full disk must not end what is done under the lock
        os.fdopen(descriptor_of(path, os.O_WRONLY | os.O_TRUNC), "wb") as file,
    ):
        file.write(f"{since}\n{doing}".encode(errors="backslashreplace"))


def holder(path: Path) -> tuple[str, float | None] | None:
    """What the holder of the lock at `path` is doing, and for how long, s, if it says; None where nobody holds it."""
    if not is_held(path):
        return None
    with suppress(OSError), open_own(path) as file:
        since, _, doing = file.read(300).decode(errors="backslashreplace").partition("\n")
        boot_id, _, at_s = since.partition(" ")
        is_known = boot_id == read_boot_id() and _SECONDS.fullmatch(at_s)
        return doing, max(seconds_since_boot() - float(at_s), 0.0) if is_known else None
    return None


def is_wanted(path: Path) -> bool:
    """Whether a process waits for the lock at `path`. Nothing is created by asking."""
    return is_held(_wanted(path))


def is_held(path: Path) -> bool:
    """Whether a process holds this lock now. Nothing is created by asking."""
    try:
        with open_own(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (FileNotFoundError, NotPlainError):  # what is no file was never locked
        return False
    return False


def _waited_for(path: Path, file: IO[bytes], wait_s: float) -> bool:
    until_s = time.monotonic() + wait_s
    with _opened(_wanted(path)) as sign:
        is_signed = False
        while time.monotonic() < until_s:
            is_signed = is_signed or _taken(sign)
            time.sleep(_LOOK_EVERY_S)
            if _taken(file):
                return True
    return False


def _opened(path: Path) -> IO[bytes]:
    return os.fdopen(descriptor_of(path, os.O_WRONLY | os.O_CREAT), "wb")


def _wanted(path: Path) -> Path:
    return path.with_name(f"{path.name}.wanted")


def _taken(file: IO[bytes]) -> bool:
    for wait_s in _GLANCES_S:
        time.sleep(wait_s)
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False
