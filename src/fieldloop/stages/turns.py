"""Turns of the loop that were gone through to the end, and what they referred to."""

import json
from dataclasses import asdict

from fieldloop.stages.context import Loop, season_folder
from fieldloop.stages.refs import SeasonRefs, write_json

TURN = "turn.json"


def finished_turn(loop: Loop, season: int) -> SeasonRefs | None:
    """What a season that the sample world's devices lived through to the end referred to; None where it is to be lived.

    A season is lived once: other code or parameters later do not change what happened in it. Where a file of it is
    gone, its steps are gone through again, and what is cached of them is found.
    """
    path = season_folder(loop, season) / TURN
    try:
        refs = SeasonRefs.of(json.loads(path.read_bytes())["refs"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # not lived to the end, or by code that referred to other things
    return refs if all(file.exists() for file in refs.files()) else None


def finish_turn(loop: Loop, season: int, refs: SeasonRefs) -> SeasonRefs:
    """Note that a season was lived to the end."""
    write_json(season_folder(loop, season) / TURN, {"refs": asdict(refs)})
    return refs
