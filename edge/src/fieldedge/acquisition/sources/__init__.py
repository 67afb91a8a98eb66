"""Where readings come in: a folder, standard input, an MQTT broker. Every module here is a kind of source by its name.

A source hands over payloads and is told when each is durable; only then does it acknowledge, forget or move on. What
was handed over and is not done comes again, so that a crash costs nothing and may bring something twice: the store
knows it again. What the bytes mean is for `formats/`, what becomes of them for `pipeline.py`.
"""

import time
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from typing import cast

from fieldedge.acquisition.source import Look, Opening, Source, SourceKind, Tell
from fieldedge.device.config import DeviceDirectory, SourceConfig, Table
from fieldedge.system.clock import system_time


def open_source(
    config: SourceConfig,
    directory: DeviceDirectory,
    device_id: str,
    tell: Tell,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = system_time,
) -> Source:
    """The source of one `[[source]]`. `tell` hears a sentence of each change of its state.

    Raises:
        ConfigError: a setting is missing, broken or unknown; the message says which and what to set.
    """
    return _kind(config.kind).open_here(_opening(config, directory, device_id, tell, monotonic, now))


def look_at_source(
    config: SourceConfig, directory: DeviceDirectory, device_id: str, now: Callable[[], datetime]
) -> Look:
    """What is found of the source of one `[[source]]`, beside a service that may have it open.

    Raises:
        ConfigError: as `open_source`.
    """

    def tell(_: str) -> None:
        """Nobody listens."""

    return _kind(config.kind).look(_opening(config, directory, device_id, tell, time.monotonic, now))


def _kind(name: str) -> SourceKind:
    return cast("SourceKind", import_module(f"{__name__}.{name}"))


def _opening(
    config: SourceConfig,
    directory: DeviceDirectory,
    device_id: str,
    tell: Tell,
    monotonic: Callable[[], float],
    now: Callable[[], datetime],
) -> Opening:
    from fieldedge.acquisition.formats import FORMATS

    table = Table(f"{directory.settings}, [[source]] {config.name}", config.settings)
    state_path, client_id = directory.sources / f"{config.name}.json", f"fieldedge-{device_id}-{config.name}"
    format_ = FORMATS[config.format]
    return Opening(config.name, table, directory.root, state_path, client_id, format_, tell, monotonic, now)
