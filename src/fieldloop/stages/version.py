"""Version: the accepted data under a hash that travels with everything after it."""

import logging

from fieldedge.system.errors import DataError
from fieldloop.data import is_kept, snapshot
from fieldloop.stages.access import learnable_hash, open_accepted, ownership_of
from fieldloop.stages.context import Loop, contract_of, words_of
from fieldloop.stages.opening import keep_pointer
from fieldloop.stages.refs import AcceptedRef, SnapshotRef, SyncedRef

_log = logging.getLogger(__name__)


def version_data(loop: Loop, accepted: AcceptedRef | SyncedRef | None, period: int) -> SnapshotRef:
    """A DVC version of all that is accepted, for the model of `period`; `accepted` is what came last, where known."""
    root = loop.settings.root
    came = f"{words_of(loop).period} {accepted.period}" if isinstance(accepted, SyncedRef) else "the history"
    what = "what was imported and sent" if accepted is None else came
    made = snapshot(
        root,
        loop.paths.accepted.relative_to(root),
        f"Data: {what} accepted",
        loop.settings.is_deployment,
        accepted.period if isinstance(accepted, SyncedRef) else period - 1,
    )
    keep_pointer(loop)
    return SnapshotRef(made.data_hash, period, learnable_hash(loop, period), made.note, made.committed)


def stands(loop: Loop, data: SnapshotRef) -> bool:
    """Whether the pointer on disk names this version, and DVC has all of it."""
    return is_kept(loop.settings.root, loop.paths.accepted, data.data_hash, data.is_committed)


def next_period(loop: Loop) -> int:
    """The period after the last one that was lived: a model for it may learn from everything up to there.

    A period was lived where an episode of it ended: its outcome is accepted, of a history, or of the device that a
    person registered for it. What a device says of units that nobody registered makes no period past.

    Raises:
        DataError: no episode ended yet.
    """
    store, ownership, words = open_accepted(loop), ownership_of(loop), words_of(loop)
    lived: set[int] = set()
    claimed: dict[int, str] = {}
    for table in contract_of(loop).tables_of("outcome"):
        ended = store.read(table)[list(store.contract.episode.columns)].drop_duplicates()
        for period, unit in ended.itertuples(index=False, name=None):
            if ownership.is_vouched_for(int(period), str(unit)):
                lived.add(int(period))
            else:
                claimed[int(period)] = f"{unit} of {ownership.holders[int(period), str(unit)]}"
    last = max(lived, default=0)
    for period in sorted(period for period in claimed if period > last):
        _log.warning(
            "%s %d is not learned from yet: its outcomes are of %s that nobody registered (%s): "
            "fieldloop register-device DEVICE KEY --unit UNIT",
            words.period,
            period,
            words.units,
            claimed[period],
        )
    if not lived:
        raise DataError(
            f"no {words.period} has ended in what is accepted in {loop.paths.accepted}: there is nothing to learn "
            f"from. Outcomes are needed, of a history or of a device whose {words.unit} is registered: fieldloop "
            "register-device DEVICE KEY --unit UNIT"
        )
    return last + 1
