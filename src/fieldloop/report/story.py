"""A period's story: what each step of the loop said, kept as plain data that fits into JSON.

A story is told once, at the end of its period, from the steps' own reports; nothing here is measured again. Figures
are made from it in `figures.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fieldedge.contract import Record
from fieldloop.core.stored_names import PERIOD

if TYPE_CHECKING:  # reading a store loads pandas and more; telling a story does not
    from fieldloop.data.accepted import AcceptedStore


@dataclass(frozen=True)
class PeriodStory:
    """One period of the loop. `PeriodStory(**story.as_dict())` is the story again."""

    fleet: Mapping[str, Any]
    """`FleetRun.as_record()`, with what was sent home."""
    baselines: Mapping[str, Sequence[Record]]
    """By the name of who else decided: the outcomes of the fleet's own units."""
    ingest: Mapping[str, Any]
    """`IngestReport.as_dict()` of the period's batches."""
    account: Mapping[str, Any]
    """`Account` of the period: received, accepted, quarantined, missing."""
    registered: Mapping[str, Any]
    """`Registered`: the version that was trained before the period."""
    verdict: Mapping[str, Any]
    """`Verdict.as_dict()` of that version."""
    compressed: Mapping[str, Any]
    """`Compressed.as_dict()` of the version that ships."""
    released: Mapping[str, Any]
    """The bundle: version, sha256, bytes."""
    data_hash: str
    """DVC's hash of the data that was trained on."""
    data_hash_after: str
    """DVC's hash once the period's batches are in."""
    validation: Mapping[str, Any]
    """`ValidationReport.as_dict()` of the data before the period."""
    snapshot_note: str
    """What was done with the data pointer, for people."""
    trace: Mapping[str, Any] = field(default_factory=dict)
    """`period_trace`: one recommendation and the batches that brought the period home."""

    deployed: Mapping[str, Any] = field(default_factory=dict)
    """`Registered` of the version that devices ran, where that is another than the one trained before the period."""

    @property
    def period(self) -> int:
        """The number that names it."""
        return int(self.fleet[PERIOD])

    def as_dict(self) -> dict[str, Any]:
        """The story for JSON."""
        return asdict(self)


def period_trace(store: "AcceptedStore", period: int, recommendation: Record | None) -> dict[str, Any]:
    """Where a period's data came from: its batches with their devices, and one recommendation to follow back.

    Args:
        recommendation: the workload's example of the period, which knows its device; None where no model decided.
    """
    notes = {batch: note for batch, note in store.noted_batches().items() if note[PERIOD] == period}
    batches = {
        batch: {name: note.get(name) for name in ("device_id", "bundle_version", "records")}
        for batch, note in notes.items()
    }
    device_id = recommendation["device_id"] if recommendation else None
    batch_id = next((batch for batch, note in sorted(batches.items()) if note["device_id"] == device_id), None)
    return {"recommendation": recommendation, "batch_id": batch_id, "batches": batches}
