"""The workloads that a device knows: guests, found by the entry points of installed packages.

A package offers one as `name = "module:WORKLOAD"` in the group `fieldedge.workloads`.
"""

from functools import cache

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
        ConfigError: none is installed, two of one name are, or it is not what it is offered as.
    """
    workload: Workload = WORKLOADS.load(name)
    for own_name in (workload.name, workload.contract.workload):
        if own_name != name:
            raise WORKLOADS.misnamed(name, own_name)
    return workload
