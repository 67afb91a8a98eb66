"""What the warmed process runs, with the devices' Python: `python -I warm_process.py SOCKET`. See `warmed.py`.

A message on the socket is a device's arguments in JSON, with four descriptors: a line of its own, stdin, stdout and
stderr. On its line the new process's number is told, and once it has ended its exit code. The number is not given to
another process before the other end of the line is closed; a line that is closed early ends its device. When the
socket is closed, all ends.

Only what the device environment has may be imported here.
"""

import gc
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

WARM = (
    "fieldedge.cli",
    "fieldedge.inference.loading",
    "fieldedge.runtime.agent",
    "fieldedge.storage.recovery.rebuild",
    "fieldedge.system.http",
    "fieldedge.transfer.sending",
    "fieldedge.transfer.updates",
    "onnxruntime",
)
_MESSAGE_BYTES = 65_536
_DESCRIPTORS = 4


@dataclass(frozen=True)
class Forked:
    """A device that is not yet buried: `end` is readable once it has ended, `line` once nobody waits for it."""

    pid: int
    end: int
    line: socket.socket


class Nursery:
    """Forks devices, tells how they end, and buries them."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._forked: list[Forked] = []

    def next_device(self) -> list[str]:
        """Work until nobody asks any more; in a forked process return, with its arguments."""
        while True:
            key, _ = self._selector.select()[0]  # one at a time: what it does may make the others untrue
            if key.fileobj is self._control:
                told, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, _DESCRIPTORS)
                if not told:
                    self._end_all()
                elif self._fork(*descriptors) == 0:
                    return list(json.loads(told))
            elif key.fileobj is key.data.line:
                self._bury(key.data)
            else:
                self._tell_end(key.data)

    def _fork(self, line_number: int, *streams: int) -> int:
        line = socket.socket(fileno=line_number)
        pid = os.fork()
        if pid == 0:
            self._become_device(line, streams)
            return pid
        for stream in streams:
            os.close(stream)
        forked = Forked(pid, os.pidfd_open(pid), line)
        self._forked.append(forked)
        self._selector.register(forked.end, selectors.EVENT_READ, forked)
        self._selector.register(line, selectors.EVENT_READ, forked)
        with suppress(OSError):
            line.send(str(pid).encode())
        return pid

    def _tell_end(self, forked: Forked) -> None:
        """Tell how it ended, and leave it unburied: until the line is closed nobody else is given its number."""
        found = os.waitid(os.P_PID, forked.pid, os.WEXITED | os.WNOWAIT)
        code = 0 if found is None else found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        self._selector.unregister(forked.end)
        with suppress(OSError):
            forked.line.send(str(code).encode())

    def _bury(self, forked: Forked) -> None:
        """Nobody waits for it any more: it ends, if it has not."""
        with suppress(ProcessLookupError):
            os.kill(forked.pid, signal.SIGKILL)
        os.waitpid(forked.pid, 0)
        with suppress(KeyError):
            self._selector.unregister(forked.end)
        self._selector.unregister(forked.line)
        os.close(forked.end)
        forked.line.close()
        self._forked.remove(forked)

    def _end_all(self) -> None:
        for forked in list(self._forked):
            self._bury(forked)
        sys.exit(0)

    def _become_device(self, line: socket.socket, streams: Sequence[int]) -> None:
        """Keep nothing of the warmed process's, nor of its other devices, but what it has imported."""
        self._selector.close()
        self._control.close()
        line.close()
        for other in self._forked:
            os.close(other.end)
            other.line.close()
        for number, (name, stream) in enumerate(zip(("stdin", "stdout", "stderr"), streams, strict=True)):
            os.dup2(stream, number)
            os.close(stream)
            former = getattr(sys, name)  # what was opened on another kind of file believes to be of that kind
            opened = open(  # noqa: SIM115  # a descriptor
                number, former.mode, encoding=former.encoding, errors=former.errors, closefd=False
            )
            opened.reconfigure(line_buffering=former.line_buffering)
            setattr(sys, name, opened)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def begin() -> None:
    """Import, and fork from then on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the devices' and the loop's
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it counts only before the import
    for name in WARM:
        import_module(name)
    workloads = import_module("fieldedge.workloads")
    for name in workloads.workload_names():
        with suppress(Exception):  # whose device asks for it says what is wrong with it
            _ = workloads.known_workload(name).contract.hash  # kept by the contract, and never another
    if (threads := len(list(Path("/proc/self/task").iterdir()))) != 1:
        sys.exit(f"{threads} threads before the first fork; expected one: a device would begin with broken locks")
    gc.collect()
    gc.freeze()  # what is shared is not looked through, so that it stays shared
    control = socket.socket(fileno=int(sys.argv[1]))
    control.send(b"ready")
    sys.argv[1:] = Nursery(control).next_device()
    with suppress(OSError):  # what `ps` and `top` call it: a forked process has its parent's command line
        Path("/proc/self/comm").write_text(" ".join(("fieldedge", *sys.argv[1:2])), encoding="utf-8")


if __name__ == "__main__":
    begin()
    from fieldedge.cli import main

    sys.exit(main())
