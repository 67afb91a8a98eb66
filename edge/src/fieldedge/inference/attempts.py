"""Loading and asking a model on watch, counted in case the process does not survive it.

A model that passed its trial may still end the process that asks it: the runtime crashes, the system kills what took
too much memory, the watchdog what hangs. Nobody is left to end the watch then. So each attempt is noted in the pointer
before it begins and taken off when it has ended, whatever came of it; a decision that was made forgets the deaths
before it. Starts alone are not counted: a device whose power fails every night starts often, and dies of no model.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fieldedge.device.config import DeviceConfig
from fieldedge.inference.pointer import Installed, TakenBack
from fieldedge.inference.slots import Slots
from fieldedge.inference.watch import report, tally
from fieldedge.storage.store import Store
from fieldedge.system.errors import FieldloopError

MODEL_EVENT = "model"

_log = logging.getLogger(__name__)


@contextmanager
def loading(slots: Slots, watched: Installed) -> Iterator[None]:
    """Load a model on watch: who dies in this block is counted."""
    with _noted(slots, watched, _one_less):
        yield


@contextmanager
def asking(slots: Slots, watched: Installed) -> Iterator[None]:
    """Ask a model on watch and keep the decision: who dies in this block is counted, and who lives has survived it."""
    with _noted(slots, watched, lambda _died: 0):
        yield


def leave_deadly(slots: Slots, config: DeviceConfig, workload: str, store: Store) -> None:
    """Go back from a model on watch that the process did not survive so often, and report it.

    Where the disk does not let it be written down the model is tried once more: it may be the disk's fault.
    """
    try:
        pointer = slots.pointer()
        watched, former = pointer.active, pointer.former
        if watched is None or not pointer.is_on_watch or pointer.died < config.watch.max_deaths:
            return
        why = (
            f"the device's process died {pointer.died} times in a row while it loaded or asked it, fewer than "
            f"{config.watch.max_deaths} are allowed"
        )
        after = "the workload's rule" if former is None else f"version {former.version}"
        reason = f"version {watched.version} was taken back: {why}; {after} decides again"
        seen = tally(store.watched(watched.bundle_sha256))
        said = report(config.device_id, store.utc(), workload, watched, former, "reverted", why, seen)
        taken_back = TakenBack(watched.version, watched.bundle_sha256, why, store.utc())
        if slots.go_back(watched, reason, taken_back, said.as_json()):
            _log.warning("%s", reason)
            store.add_event(MODEL_EVENT, reason)
    except (FieldloopError, OSError) as error:
        _log.error("a model on watch that the process did not survive is not left yet: %s", error)


@contextmanager
def _noted(slots: Slots, watched: Installed, ended: Callable[[int], int]) -> Iterator[None]:
    """A block that is counted while it runs. An exception is no death: what it says of the model is the watch's."""
    is_noted = _count(slots, watched, lambda died: died + 1)
    change = ended
    try:
        yield
    except BaseException:
        change = _one_less
        raise
    finally:
        if is_noted:
            _count(slots, watched, change)


def _one_less(died: int) -> int:
    return max(died - 1, 0)


def _count(slots: Slots, watched: Installed, change: Callable[[int], int]) -> bool:
    """Whether it was written: on a disk that takes nothing a model is asked all the same."""
    try:
        return slots.count_died(watched, change)
    except (FieldloopError, OSError) as error:
        _log.warning("an attempt of version %s is not counted: %s", watched.version, error)
        return False
