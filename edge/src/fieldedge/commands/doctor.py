"""`fieldedge doctor`: what ails the device, and what to do about it."""

import argparse
from collections import Counter
from dataclasses import asdict
from typing import Any

from fieldedge.device.config import DeviceDirectory
from fieldedge.presentation.answer import answer, is_for_program, say
from fieldedge.system.clock import Clock
from fieldedge.system.errors import ConfigError


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("doctor", parents=[shared], help="what is wrong with the device, and what to do")
    command.set_defaults(command=doctor)


def doctor(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Examine the device. Ends with an error where something fails, so that a script can ask."""
    from fieldedge.diagnostics.doctor import examine

    if not directory.root.is_dir():
        raise ConfigError(f"{directory.root} is not there; set the device up first: fieldedge init --dir")
    findings = examine(directory, Clock(directory.clock_floor))
    states = Counter(finding.state for finding in findings)
    if is_for_program(options):
        is_ok = states["fail"] == 0
        answer(options, {"is_ok": is_ok, "findings": [asdict(finding) for finding in findings]})
    else:
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            say(f"{finding.state:<4}  {finding.check:<{width}}  {finding.found}")
            if finding.todo:
                say(f"{'':<4}  {'':<{width}}  → {finding.todo}")
        say(f"{states['ok']} ok, {states['warn']} to look at, {states['fail']} to mend")
    if states["fail"]:
        failed = ", ".join(finding.check for finding in findings if finding.state == "fail")
        raise ConfigError(f"{states['fail']} of {len(findings)} checks failed: {failed}")
