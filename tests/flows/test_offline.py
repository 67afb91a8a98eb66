"""The loop at its quietest: no network, nothing on stderr, nothing left behind, and nothing done twice."""

import re
import subprocess

import pytest

from tests.flows.conftest import Undisturbed
from tests.flows.connections import connections_beyond
from tests.flows.small_loop import ALONE_IN_THE_NETWORK

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("undisturbed")]  # one loop for all of them

_NOISE = re.compile(r"warn|deprecat|traceback|\binfo\b|\bdebug\b|https?://", re.IGNORECASE)


def test_the_loop_needs_no_network(undisturbed: Undisturbed) -> None:
    if not undisturbed.is_offline:
        pytest.skip("this machine does not let us make a network namespace (unshare --user --net)")
    look = "import pathlib; print(pathlib.Path('/proc/net/dev').read_text())"
    seen = subprocess.run(
        [*ALONE_IN_THE_NETWORK, "python3", "-c", look], capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"(\S+):", seen) == ["lo"]
    assert undisturbed.ended.code == 0


def test_no_process_of_the_loop_speaks_to_anybody_beyond_this_machine(undisturbed: Undisturbed) -> None:
    assert connections_beyond(undisturbed.loop.watch) == []


def test_the_loop_says_nothing_but_its_steps(undisturbed: Undisturbed) -> None:
    assert undisturbed.ended.stderr == ""
    assert [line for line in undisturbed.ended.stdout.splitlines() if _NOISE.search(line)] == []
    assert max(len(line) for line in undisturbed.ended.stdout.splitlines()) <= 160


def test_the_loop_leaves_no_process(undisturbed: Undisturbed) -> None:
    assert undisturbed.loop.left_over() == {}


def test_the_same_command_again_finds_its_work_done(undisturbed: Undisturbed) -> None:
    ended = undisturbed.loop.run()
    assert (ended.code, ended.stderr) == (0, "")
    told = [line.split()[0] for line in ended.stdout.splitlines() if line.endswith("(unchanged)")]
    assert told == ["validate", "season", "version"], ended.stdout
    for step in ("train", "register", "compress", "release", "compare", "sync"):
        assert f"\n  {step} " not in ended.stdout
    assert undisturbed.loop.figures() == undisturbed.figures
    assert undisturbed.loop.accepted() == undisturbed.accepted
