"""A device to measure, in a folder of its own, and field-seasons for it to live through."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from fieldedge.device.config import DeviceConfig, DeviceDirectory, write_config
from fieldedge.inference.bundles import open_bundle
from fieldedge.inference.slots import Slots
from fieldedge.system.keys import load_or_create_key
from fieldedge.transfer.updates import install
from fieldedge.workloads import known_workload

ROOT = Path(__file__).resolve().parent.parent.parent
EDGE_PYTHON = ROOT / ".venv-edge" / "bin" / "python"
DEVICE_SIDE = Path(__file__).with_name("device_side.py")
RESULTS = ROOT / "benchmarks" / "results"
DEVICE_ID = "bench-00"
INSTALLED = "2027-04-01T00:00:00Z"
WORKLOAD = known_workload("agriculture")


def newest_bundle() -> Path:
    """The bundle that the last `make season` released."""
    bundles = sorted((ROOT / ".fieldloop" / "bundles").glob("*.zip"), key=lambda path: path.stat().st_mtime)
    if not bundles:
        raise SystemExit("no bundle in .fieldloop/bundles: run `make season` first")
    return bundles[-1]


def make_device(root: Path, settings: str = "", *, is_on_watch: bool = False) -> DeviceDirectory:
    """A provisioned device with the newest bundle installed and confirmed; or once more, on watch beside itself."""
    directory = DeviceDirectory(root)
    root.mkdir(parents=True)
    directory.trust.mkdir()
    load_or_create_key(directory.private_key)
    write_config(directory.settings, DeviceConfig(DEVICE_ID, "agriculture"))
    with directory.settings.open("a", encoding="utf-8") as file:
        file.write(settings)
    slots, bundle = Slots(root), open_bundle(newest_bundle().read_bytes(), WORKLOAD.contract)
    confirmed = install(slots, bundle, WORKLOAD.contract, at=INSTALLED, device_id=DEVICE_ID)
    slots.confirm(confirmed, "it is measured")
    if is_on_watch:
        manifest = replace(bundle.manifest, version=f"{bundle.manifest.version}-watched")
        again = replace(bundle, manifest=manifest, sha256="f" * 64)
        install(slots, again, WORKLOAD.contract, at=INSTALLED, device_id=DEVICE_ID)
    return directory


def field_seasons(count: int) -> Iterator[dict[str, Any]]:
    """Real seasons of the accepted history as messages: each day's decision, then its reading and what was done.

    Each gets a harvest year of its own, counted on from 2020, so that a device can live through them one after another.
    """
    folders = sorted((ROOT / "data" / "seasons").glob("season=*/region=*"))
    if not folders:
        raise SystemExit("no accepted seasons in data/seasons: run `make season` first")
    made = 0
    while made < count:
        for folder in folders:
            fields = pd.read_parquet(folder / "fields.parquet").to_dict("records")
            readings = pd.read_parquet(folder / "readings.parquet")
            for field in fields:
                if made >= count:
                    return
                days = readings[readings.field_id == field["field_id"]].sort_values("date").to_dict("records")
                yield from _season(field, days, 1950 + made % 150)
                made += 1


def _season(field: dict[str, Any], days: list[dict[str, Any]], year: int) -> Iterator[dict[str, Any]]:
    moved = _Moved(year, int(str(field["planting_date"])[:4]))
    yield {"kind": "field", "record": {**moved(field), "device_id": DEVICE_ID, "practice": "fieldloop"}}
    for day in days:
        yield {"kind": "decide", "date": moved.day(str(day["date"])[:10])}
        yield {"kind": "reading", "record": moved(day)}


class _Moved:
    """A season's rows, moved to another year."""

    def __init__(self, year: int, planted: int) -> None:
        self._year, self._planted = year, planted

    def day(self, day: str) -> str:
        moved = f"{self._year + int(day[:4]) - self._planted}{day[4:]}"
        return moved.replace("-02-29", "-02-28")

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        plain = {name: None if pd.isna(value) else value for name, value in row.items()}
        plain["season"] = self._year
        plain["field_id"] = "bench-field"
        for name in ("date", "planting_date"):
            if name in plain:
                plain[name] = self.day(str(plain[name])[:10])
        table = "fields" if "planting_date" in plain else "readings"
        parts = [str(self._year), "bench-field", table, *([plain["date"]] if "date" in plain else [])]
        return {**plain, "record_id": "/".join(parts)}


def write_messages(path: Path, count: int) -> Path:
    """So many field-seasons as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for message in field_seasons(count):
            file.write(json.dumps(message, default=_plain) + "\n")
    return path


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def on_device(what: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a measurement under the device's Python and return what it found."""
    done = subprocess.run(
        [str(EDGE_PYTHON), "-I", str(DEVICE_SIDE), what, str(folder), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    if done.returncode != 0:
        raise SystemExit(f"{what} failed on the device:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
