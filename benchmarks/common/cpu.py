"""CPU-seconds of a command and all its processes, and which of its lines they were spent before. Linux alone."""

import ctypes
import os
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_ORPHANS_END_S = 10.0
_TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Said:
    """A line of the output, with what the command had spent when it came."""

    line: str
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Counted:
    """A command that ended: user and system seconds of every process that it started, however deep."""

    returncode: int
    wall_s: float
    cpu_s: float
    lines: list[Said]
    errors: str

    @property
    def output(self) -> str:
        """What it printed."""
        return "".join(f"{said.line}\n" for said in self.lines)


def counted(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str], on_line: Callable[[Said], None] = lambda _: None
) -> Counted:
    """Run the command to its end and count; `on_line` hears every line as it comes.

    Processes whose parent ended first come to this process, which waits for them: so none is lost.
    """
    _adopt_orphans(True)
    before, started = _waited_for_s(), time.monotonic()
    lines: list[Said] = []
    with (cwd / "stderr.log").open("w+") as errors:
        with subprocess.Popen(
            command, cwd=cwd, env=dict(environment), stdout=subprocess.PIPE, stderr=errors, text=True
        ) as main:
            assert main.stdout is not None
            for line in main.stdout:
                now = time.monotonic() - started
                lines.append(Said(line.rstrip("\n"), now, _spent_s(main.pid) - before))
                on_line(lines[-1])
        wall_s = time.monotonic() - started
        _bury_all()
        _adopt_orphans(False)
        errors.seek(0)
        return Counted(main.returncode, wall_s, _waited_for_s() - before, lines, errors.read())


def _adopt_orphans(is_wanted: bool) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(is_wanted), 0, 0, 0)


def _spent_s(main: int) -> float:
    """What the living descendants have spent, with the children that they waited for, and what ended before."""
    _bury(main)
    return sum(_of_process_s(pid) for pid in _descendants(os.getpid())) + _waited_for_s()


def _waited_for_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _bury(main: int) -> None:
    """Wait for the orphans that have ended."""
    for pid in _children().get(os.getpid(), ()):
        if pid != main:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _bury_all() -> None:
    """Wait for the orphans that end by themselves soon; one that goes on is not counted."""
    patience = time.monotonic() + _ORPHANS_END_S
    while time.monotonic() < patience:
        with suppress(ChildProcessError):
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.1)
            continue
        return


def _descendants(root: int) -> list[int]:
    children, found, left = _children(), [], [root]
    while left:
        own = children.get(left.pop(), [])
        found += own
        left += own
    return found


def _children() -> dict[int, list[int]]:
    """The living processes by parent."""
    found: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, IndexError):
                found.setdefault(int(_stat(int(folder.name))[1]), []).append(int(folder.name))
    return found


def _of_process_s(pid: int) -> float:
    """User and system time of the process and of the children that it waited for; 0 where it is gone."""
    with suppress(OSError, IndexError):
        return sum(int(ticks) for ticks in _stat(pid)[11:15]) / _TICKS_S
    return 0.0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold blanks and brackets itself."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
