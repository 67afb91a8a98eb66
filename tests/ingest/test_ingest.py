"""Ingesting batches: each record exactly once, whatever comes and wherever it stops."""

import json
import lzma
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from fieldedge.contract import Record
from fieldedge.system.errors import ConfigError, DataError
from fieldloop.ingest.accept import IngestReport
from fieldloop.ingest.reconcile import reconcile
from tests.ingest.cloud import Cloud, outcome_of, season_of
from tests.sample_season import SEASON, Sender, recommendation_row


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def with_recommendations(tables: dict[str, list[Record]]) -> dict[str, list[Record]]:
    (field,) = tables["fields"]
    return tables | {"recommendations": [recommendation_row(field, row["date"]) for row in tables["readings"]]}


def test_a_batch_is_stored_noted_and_moved_out_of_the_inbox(cloud: Cloud) -> None:
    sender = cloud.sender()
    batch = sender.send(sender.batch(season_of()))
    report = cloud.ingest()
    assert report.batches == (batch,)
    assert report.records_received == report.records_accepted == 12
    assert report.periods == (SEASON,)
    assert cloud.waiting() == []
    assert (cloud.inbox_dir / "dev-00" / "ingested" / f"{batch}.batch").is_file()
    assert cloud.store.noted_batches()[batch]["device_id"] == "dev-00"
    assert reconcile(cloud.inbox_dir, cloud.store, cloud.quarantine_dir, SEASON).missing == ()
    assert len(cloud.store.read("readings")) == 8


@pytest.mark.slow
def test_records_that_came_before_are_duplicates_and_change_no_byte(cloud: Cloud) -> None:
    sender = cloud.sender()
    sender.send(sender.batch(outcome_of()))
    cloud.ingest()
    before = cloud.content()
    sender.send(sender.batch(outcome_of(), summary={"sent": "again, in another batch"}))
    report = cloud.ingest()
    assert (report.records_accepted, report.records_duplicate) == (0, 2)
    after = cloud.content()
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2  # the second batch's note, and what records it brought


def test_the_same_record_in_two_waiting_batches_is_accepted_once(cloud: Cloud) -> None:
    sender = cloud.sender()
    sender.send(sender.batch(outcome_of()))
    sender.send(sender.batch(outcome_of(), summary={"n": 2}))
    report = cloud.ingest()
    assert (report.records_received, report.records_accepted, report.records_duplicate) == (4, 2, 2)


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("fields stored", marks=pytest.mark.slow),
        "all stored",
        pytest.param("noted", marks=pytest.mark.slow),
        pytest.param("batch moved", marks=pytest.mark.slow),
    ],
)
def test_a_crash_between_any_two_steps_is_mended_by_running_again(
    cloud: Cloud, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = cloud.sender()
    batch = sender.send(sender.batch(outcome_of()))
    with monkeypatch.context() as patch:
        patch.setattr(*CRASHES[step](cloud))
        with pytest.raises(KeyboardInterrupt):
            cloud.ingest()
    cloud.ingest()
    assert cloud.waiting() == []
    ingested = cloud.inbox_dir / "dev-00" / "ingested"
    assert sorted(path.name for path in ingested.iterdir()) == [f"{batch}.batch", f"{batch}.json"]
    assert len(cloud.store.read("harvests")) == 1
    account = reconcile(cloud.inbox_dir, cloud.store, cloud.quarantine_dir)
    assert (account.received, account.accepted, account.missing) == (2, 2, ())


def _crash_after_fields(cloud: Cloud) -> tuple[object, str, Callable[..., object]]:
    real = cloud.store.accept

    def accept(table: str, frame: pd.DataFrame, came_with: str) -> object:
        outcome = real(table, frame, came_with)
        if table == "fields":
            raise KeyboardInterrupt
        return outcome

    return cloud.store, "accept", accept


def _crash(cloud: Cloud, name: str, is_after: bool) -> tuple[object, str, Callable[..., object]]:
    real = getattr(cloud.store, name)

    def crash(*arguments: object) -> None:
        if is_after:
            real(*arguments)
        raise KeyboardInterrupt

    return cloud.store, name, crash


def _crash_between_the_two_moves(cloud: Cloud) -> tuple[object, str, Callable[..., object]]:
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.parent == cloud.inbox_dir / "dev-00" and self.suffix == ".json":
            raise KeyboardInterrupt
        return real(self, target)

    return Path, "replace", replace


CRASHES: dict[str, Callable[[Cloud], tuple[object, str, Callable[..., object]]]] = {
    "fields stored": _crash_after_fields,
    "all stored": lambda cloud: _crash(cloud, "note_batch", is_after=False),
    "noted": lambda cloud: _crash(cloud, "note_batch", is_after=True),
    "batch moved": _crash_between_the_two_moves,
}


@pytest.mark.slow
def test_bad_rows_go_to_quarantine_with_the_reason_and_the_rest_is_accepted(cloud: Cloud) -> None:
    sender, tables = cloud.sender(), with_recommendations(season_of())
    first, second, third, fourth = (row["record_id"] for row in tables["readings"][:4])
    tables["readings"][0]["rain_mm"] = -4.0
    tables["readings"][1]["tmax_c"] = "warm"
    tables["readings"][2]["tmin_c"] = None
    tables["readings"][3]["region"] = "half a pair"
    tables["recommendations"][0]["yield_p10_t_ha"] = 30.0
    sender.send(_with_text_replaced(sender.batch(tables), '"half a pair"', r'"\ud800"'))
    report = cloud.ingest()
    assert (report.records_accepted, report.records_quarantined) == (15, 5)
    reasons = cloud.quarantined()
    assert len(cloud.store.read("recommendations")) == 7
    assert reasons[first] == "rain_mm is between 0 and 450 mm/day"
    assert reasons[second] == "tmax_c is 'warm', not a number"
    assert reasons[third] == "tmin_c is present"
    assert "region is '\\ud800', not a text" in reasons[fourth]
    assert reasons[tables["recommendations"][0]["record_id"]] == "yield_p50_t_ha is not below yield_p10_t_ha"
    account = reconcile(cloud.inbox_dir, cloud.store, cloud.quarantine_dir)
    assert (account.accepted, account.quarantined, account.missing) == (15, 5, ())


@pytest.mark.slow
def test_a_record_that_contradicts_an_accepted_one_is_quarantined_and_the_old_one_kept(cloud: Cloud) -> None:
    sender = cloud.sender()
    sender.send(sender.batch(outcome_of()))
    cloud.ingest()
    before = cloud.store.read("harvests")
    changed = outcome_of()
    changed["harvests"][0]["yield_t_ha"] = 3.0
    sender.send(sender.batch(changed))
    report = cloud.ingest()
    assert (report.records_duplicate, report.records_quarantined) == (1, 1)
    pd.testing.assert_frame_equal(cloud.store.read("harvests"), before)


@pytest.mark.parametrize(
    ("table", "day", "planting"),
    [
        ("harvests", "2005-10-10", "2006-05-01"),
        ("readings", "2006-04-30", "2006-05-01"),
        ("operations", "2006-12-31", "2005-11-25"),  # 401 days after planting
    ],
)
def test_a_row_of_a_day_outside_its_season_is_quarantined_in_plain_words(
    cloud: Cloud, table: str, day: str, planting: str
) -> None:
    sender, tables = cloud.sender(), season_of()
    sender.send(sender.batch({"fields": [tables["fields"][0] | {"planting_date": planting}]}))
    cloud.ingest()
    row = tables[table][0]
    row = row | {"record_id": row["record_id"].replace(row["date"], day), "date": day}
    sender.send(sender.batch({table: [row]}))
    report = cloud.ingest()
    assert (report.records_accepted, report.records_quarantined) == (0, 1)
    assert cloud.quarantined()[row["record_id"]] == (
        "date is not before planting_date of the row's season and field_id, and at most 400 days after it"
    )


def test_a_row_of_the_first_or_the_last_day_of_its_season_is_accepted(cloud: Cloud) -> None:
    sender, tables = cloud.sender(), season_of()
    first = tables["operations"][0]
    last = first | {"record_id": first["record_id"].replace("2006-05-01", "2006-06-05"), "date": "2006-06-05"}
    early = first | {"record_id": first["record_id"].replace("2006-05-01", "2005-05-01"), "date": "2005-05-01"}
    sender.send(
        sender.batch({"fields": [tables["fields"][0] | {"planting_date": "2005-05-01"}], "operations": [last, early]})
    )
    assert cloud.ingest().records_accepted == 3


@pytest.mark.parametrize("is_in_one_batch", [True, False])
def test_a_second_harvest_of_a_season_is_quarantined_and_the_first_stands(cloud: Cloud, is_in_one_batch: bool) -> None:
    sender, tables = cloud.sender(), outcome_of()
    (first,) = tables["harvests"]
    second = first | {"record_id": "2006/champion-00/harvests/2006-09-09", "date": "2006-09-09", "yield_t_ha": 2.0}
    sender.send(sender.batch({**tables, "harvests": [first, second] if is_in_one_batch else [first]}))
    report = cloud.ingest()
    if not is_in_one_batch:
        sender.send(sender.batch({"harvests": [second]}))
        report = cloud.ingest()
    assert report.records_quarantined == 1
    assert list(cloud.store.read("harvests")["yield_t_ha"]) == [11.5]
    said = "another row of this season and field_id is accepted, and there is one for each"
    assert cloud.quarantined() == {second["record_id"]: said}
    account = cloud.account(SEASON)
    assert (account.received, account.accepted, account.quarantined, account.missing) == (3, 2, 1, ())


@pytest.mark.parametrize("table", ["fields", "harvests"])
def test_records_are_accounted_for_in_their_own_season_whatever_their_batch_says(cloud: Cloud, table: str) -> None:
    sender = cloud.sender()
    sender.send(sender.batch({"fields": outcome_of()["fields"]}))
    cloud.ingest()
    sender.send(sender.batch(outcome_of() | {table: []}, season=SEASON - 2))
    report = cloud.ingest()
    assert report.periods == (SEASON,)
    assert report.records_quarantined == 0
    other, own = cloud.account(SEASON - 2), cloud.account(SEASON)
    assert (other.received, other.accepted, other.missing) == (0, 0, ())
    assert (own.received, own.accepted, own.missing) == (len(cloud.store.read("harvests")) + 1,) * 2 + ((),)
    assert cloud.account() == own


def test_a_batch_that_was_refused_or_waits_counts_in_the_season_of_its_records(cloud: Cloud) -> None:
    sender, stranger = cloud.sender(), Sender(cloud.directory / "elsewhere", "dev-05")
    stranger.inbox_dir = cloud.inbox_dir
    refused = stranger.send(stranger.batch(outcome_of("dev-05", 5), season=SEASON - 2))
    cloud.ingest()
    waits = sender.send(sender.batch(outcome_of(), season=SEASON - 2))
    own = cloud.account(SEASON)
    assert (own.refused, len(own.missing)) == ((f"dev-05/{refused}",), 2)
    assert (list(own.waiting), own.records_waiting) == ([f"dev-00/{waits}"], 2)
    assert (cloud.account(SEASON - 2).missing, cloud.account(SEASON - 2).records_waiting) == ((), 0)
    assert cloud.account(SEASON - 1).refused == ()


def test_a_field_keeps_its_region_whatever_season_a_batch_says(cloud: Cloud) -> None:
    sender, tables = cloud.sender(), outcome_of()
    sender.send(sender.batch(tables))
    cloud.ingest()
    moved = {name: [row | {"region": "plateau"} for row in rows] for name, rows in tables.items()}
    sender.send(sender.batch(moved, season=SEASON - 2))
    assert cloud.ingest().records_accepted == 0


@pytest.mark.parametrize("suffix", ["json", "records"])
@pytest.mark.parametrize("content", ["[]", "{"])
def test_a_damaged_note_is_named_and_never_read_as_nothing_received(cloud: Cloud, suffix: str, content: str) -> None:
    batch = "b" * 64
    cloud.store.note_batch(batch, {"season": SEASON, "unnamed": 0}, {"fields": ["2006/champion-00/fields"]})
    (cloud.store.root / "batches" / f"{batch}.{suffix}").write_text(content)
    with pytest.raises(DataError, match=rf"{batch}\.{suffix} is damaged .* dvc checkout"):
        cloud.account()


def test_a_damaged_file_in_quarantine_is_named(cloud: Cloud) -> None:
    path = cloud.quarantine_dir / "sync" / "fields-1.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"fields-1\.parquet cannot be read .* backup"):
        cloud.account()


def test_a_device_speaks_for_its_own_fields_only(cloud: Cloud) -> None:
    sender, other = cloud.sender(), cloud.sender("dev-01")
    sender.send(sender.batch(outcome_of()))
    cloud.ingest()
    foreign = outcome_of(number=0)
    foreign["harvests"][0]["record_id"] = "2006/champion-00/harvests/2006-10-11"
    foreign["harvests"][0]["date"] = "2006-10-11"
    other.send(other.batch({"fields": outcome_of("dev-09", 5)["fields"], "harvests": foreign["harvests"]}))
    report = cloud.ingest()
    assert report.records_accepted == 0
    assert sorted(cloud.quarantined().values()) == [
        "device_id is the device that sent the row",
        "the field and season are those of the device that sent the row",
    ]


def test_what_is_said_again_of_a_day_is_one_more_operation_and_no_more_of_another_table(cloud: Cloud) -> None:
    sender, tables = cloud.sender(), season_of()
    operation, reading = tables["operations"][0], tables["readings"][0]
    again = [operation | {"record_id": f"{operation['record_id']}/{n}", "irrigation_mm": float(n)} for n in (2, 9)]
    never = [operation | {"record_id": f"{operation['record_id']}/{n}"} for n in ("1", "10", "x", "2/2")]
    twice = reading | {"record_id": f"{reading['record_id']}/2"}
    sender.send(sender.batch({"fields": tables["fields"], "operations": [*again, *never], "readings": [twice]}))
    report = cloud.ingest()
    assert (report.records_accepted, report.records_quarantined) == (3, 5)
    assert sorted(cloud.store.read("operations")["irrigation_mm"]) == [2.0, 9.0]
    assert set(cloud.quarantined().values()) == {"record_id says the row's season, field, table and date"}


def test_a_correction_that_is_not_taken_is_accounted_in_quarantine_and_one_that_is_taken_as_accepted(
    cloud: Cloud,
) -> None:
    sender, tables = cloud.sender(), season_of()
    operation = tables["operations"][0]
    again = operation | {"record_id": f"{operation['record_id']}/2", "irrigation_mm": 77.0}
    sender.send(sender.batch({"fields": tables["fields"], "operations": [operation]}))
    cloud.ingest()
    sender.send(sender.batch({"operations": [again]}))
    assert cloud.ingest().records_accepted == 1
    assert (cloud.account(SEASON).accepted, cloud.account(SEASON).quarantined) == (3, 0)
    for other in (operation | {"irrigation_mm": 66.0}, again | {"irrigation_mm": 55.0}):
        sender.send(sender.batch({"operations": [other]}))
        sender.send(sender.batch({"operations": [other]}, summary={"sent": "again"}))
        assert cloud.ingest().records_accepted == 0
    account = cloud.account(SEASON)
    assert (account.received, account.accepted, account.quarantined, account.missing) == (5, 3, 2, ())
    assert cloud.account() == account
    assert sorted(cloud.store.read("operations")["irrigation_mm"]) == [25.0, 77.0]
    assert cloud.quarantined().keys() == {operation["record_id"], again["record_id"]}


def test_a_record_that_was_quarantined_and_is_accepted_when_it_comes_again_is_one(cloud: Cloud) -> None:
    sender, tables = cloud.sender(), season_of()
    sender.send(sender.batch({"harvests": tables["harvests"]}))
    cloud.ingest()
    assert (cloud.account(SEASON).accepted, cloud.account(SEASON).quarantined) == (0, 1)
    sender.send(sender.batch({"fields": tables["fields"], "harvests": tables["harvests"]}))
    cloud.ingest()
    account = cloud.account(SEASON)
    assert (account.received, account.accepted, account.quarantined) == (2, 2, 0)


def test_no_record_is_accepted_twice_because_its_region_changed(cloud: Cloud) -> None:
    sender, tables = cloud.sender(), outcome_of()
    sender.send(sender.batch(tables))
    cloud.ingest()
    moved = {name: [row | {"region": "elsewhere"} for row in rows] for name, rows in tables.items()}
    sender.send(sender.batch(moved))
    assert cloud.ingest().records_quarantined == 2
    assert {name: len(cloud.store.read(name)) for name in tables} == {"fields": 1, "harvests": 1}
    sender.send(sender.batch(moved | {"fields": tables["fields"]}))
    assert cloud.ingest().records_accepted == 0


def test_records_may_come_in_a_later_batch_than_their_field(cloud: Cloud) -> None:
    sender, tables = cloud.sender(), season_of()
    sender.send(sender.batch({"fields": tables["fields"]}))
    cloud.ingest()
    sender.send(sender.batch({"harvests": tables["harvests"]}))
    assert cloud.ingest().records_accepted == 1


def _xz(content: object) -> bytes:
    return lzma.compress(json.dumps(content).encode())


REFUSED: dict[str, tuple[Callable[[Sender], bytes], str]] = {
    "no contract": (lambda s: s.batch(season_of(), contract_hash=["0" * 64]), "contract_hash is a list"),
    "another workload": (lambda s: s.batch(season_of(), workload="kiosk"), "workload"),
    "another device's name": (lambda s: s.batch(season_of(), device_id="dev-07"), "device_id"),
    "no season": (lambda s: s.batch(season_of(), season="last year"), "season"),
    "another format": (lambda _: _xz({"format": 9, "tables": {}}), "format 1"),
    "not xz": (lambda _: b"hello, " * 20, "not readable xz"),
    "cut short": (lambda s: s.batch(season_of())[:-40], "xz|cut short"),
    "nested without end": (lambda _: lzma.compress(b"[" * 40_000), "recursion|not readable JSON"),
    "an unknown table": (lambda s: _renamed(s, "readings", "gossip"), "no table 'gossip'"),
    "a missing column": (lambda s: _renamed(s, '"rain_mm"', '"drizzle_mm"'), "no column rain_mm"),
    "a bomb": (lambda _: lzma.compress(b" " * 60_000_000), "unpacks to more than"),
}


def _with_text_replaced(data: bytes, old: str, new: str) -> bytes:
    return lzma.compress(lzma.decompress(data).decode().replace(old, new).encode())


def _renamed(sender: Sender, old: str, new: str) -> bytes:
    return _with_text_replaced(sender.batch(season_of()), old, new)


@dataclass(frozen=True)
class Refusals:
    """One ingestion of a good batch among bad ones, each from a device of its own."""

    cloud: Cloud
    report: IngestReport
    sent: dict[str, tuple[str, bytes]]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> Refusals:
    cloud = Cloud(tmp_path_factory.mktemp("cloud"))
    good = cloud.sender()
    good.send(good.batch({"fields": season_of()["fields"]}))
    sent = {}
    for number, (kind, (make, _)) in enumerate(REFUSED.items(), start=1):
        sender = cloud.sender(f"dev-{number:02d}")
        data = make(sender)
        sent[kind] = (sender.send(data), data)
    return Refusals(cloud, cloud.ingest(), sent)


@pytest.mark.parametrize("kind", REFUSED)
def test_a_batch_that_cannot_be_trusted_is_quarantined_whole_with_its_reason(refusals: Refusals, kind: str) -> None:
    batch, data = refusals.sent[kind]
    (kept,) = refusals.cloud.quarantine_dir.glob(f"batches/*/{batch}.batch")
    assert kept.read_bytes() == data
    reason = json.loads(kept.with_suffix(".json").read_text())["reason"]
    assert re.search(REFUSED[kind][1], reason)
    assert refusals.report.refused[f"{kept.parent.name}/{batch}"] == reason


def test_batches_that_cannot_be_trusted_hold_up_no_other(refusals: Refusals) -> None:
    assert refusals.report.records_accepted == 1
    assert len(refusals.report.refused) == len(REFUSED)
    assert refusals.cloud.waiting() == []


def test_a_batch_changed_on_disk_or_by_an_unknown_device_is_refused(cloud: Cloud) -> None:
    sender = cloud.sender()
    changed = sender.send(sender.batch(season_of()))
    path = cloud.inbox_dir / "dev-00" / f"{changed}.batch"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    unsigned = sender.send(sender.batch({"fields": season_of()["fields"]}))
    envelope = cloud.inbox_dir / "dev-00" / f"{unsigned}.json"
    envelope.write_text(json.dumps(json.loads(envelope.read_text()) | {"device_id": "dev-99"}))
    misplaced = sender.send(sender.batch({"harvests": season_of()["harvests"]}))
    for suffix in ("batch", "json"):
        (cloud.inbox_dir / "dev-99").mkdir(exist_ok=True)
        (cloud.inbox_dir / "dev-00" / f"{misplaced}.{suffix}").rename(
            cloud.inbox_dir / "dev-99" / f"{misplaced}.{suffix}"
        )
    reasons = cloud.ingest().refused
    assert "its name says" in reasons[f"dev-00/{changed}"]
    assert "its envelope names 'dev-99'" in reasons[f"dev-00/{unsigned}"]
    assert "its envelope names 'dev-00'" in reasons[f"dev-99/{misplaced}"]


def test_an_ingest_of_nothing_leaves_the_data_docs_of_the_last_one(cloud: Cloud, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    assert cloud.ingest(docs).docs_index is None
    assert not docs.exists()
    sender = cloud.sender()
    sender.send(sender.batch(outcome_of()))
    index = cloud.ingest(docs).docs_index
    assert index is not None
    before = index.read_bytes()
    assert cloud.ingest(docs).docs_index is None
    assert index.read_bytes() == before


def test_an_empty_inbox_is_nothing_to_do_and_a_missing_registry_is_said(cloud: Cloud) -> None:
    assert cloud.ingest().batches == ()
    sender = cloud.sender()
    sender.send(sender.batch(season_of()))
    (cloud.directory / "devices.json").unlink()
    with pytest.raises(ConfigError, match=r"devices\.json is missing"):
        cloud.ingest()
    assert len(cloud.waiting()) == 1
