"""Where a workload has many windows a day, what is chosen to go home is moments, each whole."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from fieldedge.contract import Record
from fieldedge.contract.batches import unpack
from fieldedge.device.config import DeviceConfig, StoreConfig
from fieldedge.storage.eviction import make_room
from fieldedge.storage.store import Store
from fieldedge.system.clock import format_utc
from fieldedge.transfer.outbox import Outbox
from fieldedge.transfer.packing import UNFITTING, Packer
from fieldedge.transfer.selection import DayCandidate, select
from fieldedge.workload import Workload, chosen_roles, chosen_with, merit_by
from fieldedge.workloads import known_workload

MONTH = "200605"
OF = {"month": 200605, "hall": "north", "bearing_id": "b-1"}
START = datetime(2006, 5, 1, tzinfo=UTC)
BUDGET_BYTES = 2_500
CONFIG = DeviceConfig("dev-00", "bearing", upload_budget_bytes=BUDGET_BYTES)
COUNT = 300
TAUGHT = ("windows", "calls", "inspections")


@pytest.fixture
def bearing(installed: Path) -> Workload:
    del installed
    return known_workload("bearing")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db") as store:
        yield store


def moment(number: int) -> str:
    """Minutes of one day."""
    return format_utc(START + timedelta(minutes=number))


def keep(store: Store, bearing: Workload, table: str, at: str, **values: object) -> None:
    contract = bearing.contract
    record = contract.record(table, {**OF, "time_utc": at, **values}, at)
    merit = merit_by(bearing)(table, record)
    record["latency_ms"] = 1.0
    store.add(table, record, merit=merit, day=chosen_with(store, bearing, table, record))


def call(number: int) -> Record:
    features = {f"x_{name}": float(number % 7) for name in ("rms_mm_s", "rise_mm_s", "age_d", "is_stopping")}
    said = {"action": "run", "loss_usd": float(number), "source": "model", "model_version": "1", "data_age_days": 0}
    return {**said, "bundle_sha256": None, "contract_hash": "0" * 64, **features}


def live(store: Store, bearing: Workload, count: int = COUNT, *, is_over: bool = True) -> None:
    """A day of windows, a minute apart: the later, the more its decision would teach. What is found comes later."""
    keep(store, bearing, "bearings", moment(0), device_id=None)
    for number in range(count):
        keep(store, bearing, "windows", moment(number), rms_mm_s=2.0 + number * 0.7548776 % 1.0)
        keep(store, bearing, "calls", moment(number), **call(number))
        keep(store, bearing, "inspections", f"{moment(number)[:-3]}30Z", wear_pct=number % 90)
    if is_over:
        keep(store, bearing, "lives", moment(count), life_d=1)


def send(store: Store, bearing: Workload, folder: Path, config: DeviceConfig = CONFIG) -> list[dict[str, list[Record]]]:
    """The tables of each batch that goes now, and is acknowledged."""
    outbox, packer = Outbox(folder, store), Packer(config, bearing, store, "1", None)
    packer.prepare(outbox, MONTH)
    sent = outbox.waiting()
    for batch, _ in sent:
        outbox.acknowledged(batch.batch_id)
    return [unpack(data)["tables"] for _, data in sent]


def minutes(rows: list[Record]) -> list[str]:
    return [row["time_utc"][:16] for row in rows]


def test_a_day_that_fits_nowhere_goes_by_its_best_moments_each_whole_and_once(
    store: Store, bearing: Workload, tmp_path: Path
) -> None:
    live(store, bearing)
    config = replace(CONFIG, audit_fraction=0.0)
    (tables,) = send(store, bearing, tmp_path, config)
    sent = minutes(tables["calls"])
    assert sent == minutes(tables["windows"]) == minutes(tables["inspections"])
    assert 10 < len(sent) < COUNT
    assert 0.9 * BUDGET_BYTES < store.bytes_prepared(MONTH) <= BUDGET_BYTES
    assert sum(at > moment(COUNT // 2) for at in sent) > 0.6 * len(sent), "the most teaching first"
    keep(store, bearing, "inspections", f"{sent[0]}:45Z", wear_pct=3.0)
    keep(store, bearing, "inspections", f"{moment(1)[:16]}:45Z", wear_pct=3.0)
    assert [minutes(one["inspections"]) for one in send(store, bearing, tmp_path, config)] == [sent[:1]]
    assert send(store, bearing, tmp_path, config) == []


def test_what_a_former_agent_kept_under_its_day_goes_by_moments_too(
    store: Store, bearing: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tests.workloads.test_chosen_moments.chosen_with", lambda *_: "2006-05-01")
        live(store, bearing)
    (tables,) = send(store, bearing, tmp_path)
    assert 10 < len(tables["calls"]) < COUNT and minutes(tables["calls"]) == minutes(tables["windows"])


def test_a_decision_on_request_goes_with_the_observation_that_it_saw(
    store: Store, bearing: Workload, tmp_path: Path
) -> None:
    keep(store, bearing, "bearings", moment(0), device_id=None)
    for number in range(0, 3000, 10):
        keep(store, bearing, "windows", moment(number), rms_mm_s=2.0)
        keep(store, bearing, "calls", moment(number + 7), **call(number // 10))
    keep(store, bearing, "lives", moment(3000), life_d=1)
    (tables,) = send(store, bearing, tmp_path, replace(CONFIG, upload_budget_bytes=1_500))
    assert 1 < len(tables["calls"]) < 300
    assert [f"{at[:15]}0" for at in minutes(tables["calls"])] == minutes(tables["windows"])


def test_a_budget_into_which_no_moment_fits_is_told_with_what_would_do(
    store: Store, bearing: Workload, tmp_path: Path
) -> None:
    live(store, bearing, 5)
    packer = Packer(replace(CONFIG, upload_budget_bytes=100), bearing, store, "1", None)
    assert packer.prepare(Outbox(tmp_path, store), MONTH), "what always goes"
    (said,) = packer.unfitting
    assert [event["text"] for event in store.events(9, UNFITTING)] == [said]
    assert store.states()["stored"] == 3 * 5
    enough = int(said.removesuffix(" or more").rpartition(" ")[2])
    assert send(store, bearing, tmp_path, replace(CONFIG, upload_budget_bytes=enough))[-1].keys() >= set(TAUGHT)


def test_moments_go_from_a_full_store_by_the_same_units_as_they_are_sent(store: Store, bearing: Workload) -> None:
    live(store, bearing)
    keep(store, bearing, "windows", "2006-05-02T00:00:00Z", rms_mm_s=2.0)
    later = {**OF, "month": 200606, "time_utc": "2006-06-01T00:00:00Z", "rms_mm_s": 2.0}
    store.add("windows", bearing.contract.record("windows", later, "later"))
    before = store.used_bytes()
    bounds = StoreConfig(before - 20_000, 10_000, 0)
    make_room(store, bearing.contract, bounds, date(2006, 6, 2), chosen_roles=chosen_roles(bearing))
    left = {table: minutes(store.records(MONTH, table)) for table in TAUGHT}
    assert 0 < len(left["calls"]) < COUNT
    assert left["calls"] == [moment(number)[:16] for number in range(COUNT - len(left["calls"]), COUNT)]
    assert set(left["calls"][1:]) <= set(left["windows"]) & set(left["inspections"])


def test_of_thousands_no_more_are_ranked_and_measured_than_may_fit() -> None:
    moments = [DayCandidate(f"{number:05d}", float(number % 97), None) for number in range(20_000)]
    asked: list[int] = []

    def size_bytes(chosen: Sequence[str]) -> int:
        asked.append(len(chosen))
        return 10 * len(chosen)

    for budget_bytes, most in ((1_000, 512), (6_000, 1_024)):
        chosen = select(moments, budget_bytes, 0.1, 0, size_bytes)
        assert len(chosen) == len({one.date for one in chosen}) == budget_bytes // 10
        assert max(asked) <= most and len(asked) < 40
