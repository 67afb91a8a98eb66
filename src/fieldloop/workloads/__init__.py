"""The workloads that are installed: those with an entry point in the group `fieldloop.workloads`.

A new one is a package with such an entry point, here or elsewhere; nothing of the core changes. Only stages and the
command line look one up, by the name of its block in params.yaml; everybody else is given it.
"""

from functools import cache
from pathlib import Path

from fieldedge.system.offers import Offers
from fieldloop.core.settings import WorkloadParams, load_block
from fieldloop.workload import Workload

WORKLOADS = Offers("fieldloop.workloads", "workload", "`make setup` installs those of this clone")


def workload_names() -> tuple[str, ...]:
    """The names of those that are installed, in order.

    Raises:
        ConfigError: none is.
    """
    if not (names := WORKLOADS.names()):
        raise WORKLOADS.nothing()
    return names


@cache
def known_workload(name: str) -> Workload:
    """The workload of that name.

    Raises:
        ConfigError: it is not installed, cannot be loaded, or two of one name are installed.
    """
    workload: Workload = WORKLOADS.load(name)
    if workload.name != name:
        raise WORKLOADS.misnamed(name, workload.name)
    return workload


def load_params(root: Path, name: str) -> WorkloadParams:
    """A workload's tunables from params.yaml.

    Raises:
        ConfigError: the workload is not installed, or the file or a value is missing or broken; the message names the
            place and what was expected.
    """
    return load_block(root, name, lambda: known_workload(name).Params)
