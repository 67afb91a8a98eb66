"""Turns of the loop that were gone through to the end, and what they referred to."""

import json
from dataclasses import asdict

from fieldedge.system.errors import DataError
from fieldloop.stages.context import Loop, season_folder
from fieldloop.stages.refs import SeasonRefs, SnapshotRef, write_json

TURN = "turn.json"


def finished_turn(loop: Loop, season: int) -> SeasonRefs | None:
    """What a season that the sample world's devices lived through to the end referred to; None where it is to be lived.

    A season is lived once: other code or parameters later do not change what happened in it. Where a file of it is
    gone, its steps are gone through again, and what is cached of them is found.
    """
    refs = _refs(loop, season)
    return refs if refs and all(file.exists() for file in refs.files()) else None


def data_of_turn(loop: Loop, season: int) -> SnapshotRef | None:
    """The data from before a season that was lived to the end, also where a file of it is gone; None for another."""
    refs = _refs(loop, season)
    return refs.data if refs else None


def _refs(loop: Loop, season: int) -> SeasonRefs | None:
    try:
        return SeasonRefs.of(json.loads((season_folder(loop, season) / TURN).read_bytes())["refs"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # not lived to the end, or by code that referred to other things


def still_home(loop: Loop, turn: SeasonRefs) -> SeasonRefs:
    """The same, when what came home of it is still there, or is again: what the inbox has is ingested once more.

    Raises:
        DataError: records that were acknowledged are gone.
    """
    from fieldloop.stages import ingest

    if ingest.stands(loop, turn.synced):
        return turn
    again = ingest.sync_season(loop, turn.lived)
    if not ingest.stands(loop, turn.synced):
        known, found = turn.synced.accepted + turn.synced.quarantined, again.accepted + again.quarantined
        space = loop.workspace
        raise DataError(
            f"{known} records of season {again.season} came home and were acknowledged to devices, and {found} of them "
            f"are in {space.seasons}, {space.quarantine} or {space.inbox}. Bring the data back: dvc checkout --force "
            f"{space.pointer.name} for the last version, or these folders from a backup. To begin the sample world "
            "anew on purpose: fieldloop reset-sample"
        )
    return turn


def finish_turn(loop: Loop, season: int, refs: SeasonRefs) -> SeasonRefs:
    """Note that a season was lived to the end."""
    write_json(season_folder(loop, season) / TURN, {"refs": asdict(refs)})
    return refs
