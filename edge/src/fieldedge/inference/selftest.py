"""Whether the model's runtime works on this processor, tried in a process of its own.

A library that was built for a newer processor ends its process with an illegal instruction, and no handler can catch
that: so an installer and a doctor send this ahead. `python -m fieldedge.inference.selftest [DIR]` prints one line of
JSON, or ends as the runtime ends; with a device's directory it also tries the active model against its golden vectors,
within the limits of every trial (`trial.py`).
"""

import json
import subprocess
import sys
from pathlib import Path

from fieldedge.contract import Record
from fieldedge.device.config import DeviceDirectory, read_config
from fieldedge.inference.onnxruntime_check import load_runtime
from fieldedge.inference.slots import Slots
from fieldedge.inference.trial import repeats_golden
from fieldedge.system.confinement import confine, end_with_parent
from fieldedge.system.errors import FieldloopError
from fieldedge.workloads import known_workload

SELFTEST_TIMEOUT_S = 120.0


def run_selftest(python: str, device: Path | None) -> tuple[int, Record]:
    """Try the runtime, and a device's model, in a child process: how it ended, and what it said."""
    command = [python, "-I", "-m", "fieldedge.inference.selftest", *([] if device is None else [str(device)])]
    try:
        child = subprocess.run(command, capture_output=True, timeout=SELFTEST_TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return 1, {"error": f"no answer in {SELFTEST_TIMEOUT_S:.0f} s"}
    lines = (child.stdout if child.returncode == 0 else child.stderr).decode(errors="replace").splitlines()
    if child.returncode != 0:
        return child.returncode, {"error": lines[-1][:300] if lines else ""}
    return 0, json.loads(lines[-1])


def selftest(device: str | None) -> Record:
    """What runs in the child: load the runtime and use it; then the active model, against its golden vectors."""
    end_with_parent()
    said: Record = {"onnxruntime": load_runtime()}
    if device is None:
        return said
    directory = DeviceDirectory(Path(device))
    try:
        workload = known_workload(read_config(directory.settings).workload)
        slots = Slots(directory.root)
        active = slots.active()
        if active is not None:
            confine()
            slots.verified_model(active)
            repeats_golden(slots.path(active.slot), workload.contract)
            said["model"] = active.version
    except (FieldloopError, OSError) as error:
        said["model_error"] = str(error)
    return said


if __name__ == "__main__":
    sys.stdout.write(json.dumps(selftest(sys.argv[1] if len(sys.argv) > 1 else None)) + "\n")
