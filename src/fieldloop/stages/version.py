"""Version: the accepted data under a hash that travels with everything after it."""

from fieldedge.system.errors import DataError
from fieldloop.data import is_kept, snapshot
from fieldloop.stages.access import keep_pointer, learnable_hash, open_accepted
from fieldloop.stages.context import Loop
from fieldloop.stages.refs import AcceptedRef, SnapshotRef, SyncedRef


def version_data(loop: Loop, accepted: AcceptedRef | SyncedRef, season: int) -> SnapshotRef:
    """A DVC version of everything accepted so far, for the model of `season`."""
    root = loop.settings.root
    what = f"season {accepted.season}" if isinstance(accepted, SyncedRef) else "the history"
    made = snapshot(
        root,
        loop.workspace.seasons.relative_to(root),
        f"Data: {what} accepted",
        loop.settings.is_deployment,
        accepted.season if isinstance(accepted, SyncedRef) else season - 1,
    )
    keep_pointer(loop)
    return SnapshotRef(made.data_hash, season, learnable_hash(loop, season), made.note, made.committed)


def stands(loop: Loop, data: SnapshotRef) -> bool:
    """Whether the pointer on disk names this version, and DVC has all of it."""
    return is_kept(loop.settings.root, loop.workspace.seasons, data.data_hash, data.is_committed)


def next_season(loop: Loop) -> int:
    """The harvest year after the last accepted one: a model for it may learn from everything.

    Raises:
        DataError: nothing is accepted yet.
    """
    seasons = open_accepted(loop).seasons()
    if not seasons:
        raise DataError(f"nothing is accepted in {loop.workspace.seasons} yet: there is nothing to learn from")
    return max(seasons) + 1
