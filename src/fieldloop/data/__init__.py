"""The accepted data: partitions on disk, and the versions of them that everything after refers to."""

from fieldloop.data.accepted import Accepted, AcceptedStore, Merged, merge
from fieldloop.data.migration import Migrated, migrate, open_store
from fieldloop.data.versions import Snapshot, check_last_version, is_kept, restore, snapshot

__all__ = [
    "Accepted",
    "AcceptedStore",
    "Merged",
    "Migrated",
    "Snapshot",
    "check_last_version",
    "is_kept",
    "merge",
    "migrate",
    "open_store",
    "restore",
    "snapshot",
]
