"""kill -9 at random moments of the real process: nothing is counted, the clock alone decides.

The process is `fieldedge` as a person starts it, with its own interpreter; only the daemon is stepped by another
clock. What must hold afterwards is what holds after every other end.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.edge.faults.crashes import Series, go_on, series_of
from tests.edge.faults.forks import ROOT, Ended
from tests.edge.faults.life import World

JOBS = ("first update", "season", "next update", "sync", "daemon", "next days")
EARLY_S = 0.05  # before that the interpreter has not come to the device's own code
_DAEMON = "import sys; from tests.edge.faults.daemon import main; sys.exit(main(sys.argv[1:]))"


@dataclass
class Kills:
    """How many processes were killed in which job, and how many had ended before their moment came."""

    killed: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)


def kill_at_random(world: World, name: str, kills: int, seed: int, found: Kills) -> None:
    """Kill a job so many times, each time at another moment of it, and go on from there each time.

    Raises:
        AssertionError: something was lost, doubled or left half done.
    """
    dice = random.Random(seed)  # noqa: S311
    series = series_of(world, name)
    longest_s = max(_run(world, series, None)[1] for _ in range(2))
    done = 0
    while done < kills:
        world.go_back(series.moment)
        ended, _ = _run(world, series, dice.uniform(EARLY_S, longest_s))
        if not ended.was_killed:
            assert ended.code == 0, ended.err
            found.ended[name] += 1
            continue
        done += 1
        found.killed[name] += 1
        go_on(world, series, ended)


def _run(world: World, series: Series, after_s: float | None) -> tuple[Ended, float]:
    """The job's process, killed after so long or left to its end; and how long it took."""
    if after_s is None:
        world.go_back(series.moment)
    series.job.prepare(world)
    streams = {name: world.scratch / f"kill.{name}" for name in ("in", "out", "err")}
    streams["in"].write_text(series.job.lines(), encoding="utf-8")
    with streams["in"].open() as stdin, streams["out"].open("w") as stdout, streams["err"].open("w") as stderr:
        started_s = time.monotonic()
        process = subprocess.Popen(
            _command(series.job.arguments(world), world.device.root),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    out, err = (streams[name].read_text(encoding="utf-8") for name in ("out", "err"))
    return Ended(process.returncode, out, err), time.monotonic() - started_s


def _command(arguments: Sequence[str], device: Path) -> list[str]:
    command, *rest = arguments
    started = ["-c", _DAEMON] if command == "daemon" else ["-m", "fieldedge", command]
    return [sys.executable, *started, "--dir", str(device), *rest]
