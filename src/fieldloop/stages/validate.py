"""Validate: every row is judged before anything is learned from it."""

from dataclasses import replace
from datetime import date
from pathlib import Path

from fieldloop.stages.access import folder_hash, open_accepted
from fieldloop.stages.context import Loop, contract_of
from fieldloop.stages.refs import AcceptedRef, HistoryRef, write_json
from fieldloop.validation import validate_tables


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
    path = write_json(space.home / "validation" / "history.json", report.as_dict())
    return AcceptedRef(history.content_hash, report.rows, quarantined, str(report.docs_index), str(path))


def accepted_so_far(loop: Loop, accepted: AcceptedRef) -> AcceptedRef:
    """The same validation, named by everything that is accepted by now: what devices sent since is another content."""
    return replace(accepted, content_hash=folder_hash(loop.workspace.seasons, "*.parquet"))
