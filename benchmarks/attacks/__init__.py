"""What an adversary does to Fieldloop, one function an attack, and what comes of it.

A module here holds the attacks of one room. It is found by being there. An attack is a function of an empty folder that
stages the real parts in it, does its harm, and counts what of it was believed and what was lost by it:

    @attack(line=19, words="timestamp.json of the releases is lost")
    def timestamp_lost(scratch: Path) -> Outcome: ...

Each attack runs in a process of its own. `benchmarks/adversary.py` bounds its time and memory, its children's too, and
measures them; nothing here does. Traffic is loopback's alone. An exception says that the attack could not be staged:
whatever the parts answer to an attack is caught where it is expected.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """What came of an attack; `detail` says in a few words what was tried and what answered.

    `accepted` counts what was believed and should not have been, or was refused to one who may; `lost` what was
    acknowledged, stored or signed and is gone.
    """

    accepted: int
    lost: int
    detail: str


@dataclass(frozen=True)
class Attack:
    """One attack and its bounds; past them it counts as hung."""

    line: int
    words: str
    module: str
    name: str
    at_most_s: float
    at_most_mb: float
    is_quick: bool
    carry_out: Callable[[Path], Outcome]


ATTACKS: list[Attack] = []


def attack(
    line: int, words: str, at_most_s: float = 180.0, at_most_mb: float = 1_000.0, is_quick: bool = True
) -> Callable[[Callable[[Path], Outcome]], Callable[[Path], Outcome]]:
    """Register an attack under the line of the adversary's list that it belongs to.

    Args:
        line: which rule it tries.
        words: what it does, for the table.
        at_most_s: how long it may take, seconds, before it counts as hung.
        at_most_mb: how much memory its processes may take together, resident, in 10^6 bytes; the attack's own
            libraries are part of it (torch alone takes 300).
        is_quick: whether the tests carry it out too; seconds, not minutes.
    """

    def registered(function: Callable[[Path], Outcome]) -> Callable[[Path], Outcome]:
        module = function.__module__.rpartition(".")[2]
        ATTACKS.append(
            Attack(line, words, module, function.__name__, at_most_s, at_most_mb, is_quick, carry_out=function)
        )
        return function

    return registered


def modules() -> list[str]:
    """The rooms that have attacks."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def attacks_of(module: str) -> list[Attack]:
    """The attacks of one room, by line and in the order in which they stand."""
    importlib.import_module(f"{__name__}.{module}")
    return sorted((found for found in ATTACKS if found.module == module), key=lambda found: found.line)
