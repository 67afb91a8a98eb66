"""What the device survives: every crash point, hundreds of random kills, failing disks, power cuts, and fuzzing.

    .venv/bin/python benchmarks/edge_faults.py [--kills 90] [--runs 20000] [--stride 1]

The real `fieldedge` under a shim that counts what it does to the disk (`tests/edge/faults/`); it needs a C compiler. It
takes about half an hour. After each fault the device is started again, the job is done again, and everything must be as
in a life without the fault; each difference is counted, and its sentence kept.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.edge.faults.crashes import crash, cut_power, cuts, fail, series_of  # noqa: E402
from tests.edge.faults.fuzz_targets import TARGETS  # noqa: E402
from tests.edge.faults.kills import JOBS as KILLED_JOBS  # noqa: E402
from tests.edge.faults.kills import Kills, kill_at_random  # noqa: E402
from tests.edge.faults.life import JOBS, World, world  # noqa: E402
from tests.edge.faults.shim import FAULTS, build, missing_compiler  # noqa: E402
from tests.edge.faults.test_fuzzing import fuzzed  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "edge_faults.json"
LONG = ("season", "daemon")
FUZZ_AT_MOST_S = 60.0


class Differences(list[str]):
    """What did not hold, a sentence each. What is lost says so (`tests/edge/faults/invariants.py`)."""

    def counted(self, what: str, do: Callable[[], object]) -> bool:
        """Do something that raises where an invariant does not hold; whether the fault struck."""
        try:
            return do() is not False
        except AssertionError as error:
            self.append(f"{what}: {str(error)[:500] or 'what there is differs from a life without the fault'}")
            return True

    def of(self, word: str) -> int:
        return sum(word in sentence for sentence in self)


DIFFERENCES = Differences()


def main() -> int:
    """Run, print the table, write the JSON; 1 where anything was lost, doubled or left half done."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--kills", type=int, default=90, help="random kills of each of the six jobs")
    arguments.add_argument("--runs", type=int, default=20_000, help="inputs for each parser")
    arguments.add_argument("--stride", type=int, default=1, help="every how many-th point of the long jobs")
    options = arguments.parse_args()
    missing = missing_compiler()
    if missing is not None:
        raise SystemExit(missing)
    started_s = time.monotonic()
    by_job: dict[str, dict[str, int]] = {}
    for name in JOBS:
        stride = options.stride if name in LONG else 1
        by_job[name] = {
            "crash_points": _in_a_world(lambda w, name=name, stride=stride: crash_points(w, name, stride)),
            "disk_failures": _in_a_world(lambda w, name=name, stride=stride: disk_failures(w, name, 12 * stride)),
            "power_cuts": _in_a_world(lambda w, name=name, stride=stride: power_cuts(w, name, stride)),
            "kills": 0,
        }
        if name in KILLED_JOBS:
            by_job[name]["kills"] = _in_a_world(lambda w, name=name: random_kills(w, name, options.kills))
        print(name, by_job[name], flush=True)
    inputs = {name: tried(name, options.runs) for name in TARGETS}
    total = {kind: sum(job[kind] for job in by_job.values()) for kind in next(iter(by_job.values()))}
    figures: dict[str, Any] = {
        "kills_survived": total["kills"],
        "crash_points": total["crash_points"],
        "disk_failures": total["disk_failures"],
        "power_cuts": total["power_cuts"],
        "inputs_tried": sum(inputs.values()),
        "records_lost": DIFFERENCES.of("lost") + DIFFERENCES.of("has it not"),
        "records_doubled": DIFFERENCES.of("came twice"),
        "models_half_applied": DIFFERENCES.of("is active; expected"),
        "differences": list(DIFFERENCES),
        "by_job": by_job,
        "by_parser": inputs,
        "wall_s": round(time.monotonic() - started_s, 1),
    }
    show(figures)
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"\nwritten to {RESULT.relative_to(ROOT)}")
    return int(bool(DIFFERENCES))


def _in_a_world(measure: Callable[[World], int]) -> int:
    with _scratch() as folder, world(folder, build(folder)) as found:
        return measure(found)


@contextmanager
def _scratch() -> Any:
    """In memory where that is possible: what is synced is known from the shim, not from a disk."""
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def crash_points(found: World, name: str, stride: int) -> int:
    """How many points of a job the process was ended at."""
    series = series_of(found, name)
    return sum(
        DIFFERENCES.counted(
            f"{name}, killed {where} call {at}", lambda where=where, at=at: crash(found, series, where, at)
        )
        for where, at in series.points()[::stride]
    )


def disk_failures(found: World, name: str, stride: int) -> int:
    """How often the disk was full, read-only, failing or unreadable for a while."""
    series = series_of(found, name)
    return sum(
        DIFFERENCES.counted(
            f"{name}, {fault.name} from call {at} for {calls or 'all'}",
            lambda fault=fault, at=at, calls=calls: fail(found, series, fault, at, calls),
        )
        for fault in FAULTS
        for at in range(1, series.calls + 1, stride if name in LONG else 2)
        for calls in (None, 1, 3)
    )


def power_cuts(found: World, name: str, stride: int) -> int:
    """How many disks that a power cut may leave the device was started from."""
    series = series_of(found, name)
    left = list(cuts(found, series))[::stride]
    received = dict(found.gateway.received)
    for cut in left:
        DIFFERENCES.counted(f"{name}, {cut.what}", lambda cut=cut: cut_power(found, series, cut, received))
    return len(left)


def random_kills(found: World, name: str, kills: int) -> int:
    """How many processes were killed at a random moment."""
    done = Kills()
    DIFFERENCES.counted(f"{name}, killed at random", lambda: kill_at_random(found, name, kills, 2006, done))
    return done.killed[name]


def tried(name: str, runs: int) -> int:
    """How many inputs atheris tried on one parser."""
    found: list[int] = []
    with _scratch() as folder:
        DIFFERENCES.counted(f"{name}, fuzzed", lambda: found.append(fuzzed(name, runs, FUZZ_AT_MOST_S, folder)))
    return sum(found)


def show(figures: dict[str, Any]) -> None:
    """Faults by job, and inputs by parser."""
    kinds = ("crash_points", "kills", "disk_failures", "power_cuts")
    print(f"\n{'job':<16} " + " ".join(f"{kind.replace('_', ' '):>14}" for kind in kinds))
    for name, job in figures["by_job"].items():
        print(f"{name:<16} " + " ".join(f"{job[kind]:>14,}" for kind in kinds))
    print(f"\n{'parser':<24} {'inputs tried':>14}")
    for name, inputs in figures["by_parser"].items():
        print(f"{name:<24} {inputs:>14,}")
    print(
        f"\n{figures['kills_survived']:,} kills, {figures['crash_points']:,} crash points, "
        f"{figures['disk_failures']:,} disk failures and {figures['power_cuts']:,} power cuts; "
        f"{figures['inputs_tried']:,} inputs tried; records lost {figures['records_lost']}"
    )
    for sentence in figures["differences"]:
        print(f"DIFFERS {sentence}")


if __name__ == "__main__":
    sys.exit(main())
