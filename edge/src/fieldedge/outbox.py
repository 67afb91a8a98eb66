"""Batches that wait for an acknowledgement.

Once a batch is prepared its bytes are fixed: a retry sends the same file, so the gateway knows it again. The file is
durable before the store says so, and is deleted only after the store says that it was acknowledged; a file that the
store does not know was never sent. A season's days are selected once, when its outcome is known; outcomes go at
every occasion.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fieldedge.batches import DAY_TABLES, batch_id, pack
from fieldedge.bundles import Reference
from fieldedge.config import DeviceConfig
from fieldedge.contract import Contract, Record
from fieldedge.durable import fsync_directory, write_durably
from fieldedge.selection import DayCandidate, season_seed, select
from fieldedge.store import PreparedBatch, Store, record_ids
from fieldedge.summary import season_summary
from fieldedge.workloads import Workload

OUTCOME_TABLES = ("fields", "operations", "harvests")

_log = logging.getLogger(__name__)


class Outbox:
    """The outbox directory together with what the store knows of it."""

    def __init__(self, path: Path, store: Store) -> None:
        self._path = path
        self._store = store
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            fsync_directory(path.parent)  # a batch is durable only where its directory is

    def settle(self) -> None:
        """Bring files and store together after whatever happened: nothing lost, nothing left over."""
        waiting = {batch.batch_id for batch in self._store.prepared_batches()}
        for file in self._path.iterdir():
            if file.name.removesuffix(".batch") not in waiting:
                file.unlink()
        for identity in sorted(waiting):
            if self._read(identity) is None:
                _log.error("batch %s is damaged on disk; its records are selected anew", identity[:12])
                self._store.withdraw(identity)
                self._file(identity).unlink(missing_ok=True)

    def put(self, data: bytes, season: int, identities: Sequence[str]) -> None:
        """Make a batch durable, then take its records out of the next selection."""
        identity = batch_id(data)
        write_durably(self._file(identity), data)
        self._store.mark_selected(identity, season, len(data), identities)

    def waiting(self) -> list[tuple[PreparedBatch, bytes]]:
        """The batches to send, oldest first."""
        found = [(batch, self._read(batch.batch_id)) for batch in self._store.prepared_batches()]
        return [(batch, data) for batch, data in found if data is not None]

    def acknowledged(self, identity: str) -> None:
        """The gateway holds this batch: free it."""
        self._store.mark_acknowledged(identity)
        self._file(identity).unlink(missing_ok=True)

    def _file(self, identity: str) -> Path:
        return self._path / f"{identity}.batch"

    def _read(self, identity: str) -> bytes | None:
        try:
            data = self._file(identity).read_bytes()
        except FileNotFoundError:
            return None
        return data if batch_id(data) == identity else None


class Packer:
    """Makes a season's next batch from what the store holds."""

    def __init__(
        self,
        config: DeviceConfig,
        workload: Workload,
        store: Store,
        model_version: str,
        reference: Reference | None,
    ) -> None:
        self._config = config
        self._workload = workload
        self._contract: Contract = workload.contract
        self._store = store
        self._model_version = model_version
        self._reference = reference

    def prepare(self, outbox: Outbox, season: int) -> bool:
        """Put the season's next batch into the outbox. False when there is nothing to send."""
        outcomes = {table: self._store.records(season, table, "stored") for table in OUTCOME_TABLES}
        days = self._choose_days(season, outcomes) if self._are_days_due(season) else {}
        tables = {**outcomes, **days}
        identities = [identity for records in tables.values() for identity in record_ids(records)]
        if not identities:
            return False
        outbox.put(self._pack(season, tables), season, identities)
        return True

    def _are_days_due(self, season: int) -> bool:
        """Days teach with their outcome: once the harvest is in, or the field has gone on to a later season."""
        is_over = bool(self._store.records(season, "harvests")) or season < self._store.seasons()[-1]
        were_selected = any(
            self._store.records(season, table, state) for table in DAY_TABLES for state in ("selected", "acknowledged")
        )
        return is_over and not were_selected

    def _choose_days(self, season: int, outcomes: dict[str, list[Record]]) -> dict[str, list[Record]]:
        days = {table: self._store.records(season, table, "stored") for table in DAY_TABLES}

        def on(dates: Sequence[str]) -> dict[str, list[Record]]:
            wanted = set(dates)
            return {table: [row for row in rows if row["date"] in wanted] for table, rows in days.items()}

        chosen = select(
            self._candidates(days),
            self._config.upload_budget_bytes - self._store.bytes_prepared(season),
            self._config.audit_fraction,
            season_seed(self._config.device_id, season),
            lambda dates: len(self._pack(season, {**outcomes, **on(dates)})),
        )
        return on([day.date for day in chosen])

    def _candidates(self, days: dict[str, list[Record]]) -> list[DayCandidate]:
        recommended = {row["date"]: row for row in days["recommendations"]}
        dates = sorted({row["date"] for rows in days.values() for row in rows})
        return [self._candidate(date, recommended.get(date)) for date in dates]

    def _candidate(self, date: str, recommendation: Record | None) -> DayCandidate:
        if recommendation is None:
            return DayCandidate(date, 0.0, None)
        low, high = recommendation["yield_p10_t_ha"], recommendation["yield_p90_t_ha"]
        uncertainty = None if low is None or high is None else high - low
        return DayCandidate(date, uncertainty, self._position(recommendation))

    def _position(self, recommendation: Record) -> NDArray[np.float64]:
        """The day's features in standard deviations from the training mean; scaled ones where there is no bundle.

        A feature that hardly varied in training is measured in twentieths of its contract range instead.
        """
        row = np.array([recommendation[f"x_{name}"] for name in self._contract.feature_names], np.float32)
        if self._reference is None:
            return np.asarray(self._workload.scale(row[np.newaxis])[0], dtype=np.float64)
        floor = np.array([(f.maximum - f.minimum) / 20.0 for f in self._contract.features])
        position: NDArray[np.float64] = (row - self._reference.mean) / np.maximum(self._reference.std, floor)
        return position

    def _pack(self, season: int, tables: dict[str, list[Record]]) -> bytes:
        header = {
            "device_id": self._config.device_id,
            "workload": self._contract.workload,
            "contract_hash": self._contract.hash,
            "bundle_version": self._model_version,
            "season": season,
            "summary": season_summary(self._store, season, self._model_version),
        }
        return pack(header, tables, self._contract)
