"""The workloads that are installed: those with an entry point in the group `fieldloop.workloads`.

A new one is a package with such an entry point, here or elsewhere; nothing of the core changes. Only stages and the
command line look one up, by the name of its block in params.yaml; everybody else is given it.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from fieldedge.system.errors import ConfigError
from fieldloop.workload import Workload

GROUP = "fieldloop.workloads"


def workload_names() -> list[str]:
    """The names of those that are installed.

    Raises:
        ConfigError: none is, or two of one name are.
    """
    found = sorted(_installed())
    if not found:
        raise ConfigError("no workload is installed in this environment; `make setup` installs those of this clone")
    return found


@cache
def known_workload(name: str) -> Workload:
    """The workload of that name.

    Raises:
        ConfigError: it is not installed, cannot be loaded, or two of one name are installed.
    """
    found = _installed().get(name)
    if found is None:
        raise ConfigError(
            f"there is no workload {name!r} in this environment; there is {', '.join(workload_names())}. Install the "
            f"package that has it as an entry point in {GROUP!r}; after an update of this clone: make setup"
        )
    try:
        workload: Workload = found.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the workload {name!r} cannot be loaded from {found.value}: {error}") from error
    if workload.name != name:
        raise ConfigError(f"{found.value} calls itself {workload.name!r}, and its entry point {name!r}; use one name")
    return workload


def _installed() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise ConfigError(
                f"two workloads are called {entry.name!r}: {other.value} and {entry.value}; uninstall one of them"
            )
    return found
