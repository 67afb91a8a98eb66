"""The device's commands: a module each, but for pairs (`link`: update, sync; `usb`: export, import; `provision` is init
and `lines` is run). `add(commands, shared)` puts a module's commands into the parser.

A module imports at its top only what parsing needs; what a command works with is imported when it runs, so that each
starts quickly. A workload brings verbs of its own: those of the device's workload, or of all where no device is named.
"""

from collections.abc import Sequence

from fieldedge.commands import check, doctor, lines, link, provision, recommend, service, status, usb
from fieldedge.system.errors import ConfigError
from fieldedge.workload import Command
from fieldedge.workloads import known_workload, workload_names

BEFORE: tuple[Command, ...] = (provision, lines, service, recommend, status)
AFTER: tuple[Command, ...] = (check, doctor, link, usb)


def commands_of(workload: str | None) -> Sequence[Command]:
    """The commands of a device of that workload, in the order of the help; None: of every workload that is installed.

    A workload that is not installed has none: what is wrong is said by the command that is asked for.
    """
    names = workload_names() if workload is None else (workload,)
    own: list[Command] = []
    for name in names:
        try:
            own += known_workload(name).commands
        except ConfigError:
            continue
    return (*BEFORE, *own, *AFTER)
