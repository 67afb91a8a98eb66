"""Run: a period in the field, offline; then what was selected goes home. And what others make of the same units."""

import json
from datetime import date
from pathlib import Path
from typing import Any

from fieldloop.core.console import OnProgress
from fieldloop.fleet import FleetRun
from fieldloop.stages.context import Loop, period_folder
from fieldloop.stages.devices import fleet_of, gateway_of, source_of
from fieldloop.stages.refs import ReleasedRef, RunRef, write_json
from fieldloop.stages.staged import StagedPeriod, day_begins, goes_in_stages
from fieldloop.stages.workload import workload_of

ROLLOUTS = "rollouts"  # of a period's figures: how each version went out


def run_period(loop: Loop, released: ReleasedRef, period: int, on_progress: OnProgress) -> RunRef:
    """Every device lives through the period offline, one process each, at its own simulated unit.

    Where a new version goes out in stages, each is online a few times meanwhile.
    """
    beside: dict[str, Any] = {"bundle_sha256": released.sha256}
    if goes_in_stages(loop, released, period):
        lived, rollouts = StagedPeriod(loop, released, period, on_progress).live()
        beside[ROLLOUTS] = rollouts
    else:
        lived = fleet_of(loop).run_period(source_of(loop).places(period), loop.settings.worker_count, on_progress)
    path = period_folder(loop, period) / "fleet.json"
    write_json(path, {**lived.as_record(workload_of(loop).primary), **beside})
    return RunRef(period, lived.devices, str(path))


def upload(loop: Loop, lived: RunRef, on_progress: OnProgress) -> RunRef:
    """The devices are online again and send what they selected; only an acknowledgement frees a record."""
    path = Path(lived.report)
    record, primary = json.loads(path.read_text(encoding="utf-8")), workload_of(loop).primary
    beside = {name: record.pop(name) for name in ("bundle_sha256", ROLLOUTS) if name in record}
    run = FleetRun.of_record(record, primary)
    ended = day_begins(date.fromisoformat(run.last_day))
    with gateway_of(loop, lambda: ended) as url:
        sync = fleet_of(loop).sync_all(url, loop.settings.worker_count, on_progress)
    write_json(path, {**run.with_sync(sync).as_record(primary), **beside})
    return lived


def compare_baselines(loop: Loop, period: int, on_progress: OnProgress) -> str:
    """The same units under whoever else may decide; the path of the outcomes, JSON."""
    by_practice = source_of(loop).baselines(period, loop.settings.worker_count, on_progress)
    return str(write_json(period_folder(loop, period) / "practices.json", by_practice))
