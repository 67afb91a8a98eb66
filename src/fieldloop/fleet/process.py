"""A device's operating-system process, as the cloud side of a simulation sees it.

The device is the separately installed `fieldedge` package, run with its own Python: it inherits nothing of this
process but the path, the home and the language. It is spoken to in JSON, and whatever ends it early becomes one
error that names the device, the exit code and the last lines that it wrote. What is said is `run.py`'s.
"""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Timer
from types import TracebackType
from typing import IO, Any, Self

from fieldedge.contract import Record
from fieldedge.system.errors import ConfigError, TransientError
from fieldloop.fleet.warmed import ForkedProcess, WarmedProcess, warmed

COMMAND_TIMEOUT_S = 120.0
RUN_TIMEOUT_S = 900.0
END_TIMEOUT_S = 5.0
STDERR_TAIL_CHARACTERS = 600
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH")

Process = subprocess.Popen[str] | ForkedProcess


class DeviceError(TransientError):
    """One device's process did not do what it was asked. What it acknowledged is safe on its disk."""


class EdgeCommand:
    """The `fieldedge` command of one installation; it knows which processes of it are alive.

    Raises:
        ConfigError: there is no such Python.
    """

    def __init__(self, python: Path) -> None:
        if not python.is_file():
            raise ConfigError(f"the devices' Python {python} is not there: run `make setup`")
        self._python = python.absolute()
        self._alive: set[Process] = set()
        self._warmed: WarmedProcess | None = None
        self._lock = Lock()

    @contextmanager
    def warmed(self) -> Iterator[None]:
        """Fork the devices of the block from one process that has imported what they import; a block within a block has
        the outer one's. No two threads may have one."""
        if self._warmed is not None:
            yield
            return
        self._warmed = warmed(self._python, _clean_environment(os.environ))
        try:
            yield
        finally:
            if self._warmed is not None:
                self._warmed.close()
            self._warmed = None

    def run(self, device_id: str, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Record:
        """Run one command to its end, and return the JSON that it printed last.

        Raises:
            DeviceError: it failed, took too long, or printed no JSON.
        """
        with self.agent(device_id, *arguments, timeout_s=timeout_s) as agent:
            return agent.finish()

    @contextmanager
    def agent(self, device_id: str, *arguments: str, timeout_s: float = RUN_TIMEOUT_S) -> Iterator["AgentProcess"]:
        """A process that can be talked to; it is dead when the block ends, however it ends."""
        with self._lock:  # started and noted in one step: `kill_all` in between would miss it
            agent = AgentProcess(device_id, lambda stderr: self._started(arguments, stderr), timeout_s)
            self._alive.add(agent.process)
        with agent:
            try:
                yield agent
            finally:
                with self._lock:
                    self._alive.discard(agent.process)

    def _started(self, arguments: Sequence[str], stderr: IO[str]) -> "Process":
        if self._warmed is not None:
            with suppress(OSError):  # it was killed: a device can be started without it
                return self._warmed.fork(arguments, stderr)
        return subprocess.Popen(  # noqa: S603 - our own package, arguments as a list
            [str(self._python), "-I", "-m", "fieldedge", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            encoding="utf-8",
            cwd="/",
            env=_clean_environment(os.environ),
        )

    def kill_all(self) -> None:
        """End every process of this command that is alive; each continues later from what it stored."""
        with self._lock:
            for process in self._alive:
                process.kill()


class AgentProcess:
    """One running device: JSON lines in, JSON lines out."""

    def __init__(self, device_id: str, start: Callable[[IO[str]], "Process"], timeout_s: float) -> None:
        self.device_id = device_id
        self.rejections: list[Record] = []
        self._timeout_s = timeout_s
        self._is_out_of_time = False
        self._stderr: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.process = start(self._stderr)
        self._watchdog = Timer(timeout_s, self._expire)
        self._watchdog.daemon = True
        self._watchdog.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watchdog.cancel()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._stderr):
            if stream is not None:
                with suppress(BrokenPipeError):  # what was not sent yet is lost with the device
                    stream.close()

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a message that is not answered; it leaves with the next one that is."""
        with self._input() as stream:
            stream.write(json.dumps(message, allow_nan=False) + "\n")

    def ask(self, message: Mapping[str, Any], kind: str) -> Record:
        """Send a message and wait for its answer, which must be of that kind.

        Raises:
            DeviceError: the device ended, rejected the message, or answered something else.
        """
        self.tell(message)
        with self._input() as stream:
            stream.flush()
        answer = self._answer(asked=str(message["kind"]))
        if answer is None:
            raise self._ended(f"ended before it answered {message['kind']!r}")
        if answer["kind"] == "rejected":
            raise self._failure(f"rejected {answer.get('where')}: {answer.get('error')}")
        if answer["kind"] != kind:
            raise self._failure(f"answered {json.dumps(answer)[:300]}; expected {kind!r}")
        return answer

    def finish(self) -> Record:
        """Say that nothing more comes, and return the last thing the device says.

        Raises:
            DeviceError: it said nothing, or ended with an error.
        """
        with self._input() as stream:
            stream.close()
        last: Record | None = None
        while (answer := self._answer()) is not None:
            last = answer
        if self.process.wait() != 0 or last is None:
            raise self._failure("failed" if last is None else "failed at its end")
        return last

    def _answer(self, asked: str = "") -> Record | None:
        """The next answer, or None at the end. Rejections of what was not asked are set aside on the way."""
        assert self.process.stdout is not None  # noqa: S101 - asked for when the process was started
        for line in self.process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                raise self._failure(f"printed {line[:200]!r}, which is not JSON") from None
            if not isinstance(answer, dict):
                raise self._failure(f"printed {line[:200]!r}; expected a JSON object")
            is_rejection = answer.setdefault("kind", "report") == "rejected"
            if not is_rejection or str(answer.get("where")).split(" ")[0] == asked:
                return answer
            self.rejections.append(answer)
        return None

    @contextmanager
    def _input(self) -> Iterator[IO[str]]:
        assert self.process.stdin is not None  # noqa: S101 - asked for when the process was started
        try:
            yield self.process.stdin
        except BrokenPipeError:
            raise self._ended("ended while it was spoken to") from None

    def _expire(self) -> None:
        self._is_out_of_time = True
        self.process.kill()

    def _ended(self, what: str) -> DeviceError:
        """The failure of a process that is ending by itself, with the exit code that it gives."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(END_TIMEOUT_S)
        return self._failure(what)

    def _failure(self, what: str) -> DeviceError:
        self.process.kill()
        code = self.process.wait()
        if self._is_out_of_time:
            what = f"was ended after {self._timeout_s:g} s"
        self._stderr.seek(0)
        tail = self._stderr.read().strip()[-STDERR_TAIL_CHARACTERS:]
        return DeviceError(f"{self.device_id} {what} ({_ending(code)}): {tail or 'it wrote no error'}")


def _clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: environment[name] for name in _INHERITED if name in environment}
    # One thread each: two dozen devices share the cores, and a field computer has few.
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
