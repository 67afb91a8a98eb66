"""What is active on a device and why, as one small file says it.

Everything that must be true together stands in it and changes in one rename: which slot decides, which stands beside
it, whether the active one is still on watch, which versions were taken back here, and what the fleet's owner has not
been told yet. A pointer of before says only the first two: its model counts as confirmed. Pure: no disk, no clock.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

SlotName = Literal["a", "b"]

FORMAT = 1
MAX_TAKEN_BACK = 20
MAX_REPORTS = 30


@dataclass(frozen=True)
class Installed:
    """A verified bundle in a slot."""

    slot: SlotName
    version: str
    precision: str
    bundle_sha256: str
    model_sha256: str


@dataclass(frozen=True)
class TakenBack:
    """A version that this device went back from by itself, and why: it is not tried again."""

    version: str
    bundle_sha256: str
    reason: str
    at: str


@dataclass(frozen=True)
class Pointer:
    """Which slots hold what. `watched_since` is UTC while the active one is on watch; `reason` is why it is active.

    The former one is the one to go back to; there is none after the device `has_gone_back` to the active one. `reports`
    wait to be sent, oldest first. `died` is how many attempts to load or ask the one on watch the process has not come
    back from since its last decision; one that is under way counts.
    """

    active: Installed | None = None
    former: Installed | None = None
    watched_since: str | None = None
    reason: str = ""
    has_gone_back: bool = False
    taken_back: tuple[TakenBack, ...] = ()
    reports: tuple[str, ...] = ()
    died: int = 0

    @property
    def is_on_watch(self) -> bool:
        return self.active is not None and self.watched_since is not None

    def why_not(self, version: str | None, bundle_sha256: str) -> str | None:
        """Why this device does not try a bundle again, where it went back from it."""
        found = [one for one in self.taken_back if bundle_sha256 == one.bundle_sha256 or version == one.version]
        return f"version {found[-1].version} was taken back here: {found[-1].reason}" if found else None

    def as_json(self) -> bytes:
        said: dict[str, Any] = {
            "format": FORMAT,
            "active": None if self.active is None else asdict(self.active),
            "former": None if self.former is None else asdict(self.former),
        }
        if self.watched_since is not None:
            said["watched_since"] = self.watched_since
        if self.reason:
            said["reason"] = self.reason
        if self.died:
            said["died"] = self.died
        if self.has_gone_back:
            said["has_gone_back"] = True
        if self.taken_back:
            said["taken_back"] = [asdict(one) for one in self.taken_back[-MAX_TAKEN_BACK:]]
        if self.reports:
            said["reports"] = list(self.reports[-MAX_REPORTS:])
        return (json.dumps(said, indent=2) + "\n").encode()


def parse_pointer(data: bytes) -> Pointer:
    """The pointer in `active.json`.

    Raises:
        ValueError, LookupError, TypeError, RecursionError: it is damaged.
    """
    said = json.loads(data)
    since, reason, reports = said.get("watched_since"), said.get("reason", ""), said.get("reports", [])
    if not (isinstance(since, str | None) and isinstance(reason, str) and _are_texts(reports)):
        raise ValueError("it says of the watch what nobody wrote")
    died = said.get("died", 0)
    if not isinstance(died, int) or isinstance(died, bool) or died < 0:
        raise ValueError(f"it says that the process died {died!r} times")
    taken_back = tuple(TakenBack(**one) for one in said.get("taken_back", []))
    if not all(_are_texts(list(asdict(one).values())) for one in taken_back):
        raise ValueError("it says of a version taken back what nobody wrote")
    return Pointer(
        _installed(said["active"]),
        _installed(said["former"]),
        since,
        reason,
        said.get("has_gone_back") is True,
        taken_back,
        tuple(reports),
        died,
    )


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _installed(values: dict[str, str] | None) -> Installed | None:
    if values is None:
        return None
    installed = Installed(**values)  # type: ignore[arg-type]  # the slot's name is checked below
    if installed.slot not in ("a", "b") or not all(isinstance(value, str) for value in values.values()):
        raise ValueError(f"it names slot {installed.slot!r}")
    return installed
