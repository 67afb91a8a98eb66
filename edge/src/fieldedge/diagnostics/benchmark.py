"""How fast, how large and how like the others each model file is on this very processor.

    python -m fieldedge.diagnostics.benchmark MODEL [MODEL ...] --rows rows.npy [--calls 1000] [--outputs FOLDER]

The files are opened as a device opens them: this package's `Model`, one thread. They take turns call by call, so that
whatever disturbs the machine disturbs all of them. With `--calls 0` nothing is timed, which is all that makes sense
under an emulator. One line of JSON on stdout; what it means is decided elsewhere.
"""

import argparse
import io
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldedge.device.processor import CPU_FEATURES, cpu_features
from fieldedge.inference.model import Model
from fieldedge.inference.model_file import MAX_MODEL_BYTES
from fieldedge.system.errors import FieldloopError
from fieldedge.system.plain_files import read_own
from fieldedge.workloads import known_workload, workload_names

__all__ = ["CPU_FEATURES", "call_times_us", "cpu_features", "measured", "quiet_us", "resident_kb"]

MAX_ROWS_BYTES = 256_000_000
_WARM_UP = 20
_ROUNDS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print one line of JSON, and return the exit code."""
    options = _parsed(arguments)
    try:
        print(json.dumps(measured(options.models, options.rows, options.workload, options.calls, options.outputs)))  # noqa: T201
    except (FieldloopError, OSError, ValueError) as error:
        print(f"fieldedge.diagnostics.benchmark: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def measured(paths: Sequence[Path], rows_path: Path, workload: str, calls: int, outputs: Path | None) -> dict[str, Any]:
    """What this processor is, and for each file its bytes, memory, and the time of a call on all the rows.

    Args:
        rows_path: scaled features (K, F), a .npy file.
        outputs: a folder that gets what each file answered, `<number>.npy`.

    Raises:
        ReleaseError: a file is no model for this contract, or answers what is no number.
    """
    rows: NDArray[np.float32] = np.load(io.BytesIO(read_own(rows_path, MAX_ROWS_BYTES)), allow_pickle=False)
    contract = known_workload(workload).contract
    models, files = [], []
    for number, path in enumerate(paths):
        before_kb, started = resident_kb(), time.perf_counter()
        model = Model(read_own(path, MAX_MODEL_BYTES), contract)
        answers = model.predict(rows)
        ready_ms = (time.perf_counter() - started) * 1e3
        files.append(
            {"bytes": path.stat().st_size, "ready_ms": ready_ms, "memory_kb": max(0, resident_kb() - before_kb)}
        )
        models.append(model)
        if outputs is not None:
            outputs.mkdir(parents=True, exist_ok=True)
            np.save(outputs / f"{number}.npy", answers)
    for file, times_us in zip(files, call_times_us(models, rows, calls), strict=True):
        if times_us.size:
            file["p50_us"], file["p99_us"] = quiet_us(times_us, 0.5), quiet_us(times_us, 0.99)
    return {
        "machine": platform.machine(),
        "cpu_features": cpu_features(),
        "threads": 1,
        "rows": len(rows),
        "calls": calls,
        "resident_kb": resident_kb(),
        "files": files,
    }


def call_times_us(models: Sequence[Model], rows: NDArray[np.float32], calls: int) -> list[NDArray[np.float64]]:
    """The time of each of `calls` calls on all the rows, per model, the models taking turns."""
    times = np.zeros((len(models), calls))
    for call in range(-min(_WARM_UP, calls), calls):
        for i, model in enumerate(models):
            started = time.perf_counter_ns()
            model.predict(rows)
            times[i, max(call, 0)] = (time.perf_counter_ns() - started) / 1e3
    return list(times)


def quiet_us(times_us: NDArray[np.float64], share: float) -> float:
    """What this share of the calls keeps to, in the quietest of ten rounds: the file's time, not a busy machine's."""
    return float(min(np.quantile(part, share) for part in np.array_split(times_us, min(_ROUNDS, len(times_us)))))


def resident_kb() -> int:
    """This process's memory that is in RAM, kB; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fieldedge.diagnostics.benchmark", description=__doc__.splitlines()[0]
    )
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--rows", required=True, type=Path, help="scaled features, a .npy file")
    names = workload_names()
    parser.add_argument("--workload", choices=names, required=len(names) != 1, default=names[0] if names else None)
    parser.add_argument("--calls", type=int, default=1000, help="timed calls per file; 0 under an emulator")
    parser.add_argument("--outputs", type=Path, help="a folder for what each file answers")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
