"""The accepted field data: partitions on disk, and the versions of them that everything after refers to."""

from fieldloop.data.accepted import Accepted, Merged, SeasonStore, merge
from fieldloop.data.migration import Migrated, migrate, open_store
from fieldloop.data.pipeline import reproduce
from fieldloop.data.versions import Snapshot, missing_from_last_version, restore, snapshot

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
