"""What each class of devices makes of the files: parity, time and memory, by the real `fieldedge` in its own process.

A class is measured on a processor of its own where this machine is one. Where it is not, an emulator can say whether
the numbers are right (parity), and never how long they take. What could not be measured says so; nothing is assumed.
"""

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldedge.diagnostics.benchmark import cpu_features
from fieldedge.inference.model import largest_error_sd
from fieldloop.core.params import DeviceClassParams

Array = npt.NDArray[np.float32]

PROGRAM = "fieldedge.diagnostics.benchmark"  # what the devices' Python runs
TIMEOUT_S = 300.0
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class OnClass:
    """One class of devices, and what its processor made of each file; None where it could not be measured."""

    name: str
    parity_on: str  # in words: which processor answered the golden rows
    timed_on: str
    cpu_features: tuple[str, ...] = ()  # of the processor that was timed
    parity_sd: dict[str, float] = field(default_factory=dict)  # largest error on golden rows, in sd of each output
    p50_us: dict[str, float] = field(default_factory=dict)
    p99_us: dict[str, float] = field(default_factory=dict)
    memory_kb: dict[str, int] = field(default_factory=dict)
    failures: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Bench:
    """The devices' Python here, and where other Pythons are relative to."""

    edge_python: Path
    root: Path
    workload: str

    def measure(
        self, command: Sequence[str], files: Sequence[Path], rows: Array, calls: int, is_isolated: bool = True
    ) -> tuple[dict[str, Any], list[Array]]:
        """What `fieldedge.diagnostics.benchmark` prints, and each file's answers to the rows.

        Raises:
            RuntimeError: the process failed; the message has its last line.
        """
        with tempfile.TemporaryDirectory() as scratch:
            rows_path, outputs = Path(scratch) / "rows.npy", Path(scratch) / "outputs"
            np.save(rows_path, rows)
            arguments = ["-m", PROGRAM, *map(str, files), "--rows", str(rows_path)]
            arguments += ["--workload", self.workload, "--calls", str(calls), "--outputs", str(outputs)]
            done = subprocess.run(  # noqa: S603 - our own package, arguments as a list
                [*command, *(["-I"] if is_isolated else []), *arguments],
                capture_output=True,
                text=True,
                errors="backslashreplace",
                check=False,
                cwd="/",
                timeout=TIMEOUT_S,
                env={name: value for name, value in os.environ.items() if name in _INHERITED},
            )
            if done.returncode != 0:
                last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                raise RuntimeError(last[:300])
            answers = [np.load(outputs / f"{i}.npy") for i in range(len(files))]
            return json.loads(done.stdout.strip().splitlines()[-1]), answers


def measure_class(
    name: str,
    params: DeviceClassParams,
    files: Mapping[str, Path],
    golden_rows: Array,
    expected: Mapping[str, Array],
    candidates: Array,
    calls: int,
    bench: Bench,
) -> OnClass:
    """Parity of every file with what the cloud's session answered, and times where this machine can tell them.

    Args:
        files: by name.
        golden_rows: scaled rows (N, F) for parity; `expected` the cloud's answers to them, by file.
        candidates: the scaled rows (K, F) of one decision, which are timed.
    """
    here, own = platform.machine(), params.machine
    is_same_machine = own in ("any", here)
    lacking = [feature for feature in params.lacks if feature in cpu_features()]
    found = OnClass(name, "", "")
    command, isolated, words = _parity_command(params, bench, is_same_machine, lacking)
    if not command:
        found = replace(found, parity_on=words)
    else:
        found = _with_parity(found, words, command, isolated, files, golden_rows, expected, bench)
    if not is_same_machine:
        why = f"not timed: this machine is {here}, not {own}, and an emulator's time says nothing"
        return replace(found, timed_on=why)
    return _with_times(found, lacking, here, files, candidates, calls, bench)


def _parity_command(
    params: DeviceClassParams, bench: Bench, is_same_machine: bool, lacking: Sequence[str]
) -> tuple[list[str], bool, str]:
    """The Python that stands for the class, whether it can run isolated, and in words; empty where there is none."""
    if is_same_machine and not lacking:
        return [str(bench.edge_python)], True, "this processor, which is of the class"
    if params.emulator:
        emulator = shutil.which(params.emulator[0])
        if emulator is None:
            return [], True, f"not run: there is no {params.emulator[0]} here (Debian has it in qemu-user)"
        return [emulator, *params.emulator[1:], str(bench.edge_python)], True, f"emulated: {' '.join(params.emulator)}"
    if params.python:
        python = bench.root / params.python
        if not python.is_file():
            return [], True, f"not run: {params.python} is not there (sh tools/aarch64.sh makes it, with qemu-user)"
        return [str(python)], False, f"emulated: {params.python}"
    if is_same_machine:
        return [str(bench.edge_python)], True, f"this processor, which has {', '.join(lacking)} beyond the class"
    return [], True, f"not run: this machine is {platform.machine()}, and the class names no emulator"


def _with_parity(
    found: OnClass,
    words: str,
    command: list[str],
    isolated: bool,
    files: Mapping[str, Path],
    rows: Array,
    expected: Mapping[str, Array],
    bench: Bench,
) -> OnClass:
    try:
        _, answers = bench.measure(command, list(files.values()), rows, 0, isolated)
    except (RuntimeError, OSError, subprocess.TimeoutExpired, ValueError) as error:
        return replace(found, parity_on=f"{words}: failed", failures=(*found.failures, f"parity: {_line(error)}"))
    parity = {name: largest_error_sd(expected[name], got) for name, got in zip(files, answers, strict=True)}
    return replace(found, parity_on=words, parity_sd=parity)


def _with_times(
    found: OnClass,
    lacking: Sequence[str],
    machine: str,
    files: Mapping[str, Path],
    candidates: Array,
    calls: int,
    bench: Bench,
) -> OnClass:
    try:
        said, _ = bench.measure([str(bench.edge_python)], list(files.values()), candidates, calls)
    except (RuntimeError, OSError, subprocess.TimeoutExpired, ValueError) as error:
        return replace(found, timed_on="not timed: it failed", failures=(*found.failures, f"time: {_line(error)}"))
    measured = dict(zip(files, said["files"], strict=True))
    beyond = f", which has {', '.join(lacking)} beyond the class" if lacking else ""
    return replace(
        found,
        timed_on=f"this {machine} processor{beyond}",
        cpu_features=tuple(said["cpu_features"]),
        p50_us={name: one["p50_us"] for name, one in measured.items()},
        p99_us={name: one["p99_us"] for name, one in measured.items()},
        memory_kb={name: one["memory_kb"] for name, one in measured.items()},
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
