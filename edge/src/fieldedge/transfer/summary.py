"""A season in a few figures, read from the store alone, so that it is the same before and after a restart."""

import math
from typing import Any

import numpy as np

from fieldedge.contract import Record
from fieldedge.storage.store import Store

MEASURED = ("bytes_collected", "latency_p50_ms", "latency_p99_ms")  # about a machine, not about its field


def season_summary(store: Store, season: int | None, model_version: str) -> Record:
    """The figures of one season. What cannot be said yet is None."""
    if season is None:
        recommendations: list[Record] = []
        collected, size_bytes = 0, 0
        error = None
    else:
        recommendations = store.records(season, "recommendations")
        totals = store.totals(season)
        collected, size_bytes = totals.records_collected, totals.bytes_collected
        error = yield_rmse_t_ha(recommendations, store.records(season, "harvests"))
    latencies_ms = [record["latency_ms"] for record in recommendations]
    return {
        "season": season,
        "recommendations": len(recommendations),
        "records_collected": collected,
        "bytes_collected": size_bytes,
        "yield_rmse_t_ha": error,
        "latency_p50_ms": _percentile(latencies_ms, 50),
        "latency_p99_ms": _percentile(latencies_ms, 99),
        "model_version": model_version,
    }


def yield_rmse_t_ha(recommendations: list[Record], harvests: list[Record]) -> float | None:
    """Root mean square error of the model's median yield over the season against the harvest, t/ha."""
    harvested = {record["field_id"]: record["yield_t_ha"] for record in harvests}
    errors = [
        record["yield_p50_t_ha"] - harvested[record["field_id"]]
        for record in recommendations
        if record["source"] == "model" and record["field_id"] in harvested
    ]
    if not errors:
        return None
    return round(math.sqrt(sum(error * error for error in errors) / len(errors)), 4)


def _percentile(values: list[Any], percent: float) -> float | None:
    return round(float(np.percentile(values, percent)), 3) if values else None
