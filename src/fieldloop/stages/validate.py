"""Validate: every row is judged before anything is learned from it."""

import json
from collections.abc import Collection
from datetime import date
from pathlib import Path

import pandas as pd

from fieldloop.data.growth import withdrawn_seasons
from fieldloop.stages.access import folder_hash, learnable_hash, open_accepted
from fieldloop.stages.context import Loop, contract_of
from fieldloop.stages.refs import AcceptedRef, HistoryRef, write_json
from fieldloop.validation import quarantine_rows, validate_tables

_FILES = "accepted_files"
_CAME_WITH = "history"
WITHDRAWN = "the field and season were taken back into quarantine: what is accepted of them a registered device sends"


def validate_history(loop: Loop, history: HistoryRef) -> AcceptedRef:
    """Great Expectations over every table; good rows are accepted, bad ones quarantined with what they broke.

    What was accepted once and taken back stays in quarantine, whatever code and rules judge it again.

    Raises:
        DataError: a table breaks a critical expectation; the message says which and where.
    """

    space = loop.workspace
    report = validate_tables(
        Path(history.path), space.quarantine, space.data_docs / "history", contract_of(loop), date.today()
    )
    store = open_accepted(loop)
    quarantined, withdrawn = report.quarantined, withdrawn_seasons(space.quarantine)
    wrote: set[str] = set()
    for table, frame in report.accepted.items():
        stays = _is_of(frame, withdrawn)
        taken_back = frame[stays].assign(expectation=WITHDRAWN)
        quarantine_rows(space.quarantine, _CAME_WITH, store.contract.table(table), taken_back)
        outcome = store.accept(table, frame[~stays], _CAME_WITH)
        quarantined += len(taken_back) + outcome.conflicts
        for season, region in frame.loc[~stays, ["season", "region"]].drop_duplicates().itertuples(index=False):
            wrote.add(f"season={season}/region={region}/{table}.parquet")
    path = write_json(space.home / "validation" / "history.json", {**report.as_dict(), _FILES: sorted(wrote)})
    return AcceptedRef(history.content_hash, report.rows, quarantined, str(report.docs_index), str(path))


def _is_of(frame: pd.DataFrame, withdrawn: Collection[tuple[int, str]]) -> pd.Series:
    """Which rows are of these seasons of fields."""
    named = frame[["season", "field_id"]].itertuples(index=False, name=None)
    return pd.Series([(int(season), str(field_id)) in withdrawn for season, field_id in named], frame.index, dtype=bool)


def stands(loop: Loop, accepted: AcceptedRef) -> bool:
    """Whether every file of accepted data that the validation wrote to is there; its rows are `version`'s care."""
    files = json.loads(Path(accepted.report).read_bytes()).get(_FILES)
    if files is None:  # of a report from before they were named
        return any(loop.workspace.seasons.rglob("*.parquet"))
    return all((loop.workspace.seasons / name).is_file() for name in files)


def accepted_content(loop: Loop, before: int | None = None) -> str:
    """What names everything that is accepted by now, whoever it came from; or all of it from before a season."""
    return folder_hash(loop.workspace.seasons, "*.parquet") if before is None else learnable_hash(loop, before)
