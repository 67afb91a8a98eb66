"""Who speaks for a unit in a period: judged before anything else of a row that a device sent.

Persons register owners, of a unit or of one of its periods. A period that nobody registered belongs to the device
whose opening row was accepted for it, or to the history that brought it; one that nobody sent yet, to the device that
is registered for the unit, or that had it in the nearest period, as long as that device may send; else to whoever is
accepted first. So nobody's forged rows stand in the owner's way, and who has a unit now takes no period of before.
What nobody registered is claimed for a while, not owned: one device may claim so many episodes and no more.
Pure: registrations come from `fieldloop.gateway.owners`, accepted opening rows from the store.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain

import pandas as pd

EpisodeName = tuple[int, str]
HISTORY = ""  # holds the episodes whose own row names no device
MAX_UNREGISTERED = 24  # episodes that one device may claim without a person's word


def episode_of(record_id: str) -> EpisodeName:
    """Which episode a record is of: its identity begins with the period and the unit."""
    period, unit, *_ = record_id.split("/")
    return int(period), unit


@dataclass
class Ownership:
    """The owners of episodes. `holders` grows as opening rows are accepted."""

    registered: Mapping[str, str] = field(default_factory=dict)
    holders: dict[EpisodeName, str] = field(default_factory=dict)
    devices: Collection[str] = ()
    """The devices that may send at all."""
    former: Mapping[str, Collection[str]] = field(default_factory=dict)
    """By unit, the devices that a person named as those before the registered one."""

    @property
    def known_devices(self) -> frozenset[str]:
        """The devices that may send, that a person named as a unit's owner, or that have an accepted period."""
        named = (*self.registered.values(), *chain.from_iterable(self.former.values()))
        return frozenset((*self.devices, *named, *self.holders.values()))

    @classmethod
    def of(
        cls,
        registered: Mapping[str, str],
        opened: pd.DataFrame,
        devices: Collection[str],
        former: Mapping[str, Collection[str]] | None = None,
    ) -> "Ownership":
        """The owners as they stand: `opened` are the accepted rows that open episodes."""
        rows = zip(opened["record_id"], opened["device_id"].fillna(HISTORY), strict=True)
        holders = {episode_of(record_id): str(device_id) for record_id, device_id in rows}
        return cls(registered, holders, frozenset(devices), former or {})

    def registered_owner(self, period: int, unit: str) -> str | None:
        """Whom a person named, for this period or for the unit as such."""
        return self.registered.get(f"{period}/{unit}", self.registered.get(unit))

    def owner(self, period: int, unit: str) -> str | None:
        """Who speaks for the unit in this period, None where nobody does yet."""
        if (for_period := self.registered.get(f"{period}/{unit}")) is not None:
            return for_period
        if (holder := self.holders.get((period, unit))) is not None:
            return holder
        return self.registered.get(unit) or self._heir(period, unit)

    def may_speak(self, device_id: str, period: int, unit: str) -> bool:
        """Whether a device's rows about the unit in this period count.

        A device that is registered for the unit as such leaves alone the periods of the device before it, which a
        person named, and those of a history. What another was accepted for, whom nobody ever named, is a stranger's
        claim: it goes once the registered device sends that period.
        """
        return self._may_take_back(device_id, period, unit) or self.owner(period, unit) in (None, device_id)

    def another(self, device_id: str, name: EpisodeName, withdrawn: Collection[EpisodeName]) -> str | None:
        """Who has the episode instead of a device whose records a person brings, or of a history.

        What a person brings takes an episode that nobody has, also of a unit that is registered as such; of what was
        accepted once and taken back, only what `may_speak` leaves it.
        """
        for other in (self.registered.get(f"{name[0]}/{name[1]}"), self.holders.get(name)):
            if other not in (None, device_id):
                return other
        return self.owner(*name) if name in withdrawn and not self.may_speak(device_id, *name) else None

    def is_registered(self, period: int, unit: str, device_id: str) -> bool:
        """Whether a person named this device, for the period or for the unit as such."""
        return self.registered_owner(period, unit) == device_id

    def is_vouched_for(self, period: int, unit: str) -> bool:
        """Whether a history brought the episode, or the device that a person registered for it."""
        holder = self.holders.get((period, unit), HISTORY)
        return holder == HISTORY or self.is_registered(period, unit, holder)

    def returned(self) -> list[EpisodeName]:
        """The periods that a person named for no device, and that one has still: a history is to have them again."""
        return sorted(
            (period, unit)
            for (period, unit), holder in self.holders.items()
            if holder != HISTORY and self.registered.get(f"{period}/{unit}") == HISTORY
        )

    def unregistered(self) -> Counter[str]:
        """How many episodes each device was accepted for without a person's word."""
        return Counter(
            device_id for (period, unit), device_id in self.holders.items() if not self.is_vouched_for(period, unit)
        )

    def _may_take_back(self, device_id: str, period: int, unit: str) -> bool:
        if f"{period}/{unit}" in self.registered or self.registered.get(unit) != device_id:
            return False
        holder = self.holders.get((period, unit), device_id)
        return holder not in (HISTORY, device_id, *self.former.get(unit, ()))

    def _heir(self, period: int, unit: str) -> str | None:
        held = [(abs(year - period), device) for (year, name), device in self.holders.items() if name == unit]
        _, device_id = min(held, default=(0, None))
        return device_id if device_id in self.devices else None
