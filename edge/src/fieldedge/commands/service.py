"""`fieldedge serve`, the device at work until it is told to stop, and `fieldedge recommend`, what to do today."""

import argparse
import json
import logging
import os
import signal
import sys
import threading
from datetime import date
from typing import Any

from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.loading import boot_model, read_device
from fieldedge.presentation.answer import is_for_program, say
from fieldedge.system.clock import Clock
from fieldedge.system.errors import DataError
from fieldedge.system.locks import exclusive
from fieldedge.workload import merit


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("serve", parents=[shared], help="work as a service: take in, decide, send, show")
    command.set_defaults(command=serve)
    command = commands.add_parser("recommend", parents=[shared], help="what to do today, and why")
    command.add_argument("--date", help="another day of the season, like 2026-07-01; decided as if it were today")
    command.set_defaults(command=recommend)


def serve(_options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Do the device's work until SIGTERM or Ctrl-C."""
    from fieldedge.runtime.service import Service
    from fieldedge.runtime.service import serve as work
    from fieldedge.system.watchdog import Watchdog

    config, workload = read_device(directory)
    logging.getLogger("fieldedge").setLevel(logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    directory.make_private()
    with exclusive(directory.lock("run")):
        service = Service(directory, config, workload, Clock(directory.clock_floor))
        try:
            work(service, stop, Watchdog.of(os.environ, os.getpid()))
        finally:
            service.close()


def recommend(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Say what to do today. What was said already is said again; a new answer is stored like every other."""
    from fieldedge.runtime.agent import Agent
    from fieldedge.storage.recovery.rebuild import open_store

    config, workload = read_device(directory)
    clock = Clock(directory.clock_floor)
    try:
        day = date.fromisoformat(options.date).isoformat() if options.date else clock.now().date().isoformat()
    except ValueError:
        raise DataError(f"--date is {options.date!r}; expected a day like 2026-07-01") from None
    store, _ = open_store(directory.store, clock.stamp, merit=merit(workload))
    with store:
        agent = Agent(config, workload, store, boot_model(directory, workload))
        record = agent.decide(day)
    if is_for_program(options):
        say(json.dumps(record))
        return
    for line in workload.presenter.lines(record):
        say(line)
    sys.stdout.flush()
