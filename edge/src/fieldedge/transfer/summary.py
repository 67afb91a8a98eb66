"""An episode in a few figures, read from the store alone, so that it is the same before and after a restart."""

from typing import Any

import numpy as np

from fieldedge.contract import Record
from fieldedge.contract.batches import PERIOD_KEY, as_header
from fieldedge.storage.store import Store
from fieldedge.workload import Workload

MEASURED = ("bytes_collected", "latency_p50_ms", "latency_p99_ms")  # about a machine, not about what it serves


def episode_summary(store: Store, workload: Workload, episode: str | None, model_version: str) -> Record:
    """The figures of one episode. What cannot be said yet is None."""
    contract = workload.contract
    decisions: list[Record] = []
    outcomes: list[Record] = []
    collected, size_bytes = 0, 0
    if episode is not None:
        decisions = store.records(episode, contract.decision_table.name)
        outcomes = [row for table in contract.tables_of("outcome") for row in store.records(episode, table)]
        totals = store.totals(episode)
        collected, size_bytes = totals.records_collected, totals.bytes_collected
    latencies_ms = [record["latency_ms"] for record in decisions]
    return {
        PERIOD_KEY: as_header(episode),
        "recommendations": len(decisions),
        "records_collected": collected,
        "bytes_collected": size_bytes,
        **workload.summary(decisions, outcomes),
        "latency_p50_ms": _percentile(latencies_ms, 50),
        "latency_p99_ms": _percentile(latencies_ms, 99),
        "model_version": model_version,
    }


def _percentile(values: list[Any], percent: float) -> float | None:
    return round(float(np.percentile(values, percent)), 3) if values else None
