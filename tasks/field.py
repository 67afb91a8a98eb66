"""Tasks on the field: release, deliver, a period offline, and what comes home."""

import json
from pathlib import Path

from fieldloop.core.console import bar
from fieldloop.stages.context import Loop, words_of
from fieldloop.stages.refs import CompressedRef, ReleasedRef, RunRef, SnapshotRef, SyncedRef
from tasks import artifacts
from tasks.caching import step


@step(
    "release",
    lambda ref: (
        f"bundle {ref.version}, {ref.bytes / 1000:.0f} kB, {'ready for its rollout' if ref.is_staged else 'signed'}"
    ),
    params=("gates.held_out_periods",),
    settings=("mlflow_uri",),
    stands="release",
    timeout_s=600,
)
def release_bundle(loop: Loop, data: SnapshotRef, compressed: CompressedRef, is_staged: bool = False) -> ReleasedRef:
    """A bundle for each class of devices, signed in the TUF repository; one that is to go out in stages lies ready."""
    from fieldloop.stages import release

    return release.release_bundle(loop, data, compressed, is_staged=is_staged)


@step("rollout", lambda ref: ref.told or "nothing to begin", params=("rollout",), is_cached=False, timeout_s=600)
def begin_rollout(loop: Loop, released: ReleasedRef) -> ReleasedRef:
    """What lies ready for a rollout, offered to the first of its stages."""
    from fieldloop.stages import rollouts

    return rollouts.begin_rollout(loop, released)


@step(
    "run",
    lambda ref: f"{ref.period} lived offline by {ref.devices} devices, and what they selected sent home",
    shown="{period}",
    params=(
        "loop.devices",
        "loop.upload_budget_bytes",
        "loop.rollout",
        "loop.bad_release",
        "compression.device_classes",
    ),
    program="fieldedge.__main__",
    timeout_s=3600,
)
def run_period(loop: Loop, released: ReleasedRef, period: int) -> RunRef:
    """Over the air to every device, a period without a link, and back online."""
    from fieldloop.stages import deliver, run, staged

    if not staged.goes_in_stages(loop, released, period):
        with bar("devices updated") as on_progress:
            deliver.deliver(loop, released, on_progress)
    with bar(f"devices through the {words_of(loop).period}") as on_progress:
        lived = run.run_period(loop, released, period, on_progress)
    with bar("devices back online") as on_progress:
        return run.upload(loop, lived, on_progress)


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
def sync(loop: Loop, lived: RunRef) -> SyncedRef:
    """Batches into the accepted data, exactly once."""
    from fieldloop.stages import ingest

    synced = ingest.sync_period(loop, lived)
    artifacts.show_sync(loop, synced)
    return synced


@step(
    "compare",
    lambda path: f"the same under {', '.join(json.loads(Path(path).read_text(encoding='utf-8')))}",
    params=("loop.devices",),
    timeout_s=3600,
)
def compare_baselines(loop: Loop, period: int) -> str:
    """What others would have made of the same units."""
    from fieldloop.stages import run

    with bar(f"{words_of(loop).episodes} under others") as on_progress:
        return run.compare_baselines(loop, period, on_progress)


def require_devices(loop: Loop) -> None:
    """Make sure that devices can run here, before anything is spent on a model for them."""
    from fieldloop.stages import devices

    devices.require_devices(loop)


def goes_out_in_stages(loop: Loop) -> bool:
    """Whether a new version is left to a rollout."""
    from fieldloop.stages import rollouts

    return rollouts.goes_out_in_stages(loop.settings, loop.workload)
