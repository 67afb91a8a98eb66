"""What the agent says to systemd: that it is ready, alive, what it does, and that it stops.

The protocol is one datagram to the socket that `NOTIFY_SOCKET` names (sd_notify(3)). Saying never blocks and never
raises: an agent that cannot be heard goes on, and systemd draws its own conclusion. Where there is no systemd, nothing
is said. How long a beat may take is the unit's `WatchdogSec`; when to beat is the loop's.
"""

import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass

MAX_STATUS_CHARACTERS = 200

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watchdog:
    """The service manager, if there is one. `beat_every_s` is None where it expects no beats."""

    address: str | None = None
    beat_every_s: float | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str], pid: int) -> "Watchdog":
        """What systemd wants to hear from the process `pid`, by its environment. A setting it cannot mean is none."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls()
        return cls(address, _beat_every_s(environment, pid))

    @property
    def is_heard(self) -> bool:
        """Whether there is a service manager to speak to."""
        return self.address is not None

    def ready(self, status: str = "") -> None:
        """Starting is done: from now on beats are expected."""
        self._say("READY=1", status)

    def alive(self, status: str = "") -> None:
        """The loop is alive."""
        self._say("WATCHDOG=1", status)

    def say(self, status: str) -> None:
        """What the agent is at, for `systemctl status`."""
        self._say("", status)

    def stopping(self, status: str = "") -> None:
        """The loop has ended in order; what follows is closing."""
        self._say("STOPPING=1", status)

    def _say(self, state: str, status: str) -> None:
        lines = [state] if state else []
        if status:
            lines.append("STATUS=" + " ".join(status.split())[:MAX_STATUS_CHARACTERS])
        if self.address is None or not lines:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)  # a manager that is behind must not hold the loop up
                sender.sendto("\n".join(lines).encode(), _socket_address(self.address))
        except OSError as error:
            _log.debug("systemd did not hear %s: %s", lines[0], error)


def _beat_every_s(environment: Mapping[str, str], pid: int) -> float | None:
    """Half of what is allowed, as sd_watchdog_enabled(3) advises."""
    allowed_us = environment.get("WATCHDOG_USEC", "")
    if not (allowed_us.isascii() and allowed_us.isdigit()) or int(allowed_us) == 0:
        return None
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None  # it is meant for the process that started this one
    return int(allowed_us) / 2e6


def _socket_address(address: str) -> str:
    """An address that begins with @ is a name without a file: the kernel wants a zero byte there."""
    return "\0" + address[1:] if address.startswith("@") else address
