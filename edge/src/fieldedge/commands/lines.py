"""`fieldedge run`: an episode as JSON lines in and out."""

import argparse
import io
import json
import sys
from typing import Any

from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.loading import load_model
from fieldedge.presentation.answer import say
from fieldedge.storage.store import Store
from fieldedge.system.locks import exclusive
from fieldedge.workload import merit
from fieldedge.workloads import read_device


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("run", parents=[shared], help="live through an episode: JSON lines in and out")
    command.set_defaults(command=run)


def run(_options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Live through an episode: JSON lines in, JSON lines out, until the input ends."""
    from fieldedge.runtime.agent import Agent, bounded_lines

    config, workload = read_device(directory)
    directory.make_private()
    with exclusive(directory.lock("run")), Store(directory.store, merit=merit(workload)) as store:
        agent = Agent(config, workload, store, load_model(directory, workload, store))
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="backslashreplace")
        for answer in agent.answers(bounded_lines(sys.stdin)):
            say(json.dumps(answer))
