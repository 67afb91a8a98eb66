"""What stages hand on: small references to what lies on disk or in the registry, and the reports they are read from."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fieldedge.system.durable import write_durably
from fieldloop.core.stored_names import stored, unstored

NOT_IN_KEY = {"in_key": False}  # a value of a reference that no later stage depends on


@dataclass(frozen=True)
class HistoryRef:
    """The past periods on disk."""

    path: str
    content_hash: str
    episodes: int
    called: str  # the episodes, of many


@dataclass(frozen=True)
class AcceptedRef:
    """What a validation let through. `report` is its JSON."""

    content_hash: str
    rows: int
    quarantined: int
    docs_index: str
    report: str


@dataclass(frozen=True)
class SnapshotRef:
    """A version of the accepted data, from which a model for `period` may learn what lies before it.

    `learnable_hash` is the content of that alone: two versions that differ in later periods teach the same.
    """

    data_hash: str = field(metadata=NOT_IN_KEY)
    period: int
    learnable_hash: str
    note: str = field(metadata=NOT_IN_KEY)
    is_committed: bool = field(metadata=NOT_IN_KEY)


@dataclass(frozen=True)
class RegisteredRef:
    """The challenger's version, the gate's verdict on it, and the champion that devices should run."""

    version: str
    champion_version: str
    is_promoted: bool
    reason: str
    verdict: str


@dataclass(frozen=True)
class CompressedRef:
    """The champion's small model: what ships and why; `path` is its bundle where it was released before.

    `key` names the parameters and the code that compressed it.
    """

    version: str
    path: str
    shipped: str
    reason: str
    report: str
    key: str = ""


@dataclass(frozen=True)
class ReleasedRef:
    """A bundle that devices can fetch; where it `is_staged`, those to whom a rollout says it.

    `told` is what came of offering it.
    """

    version: str
    sha256: str
    bytes: int
    bundle: str
    is_staged: bool = field(default=False, metadata=NOT_IN_KEY)
    told: str = field(default="", metadata=NOT_IN_KEY)

    @property
    def summary(self) -> str:
        """Its last words for the terminal."""
        told = self.told or "every device is offered it"
        return f"bundle {self.version} has {self.bytes / 1000:.0f} kB, sha256 {self.sha256}; {told}"


@dataclass(frozen=True)
class IngestedRef:
    """What one ingest took out of the gateway's inbox. `report` is its JSON."""

    batches: int
    accepted: int
    quarantined: int
    refused: int
    report: str
    waiting: int = 0


@dataclass(frozen=True)
class RunRef:
    """A period that the fleet has lived, as JSON."""

    period: int
    devices: int
    report: str


@dataclass(frozen=True)
class SyncedRef:
    """What came home of a period and where each record is now, as JSON."""

    period: int
    accepted: int
    quarantined: int
    lost: int
    report: str
    waiting: int = 0


@dataclass(frozen=True)
class PeriodRefs:
    """Everything that one period's turn of the loop referred to. `compared` is the path of the other practices."""

    data: SnapshotRef
    registered: RegisteredRef
    compressed: CompressedRef
    released: ReleasedRef
    lived: RunRef
    compared: str
    synced: SyncedRef

    @classmethod
    def of(cls, record: dict[str, Any]) -> "PeriodRefs":
        """The references that `as_record` wrote down."""
        return cls(
            SnapshotRef(**unstored(record["data"])),
            RegisteredRef(**record["registered"]),
            CompressedRef(**record["compressed"]),
            ReleasedRef(**record["released"]),
            RunRef(**unstored(record["lived"])),
            str(record["compared"]),
            SyncedRef(**unstored(record["synced"])),
        )

    def as_record(self) -> dict[str, Any]:
        """The references as they are written down."""
        return {name: stored(part) if isinstance(part, dict) else part for name, part in asdict(self).items()}

    def files(self) -> list[Path]:
        """The files that it refers to."""
        parts: list[Any] = [self.registered, self.compressed, self.released, self.lived, self.synced]
        values = [value for part in parts for value in asdict(part).values()] + [self.compared]
        return [Path(value) for value in values if isinstance(value, str) and value.startswith("/")]


@dataclass(frozen=True)
class ReportRef:
    """The written report, and its last words for the terminal."""

    html: str
    json: str
    summary: str


@dataclass(frozen=True)
class ReportShown:
    """The report and what Prefect's UI shows of it."""

    html: Path
    json: Path
    summary: str
    pictures: dict[str, bytes]
    period_markdown: dict[int, str]


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, json.dumps(value, indent=1).encode() + b"\n")
    return path
