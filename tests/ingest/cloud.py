"""The cloud side of an ingestion in one directory, and what a device sends of a season."""

from pathlib import Path

import pandas as pd

from fieldedge.contract import Contract, Record
from fieldloop.data import AcceptedStore
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.inbox import Inbox
from fieldloop.gateway.owners import UnitOwners
from fieldloop.ingest.accept import IngestReport, ingest_batches
from fieldloop.ingest.reconcile import Account, reconcile
from fieldloop.ingest.refusals import Refusals
from tests.sample_season import CONTRACT, TODAY, Sender, field_row, season_rows


class Cloud:
    """An inbox, a registry and a store in one directory."""

    def __init__(self, directory: Path, contract: Contract = CONTRACT) -> None:
        self.directory = directory
        self.inbox_dir = directory / "inbox"
        self.quarantine_dir = directory / "data" / "quarantine"
        self.store = AcceptedStore(directory / "data" / "seasons", contract)
        self.registry = DeviceRegistry(directory / "devices.json")
        self.owners = UnitOwners.beside(self.registry.path)
        self.inbox = Inbox(self.inbox_dir)
        self.refusals = Refusals(self.quarantine_dir)

    def sender(self, device_id: str = "dev-00") -> Sender:
        return Sender(self.directory, device_id)

    def ingest(self, docs_dir: Path | None = None) -> IngestReport:
        return ingest_batches(
            self.inbox_dir, self.registry.path, self.store, self.quarantine_dir, self.store.contract, TODAY, docs_dir
        )

    def content(self) -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in sorted(self.store.root.rglob("*")) if p.is_file()}

    def waiting(self) -> list[str]:
        return sorted(held.name for held in self.inbox.waiting())

    def account(self, season: int | None = None) -> Account:
        return reconcile(self.inbox_dir, self.store, self.quarantine_dir, season)

    def quarantined(self) -> dict[str, str]:
        parts = [pd.read_parquet(path) for path in self.quarantine_dir.glob("*/*.parquet")]
        return {row["record_id"]: row["expectation"] for part in parts for row in part.to_dict("records")}


def season_of(device_id: str = "dev-00", number: int = 0) -> dict[str, list[Record]]:
    """Twelve records: a field, eight readings, two operations, a harvest."""
    return season_rows(field_row(number, device_id=device_id), days=8)


def outcome_of(device_id: str = "dev-00", number: int = 0) -> dict[str, list[Record]]:
    """Two records: a field and its harvest. Each table costs a suite, so most tests make do with these."""
    tables = season_of(device_id, number)
    return {name: tables[name] for name in ("fields", "harvests")}
