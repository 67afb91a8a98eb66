"""What a person sees while the loop turns: one line per step, a bar where a step takes more than a few seconds.

On a terminal the bar moves; elsewhere a line appears at every quarter. A child process says `@progress done total`
lines instead where it is told to, and its parent draws them.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

OnProgress = Callable[[int, int], None]  # done, of so many
RELAY_VARIABLE = "FIELDLOOP_PROGRESS_RELAY"
_RELAYED = re.compile(r"^@progress (\d+) (\d+)$")
_WIDTH = 28


@dataclass
class Bar:
    """A bar on one line; `update` may be called as often as wished."""

    what: str
    stream: TextIO
    is_terminal: bool
    quarter: int = 0
    started: float = field(default_factory=time.monotonic)

    def update(self, done: int, total: int) -> None:
        if self.is_terminal:
            filled = _WIDTH * done // max(total, 1)
            self.stream.write(f"\r\033[K    {'━' * filled}{'─' * (_WIDTH - filled)} {done}/{total} {self.what}")
            self.stream.flush()
        elif (quarter := 4 * done // max(total, 1)) > self.quarter:
            self.quarter = quarter
            if time.monotonic() - self.started > 2.0:
                self.stream.write(f"    {done}/{total} {self.what}\n")
                self.stream.flush()

    def clear(self) -> None:
        if self.is_terminal:
            self.stream.write("\r\033[K")
            self.stream.flush()


@contextmanager
def bar(what: str) -> Iterator[OnProgress]:
    """A function to call with (done, total) while the block runs."""
    if os.environ.get(RELAY_VARIABLE) == "1":
        yield lambda done, total: say(f"@progress {done} {total}")
        return
    drawn = Bar(what, sys.stdout, sys.stdout.isatty())
    try:
        yield drawn.update
    finally:
        drawn.clear()


@contextmanager
def relayed(what: str) -> Iterator[Callable[[str], None]]:
    """A function that takes a child's lines: its progress moves a bar here, the rest is dropped."""
    before = os.environ.get(RELAY_VARIABLE)
    os.environ[RELAY_VARIABLE] = "1"
    drawn = Bar(what, sys.stdout, sys.stdout.isatty())

    def listen(line: str) -> None:
        if told := _RELAYED.match(line):
            drawn.update(int(told[1]), int(told[2]))

    try:
        yield listen
    finally:
        drawn.clear()
        if before is None:
            del os.environ[RELAY_VARIABLE]
        else:
            os.environ[RELAY_VARIABLE] = before


def say(line: str) -> None:
    """One line for the person who watches."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
