"""How the active model stands: on watch, confirmed, or gone back to, for who looks at the device."""

from typing import Literal, NamedTuple

from fieldedge.device.config import DeviceDirectory, WatchConfig
from fieldedge.inference.slots import Slots
from fieldedge.inference.watch import progress, tally
from fieldedge.storage.store import Store
from fieldedge.system.errors import ReleaseError


class Standing(NamedTuple):
    """`reason` is why it is active; of a watch, `watched` decisions of `to_watch` were seen, beside the former one."""

    state: Literal["watching", "confirmed", "reverted"]
    reason: str
    watched: int | None = None
    to_watch: int | None = None
    former_version: str | None = None
    progress: str = ""

    @property
    def words(self) -> str:
        """For a person; empty where there is nothing to say."""
        if self.state != "watching":
            return self.reason
        return self.progress + ("" if self.former_version is None else f" beside version {self.former_version}")


def standing(directory: DeviceDirectory, store: Store | None, limits: WatchConfig) -> Standing | None:
    """How the model that the pointer names stands; None where nothing was ever installed, or nobody can tell.

    Raises:
        OSError: the disk does not let it be read.
    """
    try:
        pointer = Slots(directory.root).pointer()
    except ReleaseError:
        return None
    if pointer.active is None and not pointer.reason:
        return None
    former = None if pointer.former is None else pointer.former.version
    if pointer.active is not None and pointer.is_on_watch:
        seen = tally([] if store is None else store.watched(pointer.active.bundle_sha256))
        words = progress(seen, limits)
        return Standing("watching", pointer.reason, seen.decisions, limits.decisions, former, words)
    return Standing("reverted" if pointer.has_gone_back else "confirmed", pointer.reason, former_version=former)
