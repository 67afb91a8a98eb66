"""Version: the accepted data under a hash that travels with everything after it."""

import logging

from fieldedge.system.errors import DataError
from fieldloop.data import is_kept, snapshot
from fieldloop.stages.access import keep_pointer, learnable_hash, open_accepted, ownership_of
from fieldloop.stages.context import Loop, contract_of
from fieldloop.stages.refs import AcceptedRef, SnapshotRef, SyncedRef

_log = logging.getLogger(__name__)


def version_data(loop: Loop, accepted: AcceptedRef | SyncedRef | None, season: int) -> SnapshotRef:
    """A DVC version of all that is accepted, for the model of `season`; `accepted` is what came last, where known."""
    root = loop.settings.root
    came = f"season {accepted.season}" if isinstance(accepted, SyncedRef) else "the history"
    what = "what was imported and sent" if accepted is None else came
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
    """The season after the last one that was lived: a model for it may learn from everything up to there.

    A season was lived where an episode of it ended: its outcome is accepted, of a history, or of the device that a
    person registered for it. What a device says of fields that nobody registered makes no season past.

    Raises:
        DataError: no episode ended yet.
    """
    store, ownership = open_accepted(loop), ownership_of(loop)
    lived: set[int] = set()
    claimed: dict[int, str] = {}
    for table in contract_of(loop).tables_of("outcome"):
        ended = store.read(table)[["season", "field_id"]].drop_duplicates()
        for season, field_id in ended.itertuples(index=False, name=None):
            if ownership.is_vouched_for(int(season), str(field_id)):
                lived.add(int(season))
            else:
                claimed[int(season)] = f"{field_id} of {ownership.holders[int(season), str(field_id)]}"
    last = max(lived, default=0)
    for season in sorted(season for season in claimed if season > last):
        _log.warning(
            "season %d is not learned from yet: its outcomes are of fields that nobody registered (%s): "
            "fieldloop register-device DEVICE KEY --field FIELD",
            season,
            claimed[season],
        )
    if not lived:
        raise DataError(
            f"no season has ended in what is accepted in {loop.workspace.seasons}: there is nothing to learn from. "
            "Outcomes are needed, of a history or of a device whose field is registered: fieldloop register-device "
            "DEVICE KEY --field FIELD"
        )
    return last + 1
