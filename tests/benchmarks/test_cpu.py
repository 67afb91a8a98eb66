"""CPU-seconds of a command: of itself, of its children, and of those that outlive their parent."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks.common.cpu import counted

_BURN = "import time\nwhile time.process_time() < {seconds}: pass"
_FAMILY = f"""
import subprocess, sys
print("before", flush=True)
child = '''{_BURN.format(seconds=0.3)}'''
subprocess.run([sys.executable, "-c", child], check=True)
print("after a child", flush=True)
orphan = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]])"
subprocess.run([sys.executable, "-c", orphan, child], check=True)
"""


@pytest.mark.slow
def test_every_process_that_a_command_started_counts_even_one_that_outlives_its_parent(tmp_path: Path) -> None:
    family = counted([sys.executable, "-c", _FAMILY], tmp_path, os.environ)
    alone = counted([sys.executable, "-c", "pass"], tmp_path, os.environ)
    assert family.returncode == 0
    assert [said.line for said in family.lines] == ["before", "after a child"]
    assert family.lines[1].cpu_s - family.lines[0].cpu_s >= 0.25  # the kernel counts in hundredths
    assert family.cpu_s > 0.5 + alone.cpu_s
    assert alone.cpu_s < 0.3


def test_what_a_command_says_at_its_end_and_how_it_ended_is_told(tmp_path: Path) -> None:
    done = counted([sys.executable, "-c", "import sys; print('one'); sys.exit('two')"], tmp_path, os.environ)
    assert (done.returncode, done.output, done.errors.strip()) == (1, "one\n", "two")
