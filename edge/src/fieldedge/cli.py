"""The device's command line.

Answers are JSON on stdout (on a terminal, and without --json, a few lines for a person). An error is one line on
stderr that says what to do, and exit code 1. The commands themselves are in `commands/`.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from fieldedge.commands import commands_of
from fieldedge.device.config import DeviceDirectory, read_config
from fieldedge.system.errors import FieldloopError
from fieldedge.system.streams import print_any_character

PRIVATE = 0o077  # whoever runs the device's commands, with whatever umask: its files are its user's alone
EXIT_ERROR = 1
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _open_closed_streams()
    print_any_character()
    options = _parser(_workload_of(arguments)).parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="fieldedge: %(message)s")
    logging.getLogger("tuf").setLevel(logging.ERROR)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    former = os.umask(PRIVATE)
    try:
        return exit_code(lambda: options.command(options, DeviceDirectory(options.dir or Path())))
    finally:
        os.umask(former)


def exit_code(run: Callable[[], object]) -> int:
    """Do something to its end, whatever that is: the exit code, and one line on stderr where it failed."""
    try:
        run()
    except FieldloopError as error:
        return _fail(str(error))
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  (the interpreter flushes it at exit)
        return _fail("the reader of the answers has gone; everything answered so far is stored")
    except PermissionError as error:
        return _fail(f"the system refuses: {error}; run it as the user that owns the device's directory: sudo -u USER")
    except OSError as error:
        return _fail(f"the disk or the system refuses: {error}")
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def _open_closed_streams() -> None:
    """Where a stream was closed before we began, nothing is there: else a file of ours would get its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def _fail(message: str) -> int:
    sys.stderr.write("fieldedge: " + " ".join(message.split()) + "\n")
    return EXIT_ERROR


def _workload_of(arguments: Sequence[str] | None) -> str | None:
    """The workload of the device that the command is for, if it names one whose settings can be read."""
    named = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    named.add_argument("--dir", type=Path)
    try:
        directory = named.parse_known_args(arguments)[0].dir
        return None if directory is None else read_config(DeviceDirectory(directory).settings).workload
    except (FieldloopError, OSError, SystemExit):
        return None  # the command itself says what is wrong


def _parser(workload: str | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fieldedge", description="The field computer: decides offline, keeps every record."
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--dir", type=Path, required=True, help="the device's directory")
    shared.add_argument("--json", action="store_true", help="JSON even on a terminal")
    subparsers = parser.add_subparsers(required=True, metavar="command")
    for command in commands_of(workload):
        with suppress(argparse.ArgumentError):  # without a device, the first of two workloads that share a verb
            command.add(subparsers, shared)
    return parser
