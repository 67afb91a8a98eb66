"""Tasks on data: the past, what is accepted of it, and its versions."""

from fieldloop import steps
from fieldloop.core.console import relayed
from fieldloop.steps import AcceptedRef, HistoryRef, IngestedRef, Loop, SnapshotRef, SyncedRef
from tasks import artifacts
from tasks.caching import step


@step(
    "history",
    lambda ref: f"{ref.field_seasons} past field-seasons",
    params=("history",),
    is_cached=False,
    timeout_s=3600,
)
def simulate_history(loop: Loop) -> HistoryRef:
    """Past field-seasons; DVC is the cache here."""
    with relayed("field-seasons simulated") as on_output:
        return steps.simulate_history(loop, on_output)


@step(
    "validate",
    lambda ref: f"{ref.rows} rows checked by Great Expectations, {ref.quarantined} quarantined",
    timeout_s=1800,
)
def validate_history(loop: Loop, history: HistoryRef) -> AcceptedRef:
    """Great Expectations; a critical breach stops the flow."""
    accepted = steps.validate_history(loop, history)
    artifacts.show_validation(loop, accepted)
    return accepted


@step(
    "ingest",
    lambda ref: (
        f"{ref.batches} batches: {ref.accepted} records accepted, {ref.quarantined} quarantined, {ref.refused} refused"
        + (f", {ref.waiting} waiting for a version that knows their contract" if ref.waiting else "")
    ),
    is_cached=False,
    retries=2,
    timeout_s=1800,
)
def ingest_inbox(loop: Loop) -> IngestedRef:
    """What devices have sent since, out of the gateway's inbox, exactly once."""
    ingested = steps.ingest_inbox(loop)
    artifacts.show_ingest(ingested)
    return ingested


@step(
    "version",
    lambda ref: f"data {ref.data_hash[:12]} ({ref.note})",
    settings=("is_deployment",),
    retries=2,
    timeout_s=600,
)
def version_data(loop: Loop, accepted: AcceptedRef | SyncedRef, season: int) -> SnapshotRef:
    """A DVC snapshot; its hash travels with everything after it."""
    return steps.version_data(loop, accepted, season)
