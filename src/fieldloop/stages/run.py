"""Run: a season in the field, offline; then what was selected goes home. And what other practices would have earned."""

import json
from pathlib import Path

from fieldloop.fleet import FleetSeason
from fieldloop.stages.context import Loop, OnProgress, season_folder
from fieldloop.stages.devices import fleet_of, gateway_of, source_of
from fieldloop.stages.refs import LivedRef, ReleasedRef, write_json
from fieldloop.stages.workload import workload_of


def live_season(loop: Loop, released: ReleasedRef, season: int, on_progress: OnProgress) -> LivedRef:
    """Every device lives through the season offline, one process each, in its own simulated field."""
    lived = fleet_of(loop).live_season(source_of(loop).places(season), loop.settings.worker_count, on_progress)
    path = season_folder(loop, season) / "fleet.json"
    write_json(path, {**lived.as_record(workload_of(loop).primary), "bundle_sha256": released.sha256})
    return LivedRef(season, lived.devices, str(path))


def send_home(loop: Loop, lived: LivedRef, on_progress: OnProgress) -> LivedRef:
    """The devices are online again and send what they selected; only an acknowledgement frees a record."""
    path = Path(lived.report)
    record, primary = json.loads(path.read_text()), workload_of(loop).primary
    bundle_sha256 = record.pop("bundle_sha256")
    with gateway_of(loop) as url:
        sync = fleet_of(loop).sync_all(url, loop.settings.worker_count, on_progress)
    home = FleetSeason.of_record(record, primary).with_sync(sync).as_record(primary)
    write_json(path, {**home, "bundle_sha256": bundle_sha256})
    return lived


def compare_practices(loop: Loop, season: int, on_progress: OnProgress) -> str:
    """The same fields and weather under the grower's other practices; the path of the outcomes, JSON."""
    by_practice = source_of(loop).baselines(season, loop.settings.worker_count, on_progress)
    return str(write_json(season_folder(loop, season) / "practices.json", by_practice))
