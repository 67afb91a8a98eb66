"""Following a season back through a real store."""

from pathlib import Path
from typing import Any

import pandas as pd

from fieldloop.data import AcceptedStore
from fieldloop.report import period_trace
from fieldloop.workloads.agriculture.workload import AGRICULTURE_IN_CLOUD
from tests.sample_season import CONTRACT, SEASON, field_row, recommendation_row, season_rows

BATCH_ID = "ab" * 32


def ingested(directory: Path, with_recommendations: bool = True) -> AcceptedStore:
    """A store as an ingestion of one device's batch leaves it."""
    field = field_row(device_id="dev-00")
    tables = season_rows(field)
    if with_recommendations:
        days = [row["date"] for row in tables["readings"][5:8]]
        rows = [recommendation_row(field, day) for day in days]
        rows[1]["irrigation_mm"] = 31.0
        rows[2] |= {"irrigation_mm": 60.0, "source": "fao56", "yield_p10_t_ha": None}
        rows[2] |= {"yield_p50_t_ha": None, "yield_p90_t_ha": None}
        tables["recommendations"] = rows
    store = AcceptedStore(directory / "seasons", CONTRACT)
    for name, rows in tables.items():
        store.accept(name, pd.DataFrame(rows), "sync")
    store.note_batch(BATCH_ID, {"device_id": "dev-00", "season": SEASON, "records": {"readings": 40}})
    return store


def trace_of(store: AcceptedStore, season: int) -> dict[str, Any]:
    tables = {table.name: store.read(table.name, [season]) for table in CONTRACT.tables}
    return period_trace(store, season, AGRICULTURE_IN_CLOUD.report.example(tables))


def test_the_trace_leads_from_a_recommendation_to_its_batch_and_device(tmp_path: Path) -> None:
    trace = trace_of(ingested(tmp_path), SEASON)
    said = trace["recommendation"]
    assert said["irrigation_mm"] == 31.0, "the largest that a model asked for; the rule's 60 mm do not count"
    assert said["device_id"] == "dev-00"
    assert said["date"] == said["record_id"].rsplit("/", 1)[1]
    assert not [name for name in said if name.startswith("x_")]
    assert trace["batch_id"] == BATCH_ID
    assert trace["batches"][BATCH_ID]["device_id"] == "dev-00"


def test_a_season_without_recommendations_has_batches_and_no_example(tmp_path: Path) -> None:
    trace = trace_of(ingested(tmp_path, with_recommendations=False), SEASON)
    assert (trace["recommendation"], trace["batch_id"]) == (None, None)
    assert len(trace["batches"]) == 1


def test_another_season_has_no_trace(tmp_path: Path) -> None:
    assert trace_of(ingested(tmp_path), SEASON + 1)["batches"] == {}
