"""What a process of the device starts from: its settings, its workload, and the model that is fit to run.

A damaged slot never stops the device: the former model stands in, and without one the agronomic rule decides.
"""

import logging
from dataclasses import dataclass

from fieldedge.bundles import REFERENCE, Reference, parse_reference
from fieldedge.config import DeviceConfig, DeviceDirectory, read_config
from fieldedge.errors import ConfigError, ReleaseError
from fieldedge.inference import Model
from fieldedge.slots import Installed, Slots
from fieldedge.workloads import WORKLOADS, Workload

NO_MODEL = "none"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Booted:
    """A verified model that is loaded, and what is known of it. `reference` is None where it could not be read."""

    installed: Installed
    model: Model
    reference: Reference | None


def read_device(directory: DeviceDirectory) -> tuple[DeviceConfig, Workload]:
    """The device's settings and its workload.

    Raises:
        ConfigError: a setting is missing or broken, or this fieldedge does not know the workload.
    """
    config = read_config(directory.settings)
    return config, known_workload(config.workload)


def known_workload(name: str) -> Workload:
    """The workload of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in WORKLOADS:
        raise ConfigError(f"workload is {name!r}; this fieldedge knows {', '.join(sorted(WORKLOADS))}")
    return WORKLOADS[name]


def boot_model(directory: DeviceDirectory, workload: Workload) -> Booted | None:
    """The model to run, verified and loaded now; None where the device must do without."""
    slots = Slots(directory.root)
    found = slots.bootable()
    if found is None:
        return None
    installed, data = found
    try:
        return Booted(installed, Model(data, workload.contract), _reference(slots, installed, workload))
    except ReleaseError as error:
        _log.error("the model in slot %s is not used: %s", installed.slot, error)
        return None


def read_reference(directory: DeviceDirectory, workload: Workload) -> tuple[str, Reference | None]:
    """The version of the model on the device and the statistics of its training data, if they can be read."""
    slots = Slots(directory.root)
    found = slots.bootable()
    if found is None:
        return NO_MODEL, None
    return found[0].version, _reference(slots, found[0], workload)


def _reference(slots: Slots, installed: Installed, workload: Workload) -> Reference | None:
    try:
        data = (slots.path(installed.slot) / REFERENCE).read_bytes()
        return parse_reference(data, workload.contract)
    except (OSError, ReleaseError) as error:
        _log.warning("the reference statistics are not used: %s", error)
        return None
