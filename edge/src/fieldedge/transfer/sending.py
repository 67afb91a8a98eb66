"""Sending home over the link, from the device's own settings and keys: one at a time, and whoever hangs gives way."""

from typing import Protocol

from fieldedge.contract import Record
from fieldedge.device.config import DeviceConfig, DeviceDirectory, LinkConfig
from fieldedge.inference.loading import read_reference
from fieldedge.inference.slots import Slots
from fieldedge.storage.store import Store
from fieldedge.system.clock import Reading, Stamp
from fieldedge.system.errors import DataError
from fieldedge.system.http import Bounds, Patience
from fieldedge.system.keys import load_key
from fieldedge.system.locks import exclusive, is_wanted
from fieldedge.transfer import reports
from fieldedge.transfer.acknowledgements import Acknowledger
from fieldedge.transfer.outbox import Outbox
from fieldedge.transfer.packing import Packer
from fieldedge.transfer.uploads import Gateway, sync
from fieldedge.workload import Workload, merit


class Time(Protocol):
    """The device's clock, or what another thread may look at in its place."""

    def reading(self) -> Reading: ...
    def stamp(self) -> Stamp: ...


def send_due(
    directory: DeviceDirectory, config: DeviceConfig, workload: Workload, link: LinkConfig, clock: Time
) -> Record:
    """Choose and send what is due, and keep what is not acknowledged; how much of the latest episode has gone so far.

    Raises:
        LinkError, ConfigError, DataError: as `sync`.
        StoreBusy: another process is sending.
    """
    lock = directory.lock("sync")
    bounds = Bounds.within(link.sync_within_s, lambda: is_wanted(lock))
    patience = Patience(min_bytes_per_s=link.min_bytes_per_s)
    acknowledger = Acknowledger(directory, link.gateway, clock.reading, bounds, patience)
    key = load_key(directory.private_key)
    gateway = Gateway(link.gateway, config.device_id, key, acknowledger, bounds, patience)
    with (
        exclusive(lock, doing=f"sending to {link.gateway}"),
        Store(directory.store, clock.stamp, merit=merit(workload)) as store,
    ):
        packer = Packer(config, workload, store, *read_reference(directory, workload))
        try:
            report = sync(store, Outbox(directory.outbox, store), packer, gateway)
        except DataError:
            _report(directory, config, workload, store, gateway)
            raise
        _report(directory, config, workload, store, gateway)
        return report


def _report(
    directory: DeviceDirectory, config: DeviceConfig, workload: Workload, store: Store, gateway: Gateway
) -> None:
    slots = Slots(directory.root)
    of_watch = reports.of_watch(slots, store, config, workload.name)
    reports.send(slots, gateway, () if of_watch is None else (of_watch,))
