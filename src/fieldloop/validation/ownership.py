"""Who speaks for a field in a season: judged before anything else of a row that a device sent.

Persons register owners, of a field or of one of its seasons. A season that nobody registered belongs to the device
whose field row was accepted for it, or to the history that brought it; one that nobody sent yet, to the device that is
registered for the field, or that had it in the nearest season, as long as that device may send; else to whoever is
accepted first. So nobody's forged rows stand in the owner's way, and who has a field now takes no season of before.
What nobody registered is claimed for a while, not owned: one device may claim so many seasons of fields and no more.
Pure: registrations come from `fieldloop.gateway.owners`, accepted field rows from the store.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain

import pandas as pd

FieldSeason = tuple[int, str]
HISTORY = ""  # holds the seasons of fields whose own row names no device
MAX_UNREGISTERED = 24  # seasons of fields that one device may claim without a person's word


@dataclass
class Ownership:
    """The owners of episodes. `holders` grows as field rows are accepted."""

    registered: Mapping[str, str] = field(default_factory=dict)
    holders: dict[FieldSeason, str] = field(default_factory=dict)
    devices: Collection[str] = ()
    """The devices that may send at all."""
    former: Mapping[str, Collection[str]] = field(default_factory=dict)
    """By field, the devices that a person named as those before the registered one."""

    @property
    def known_devices(self) -> frozenset[str]:
        """The devices that may send, that a person named as a field's owner, or that have an accepted season."""
        named = (*self.registered.values(), *chain.from_iterable(self.former.values()))
        return frozenset((*self.devices, *named, *self.holders.values()))

    @classmethod
    def of(
        cls,
        registered: Mapping[str, str],
        fields: pd.DataFrame,
        devices: Collection[str],
        former: Mapping[str, Collection[str]] | None = None,
    ) -> "Ownership":
        """The owners as they stand: `fields` are the accepted field rows of all seasons."""
        rows = zip(fields["season"], fields["field_id"], fields["device_id"].fillna(HISTORY), strict=True)
        holders = {(int(season), str(field_id)): str(device_id) for season, field_id, device_id in rows}
        return cls(registered, holders, frozenset(devices), former or {})

    def registered_owner(self, season: int, field_id: str) -> str | None:
        """Whom a person named, for this season or for the field as such."""
        return self.registered.get(f"{season}/{field_id}", self.registered.get(field_id))

    def owner(self, season: int, field_id: str) -> str | None:
        """Who speaks for the field in this season, None where nobody does yet."""
        if (for_season := self.registered.get(f"{season}/{field_id}")) is not None:
            return for_season
        if (holder := self.holders.get((season, field_id))) is not None:
            return holder
        return self.registered.get(field_id) or self._heir(season, field_id)

    def may_speak(self, device_id: str, season: int, field_id: str) -> bool:
        """Whether a device's rows about the field in this season count.

        A device that is registered for the field as such leaves alone the seasons of the device before it, which a
        person named, and those of a history. What another was accepted for, whom nobody ever named, is a stranger's
        claim: it goes once the registered device sends that season.
        """
        return self._may_take_back(device_id, season, field_id) or self.owner(season, field_id) in (None, device_id)

    def is_registered(self, season: int, field_id: str, device_id: str) -> bool:
        """Whether a person named this device, for the season or for the field as such."""
        return self.registered_owner(season, field_id) == device_id

    def is_vouched_for(self, season: int, field_id: str) -> bool:
        """Whether a history brought the season of the field, or the device that a person registered for it."""
        holder = self.holders.get((season, field_id), HISTORY)
        return holder == HISTORY or self.is_registered(season, field_id, holder)

    def returned(self) -> list[FieldSeason]:
        """The seasons that a person named for no device, and that one has still: a history is to have them again."""
        return sorted(
            (season, field_id)
            for (season, field_id), holder in self.holders.items()
            if holder != HISTORY and self.registered.get(f"{season}/{field_id}") == HISTORY
        )

    def unregistered(self) -> Counter[str]:
        """How many seasons of fields each device was accepted for without a person's word."""
        return Counter(
            device_id
            for (season, field_id), device_id in self.holders.items()
            if not self.is_vouched_for(season, field_id)
        )

    def _may_take_back(self, device_id: str, season: int, field_id: str) -> bool:
        if f"{season}/{field_id}" in self.registered or self.registered.get(field_id) != device_id:
            return False
        holder = self.holders.get((season, field_id), device_id)
        return holder not in (HISTORY, device_id, *self.former.get(field_id, ()))

    def _heir(self, season: int, field_id: str) -> str | None:
        held = [(abs(year - season), device) for (year, name), device in self.holders.items() if name == field_id]
        _, device_id = min(held, default=(0, None))
        return device_id if device_id in self.devices else None
