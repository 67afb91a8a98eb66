"""Numbers that do not come home as they were, and machines whose speed decides what comes home at all."""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.attacks import Outcome, attack
from benchmarks.attacks.ingestion import DAYS, FIELD, OWNER, SEASON, Cloud, Tables, row_of, season
from fieldedge.contract import Column, Contract, Record
from fieldedge.device.config import DeviceConfig
from fieldedge.inference.loading import LoadedModel
from fieldedge.inference.model import Model
from fieldedge.inference.slots import Installed
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.system.keys import public_key_hex
from fieldedge.transfer.outbox import Outbox
from fieldedge.transfer.packing import Packer
from fieldedge.workload import Workload
from fieldedge.workloads.agriculture import Agriculture
from fieldloop.data import AcceptedStore
from fieldloop.ingest.accept import ingest_batches
from tests.edge.sample import AGRICULTURE, DEVICE_ID, onnx_model, season_messages
from tests.sample_season import TODAY

EPOCH = Column("logger_epoch_s", "float", "s", 0.0, 4e9)
BUDGETS_BYTES = range(2_000, 5_000, 600)
SLOWEST_S = 0.02


class Exact(Agriculture):
    """The same tables, whose columns ask for every digit; each has a logger's clock beside."""

    contract = replace(
        AGRICULTURE.contract,
        upgrades={},
        tables=tuple(
            replace(table, columns=(*(replace(column, digits=None) for column in table.columns), EPOCH))
            for table in AGRICULTURE.contract.tables
        ),
    )


@attack(
    line=14,
    words="awkward floats and epoch seconds in every table, through store, batch and ingestion",
    at_most_s=600.0,
)
def awkward_floats(scratch: Path) -> Outcome:
    """Exactly, where a column asks for no digits; else with those that it asks for, whatever its table is called."""
    changed = values = 0
    for workload in (Exact(), AGRICULTURE):
        folder = scratch / type(workload).__name__
        tables = {name: [_awkward(row, workload.contract, n) for n, row in enumerate(rows)] for name, rows in _told()}
        home = _sent_home(folder, workload, tables)
        for name, rows in tables.items():
            floats = [column for column in workload.contract.table(name).columns if column.kind == "float"]
            for row in rows:
                came = home.get(row["record_id"], {})
                values += len(floats)
                changed += sum(not _is_as_asked(row[column.name], came.get(column.name), column) for column in floats)
    return Outcome(0, changed, f"{values} floats, {changed} came home otherwise")


@attack(line=14, words="the same season on a fast and a slow machine, under five upload budgets", at_most_s=600.0)
def slow_machine(scratch: Path) -> Outcome:
    """The same bytes are sent, and accepted data is the same to the last byte, so that its hash is."""
    stores = {name: scratch / name / "store.db" for name in ("fast", "slow")}
    latencies = [_lived(path, is_slow=name == "slow") for name, path in stores.items()]
    if latencies[0] == latencies[1]:
        raise RuntimeError("the decisions took the same time on both machines: nothing could differ")
    key = Ed25519PrivateKey.generate()
    batches, accepted = [], []
    for name, path in stores.items():
        packed = [_packed(path, scratch / name / str(budget), budget) for budget in BUDGETS_BYTES]
        cloud = Cloud(scratch / name / "cloud")
        cloud.keys[DEVICE_ID] = key
        cloud.registry.register({DEVICE_ID: public_key_hex(key)})
        cloud.keep(DEVICE_ID, packed[-1])
        cloud.ingest()
        batches.append(packed)
        accepted.append(_digests(cloud.store.root))
    other = sum(fast != slow for fast, slow in zip(*batches, strict=True))
    files = {name for digests in accepted for name in digests}
    if not any(name.endswith(".parquet") for name in files):
        raise RuntimeError("no accepted data")
    differ = sum(accepted[0].get(name) != accepted[1].get(name) for name in files)
    detail = f"{other} of {len(BUDGETS_BYTES)} batches and {differ} of {len(files)} accepted files differ"
    return Outcome(other + differ, 0, detail)


def _told() -> Iterator[tuple[str, list[Record]]]:
    yield from season(OWNER).items()
    yield "operations", [row_of("operations", OWNER, FIELD, DAYS[0])]


def _awkward(row: Record, contract: Contract, number: int) -> Record:
    """The record with every float a little beside itself, so that it takes all its digits to say it."""
    beside = (math.nextafter(1.0, 2.0), math.nextafter(1.0, 0.0), 1.0 + 1e-9, 1.0 - 1.0 / 3e7)
    floats = {name: value for name, value in row.items() if isinstance(value, float)}
    awkward: dict[str, Any] = {
        name: value * beside[(number + place) % len(beside)] for place, (name, value) in enumerate(floats.items())
    }
    if any(EPOCH in table.columns for table in contract.tables):
        awkward[EPOCH.name] = 1_147_000_000.1 + 86_400.123456 * number
    return row | awkward


def _sent_home(folder: Path, workload: Workload, tables: Tables) -> dict[str, Record]:
    """Store, pack, keep, ingest; what is accepted, by identity."""
    folder.mkdir()
    config = DeviceConfig(OWNER, workload.name, upload_budget_bytes=1_000_000)
    with Store(folder / "store.db") as store:
        for name, rows in tables.items():
            for row in rows:
                store.add(name, workload.contract.table(name).check(row, name))
        outbox = Outbox(folder / "outbox", store)
        Packer(config, workload, store, "1", None).prepare(outbox, str(SEASON))
        ((_, data),) = outbox.waiting()
    cloud = Cloud(folder)
    cloud.store = AcceptedStore(folder / "data" / "seasons", workload.contract)
    cloud.keep(OWNER, data)
    ingest_batches(folder / "inbox", cloud.registry.path, cloud.store, cloud.quarantine, workload.contract, TODAY)
    return {row["record_id"]: row for name in tables for row in cloud.store.read(name).to_dict("records")}  # type: ignore[misc]


def _is_as_asked(stored: float, came: Any, column: Column) -> bool:
    if not isinstance(came, float):
        return False
    if column.digits is None:
        return came == stored
    return came == float(f"{stored:.{column.digits}g}")


class _AtItsOwnSpeed:
    """A model that takes its time, another one with each call."""

    def __init__(self, model: Model, is_slow: bool) -> None:
        self._model, self._is_slow, self._calls = model, is_slow, 0

    def predict(self, features: Any) -> Any:
        self._calls += 1
        until_s = time.perf_counter() + (SLOWEST_S * (self._calls * 7 % 10) / 10 if self._is_slow else 0.0)
        while time.perf_counter() < until_s:
            continue
        return self._model.predict(features)


def _lived(path: Path, is_slow: bool) -> list[float]:
    """A season on a machine; how long each decision took, milliseconds."""
    path.parent.mkdir(parents=True)
    model = _AtItsOwnSpeed(Model(onnx_model(AGRICULTURE.contract), AGRICULTURE.contract), is_slow)
    loaded = LoadedModel(Installed("a", "1", "float32", "", ""), cast("Model", model), None)
    with Store(path) as store:
        agent = Agent(DeviceConfig(DEVICE_ID, "agriculture"), AGRICULTURE, store, loaded)
        for _ in agent.answers(json.dumps(message) for message in season_messages(60, SEASON)):
            continue
        return [record["latency_ms"] for record in store.records(str(SEASON), "recommendations")]


def _packed(lived: Path, folder: Path, budget_bytes: int) -> bytes:
    folder.mkdir()
    shutil.copy(lived, folder / "store.db")
    config = DeviceConfig(DEVICE_ID, "agriculture", upload_budget_bytes=budget_bytes)
    with Store(folder / "store.db") as store:
        outbox = Outbox(folder / "outbox", store)
        Packer(config, AGRICULTURE, store, "1", None).prepare(outbox, str(SEASON))
        ((_, data),) = outbox.waiting()
    return data


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
