"""A season's tables, small and plain, for the tests of what happens to data; and batches as devices send them."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldedge.contract import Contract, Record
from fieldedge.contract.batches import batch_id, pack
from fieldedge.system.keys import public_key_hex, sign
from fieldedge.workloads import known_workload
from fieldloop.core.words import Words
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.inbox import Inbox

CONTRACT = known_workload("agriculture").contract
WORDS = Words.of(CONTRACT.episode)
SEASON = 2006
TODAY = date(2007, 1, 15)
RECEIVED = datetime(2006, 11, 1, 12, tzinfo=UTC)

Tables = dict[str, pd.DataFrame]


def field_row(number: int = 0, region: str = "champion", season: int = SEASON, device_id: str | None = None) -> Record:
    field_id = f"{region}-{number:02d}"
    return {
        "record_id": f"{season}/{field_id}/fields",
        "season": season,
        "region": region,
        "field_id": field_id,
        "device_id": device_id,
        "crop": "maize",
        "soil": "Loam",
        "planting_date": f"{season}-05-01",
        "field_capacity_m3_m3": 0.31,
        "wilting_point_m3_m3": 0.15,
        "saturation_m3_m3": 0.46,
        "root_depth_max_m": 1.2,
        "initial_water_pct": None,
        "application_efficiency": 1.0,
        "irrigation_capacity_mm": 30.0,
        "water_allowance_mm": 400.0,
        "grain_price_usd_t": 180.0,
        "water_price_usd_mm": 1.0,
        "nitrogen_price_usd_kg": 1.0,
        "fixed_cost_usd_ha": 1728.0,
        "practice": "calendar" if device_id is None else "fieldloop",
    }


def season_rows(field: Record, days: int = 40) -> dict[str, list[Record]]:
    """The rows of one field's season: a reading a day, an operation a week, a harvest."""
    dates = pd.date_range(field["planting_date"], periods=days).strftime("%Y-%m-%d")
    draw = np.random.default_rng(len(field["field_id"]) + days)
    readings = [
        _dated(field, "readings", day)
        | {
            "tmin_c": round(float(night), 1),
            "tmax_c": round(float(night) + 12.0, 1),
            "rain_mm": 3.0 if number % 5 == 0 else 0.0,
            "et0_mm": 4.5,
            "vwc_15cm_m3_m3": 0.21,
            "vwc_35cm_m3_m3": 0.24,
            "vwc_75cm_m3_m3": None if number % 7 == 3 else 0.26,
            "vwc_105cm_m3_m3": 0.27,
            "ndvi": 0.6 if number % 10 == 0 else None,
            "ndre": 0.3 if number % 10 == 0 else None,
        }
        for number, (day, night) in enumerate(zip(dates, draw.normal(12.0, 3.0, days), strict=True))
    ]
    operations = [
        _dated(field, "operations", day)
        | {"irrigation_mm": 25.0, "nitrogen_kg_ha": 0.0, "source": "practice", "basis": "confirmed"}
        for day in dates[::7]
    ]
    harvest = _dated(field, "harvests", f"{field['season']}-10-10") | {"yield_t_ha": 11.5}
    return {"fields": [field], "readings": readings, "operations": operations, "harvests": [harvest]}


def recommendation_row(field: Record, day: str) -> Record:
    return _dated(field, "recommendations", day) | {
        "irrigation_mm": 20.0,
        "nitrogen_kg_ha": 0.0,
        "yield_p10_t_ha": 9.0,
        "yield_p50_t_ha": 10.5,
        "yield_p90_t_ha": 12.0,
        "source": "model",
        "model_version": "3",
        "bundle_sha256": "b" * 64,
        "contract_hash": CONTRACT.hash,
        "data_age_days": 1,
        **{f"x_{feature.name}": (feature.minimum + feature.maximum) / 2 for feature in CONTRACT.features},
    }


def frames(*fields: Record, days: int = 40) -> Tables:
    """The tables of these fields' seasons."""
    tables: dict[str, list[Record]] = {}
    for field in fields:
        for name, rows in season_rows(field, days).items():
            tables.setdefault(name, []).extend(rows)
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def write_partition(root: Path, tables: Tables, season: int = SEASON, region: str = "champion") -> Path:
    """Write the tables as `season=YYYY/region=R/<table>.parquet`."""
    partition = root / f"season={season}" / f"region={region}"
    partition.mkdir(parents=True, exist_ok=True)
    for name, frame in tables.items():
        frame.to_parquet(partition / f"{name}.parquet", index=False)
    return partition


class Sender:
    """A device as the cloud sees it: a registered key, and signed batches in the inbox."""

    def __init__(self, directory: Path, device_id: str = "dev-00") -> None:
        self.device_id = device_id
        self.inbox_dir = directory / "inbox"
        self.registry_path = directory / "devices.json"
        self._key = Ed25519PrivateKey.generate()
        DeviceRegistry(self.registry_path).register({device_id: public_key_hex(self._key)})

    def batch(self, tables: Mapping[str, list[Record]], contract: Contract = CONTRACT, **header: object) -> bytes:
        content = {
            "device_id": self.device_id,
            "workload": contract.workload,
            "contract_hash": contract.hash,
            "bundle_version": "3",
            "season": SEASON,
            "summary": {},
        }
        return pack(content | header, tables, contract)

    def send(self, data: bytes, received: datetime = RECEIVED) -> str:
        """Put the batch into the inbox as the gateway does, and return its id."""
        Inbox(self.inbox_dir).keep(data, self.device_id, sign(self._key, data), received)
        return batch_id(data)


def _dated(field: Record, table: str, day: str) -> Record:
    return {
        "record_id": CONTRACT.record_id(table, {**field, "date": day}),
        "season": field["season"],
        "region": field["region"],
        "field_id": field["field_id"],
        "date": day,
    }
