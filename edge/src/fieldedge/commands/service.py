"""`fieldedge serve`: the device at work until it is told to stop."""

import argparse
import logging
import os
import signal
import threading
from typing import Any

from fieldedge.device.config import DeviceDirectory
from fieldedge.system.clock import Clock
from fieldedge.system.locks import exclusive
from fieldedge.workloads import read_device


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("serve", parents=[shared], help="work as a service: take in, decide, send, show")
    command.set_defaults(command=serve)


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
