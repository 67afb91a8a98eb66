"""Which device speaks for which unit: what persons registered, in one JSON file beside the device registry.

A key of the file is a unit (`unit-07`) or a unit in one period (`2006/unit-07`); its value is the device, or
empty where no device speaks for the period, but a history that was imported.
Who speaks for a unit is a person's decision. Where none was made, whoever was accepted first stands for the period
(`fieldloop.validation.ownership` weighs both). The file is replaced in one step, so that a reader always finds a whole
one.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from fieldedge.system.durable import write_durably
from fieldedge.system.errors import ConfigError
from fieldedge.system.plain_files import read_own
from fieldloop.core.begun import check_not_lost, mark_made

OWNERS_NAME = "owners.json"
FORMER_NAME = "former_owners.json"  # by unit, the devices that a person named as those from which it was taken
LOCK_TIMEOUT_S = 60.0
MAX_OWNERS_BYTES = 100_000_000
EPISODE_NAME = re.compile(r"[1-9][0-9]{0,8}/[^/]+")
_UNIT = re.compile(r"(?:[1-9][0-9]{0,8}/)?[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class UnitOwners:
    """The registered owners in one file; a file that was never made registers none, and one that is gone is damage."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def beside(cls, registry_path: Path) -> "UnitOwners":
        """The owners that belong to a device registry."""
        return cls(registry_path.with_name(OWNERS_NAME))

    def registered(self) -> dict[str, str]:
        """Unit, or `<period>/<unit>`, to device id.

        Raises:
            ConfigError: the file is not one of owners, or is lost.
        """
        owners = _json_object(self.path, "unit owners", str, "a device")
        if owners is None:
            check_not_lost(self.path, "the list of unit owners")
        return owners or {}

    def former(self) -> dict[str, list[str]]:
        """By unit, or `<period>/<unit>`, the devices that spoke for it before: they were no strangers.

        Raises:
            ConfigError: the file is not one of former owners.
        """
        return _json_object(self.path.with_name(FORMER_NAME), "former owners", list, "a list of devices") or {}

    def check(self, owners: Mapping[str, str], instead_of: str | None = None) -> dict[str, str]:
        """All owners as they would be with these; nothing is written.

        Args:
            owners: unit, or `<period>/<unit>`, to device id.
            instead_of: the device from which the units are taken, where they have one.

        Raises:
            ConfigError: a name is no unit's, or a unit is registered for another device.
        """
        known = self.registered()
        self.former()
        for unit, device_id in owners.items():
            if not _UNIT.fullmatch(unit):
                raise ConfigError(
                    f"{unit!r} names no unit; expected one like unit-07, or 2006/unit-07 for one period of it"
                )
            holder = known.get(unit)
            if holder not in (None, device_id, instead_of):
                raise ConfigError(
                    f"{unit} is registered for {holder or 'a history'} in {self.path}, and not for "
                    f"{device_id or 'a history'}. If it really changed hands, say so: --instead-of {holder or repr('')}"
                )
        return known | dict(owners)

    def register(self, owners: Mapping[str, str], instead_of: str | None = None) -> None:
        """Say who speaks for units. What is registered so already stays as it is.

        Args:
            owners: unit, or `<period>/<unit>`, to device id.
            instead_of: the device from which the units are taken, where they have one.

        Raises:
            ConfigError: as `check` says. Nothing is changed then.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S):
            changed, known = self.check(owners, instead_of), self.registered()
            if instead_of:
                self._note_former(owners, instead_of)
            if changed != known:
                write_durably(self.path, json.dumps(changed, indent=1, sort_keys=True).encode() + b"\n")
            mark_made(self.path)

    def _note_former(self, owners: Mapping[str, str], instead_of: str) -> None:
        former = self.former()
        noted = {unit: sorted({*former.get(unit, ()), instead_of}) for unit in owners}
        if former | noted != former:
            content = json.dumps(former | noted, indent=1, sort_keys=True).encode() + b"\n"
            write_durably(self.path.with_name(FORMER_NAME), content)


def _json_object(path: Path, what: str, kind: type, named: str) -> dict[str, Any] | None:
    """What a file says of each unit, of one kind; None where there is no file."""
    try:
        found = json.loads(read_own(path, MAX_OWNERS_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"the {what} {path} cannot be read: {error}. Restore the file.") from error
    if not isinstance(found, dict) or not all(isinstance(value, kind) for value in found.values()):
        raise ConfigError(f"the {what} {path} are not an object with {named} of each unit; restore the file")
    return found
