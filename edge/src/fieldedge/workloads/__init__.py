"""The workloads that a device knows: guests, found by the entry points of installed packages.

A package offers one as `name = "module:WORKLOAD"` in the group `fieldedge.workloads`.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from fieldedge.system.errors import ConfigError
from fieldedge.workload import Workload

GROUP = "fieldedge.workloads"


def workload_names() -> tuple[str, ...]:
    """The names of the installed workloads, in order."""
    return tuple(sorted(_offered()))


@cache
def known_workload(name: str) -> Workload:
    """The workload of that name.

    Raises:
        ConfigError: none is installed, two of one name are, or it is not what it is offered as.
    """
    offered = _offered().get(name, [])
    if not offered:
        known = ", ".join(workload_names()) or "none: it is not installed as it should be, so install it anew"
        raise ConfigError(f"workload is {name!r}; this fieldedge knows {known}")
    if len({found.value for found in offered}) > 1:
        packages = ", ".join(sorted(found.value for found in offered))
        raise ConfigError(f"the workload {name!r} is offered twice, by {packages}; uninstall one of them")
    workload: Workload = offered[0].load()
    if workload.name != name or workload.contract.workload != name:
        raise ConfigError(f"{offered[0].value} is offered as {name!r} and is {workload.contract.workload!r}")
    return workload


@cache
def _offered() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        found.setdefault(entry.name, []).append(entry)
    return found
