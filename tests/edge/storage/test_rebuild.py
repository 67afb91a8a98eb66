"""A damaged store is found out, mended from what is intact, and says what it lost; nothing false comes back."""

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldedge.contract import Record
from fieldedge.contract.batches import batch_id, pack
from fieldedge.contract.samples import Flag, FlaggedSample, Sample
from fieldedge.storage.files import rebuilt_path, set_aside
from fieldedge.storage.recovery import rebuild as rebuild_module
from fieldedge.storage.recovery.rebuild import KEPT_ASIDE, RebuildReport, open_store, rebuild
from fieldedge.storage.recovery.sqlite_pages import Log, Pages, page_rows, payload_pages, rows
from fieldedge.storage.schema import APPLICATION, COLUMNS, CUT_FORM, RECORD_3, SCHEMA_VERSION, STATES
from fieldedge.storage.store import Store
from fieldedge.system.clock import Stamp
from fieldedge.system.errors import DataError, StoreBusy, StoreDamaged, StoreFailed
from fieldedge.transfer.outbox import Outbox
from fieldedge.workload import merit
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    EPISODE,
    SEASON,
    dated,
    field_record,
    reading_record,
    stored_entries,
)
from tests.edge.storage.test_schema import DAYS as DAYS_1
from tests.edge.storage.test_schema import (
    as_form_5,
    check_carried_over,
    content_of,
    records,
    without_seals,
    write_form_1,
    write_form_3,
)

DAYS, SAMPLES = 60, 700
PAGE = 4096
FRAME = PAGE + 24
BESIDE = ("", "-wal", "-shm", "-journal")


def stamp() -> Stamp:
    return Stamp("boot", "2006-07-01T12:00:00Z", True)


@dataclass
class Truth:
    """What a store held when it was whole."""

    records: dict[str, tuple[Record, str]] = field(default_factory=dict)
    merits: dict[str, float | None] = field(default_factory=dict)
    samples: dict[tuple[str, str], FlaggedSample] = field(default_factory=dict)
    rejects: list[Record] = field(default_factory=list)
    events: list[Record] = field(default_factory=list)
    batches: dict[str, int] = field(default_factory=dict)
    arrived: dict[str, int] = field(default_factory=dict)


def live(store: Store, outbox: Path) -> None:
    """A season: some of it acknowledged, some on its way, some neither; records of one page and of several."""
    outbox.mkdir()
    store.add("fields", field_record())
    for day in range(DAYS):
        store.add("readings", reading_record(day), {"vwc_15cm_m3_m3": "flat"} if day % 9 == 0 else None)
        store.add(
            "recommendations",
            dated("recommendations", day, why="Boden ist trocken " * (20 + 400 * (day % 13 == 0))),
            merit=None if day % 5 == 0 else day / 2.0,
        )
        if day % 7 == 3:
            done = {"irrigation_mm": 20.0, "nitrogen_kg_ha": 0.0, "source": "override", "basis": "confirmed"}
            store.add("operations", dated("operations", day, **done))
    store.add_samples([sample(at) for at in range(SAMPLES)])
    store.checkpoint()
    for number in range(40):
        store.reject(f"line {number}", "not JSON", "{" * number)
        store.add_event("link", f"no gateway, try {number}", {"tries": number})
    for day, is_acknowledged in ((3, True), (10, False)):
        operation = store.get(dated("operations", day)["record_id"])
        assert operation is not None
        send(store, outbox, [("readings", reading_record(day)), ("operations", operation)], is_acknowledged)


def sample(at: int) -> FlaggedSample:
    time_utc = f"2006-05-{1 + at // 48:02d}T{at % 48 // 2:02d}:{at % 2 * 30:02d}:00Z"
    values = {"air_temperature_c": 20.0 + at % 17, "rain_mm": None}
    flags: dict[str, Flag] = {"air_temperature_c": "spike"} if at % 50 == 0 else {}
    return FlaggedSample(Sample(("station", "probes")[at % 2], time_utc, values), flags)


def send(store: Store, outbox: Path, chosen: list[tuple[str, Record]], is_acknowledged: bool) -> str:
    tables: dict[str, list[Record]] = {}
    for table, record in chosen:
        tables.setdefault(table, []).append(record)
    data = pack({"device_id": DEVICE_ID, "season": SEASON}, tables, AGRICULTURE.contract)
    identity = batch_id(data)
    (outbox / f"{identity}.batch").write_bytes(data)
    read = stored_entries(store, [record["record_id"] for _, record in chosen])
    store.mark_selected(identity, EPISODE, len(data), read)
    if is_acknowledged:
        Outbox(outbox, store).acknowledged(identity)
    return identity


def truth_of(store: Store) -> Truth:
    truth = Truth()
    for episode in store.episodes():
        for table in ("fields", "readings", "recommendations", "operations"):
            for state in ("stored", "selected", "acknowledged"):
                for entry in store.entries(episode, table, state):
                    truth.records[entry.record["record_id"]] = entry.record, state
                    truth.merits[entry.record["record_id"]] = entry.merit
    for flagged in store.samples("", "9"):
        truth.samples[flagged.sample.origin, flagged.sample.time_utc] = flagged
    truth.rejects, truth.events = store.rejects(), store.events(1000)
    truth.batches = {batch.batch_id: batch.bytes for batch in store.prepared_batches()}
    truth.arrived = dict(store._all("SELECT batch_id, bytes FROM batches WHERE state = 'acknowledged'"))
    return truth


@dataclass(frozen=True)
class Lived:
    """A store that was lived in, as files: once closed well, once as a killed process leaves it, with its log."""

    folder: Path
    truth: Truth

    def copy(self, to: Path, name: str) -> Path:
        """The store `closed` or `killed` below a new directory, with its outbox."""
        to.mkdir(parents=True)
        shutil.copytree(self.folder / "outbox", to / "outbox")
        for suffix in BESIDE[:2]:
            source = self.folder / f"{name}.db{suffix}"
            if source.exists():
                shutil.copy(source, to / f"store.db{suffix}")
        return to / "store.db"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    folder = tmp_path_factory.mktemp("lived")
    with Store(folder / "live.db", stamp) as store:
        live(store, folder / "outbox")
        store.add_event("last", "nothing depends on the last transaction, which a power cut may tear")
        truth = truth_of(store)
        child = os.fork()  # as a killed process leaves it; in this one SQLite would lose its locks by our reading
        if child == 0:
            for suffix in BESIDE[:2]:
                shutil.copy(folder / f"live.db{suffix}", folder / f"killed.db{suffix}")
            os._exit(0)
        os.waitpid(child, 0)
    shutil.copy(folder / "live.db", folder / "closed.db")
    return Lived(folder, truth)


def mended(path: Path) -> tuple[Store, list[RebuildReport]]:
    """The store as a service comes to have it, whatever is on disk: opened, read through, and mended where that shows
    damage."""
    store, report = open_store(path, stamp)
    reports = [] if report is None else [report]
    try:
        store.check()
        truth_of(store)
    except StoreDamaged:
        store.close()
        store, report = open_store(path, stamp, is_damaged=True)
        assert report is not None, "what is damaged was taken for sound"
        reports.append(report)
        store.check()
    assert len(reports) <= 1, "what was mended had to be mended again"
    return store, reports


def homes(path: Path) -> dict[tuple[str, object], set[int]]:
    """For each row of a sound store, the pages that hold it."""
    found = {}
    tables = {len(columns): table for table, columns in COLUMNS.items() if table in ("records", "samples")}
    with Pages(path) as pages:
        for number in range(1, pages.count + 1):
            page = pages.page(number)
            assert page is not None
            cells = [row for row in page_rows(pages, number, page) if row.rowid is not None]
            for row, more in zip(cells, payload_pages(pages, number) if cells else [], strict=True):
                assert row.values is not None
                table = tables.get(len(row.values), "")
                if table == "records":
                    found[table, row.values[1]] = {number, *more}
                elif table == "samples":
                    found[table, (row.values[1], row.values[2])] = {number, *more}
    return found


def check_nothing_false(store: Store, truth: Truth) -> None:
    now = truth_of(store)
    for identity, (record, state) in now.records.items():
        assert record == truth.records[identity][0], f"{identity} is false"
        assert now.merits[identity] == truth.merits[identity]
        was = truth.records[identity][1]
        assert STATES.index(state) <= STATES.index(was), f"{identity} moved on from {was} to {state}"
    for key, flagged in now.samples.items():
        name = key[0] if "lost" not in key[0] else ("station", "probes")[int(key[0].split()[1]) - 1]
        known = truth.samples[name, key[1]]
        assert flagged.sample.values == known.sample.values and flagged.flags == known.flags, f"{key} is false"
    for kept in now.rejects:
        assert kept in truth.rejects, "a reject is false"
    for event in now.events:
        assert event in truth.events or event["kind"] == "rebuilt", "an event is false"
    assert now.batches.items() <= {**truth.batches, **truth.arrived}.items(), "a batch is false"
    for identity, (_, state) in now.records.items():
        if state == "selected":
            assert now.batches, f"{identity} waits for a batch that is not there"


def check_mended(
    store: Store,
    truth: Truth,
    intact: set[tuple[str, object]],
    reports: list[RebuildReport],
    is_last_there: bool = True,
) -> None:
    """Everything that was intact is there, and what was mended says so."""
    now = truth_of(store)
    times = {time_utc for _, time_utc in now.samples}
    for table, identity in intact:
        if table == "records":
            assert identity in now.records, f"{identity} was intact, and is lost"
        else:
            assert isinstance(identity, tuple) and identity[1] in times, f"sample {identity} was intact, and is lost"
    if reports:
        assert store.events(1, "rebuilt")[0]["text"] == reports[0].text()
        assert reports[0].saved["records"] == len(now.records)
    elif is_last_there:
        assert now == truth
    else:
        assert now.records == truth.records
        assert now.samples == truth.samples
        assert now.events[-len(truth.events) + 1 :] == truth.events[-len(truth.events) + 1 :]


def flip_bytes(data: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice((1, 1, 3, 20))):
        data[dice.randrange(len(data))] ^= dice.randrange(1, 256)


def zero_a_page(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(data) // PAGE) * PAGE
    data[at : at + PAGE] = bytes(PAGE)


def scramble_a_sector(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(data) // 512) * 512
    data[at : at + 512] = dice.randbytes(512)


def misplace_a_page(data: bytearray, dice: random.Random) -> None:
    source, target = (dice.randrange(len(data) // PAGE) * PAGE for _ in range(2))
    data[target : target + PAGE] = data[source : source + PAGE]


def zero_many_pages(data: bytearray, dice: random.Random) -> None:
    for _ in range(len(data) // PAGE // 3):
        zero_a_page(data, dice)


def cut_off(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(1, len(data)) :]


DAMAGE: list[Callable[[bytearray, random.Random], None]] = [
    flip_bytes,
    zero_a_page,
    scramble_a_sector,
    misplace_a_page,
    zero_many_pages,
    cut_off,
]


def changed_blocks(before: bytes, after: bytes, size: int, first: int = 0) -> set[int]:
    """The numbers, from 1 on, of the blocks that are not as before."""
    starts = range(first, len(before) - size + 1, size)
    return {number for number, at in enumerate(starts, start=1) if before[at : at + size] != after[at : at + size]}


@dataclass
class Trial:
    """One damage, done to one file of a store, and what must still be there."""

    lived: Lived
    name: str
    suffix: str
    seed: int

    def run(self, place: Path) -> list[RebuildReport]:
        dice = random.Random(self.seed)  # noqa: S311
        path = self.lived.copy(place, self.name)
        file = place / f"store.db{self.suffix}"
        before = file.read_bytes()
        data = bytearray(before)
        DAMAGE[self.seed % len(DAMAGE)](data, dice)
        file.write_bytes(data)
        gone, must_be_found = (self._in_log if self.suffix else self._in_file)(before, bytes(data))
        store, reports = mended(path)
        with store:
            if self.suffix and len(data) < len(before) and not reports:
                check_nothing_false(store, self.lived.truth)  # a log without its end is what a power cut leaves
                return reports
            assert reports or not must_be_found, "the damage was not found out"
            intact = {key for key, pages in homes(self.lived.folder / f"{self.name}.db").items() if not pages & gone}
            check_nothing_false(store, self.lived.truth)
            # Damage in the last transaction alone looks like a power cut within it: it may go without a word.
            check_mended(store, self.lived.truth, intact, reports, is_last_there=must_be_found or not self.suffix)
        return reports

    def _in_file(self, before: bytes, after: bytes) -> tuple[set[int], bool]:
        with Pages(self.lived.folder / f"{self.name}.db") as pages:
            in_log = {number for number in range(1, pages.count + 1) if number in pages._places}
        return changed_blocks(before, after, PAGE) - in_log, False

    def _in_log(self, before: bytes, after: bytes) -> tuple[set[int], bool]:
        """A broken frame takes the next one's seed along. Damage in all but the last transaction is damage for sure."""
        log = Log(before)
        places, _ = log.committed()
        commits = [number for number, size in enumerate(log._commits.tolist(), start=1) if size]
        changed = changed_blocks(before, after, FRAME, 32)
        is_header_broken = before[:32] != after[:32]
        broken = changed | {number + 1 for number in changed} | ({1} if is_header_broken else set())
        gone = {page for page, at in places.items() if (at - 32) // FRAME + 1 in broken}
        is_certain = is_header_broken or any(number <= commits[-2] for number in changed)
        return gone, is_certain and len(before) == len(after)


def quick_and_slow(count: int, slow: int) -> list[Any]:
    return [*range(count), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(count, slow))]


@pytest.mark.parametrize("block", quick_and_slow(1, 12))
@pytest.mark.parametrize(("name", "suffix"), [("closed", ""), ("killed", ""), ("killed", "-wal")])
def test_whatever_is_damaged_what_is_intact_is_saved_and_nothing_false(
    lived: Lived, tmp_path: Path, name: str, suffix: str, block: int
) -> None:
    for seed in range(12 * block, 12 * block + 12):
        Trial(lived, name, suffix, seed).run(tmp_path / str(seed))
        shutil.rmtree(tmp_path / str(seed))


def damaged(path: Path) -> Path:
    """A page of records is gone, and SQLite finds that out as it reads it."""
    with Pages(path) as pages:
        numbers = [
            row.page for row in rows(pages) if row.rowid and row.values and len(row.values) == len(COLUMNS["records"])
        ]
    number = numbers[len(numbers) // 2]
    data = bytearray(path.read_bytes())
    data[(number - 1) * PAGE : number * PAGE] = bytes(PAGE)
    path.write_bytes(data)
    return path


def test_a_record_that_is_not_as_it_was_stored_is_found_by_whoever_reads_it(lived: Lived, tmp_path: Path) -> None:
    path = lived.copy(tmp_path / "device", "closed")
    data = path.read_bytes()
    identity = reading_record(7)["record_id"]
    body = json.dumps(reading_record(7), separators=(",", ":")).encode()
    assert data.count(body) == 1
    path.write_bytes(data.replace(body, body.replace(b'"tmin_c":1', b'"tmin_c":2')))
    with Store(path) as store:
        assert store.get(reading_record(8)["record_id"]) == reading_record(8)
        for read in (
            lambda: store.get(identity),
            lambda: store.records(EPISODE, "readings"),
            lambda: store.records_after(0, ("readings",)),
            store.check,
        ):
            with pytest.raises(StoreDamaged, match="is not as it was stored"):
                read()
    with open_store(path, stamp, is_damaged=True)[0] as store:
        assert store.get(identity) is None
        assert len(store.records(EPISODE, "readings")) == DAYS - 1


def test_what_could_not_be_saved_is_named_in_the_report_and_in_the_events(lived: Lived, tmp_path: Path) -> None:
    path = damaged(lived.copy(tmp_path / "device", "closed"))
    store, (report,) = mended(path)
    with store:
        missing = {identity for identity in lived.truth.records if store.get(identity) is None}
        assert len(missing) == report.lost_rows["records"] > 0
        assert {name.replace(" of ", "/") for name in report.lost} == {
            "/".join(identity.split("/")[2:]) for identity in missing
        }
        (event,) = store.events(1)
        assert (event["kind"], event["lost"]) == ("rebuilt", list(report.lost))
        assert f"lost {len(missing)} records" in event["text"] and report.set_aside in event["text"]
        assert store.last_sequence() <= len(lived.truth.records)
        before = store.last_sequence()
        store.add("operations", dated("operations", 50))
        assert store.records_after(before, ("operations",))[0][0] > len(lived.truth.records) - 2


def test_the_damaged_files_are_kept_with_a_time_and_only_the_last_ones(lived: Lived, tmp_path: Path) -> None:
    path = lived.copy(tmp_path / "device", "killed")
    log = bytearray((path.parent / "store.db-wal").read_bytes())
    log[5000] ^= 1
    (path.parent / "store.db-wal").write_bytes(log)
    with open_store(path, stamp)[0]:
        pass
    assert (path.parent / "store.db.damaged-20060701T120000Z-wal").read_bytes() == log
    for _ in range(KEPT_ASIDE + 1):
        damaged(path)
        with open_store(path, stamp, is_damaged=True)[0]:
            pass
    names = [file.name for file in set_aside(path)]
    assert len(names) == KEPT_ASIDE and len(set(names)) == KEPT_ASIDE
    assert not (path.parent / "store.db.damaged-20060701T120000Z-wal").exists()


def test_a_store_that_is_sound_is_left_as_it_is(lived: Lived, tmp_path: Path) -> None:
    path = lived.copy(tmp_path / "device", "killed")
    assert rebuild(path, stamp) is None
    store, report = open_store(path, stamp, is_damaged=True)
    with store:
        assert report is None and truth_of(store) == lived.truth
    assert set_aside(path) == []


def test_nobody_mends_a_store_that_somebody_has_open(lived: Lived, tmp_path: Path) -> None:
    path = damaged(lived.copy(tmp_path / "device", "closed"))
    with Store(path) as other:
        with pytest.raises(StoreBusy, match="in use by another process"):
            open_store(path, stamp, is_damaged=True, busy_timeout_s=0.02)
        other.add_event("still", "writes to the store that is still in its place")
    store, reports = mended(path)
    with store:
        assert reports and store.events(1, "still")


def test_a_full_disk_keeps_the_damaged_store_to_be_mended_later(
    lived: Lived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = damaged(lived.copy(tmp_path / "device", "closed"))
    before = path.read_bytes()

    def full(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(StoreFailed, match="No space left"):
        patch.setattr(rebuild_module, "_sync", full)
        open_store(path, stamp, is_damaged=True)
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["outbox", "store.db", "store.db-lock"]
    store, reports = mended(path)
    with store:
        assert reports


@pytest.mark.slow
def test_a_kill_anywhere_while_mending_leaves_the_damaged_store_or_the_finished_one(
    lived: Lived, tmp_path: Path
) -> None:
    whole = lived.copy(tmp_path / "device", "killed").parent
    log = bytearray((whole / "store.db-wal").read_bytes())
    log[len(log) // 2] ^= 1
    (whole / "store.db-wal").write_bytes(log)
    shutil.copytree(whole, tmp_path / "undisturbed")
    with open_store(tmp_path / "undisturbed" / "store.db", stamp)[0] as store:
        expected = truth_of(store)
    for number in range(1, 200):
        path = tmp_path / str(number) / "store.db"
        shutil.copytree(whole, path.parent)
        was_killed = killed_at_step(number, lambda path=path: open_store(path, stamp)[0].close())
        store, _ = mended(path)
        with store:
            assert truth_of(store) == expected, f"after step {number}"
        assert len(set_aside(path)) == 1
        assert not [file for file in path.parent.iterdir() if "rebu" in file.name]
        shutil.rmtree(path.parent)
        if not was_killed:
            break
    assert 25 < number < 199


def killed_at_step(number: int, run: Callable[[], None]) -> bool:
    """Run in a process of its own that ends before or after its change of the disk of that number. False where it came
    to its end before."""
    child = os.fork()
    if child == 0:
        steps = iter(range(1, 10_000))

        def stepping(function: Callable[..., Any]) -> Callable[..., Any]:
            def step(*values: Any, **named: Any) -> Any:
                if next(steps) == number:
                    os._exit(9)
                found = function(*values, **named)
                if next(steps) == number:
                    os._exit(9)
                return found

            return step

        try:
            for owner, name in ((os, "fsync"), (os, "close"), (Path, "replace"), (Path, "unlink")):
                setattr(owner, name, stepping(getattr(owner, name)))
            for name in ("_fill", "restore_batches", "prepare"):
                setattr(rebuild_module, name, stepping(getattr(rebuild_module, name)))
            run()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9


def test_a_mended_store_that_waits_is_put_in_its_place_by_whoever_opens_it(lived: Lived, tmp_path: Path) -> None:
    """Killed between the two halves: the old log must not be taken for the new store's."""
    path = lived.copy(tmp_path / "device", "killed")
    shutil.copy(lived.folder / "closed.db", rebuilt_path(path, "2006-07-01T12:00:00Z"))
    path.replace(path.with_name("store.db.damaged-20060701T120000Z"))
    with Store(path, stamp) as store:
        assert truth_of(store) == lived.truth
    assert (path.parent / "store.db.damaged-20060701T120000Z-wal").exists()


# Batches


def forget_batches(path: Path) -> None:
    """The rows of the batches are gone, as if their page had been: only the index on them, and the outbox, know."""
    with Pages(path) as pages:
        places = {row.page for row in rows(pages) if row.rowid and row.values and len(row.values) == 6}
    data = bytearray(path.read_bytes())
    for number in places:
        data[(number - 1) * PAGE : number * PAGE] = bytes(PAGE)
    path.write_bytes(data)


def test_a_batch_that_the_store_forgot_is_taken_up_from_the_outbox_and_still_sent(lived: Lived, tmp_path: Path) -> None:
    path = lived.copy(tmp_path / "device", "closed")
    forget_batches(path)
    store, (report,) = mended(path)
    with store:
        assert report.batches == 1 and report.returned == 0
        outbox = Outbox(path.parent / "outbox", store)
        outbox.settle()
        ((batch, data),) = outbox.waiting()
        assert {batch.batch_id: batch.bytes} == lived.truth.batches and batch_id(data) == batch.batch_id
        selected = store.records(EPISODE, "readings", "selected")
        assert selected == [reading_record(10)]


def test_records_of_a_batch_that_is_nowhere_are_chosen_anew(lived: Lived, tmp_path: Path) -> None:
    path = lived.copy(tmp_path / "device", "closed")
    forget_batches(path)
    shutil.rmtree(path.parent / "outbox")
    store, (report,) = mended(path)
    with store:
        assert (report.batches, report.returned) == (0, 2)
        assert store.states() == {"acknowledged": 2, "stored": len(lived.truth.records) - 2}


def test_a_batch_whose_records_are_lost_is_kept_for_it_is_the_only_copy(lived: Lived, tmp_path: Path) -> None:
    path = lived.copy(tmp_path / "device", "closed")
    data = bytearray(path.read_bytes())
    with Pages(path) as pages:
        lost = {
            row.page
            for row in rows(pages)
            if row.rowid and row.values and (len(row.values) == 6 or row.values[1] == reading_record(10)["record_id"])
        }
    for number in lost:
        data[(number - 1) * PAGE : number * PAGE] = bytes(PAGE)
    path.write_bytes(data)
    store, _ = mended(path)
    with store:
        assert store.get(reading_record(10)["record_id"]) is None
        Outbox(path.parent / "outbox", store).settle()
        assert [file.stem for file in (path.parent / "outbox").iterdir()] == list(lived.truth.batches)


def test_the_names_of_loggers_are_saved_from_whichever_place_is_left(lived: Lived, tmp_path: Path) -> None:
    path = lived.copy(tmp_path / "device", "closed")
    with Pages(path) as pages:
        (table,) = {row.page for row in rows(pages) if row.rowid and row.values and len(row.values) == 3}
    data = bytearray(path.read_bytes())
    data[(table - 1) * PAGE : table * PAGE] = bytes(PAGE)
    path.write_bytes(data)
    with mended(path)[0] as store:
        assert store.origins() == ["probes", "station"]
        assert truth_of(store).samples == lived.truth.samples


# Older and newer forms


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_store_of_the_first_form_is_mended_too(tmp_path: Path, seed: int) -> None:
    path, dice = tmp_path / "store.db", random.Random(seed)  # noqa: S311
    write_form_1(path)
    data = bytearray(path.read_bytes())
    (zero_a_page, scramble_a_sector, misplace_a_page)[seed % 3](data, dice)
    path.write_bytes(data)
    store, reports = mended(path)
    with store:
        if not reports and bytes(data) != b"":
            assert sum(store.states().values()) <= len(records())
        for _, record, state, _ in records():
            found = store.get(record["record_id"])
            assert found in (None, record)
            if found is not None:
                assert record not in store.records(EPISODE, "readings", "acknowledged") or state == "acknowledged"


def test_a_store_of_the_first_form_without_its_first_page_loses_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    write_form_1(path)
    data = bytearray(path.read_bytes())
    data[:PAGE] = bytes(PAGE)
    path.write_bytes(data)
    store, (report,) = mended(path)
    with store:
        assert report.saved["records"] == len(records()) == 2 * DAYS_1 + 2
        assert [table for _, table, _ in store.records_after(0, ("fields", "readings"))][:2] == ["fields", "readings"]
        assert {record["record_id"] for _, record, state, _ in records() if state == "stored"} <= {
            record["record_id"] for table in ("readings", "recommendations", "operations")
            for record in store.records(EPISODE, table, "stored")
        }  # fmt: skip


def test_a_store_of_the_first_form_that_is_whole_is_not_mended_but_carried_over(tmp_path: Path) -> None:
    write_form_1(tmp_path / "store.db")
    store, report = open_store(tmp_path / "store.db", stamp, is_damaged=True)
    with store:
        assert report is None
        check_carried_over(store)


def without_page(store: Path, number: int, to: Path) -> Path:
    to.mkdir()
    data = bytearray(store.read_bytes())
    data[(number - 1) * PAGE : number * PAGE] = bytes(PAGE)
    (to / "store.db").write_bytes(data)
    return to / "store.db"


def test_whatever_page_of_a_store_that_numbered_its_episodes_is_gone_the_rest_comes_over(tmp_path: Path) -> None:
    whole = tmp_path / "whole.db"
    write_form_3(whole)
    expected = as_form_5(content_of(whole))
    known = {table: {row[COLUMNS[table][1]]: row for row in expected[table]} for table in ("records", "batches")}
    saved = [0, 0]
    for number in range(1, whole.stat().st_size // PAGE + 1):
        path = without_page(whole, number, tmp_path / str(number))
        mended, report = open_store(path, stamp, is_damaged=True, merit=merit(AGRICULTURE))
        with mended as store:
            store.check()
            assert report is None or number == 1 or "from form 3 to form 5" in store.events(kind="migrated")[0]["text"]
        found = without_seals(content_of(path))
        for table, key in (("records", "record_id"), ("batches", "batch_id")):
            for row in found[table]:
                was = known[table][row[key]]
                if row.get("batch_id") is None:  # its batch was lost with the page
                    was = {**was, "batch_id": None, "state": "stored"}
                assert row == was
        for table in ("boots", "samples", "rejects"):
            assert all(row in expected[table] for row in found[table])
        lost = len(expected["records"]) - len(found["records"])
        assert (
            lost <= 0 or (report is not None and report.lost_rows["records"] + report.damaged_rows > 0) or number == 1
        )
        saved = [saved[0] + len(found["records"]), saved[1] + (lost > 0)]
    assert saved[1] > 2, "pages of records were among those that are gone"
    assert saved[0] > 0.8 * number * len(expected["records"])


def test_a_damaged_store_whose_times_were_cut_is_rebuilt_with_that_in_mind(tmp_path: Path) -> None:
    whole = tmp_path / "whole.db"
    write_form_3(whole, CUT_FORM)
    with Pages(whole) as pages:
        number = next(row.page for row in rows(pages) if row.rowid and len(row.values or ()) == len(RECORD_3))
    mended, report = open_store(without_page(whole, number, tmp_path / "device"), stamp, is_damaged=True)
    with mended as store:
        assert report is not None and report.saved["samples"] > 0
        (known, *_) = store.samples("", "9")
        again = replace(known.sample, time_utc=known.sample.time_utc.replace("Z", ".25Z"))
        assert store.as_stored(again) == known.sample
        other = replace(again, values={"air_temperature_c": -1.0})
        assert store.as_stored(other) == other


def test_a_damaged_store_of_a_newer_agent_is_left_to_that_agent(lived: Lived, tmp_path: Path) -> None:
    path = lived.copy(tmp_path / "device", "closed")
    with Store(path) as store:
        store._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        store._connection.execute(f"PRAGMA application_id = {APPLICATION + SCHEMA_VERSION + 1}")
    damaged(path)
    before = path.read_bytes()
    with pytest.raises(DataError, match="form 6"):
        rebuild(path, stamp)
    assert path.read_bytes() == before


# Pages


def test_every_row_that_sqlite_reads_is_read_from_the_pages_as_well(lived: Lived) -> None:
    for name in ("closed", "killed"):
        with Pages(lived.folder / f"{name}.db") as pages:
            found = sorted(
                (row.rowid, row.values[1:])
                for row in rows(pages)
                if row.rowid and len(row.values or ()) == len(COLUMNS["records"])
            )
        with Store(lived.folder / "closed.db") as store:
            stored = store._all(f"SELECT {', '.join(COLUMNS['records'])} FROM records ORDER BY sequence")  # noqa: S608
        assert found == [(row[0], row[1:]) for row in stored]


VALUES = (
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(max_size=9000)
)


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), VALUES, VALUES), unique_by=lambda row: row[0], max_size=30))
def test_any_row_of_any_table_is_read_from_its_page(tmp_path: Path, found: list[tuple[int, Any, Any]]) -> None:
    import sqlite3

    path = tmp_path / "any.db"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE any_ (id INTEGER PRIMARY KEY, a, b)")
    connection.executemany("INSERT INTO any_ VALUES (?, ?, ?)", found)
    connection.commit()
    connection.close()
    with Pages(path) as pages:
        read = [(row.rowid, *row.values[1:]) for row in rows(pages) if row.values and len(row.values) == 3]
    assert sorted(read, key=lambda row: row[0] or 0) == sorted(found, key=lambda row: row[0])


@settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(st.data())
def test_no_bytes_make_the_reading_of_pages_or_logs_fail(lived: Lived, tmp_path: Path, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 60))
    page = bytearray((lived.folder / "closed.db").read_bytes()[number * PAGE : (number + 1) * PAGE])
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, PAGE - 1), st.integers(0, 255)), max_size=60)):
        page[at if at < len(page) else 0] = value
    (tmp_path / "any.db").write_bytes(bytes(page) * 3 + data.draw(st.binary(max_size=200)))
    with Pages(tmp_path / "any.db") as pages:
        for row in rows(pages):
            assert row.values is None or isinstance(row.values, tuple)
    log = bytearray((lived.folder / "killed.db-wal").read_bytes()[: data.draw(st.integers(0, 5 * FRAME))])
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 5 * FRAME), st.integers(0, 255)), max_size=20)):
        if at < len(log):
            log[at] = value
    Log(bytes(log)).is_damaged()
    Log(data.draw(st.binary(max_size=100))).committed()


def test_what_sqlite_wrote_to_its_log_is_whole(lived: Lived) -> None:
    log = Log((lived.folder / "killed.db-wal").read_bytes())
    assert log._is_whole.all() and not log.is_damaged() and log.broken_frames() == 0
    places, count = log.committed()
    assert len(places) > 10 and count is not None and count * PAGE == (lived.folder / "closed.db").stat().st_size


@pytest.mark.parametrize("end", [1, 100, FRAME - 1, FRAME, 3 * FRAME + 7])
def test_a_log_that_a_power_cut_tore_is_not_damaged(lived: Lived, end: int) -> None:
    log = (lived.folder / "killed.db-wal").read_bytes()
    assert not Log(log[:-end]).is_damaged()
    torn = bytearray(log)
    torn[-end:] = bytes(end)
    assert not Log(bytes(torn)).is_damaged() or end > 2 * FRAME
