"""`fieldedge update` and `fieldedge sync`: a new model from the gateway, chosen records to it."""

import argparse
from dataclasses import replace
from typing import Any

from fieldedge.device.config import DeviceConfig, DeviceDirectory, LinkConfig
from fieldedge.presentation.answer import answer
from fieldedge.system.addresses import checked_address
from fieldedge.system.clock import Clock
from fieldedge.system.errors import ConfigError
from fieldedge.workloads import read_device


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    for name, function, about in (
        ("update", update, "install the released model, if it is new"),
        ("sync", sync, "send what is worth sending"),
    ):
        command = commands.add_parser(name, parents=[shared], help=about)
        command.add_argument("--gateway", help="the gateway's address; that of [link] in device.toml where not given")
        command.set_defaults(command=function)


def update(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Install the released model, if it is new."""
    from fieldedge.system.http import Patience
    from fieldedge.transfer.updates import update as update_model

    config, workload = read_device(directory)
    link = _link(options, config)
    patience = Patience(min_bytes_per_s=link.min_bytes_per_s)
    result = update_model(directory, workload.contract, link.gateway, within_s=link.update_within_s, patience=patience)
    answer(options, result.as_record())


def sync(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Send what is worth sending; keep everything that is not acknowledged."""
    from fieldedge.transfer.sending import send_due

    config, workload = read_device(directory)
    answer(options, send_due(directory, config, workload, _link(options, config), Clock(directory.clock_floor)))


def _link(options: argparse.Namespace, config: DeviceConfig) -> LinkConfig:
    """The link that is meant: the device's own, with another address where one is given.

    Raises:
        ConfigError: there is no address, or it is none.
    """
    if options.gateway is None:
        if config.link is None:
            raise ConfigError(
                "there is no gateway to ask: name one with --gateway, or set gateway under [link] in device.toml"
            )
        return config.link
    url = checked_address("--gateway", options.gateway)
    return LinkConfig(url) if config.link is None else replace(config.link, gateway=url)
