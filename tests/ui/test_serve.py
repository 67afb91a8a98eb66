"""`make ui`, for real: both servers and the pages, each page fetched, and nothing left over at the end."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.edge.patience import PATIENCE_S
from tests.ui.browser import get

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from fieldedge.system.errors import FieldloopError
from fieldloop.core.settings import load_settings
from fieldloop.ui import serve_ui
try:
    serve_ui(load_settings())
except FieldloopError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""

pytestmark = pytest.mark.slow


@contextmanager
def started(home: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A process that serves the pages of `home`."""
    environment = {**os.environ, "FIELDLOOP_ROOT": str(ROOT), "FIELDLOOP_HOME": str(home), **settings}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def links(process: subprocess.Popen[str]) -> dict[str, str]:
    """What it says where, once everything is up."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("Ctrl-C"):
            break
    return dict(re.findall(r"^  (Report|Data Docs|Prefect|MLflow) +(http://\S+)$", said, re.MULTILINE))


def servers_of(home: Path) -> dict[int, str]:
    """The processes whose environment or command names `home`, this test's own aside."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            told = command + (entry / "environ").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            continue
        if str(home) in told and command:
            found[int(entry.name)] = command
    return found


def test_every_page_opens_a_second_server_is_refused_and_sigterm_ends_everything(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("the report")
    with started(tmp_path) as process:
        found = links(process)
        assert set(found) == {"Report", "Data Docs", "Prefect", "MLflow"}
        assert all(link.startswith("http://127.0.0.1:") for link in found.values())
        with started(tmp_path) as second:
            assert second.wait(timeout=PATIENCE_S) == 1
            assert second.stderr is not None
            assert "StoreBusy" in second.stderr.read()
        assert get(found["Report"]) == (200, "the report")
        assert get(found["Data Docs"])[0] == 200
        assert "<title>Prefect" in get(found["Prefect"])[1]
        assert "MLflow" in get(found["MLflow"])[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_S) == 0
    assert servers_of(tmp_path) == {}


def test_a_server_that_dies_is_named_and_the_others_end_with_it(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        links(process)
        (mlflow,) = [number for number, command in servers_of(tmp_path).items() if "mlflow server" in command]
        os.kill(mlflow, signal.SIGKILL)
        assert process.wait(timeout=PATIENCE_S) == 1
        assert process.stderr is not None
        told = process.stderr.read()
    assert told.startswith("ServerStopped: MLflow ended by itself (exit code -9)")
    assert str(tmp_path / "ui" / "mlflow.log") in told
    assert servers_of(tmp_path) == {}


def test_ctrl_c_during_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Starting")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE_S) == 0
        assert "http" not in process.stdout.read()
    assert servers_of(tmp_path) == {}
