from dataclasses import replace

import pytest

from fieldedge.system.errors import DataError
from fieldedge.workloads.agriculture.features import Day
from fieldloop.workloads.agriculture.world import seasons
from fieldloop.workloads.agriculture.world.compiled import store
from fieldloop.workloads.agriculture.world.field import SimulatedField
from fieldloop.workloads.agriculture.world.practices import Rainfed, Threshold
from fieldloop.workloads.agriculture.world.seasons import live_season, live_seasons, run_practice, run_practices, spread
from fieldloop.workloads.agriculture.world.world import FieldSpec, field_specs


def _count_to(limit: int) -> int:
    if limit < 0:
        raise DataError(f"cannot count to {limit}")
    return sum(range(limit + 1))


def _specs() -> list[FieldSpec]:
    return field_specs("champion", 2006, 1, 7, "") + field_specs("cordoba", 2006, 1, 7, "")


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are started even for a handful of seasons."""
    monkeypatch.setattr(seasons, "SEASONS_A_WORKER", 1)
    monkeypatch.setattr(seasons, "SEASONS_IN_STEP", 1)


@pytest.mark.slow
@pytest.mark.usefixtures("few_are_enough")
def test_outcomes_are_the_same_on_any_number_of_workers_and_in_the_order_of_the_jobs() -> None:
    jobs = [(spec, practice) for spec in _specs() for practice in (Rainfed(), Threshold())]
    progress: list[tuple[int, int]] = []
    spread_out = run_practices(jobs, workers=2, on_progress=lambda done, total: progress.append((done, total)))
    assert spread_out == [run_practice(*job) for job in jobs]
    assert progress == [(done, 4) for done in range(1, 5)]
    assert [outcome.spec.practice for outcome in spread_out] == ["rainfed", "threshold"] * 2


def test_the_package_itself_grows_the_same_season_to_the_last_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = _specs()[0]
    compiled = live_season(spec, Threshold())
    monkeypatch.setattr(store, "PROVEN_VERSION", "2.9.9")
    assert live_season(spec, Threshold()) == compiled


def test_a_field_in_lockstep_with_others_leaves_the_records_that_it_leaves_alone() -> None:
    specs = [
        *field_specs("champion", 1996, 5, 7, "threshold"),
        *field_specs("cordoba", 1996, 5, 8, "threshold"),
    ]
    for spec, (outcome, tables) in zip(specs, live_seasons([(spec, Threshold()) for spec in specs]), strict=True):
        field, readings, operations, history = SimulatedField(spec), [], [], []
        while not field.is_finished:
            today = field.date
            applied = field.apply(*Threshold().decide(spec.record(), history, today))
            reading, operation = field.reading(), field.operation(today, applied)
            history.append(Day(today, reading, *applied))
            readings.append(reading)
            operations += [operation] if operation is not None else []
        assert (tables.readings, tables.operations, tables.harvests) == (readings, operations, [field.harvest()])
        assert outcome == field.outcome()


def test_the_practice_is_what_the_record_names() -> None:
    assert run_practice(replace(_specs()[0], practice="fieldloop"), Rainfed()).spec.practice == "rainfed"


def test_progress_counts_in_sizes() -> None:
    progress: list[tuple[int, int]] = []
    assert spread(_count_to, [2, 3], 1, [10, 5], lambda done, total: progress.append((done, total))) == [3, 6]
    assert progress == [(10, 15), (15, 15)]


@pytest.mark.usefixtures("few_are_enough")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_s_error_is_raised_as_it_was(workers: int) -> None:
    with pytest.raises(DataError, match="cannot count to -1"):
        spread(_count_to, [3, -1, 4], workers, [1, 1, 1])


def test_no_jobs_are_no_work() -> None:
    assert run_practices([]) == []
