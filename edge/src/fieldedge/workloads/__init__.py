"""The workloads that a device knows: guests, found by the entry points of installed packages; and which one it runs.

A package offers one as `name = "module:WORKLOAD"` in the group `fieldedge.workloads`.
"""

from functools import cache

from fieldedge.contract.reserved import name_faults
from fieldedge.device.config import DeviceConfig, DeviceDirectory, read_config
from fieldedge.system.errors import ConfigError
from fieldedge.system.offers import Offers
from fieldedge.workload import Workload

WORKLOADS = Offers("fieldedge.workloads", "workload", "fieldedge is not installed as it should be: install it anew")


def workload_names() -> tuple[str, ...]:
    """The names of the installed workloads, in order; none where none is."""
    return WORKLOADS.names()


@cache
def known_workload(name: str) -> Workload:
    """The workload of that name.

    Raises:
        ConfigError: none is installed, two of one name are, it is not what it is offered as, or a column of its
            contract bears a name of the core's own.
    """
    workload: Workload = WORKLOADS.load(name)
    for own_name in (workload.name, workload.contract.workload):
        if own_name != name:
            raise WORKLOADS.misnamed(name, own_name)
    for fault in name_faults(workload.contract):
        raise ConfigError(f"the contract of {name} cannot be kept: {fault}")
    return workload


def read_device(directory: DeviceDirectory) -> tuple[DeviceConfig, Workload]:
    """The device's settings and its workload.

    Raises:
        ConfigError: a setting is missing or broken, or this fieldedge does not know the workload.
    """
    config = read_config(directory.settings)
    return config, known_workload(config.workload)
