"""What the store has taken stays, in its order and as it was; what it cannot take leaves nothing behind."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fieldedge.contract.samples import FlaggedSample, Sample
from fieldedge.storage.store import LOG_KEPT_BYTES, LOG_MAX_BYTES, SampleCounts, Store
from fieldedge.system.clock import Clock, Stamp
from fieldedge.system.errors import DataError, StoreBusy, StoreDamaged, StoreFailed
from tests.edge.sample import EPISODE, dated, field_record, reading_record, stored_entries

TABLES = ("fields", "readings", "operations")
GOOD = {"air_temperature_c": "good"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db") as opened:
        yield opened


def sample(minute: int, origin: str = "station", **values: float | None) -> FlaggedSample:
    time_utc = f"2006-05-01T{minute // 60:02d}:{minute % 60:02d}:00Z"
    return FlaggedSample(Sample(origin, time_utc, values or {"air_temperature_c": 20.0 + minute}), {})


# Records


def test_a_record_is_found_again_after_reopening_exactly_as_it_was(tmp_path: Path) -> None:
    reading = reading_record(3)
    with Store(tmp_path / "store.db") as store:
        assert store.add("readings", reading)
    with Store(tmp_path / "store.db") as reopened:
        assert reopened.get(reading["record_id"]) == reading
        assert reopened.records(EPISODE, "readings") == [reading]


def test_the_same_record_again_changes_nothing(store: Store) -> None:
    assert store.add("readings", reading_record(3))
    before = store.totals(EPISODE)
    assert not store.add("readings", reading_record(3))
    assert store.totals(EPISODE) == before


def test_another_record_with_the_same_identity_is_refused_and_the_first_stays(store: Store) -> None:
    store.add("readings", reading_record(3))
    with pytest.raises(DataError, match="other content"):
        store.add("readings", {**reading_record(3), "rain_mm": 99.0})
    assert store.get(reading_record(3)["record_id"]) == reading_record(3)


@pytest.mark.parametrize("value", [float("nan"), "half a pair \ud83d"])
def test_a_record_that_no_file_can_hold_is_refused_and_the_store_goes_on(store: Store, value: Any) -> None:
    with pytest.raises(DataError, match="cannot be stored"):
        store.add("readings", {**reading_record(3), "rain_mm": value})
    assert store.add("readings", reading_record(3))


def test_records_come_by_date_whatever_the_order_they_arrived_in(store: Store) -> None:
    for day in (5, 1, 3):
        store.add("readings", reading_record(day))
    assert store.records(EPISODE, "readings") == [reading_record(day) for day in (1, 3, 5)]


def test_what_quality_control_said_of_a_record_is_kept_beside_it(store: Store) -> None:
    store.add("readings", reading_record(1), {"vwc_15cm_m3_m3": "flat"})
    store.add("readings", reading_record(2))
    assert store.flags(EPISODE, "readings") == {reading_record(1)["record_id"]: {"vwc_15cm_m3_m3": "flat"}}
    assert store.get(reading_record(1)["record_id"]) == reading_record(1)


def test_who_follows_sees_each_record_once_in_the_order_of_arrival(store: Store) -> None:
    assert (store.last_sequence(), store.records_after(0, TABLES)) == (0, [])
    store.add("fields", field_record())
    for day in (5, 1):
        store.add("readings", reading_record(day))
    store.add("recommendations", dated("recommendations", 1))
    seen = store.records_after(0, TABLES)
    assert [(table, record) for _, table, record in seen] == [
        ("fields", field_record()),
        ("readings", reading_record(5)),
        ("readings", reading_record(1)),
    ]
    assert store.records_after(seen[-1][0], TABLES) == []
    assert store.last_sequence() == seen[-1][0] + 1
    store.add("operations", dated("operations", 2))
    assert [record for _, _, record in store.records_after(seen[-1][0], TABLES)] == [dated("operations", 2)]


def test_a_corrected_record_takes_the_place_of_the_former_one_and_arrives_anew(store: Store) -> None:
    for day in (1, 2):
        store.add("readings", reading_record(day), {"rain_mm": "range"})
    last, corrected = store.last_sequence(), {**reading_record(2), "rain_mm": 7.0}
    store.replace("readings", corrected, "a sample came late")
    assert store.records(EPISODE, "readings") == [reading_record(1), corrected]
    assert [record for _, _, record in store.records_after(last, TABLES)] == [corrected]
    (event,) = store.events(kind="replaced")
    assert event["former"] == reading_record(2) and "a sample came late" in event["text"]
    assert list(store.flags(EPISODE, "readings")) == [reading_record(1)["record_id"]]
    store.replace("readings", reading_record(2), "it was right", {"rain_mm": "spike"})
    assert store.flags(EPISODE, "readings")[reading_record(2)["record_id"]] == {"rain_mm": "spike"}


def test_what_is_not_there_or_on_its_way_cannot_be_corrected(store: Store) -> None:
    with pytest.raises(DataError, match="add it instead"):
        store.replace("readings", reading_record(1), "no reason")
    store.add("readings", reading_record(1))
    store.mark_selected("batch", EPISODE, 10, stored_entries(store, [reading_record(1)["record_id"]]))
    with pytest.raises(DataError, match="was selected for sending already"):
        store.replace("readings", {**reading_record(1), "rain_mm": 7.0}, "no reason")


# Batches


def test_only_an_acknowledgement_moves_records_on_and_only_those_of_its_batch(store: Store) -> None:
    for day in range(3):
        store.add("readings", reading_record(day))
    store.mark_selected("first", EPISODE, 100, stored_entries(store, [reading_record(0)["record_id"]]))
    store.mark_selected("second", EPISODE, 50, stored_entries(store, [reading_record(1)["record_id"]]))
    store.mark_acknowledged("first")
    assert store.states() == {"acknowledged": 1, "selected": 1, "stored": 1}
    totals = store.totals(EPISODE)
    assert (totals.records_selected, totals.records_acknowledged, totals.bytes_sent, totals.batches) == (2, 1, 100, 1)
    assert [batch.batch_id for batch in store.prepared_batches()] == ["second"]
    store.check()


def test_a_withdrawn_batch_gives_its_records_back_but_an_acknowledged_one_does_not(store: Store) -> None:
    for day in range(2):
        store.add("readings", reading_record(day))
        store.mark_selected(f"batch{day}", EPISODE, 10, stored_entries(store, [reading_record(day)["record_id"]]))
    store.mark_acknowledged("batch0")
    store.withdraw("batch0")
    store.withdraw("batch1")
    assert store.states() == {"acknowledged": 1, "stored": 1}


def test_a_rejected_message_is_kept_once_with_its_reason_and_how_often_it_came(store: Store) -> None:
    for _ in range(3):
        store.reject("reading 2006-05-02", "rain_mm is -4", "{...}")
    store.reject("line 3", "no text", "half a pair \ud83d")
    assert store.rejects() == [
        {"where": "reading 2006-05-02", "error": "rain_mm is -4", "body": "{...}", "repeats": 2},
        {"where": "line 3", "error": "no text", "body": "half a pair \\ud83d", "repeats": 0},
    ]
    store.check()


# Samples


def test_samples_come_by_time_with_what_was_said_of_them(store: Store) -> None:
    bad = replace(sample(15, rain_mm=900.0, air_temperature_c=20.0), flags={"rain_mm": "range"})
    assert store.add_samples([sample(30), bad]) == SampleCounts(2, 0, 0)
    first, second = store.samples("2006-05-01T00:00:00Z", "2006-05-02T00:00:00Z")
    assert first.flags == {"rain_mm": "range", "air_temperature_c": "good"}
    assert first.good() == {"air_temperature_c": 20.0}
    assert second.sample == sample(30).sample
    assert store.last_samples("station", 1) == [second]
    assert store.samples("2006-05-01T00:00:00Z", "2006-05-02T00:00:00Z", limit=-1) == [second]
    assert store.origins() == ["station"]
    assert store.sample_times() == [sample(15).sample.time_utc, sample(30).sample.time_utc]


def test_the_same_sample_again_is_counted_and_another_one_of_its_moment_is_kept_aside(store: Store) -> None:
    store.add_samples([sample(0), sample(0, "other")])
    counts = store.add_samples([sample(0), sample(0, air_temperature_c=3.0), sample(15)])
    assert counts == SampleCounts(new=1, repeated=1, conflicting=1)
    (kept,) = store.rejects()
    assert kept["where"] == "station 2006-05-01T00:00:00Z" and "3.0" in kept["body"]


INSTANTS = (
    "2006-04-30T23:59:59.999999Z",
    "2006-05-01T00:00:00Z",
    "2006-05-01T00:00:00.000001Z",
    "2006-05-01T00:00:00.5Z",
    "2006-05-01T00:00:00.51Z",
    "2006-05-01T00:00:01Z",
    "2006-05-01T23:59:59.999999Z",
)


def at(time_utc: str, value: float = 20.0) -> FlaggedSample:
    return FlaggedSample(Sample("station", time_utc, {"air_temperature_c": value}), {"air_temperature_c": "good"})


def test_samples_within_a_second_are_many_and_ordered_by_their_instants(store: Store) -> None:
    sent = [at(time_utc, float(number)) for number, time_utc in enumerate(INSTANTS)]
    assert store.add_samples(sent[::-1]) == SampleCounts(len(sent), 0, 0)
    assert store.add_samples(sent) == SampleCounts(0, len(sent), 0)
    assert store.samples("", "9") == store.last_samples("station", 10) == sent
    assert store.samples(INSTANTS[2], INSTANTS[5]) == sent[2:5]
    assert store.samples(INSTANTS[1], INSTANTS[4], limit=-2) == sent[2:4]
    assert store.sample("station", INSTANTS[3]) == sent[3]
    assert store.sample("station", "2006-05-01T00:00:00.6Z") is None
    assert (store.sample_times(), store.newest_day()) == (list(INSTANTS), "2006-05-01")
    assert store.sample_times(INSTANTS[3]) == list(INSTANTS[3:])
    amended = replace(sent[3], flags={"air_temperature_c": "spike"})
    store.add_samples([], [amended])
    assert store.sample("station", INSTANTS[3]) == amended
    store.check()


def test_a_flag_that_changes_later_is_written_with_the_samples_that_changed_it(store: Store) -> None:
    store.add_samples([sample(0)])
    store.add_samples([sample(15)], [replace(sample(0), flags={"air_temperature_c": "spike"})])
    assert store.last_samples("station", 2)[0].flags == {"air_temperature_c": "spike"}
    store.check()


# Events and time


def test_the_same_event_right_after_is_counted_and_not_repeated(store: Store) -> None:
    for _ in range(3):
        store.add_event("link", "no gateway", {"tries": 1})
    store.add_event("model", "model 2 is in use")
    store.add_event("link", "no gateway")
    told = [(event["kind"], event["times"]) for event in store.events()]
    assert told == [("model", 1), ("link", 4)]
    assert [event["text"] for event in store.events(1, "model")] == ["model 2 is in use"]
    store.check()


def test_order_and_boot_of_records_survive_a_clock_that_jumps(tmp_path: Path) -> None:
    now = [Stamp("first", "2030-01-01T00:00:00Z", False)]
    with Store(tmp_path / "store.db", lambda: now[0]) as store:
        store.add("readings", reading_record(1))
        now[0] = Stamp("second", "1970-01-01T00:00:00Z", False)
        store.add("readings", reading_record(0))
        now[0] = Stamp("second", "2006-05-03T00:00:00Z", True)
        store.add("readings", reading_record(2))
        rows = store._all(
            "SELECT r.date, b.boot_id, r.stored_utc, r.is_time_trusted FROM records r JOIN boots b USING (boot)"
            " ORDER BY sequence"
        )
    assert rows == [
        (reading_record(1)["date"], "first", "2030-01-01T00:00:00Z", 0),
        (reading_record(0)["date"], "second", "1970-01-01T00:00:00Z", 0),
        (reading_record(2)["date"], "second", "2006-05-03T00:00:00Z", 1),
    ]


def test_a_clock_that_is_corrected_while_a_record_is_stored_may_tell_the_store(tmp_path: Path) -> None:
    is_synchronised = [False]
    clock = Clock(tmp_path / "clock.json", is_synchronised=lambda: is_synchronised[0])
    with Store(tmp_path / "store.db", clock.stamp) as store:
        clock.tell = lambda text: store.add_event("clock", text)
        clock._set(clock.now().replace(year=2006))
        is_synchronised[0] = True
        store.add("readings", reading_record(1))
        clock.keep()
        (event,) = store.events(kind="clock")
    assert "the time was corrected" in event["text"]


# The file


def test_the_database_is_in_wal_mode_and_syncs_fully(tmp_path: Path, store: Store) -> None:
    assert store._one("PRAGMA journal_mode") == ("wal",)
    assert store._one("PRAGMA synchronous")[0] == 2


def test_the_log_is_bounded_with_and_without_anybody_who_cares_for_it(tmp_path: Path, store: Store) -> None:
    log = tmp_path / "store.db-wal"
    largest = 0
    for day in range(500):
        store.add("readings", {**dated("readings", day), "text": "x" * 20_000})
        largest = max(largest, log.stat().st_size)
    assert largest < 1.1 * LOG_MAX_BYTES
    store.checkpoint()
    store.add("fields", field_record())
    assert log.stat().st_size <= LOG_KEPT_BYTES
    before = (tmp_path / "store.db").stat().st_mtime_ns
    store.checkpoint(at_bytes=2 * LOG_KEPT_BYTES)
    assert (tmp_path / "store.db").stat().st_mtime_ns == before


def test_a_store_that_another_process_writes_to_is_named_as_busy(tmp_path: Path, store: Store) -> None:
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Store(tmp_path / "store.db", busy_timeout_s=0.01) as second, pytest.raises(StoreBusy, match="in use"):
        second.add("fields", field_record())
    other.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreDamaged, match="does not begin as a database does"):
        Store(tmp_path / "store.db")


def test_a_store_in_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="No such file"):
        Store(tmp_path / "nowhere" / "store.db")


def test_a_store_that_was_emptied_is_damaged_and_not_new(tmp_path: Path) -> None:
    """SQLite would take it for a new one, and delete the log beside it."""
    with Store(tmp_path / "store.db") as store:
        store.add("readings", reading_record(1))
        wal = (tmp_path / "store.db-wal").read_bytes()
    (tmp_path / "store.db-wal").write_bytes(wal)
    (tmp_path / "store.db").write_bytes(b"")
    with pytest.raises(StoreDamaged, match="it is empty, and its log is not"):
        Store(tmp_path / "store.db")
    assert (tmp_path / "store.db-wal").read_bytes() == wal


# A disk that refuses


@contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[Path]:
    """A disk of that size, if this process may mount one."""
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(path)], check=False)
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: Path) -> None:
    with pytest.raises(OSError, match="No space"), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_is_named_leaves_nothing_half_done_and_the_same_store_works_on_with_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4_000_000) as disk, Store(disk / "store.db") as store:
        store.add("fields", field_record())
        store.add_samples([sample(0)])
        fill(disk / "ballast")
        stored = []
        with pytest.raises(StoreFailed, match=r"full|disk I/O error"):
            for day in range(1000):
                store.add("readings", {**dated("readings", day), "text": "x" * 5000})
                stored.append(day)
        with pytest.raises(StoreFailed, match="check the disk's space"):
            store.add_samples([sample(minute, rain_mm=float(minute)) for minute in range(1, 1400)])
        assert len(store.records(EPISODE, "readings")) == len(stored)
        assert store.samples("2006", "2007") == store.last_samples("station", 10) == [replace(sample(0), flags=GOOD)]
        (disk / "ballast").unlink()
        assert store.add("readings", {**dated("readings", 1000), "text": "x" * 5000})
        assert store.add_samples([sample(15)]).new == 1
        store.check()


def test_a_disk_that_is_full_when_the_store_is_opened_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2_000_000) as disk:
        with Store(disk / "store.db") as store:
            store.add("fields", field_record())
        fill(disk / "ballast")
        with pytest.raises(StoreFailed, match="check the disk's space"), Store(disk / "store.db") as store:
            store.add("readings", reading_record(1))
        (disk / "ballast").unlink()
        with Store(disk / "store.db") as store:
            assert store.get(field_record()["record_id"]) == field_record()
            assert store.add("readings", reading_record(1))


def test_a_read_only_disk_is_named_and_the_store_is_as_it_was_afterwards(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2_000_000) as disk:
        with Store(disk / "store.db") as store:
            store.add("fields", field_record())
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StoreFailed, match="check the disk's space and rights"):
            Store(disk / "store.db").add("readings", reading_record(1))
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        with Store(disk / "store.db") as store:
            assert store.records(EPISODE, "fields") == [field_record()]


def test_a_database_that_may_not_grow_refuses_whole_transactions_and_works_on_when_it_may(store: Store) -> None:
    pages = store._one("PRAGMA page_count")[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreFailed, match="full"):
        store.add_samples([sample(minute) for minute in range(1440)])
    assert store.last_samples("station", 10) == [] and store.origins() == []
    store._connection.execute(f"PRAGMA max_page_count = {pages + 200}")
    assert store.add_samples([sample(minute) for minute in range(1440)]).new == 1440
    store.check()


# A process that is killed

_WRITE = """
import sys
from pathlib import Path
from fieldedge.storage.store import Store
from tests.edge.sample import reading_record
store = Store(Path(sys.argv[1]))
for day in range(400):
    store.add("readings", reading_record(day))
    print(day, flush=True)
"""


def test_what_a_killed_process_was_told_is_stored_is_there_and_the_log_is_whole(tmp_path: Path) -> None:
    path, root = tmp_path / "store.db", Path(__file__).parents[3]
    command = [sys.executable, "-c", _WRITE, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": "."}) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(60)]
        writer.kill()
    with Store(path) as store:
        store.check()
        assert store.records(EPISODE, "readings")[: len(told)] == [reading_record(day) for day in told]


def test_the_last_sample_that_has_a_number_of_a_name_is_found_within_a_span(store: Store) -> None:
    def at(minute: int, values: dict[str, float | None], origin: str = "station") -> FlaggedSample:
        return FlaggedSample(Sample(origin, f"2006-05-01T12:{minute:02d}:00Z", values), {})

    store.add_samples(
        [
            at(0, {"rain_mm.count": 1.0}),
            at(5, {"rain_mm.count": 2.0, "a": 1.0}),
            at(10, {"rain_mm.count": None}),
            at(15, {"rain_mm": 7.0}),
            at(20, {"rain_mm.count": 9.0}, "another"),
        ]
    )

    def found(name: str, first: int = 0, last: int = 59) -> str | None:
        one = store.last_with("station", name, f"2006-05-01T12:{first:02d}:00Z", f"2006-05-01T12:{last:02d}:00Z")
        return None if one is None else one.sample.time_utc[14:16]

    assert (found("rain_mm.count"), found("rain_mm"), found("rain")) == ("05", "15", None)
    assert (found("rain_mm.count", last=4), found("rain_mm.count", first=6)) == ("00", None)
