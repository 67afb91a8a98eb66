"""A clone as a run opens it: accepted data that went is brought back, that of a former contract is migrated."""

from pathlib import Path

from fieldedge.system.durable import write_durably
from fieldedge.system.errors import DataError
from fieldloop.core.params import WorkloadParams
from fieldloop.core.settings import Settings
from fieldloop.core.stored_names import PERIODS
from fieldloop.data import check_last_version, restore
from fieldloop.stages.access import open_accepted
from fieldloop.stages.context import Loop


def new_loop(settings: Settings, workload: str, params: WorkloadParams) -> Loop:
    """The loop of these parameters, over what this clone has: nothing that was kept is moved.

    Accepted data that was deleted by hand is brought back from its last version, and data of a former contract is
    migrated.

    Raises:
        DataError: a part of the accepted data is gone; the message says which, and how to bring it back.
    """
    loop = Loop(settings, workload, params)
    paths = loop.paths
    paths.prepare()
    if not paths.pointer.exists() and paths.kept_pointer.exists():
        write_durably(paths.pointer, paths.kept_pointer.read_bytes())
    if not paths.accepted.exists():
        if not restore(settings.root, paths.accepted):
            _check_nothing_came_home(loop)
    else:
        check_last_version(settings.root, paths.accepted)
    open_accepted(loop)  # data of a former contract is migrated before anything is named by its content
    keep_pointer(loop)
    return loop


def keep_pointer(loop: Loop) -> None:
    """Keep a copy of the pointer, so that deleting it together with the data does not make the data forgotten."""
    paths = loop.paths
    if paths.pointer.is_file() and _content(paths.kept_pointer) != paths.pointer.read_bytes():
        write_durably(paths.kept_pointer, paths.pointer.read_bytes())


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _check_nothing_came_home(loop: Loop) -> None:
    """No data and no pointer: as in a new clone, unless periods came home to this one.

    Raises:
        DataError: they did.
    """
    paths = loop.paths
    came = sorted(paths.sample.root.glob(f"world-*/{PERIODS}/*/sync.json"))
    if came:
        raise DataError(
            f"{paths.accepted} and {paths.pointer} are gone, though records were accepted here ({came[-1]}) and "
            f"acknowledged to devices. Bring the pointer back (git checkout {paths.pointer.name}, or a backup), then "
            f"the data: dvc checkout {paths.pointer.name}. To begin anew on purpose: fieldloop reset"
        )
