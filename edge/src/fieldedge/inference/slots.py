"""Two model slots on local disk, and the pointer that says which one is active.

The active slot is never written, nor is the confirmed one while a new one is on watch. A slot becomes active by one
atomic write of `active.json`, after its files are on disk and have been verified; until then a power cut leaves the old
one. Confirming, and going back, are one atomic write each. The pointer carries the model's SHA-256, so that a damaged
file is seen at the next start; then the former slot stands in, if it is still whole.
What the pointer says is `pointer.py`'s, downloading and judging a bundle `updates.py`'s, the watch `watch.py`'s.
"""

import hashlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.bundles import MAX_FILE_BYTES, MODEL
from fieldedge.inference.pointer import MAX_REPORTS, Installed, Pointer, SlotName, TakenBack, parse_pointer
from fieldedge.system.durable import empty_folder, fsync_directory, sweep_temporaries, write_durably
from fieldedge.system.errors import ReleaseError
from fieldedge.system.locks import exclusive
from fieldedge.system.plain_files import NotPlainError, read_own

MAX_POINTER_BYTES = 200_000
POINTER_WAIT_S = 5.0  # for another process to write it

__all__ = ["Installed", "Pointer", "SlotName", "Slots", "TakenBack"]

_log = logging.getLogger(__name__)


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
        return self.pointer().active

    def pointer(self) -> Pointer:
        """All that the pointer says; that nothing is installed before the first installation.

        Raises:
            ReleaseError, OSError: as `active`.
        """
        try:
            return parse_pointer(read_own(self._pointer, MAX_POINTER_BYTES))
        except FileNotFoundError:
            return Pointer()
        except NotPlainError as error:
            raise ReleaseError(f"{self._pointer} {error.strerror}: remove it, and run fieldedge update") from error
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ReleaseError(f"{self._pointer} is damaged ({error}); run fieldedge update") from error

    def first_sound(self) -> tuple[Installed, bytes] | None:
        """The first of `sound`, or None. Never raises for damage."""
        return next(self.sound(), None)

    def sound(self) -> Iterator[tuple[Installed, bytes]]:
        """The models that are whole, verified now: the active one, then the former one. Never raises for damage."""
        try:
            pointer = self.pointer()
        except (ReleaseError, OSError) as error:
            _log.error("%s", error)
            return
        for installed in (pointer.active, pointer.former):
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
        """The slot that an update may write: never the active one.

        Raises:
            ValueError: the active one is on watch, so that the other one is the confirmed one: go back first.
        """
        try:
            pointer = self.pointer()
        except ReleaseError:
            pointer = Pointer()
        active = pointer.active
        if pointer.is_on_watch and pointer.former is not None:
            raise ValueError("a version is on watch, and the confirmed one is never written")
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

    def activate(
        self, installed: Installed, *, watched_since: str | None = None, reason: str = "", report: bytes | None = None
    ) -> None:
        """Switch to a slot in one atomic step. The one left becomes the former."""

        def switched(pointer: Pointer) -> Pointer:
            return replace(
                pointer,
                active=installed,
                former=pointer.active,
                watched_since=watched_since,
                reason=reason,
                has_gone_back=False,
                died=0,
            )

        self._write(switched, report)

    def confirm(self, watched: Installed, reason: str, report: bytes | None = None) -> bool:
        """End the watch of a version: it stays. False where it is not on watch any more."""

        def confirmed(pointer: Pointer) -> Pointer | None:
            if not _is_watched(pointer, watched):
                return None
            return replace(pointer, watched_since=None, reason=reason, died=0)

        return self._write(confirmed, report)

    def count_died(self, watched: Installed, change: Callable[[int], int]) -> bool:
        """Note how many attempts with a version on watch nobody came back from. False where it is not on watch."""

        def counted(pointer: Pointer) -> Pointer | None:
            return replace(pointer, died=change(pointer.died)) if _is_watched(pointer, watched) else None

        return self._write(counted, None)

    def go_back(
        self, left: Installed, reason: str, taken_back: TakenBack | None = None, report: bytes | None = None
    ) -> bool:
        """Leave the active version for the former one, or for none, in one atomic step. False where another is active.

        With `taken_back` it is not tried again.
        """

        def back(pointer: Pointer) -> Pointer | None:
            if pointer.active != left:
                return None
            known = pointer.taken_back if taken_back is None else (*pointer.taken_back, taken_back)
            return replace(
                pointer,
                active=pointer.former,
                former=None,
                watched_since=None,
                reason=reason,
                has_gone_back=True,
                taken_back=known,
                died=0,
            )

        return self._write(back, report)

    def add_report(self, report: bytes) -> None:
        """Keep what the fleet's owner is to be told, until it is."""
        self._write(lambda pointer: pointer, report)

    def forget_reports(self, told: Collection[str]) -> None:
        """These have been acknowledged."""

        def without(pointer: Pointer) -> Pointer | None:
            left = tuple(report for report in pointer.reports if report not in told)
            return replace(pointer, reports=left) if left != pointer.reports else None

        self._write(without, None)

    def _write(self, change: Callable[[Pointer], Pointer | None], report: bytes | None) -> bool:
        """Change what the pointer says, in one atomic step. A damaged one is as none.

        Raises:
            StoreBusy: another process is changing it, for seconds.
        """
        with exclusive(DeviceDirectory(self.root).lock("slots"), POINTER_WAIT_S):
            try:
                found = self.pointer()
            except ReleaseError:
                found = Pointer()
            changed = change(found)
            if changed is None:
                return False
            if report is not None:
                changed = replace(changed, reports=(*changed.reports, report.decode())[-MAX_REPORTS:])
            sweep_temporaries(self._pointer.parent, self._pointer.name)
            write_durably(self._pointer, changed.as_json())
        return True


def _is_watched(pointer: Pointer, installed: Installed) -> bool:
    return pointer.active == installed and pointer.is_on_watch
