"""Trying a model out before it is used: in a process of its own, with limits on its time, its memory and its reach.

Whatever a model file does when it is loaded and run, it does it here first: a signed one too, since a key may be
stolen. `python -m fieldedge.inference.trial FOLDER WORKLOAD` prints one line of JSON. What was found is kept in
`trials.json`: a bundle that was refused is not fetched and tried again until another one is released or this software
changes, and a model that passed is loaded at the next start without a trial. Where a trial could not be carried out,
nothing is kept.
"""

import json
import logging
import os
import platform
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fieldedge import __version__
from fieldedge.contract import Contract, Record
from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.bundles import GOLDEN, MANIFEST, MAX_FILE_BYTES, MODEL, parse_golden, parse_manifest
from fieldedge.system.confinement import confine, end_with_parent
from fieldedge.system.durable import sweep_temporaries, write_durably
from fieldedge.system.errors import FieldloopError, ReleaseError, TrialUnfinished
from fieldedge.system.plain_files import read_own

WALL_S = 120.0
RULES = 2  # raised when what is refused changes while the version does not
MAX_KEPT = 20
MAX_NOTE_BYTES = 1_000_000
_MAX_ANSWER_BYTES = 10_000
_KEPT_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")

_log = logging.getLogger(__name__)


def try_model(folder: Path, workload: str, wall_s: float = WALL_S) -> None:
    """Load the model in a slot's folder and have it repeat its golden vectors, in a process of its own.

    Raises:
        ReleaseError: it does not load, does not fit, fails its self-test, or wants more than it may have.
        TrialUnfinished: the trial could not be carried out, or was ended from outside; try again later.
    """
    command = [sys.executable, "-P", "-s", "-m", "fieldedge.inference.trial", str(folder.resolve()), workload]
    kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    try:
        with tempfile.TemporaryFile() as answer:
            child = subprocess.run(  # noqa: S603  (our own module)
                command,
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={**kept, **one_thread, "ORT_DISABLE_TELEMETRY": "1"},
                timeout=wall_s,
                check=False,
            )
            answer.seek(0)
            said = answer.read(_MAX_ANSWER_BYTES).decode(errors="backslashreplace")
    except subprocess.TimeoutExpired:
        raise TrialUnfinished(
            f"the trial of the model has not ended in {wall_s:.0f} s: the device is too busy; it is tried again later"
        ) from None
    except OSError as error:
        raise TrialUnfinished(f"the model cannot be tried now ({error}); it is tried again later") from error
    _judge(child.returncode, said.splitlines())


def _judge(code: int, lines: list[str]) -> None:
    last = lines[-1][:300] if lines else ""
    if code == 0:
        try:
            said = json.loads(last)
            refused = said["refused"]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise ReleaseError(f"the trial of the model ended without an answer ({last!r}); release it again") from None
        if refused is not None:
            raise ReleaseError(str(refused))
        return
    if code in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP):
        ended_by = signal.Signals(-code).name
        raise TrialUnfinished(f"the trial of the model was ended from outside ({ended_by}); it is tried again later")
    if code == -signal.SIGXCPU:
        raise ReleaseError("the model takes too much time to load or to run; release a smaller one")
    how = signal.Signals(-code).name if code < 0 else last
    raise ReleaseError(f"the model ended the process in which it was tried ({how}); release it again")


# In the child


def main(folder: Path, workload: str) -> Record:
    """Try the model, confined: why it is refused, or None."""
    end_with_parent()
    from fieldedge.inference.onnxruntime_check import load_runtime
    from fieldedge.workloads import known_workload

    load_runtime()
    confine()
    try:
        repeats_golden(folder, known_workload(workload).contract)
    except FieldloopError as error:
        return {"refused": str(error)}
    except (MemoryError, OSError) as error:
        return {"refused": f"the model cannot be tried: {error!r:.200}; release a smaller one"}
    return {"refused": None}


def repeats_golden(folder: Path, contract: Contract) -> Any:
    """The model in a slot's folder, loaded, after it has repeated its golden vectors.

    Raises:
        ReleaseError: it does not load, does not fit or fails its self-test.
        OSError: a file is missing.
    """
    from fieldedge.inference.model import Model

    model, golden, manifest = (read_own(folder / name, MAX_FILE_BYTES[name]) for name in (MODEL, GOLDEN, MANIFEST))
    loaded = Model(model, contract)
    loaded.answer_the_most()
    loaded.self_test(parse_golden(golden, contract), parse_manifest(manifest).golden_tolerance)
    return loaded


# What was found


@dataclass(frozen=True)
class _Found:
    """What trials found, under one version of all that judges: models passed or failed, bundles refused, and why."""

    software: str
    passed: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class Trials:
    """What trials on this device found. A note that is damaged, or of other software, is as none."""

    def __init__(self, root: Path, contract: Contract) -> None:
        self._path = DeviceDirectory(root).trials
        self._contract_hash = contract.hash

    def has_passed(self, model_sha256: str) -> bool:
        """Whether this model passed its trial under this software."""
        return model_sha256 in self._read().passed

    def failure(self, model_sha256: str) -> str | None:
        """Why this model failed its trial under this software, if it did."""
        return self._read().failed.get(model_sha256)

    def refusal(self, bundle_sha256: str) -> str | None:
        """Why this bundle was refused under this software, if it was."""
        return self._read().refused.get(bundle_sha256)

    def keep_passed(self, model_sha256: str) -> None:
        found = self._read()
        failed = {name: why for name, why in found.failed.items() if name != model_sha256}
        passed = [name for name in found.passed if name != model_sha256]
        self._write(replace(found, passed=(*passed, model_sha256)[-MAX_KEPT:], failed=failed))

    def keep_failed(self, model_sha256: str, why: str) -> None:
        found = self._read()
        self._write(replace(found, failed=_with(found.failed, model_sha256, why)))

    def keep_refused(self, bundle_sha256: str, why: str) -> None:
        found = self._read()
        self._write(replace(found, refused=_with(found.refused, bundle_sha256, why)))

    def _read(self) -> _Found:
        try:
            note = json.loads(read_own(self._path, MAX_NOTE_BYTES))
            found: _Found | None = _Found(
                note["software"], tuple(note["passed"]), dict(note["failed"]), dict(note["refused"])
            )
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            found = None
        software = _software(self._contract_hash)
        return found if found is not None and found.software == software else _Found(software)

    def _write(self, found: _Found) -> None:
        try:
            sweep_temporaries(self._path.parent, self._path.name)
            write_durably(self._path, (json.dumps(asdict(found), indent=1) + "\n").encode())
        except OSError as error:
            _log.warning("what the trial found could not be kept: %s", error)  # it is found again


@cache
def _software(contract_hash: str) -> str:
    """All that a verdict depends on beside the model."""
    runtime = find_spec("onnxruntime")
    folder = None if runtime is None or runtime.origin is None else Path(runtime.origin).parents[1]
    names = [] if folder is None else sorted(path.stem for path in folder.glob("onnxruntime*.dist-info"))
    software = ", ".join([f"fieldedge-{__version__}", f"rules-{RULES}", *names, platform.machine()])
    return f"{software}, contract {contract_hash}"


def _with(known: dict[str, str], name: str, why: str) -> dict[str, str]:
    others = [(key, value) for key, value in known.items() if key != name]
    return dict([*others, (name, why[:500])][-MAX_KEPT:])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), sys.argv[2])) + "\n")
