"""The workload that a loop is about, as the cloud has it.

Apart from `context.py`, because whoever imports this counts the code of every workload as its own: a stage that needs
no more than the contract is not done again when a network changes.
"""

from fieldloop.stages.context import Loop
from fieldloop.workload import Workload
from fieldloop.workloads import known_workload


def workload_of(loop: Loop) -> Workload:
    """The loop's workload.

    Raises:
        ConfigError: none of that name is installed.
    """
    return known_workload(loop.workload)
