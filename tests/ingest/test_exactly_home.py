"""What a device stored is in the accepted data bit for bit: over its outbox, the gateway, the inbox and the ingest."""

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.cli import main
from fieldedge.contract import Column, Contract, Record, Table
from fieldedge.contract.batches import open_batch, pack
from fieldedge.device.config import DeviceConfig, DeviceDirectory, read_config, write_config
from fieldedge.storage.store import Store, _record_json
from fieldedge.system.instants import instant_utc, parse_instant
from fieldedge.system.keys import load_key
from fieldedge.transfer.acknowledgements import Acknowledger
from fieldedge.transfer.outbox import Outbox
from fieldedge.transfer.packing import Packer
from fieldedge.transfer.uploads import Gateway, sync
from fieldedge.workloads.agriculture import Agriculture
from fieldloop.core.http_server import HttpServer
from fieldloop.gateway.app import create_app
from fieldloop.release import ReleaseRepository
from fieldloop.validation.typed import conform, to_arrow
from tests.ingest.cloud import Cloud
from tests.sample_season import CONTRACT, field_row, season_rows

DEVICE_ID = "dev-00"
EXACT, SIX, INSTANT = "exact", "six_digits", "measured_utc"
AWKWARD = (
    *(0.1 + 0.2, 1e-300, 5e-324, -0.0, 0.0, 1.0000000000000002, 1764374525.123456, 12345678901234567.0),
    *(1.7976931348623157e308, -2.2250738585072014e-308, 1 / 3, 9007199254740993.0),
)
INSTANTS = (
    "2006-05-01T12:15:00Z",
    "2006-05-01T12:15:00.5Z",
    "2006-05-01T12:15:00.000001Z",
    "2006-05-01T23:59:59.999999Z",
)


def bits(value: float) -> bytes:
    return struct.pack(">d", value)


def six_digits(value: float) -> float:
    """What travels of a value in a column of six digits; the largest floats round up to none and stay."""
    rounded = float(f"{value:.6g}")
    return rounded if math.isfinite(rounded) else value


def with_exact_columns() -> Contract:
    """The contract with columns that agriculture has none of: floats to the last bit, and times."""
    more = (Column(EXACT, "float"), Column(SIX, "float", digits=6), Column(INSTANT, "str"))
    tables = tuple(
        replace(table, columns=(*table.columns, *more)) if table.name == "readings" else table
        for table in CONTRACT.tables
    )
    return replace(CONTRACT, tables=tables, upgrades={})


class Exact(Agriculture):
    """The workload with that contract."""

    contract = with_exact_columns()


@dataclass
class Loop:
    """A device with its own directory, and a cloud with its gateway over real HTTP."""

    device: DeviceDirectory
    cloud: Cloud
    url: str

    def keep(self, tables: dict[str, list[Record]]) -> None:
        with Store(self.device.store) as store:
            for table, records in tables.items():
                for record in records:
                    store.add(table, Exact.contract.table(table).check(record, "test"))

    def send(self) -> Record:
        config = read_config(self.device.settings)
        acknowledger = Acknowledger(self.device, self.url, lambda: datetime.now(UTC))
        with Store(self.device.store) as store:
            packer = Packer(config, Exact(), store, "none", None)
            gateway = Gateway(self.url, DEVICE_ID, load_key(self.device.private_key), acknowledger)
            return sync(store, Outbox(self.device.outbox, store), packer, gateway)


@pytest.fixture
def loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Loop]:
    cloud, device = Cloud(tmp_path, Exact.contract), DeviceDirectory(tmp_path / "device")
    root = ReleaseRepository(tmp_path / "tuf").trusted_root()
    arguments = ["--device-id", DEVICE_ID, "--workload", "agriculture", "--root", str(root)]
    assert main(["init", "--dir", str(device.root), *arguments]) == 0
    cloud.registry.register({DEVICE_ID: json.loads(capsys.readouterr().out)["public_key"]})
    write_config(device.settings, DeviceConfig(DEVICE_ID, "agriculture", upload_budget_bytes=100_000))
    with HttpServer(create_app(tmp_path / "tuf", cloud.inbox_dir, cloud.registry.path)) as server:
        yield Loop(device, cloud, server.url)


def season_of_exact_values() -> dict[str, list[Record]]:
    tables = season_rows(field_row(device_id=DEVICE_ID), days=len(AWKWARD))
    for number, reading in enumerate(tables["readings"]):
        reading |= {
            EXACT: AWKWARD[number],
            SIX: AWKWARD[number],
            INSTANT: INSTANTS[number % len(INSTANTS)],
        }
    return tables


def check_exact(found: list[Record]) -> None:
    assert [bits(row[EXACT]) for row in found] == [bits(value) for value in AWKWARD]
    assert [bits(row[SIX]) for row in found] == [bits(six_digits(value)) for value in AWKWARD]
    assert [row[INSTANT] for row in found] == [INSTANTS[number % len(INSTANTS)] for number in range(len(AWKWARD))]
    assert all(instant_utc(parse_instant(row[INSTANT])) == row[INSTANT] for row in found)


def test_floats_and_times_come_home_bit_for_bit(loop: Loop) -> None:
    tables = season_of_exact_values()
    loop.keep(tables)
    report = loop.send()
    count = sum(len(rows) for rows in tables.values())
    assert report["records_acknowledged"] == report["records_collected"] == count
    ingested = loop.cloud.ingest()
    assert (ingested.records_accepted, ingested.records_quarantined, dict(ingested.refused)) == (count, 0, {})
    check_exact(loop.cloud.store.read("readings").sort_values("date").to_dict("records"))
    (file,) = loop.cloud.store.root.rglob("readings*.parquet")
    check_exact(sorted(pq.ParquetFile(file).read().to_pylist(), key=lambda row: row["date"]))


def test_the_same_values_again_are_duplicates_and_a_last_bit_makes_a_difference(loop: Loop) -> None:
    tables = season_of_exact_values()
    sender = loop.cloud.sender("dev-01")
    rows = {"fields": [field_row(1, device_id="dev-01")]}
    rows["readings"] = [
        {**row, "record_id": row["record_id"].replace("-00", "-01", 1), "field_id": rows["fields"][0]["field_id"]}
        for row in tables["readings"][:1]
    ]
    sender.send(sender.batch(rows, Exact.contract))
    loop.cloud.ingest()
    sender.send(sender.batch(rows, Exact.contract, summary={"sent": "again"}))
    again = loop.cloud.ingest()
    assert (again.records_accepted, again.records_duplicate, again.records_quarantined) == (0, 2, 0)
    rows["readings"][0][EXACT] = math.nextafter(AWKWARD[0], 1.0)
    sender.send(sender.batch(rows, Exact.contract))
    differing = loop.cloud.ingest()
    assert (differing.records_duplicate, differing.records_quarantined) == (1, 1)


FINITE = st.floats(allow_nan=False, allow_infinity=False)
MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(2100, 12, 31), timezones=st.just(UTC))


@given(st.lists(st.tuples(FINITE | st.sampled_from(AWKWARD), MOMENTS), min_size=1, max_size=20))
def test_every_bit_and_microsecond_survives_store_json_batch_frame_and_parquet(
    rows: list[tuple[float, datetime]],
) -> None:
    table = Table("readings", (Column(EXACT, "float"), Column(SIX, "float", digits=6), Column(INSTANT, "str")), ())
    records = [{EXACT: value, SIX: value, INSTANT: instant_utc(moment)} for value, moment in rows]
    stored = [json.loads(_record_json(record)) for record in records]
    _, tables = open_batch(pack({}, {"readings": stored}, Contract("any", 1, (table,), (), ())))
    frame = pd.DataFrame(
        {name: pd.Series(tables["readings"].column(name), dtype=object) for name in table.column_names}
    )
    typed, problems = conform(table, frame)
    assert not problems.any()
    buffer = BytesIO()
    pq.write_table(to_arrow(table, typed), buffer)
    found = pq.read_table(buffer).to_pylist()
    assert [bits(row[EXACT]) for row in found] == [bits(value) for value, _ in rows]
    assert [bits(row[SIX]) for row in found] == [bits(six_digits(value)) for value, _ in rows]
    assert [parse_instant(row[INSTANT]) for row in found] == [moment for _, moment in rows]
