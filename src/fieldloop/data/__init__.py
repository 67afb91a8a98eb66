"""The accepted field data: partitions on disk, and the versions of them that everything after refers to."""

from fieldloop.data.accepted import Accepted, Merged, SeasonStore, merge
from fieldloop.data.migration import Migrated, migrate, open_store
from fieldloop.data.pipeline import reproduce
from fieldloop.data.versions import Snapshot, check_last_version, is_kept, restore, snapshot

__all__ = [
    "Accepted",
    "Merged",
    "Migrated",
    "SeasonStore",
    "Snapshot",
    "check_last_version",
    "is_kept",
    "merge",
    "migrate",
    "open_store",
    "reproduce",
    "restore",
    "snapshot",
]
