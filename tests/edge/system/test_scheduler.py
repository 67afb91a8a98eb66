"""Steps that fail wait longer each time and never stop the others."""

import pytest

from fieldedge.system.errors import LinkError
from fieldedge.system.scheduler import JITTER, Scheduler, Step, back_off_s


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_step_runs_when_it_is_due_and_not_before() -> None:
    clock, runs = Hand(), []
    scheduler = Scheduler([Step("look", 10.0, lambda: runs.append(clock.now_s))])
    for now_s in (0.0, 4.0, 9.9, 10.0, 15.0, 20.5):
        clock.now_s = now_s
        scheduler.run_due(clock)
    assert runs == [0.0, 10.0, 20.5]
    assert scheduler.wait_s(21.0) == pytest.approx(9.5)


@pytest.mark.parametrize("failure", [LinkError("the gateway is away"), ValueError("a defect"), RecursionError()])
def test_a_failing_step_stops_no_other_and_is_told_with_its_reason(failure: Exception) -> None:
    clock, runs, told = Hand(), [], []

    def fail() -> None:
        raise failure

    steps = [Step("first", 1.0, fail), Step("second", 1.0, lambda: runs.append(1))]
    scheduler = Scheduler(steps, lambda step, error: told.append((step.name, step.failures, error)))
    scheduler.run_due(clock)
    assert runs == [1]
    assert told[0][:2] == ("first", 1)
    assert str(failure) in (told[0][2] or "")


def test_each_failure_in_a_row_waits_longer_up_to_a_bound_and_a_success_ends_it() -> None:
    clock, told = Hand(), []
    is_broken = True

    def run() -> None:
        if is_broken:
            raise LinkError("away")

    step = Step("sync", 5.0, run, last_back_off_s=300.0)
    scheduler = Scheduler([step], lambda _step, error: told.append(error), chance=lambda: 0.5)
    waits = []
    for _ in range(12):
        clock.now_s = step.due_s
        scheduler.run_due(clock)
        waits.append(step.due_s - clock.now_s)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (5.0, 300.0)
    is_broken = False
    clock.now_s = step.due_s
    scheduler.run_due(clock)
    assert told[-1] is None
    assert (step.failures, step.error, step.due_s - clock.now_s) == (0, None, 5.0)


def test_the_wait_is_spread_by_chance_on_both_sides() -> None:
    assert back_off_s(4, 1.0, 3600.0, 0.0) == pytest.approx(16.0 * (1 - JITTER))
    assert back_off_s(4, 1.0, 3600.0, 1.0) == pytest.approx(16.0 * (1 + JITTER))
    assert back_off_s(10_000, 1.0, 3600.0, 0.5) == 3600.0


def test_a_listener_that_fails_itself_ends_nothing() -> None:
    clock = Hand()

    def fail() -> None:
        raise LinkError("away")

    def deaf(_step: Step, _error: str | None) -> None:
        raise OSError("the disk is full")

    step = Step("first", 1.0, fail)
    Scheduler([step], deaf).run_due(clock)
    assert step.failures == 1
