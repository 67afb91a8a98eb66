"""Tasks on data: the past, what is accepted of it, and its versions."""

from fieldloop.core.console import relayed
from fieldloop.stages.context import Loop, words_of
from fieldloop.stages.refs import AcceptedRef, HistoryRef, IngestedRef, SnapshotRef, SyncedRef
from tasks import artifacts
from tasks.caching import step


@step(
    "history",
    lambda ref: f"{ref.episodes} past {ref.called}",
    params=("history",),
    is_cached=False,
    timeout_s=3600,
)
def simulate_history(loop: Loop) -> HistoryRef:
    """Past episodes; DVC is the cache here."""
    from fieldloop.stages import source

    with relayed(f"{words_of(loop).episodes} simulated") as on_output:
        return source.simulate_history(loop, on_output)


@step(
    "validate",
    lambda ref: f"{ref.rows} rows checked by Great Expectations, {ref.quarantined} quarantined",
    stands="validate",
    timeout_s=1800,
)
def validate_history(loop: Loop, history: HistoryRef) -> AcceptedRef:
    """Great Expectations; a critical breach stops the flow."""
    from fieldloop.stages import validate

    accepted = validate.validate_history(loop, history)
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
    from fieldloop.stages import ingest

    ingested = ingest.ingest_inbox(loop)
    artifacts.show_ingest(ingested)
    return ingested


@step(
    "version",
    lambda ref: f"data {ref.data_hash[:12]} ({ref.note})",
    settings=("is_deployment",),
    retries=2,
    stands="version",
    timeout_s=600,
)
def version_data(loop: Loop, accepted: AcceptedRef | SyncedRef | None, period: int, content: str) -> SnapshotRef:
    """A DVC snapshot; its hash travels with everything after it."""
    from fieldloop.stages import version

    del content  # a part of the key: whoever brought it, what is accepted now is what is versioned
    return version.version_data(loop, accepted, period)


def accepted_content(loop: Loop, before: int | None = None) -> str:
    """What names everything that is accepted by now, or what of it is from before a period."""
    from fieldloop.stages import access

    return access.accepted_content(loop, before)


def next_period(loop: Loop) -> int:
    """The period after the last one that was lived."""
    from fieldloop.stages import version

    return version.next_period(loop)
