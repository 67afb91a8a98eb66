"""Tests that go on from one another run in one process, in the order in which they stand."""

import os
import subprocess
import sys
from pathlib import Path

GROUP = """
import os
from pathlib import Path
import pytest

pytestmark = pytest.mark.xdist_group("one")

@pytest.mark.parametrize("number", range(8))
def test_it(number):
    with Path(__file__).with_name("ran").open("a") as ran:
        ran.write(f"{number} {os.getpid()}\\n")
"""


def test_a_group_of_tests_is_not_divided_between_processes(tmp_path: Path) -> None:
    (tmp_path / "test_group.py").write_text(GROUP)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "2",
        "--dist",
        "loadgroup",
        "-p",
        "no:cacheprovider",
        str(tmp_path),
    ]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ended = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    ran = [line.split() for line in (tmp_path / "ran").read_text().splitlines()]
    assert [number for number, _ in ran] == [str(number) for number in range(8)]
    assert len({process for _, process in ran}) == 1
