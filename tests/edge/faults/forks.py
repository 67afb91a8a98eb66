"""Real device processes in milliseconds: one parent imports everything once, and forks a child for each command.

A child is what `fieldedge` is from its first own line on: the command line's `main`, its own standard streams, the
kernel's own files and locks, and the shim between it and the disk. It is ended as any process is. The command `daemon`
is `fieldedge serve` by another clock. The parent runs `python -m tests.edge.faults.forks`, reads one request a line and
answers each with the child's wait status.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[3]
PRELOADED = (
    "fieldedge.runtime.agent",
    "fieldedge.cli",
    "fieldedge.inference.model",
    "fieldedge.transfer.outbox",
    "fieldedge.transfer.updates",
    "fieldedge.transfer.uploads",
    "fieldedge.runtime.service",
    "onnxruntime",
    "tests.edge.faults.daemon",
)


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it had said by then. `code` is negative where a signal ended it."""

    code: int
    out: str
    err: str

    @property
    def was_killed(self) -> bool:
        return self.code == -9

    def answers(self) -> list[dict[str, Any]]:
        """The whole lines that were answered. The last one may have been cut."""
        return [json.loads(line) for line in self.out.split("\n")[:-1]]


class Forks:
    """The parent process, and calls of it. Use as a context."""

    def __init__(self, scratch: Path, environment: Mapping[str, str]) -> None:
        self._scratch = scratch
        self._environment = environment

    def __enter__(self) -> Self:
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.edge.faults.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**self._environment, "OPENBLAS_NUM_THREADS": "1"},  # a fork takes no thread along
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._parent.stdin is not None and self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.stdout.close()
        self._parent.wait()

    def __call__(self, arguments: Sequence[str], lines: str = "") -> Ended:
        """Run one command to its end, whatever that is."""
        streams = {name: self._scratch / name for name in ("in", "out", "err")}
        streams["in"].write_text(lines, encoding="utf-8")
        request = {"arguments": list(arguments), **{name: str(path) for name, path in streams.items()}}
        assert self._parent.stdin is not None and self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(request) + "\n")
        self._parent.stdin.flush()
        status = json.loads(self._parent.stdout.readline())
        out, err = (streams[name].read_text(encoding="utf-8") for name in ("out", "err"))
        return Ended(os.waitstatus_to_exitcode(status), out, err)


def _serve() -> None:
    import importlib

    for name in PRELOADED:
        importlib.import_module(name)
    said = os.fdopen(os.dup(1), "w")  # not standard output: what is written there counts as the device's answer
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _live(request)
        _, status = os.waitpid(child, 0)
        said.write(f"{status}\n")
        said.flush()


def _live(request: Mapping[str, Any]) -> None:
    """The child: never returns."""
    code = 70
    try:
        _take_streams(request)
        command, *arguments = request["arguments"]
        if command == "daemon":
            from tests.edge.faults.daemon import main as daemon

            code = daemon(arguments)
        else:
            from fieldedge.cli import main

            code = main(request["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  (what the interpreter would do with it)
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _take_streams(request: Mapping[str, Any]) -> None:
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, name, flags in ((0, "in", os.O_RDONLY), (1, "out", write), (2, "err", write)):
        descriptor = os.open(request[name], flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  (the streams of this process)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    _serve()
