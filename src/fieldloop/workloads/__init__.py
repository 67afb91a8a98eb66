"""The workloads that are installed: those with an entry point in the group `fieldloop.workloads`.

A new one is a package with such an entry point, here or elsewhere; nothing of the core changes. Only stages and the
command line look one up, by the name of its block in params.yaml; everybody else is given it.
"""

from functools import cache
from pathlib import Path

from fieldedge.contract import Contract
from fieldedge.contract.reserved import name_faults
from fieldedge.system.errors import ConfigError
from fieldedge.system.offers import Offers
from fieldloop.core.params import STEPS, WorkloadParams, load_block
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
        ConfigError: it is not installed, cannot be loaded, or two of one name are installed; or its contract has no
            periods, units and places that the cloud could keep it by, or a column under a name of the core's own;
            or its parameters are said to be read by a step that there is not.
    """
    workload: Workload = WORKLOADS.load(name)
    if workload.name != name:
        raise WORKLOADS.misnamed(name, workload.name)
    if fault := _fault(workload.device.contract):
        raise ConfigError(f"the contract of {name} cannot be taken in by the cloud: {fault}")
    if unknown := sorted(set(workload.Params.reads).difference(STEPS)):
        raise ConfigError(f"Params.reads of {name} names the steps {unknown}; expected some of {', '.join(STEPS)}")
    return workload


def _fault(contract: Contract) -> str | None:
    """What of `EpisodeKey` a contract does not keep, or which of its names are taken, in words."""
    episode = contract.episode
    shared = [name for name in episode.partition if name in episode.columns]
    if len(episode.columns) != 2 or len(episode.partition) != 2 or shared != [episode.period]:
        return (
            f"its episodes are of ({', '.join(episode.columns)}) in folders by ({', '.join(episode.partition)}); "
            "expected a period and a unit, in folders by the period and a place"
        )
    if episode.columns[0] != episode.period:
        return f"its episodes begin with {episode.columns[0]}; expected the period that they lie by, {episode.period}"
    kinds = {"record_id": "str", episode.period: "int", episode.unit: "str", episode.place: "str"}
    for table in contract.tables:
        found = {column.name: column.kind for column in table.columns if not column.is_nullable}
        for name, kind in kinds.items():
            if found.get(name) != kind:
                return f"the table {table.name} has no column {name} of kind {kind} that is always there"
    if "device_id" not in contract.context_table.column_names:
        return f"the table {contract.context_table.name}, which opens episodes, has no column device_id"
    return next(name_faults(contract), None)


def load_params(root: Path, name: str) -> WorkloadParams:
    """A workload's tunables from params.yaml.

    Raises:
        ConfigError: the workload is not installed, or the file or a value is missing or broken; the message names the
            place and what was expected.
    """
    return load_block(root, name, lambda: known_workload(name).Params)
