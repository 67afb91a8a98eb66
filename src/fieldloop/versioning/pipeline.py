"""Stages of `dvc.yaml`, run only when what they depend on changed.

A stage runs in a child process with this Python first on its path, so `python` in `dvc.yaml` is this environment.
The child speaks DVC's library, which says nothing on its own: what comes out is what the stage says.
"""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fieldedge.system.errors import DataError

_LINES_IN_ERROR = 12
_END_TIMEOUT_S = 10.0
RAN, UP_TO_DATE = "ran", "up to date"
RESULT_PREFIX = "fieldloop-stage: "
_CHILD = "fieldloop.versioning.stage_process"


@dataclass(frozen=True)
class Reproduced:
    """Whether the stage ran, or was as it should be already."""

    stage: str
    has_run: bool


def reproduce(repo_root: Path, stage: str, on_output: Callable[[str], None]) -> Reproduced:
    """Bring a stage of `dvc.yaml` up to date.

    Args:
        repo_root: the project's clone.
        stage: its name in `dvc.yaml`.
        on_output: called with each line that the stage says.

    Raises:
        DataError: the stage failed, or another process holds the versions; the message ends with what was said last.
    """
    command = [sys.executable, "-m", _CHILD, str(repo_root), stage]
    said: deque[str] = deque(maxlen=_LINES_IN_ERROR)
    result = ""
    with subprocess.Popen(  # noqa: S603
        command,
        cwd=repo_root,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
    ) as child:
        assert child.stdout is not None  # noqa: S101  # for the type checker; it is a pipe
        try:
            for line in child.stdout:
                if line.startswith(RESULT_PREFIX):
                    result = line.removeprefix(RESULT_PREFIX).strip()
                    continue
                said.append(line.rstrip("\n"))
                on_output(said[-1])
        except BaseException:
            _end(child)
            raise
    if child.returncode != 0:
        listed = "\n  ".join(line for line in said if line.strip())
        raise DataError(f"the stage {stage} of {repo_root / 'dvc.yaml'} failed:\n  {listed}")
    return Reproduced(stage, result == RAN)


def _environment() -> dict[str, str]:
    # sys.executable unresolved: the link in the environment's own bin, not the Python that it was made from.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}


def _end(child: subprocess.Popen[str]) -> None:
    """Ctrl-C reaches the whole group; a child that did not hear it is told."""
    try:
        child.wait(timeout=_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.terminate()
