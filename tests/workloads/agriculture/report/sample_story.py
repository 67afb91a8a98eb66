"""Seasons told by hand: every step's report in its true shape, with figures that a small run could bring."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fieldedge.contract import Record
from fieldloop.compression import Compressed
from fieldloop.evaluation.gate import Verdict
from fieldloop.fleet.run import FleetRun
from fieldloop.ingest.accept import IngestReport, TableCounts
from fieldloop.ingest.reconcile import Account
from fieldloop.registry.model_registry import Registered
from fieldloop.release import Released
from fieldloop.report.story import PeriodStory
from fieldloop.validation.report import TableReport, ValidationReport
from fieldloop.workload import Scores
from fieldloop.workloads.agriculture.metrics import PROFIT, YIELD_ERROR
from fieldloop.workloads.agriculture.report.figures import OTHERS
from fieldloop.workloads.agriculture.workload import AGRICULTURE_IN_CLOUD

SECTIONS = AGRICULTURE_IN_CLOUD.report
CONTRACT_HASH = "ab" * 32
ENVIRONMENT = {"machine": "2 cores, x86_64", "python": "3.11.9", "commit": "0123abc"}
PRICE_USD_T = 180.0
MEAN_FIGURES = {  # practice: yield t/ha, water mm, nitrogen kg/ha
    "fieldloop": (13.1, 205.0, 188.0),
    "tuned_threshold": (13.3, 190.0, 200.0),
    "threshold": (13.3, 214.0, 200.0),
    "calendar": (13.0, 350.0, 200.0),
    "rainfed": (8.4, 0.0, 120.0),
}


def outcomes(practice: str, season: int, fields: int, extra_usd_ha: float = 0.0) -> list[Record]:
    """How the fields of a season ended under a practice."""
    yield_t_ha, water_mm, nitrogen_kg_ha = MEAN_FIGURES[practice]
    draw = np.random.default_rng([season, *practice.encode()])
    return [
        _outcome(practice, season, number, yield_t_ha, water_mm, nitrogen_kg_ha, draw, extra_usd_ha)
        for number in range(fields)
    ]


def _outcome(
    practice: str,
    season: int,
    number: int,
    yield_t_ha: float,
    water_mm: float,
    nitrogen_kg_ha: float,
    draw: np.random.Generator,
    extra_usd_ha: float,
) -> Record:
    region = ("champion", "cordoba")[number % 2]
    harvest = max(2.0, yield_t_ha - 1.5 * (number % 2) + float(draw.normal(0, 0.9)))
    water = max(0.0, water_mm + 50 * (number % 2) + float(draw.normal(0, 30))) if water_mm else 0.0
    profit = PRICE_USD_T * harvest - 1.0 * water - 1.0 * nitrogen_kg_ha - 1728.0 + extra_usd_ha
    return {
        "season": season,
        "region": region,
        "field_id": f"{region}-{number // 2:02d}",
        "device_id": f"dev-{number:02d}",
        "practice": practice,
        "yield_t_ha": round(harvest, 3),
        "irrigation_mm": round(water, 1),
        "nitrogen_kg_ha": nitrogen_kg_ha,
        "leached_kg_ha": round(abs(float(draw.normal(12, 6))), 1),
        "profit_usd_ha": round(profit, 2),
    }


def fleet(season: int, version: str, fields: int = 24, extra_usd_ha: float = 0.0) -> FleetRun:
    """A season of the fleet that lost nothing."""
    return FleetRun(
        period=season,
        devices=fields,
        recommendations=fields * 160,
        records_collected=fields * 330,
        records_rejected=0,
        bytes_collected=fields * 172_000,
        error=1.31 if version == "1" else 1.12,
        latency_p50_ms=2.31,
        latency_p99_ms=4.87,
        model_version=version,
        outcomes=outcomes("fieldloop", season, fields, extra_usd_ha),
        records_selected=fields * 92,
        records_acknowledged=fields * 92,
        bytes_sent=fields * 9_800,
        batches=fields,
    )


def story(season: int = 2006, version: str = "1", fields: int = 24, extra_usd_ha: float = 0.0) -> PeriodStory:
    """A season as the loop would tell it; `extra_usd_ha` is given to Fieldloop's fields."""
    records = fields * 92
    scores = scored(1.24 if version == "1" else 1.17)
    batches = tuple(f"{season}{number:060x}" for number in range(fields))
    return PeriodStory(
        fleet=fleet(season, version, fields, extra_usd_ha).as_record(YIELD_ERROR),
        baselines={name: outcomes(name, season, fields) for name in OTHERS},
        ingest=_ingest(batches, season, records).as_dict(),
        account=asdict(Account(records, records - 4, 4, ())),
        registered=asdict(registered(version)),
        verdict=Verdict(True, *_gate(version, scores)).as_dict(),
        compressed=COMPRESSED.as_dict(),
        released=asdict(Released(version, f"{int(version):x}" * 64, 181_442, int(version))),
        data_hash=f"{int(version):032x}.dir",
        data_hash_after=f"{int(version) + 1:032x}.dir",
        validation=VALIDATION.as_dict(),
        snapshot_note="data/seasons.dvc is left uncommitted; to keep this version: git add data/seasons.dvc",
        trace=_trace(season, version, batches),
    )


def registered(version: str, is_champion: bool = True) -> Registered:
    return Registered(
        name="agriculture",
        version=version,
        is_champion=is_champion,
        reason="promoted",
        contract_hash=CONTRACT_HASH,
        data_hash=f"{int(version):032x}.dir",
        git_commit="fe514c9" * 5 + "fe514",
        mlflow_run_id=f"{int(version):x}" * 32,
        checkpoint=f".fieldloop/runs/{version}/last.ckpt",
    )


def scored(yield_rmse_t_ha: float) -> Scores:
    figures = {
        YIELD_ERROR.key: yield_rmse_t_ha,
        **{"yield_bias_t_ha": -0.11, "interval_coverage_pct": 78.6, "water_to_come_rmse_mm": 41.0},
        **{"field_seasons": 64, "examples": 9_900},
    }
    return Scores(YIELD_ERROR, np.full(64, yield_rmse_t_ha**2), figures)


def _gate(version: str, scores: Scores) -> tuple[Any, ...]:
    if version == "1":
        return ("promoted: there is no champion on this contract to compare with", scores, None, None, None, None, None)
    reason = (
        "promoted: held-out yield error -5.6 % against version 1 (90 % interval -9.0 to -1.9 %); "
        "promoted when it is lower, or surely under +2 %"
    )
    return reason, scores, scored(1.24), "1", -5.6, -9.0, -1.9


def _ingest(batches: tuple[str, ...], season: int, records: int) -> IngestReport:
    return IngestReport(
        batches=batches,
        refused={},
        tables={
            "readings": TableCounts(records // 2, records // 2 - 4, 0, 4),
            "recommendations": TableCounts(records // 2, records // 2, 0, 0),
        },
        periods=(season,),
        quarantine_files=(Path("data/quarantine/batch-2006/readings.parquet"),),
        docs_index=Path(".fieldloop/docs/sync/index.html"),
    )


def _trace(season: int, version: str, batches: tuple[str, ...]) -> dict[str, Any]:
    notes = {
        batch: {
            "device_id": f"dev-{number:02d}",
            "bundle_version": version,
            "records": {"fields": 1, "harvests": 1, "operations": 14, "readings": 38, "recommendations": 38},
        }
        for number, batch in enumerate(batches)
    }
    recommendation = {
        "record_id": f"{season}/champion-00/recommendations/{season}-07-14",
        "season": season,
        "region": "champion",
        "field_id": "champion-00",
        "date": f"{season}-07-14",
        "irrigation_mm": 30.0,
        "nitrogen_kg_ha": 0.0,
        "yield_p10_t_ha": 11.2,
        "yield_p50_t_ha": 12.9,
        "yield_p90_t_ha": 14.0,
        "source": "model",
        "model_version": version,
        "contract_hash": CONTRACT_HASH,
        "data_age_days": 1,
        "device_id": "dev-00",
    }
    return {"recommendation": recommendation, "batch_id": batches[0], "batches": notes}


COMPRESSED = Compressed(
    shipped="int8",
    reason="int8 ships: held-out error +0.31 %, 27 % of the bytes, 0.81 of the time",
    path=".fieldloop/models/int8.onnx",
    bytes=118_204,
    int8_bytes=118_204,
    float32_bytes=437_770,
    error_increase_pct=0.31,
    int8_primary=1.244,
    float32_primary=1.240,
    primary=YIELD_ERROR,
    value=PROFIT,
    int8_latency_us=48.2,
    float32_latency_us=59.6,
    batch=12,
)

VALIDATION = ValidationReport(
    tables={
        "fields": TableReport(576, 576, 0, {}),
        "readings": TableReport(80_112, 80_098, 14, {"vwc_15cm_m3_m3 is between 0.0 and 0.75 m3/m3": 14}),
        "operations": TableReport(6_102, 6_102, 0, {}),
        "harvests": TableReport(576, 576, 0, {}),
    },
    docs_index=Path(".fieldloop/docs/history/index.html"),
    quarantine_files=(Path("data/quarantine/history/readings.parquet"),),
)
