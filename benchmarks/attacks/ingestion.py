"""A registered device that sends what is not its own, or what is no data at all."""

import http.client
import json
import lzma
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.attacks import Outcome, attack
from fieldedge.contract import Column, Record
from fieldedge.contract.batches import batch_id, pack
from fieldedge.system.keys import public_key_hex, sign
from fieldedge.transfer.usb import UsbStick
from fieldedge.workloads import known_workload
from fieldloop.core.http_server import HttpServer
from fieldloop.data import AcceptedStore
from fieldloop.gateway.app import create_app
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.inbox import Inbox
from fieldloop.gateway.owners import UnitOwners
from fieldloop.gateway.usb import take_in
from fieldloop.ingest.accept import IngestReport, ingest_batches
from fieldloop.ingest.reconcile import Account, reconcile
from fieldloop.release import ReleaseRepository

CONTRACT = known_workload("agriculture").contract
SEASON = 2006
FIELD, OTHER_FIELD = "north-01", "north-02"
OWNER, STRANGER, NEIGHBOUR = "dev-owner", "dev-stranger", "dev-neighbour"
DAYS = tuple(f"{SEASON}-05-{day:02d}" for day in range(1, 11))
NOW = datetime(2006, 11, 1, tzinfo=UTC)
TODAY = date(2007, 1, 15)
Tables = dict[str, list[Record]]
# Values that stand in an order; the others are what is in the middle of their range.
_VALUES: Mapping[str, Any] = {
    "field_capacity_m3_m3": 0.31,
    "wilting_point_m3_m3": 0.15,
    "saturation_m3_m3": 0.46,
    "tmin_c": 12.0,
    "tmax_c": 24.0,
    "planting_date": DAYS[0],
}


class Cloud:
    """Gateway, inbox and accepted data in one folder; the owner's, the stranger's and the neighbour's devices."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.registry = DeviceRegistry(scratch / "devices.json")
        self.keys = {device_id: Ed25519PrivateKey.generate() for device_id in (OWNER, STRANGER, NEIGHBOUR)}
        self.registry.register({device_id: public_key_hex(key) for device_id, key in self.keys.items()})
        self.store = AcceptedStore(scratch / "data" / "seasons", CONTRACT)
        self.quarantine = scratch / "data" / "quarantine"
        self.inbox = Inbox(scratch / "inbox")

    def own(self, field: str, device_id: str) -> None:
        UnitOwners.beside(self.registry.path).register({field: device_id})

    def keep(self, device_id: str, data: bytes) -> None:
        self.inbox.keep(data, device_id, sign(self.keys[device_id], data), NOW)

    def ingest(self) -> IngestReport:
        return ingest_batches(self.scratch / "inbox", self.registry.path, self.store, self.quarantine, CONTRACT, TODAY)

    def account(self) -> Account:
        return reconcile(self.scratch / "inbox", self.store, self.quarantine, SEASON)

    def accepted_of(self, tables: Tables) -> int:
        """How many of these records are accepted as they were sent."""
        found = 0
        for name, rows in tables.items():
            stored = {row["record_id"]: row for row in self.store.read(name).to_dict("records")}
            found += sum(_is_same(row, stored.get(row["record_id"])) for row in rows)
        return found


def season(device_id: str, field_id: str = FIELD) -> Tables:
    """A field, ten readings and a harvest: twelve records."""
    days = {"fields": [None], "readings": list(DAYS), "harvests": [f"{SEASON}-10-10"]}
    return {table: [row_of(table, device_id, field_id, day) for day in of_table] for table, of_table in days.items()}


def batch(device_id: str, tables: Tables, **header: Any) -> bytes:
    return pack(header_of(device_id) | header, tables, CONTRACT)


@attack(line=7, words="a stranger posts the owner's batch over HTTP before the owner does")
def stolen_over_the_link(scratch: Path) -> Outcome:
    cloud, tables = Cloud(scratch), season(OWNER)
    data = batch(OWNER, tables)
    ReleaseRepository(scratch / "tuf")
    with HttpServer(create_app(scratch / "tuf", scratch / "inbox", cloud.registry.path)) as gateway:
        answers = [_post(gateway, cloud, device_id, data) for device_id in (STRANGER, OWNER)]
    return _kept_by_the_owner(cloud, tables, f"answers {answers}")


@attack(line=7, words="a stranger brings the owner's batch on a stick before the owner does")
def stolen_on_a_stick(scratch: Path) -> Outcome:
    cloud, tables = Cloud(scratch), season(OWNER)
    data = batch(OWNER, tables)
    stick = UsbStick(scratch / "stick")
    came = []
    for device_id in (STRANGER, OWNER):
        folder = stick.device(device_id)
        folder.mkdir(parents=True)
        envelope = {"device_id": device_id, "signature": sign(cloud.keys[device_id], data)}
        (folder / f"{batch_id(data)}.json").write_text(json.dumps(envelope))
        (folder / f"{batch_id(data)}.batch").write_bytes(data)
        came.append(take_in(stick, cloud.inbox, cloud.registry, NOW).new)
    return _kept_by_the_owner(cloud, tables, f"new with each {came}")


@attack(line=7, words="a batch that was acknowledged is refused, and nobody is told that it is missing")
def refused_and_forgotten(scratch: Path) -> Outcome:
    cloud, tables = Cloud(scratch), season(OWNER)
    cloud.keep(STRANGER, batch(OWNER, tables))
    cloud.keep(OWNER, b"damaged on the disk")
    cloud.ingest()
    missing = len(cloud.account().missing)
    return Outcome(accepted=0, lost=_count(tables) + 1 - missing, detail=f"{missing} records told as missing")


@attack(line=8, words="forged readings with the owner's record ids, sent first and in the same ingestion")
def forged_readings(scratch: Path) -> Outcome:
    cloud, tables = Cloud(scratch), season(OWNER)
    cloud.own(FIELD, OWNER)
    forged = season(STRANGER, OTHER_FIELD) | {"readings": [row | {"rain_mm": 99.0} for row in tables["readings"]]}
    copied = {"fields": season(STRANGER, OTHER_FIELD)["fields"], "readings": tables["readings"]}
    borrowed = season(STRANGER, OTHER_FIELD)
    for mine, theirs in zip(borrowed["readings"], tables["readings"], strict=True):
        mine["record_id"] = theirs["record_id"]
    for false in (forged, copied, borrowed):
        cloud.keep(STRANGER, batch(STRANGER, false))
    cloud.keep(OWNER, batch(OWNER, tables))
    cloud.ingest()
    believed = int((cloud.store.read("readings")["rain_mm"] == 99.0).sum())
    return Outcome(believed, _count(tables) - cloud.accepted_of(tables), "other values, the same rows, other fields")


@attack(line=8, words="a rival claims the owner's field in the same ingestion")
def rival_claim(scratch: Path) -> Outcome:
    cloud, tables = Cloud(scratch), season(OWNER)
    cloud.own(f"{SEASON}/{FIELD}", OWNER)
    cloud.keep(STRANGER, batch(STRANGER, season(STRANGER)))
    cloud.keep(OWNER, batch(OWNER, tables))
    cloud.ingest()
    believed = int((cloud.store.read("fields")["device_id"] == STRANGER).sum())
    return Outcome(believed, _count(tables) - cloud.accepted_of(tables), "a whole season under the owner's name")


@attack(line=8, words="a stranger claims a field before its owner is registered")
def earlier_claim(scratch: Path) -> Outcome:
    cloud, tables = Cloud(scratch), season(OWNER)
    cloud.keep(STRANGER, batch(STRANGER, season(STRANGER)))
    cloud.ingest()
    cloud.keep(OWNER, batch(OWNER, tables))
    cloud.ingest()
    cloud.own(FIELD, OWNER)
    cloud.ingest()
    believed = int((cloud.store.read("fields")["device_id"] == STRANGER).sum())
    return Outcome(believed, _count(tables) - cloud.accepted_of(tables), "taken back by registering the owner")


@attack(line=9, words="record ids, cells and headers of every type that JSON has")
def wrong_types(scratch: Path) -> Outcome:
    values: tuple[Any, ...] = (None, True, 7, 1e300, 10**400, [], ["x"], {}, {"a": 1}, "x" * 100_000, "\ud800", "\x00")
    hostile = []
    for value in values:
        for column in ("record_id", "season", "field_id", "date", "rain_mm"):
            tables = as_columns(season(STRANGER, OTHER_FIELD))
            readings = tables["readings"]
            readings["rows"][0][readings["columns"].index(column)] = value
            hostile.append(header_of(STRANGER) | {"tables": tables})
        for name in ("season", "device_id", "workload", "contract_hash", "summary", "bundle_version", "tables"):
            hostile.append(header_of(STRANGER) | {"tables": {}} | {name: value})
    return _with_neighbour(Cloud(scratch), [as_json_in_xz(content) for content in hostile], f"{len(hostile)} batches")


@attack(line=9, words="batches of some kB that unpack to gigabytes", at_most_mb=1_000.0)
def bombs(scratch: Path) -> Outcome:
    head = json.dumps(header_of(STRANGER)).encode()[:-1] + b',"tables":{"readings":{"columns":["a"],"rows":['
    pieces = (b"[0],", b"[],", b"{},", b'"",', b"0,", b"[[[[", b" ", b'"\\ud83d\\ude00",')
    made = [lzma.compress(head + piece * (48_000_000 // len(piece)), preset=0) for piece in pieces]
    return _with_neighbour(Cloud(scratch), made, f"{max(map(len, made)):,} bytes at most, 48 MB of JSON each")


def _with_neighbour(cloud: Cloud, hostile: list[bytes], detail: str) -> Outcome:
    """Ingest hostile batches and a good one, twice; what the neighbour lost, and what is nowhere."""
    tables = season(NEIGHBOUR)
    for data in set(hostile):
        cloud.keep(STRANGER, data)
    cloud.keep(NEIGHBOUR, batch(NEIGHBOUR, tables))
    report = cloud.ingest()
    cloud.ingest()
    account = cloud.account()
    nowhere = account.received - account.accepted - account.quarantined - len(account.missing)
    untold = max(0, len(set(hostile)) + 1 - len(report.batches) - len(report.refused))
    lost = _count(tables) - cloud.accepted_of(tables) + nowhere + untold
    return Outcome(0, lost, f"{detail}; {len(report.refused)} refused, {report.records_quarantined} rows quarantined")


def _kept_by_the_owner(cloud: Cloud, tables: Tables, detail: str) -> Outcome:
    cloud.ingest()
    account = cloud.account()
    return Outcome(0, _count(tables) - cloud.accepted_of(tables) + len(account.missing), detail)


def _post(gateway: HttpServer, cloud: Cloud, device_id: str, data: bytes) -> int:
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=30)
    headers = {"Fieldloop-Device": device_id, "Fieldloop-Signature": sign(cloud.keys[device_id], data)}
    connection.request("POST", "/v1/batches", body=data, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def header_of(device_id: str) -> Record:
    return {
        "format": 1,
        "device_id": device_id,
        "workload": CONTRACT.workload,
        "contract_hash": CONTRACT.hash,
        "bundle_version": "1",
        "season": SEASON,
        "summary": {},
    }


def row_of(table: str, device_id: str, field_id: str, day: str | None) -> Record:
    identity = "/".join(str(part) for part in (SEASON, field_id, table, day) if part is not None)
    given = {"record_id": identity, "season": SEASON, "region": "north", "field_id": field_id, "date": day}
    given |= {"device_id": device_id, **_VALUES}
    return {
        column.name: given[column.name] if column.name in given else _middle(column)
        for column in CONTRACT.table(table).columns
    }


def _middle(column: Column) -> Any:
    if column.kind in ("float", "int"):
        middle = ((column.minimum or 0.0) + (column.maximum or 0.0)) / 2
        return int(middle) if column.kind == "int" else round(middle, 2)
    return column.choices[0] if column.choices else "plain"


def as_columns(tables: Tables) -> dict[str, Any]:
    return {
        name: {"columns": list(rows[0]), "rows": [list(row.values()) for row in rows]} for name, rows in tables.items()
    }


def as_json_in_xz(content: Any) -> bytes:
    return lzma.compress(json.dumps(content).encode(errors="surrogatepass"), preset=0)


def _count(tables: Tables) -> int:
    return sum(len(rows) for rows in tables.values())


def _is_same(sent: Record, stored: Mapping[Any, Any] | None) -> bool:
    if stored is None:
        return False
    close: Callable[[Any, Any], bool] = lambda a, b: abs(a - b) < 0.01 * max(1.0, abs(a))  # noqa: E731
    return all(
        close(value, stored[name]) if isinstance(value, float) else value == stored[name]
        for name, value in sent.items()
    )
