"""How a command answers: JSON for programs, a few lines for a person on a terminal."""

import argparse
import json
import sys

from fieldedge.contract import Record


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
