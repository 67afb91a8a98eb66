"""Ports on this machine: the one that was set, else the usual one, else any that is free.

A server binds its port only seconds after it was chosen. Until then nothing on the socket says that it is taken, so
each chosen port also has a lock file, held for as long as it is used: two checkouts that start at the same moment
get different ports.
"""

import getpass
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from fieldedge.system.errors import ConfigError
from fieldloop.core.private_folder import private_folder

LOOPBACK = "127.0.0.1"
ATTEMPTS = 20


@dataclass(frozen=True)
class PortWish:
    """A port that is wanted: `configured` by the setting of that name (0: not set), or else `usual` if it is free."""

    setting: str
    configured: int
    usual: int


@contextmanager
def reserved_ports(wishes: Sequence[PortWish], locks: Path | None = None) -> Iterator[list[int]]:
    """A port for each wish, all different, free now; no one else who asks here gets them while the block runs.

    Raises:
        ConfigError: a configured port is in use; the message names its setting. Or others can write the locks' folder.
    """
    own = Path(tempfile.gettempdir()) / f"fieldloop-ports-{getpass.getuser()}"
    folder = private_folder(own if locks is None else locks)
    with ExitStack() as reserved, ExitStack() as bound:
        ports = [_reserve(wish, folder, reserved, bound) for wish in wishes]
        bound.close()  # each stayed bound until all were chosen, so that none was chosen twice
        yield ports


def _reserve(wish: PortWish, locks: Path, reserved: ExitStack, bound: ExitStack) -> int:
    if wish.configured:
        if _take(wish.configured, locks, reserved, bound) is None:
            raise ConfigError(
                f"{wish.setting} is {wish.configured}, and that port cannot be used on {LOOPBACK}: "
                "set another one, or 0 for any that is free"
            )
        return wish.configured
    for port in (wish.usual, *[0] * ATTEMPTS):
        taken = _take(port, locks, reserved, bound)
        if taken is not None:
            return taken
    raise ConfigError(f"no port is free on {LOOPBACK}: end what holds them, or set {wish.setting}")


def _take(port: int, locks: Path, reserved: ExitStack, bound: ExitStack) -> int | None:
    """The port, bound and locked, or None where somebody has it. 0 asks the system for any."""
    try:
        server = bound.enter_context(socket.create_server((LOOPBACK, port)))
    except OSError:
        return None
    found = int(server.getsockname()[1])
    try:
        reserved.enter_context(FileLock(locks / f"{found}.lock").acquire(timeout=0))
    except Timeout:
        return None
    return found
