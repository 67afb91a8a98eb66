"""No input from a sensor, a file or the network ends the agent: good inputs changed, by chance and by atheris."""

import random
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.edge.faults.forks import ROOT
from tests.edge.faults.fuzz_targets import TARGETS

RUNS, AT_MOST_S = 4_000, 6.0  # `benchmarks/edge_faults.py` goes on for longer
_DONE = re.compile(r"Done (\d+) (?:runs|in)|stat::number_of_executed_units: (\d+)")


def changed(seed: bytes, dice: random.Random) -> bytes:
    """A good input with a few bytes set, taken out, doubled or swapped."""
    found = bytearray(seed)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(found) + 1)
        what = dice.randrange(4)
        if what == 0:
            found[at : at + 1] = dice.randbytes(dice.randint(1, 4))
        elif what == 1:
            del found[at : at + dice.randint(1, 40)]
        elif what == 2:
            found[at:at] = found[max(at - dice.randint(1, 40), 0) : at]
        else:
            found[at : at + 1] = dice.choice(
                [b"\0", b"\xff", b'"', b"{", b"1e999", b"-1", b"NaN", b"null", b"[[", b"\n"]
            )
    return bytes(found)


@pytest.mark.parametrize("name", sorted(TARGETS))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), junk=st.binary(max_size=60))
def test_no_changed_input_raises_anything_but_what_the_parser_documents(
    tmp_path_factory: pytest.TempPathFactory, name: str, seed: int, junk: bytes
) -> None:
    target = TARGETS[name]
    take, dice = target.open(tmp_path_factory.mktemp("fuzz")), random.Random(seed)  # noqa: S311
    for good in target.seeds():
        take(changed(good, dice))
    take(junk)


@pytest.mark.heavy
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_atheris_finds_no_input_that_ends_the_agent(name: str, tmp_path: Path) -> None:
    assert fuzzed(name, RUNS, AT_MOST_S, tmp_path) > 0


def fuzzed(name: str, runs: int, at_most_s: float, folder: Path) -> int:
    """Let atheris try so many inputs, or for so long; how many it tried.

    Raises:
        AssertionError: an input raised what nobody expects. It stands in the message.
    """
    if find_spec("atheris") is None:
        pytest.skip("atheris is not installed: it has no wheel for this machine")
    options = [
        f"-runs={runs}",
        f"-max_total_time={int(at_most_s)}",
        "-print_final_stats=1",
        f"-artifact_prefix={folder}/",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.edge.faults.fuzz", name, *options], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{name}: {_exception(done.stdout)}\n{done.stderr[-3000:]}"
    counts = [int(first or second) for first, second in _DONE.findall(done.stderr)]
    return max(counts, default=0)


def _exception(printed: str) -> str:
    """What atheris prints of an exception that nobody expects: its words come first, then the way to it."""
    _, found, rest = printed.partition("=== Uncaught Python exception: ===")
    return rest.strip()[:2000] if found else printed[-2000:]
