"""The accepted field data: partitions on disk, and the versions of them that everything after refers to."""

from fieldloop.field_data.migration import Migrated, migrate, open_store
from fieldloop.field_data.pipeline import reproduce
from fieldloop.field_data.season_store import Accepted, Merged, SeasonStore, merge
from fieldloop.field_data.versions import Snapshot, missing_from_last_version, restore, snapshot

__all__ = [
    "Accepted",
    "Merged",
    "Migrated",
    "SeasonStore",
    "Snapshot",
    "merge",
    "migrate",
    "missing_from_last_version",
    "open_store",
    "reproduce",
    "restore",
    "snapshot",
]
