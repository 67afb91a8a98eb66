"""A season's story: what each step of the loop said, kept as plain data that fits into JSON.

A story is told once, at the end of its season, from the steps' own reports; nothing here is measured again. Figures
are made from it in `figures.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fieldedge.contract import Record

if TYPE_CHECKING:  # reading a store loads pandas and more; telling a story does not
    from fieldloop.data.accepted import SeasonStore


@dataclass(frozen=True)
class SeasonStory:
    """One season of the loop. `SeasonStory(**story.as_dict())` is the story again."""

    fleet: Mapping[str, Any]
    """`FleetSeason.as_record()`, with what was sent home."""
    baselines: Mapping[str, Sequence[Record]]
    """By the name of who else decided: the outcomes of the fleet's own units."""
    ingest: Mapping[str, Any]
    """`IngestReport.as_dict()` of the season's batches."""
    account: Mapping[str, Any]
    """`Account` of the season: received, accepted, quarantined, missing."""
    registered: Mapping[str, Any]
    """`Registered`: the version that was trained before the season."""
    verdict: Mapping[str, Any]
    """`Verdict.as_dict()` of that version."""
    compressed: Mapping[str, Any]
    """`Compressed.as_dict()` of the version that ships."""
    released: Mapping[str, Any]
    """The bundle: version, sha256, bytes."""
    data_hash: str
    """DVC's hash of the data that was trained on."""
    data_hash_after: str
    """DVC's hash once the season's batches are in."""
    validation: Mapping[str, Any]
    """`ValidationReport.as_dict()` of the data before the season."""
    snapshot_note: str
    """What was done with the data pointer, for people."""
    trace: Mapping[str, Any] = field(default_factory=dict)
    """`season_trace`: one recommendation and the batches that brought the season home."""

    deployed: Mapping[str, Any] = field(default_factory=dict)
    """`Registered` of the version that devices ran, where that is another than the one trained before the season."""

    @property
    def season(self) -> int:
        """The year that names it."""
        return int(self.fleet["season"])

    def as_dict(self) -> dict[str, Any]:
        """The story for JSON."""
        return asdict(self)


def season_trace(store: "SeasonStore", season: int, recommendation: Record | None) -> dict[str, Any]:
    """Where a season's data came from: its batches with their devices, and one recommendation to follow back.

    Args:
        recommendation: the workload's example of the season, which knows its device; None where no model decided.
    """
    notes = {batch: note for batch, note in store.noted_batches().items() if note["season"] == season}
    batches = {
        batch: {name: note.get(name) for name in ("device_id", "bundle_version", "records")}
        for batch, note in notes.items()
    }
    device_id = recommendation["device_id"] if recommendation else None
    batch_id = next((batch for batch, note in sorted(batches.items()) if note["device_id"] == device_id), None)
    return {"recommendation": recommendation, "batch_id": batch_id, "batches": batches}
