"""`fieldedge learned`: what the season taught of a field, and a person's answer to it."""

import argparse
from typing import Any

from fieldedge.device.config import DeviceDirectory
from fieldedge.presentation.answer import answer, is_for_program, say
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock
from fieldedge.workload import merit
from fieldedge.workloads import known_workload
from fieldedge.workloads.agriculture.confirmations import answer_finding, as_words, findings_and_answers
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.learned import NAMES, sentences
from fieldedge.workloads.agriculture.operations import field_on


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("learned", parents=[shared], help="what the season taught; say whether it is so")
    said = command.add_mutually_exclusive_group()
    said.add_argument("--take", choices=tuple(NAMES), help="it is so: use it from planting on")
    said.add_argument("--refuse", choices=tuple(NAMES), help="it is not so: what was told holds")
    command.set_defaults(command=learned)


def learned(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Say what the season taught clearly, and what was answered; or keep an answer, which goes home with the season."""
    clock = Clock(directory.clock_floor)
    with Store(directory.store, clock.stamp, merit=merit(known_workload(CONTRACT.workload))) as store:
        field = field_on(store, clock.now().date().isoformat(), CONTRACT)
        factor = options.take or options.refuse
        if factor is not None:
            record, outcome = answer_finding(store, field, factor, options.take is not None, CONTRACT)
            if is_for_program(options):
                answer(options, {"outcome": outcome, "record": record})
            else:
                say(f"{as_words(record)}: {outcome}.")
            return
        found, answers = findings_and_answers(store, field, CONTRACT)
    if is_for_program(options):
        answer(options, {"findings": found, "answers": answers})
        return
    for finding in found:
        (sentence,) = sentences([finding])
        say(f"{sentence} Is it so? fieldedge learned --take {finding['name']}, or --refuse {finding['name']}")
    if not found:
        say("There is nothing to ask: no more was found to be clearly other than the device knows.")
    for said in answers:
        say(f"Answered of {said['date']}: {as_words(said)}.")
