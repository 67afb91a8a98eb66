"""Two model slots on local disk, and the pointer that says which one is active.

The active slot is never written. A slot becomes active by one atomic write of `active.json`, after its files are on
disk and have been verified; until then a power cut leaves the old one. The pointer carries the model's SHA-256, so
that a damaged file is seen at the next start; then the former slot stands in, if it is still whole.
Downloading and judging a bundle is in `updates.py`.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from fieldedge.inference.bundles import MAX_FILE_BYTES, MODEL
from fieldedge.system.durable import empty_folder, fsync_directory, sweep_temporaries, write_durably
from fieldedge.system.errors import ReleaseError
from fieldedge.system.plain_files import NotPlainError, read_own

MAX_POINTER_BYTES = 100_000

SlotName = Literal["a", "b"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Installed:
    """A verified bundle in a slot."""

    slot: SlotName
    version: str
    precision: str
    bundle_sha256: str
    model_sha256: str


class Slots:
    """The slots below a device's directory."""

    def __init__(self, root: Path) -> None:
        self._slots = root / "slots"
        self._pointer = root / "active.json"

    @property
    def root(self) -> Path:
        return self._pointer.parent

    def path(self, slot: SlotName) -> Path:
        return self._slots / slot

    def active(self) -> Installed | None:
        """What the pointer names, or None before the first installation.

        Raises:
            ReleaseError: the pointer is damaged.
            OSError: the disk does not let it be read: what is active is not known, and nothing may be written.
        """
        return self._pointed()[0]

    def first_sound(self) -> tuple[Installed, bytes] | None:
        """The first of `sound`, or None. Never raises for damage."""
        return next(self.sound(), None)

    def sound(self) -> Iterator[tuple[Installed, bytes]]:
        """The models that are whole, verified now: the active one, then the former one. Never raises for damage."""
        try:
            candidates = self._pointed()
        except (ReleaseError, OSError) as error:
            _log.error("%s", error)
            return
        for installed in candidates:
            if installed is None:
                continue
            try:
                yield installed, self.verified_model(installed)
            except ReleaseError as error:
                _log.error("slot %s cannot be used: %s", installed.slot, error)

    def verified_model(self, installed: Installed) -> bytes:
        """The bytes of the model file, after checking them.

        Raises:
            ReleaseError: the file is missing or is not the one that was installed.
        """
        path = self.path(installed.slot) / MODEL
        try:
            model = read_own(path, MAX_FILE_BYTES[MODEL])
        except OSError as error:
            raise ReleaseError(f"{path} cannot be read: {error}; run fieldedge update") from error
        found = hashlib.sha256(model).hexdigest()
        if found != installed.model_sha256:
            raise ReleaseError(
                f"{path} has sha256 {found[:12]}; {installed.model_sha256[:12]} was installed: run fieldedge update"
            )
        return model

    def free_slot(self) -> SlotName:
        """The slot that an update may write: never the active one."""
        try:
            active = self.active()
        except ReleaseError:
            active = None
        return "b" if active is not None and active.slot == "a" else "a"

    def write(self, slot: SlotName, files: Mapping[str, bytes]) -> Path:
        """Put a bundle's files into a free slot durably, in place of what was there."""
        if slot != self.free_slot():
            raise ValueError(f"slot {slot} is active and is never written")
        path = self.path(slot)
        empty_folder(path)
        for name, data in files.items():
            write_durably(path / name, data)
        fsync_directory(self._slots)
        fsync_directory(self._slots.parent)
        return path

    def activate(self, installed: Installed) -> None:
        """Switch to a slot in one atomic step. The one left becomes the former."""
        try:
            former = self.active()
        except ReleaseError:
            former = None
        pointer = {"format": 1, "active": asdict(installed), "former": None if former is None else asdict(former)}
        sweep_temporaries(self._pointer.parent, self._pointer.name)
        write_durably(self._pointer, (json.dumps(pointer, indent=2) + "\n").encode())

    def _pointed(self) -> tuple[Installed | None, Installed | None]:
        try:
            pointer = json.loads(read_own(self._pointer, MAX_POINTER_BYTES))
            return _installed(pointer["active"]), _installed(pointer["former"])
        except FileNotFoundError:
            return None, None
        except NotPlainError as error:
            raise ReleaseError(f"{self._pointer} {error.strerror}: remove it, and run fieldedge update") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ReleaseError(f"{self._pointer} is damaged ({error}); run fieldedge update") from error


def _installed(values: dict[str, str] | None) -> Installed | None:
    if values is None:
        return None
    installed = Installed(**values)  # type: ignore[arg-type]  # the slot's name is checked below
    if installed.slot not in ("a", "b") or not all(isinstance(value, str) for value in values.values()):
        raise ValueError(f"it names slot {installed.slot!r}")
    return installed
