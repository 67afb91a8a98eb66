"""One process at a time changes what a loop reads: who holds a clone is waited for a while, then named."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fieldedge.system.errors import StoreBusy
from fieldloop.core.clone_lock import held
from tests.edge.patience import PATIENCE_S
from tests.flows.small_loop import PROJECT

HOLD = """
import sys
from pathlib import Path
from fieldloop.core.clone_lock import held
with held(Path(sys.argv[1]), sys.argv[2], is_brief=sys.argv[3] == "briefly"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@contextmanager
def holder(home: Path, doing: str = "retrain", how: str = "long") -> Iterator[subprocess.Popen[str]]:
    """A process that holds the clone until a line comes in, or it is killed."""
    command = [sys.executable, "-c", HOLD, str(home), doing, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def ends(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@contextmanager
def promoting(home: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`fieldloop promote` of version 1 in this clone; it is killed where it does not end."""
    command = [sys.executable, "-m", "fieldloop.cli", "promote", "agriculture", "1", "--why", "tried", *arguments]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FIELDLOOP_")},
        "FIELDLOOP_ROOT": str(PROJECT),
        "FIELDLOOP_HOME": str(home),
    }
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_while_a_flow_holds_the_clone_nothing_is_promoted_and_who_holds_it_is_named(home: Path) -> None:
    registry = home / "mlflow" / "mlflow.db"
    registry.parent.mkdir(parents=True)
    registry.touch()
    with holder(home) as running, promoting(home, "--wait-s", "0") as promotion:
        said, complaint = promotion.communicate(timeout=PATIENCE_S)
        assert (promotion.returncode, said) == (1, "")
        assert f"is in use by `retrain`, process {running.pid}, since " in complaint
        assert f"kill {running.pid}" in complaint
        assert "then try again" in complaint
        assert "Traceback" not in complaint
        assert registry.stat().st_size == 0, "the registry was opened"


def test_a_promotion_waits_for_a_flow_that_is_about_to_end_and_says_so(home: Path) -> None:
    with holder(home) as running, promoting(home, "--wait-s", str(PATIENCE_S)) as promotion:
        assert promotion.stderr is not None
        waits = promotion.stderr.readline()
        assert f"waiting for `retrain`, process {running.pid}" in waits
        ends(running)
        _, complaint = promotion.communicate(timeout=PATIENCE_S)
        assert "has no models yet" in complaint, "it went on, and looked for the registry"


def test_a_promotion_goes_on_where_the_flow_was_killed(home: Path) -> None:
    with holder(home) as running, promoting(home, "--wait-s", str(PATIENCE_S)) as promotion:
        assert promotion.stderr is not None
        promotion.stderr.readline()
        running.kill()
        _, complaint = promotion.communicate(timeout=PATIENCE_S)
        assert "has no models yet" in complaint


def test_who_holds_a_clone_for_seconds_is_waited_for_by_a_flow_too(home: Path) -> None:
    with holder(home, "promote", "briefly") as running:
        waited_for: list[str] = []

        def on_wait(who: str) -> None:
            waited_for.append(who)
            ends(running)

        with held(home, "season", on_wait=on_wait):
            pass
    assert waited_for[0].startswith(f"`promote`, process {running.pid}, since ")


def test_who_holds_it_for_long_is_refused_at_once_unless_a_wait_is_asked_for(home: Path) -> None:
    with (
        holder(home) as running,
        pytest.raises(StoreBusy, match=f"`retrain`, process {running.pid}"),
        held(home, "season", on_wait=lambda who: pytest.fail(f"it waited for {who}")),
    ):
        pass


@pytest.mark.parametrize("note", [None, "", "{", "[]", json.dumps({"doing": "season", "pid": 0, "since_utc": "then"})])
def test_a_holder_that_left_no_sound_note_is_another_process(home: Path, note: str | None) -> None:
    with holder(home):
        kept = home / "loop.holder.json"
        kept.unlink() if note is None else kept.write_text(note)
        with pytest.raises(StoreBusy, match="is in use by another process: "), held(home, "clean"):
            pass


def test_the_note_of_a_process_that_is_gone_is_not_taken_for_the_holders(home: Path) -> None:
    with holder(home) as former:
        note = (home / "loop.holder.json").read_text()
    former.wait(PATIENCE_S)
    with holder(home):
        (home / "loop.holder.json").write_text(note)
        with pytest.raises(StoreBusy, match="is in use by another process: "), held(home, "clean"):
            pass


def test_one_process_may_nest_and_the_outermost_is_named(home: Path) -> None:
    with held(home, "season"), held(home, "migrate"):
        assert json.loads((home / "loop.holder.json").read_text())["doing"] == "season"
