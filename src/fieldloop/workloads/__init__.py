"""The workloads that the loop can turn. A new one is a folder here and one line in `WORKLOADS`."""

from fieldedge.system.errors import ConfigError
from fieldloop.workload import Workload
from fieldloop.workloads.agriculture import AGRICULTURE_IN_CLOUD

WORKLOADS: dict[str, Workload] = {"agriculture": AGRICULTURE_IN_CLOUD}


def workload_names() -> list[str]:
    """Those that there are."""
    return sorted(WORKLOADS)


def known_workload(name: str) -> Workload:
    """The workload of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in WORKLOADS:
        raise ConfigError(f"there is no workload {name!r}; there is {', '.join(sorted(WORKLOADS))}")
    return WORKLOADS[name]
