"""Batches of another contract: a former one's are read as today's, an unknown one's wait; none is lost or refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from fieldedge.contract import Column, Contract, Record
from fieldedge.contract.batches import pack
from fieldedge.workloads import known_workload, workload_names
from tests.ingest.cloud import Cloud, outcome_of
from tests.sample_season import CONTRACT as FORMER
from tests.sample_season import SEASON, Sender


def _weighed(table: str, record: Record) -> Record:
    return record | {"is_weighed": int(record["yield_t_ha"] > 0)} if table == "harvests" else record


TODAY: Contract = replace(
    FORMER,
    revision=FORMER.revision + 50,
    tables=tuple(
        replace(table, columns=(*table.columns, Column("is_weighed", "int", minimum=0, maximum=1)))
        if table.name == "harvests"
        else table
        for table in FORMER.tables
    ),
    upgrades={FORMER.hash: _weighed},
)
UNKNOWN = "9" * 64


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path, TODAY)


def of_today(sender: Sender, tables: dict[str, list[Record]]) -> bytes:
    header = {"device_id": sender.device_id, "workload": TODAY.workload, "contract_hash": TODAY.hash, "season": SEASON}
    return pack(header, tables, TODAY)


def test_a_batch_of_a_former_contract_goes_the_normal_way_and_is_noted_with_its_own(cloud: Cloud) -> None:
    sender = cloud.sender()
    batch = sender.send(sender.batch(outcome_of()))
    report = cloud.ingest()
    assert (report.records_accepted, report.refused, report.waiting) == (2, {}, {})
    assert list(cloud.store.read("harvests")["is_weighed"]) == [1]
    assert cloud.store.noted_batches()[batch]["contract_hash"] == FORMER.hash
    assert cloud.account(SEASON).missing == ()


def test_batches_of_former_and_of_todays_contract_meet(cloud: Cloud) -> None:
    older, newer = cloud.sender(), cloud.sender("dev-01")
    older.send(older.batch(outcome_of()))
    tables = outcome_of("dev-01", 1)
    tables["harvests"][0]["is_weighed"] = 0
    newer.send(of_today(newer, tables))
    assert cloud.ingest().records_accepted == 4
    assert sorted(cloud.store.read("harvests")["is_weighed"]) == [0, 1]


def test_a_former_record_that_cannot_be_read_is_quarantined_alone(cloud: Cloud) -> None:
    sender, tables = cloud.sender(), outcome_of()
    tables["harvests"][0]["yield_t_ha"] = ["much"]
    tables["fields"].append(outcome_of(number=1)["fields"][0])
    sender.send(sender.batch(tables))
    report = cloud.ingest()
    assert (report.records_received, report.records_accepted, report.records_quarantined) == (3, 2, 1)
    assert "cannot be read as today's" in cloud.quarantined()[tables["harvests"][0]["record_id"]]
    assert cloud.account(SEASON).missing == ()


def test_a_batch_of_an_unknown_contract_waits_counted_and_told_and_is_neither_lost_nor_refused(cloud: Cloud) -> None:
    ahead, good = cloud.sender(), cloud.sender("dev-01")
    batch = ahead.send(ahead.batch(outcome_of(), contract_hash=UNKNOWN))
    good.send(good.batch(outcome_of("dev-01", 1)))
    for accepted in (2, 0):
        report = cloud.ingest()
        assert (report.records_accepted, report.refused) == (accepted, {})
        assert list(report.waiting) == [f"dev-00/{batch}"]
        assert "2 records are of the contract 999999999999…" in report.waiting[f"dev-00/{batch}"]
        assert report.as_dict()["waiting"] == report.waiting
    account = cloud.account(SEASON)
    assert (account.received, account.missing, account.records_waiting) == (2, (), 2)
    assert list(account.waiting) == [f"dev-00/{batch}"]
    assert cloud.waiting() == [f"dev-00/{batch}"]


def test_a_waiting_batch_gets_in_once_its_contract_is_known(tmp_path: Path) -> None:
    before = Cloud(tmp_path, FORMER)
    sender, tables = before.sender(), outcome_of()
    tables["harvests"][0]["is_weighed"] = 1
    sender.send(of_today(sender, tables))
    assert len(before.ingest().waiting) == 1
    upgraded = Cloud(tmp_path, TODAY)
    assert upgraded.ingest().records_accepted == 2
    assert upgraded.account(SEASON).waiting == {}


def test_a_stranger_cannot_make_a_batch_wait(cloud: Cloud) -> None:
    sender = cloud.sender()
    sender.send(sender.batch(outcome_of(), contract_hash=UNKNOWN, device_id="dev-07"))
    sender.send(sender.batch(outcome_of(), contract_hash="not a hash"))
    report = cloud.ingest()
    assert (len(report.refused), report.waiting) == (2, {})


def test_batches_that_a_version_brought_back_does_not_know_come_again(cloud: Cloud) -> None:
    sender = cloud.sender()
    sender.send(sender.batch(outcome_of()))
    cloud.ingest()
    for path in cloud.store.root.rglob("*"):
        if path.is_file():
            path.unlink()
    assert cloud.ingest().records_accepted == 2
    assert cloud.account(SEASON).missing == ()


def test_every_workload_reads_each_contract_that_it_names() -> None:
    for workload in map(known_workload, workload_names()):
        assert all(workload.contract.reads(former) for former in workload.contract.upgrades)
