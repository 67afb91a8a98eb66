"""A server of somebody else's, run as a child of this process and ended with all of its own children.

The child leads its own process group, so a Ctrl-C in the terminal reaches only this process, which then ends the
group in order: asked first, killed if it does not listen. What the child writes goes to its log; when it ends by
itself, the end of that log is the error.
"""

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fieldedge.system.errors import TransientError
from fieldloop.ui.ports import LOOPBACK

HEALTH_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.1
LOG_TAIL_LINES = 15
LOG_TAIL_BYTES = 20_000


class ServerStopped(TransientError):  # noqa: N818 - the name says what is so
    """A server ended by itself. The message names it and ends with the last lines of its log."""


@dataclass(frozen=True)
class ServerSpec:
    """How to start a server and how to see that it is up: `health_path` answers 200."""

    name: str
    command: Sequence[str]
    port: int
    health_path: str
    log: Path
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


class ServerProcess:
    """A started server. Whoever starts it must `terminate` it and then `wait_ended`."""

    def __init__(self, spec: ServerSpec) -> None:
        self.spec = spec
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        with spec.log.open("wb") as log:
            self._process = _start(spec, log)

    def is_up(self) -> bool:
        """Whether it answers.

        Raises:
            ServerStopped: it has ended.
        """
        self.check()
        connection = http.client.HTTPConnection(LOOPBACK, self.spec.port, timeout=HEALTH_TIMEOUT_S)
        try:
            connection.request("GET", self.spec.health_path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def check(self) -> None:
        """Say nothing while it runs.

        Raises:
            ServerStopped: it has ended.
        """
        code = self._process.poll()
        if code is not None:
            raise self.stopped(f"ended by itself (exit code {code})")

    def stopped(self, what: str) -> ServerStopped:
        """The error that says what happened to this server, with the end of its log."""
        return ServerStopped(f"{self.spec.name} {what}; the end of {self.spec.log}:\n{_tail(self.spec.log)}")

    def terminate(self) -> None:
        """Ask the whole group to end, and return at once."""
        self._signal(signal.SIGTERM)

    def wait_ended(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Wait until nothing of the group is left; what is still there after the timeout is killed."""
        deadline = time.monotonic() + timeout_s
        while self._is_anything_alive() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _is_anything_alive(self) -> bool:
        self._process.poll()  # takes in the child's end; a zombie would count as alive
        return self._signal(0)

    def _signal(self, number: int) -> bool:
        """Send a signal to the group; False where there is no such group any more."""
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


def _start(spec: ServerSpec, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603
        list(spec.command),
        cwd=spec.log.parent,
        env=dict(spec.environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _tail(log: Path) -> str:
    lines = log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip().splitlines()
    return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:]) or "  (it wrote nothing)"
