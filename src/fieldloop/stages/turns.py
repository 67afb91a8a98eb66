"""Turns of the loop that were gone through to the end, and what they referred to."""

import json

from fieldedge.system.errors import DataError
from fieldloop.stages.context import Loop, period_folder, words_of
from fieldloop.stages.refs import PeriodRefs, SnapshotRef, write_json

TURN = "turn.json"


def finished_turn(loop: Loop, period: int) -> PeriodRefs | None:
    """What a period that the sample world's devices lived through to the end referred to; None where it is to be lived.

    A period is lived once: other code or parameters later do not change what happened in it. Where a file of it is
    gone, its steps are gone through again, and what is cached of them is found.
    """
    refs = _refs(loop, period)
    return refs if refs and all(file.exists() for file in refs.files()) else None


def data_of_turn(loop: Loop, period: int) -> SnapshotRef | None:
    """The data from before a period that was lived to the end, also where a file of it is gone; None for another."""
    refs = _refs(loop, period)
    return refs.data if refs else None


def _refs(loop: Loop, period: int) -> PeriodRefs | None:
    try:
        return PeriodRefs.of(json.loads((period_folder(loop, period) / TURN).read_bytes())["refs"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # not lived to the end, or by code that referred to other things


def still_home(loop: Loop, turn: PeriodRefs) -> PeriodRefs:
    """The same, when what came home of it is still there, or is again: what the inbox has is ingested once more.

    Raises:
        DataError: records that were acknowledged are gone.
    """
    from fieldloop.stages import ingest

    if ingest.stands(loop, turn.synced):
        return turn
    again = ingest.sync_period(loop, turn.lived)
    if not ingest.stands(loop, turn.synced):
        known, found = turn.synced.accepted + turn.synced.quarantined, again.accepted + again.quarantined
        paths = loop.paths
        raise DataError(
            f"{known} records of {words_of(loop).period} {again.period} came home and were acknowledged to devices, "
            f"and {found} of them are in {paths.accepted}, {paths.quarantine} or {paths.inbox}. Bring the data back: "
            f"dvc checkout --force {paths.pointer.name} for the last version, or these folders from a backup. To "
            "begin the sample world anew on purpose: fieldloop reset-sample"
        )
    return turn


def finish_turn(loop: Loop, period: int, refs: PeriodRefs) -> PeriodRefs:
    """Note that a period was lived to the end."""
    write_json(period_folder(loop, period) / TURN, {"refs": refs.as_record()})
    return refs
