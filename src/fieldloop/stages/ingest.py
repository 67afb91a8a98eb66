"""Ingest: what devices sent into the accepted data, exactly once, and every record of it looked for."""

import json
from dataclasses import asdict
from pathlib import Path

from fieldloop.ingest.accept import IngestReport, ingest_batches
from fieldloop.ingest.reconcile import reconcile
from fieldloop.release import ReleaseRepository
from fieldloop.stages.access import open_accepted
from fieldloop.stages.context import Loop, contract_of, today_utc, words_of
from fieldloop.stages.refs import IngestedRef, RunRef, SyncedRef, write_json


def ingest_inbox(loop: Loop) -> IngestedRef:
    """Every batch that waits in the gateway's inbox into the accepted data, exactly once."""
    report = _ingest(loop, loop.paths.data_docs / "ingest")
    path = write_json(loop.paths.home / "validation" / "ingest.json", report.as_dict())
    return IngestedRef(
        len(report.batches),
        report.records_accepted,
        report.records_quarantined,
        len(report.refused),
        str(path),
        len(report.waiting),
    )


def sync_period(loop: Loop, lived: RunRef) -> SyncedRef:
    """What the devices sent of a period into the accepted data; then every record of it is looked for."""
    paths = loop.paths
    report = _ingest(loop, paths.data_docs / f"{words_of(loop).period}-{lived.period}")
    acknowledged = ReleaseRepository(paths.tuf).acknowledged
    account = reconcile(paths.inbox, open_accepted(loop), paths.quarantine, lived.period, acknowledged)
    fleet = json.loads(Path(lived.report).read_text(encoding="utf-8"))
    unacknowledged = fleet["records_selected"] - fleet["records_acknowledged"]
    path = write_json(
        Path(lived.report).with_name("sync.json"), {"ingest": report.as_dict(), "account": asdict(account)}
    )
    lost = unacknowledged + len(account.missing)
    return SyncedRef(lived.period, account.accepted, account.quarantined, lost, str(path), account.records_waiting)


def stands(loop: Loop, synced: SyncedRef) -> bool:
    """Whether what came home of a period is still where it was: accepted, or taken back into quarantine."""
    paths = loop.paths
    found = reconcile(paths.inbox, open_accepted(loop), paths.quarantine, synced.period)
    return found.accepted + found.quarantined >= synced.accepted + synced.quarantined


def _ingest(loop: Loop, docs: Path) -> IngestReport:
    paths = loop.paths
    return ingest_batches(
        paths.inbox, paths.device_registry, open_accepted(loop), paths.quarantine, contract_of(loop), today_utc(), docs
    )
