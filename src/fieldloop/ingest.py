"""Batches from devices, from the gateway's inbox into the accepted data: each record exactly once.

A batch is verified again here: its name, its signature, its contract. Its good rows are stored durably, its bad rows
are in quarantine with the reason, and only then does it leave the inbox. Every step can be repeated, so a crash
anywhere is mended by running again. Receiving is the gateway's work, judging rows `fieldloop.validation`'s.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from fieldedge.batches import unpack
from fieldedge.contract import Contract, Record, Table
from fieldedge.durable import fsync_directory, write_durably
from fieldedge.errors import ConfigError, DataError
from fieldloop.field_data.season_store import Accepted, SeasonStore
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.inbox import INGESTED_NAME
from fieldloop.validation import Checked, check_frames, quarantine_rows
from fieldloop.validation.typed import arrow_schema

REFUSED_NAME = "batches"


@dataclass(frozen=True)
class TableCounts:
    """Records of one table; `received` is the sum of the other three."""

    received: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class IngestReport:
    """One ingestion. `duplicates` were accepted before, or came twice; `refused` gives the reason by batch id."""

    batches: tuple[str, ...]
    refused: Mapping[str, str]
    tables: Mapping[str, TableCounts]
    seasons: tuple[int, ...]
    quarantine_files: tuple[Path, ...]
    docs_index: Path | None

    @property
    def records_received(self) -> int:
        return sum(counts.received for counts in self.tables.values())

    @property
    def records_accepted(self) -> int:
        return sum(counts.accepted for counts in self.tables.values())

    @property
    def records_duplicate(self) -> int:
        return sum(counts.duplicates for counts in self.tables.values())

    @property
    def records_quarantined(self) -> int:
        return sum(counts.quarantined for counts in self.tables.values())

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {
            "batches": list(self.batches),
            "refused": dict(self.refused),
            "tables": {name: asdict(counts) for name, counts in self.tables.items()},
            "seasons": list(self.seasons),
            "records_received": self.records_received,
            "records_accepted": self.records_accepted,
            "records_duplicate": self.records_duplicate,
            "records_quarantined": self.records_quarantined,
            "quarantine_files": [str(path) for path in self.quarantine_files],
            "docs_index": None if self.docs_index is None else str(self.docs_index),
        }


@dataclass(frozen=True)
class Account:
    """Where the records of ingested batches are now, found by looking for each of them."""

    received: int
    accepted: int
    quarantined: int
    missing: tuple[str, ...]


@dataclass(frozen=True)
class _Batch:
    id: str
    device_id: str
    received_utc: str
    content: Record

    @property
    def records(self) -> dict[str, list[Record]]:
        tables: dict[str, list[Record]] = self.content["tables"]
        return tables


def ingest_batches(
    inbox_dir: Path,
    registry_path: Path,
    store: SeasonStore,
    quarantine_dir: Path,
    contract: Contract,
    today: date,
    docs_dir: Path | None = None,
) -> IngestReport:
    """Bring every whole batch of the inbox into the store, or into quarantine.

    Args:
        inbox_dir: `<sha256>.batch` beside `<sha256>.json`; ingested ones go to its `ingested/`.
        registry_path: the devices' public keys.
        store: gets the good rows.
        quarantine_dir: gets bad rows, and whole batches that cannot be trusted in `batches/`.
        contract: what the rows must be.
        today: the day that no date may be after.
        docs_dir: is replaced by this run's Data Docs; none are built without it.

    Raises:
        ConfigError: batches wait, and there is no registry to verify them with.
        StoreBusy: another process holds the store.
    """
    _finish_moves(inbox_dir)
    paths = [path for path in sorted(inbox_dir.glob("*.batch")) if path.with_suffix(".json").exists()]
    if paths and not registry_path.exists():
        raise ConfigError(f"{len(paths)} batches wait, but the device registry {registry_path} is missing")
    batches, refused = _open_all(paths, DeviceRegistry(registry_path), contract)
    checked, received = _check(batches, contract, today, store, docs_dir)
    stored, files = _store(checked, store, quarantine_dir)
    for batch in batches:
        store.note_batch(batch.id, _note(batch))
        _move(inbox_dir, batch.id, inbox_dir / INGESTED_NAME)
    for batch_id, reason in refused.items():
        _refuse(inbox_dir, batch_id, quarantine_dir / REFUSED_NAME, reason)
    return IngestReport(
        batches=tuple(batch.id for batch in batches),
        refused=refused,
        tables={name: _counts(received[name], stored[name], checked.tables[name].quarantined) for name in stored},
        seasons=tuple(sorted({batch.content["season"] for batch in batches})),
        quarantine_files=files,
        docs_index=checked.docs_index,
    )


def account_for(inbox_dir: Path, store: SeasonStore, quarantine_dir: Path, season: int | None = None) -> Account:
    """Look for every record of every ingested batch, of one season or of all, in the store and in quarantine."""
    ids: dict[str, str] = {}
    for path in sorted((inbox_dir / INGESTED_NAME).glob("*.batch")):
        content = unpack(path.read_bytes())
        if season is None or content["season"] == season:
            ids |= {record["record_id"]: name for name, rows in content["tables"].items() for record in rows}
    seasons = None if season is None else [season]
    accepted = {record_id for table in set(ids.values()) for record_id in store.read(table, seasons)["record_id"]}
    quarantined = {
        record_id
        for path in quarantine_dir.glob("*/*.parquet")
        for record_id in pd.read_parquet(path, columns=["record_id"])["record_id"]
    }
    missing = tuple(sorted(ids.keys() - accepted - quarantined))
    return Account(len(ids), len(ids.keys() & accepted), len(ids.keys() & quarantined - accepted), missing)


def _open_all(paths: list[Path], registry: DeviceRegistry, contract: Contract) -> tuple[list[_Batch], dict[str, str]]:
    batches: list[_Batch] = []
    refused: dict[str, str] = {}
    for path in paths:
        try:
            batches.append(_open(path, registry, contract))
        except (DataError, RecursionError) as error:  # JSON nested without end is a batch's fault, not the run's
            refused[path.stem] = str(error)
    return batches, refused


def _open(path: Path, registry: DeviceRegistry, contract: Contract) -> _Batch:
    data = path.read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != path.stem:
        raise DataError(f"the batch's content has the hash {found[:12]}…, its name says {path.stem[:12]}…")
    device_id, signature, received_utc = _envelope(path.with_suffix(".json"))
    if not registry.is_signed_by(device_id, data, signature):
        raise DataError(f"the signature is not that of {device_id} in the registry")
    content = unpack(data)
    _check_header(content, device_id, contract)
    for name, records in content["tables"].items():
        _check_columns(contract.table(name), records)
    return _Batch(path.stem, device_id, received_utc, content)


def _envelope(path: Path) -> tuple[str, str, str]:
    try:
        envelope = json.loads(path.read_bytes())
        return str(envelope["device_id"]), str(envelope["signature"]), str(envelope["received_utc"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"the batch's envelope {path.name} is broken: {error!r}") from error


def _check_header(content: Record, device_id: str, contract: Contract) -> None:
    expected = {"device_id": device_id, "workload": contract.workload, "contract_hash": contract.hash}
    for name, value in expected.items():
        if content.get(name) != value:
            raise DataError(f"the batch's {name} is {content.get(name)!r}; expected {value!r}")
    season = content.get("season")
    if not isinstance(season, int) or isinstance(season, bool):
        raise DataError(f"the batch's season is {season!r}; expected a harvest year")


def _check_columns(table: Table, records: list[Record]) -> None:
    for record in records[:1]:
        if missing := set(table.column_names) - record.keys():
            raise DataError(f"the batch's table {table.name} has no column {', '.join(sorted(missing))}")


def _check(
    batches: list[_Batch], contract: Contract, today: date, store: SeasonStore, docs_dir: Path | None
) -> tuple[Checked, dict[str, int]]:
    frames: dict[str, pd.DataFrame] = {}
    received: dict[str, int] = {}
    for table in contract.tables:
        parts = [_frame(table, batch) for batch in batches if batch.records.get(table.name)]
        if parts:
            rows = pd.concat(parts, ignore_index=True)
            received[table.name] = len(rows)
            # The same row in two batches is one row that came twice; nothing is wrong with it.
            frames[table.name] = rows[~rows.map(ascii).duplicated(list(table.column_names))]
    senders = {batch.id: batch.device_id for batch in batches}
    seasons = {batch.content["season"] for batch in batches}
    checked = check_frames(frames, contract, today, store.read("fields", seasons), senders, docs_dir)
    return checked, received


def _frame(table: Table, batch: _Batch) -> pd.DataFrame:
    columns = {
        name: pd.Series([record[name] for record in batch.records[table.name]], dtype=object)
        for name in arrow_schema(table).names
    }
    return pd.DataFrame({**columns, "origin": batch.id})


def _store(checked: Checked, store: SeasonStore, quarantine_dir: Path) -> tuple[dict[str, Accepted], tuple[Path, ...]]:
    """Bad rows first: once the good ones are stored, a crash may not lose the others' reasons."""
    files: list[Path | None] = []
    for name, rows in checked.rejected.items():
        table = store.contract.table(name)
        files.extend(
            quarantine_rows(quarantine_dir, _folder(str(batch_id)), table, part)
            for batch_id, part in rows.groupby("origin")
        )
    stored = {name: store.accept(name, rows, "sync") for name, rows in checked.accepted.items()}
    files.extend(outcome.quarantine_file for outcome in stored.values())
    return stored, tuple(path for path in files if path is not None)


def _counts(received: int, stored: Accepted, rejected: int) -> TableCounts:
    quarantined = rejected + stored.conflicts
    return TableCounts(received, stored.added, received - stored.added - quarantined, quarantined)


def _note(batch: _Batch) -> dict[str, Any]:
    return {
        "device_id": batch.device_id,
        "received_utc": batch.received_utc,
        "season": batch.content["season"],
        "bundle_version": batch.content.get("bundle_version"),
        "contract_hash": batch.content["contract_hash"],
        "summary": batch.content.get("summary"),
        "records": {name: len(records) for name, records in batch.records.items()},
    }


def _folder(batch_id: str) -> str:
    return f"batch-{batch_id[:16]}"


def _move(inbox_dir: Path, batch_id: str, target_dir: Path) -> None:
    """The batch first: its envelope alone is not a batch, so a crash in between is seen and finished."""
    target_dir.mkdir(parents=True, exist_ok=True)
    for name in (f"{batch_id}.batch", f"{batch_id}.json"):
        (inbox_dir / name).replace(target_dir / name)
    fsync_directory(target_dir)
    fsync_directory(inbox_dir)


def _finish_moves(inbox_dir: Path) -> None:
    for envelope in inbox_dir.glob("*.json"):
        moved = inbox_dir / INGESTED_NAME / f"{envelope.stem}.batch"
        if moved.exists() and not envelope.with_suffix(".batch").exists():
            envelope.replace(moved.with_suffix(".json"))


def _refuse(inbox_dir: Path, batch_id: str, target_dir: Path, reason: str) -> None:
    """Copy, then delete: quarantine may stand on another disk."""
    target_dir.mkdir(parents=True, exist_ok=True)
    batch, envelope = inbox_dir / f"{batch_id}.batch", inbox_dir / f"{batch_id}.json"
    write_durably(target_dir / batch.name, batch.read_bytes())
    note = {"reason": reason, "envelope": envelope.read_text(encoding="utf-8", errors="replace")}
    write_durably(target_dir / envelope.name, json.dumps(note, indent=1, sort_keys=True).encode() + b"\n")
    batch.unlink()
    envelope.unlink()
