"""`fieldedge recommend`: what to do today."""

import argparse
import json
import sys
from typing import Any

from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.loading import load_model
from fieldedge.presentation.answer import asked_moment, is_for_program, say
from fieldedge.system.clock import Clock
from fieldedge.workload import merit
from fieldedge.workloads import read_device


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("recommend", parents=[shared], help="what to do today, and why")
    command.add_argument(
        "--date",
        help="another day of the episode, like 2026-07-01, or another time, like 2026-07-01T06:00:00Z, where the "
        "workload decides by the clock; decided as if it were now",
    )
    command.set_defaults(command=recommend)


def recommend(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Say what to do today. What was said already is said again; a new answer is stored like every other."""
    from fieldedge.runtime.agent import Agent
    from fieldedge.storage.recovery.rebuild import open_store

    config, workload = read_device(directory)
    clock = Clock(directory.clock_floor)
    at = asked_moment(options, workload.contract.decided_at, clock.now())
    store, _ = open_store(directory.store, clock.stamp, merit=merit(workload))
    with store:
        agent = Agent(config, workload, store, load_model(directory, workload, store))
        record = agent.decide(at)
    if is_for_program(options):
        say(json.dumps(record))
        return
    for line in workload.presenter.lines(record):
        say(line)
    sys.stdout.flush()
