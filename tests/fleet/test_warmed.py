"""Devices that are forked are processes of their own: they die alone, end as they would, and share nothing begun."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldloop.fleet import DeviceError, EdgeCommand

PYTHON = Path(sys.executable)


@pytest.fixture
def edge() -> EdgeCommand:
    return EdgeCommand(PYTHON)


@pytest.fixture
def device(world: Any) -> Path:
    """A device that is set up."""
    world.fleet().provision(["dev-00"])
    return Path(world.devices_dir / "dev-00")


@pytest.fixture
def warm_edge(edge: EdgeCommand) -> Iterator[EdgeCommand]:
    with edge.warmed():
        yield edge


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


def is_alive(pid: int) -> bool:
    """Whether it runs; one that ended and is not buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def comes_true(is_so: Callable[[], bool]) -> bool:
    patience = time.monotonic() + 30.0
    while not is_so() and time.monotonic() < patience:
        time.sleep(0.01)
    return is_so()


def ends(pid: int) -> bool:
    return comes_true(lambda: not is_alive(pid))


def at(device: Path) -> tuple[str, str]:
    return "--dir", str(device)


def test_a_forked_device_answers_as_one_that_was_started(warm_edge: EdgeCommand, device: Path) -> None:
    forked = warm_edge.run("dev-00", "status", *at(device))
    started = EdgeCommand(PYTHON).run("dev-00", "status", *at(device))
    assert {name for name in forked if forked[name] != started[name]} <= {"now", "today", "clock"}


def test_two_at_once_have_one_parent_and_one_dies_alone(warm_edge: EdgeCommand, device: Path) -> None:
    with warm_edge.agent("dev-00", "run", *at(device)) as one:
        with warm_edge.agent("dev-01", "status", "--dir", "/nowhere") as other:
            assert parent_of(one.process.pid) == parent_of(other.process.pid) != os.getpid()
            with pytest.raises(DeviceError, match=r"dev-01 failed \(exit code 1\): fieldedge: .*/nowhere"):
                other.finish()
        assert is_alive(one.process.pid)
        assert one.finish()["kind"] == "summary"
    assert one.process.returncode == 0


def test_a_forked_device_that_is_killed_is_told_by_the_signals_name(warm_edge: EdgeCommand, device: Path) -> None:
    with warm_edge.agent("dev-00", "run", *at(device)) as agent:
        os.kill(agent.process.pid, signal.SIGKILL)
        with pytest.raises(DeviceError, match="killed by SIGKILL"):
            agent.finish()
    assert warm_edge.run("dev-00", "run", *at(device))["kind"] == "summary"


def test_one_that_takes_too_long_is_ended(warm_edge: EdgeCommand, device: Path) -> None:
    with (
        warm_edge.agent("dev-00", "run", *at(device), timeout_s=0.5) as agent,
        pytest.raises(DeviceError, match=r"was ended after 0\.5 s"),
    ):
        agent.process.wait()  # the watchdog ends what another thread waits for
        agent.finish()


def test_no_forked_device_outlives_its_block(warm_edge: EdgeCommand, device: Path) -> None:
    with warm_edge.agent("dev-00", "run", *at(device)) as agent:
        pid = agent.process.pid
        warm_edge.kill_all()
    assert ends(pid)
    assert agent.process.returncode == -signal.SIGKILL


def test_where_the_warmed_process_is_killed_the_next_device_is_started(warm_edge: EdgeCommand, device: Path) -> None:
    with warm_edge.agent("dev-00", "run", *at(device)) as agent:
        os.kill(parent_of(agent.process.pid), signal.SIGKILL)
        with pytest.raises(DeviceError, match="killed by SIGKILL"):
            agent.finish()
    assert ends(agent.process.pid)
    assert warm_edge.run("dev-00", "status", *at(device))["device_id"] == "dev-00"


def sockets_of(proc: Path) -> list[str]:
    names = [str(entry.readlink()) for entry in (proc / "fd").iterdir()]
    return [name for name in names if name.startswith("socket:")]


def test_a_forked_device_begins_with_one_thread_in_the_root_and_no_line_of_another(
    warm_edge: EdgeCommand, device: Path
) -> None:
    with warm_edge.agent("dev-00", "run", *at(device)) as forked:
        proc = Path(f"/proc/{forked.process.pid}")
        assert len(list((proc / "task").iterdir())) == 1
        assert (proc / "cwd").readlink() == Path("/")
        # Its number is told before it has become a device.
        assert comes_true(lambda: not sockets_of(proc)), "a line of the warmed process's"


def test_a_python_that_warms_nothing_starts_its_devices(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!{PYTHON}\nprint('{{}}')\n")
    script.chmod(0o700)
    edge = EdgeCommand(script)
    with edge.warmed():
        assert edge.run("dev-00", "status") == {"kind": "report"}
