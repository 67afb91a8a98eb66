"""Tasks on the field: release, deliver, a season offline, and what comes home."""

from fieldloop.core.console import bar
from fieldloop.stages.context import Loop
from fieldloop.stages.refs import CompressedRef, LivedRef, ReleasedRef, SnapshotRef, SyncedRef
from tasks import artifacts
from tasks.caching import step


@step(
    "release",
    lambda ref: f"bundle {ref.version}, {ref.bytes / 1000:.0f} kB, signed",
    params=("gates.holdout_seasons",),
    settings=("mlflow_uri",),
    stands="release",
    timeout_s=600,
)
def release_bundle(loop: Loop, data: SnapshotRef, compressed: CompressedRef) -> ReleasedRef:
    """A bundle, signed in the TUF repository."""
    from fieldloop.stages import release

    return release.release_bundle(loop, data, compressed)


@step(
    "season",
    lambda ref: f"{ref.season} lived offline by {ref.devices} devices, and what they selected sent home",
    params=("loop.devices", "loop.upload_budget_bytes"),
    program="fieldedge.__main__",
    timeout_s=3600,
)
def live_season(loop: Loop, released: ReleasedRef, season: int) -> LivedRef:
    """Over the air to every device, a season without a link, and back online."""
    from fieldloop.stages import deliver, run

    with bar("devices updated") as on_progress:
        deliver.deliver(loop, released, on_progress)
    with bar("devices through the season") as on_progress:
        lived = run.live_season(loop, released, season, on_progress)
    with bar("devices back online") as on_progress:
        return run.send_home(loop, lived, on_progress)


@step(
    "sync",
    lambda ref: (
        f"{ref.accepted} records accepted, {ref.quarantined} quarantined, {ref.lost} lost"
        + (f", {ref.waiting} waiting for a version that knows their contract" if ref.waiting else "")
    ),
    retries=2,
    stands="ingest",
    timeout_s=1800,
)
def sync(loop: Loop, lived: LivedRef) -> SyncedRef:
    """Batches into the accepted data, exactly once."""
    from fieldloop.stages import ingest

    synced = ingest.sync_season(loop, lived)
    artifacts.show_sync(synced)
    return synced


@step(
    "compare",
    lambda _path: "the same fields rainfed, by calendar and by threshold",
    params=("loop.devices",),
    timeout_s=3600,
)
def compare_practices(loop: Loop, season: int) -> str:
    """What the grower's other practices would have earned."""
    from fieldloop.stages import run

    with bar("field-seasons of other practices") as on_progress:
        return run.compare_practices(loop, season, on_progress)


def require_devices(loop: Loop) -> None:
    """Make sure that devices can run here, before anything is spent on a model for them."""
    from fieldloop.stages import devices

    devices.require_devices(loop)
