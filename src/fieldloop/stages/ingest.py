"""Ingest: what devices sent into the accepted data, exactly once, and every record of it looked for."""

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path

from fieldloop.ingest.accept import IngestReport, account_for, ingest_batches
from fieldloop.release import ReleaseRepository
from fieldloop.stages.access import open_accepted
from fieldloop.stages.context import Loop, contract_of
from fieldloop.stages.refs import IngestedRef, LivedRef, SyncedRef, write_json


def ingest_inbox(loop: Loop) -> IngestedRef:
    """Every batch that waits in the gateway's inbox into the accepted data, exactly once."""
    report = _ingest(loop, loop.workspace.data_docs / "ingest")
    path = write_json(loop.workspace.home / "validation" / "ingest.json", report.as_dict())
    return IngestedRef(
        len(report.batches),
        report.records_accepted,
        report.records_quarantined,
        len(report.refused),
        str(path),
        len(report.waiting),
    )


def sync_season(loop: Loop, lived: LivedRef) -> SyncedRef:
    """What the devices sent of a season into the accepted data; then every record of it is looked for."""
    space = loop.workspace
    report = _ingest(loop, space.data_docs / f"season-{lived.season}")
    acknowledged = ReleaseRepository(space.tuf).acknowledged
    account = account_for(space.inbox, open_accepted(loop), space.quarantine, lived.season, acknowledged)
    fleet = json.loads(Path(lived.report).read_text())
    unacknowledged = fleet["records_selected"] - fleet["records_acknowledged"]
    path = write_json(
        Path(lived.report).with_name("sync.json"), {"ingest": report.as_dict(), "account": asdict(account)}
    )
    lost = unacknowledged + len(account.missing)
    return SyncedRef(lived.season, account.accepted, account.quarantined, lost, str(path), account.records_waiting)


def stands(loop: Loop, synced: SyncedRef) -> bool:
    """Whether what came home of a season is still where it was: accepted, or taken back into quarantine."""
    space = loop.workspace
    found = account_for(space.inbox, open_accepted(loop), space.quarantine, synced.season)
    return found.accepted + found.quarantined >= synced.accepted + synced.quarantined


def _ingest(loop: Loop, docs: Path) -> IngestReport:
    space = loop.workspace
    return ingest_batches(
        space.inbox, space.device_registry, open_accepted(loop), space.quarantine, contract_of(loop), date.today(), docs
    )
