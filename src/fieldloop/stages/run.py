"""Run: a period in the field, offline; then what was selected goes home. And what others make of the same units."""

import json
from pathlib import Path

from fieldloop.core.console import OnProgress
from fieldloop.fleet import FleetRun
from fieldloop.stages.context import Loop, period_folder
from fieldloop.stages.devices import fleet_of, gateway_of, source_of
from fieldloop.stages.refs import ReleasedRef, RunRef, write_json
from fieldloop.stages.workload import workload_of


def run_period(loop: Loop, released: ReleasedRef, period: int, on_progress: OnProgress) -> RunRef:
    """Every device lives through the period offline, one process each, at its own simulated unit."""
    lived = fleet_of(loop).run_period(source_of(loop).places(period), loop.settings.worker_count, on_progress)
    path = period_folder(loop, period) / "fleet.json"
    write_json(path, {**lived.as_record(workload_of(loop).primary), "bundle_sha256": released.sha256})
    return RunRef(period, lived.devices, str(path))


def upload(loop: Loop, lived: RunRef, on_progress: OnProgress) -> RunRef:
    """The devices are online again and send what they selected; only an acknowledgement frees a record."""
    path = Path(lived.report)
    record, primary = json.loads(path.read_text(encoding="utf-8")), workload_of(loop).primary
    bundle_sha256 = record.pop("bundle_sha256")
    with gateway_of(loop) as url:
        sync = fleet_of(loop).sync_all(url, loop.settings.worker_count, on_progress)
    home = FleetRun.of_record(record, primary).with_sync(sync).as_record(primary)
    write_json(path, {**home, "bundle_sha256": bundle_sha256})
    return lived


def compare_baselines(loop: Loop, period: int, on_progress: OnProgress) -> str:
    """The same units under whoever else may decide; the path of the outcomes, JSON."""
    by_practice = source_of(loop).baselines(period, loop.settings.worker_count, on_progress)
    return str(write_json(period_folder(loop, period) / "practices.json", by_practice))
