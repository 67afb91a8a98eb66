"""Validate: every row is judged before anything is learned from it."""

import json
from pathlib import Path

from fieldloop.data.withdrawn import withdrawn_episodes
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.ingest.intake import take_in
from fieldloop.stages.access import open_accepted, ownership_of
from fieldloop.stages.context import Loop, today_utc
from fieldloop.stages.refs import AcceptedRef, HistoryRef, write_json
from fieldloop.validation import Ownership, TableReport, ValidationReport
from fieldloop.validation.ownership import episode_of
from fieldloop.validation.tables import read_tables

_RECORDS = "history-records.json"  # beside the report: what it accepted, by device, or taken back it would accept
_CAME_WITH = "history"


def validate_history(loop: Loop, history: HistoryRef) -> AcceptedRef:
    """Great Expectations over every table; good rows are accepted, bad ones quarantined with what they broke.

    The past comes in as imports do: what it says of an episode that another was accepted for, or is registered for,
    goes to quarantine, and so does what names a device that nobody registered.

    Raises:
        DataError: a table breaks a critical expectation; the message says which and where.
    """
    paths, store = loop.paths, open_accepted(loop)
    taken = take_in(
        read_tables(Path(history.path), store.contract),
        store,
        _ownership(loop),
        today_utc(),
        source=Path(history.path),
        came_with=_CAME_WITH,
        docs_dir=paths.data_docs / "history",
        is_whole=True,
    )
    records: dict[str, list[str]] = {}
    reports = {}
    for name, table in taken.tables.items():
        for device_id, ids in table.done_with.items():
            records.setdefault(device_id, []).extend(ids)
        broken = {**table.broken, **table.conflicts}
        reports[name] = TableReport(table.rows, table.rows - table.quarantined, table.quarantined, broken)
    report = ValidationReport(reports, taken.docs_index, taken.quarantine_files)
    write_json(paths.home / "validation" / _RECORDS, records)
    path = write_json(paths.home / "validation" / "history.json", report.as_dict())
    return AcceptedRef(history.content_hash, report.rows, report.quarantined, str(report.docs_index), str(path))


def stands(loop: Loop, accepted: AcceptedRef) -> bool:
    """Whether every row that the validation accepted is there, or taken back for one that speaks for it now.

    Another version of the data may have been brought back since, and whose a unit is may have been corrected.
    """
    try:
        records: dict[str, list[str]] = json.loads(Path(accepted.report).with_name(_RECORDS).read_bytes())
    except FileNotFoundError:  # of a report from before they were kept
        return False
    ownership = _ownership(loop)
    if ownership.returned():
        return False
    here, withdrawn = open_accepted(loop).record_ids(), withdrawn_episodes(loop.paths.quarantine)
    return all(
        ownership.another(device_id, name, withdrawn) is not None
        for device_id, ids in records.items()
        for name in {episode_of(record_id) for record_id in ids if record_id not in here}
    )


def _ownership(loop: Loop) -> Ownership:
    return ownership_of(loop, DeviceRegistry(loop.paths.device_registry).public_keys())
