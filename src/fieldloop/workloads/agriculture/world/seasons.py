"""Whole seasons: one field under one practice, and many of them over the cores.

Workers are fresh processes, quiet, that leave Ctrl-C to their parent and end with it. Results come in the order of
the jobs, whichever worker did them.
"""

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from fieldedge.contract import Record
from fieldedge.workloads.agriculture.features import Day
from fieldloop.core.console import OnProgress
from fieldloop.core.process_setup import hush
from fieldloop.workloads.agriculture.world.field import Applied, FieldBooks, Outcome
from fieldloop.workloads.agriculture.world.field_batch import field_batch
from fieldloop.workloads.agriculture.world.plots import plot_of
from fieldloop.workloads.agriculture.world.practices import Practice
from fieldloop.workloads.agriculture.world.sensor_rows import MEASURED, SensorRows
from fieldloop.workloads.agriculture.world.sensors import Sensors
from fieldloop.workloads.agriculture.world.world import FieldSpec

SEASONS_IN_STEP = 24  # more hardly save anything each
SEASONS_A_WORKER = 400  # with fewer, a process takes longer to start than it saves
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
    return live_seasons([(spec, practice)])[0]


def live_seasons(jobs: Sequence[tuple[FieldSpec, Practice]]) -> list[tuple[Outcome, SeasonTables]]:
    """Every field under its practice, in lockstep by days after planting; each lives as it would alone."""
    if not jobs:
        return []
    seasons = [_Season(replace(spec, practice=practice.name), practice) for spec, practice in jobs]
    batch = field_batch([plot_of(one.books.spec) for one in seasons], threads=1)
    sensors = SensorRows([Sensors(one.books.spec) for one in seasons])
    while not (is_over := batch.is_finished).all():
        growing = np.flatnonzero(~is_over).tolist()
        amounts = np.zeros((2, len(seasons)))
        for row in growing:
            amounts[:, row] = seasons[row].decide(batch.day)
        batch.step(amounts[0], amounts[1])
        measured = sensors.read(
            np.nan_to_num(batch.weather), batch.water_m3_m3, batch.compartment_middles_m, batch.canopy_cover, batch.nni
        ).tolist()
        for row in growing:
            seasons[row].note(measured[row])
    ends = zip(seasons, batch.yield_t_ha.tolist(), batch.leached_kg_ha.tolist(), strict=True)
    return [season.ended(yield_t_ha, leached_kg_ha) for season, yield_t_ha, leached_kg_ha in ends]


class _Season:
    """One field-season's books and its grower's memory."""

    def __init__(self, spec: FieldSpec, practice: Practice) -> None:
        self.books, self._practice = FieldBooks(spec), practice
        self._tables = SeasonTables([spec.record()], [], [], [])
        self._history: list[Day] = []
        self._applied, self._today = Applied(0.0, 0.0), spec.planting_date

    def decide(self, day: int) -> Applied:
        """What the grower applies on that day after planting."""
        self._today = self.books.on(day).isoformat()
        asked = self._practice.decide(self._tables.fields[0], self._history, self._today)
        self._applied = self.books.possible(*asked)
        self.books.enter(self._applied)
        return self._applied

    def note(self, measured: Sequence[float]) -> None:
        """Write down what was done that day and what the sensors told in its evening."""
        told = {name: None if math.isnan(value) else value for name, value in zip(MEASURED, measured, strict=True)}
        reading = self.books.reading(self._today, told)
        operation = self.books.operation(self._today, self._applied)
        self._history.append(Day(self._today, reading, *self._applied))
        self._tables.readings.append(reading)
        self._tables.operations.extend([] if operation is None else [operation])

    def ended(self, yield_t_ha: float, leached_kg_ha: float) -> tuple[Outcome, SeasonTables]:
        """The outcome, and all rows with the harvest's."""
        harvested = self.books.on(len(self._history)).isoformat()
        self._tables.harvests.append(self.books.harvest(harvested, yield_t_ha))
        return self.books.outcome(yield_t_ha, leached_kg_ha), self._tables


def run_practice(spec: FieldSpec, practice: Practice) -> Outcome:
    """How the field-season ends under the practice."""
    return live_season(spec, practice)[0]


def run_practices(
    jobs: Sequence[tuple[FieldSpec, Practice]], workers: int = 0, on_progress: OnProgress | None = None
) -> list[Outcome]:
    """Every field-season under its practice, over `workers` processes (0: one per core), in the order given."""
    batches = [jobs[first : first + SEASONS_IN_STEP] for first in range(0, len(jobs), SEASONS_IN_STEP)]
    found = spread(_outcomes, batches, workers, [len(batch) for batch in batches], on_progress)
    return [outcome for batch in found for outcome in batch]


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


def _outcomes(jobs: Sequence[tuple[FieldSpec, Practice]]) -> list[Outcome]:
    return [outcome for outcome, _ in live_seasons(jobs)]
