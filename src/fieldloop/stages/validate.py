"""Validate: every row is judged before anything is learned from it."""

import json
from datetime import date
from pathlib import Path

import pandas as pd

from fieldloop.data.withdrawn import withdrawals
from fieldloop.stages.access import folder_hash, learnable_hash, open_accepted, ownership_of
from fieldloop.stages.context import Loop, contract_of
from fieldloop.stages.refs import AcceptedRef, HistoryRef, write_json
from fieldloop.validation import Ownership, quarantine_rows, validate_tables
from fieldloop.validation.ownership import HISTORY, FieldSeason

_RECORDS = "history-records.json"  # beside the report: what it accepted, by device, or taken back it would accept
_CAME_WITH = "history"
WITHDRAWN = "the season of the field is a device's: what is accepted of it that device sends"


def validate_history(loop: Loop, history: HistoryRef) -> AcceptedRef:
    """Great Expectations over every table; good rows are accepted, bad ones quarantined with what they broke.

    A season of a field that a device has is the device's: what a history says of it goes to quarantine. So does what
    was accepted once and taken back, while another device is registered for it.

    Raises:
        DataError: a table breaks a critical expectation; the message says which and where.
    """

    space = loop.workspace
    report = validate_tables(
        Path(history.path), space.quarantine, space.data_docs / "history", contract_of(loop), date.today()
    )
    store, ownership = open_accepted(loop), ownership_of(loop)
    store.return_to_histories(ownership)
    came_from = Ownership.of({}, report.accepted[store.contract.context_table.name], ()).holders
    barred = {
        (one.season, one.field_id)
        for one in withdrawals(space.quarantine)
        if not ownership.may_speak(came_from.get((one.season, one.field_id), HISTORY), one.season, one.field_id)
    }
    barred |= {name for name, device_id in came_from.items() if _is_anothers(ownership, name, device_id)}
    quarantined = report.quarantined
    records: dict[str, list[str]] = {}
    for table, frame in report.accepted.items():
        named = list(zip(frame["season"].astype(int), frame["field_id"], strict=True))
        stays = pd.Series([name in barred for name in named], frame.index, dtype=bool)
        taken_back = frame[stays].assign(expectation=WITHDRAWN)
        quarantine_rows(space.quarantine, _CAME_WITH, store.contract.table(table), taken_back)
        outcome = store.accept(table, frame[~stays], _CAME_WITH)
        quarantined += len(taken_back) + outcome.conflicts
        is_kept = frame["record_id"].isin(store.read(table)["record_id"]) | stays
        device_ids = pd.Series([came_from.get(name, HISTORY) for name in named], frame.index)
        for device_id, ids in frame.loc[is_kept, "record_id"].groupby(device_ids):
            records.setdefault(str(device_id), []).extend(ids)
    store.settle_withdrawn()
    write_json(space.home / "validation" / _RECORDS, records)
    path = write_json(space.home / "validation" / "history.json", report.as_dict())
    return AcceptedRef(history.content_hash, report.rows, quarantined, str(report.docs_index), str(path))


def stands(loop: Loop, accepted: AcceptedRef) -> bool:
    """Whether every row that the validation accepted is there, or taken back for one that speaks for it now.

    Another version of the data may have been brought back since, and whose a field is may have been corrected.
    """
    try:
        records: dict[str, list[str]] = json.loads(Path(accepted.report).with_name(_RECORDS).read_bytes())
    except FileNotFoundError:  # of a report from before they were kept
        return False
    store, ownership = open_accepted(loop), ownership_of(loop)
    if ownership.returned():
        return False
    here = store.record_ids()
    taken_back = withdrawals(loop.workspace.quarantine)
    for device_id, ids in records.items():
        excused = [
            one.record_ids
            for one in taken_back
            if one.excuses(device_id) and not ownership.may_speak(device_id, one.season, one.field_id)
        ]
        lacking = set(ids) - here - frozenset().union(*excused)
        if not all(_is_anothers(ownership, _season_of_field(record_id), device_id) for record_id in lacking):
            return False
    return True


def _is_anothers(ownership: Ownership, name: FieldSeason, device_id: str) -> bool:
    """Whether another than this device, or than a history, was accepted for the season of the field."""
    return ownership.holders.get(name, device_id) != device_id


def _season_of_field(record_id: str) -> FieldSeason:
    season, field_id, *_ = record_id.split("/")
    return int(season), field_id


def accepted_content(loop: Loop, before: int | None = None) -> str:
    """What names everything that is accepted by now, whoever it came from; or all of it from before a season."""
    return folder_hash(loop.workspace.seasons, "*.parquet") if before is None else learnable_hash(loop, before)
