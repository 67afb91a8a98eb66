"""Validate: every row is judged before anything is learned from it."""

import json
from datetime import date
from pathlib import Path

from fieldloop.stages.access import folder_hash, learnable_hash, open_accepted
from fieldloop.stages.context import Loop, contract_of
from fieldloop.stages.refs import AcceptedRef, HistoryRef, write_json
from fieldloop.validation import validate_tables

_FILES = "accepted_files"


def validate_history(loop: Loop, history: HistoryRef) -> AcceptedRef:
    """Great Expectations over every table; good rows are accepted, bad ones quarantined with what they broke.

    Raises:
        DataError: a table breaks a critical expectation; the message says which and where.
    """

    space = loop.workspace
    report = validate_tables(
        Path(history.path), space.quarantine, space.data_docs / "history", contract_of(loop), date.today()
    )
    store = open_accepted(loop)
    stored = [store.accept(table, frame, came_with="history") for table, frame in report.accepted.items()]
    quarantined = report.quarantined + sum(outcome.conflicts for outcome in stored)
    wrote = {
        f"season={season}/region={region}/{table}.parquet"
        for table, frame in report.accepted.items()
        for season, region in frame[["season", "region"]].drop_duplicates().itertuples(index=False)
    }
    path = write_json(space.home / "validation" / "history.json", {**report.as_dict(), _FILES: sorted(wrote)})
    return AcceptedRef(history.content_hash, report.rows, quarantined, str(report.docs_index), str(path))


def stands(loop: Loop, accepted: AcceptedRef) -> bool:
    """Whether every file of accepted data that the validation wrote to is there; its rows are `version`'s care."""
    files = json.loads(Path(accepted.report).read_bytes()).get(_FILES)
    if files is None:  # of a report from before they were named
        return any(loop.workspace.seasons.rglob("*.parquet"))
    return all((loop.workspace.seasons / name).is_file() for name in files)


def accepted_content(loop: Loop, before: int | None = None) -> str:
    """What names everything that is accepted by now, whoever it came from; or all of it from before a season."""
    return folder_hash(loop.workspace.seasons, "*.parquet") if before is None else learnable_hash(loop, before)
