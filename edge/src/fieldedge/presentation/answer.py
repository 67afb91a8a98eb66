"""What a command is asked for, and how it answers: JSON for programs, a few lines for a person on a terminal."""

import argparse
import json
import sys
from datetime import datetime

from fieldedge.contract import Column, Record


def asked_moment(options: argparse.Namespace, column: Column, now: datetime) -> str:
    """The day or time that `--date` names, as the column writes it; now where it names none.

    Raises:
        DataError: it names none that the column could hold.
    """
    said: str = column.check(options.date, "--date") if options.date else column.at(now)
    return said


def is_for_program(options: argparse.Namespace) -> bool:
    """Whether the answer is to be JSON: it was asked for, or no terminal shows it."""
    return bool(options.json) or not sys.stdout.isatty()


def answer(options: argparse.Namespace, values: Record) -> None:
    """Print an answer; on a terminal one line for each of its values."""
    if is_for_program(options):
        say(json.dumps(values))
        return
    width = max(len(name) for name in values)
    for name, value in values.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        say(f"{name.replace('_', ' '):<{width}}  {shown}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
