"""Whatever ends a device early becomes one error that says which, how, and what it wrote last."""

import os
import stat
import sys
from pathlib import Path

import pytest

from fieldloop.fleet import DeviceError, EdgeCommand


def scripted(tmp_path: Path, body: str) -> EdgeCommand:
    """A stand-in for the device's Python that runs this body whatever it is asked."""
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return EdgeCommand(script)


def test_the_last_lines_and_the_exit_code_of_a_failed_command_are_told(tmp_path: Path) -> None:
    edge = scripted(tmp_path, "sys.stderr.write('x' * 5000 + 'the disk is full'); sys.exit(3)")
    with pytest.raises(DeviceError, match=r"dev-07 failed \(exit code 3\): x+the disk is full$") as failed:
        edge.run("dev-07", "update")
    assert len(str(failed.value)) < 1000


def test_a_device_killed_by_a_signal_is_told_by_its_name(tmp_path: Path) -> None:
    edge = scripted(tmp_path, "sys.stdin.readline(); os.kill(os.getpid(), 9)")
    with (
        pytest.raises(DeviceError, match=r"dev-07 ended before it answered 'decide' \(killed by SIGKILL\)"),
        edge.agent("dev-07", "run") as agent,
    ):
        agent.ask({"kind": "decide"}, "recommendation")


def test_a_device_that_never_answers_is_ended(tmp_path: Path) -> None:
    edge = scripted(tmp_path, "sys.stdin.read(); time.sleep(600)")
    with pytest.raises(DeviceError, match=r"was ended after 0\.5 s"):
        edge.run("dev-07", "update", timeout_s=0.5)


@pytest.mark.parametrize("line", ["Hello", "[1, 2]", '{"kind": "stored"}'])
def test_an_answer_that_was_not_asked_for_is_an_error(tmp_path: Path, line: str) -> None:
    edge = scripted(tmp_path, f"sys.stdin.readline(); print({line!r}, flush=True); sys.stdin.read()")
    with pytest.raises(DeviceError, match=r"dev-07 (printed|answered)"), edge.agent("dev-07", "run") as agent:
        agent.ask({"kind": "decide"}, "recommendation")


def test_rejected_readings_are_set_aside_while_an_answer_is_awaited(tmp_path: Path) -> None:
    edge = scripted(
        tmp_path,
        "sys.stdin.readline(); sys.stdin.readline()\n"
        "print(json.dumps({'kind': 'rejected', 'where': 'reading 2008-05-01', 'error': 'rain'}))\n"
        "print(json.dumps({'kind': 'recommendation', 'irrigation_mm': 0}), flush=True)\n"
        "print(json.dumps({'kind': 'summary'}), flush=True)",
    )
    with edge.agent("dev-07", "run") as agent:
        agent.tell({"kind": "reading"})
        assert agent.ask({"kind": "decide"}, "recommendation")["irrigation_mm"] == 0
        assert agent.finish() == {"kind": "summary"}
    assert [rejection["error"] for rejection in agent.rejections] == ["rain"]


def test_a_device_inherits_nothing_that_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("FIELDLOOP_ROOT", str(tmp_path))
    edge = scripted(tmp_path, "print(json.dumps({'env': dict(os.environ), 'cwd': os.getcwd()}))")
    seen = edge.run("dev-07", "status")
    assert not [name for name in seen["env"] if name.startswith(("PYTHONPATH", "FIELDLOOP", "VIRTUAL_ENV"))]
    assert seen["env"]["PATH"] == os.environ["PATH"]
    assert seen["cwd"] == "/"


def test_no_process_outlives_its_block(tmp_path: Path) -> None:
    edge = scripted(tmp_path, "sys.stdin.read(); time.sleep(600)")
    with edge.agent("dev-07", "run") as agent:
        process = agent.process
    assert process.returncode is not None


def test_killing_all_ends_what_is_awaited(tmp_path: Path) -> None:
    edge = scripted(tmp_path, "time.sleep(600)")
    with edge.agent("dev-07", "run") as agent:
        edge.kill_all()
        with pytest.raises(DeviceError, match="killed by SIGKILL"):
            agent.ask({"kind": "decide"}, "recommendation")
