"""What is on disk stays on disk: the store, the durable files, the key, the settings."""

import sqlite3
from pathlib import Path

import pytest

from fieldedge.config import DeviceConfig, read_config, write_config
from fieldedge.durable import write_durably
from fieldedge.errors import ConfigError, DataError, StoreBusy
from fieldedge.keys import is_signed_by, load_key, load_or_create_key, public_key_hex, sign
from fieldedge.locks import exclusive
from fieldedge.store import Store
from tests.edge.sample import SEASON, field_record, reading_record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.db")


def test_a_record_is_found_again_after_reopening_exactly_as_it_was(tmp_path: Path, store: Store) -> None:
    reading = reading_record(3)
    assert store.add("readings", reading)
    store.close()
    with Store(tmp_path / "store.db") as reopened:
        assert reopened.get(reading["record_id"]) == reading
        assert reopened.records(SEASON, "readings") == [reading]


def test_the_same_record_again_changes_nothing(store: Store) -> None:
    assert store.add("readings", reading_record(3))
    before = store.totals(SEASON)
    assert not store.add("readings", reading_record(3))
    assert store.totals(SEASON) == before


def test_another_record_with_the_same_identity_is_refused_and_the_first_stays(store: Store) -> None:
    store.add("readings", reading_record(3))
    with pytest.raises(DataError, match="other content"):
        store.add("readings", {**reading_record(3), "rain_mm": 99.0})
    assert store.get(reading_record(3)["record_id"]) == reading_record(3)


def test_records_come_by_date_whatever_the_order_they_arrived_in(store: Store) -> None:
    for day in (5, 1, 3):
        store.add("readings", reading_record(day))
    assert store.records(SEASON, "readings") == [reading_record(day) for day in (1, 3, 5)]


def test_the_database_is_in_wal_mode_and_syncs_fully(tmp_path: Path, store: Store) -> None:
    assert sqlite3.connect(tmp_path / "store.db").execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._one("PRAGMA synchronous")[0] == 2


def test_only_an_acknowledgement_moves_records_on_and_only_those_of_its_batch(store: Store) -> None:
    for day in range(3):
        store.add("readings", reading_record(day))
    store.mark_selected("first", SEASON, 100, [reading_record(0)["record_id"]])
    store.mark_selected("second", SEASON, 50, [reading_record(1)["record_id"]])
    store.mark_acknowledged("first")
    assert store.states() == {"acknowledged": 1, "selected": 1, "stored": 1}
    totals = store.totals(SEASON)
    assert (totals.records_selected, totals.records_acknowledged, totals.bytes_sent, totals.batches) == (2, 1, 100, 1)
    assert [batch.batch_id for batch in store.prepared_batches()] == ["second"]


def test_a_withdrawn_batch_gives_its_records_back_but_an_acknowledged_one_does_not(store: Store) -> None:
    for day in range(2):
        store.add("readings", reading_record(day))
        store.mark_selected(f"batch{day}", SEASON, 10, [reading_record(day)["record_id"]])
    store.mark_acknowledged("batch0")
    store.withdraw("batch0")
    store.withdraw("batch1")
    assert store.states() == {"acknowledged": 1, "stored": 1}


def test_a_rejected_message_is_kept_once_with_its_reason(store: Store) -> None:
    for _ in range(2):
        store.reject("reading 2006-05-02", "rain_mm is -4", "{...}")
    assert store.rejects() == [{"where": "reading 2006-05-02", "error": "rain_mm is -4", "body": "{...}"}]


def test_a_store_that_another_process_writes_to_is_named_as_busy(tmp_path: Path, store: Store) -> None:
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Store(tmp_path / "store.db", busy_timeout_s=0.01) as second, pytest.raises(StoreBusy, match="in use"):
        second.add("fields", field_record())


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database" * 100)
    with pytest.raises(DataError, match="not a readable store"):
        Store(tmp_path / "store.db")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")
    with pytest.raises(TypeError):
        write_durably(path, "text is not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_job_runs_in_one_process_at_a_time(tmp_path: Path) -> None:
    with exclusive(tmp_path / "run"), pytest.raises(StoreBusy, match="another fieldedge"), exclusive(tmp_path / "run"):
        pass
    with exclusive(tmp_path / "run"):
        pass


def test_the_key_is_made_once_kept_private_and_signs(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "device.pem"
    key = load_or_create_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    again = load_or_create_key(path)
    assert public_key_hex(again) == public_key_hex(key)
    signature = sign(again, b"body")
    assert is_signed_by(public_key_hex(key), b"body", signature)
    assert not is_signed_by(public_key_hex(key), b"bodY", signature)
    assert not is_signed_by("00", b"body", signature)
    assert not is_signed_by(public_key_hex(key), b"body", "not base64!")


@pytest.mark.parametrize(("damage", "said"), [(b"junk", "damaged"), (None, "missing")])
def test_a_lost_or_damaged_key_is_named(tmp_path: Path, damage: bytes | None, said: str) -> None:
    path = tmp_path / "device.pem"
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(ConfigError, match=said):
        load_key(path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "device.pem"
    load_or_create_key(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_key(path)


def test_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    config = DeviceConfig("dev-07", "agriculture", 12_345, 0.25)
    write_config(tmp_path / "device.toml", config)
    assert read_config(tmp_path / "device.toml") == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('workload = "agriculture"', "has no device_id"),
        ('device_id = "dev-00"', "has no workload"),
        ('device_id = 7\nworkload = "agriculture"', "device_id is 7; expected text"),
        ('device_id = "../up"\nworkload = "agriculture"', "device_id is '../up'"),
        ('device_id = "d"\nworkload = "agriculture"\naudit_fraction = 3', "expected a fraction between 0 and 1"),
        ('device_id = "d"\nworkload = "agriculture"\nupload_budget_bytes = -1', "upload_budget_bytes is -1"),
        ('device_id = "d"\nworkload = "agriculture"\nupload_budget_bytes = "x"', "expected a number"),
        ("device_id =", "not readable TOML"),
    ],
)
def test_a_broken_setting_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "device.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_config(tmp_path / "device.toml")
