"""Steps of a loop that never stop each other.

A step runs when it is due. One that fails waits longer each time, with jitter, and the others go on; one that works
again is as before. Time is the monotonic clock's and comes in as an argument, chance comes in as a function; what a
step does is its own.
"""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fieldedge.system.errors import FieldloopError

FIRST_BACK_OFF_S = 2.0
LAST_BACK_OFF_S = 3600.0
JITTER = 0.25  # of the wait, to either side: a fleet that fails together does not come back together

_log = logging.getLogger(__name__)


@dataclass
class Step:
    """Something to do every `every_s` seconds. `failures` counts those in a row; `error` says the last one.

    `began_s` is when it began, while it runs, and `done_s` when it last succeeded; `doing` says what it is at.
    """

    name: str
    every_s: float
    run: Callable[[], object]
    due_s: float = 0.0
    failures: int = 0
    error: str | None = None
    last_back_off_s: float = LAST_BACK_OFF_S
    began_s: float | None = None
    done_s: float | None = None
    doing: str = ""

    @property
    def is_failing(self) -> bool:
        return self.failures > 0

    def state(self, now_s: float) -> dict[str, str | int | float | None]:
        """How it fares, for people: ages in seconds. Safe to ask from another thread."""
        began_s, done_s = self.began_s, self.done_s
        return {
            "name": self.name,
            "failures": self.failures,
            "error": self.error,
            "due_in_s": round(max(self.due_s - now_s, 0.0), 1),
            "running_s": None if began_s is None else round(max(now_s - began_s, 0.0), 1),
            "done_age_s": None if done_s is None else round(max(now_s - done_s, 0.0), 1),
            "doing": self.doing if began_s is not None else "",
        }


@dataclass
class Scheduler:
    """Runs the steps that are due. `tell(step, error)` hears of each failure, and of each recovery with None."""

    steps: Sequence[Step]
    tell: Callable[[Step, str | None], None] = lambda _step, _error: None
    chance: Callable[[], float] = field(default=random.random)  # 0 to 1

    def run_due(self, monotonic_s: Callable[[], float]) -> None:
        """Run each step that is due, once, in their order."""
        for step in self.steps:
            if step.due_s <= monotonic_s():
                self._run(step, monotonic_s)

    def wait_s(self, now_s: float) -> float:
        """How long nothing is due."""
        return max(min((step.due_s for step in self.steps), default=now_s) - now_s, 0.0)

    def _run(self, step: Step, monotonic_s: Callable[[], float]) -> None:
        step.began_s, step.doing = monotonic_s(), ""
        try:
            step.run()
        except (FieldloopError, OSError) as error:
            self._failed(step, str(error), monotonic_s())
        except Exception as error:  # noqa: BLE001  (the loop's edge: one step never ends the agent)
            _log.exception("step %s failed", step.name)
            self._failed(step, f"{type(error).__name__}: {error}", monotonic_s())
        else:
            had_failed, step.failures, step.error = step.is_failing, 0, None
            step.done_s = monotonic_s()
            step.due_s = step.done_s + step.every_s
            if had_failed:
                self._say(step, None)
        finally:
            step.began_s = None

    def _failed(self, step: Step, error: str, now_s: float) -> None:
        step.failures += 1
        step.error = error
        step.due_s = now_s + back_off_s(step.failures, step.every_s, step.last_back_off_s, self.chance())
        self._say(step, error)

    def _say(self, step: Step, error: str | None) -> None:
        try:
            self.tell(step, error)
        except (FieldloopError, OSError) as failure:
            _log.warning("step %s: its state could not be kept: %s", step.name, failure)
        except Exception:  # noqa: BLE001  (telling may need the very disk that failed)
            _log.exception("step %s: its state could not be kept", step.name)


def back_off_s(failures: int, every_s: float, last_s: float, chance: float) -> float:
    """How long to wait after so many failures in a row, s: doubling, bounded, spread by `chance` (0 to 1)."""
    doubled = FIRST_BACK_OFF_S * 2.0 ** min(failures - 1, 30)
    wait_s = min(max(doubled, every_s), max(last_s, every_s))
    return wait_s * (1.0 + JITTER * (2.0 * chance - 1.0))
