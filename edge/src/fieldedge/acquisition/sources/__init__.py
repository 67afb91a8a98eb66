"""Where readings come in: a folder, standard input or an MQTT broker, a module each.

A source hands over payloads and is told when each is durable; only then does it acknowledge, forget or move on. What
was handed over and is not done comes again, so that a crash costs nothing and may bring something twice: the store
knows it again. What the bytes mean is for `loggers/`, what becomes of them for `pipeline.py`.
"""

import time
from collections.abc import Callable
from datetime import datetime

from fieldedge.acquisition.sources.source import Delivery, Source, Tell
from fieldedge.device.config import DeviceDirectory, SourceConfig, Table
from fieldedge.system.clock import system_time
from fieldedge.system.errors import ConfigError

__all__ = ["Delivery", "Source", "Tell", "open_source"]


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
    from fieldedge.acquisition.formats import FORMATS

    table = Table(f"{directory.settings}, [[source]] {config.name}", config.settings)
    logger_format = FORMATS[config.format]
    state_path = directory.sources / f"{config.name}.json"
    if config.kind == "folder":
        from fieldedge.acquisition.sources.folder import FolderSource, read_folder_settings

        folder = read_folder_settings(table, directory.root)
        return FolderSource(config.name, folder, logger_format, state_path, tell, monotonic=monotonic, now=now)
    if config.kind == "stdin":
        from fieldedge.acquisition.sources.stdin import StdinSource

        table.end()
        return StdinSource(config.name, logger_format)
    if config.kind == "mqtt":
        from fieldedge.acquisition.sources.mqtt import MqttSource, read_mqtt_settings

        mqtt = read_mqtt_settings(table, directory.root)
        client_id = f"fieldedge-{device_id}-{config.name}"
        return MqttSource(config.name, mqtt, client_id, state_path, tell, monotonic=monotonic)
    raise ConfigError(f"{table.where}: kind is {config.kind!r}; expected folder, stdin or mqtt")
