"""Of two who move `champion` at once, in whatever order their steps come, one does, and the other is told."""

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fieldedge.system.errors import StoreBusy
from fieldloop.registry.promotion import succeed

STEPS = 5  # of one that is promoted: look, note, look, move, read back


class OneAtATime:
    """Threads that take one step each when they are told to, in an order that is chosen."""

    def __init__(self) -> None:
        self.turn = threading.Condition()
        self.running: str | None = None
        self.is_waiting: dict[str, bool] = {}

    def step(self, is_waiting: bool = False) -> None:
        """The calling thread has ended a step, and goes on when it is its turn again."""
        name = threading.current_thread().name
        with self.turn:
            self.is_waiting[name] = is_waiting
            self.running = None
            self.turn.notify_all()
            self.turn.wait_for(lambda: self.running == name)

    def play(self, jobs: dict[str, Callable[[], None]], order: Iterator[str]) -> None:
        """Run all jobs; one that waits for others has its turn where these have ended or wait too."""

        def run(name: str) -> None:
            self.step()
            jobs[name]()
            with self.turn:
                del self.is_waiting[name]
                self.running = None
                self.turn.notify_all()

        threads = [threading.Thread(target=run, args=(name,), name=name, daemon=True) for name in jobs]
        for thread in threads:
            thread.start()
        with self.turn:
            self.turn.wait_for(lambda: len(self.is_waiting) == len(jobs))
            while self.is_waiting:
                able = [name for name, waits in self.is_waiting.items() if not waits] or list(self.is_waiting)
                chosen = next(order, able[0])
                self.running = chosen if chosen in able else able[0]
                self.turn.notify_all()
                self.turn.wait_for(lambda: self.running is None)


@dataclass
class SharedAlias:
    """An alias in memory, of which every look and every change is a step."""

    turns: OneAtATime
    name: str = "agriculture"
    called: str | None = "1"
    text: str = ""
    outcomes: dict[str, str] = field(default_factory=dict)

    def champion(self) -> str | None:
        self.turns.step()
        return self.called

    def note(self, text: str) -> None:
        self.turns.step()
        self.text = text

    def noted(self) -> str:
        self.turns.step()
        return self.text

    def move(self, version: str) -> None:
        self.turns.step()
        self.called = version

    def promote(self, version: str) -> None:
        try:
            succeed(self, "1", version, f"who promotes {version}", pause=lambda _: self.turns.step(is_waiting=True))
            self.outcomes[version] = "promoted"
        except StoreBusy:
            self.outcomes[version] = "told"


def played(versions: tuple[str, ...], order: Iterator[str]) -> SharedAlias:
    alias = SharedAlias(OneAtATime())
    alias.turns.play({name: (lambda name=name: alias.promote(name)) for name in versions}, order)
    return alias


def shuffled(versions: tuple[str, ...], seed: int) -> Iterator[str]:
    order = [name for name in versions for _ in range(STEPS + 3)]
    random.Random(seed).shuffle(order)  # noqa: S311
    return iter(order)


def test_of_two_one_is_promoted_and_the_other_is_told_in_whatever_order_they_step() -> None:
    versions = ("2", "3")
    for seed in range(500):
        alias = played(versions, shuffled(versions, seed))
        promoted = [version for version, outcome in alias.outcomes.items() if outcome == "promoted"]
        assert ([alias.called], len(alias.outcomes)) == (promoted, 2), f"seed {seed}: {alias.outcomes}"


def test_who_was_overtaken_for_good_withdraws_its_note() -> None:
    alias = played(("2", "3"), iter(["2", "2", *["3"] * 20, *["2"] * 20]))
    assert alias.outcomes == {"2": "told", "3": "promoted"}
    assert alias.called == "3"
