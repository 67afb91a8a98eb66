"""`fieldedge update` and `fieldedge sync`: a new model from the gateway, chosen records to it."""

import argparse
from dataclasses import asdict
from typing import Any

from fieldedge.device.config import DeviceDirectory, LinkConfig
from fieldedge.inference.loading import read_device, read_reference
from fieldedge.presentation.answer import answer
from fieldedge.storage.store import Store
from fieldedge.system.addresses import checked_address
from fieldedge.system.clock import Clock
from fieldedge.system.locks import exclusive, is_wanted
from fieldedge.workload import merit


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    for name, function, about in (
        ("update", update, "install the released model, if it is new"),
        ("sync", sync, "send what is worth sending"),
    ):
        command = commands.add_parser(name, parents=[shared], help=about)
        command.add_argument("--gateway", required=True, help="the gateway's address")
        command.set_defaults(command=function)


def update(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Install the released model, if it is new."""
    from fieldedge.system.http import Patience
    from fieldedge.transfer.updates import update as update_model

    config, workload = read_device(directory)
    link = config.link or LinkConfig(options.gateway)
    patience = Patience(min_bytes_per_s=link.min_bytes_per_s)
    url = checked_address("--gateway", options.gateway)
    result = update_model(directory, workload.contract, url, within_s=link.update_within_s, patience=patience)
    answer(options, asdict(result))


def sync(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Send what is worth sending; keep everything that is not acknowledged."""
    from fieldedge.system.http import Bounds, Patience
    from fieldedge.system.keys import load_key
    from fieldedge.transfer.acknowledgements import Acknowledger
    from fieldedge.transfer.outbox import Outbox, Packer
    from fieldedge.transfer.uploads import Gateway
    from fieldedge.transfer.uploads import sync as send

    config, workload = read_device(directory)
    clock, url = Clock(directory.clock_floor), checked_address("--gateway", options.gateway)
    link, lock = config.link or LinkConfig(url), directory.lock("sync")
    bounds = Bounds.within(link.sync_within_s, lambda: is_wanted(lock))
    patience = Patience(min_bytes_per_s=link.min_bytes_per_s)
    acknowledger = Acknowledger(directory, url, clock.reading, bounds, patience)
    gateway = Gateway(url, config.device_id, load_key(directory.private_key), acknowledger, bounds, patience)
    with (
        exclusive(lock, doing=f"sending to {url}"),
        Store(directory.store, clock.stamp, merit=merit(workload)) as store,
    ):
        packer = Packer(config, workload, store, *read_reference(directory, workload))
        answer(options, send(store, Outbox(directory.outbox, store), packer, gateway))
