"""A process of the devices' Python that has imported what a device imports, and forks the devices from then on.

Two dozen devices are started several times a period, and each would spend half a second on the same imports. A forked
device is an operating-system process like any other: its own memory, streams, exit code, and death by SIGKILL. It
shares nothing that was begun: the warmed process has one thread, opens no file of a device and makes no session.

What is run is `warm_process.py`, which says how the two speak. Where it does not come up (another system than Linux, a
device environment that is broken), devices are started one by one, and say themselves what is wrong.
"""

import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import IO

_PROGRAM = Path(__file__).with_name("warm_process.py")
_READY_WITHIN_S = 60.0
_ANSWER_BYTES = 64
_END_TIMEOUT_S = 5.0


class ForkedProcess:
    """A device's process, as `subprocess.Popen` shows its own: streams of text, an exit code, `kill` and `wait`.

    Its number stays its own until this is closed: the warmed process buries it only then.
    """

    def __init__(self, line: socket.socket, pid: int, stdin: IO[str], stdout: IO[str]) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self.returncode: int | None = None
        self._line, self._lock = line, Lock()

    def poll(self) -> int | None:
        """The exit code, or None while it lives."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once there is one; that of a signal is its number, negative.

        Raises:
            subprocess.TimeoutExpired: there is none within so many seconds.
        """
        line = self._line
        is_told = line.fileno() < 0 or bool(select.select([line], [], [], timeout)[0])
        with self._lock:  # never while it waits: another thread may have to kill it then
            if self.returncode is None:
                if not is_told:
                    raise subprocess.TimeoutExpired(f"device process {self.pid}", timeout or 0.0)
                told = line.recv(_ANSWER_BYTES)
                # Without an answer the warmed process is gone, and its devices with it.
                self.returncode = int(told) if told else -signal.SIGKILL
                line.close()
            return self.returncode

    def kill(self) -> None:
        """End it, unless it has ended."""
        with self._lock:
            if self.returncode is None:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)


class WarmedProcess:
    """The warmed process; `close` ends it and every device that it still has."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self._process, self._control, self._lock = process, control, Lock()

    def fork(self, arguments: Sequence[str], stderr: IO[str]) -> ForkedProcess:
        """A device that runs `fieldedge` with these arguments.

        Raises:
            OSError: the warmed process is gone.
        """
        with self._lock:
            stdin, to_device = os.pipe()
            from_device, stdout = os.pipe()
            ours, line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ends: tuple[IO[str], IO[str]] = (
                os.fdopen(to_device, "w", encoding="utf-8"),
                os.fdopen(from_device, encoding="utf-8"),
            )
            try:
                fds = [line.fileno(), stdin, stdout, stderr.fileno()]
                socket.send_fds(self._control, [json.dumps(list(arguments)).encode()], fds)
                told = ours.recv(_ANSWER_BYTES) if select.select([ours], [], [], _READY_WITHIN_S)[0] else b""
                if not told:
                    raise BrokenPipeError("the process that devices are forked from is gone")
            except OSError:
                for end in ends:
                    end.close()
                ours.close()
                raise
            finally:
                line.close()
                os.close(stdin)
                os.close(stdout)
        return ForkedProcess(ours, int(told), *ends)

    def close(self) -> None:
        """End it, and whatever it forked."""
        self._control.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def warmed(python: Path, environment: Mapping[str, str]) -> WarmedProcess | None:
    """The warmed process of a device environment, ready to fork; None where there can be none."""
    if not hasattr(os, "pidfd_open"):
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - our own program, arguments as a list
            [str(python), "-I", str(_PROGRAM), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=dict(environment),
            pass_fds=[theirs.fileno()],
        )
    found = WarmedProcess(process, ours)
    if select.select([ours], [], [], _READY_WITHIN_S)[0] and ours.recv(_ANSWER_BYTES):
        return found
    found.close()
    return None
