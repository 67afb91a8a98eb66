"""How `champion` moves from one version to another where several may move it at once.

MLflow has no compare-and-set. So whoever promotes says from which champion, and is refused where another one stands by
then. It notes what it is about to do in one place, looks again, moves the alias, and reads the note back: the last one
to have noted wins, and the others put the alias on what it promotes and are told. Who looks again and finds the alias
moved, with its own note the last, waits: one who was about to move it gives way now; where nobody does, it was moved
for good before that note, which is withdrawn.

Of two at once exactly one is promoted and the other told, in whatever order their calls come, unless a process stands
still for `PATIENCE_S` between two of its own. Of three at once, which takes three clones within a second, one that was
promoted may still be overrun by another that was.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from fieldedge.system.errors import StoreBusy

PATIENCE_S = 10.0
_LOOK_EVERY_S = 0.25


class Alias(Protocol):
    """The alias of one registered model, and the note beside it."""

    @property
    def name(self) -> str:
        """The registered model."""
        ...

    def champion(self) -> str | None: ...
    def note(self, text: str) -> None: ...
    def noted(self) -> str: ...
    def move(self, version: str) -> None: ...


def check_champion_is(alias: Alias, expected: str | None) -> None:
    """Look at who is called champion.

    Raises:
        StoreBusy: another one than expected.
    """
    found = alias.champion()
    if found != expected:
        raise _overtaken(alias, expected, found, "")


def succeed(
    alias: Alias, former: str | None, version: str, by: str, pause: Callable[[float], None] = time.sleep
) -> None:
    """Move `champion` from one version to another.

    Args:
        former: who is called so, as far as the caller knows.
        by: who promotes, for whoever is told.

    Raises:
        StoreBusy: another one is called so by now, or is promoted at the same time.
    """
    check_champion_is(alias, former)
    if former == version:
        return
    ours = json.dumps({"version": version, "from": former, "by": by, "at": datetime.now(UTC).isoformat()})
    alias.note(ours)
    found = alias.champion()
    if found not in (former, version) and not _is_left_to_us(alias, ours, version, pause):
        found = alias.champion()
        if alias.noted() == ours:
            alias.note(json.dumps({**json.loads(ours), "version": found}))
        raise _overtaken(alias, former, found, "")
    alias.move(version)
    last = json.loads(alias.noted() or ours)
    if last["version"] != version:
        if alias.champion() == version:
            alias.move(last["version"])
        raise _overtaken(alias, former, last["version"], f", which {last['by']} promoted at the same time")


def _is_left_to_us(alias: Alias, ours: str, version: str, pause: Callable[[float], None]) -> bool:
    for _ in range(int(PATIENCE_S / _LOOK_EVERY_S)):
        if alias.noted() != ours:
            return False
        if alias.champion() == version:
            return True
        pause(_LOOK_EVERY_S)
    return False


def _overtaken(alias: Alias, expected: str | None, found: str | None, how: str) -> StoreBusy:
    names = [f"version {one}" if one else "no version" for one in (found, expected)]
    return StoreBusy(
        f"{names[0]} of {alias.name} is called champion by now{how}, and what was to be promoted was weighed when "
        f"{names[1]} was. The alias is left to it. Run again: what stands now is weighed then"
    )
