"""Whole seasons: one field under one practice, and many of them over the cores.

Workers are fresh processes, quiet, that leave Ctrl-C to their parent and end with it. Results come in the order of
the jobs, whichever worker did them.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TypeVar

from fieldedge.contract import Record
from fieldedge.workloads.agriculture.features import Day
from fieldloop.core.console import OnProgress
from fieldloop.core.process_setup import hush
from fieldloop.workloads.agriculture.world.field import Outcome, SimulatedField
from fieldloop.workloads.agriculture.world.practices import Practice
from fieldloop.workloads.agriculture.world.world import FieldSpec

SEASONS_A_WORKER = 80  # with fewer, a process takes longer to start than it saves
Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class SeasonTables:
    """The rows that one field-season leaves, by table of the contract."""

    fields: list[Record]
    readings: list[Record]
    operations: list[Record]
    harvests: list[Record]


def live_season(spec: FieldSpec, practice: Practice) -> tuple[Outcome, SeasonTables]:
    """Grow the field under the practice, which its record then names, from planting to harvest."""
    spec = replace(spec, practice=practice.name)
    field, record = SimulatedField(spec), spec.record()
    history: list[Day] = []
    readings: list[Record] = []
    operations: list[Record] = []
    while not field.is_finished:
        today = field.date
        applied = field.apply(*practice.decide(record, history, today))
        reading, operation = field.reading(), field.operation(today, applied)
        history.append(Day(today, reading, applied.irrigation_mm, applied.nitrogen_kg_ha))
        readings += [reading] if reading is not None else []
        operations += [operation] if operation is not None else []
    return field.outcome(), SeasonTables([record], readings, operations, [field.harvest()])


def run_practice(spec: FieldSpec, practice: Practice) -> Outcome:
    """How the field-season ends under the practice."""
    return live_season(spec, practice)[0]


def run_practices(
    jobs: Sequence[tuple[FieldSpec, Practice]], workers: int = 0, on_progress: OnProgress | None = None
) -> list[Outcome]:
    """Every field-season under its practice, over `workers` processes (0: one per core), in the order given."""
    return spread(_run_job, jobs, workers, [1] * len(jobs), on_progress)


def spread(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int,
    sizes: Sequence[int],
    on_progress: OnProgress | None = None,
) -> list[Result]:
    """`work` on every job over at most so many processes (0: one per core), results in the order of the jobs.

    Few of them are done in this process. `on_progress(done, total)` counts in `sizes`, the seasons of each job. The
    first error ends the rest and is raised.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs), sum(sizes) // SEASONS_A_WORKER)
    report = _Progress(sum(sizes), on_progress)
    if workers <= 1:
        return [report.after(work(job), size) for job, size in zip(jobs, sizes, strict=True)]
    context = multiprocessing.get_context("spawn")  # a fork would copy the parent's threads' locks
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=become_worker)
    try:
        futures = {pool.submit(work, job): size for job, size in zip(jobs, sizes, strict=True)}
        _wait_for(futures, report)
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def become_worker() -> None:
    """Set up a worker process: Ctrl-C is the parent's, and no life after the parent's death."""
    hush()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _wait_for(futures: dict[Future[Result], int], report: "_Progress") -> None:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            report.after(future.result(), futures[future])


class _Progress:
    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self._done, self._total, self._on_progress = 0, total, on_progress

    def after(self, result: Result, size: int) -> Result:
        self._done += size
        if self._on_progress is not None:
            self._on_progress(self._done, self._total)
        return result


def _run_job(job: tuple[FieldSpec, Practice]) -> Outcome:
    return run_practice(*job)
