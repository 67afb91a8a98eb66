"""Room is made from what is least worth keeping; what the cloud lacks and needs stays, whatever the pressure."""

import json
import os
import random
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import fieldedge.storage.eviction
from fieldedge.contract import CHOSEN_ROLES
from fieldedge.contract.batches import unpack
from fieldedge.contract.samples import FlaggedSample, Sample
from fieldedge.device.config import DeviceConfig, DeviceDirectory, StoreConfig, read_config, write_config
from fieldedge.runtime.agent import Agent
from fieldedge.storage.eviction import BY_AGE, BY_VALUE, FRESH_SAMPLE_DAYS, _values
from fieldedge.storage.eviction import make_room as make_room_of
from fieldedge.storage.store import LOG_KEPT_BYTES, Store
from fieldedge.system.clock import Stamp
from fieldedge.system.errors import StoreBusy
from tests.edge.farm import Farm
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    EPISODE,
    SEASON,
    dated,
    field_record,
    season_messages,
    stored_entries,
)

TODAY = date(2007, 9, 1)
NO_FREE_BYTES = 0
ROOMY = StoreConfig(max_bytes=100_000_000, max_days=10_000, min_free_bytes=NO_FREE_BYTES)
KB = 1000

CONTRACT = AGRICULTURE.contract
CHOSEN_FROM = CONTRACT.tables_of(*CHOSEN_ROLES)
make_room = partial(make_room_of, chosen_roles=CHOSEN_ROLES)


def tight(content_kb: int, max_days: int = 10_000) -> StoreConfig:
    return StoreConfig(LOG_KEPT_BYTES + content_kb * KB, max_days, NO_FREE_BYTES)


def test_who_makes_room_says_whose_rows_are_chosen_from(store: Store) -> None:
    """What was said of decisions is chosen with its moment in some workloads: no store can know."""
    with pytest.raises(TypeError, match="chosen_roles"):
        make_room_of(store, CONTRACT, ROOMY, TODAY)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(tmp_path / "store.db", lambda: Stamp("boot", "2007-09-01T12:00:00Z", True)) as opened:
        yield opened


def sample_days(store: Store) -> list[str]:
    return sorted({time_utc[:10] for time_utc in store.sample_times()})


def season(store: Store, year: int, days: int = 60, width: Any = None, size: int = 500) -> None:
    store.add("fields", field_record(year))
    for day in range(days):
        store.add("readings", dated("readings", day, year, text="x" * size))
        merit = 1.0 + day / 10.0 if width is None else width(day)
        store.add("recommendations", dated("recommendations", day, year, text="x" * size), merit=merit)
        if day % 7 == 3:
            store.add("operations", dated("operations", day, year, source="override"))
    store.add("harvests", dated("harvests", days, year, yield_t_ha=11.0))


def acknowledge(store: Store, year: int, identities: list[str]) -> None:
    store.mark_selected(f"batch {year}", str(year), 100, stored_entries(store, identities))
    store.mark_acknowledged(f"batch {year}")


def samples(store: Store, first: date, days: int) -> None:
    store.add_samples(
        [
            FlaggedSample(Sample("station", f"{first + timedelta(days=day)}T{hour:02d}:00:00Z", {"rain_mm": 0.0}), {})
            for day in range(days)
            for hour in range(24)
        ]
    )


def days_of(store: Store, year: int, table: str = "readings") -> list[str]:
    return [record["date"] for record in store.records(str(year), table)]


def disk_bytes(store: Store) -> int:
    return sum(
        file.stat().st_size for suffix in ("", "-wal") if (file := store.path.with_name(f"store.db{suffix}")).exists()
    )


def test_where_there_is_room_nothing_goes_and_nothing_is_said(store: Store) -> None:
    season(store, SEASON)
    report = make_room(store, CONTRACT, ROOMY, TODAY)
    assert (report.rows, report.over_bytes, store.events()) == (0, 0, [])


def test_old_samples_go_before_any_record_and_the_event_says_how_many(store: Store) -> None:
    season(store, SEASON)
    season(store, SEASON + 1)
    samples(store, TODAY - timedelta(days=120), 120)
    before = store.states()
    report = make_room(store, CONTRACT, tight(500), TODAY)
    assert list(report.evicted) == ["samples that are summed up"]
    assert store.states() == before
    assert disk_bytes(store) <= tight(500).max_bytes
    (event,) = store.events()
    assert (event["kind"], event["rows"]) == ("evicted", report.rows)
    assert f"made room: {report.rows} samples" in event["text"]


def test_of_a_past_season_the_days_of_which_the_model_was_surest_go_first_and_whole(store: Store) -> None:
    def width(day: int) -> float | None:
        return None if day == 5 else 1.0 + (day * 37 % 60)  # on that day it abstained

    season(store, SEASON, width=width, size=20_000)
    season(store, SEASON + 1, days=1)
    full = store.used_bytes()
    make_room(store, CONTRACT, StoreConfig(full - 1, 10_000, NO_FREE_BYTES), TODAY)
    left = days_of(store, SEASON, "recommendations")
    assert 0 < len(left) < 60
    assert set(days_of(store, SEASON)) <= set(left) | {min(left)} or set(left) <= set(days_of(store, SEASON))
    by_width = sorted(range(60), key=lambda day: float("inf") if day == 5 else day * 37 % 60)
    kept = sorted(dated("readings", day)["date"] for day in by_width[60 - len(left) :])
    assert left == kept


def test_what_was_said_of_a_season_goes_after_its_field_and_one_season_after_the_other(store: Store) -> None:
    for year in (2004, 2005):
        season(store, year)
        store.replace("fields", {**field_record(year), "root_depth_max_m": 1.2}, "told again")  # it is the newest now
    store.add("fields", field_record(2006))
    store.add("readings", dated("readings", 0, 2006))
    said = [row["record_id"] for table in ("fields", "operations", "harvests") for row in store.records("2004", table)]
    late = [row["record_id"] for table in ("operations", "harvests") for row in store.records("2005", table)]
    acknowledge(store, 2004, said)
    acknowledge(store, 2005, late)  # and not its field
    make_room(store, CONTRACT, tight(0), TODAY)
    left = {row["record_id"] for table in ("fields", "operations", "harvests") for row in store.records("2004", table)}
    assert left == set()
    assert len(store.records("2005", "operations")) == len(late) - 1


def test_what_was_not_chosen_when_days_were_goes_before_days_that_nobody_has_chosen_from(store: Store) -> None:
    season(store, SEASON - 1, size=20_000)
    season(store, SEASON, size=20_000)
    season(store, SEASON + 1, days=1)
    chosen = [dated("readings", day)["record_id"] for day in range(10)]
    store.mark_selected("batch", EPISODE, 100, stored_entries(store, chosen))
    store.mark_acknowledged("batch")
    report = make_room(store, CONTRACT, StoreConfig(store.used_bytes() - 1, 10_000, NO_FREE_BYTES), TODAY)
    assert list(report.evicted) == ["days of past episodes that were not chosen"]
    assert len(days_of(store, SEASON - 1)) == 60
    assert set(days_of(store, SEASON)) >= {dated("readings", day)["date"] for day in range(10)}


def test_a_season_that_was_told_ahead_makes_the_one_under_way_no_past_one(store: Store) -> None:
    season(store, SEASON, size=20_000)
    store.add("fields", field_record(SEASON + 1))
    report = make_room(store, CONTRACT, StoreConfig(store.used_bytes() - 1, 10_000, NO_FREE_BYTES), TODAY)
    assert (report.rows, len(days_of(store, SEASON))) == (0, 60)
    season(store, SEASON + 1, days=1)
    make_room(store, CONTRACT, StoreConfig(store.used_bytes() - 1, 10_000, NO_FREE_BYTES), TODAY)
    assert len(days_of(store, SEASON)) < 60


def test_no_pressure_takes_what_is_not_acknowledged_and_it_is_said_that_room_lacks(store: Store) -> None:
    season(store, SEASON)
    season(store, SEASON + 1)
    samples(store, TODAY - timedelta(days=40), 40)
    sent = [field_record(SEASON)["record_id"], dated("operations", 3)["record_id"]]
    store.mark_selected("sent", EPISODE, 10, stored_entries(store, sent))
    store.mark_acknowledged("sent")
    store.mark_selected("waits", EPISODE, 10, stored_entries(store, [dated("readings", 9)["record_id"]]))
    report = make_room(store, CONTRACT, tight(1), TODAY)
    assert report.over_bytes > 0
    assert [record["date"] for record in store.records(EPISODE, "operations")] == [
        dated("operations", day)["date"] for day in range(10, 60, 7)
    ]
    assert days_of(store, SEASON) == [dated("readings", 9)["date"]]
    assert [len(store.records(EPISODE, table)) for table in ("fields", "harvests")] == [0, 1]
    assert (len(days_of(store, SEASON + 1)), len(store.records(str(SEASON + 1), "operations"))) == (60, 9)
    assert sample_days(store) == [f"{TODAY - timedelta(days=day)}" for day in (3, 2, 1)]
    assert "bring the device to a link" in store.events(1, "store_full")[0]["text"]


def test_without_a_link_no_record_goes_by_age_and_no_sample_that_is_in_no_reading(store: Store) -> None:
    for year in range(SEASON - 9, SEASON + 2):
        season(store, year)
        samples(store, date(year, 1, 1), 10)
    store.reject("line 1", "not JSON", "{")
    before, days = store.states(), sample_days(store)
    report = make_room(store, CONTRACT, StoreConfig(ROOMY.max_bytes, 1, NO_FREE_BYTES), TODAY)
    assert (report.rows, store.states(), sample_days(store)) == (0, before, days)


def test_age_takes_what_is_home_what_was_not_chosen_and_what_is_summed_up(store: Store) -> None:
    season(store, SEASON - 3)
    season(store, SEASON + 1)
    samples(store, date(SEASON - 3, 4, 20), 30)
    home = [
        field_record(SEASON - 3),
        dated("readings", 0, SEASON - 3),
        dated("recommendations", 0, SEASON - 3),
        dated("harvests", 60, SEASON - 3),
    ]
    read = stored_entries(store, [record["record_id"] for record in home])
    store.mark_selected("sent", str(SEASON - 3), 10, read)
    store.mark_acknowledged("sent")
    read = stored_entries(store, [dated("readings", 7, SEASON - 3)["record_id"]])
    store.mark_selected("waits", str(SEASON - 3), 10, read)
    report = make_room(store, CONTRACT, StoreConfig(ROOMY.max_bytes, 300, NO_FREE_BYTES), TODAY)
    assert {what: rows for what, (rows, _) in report.evicted.items()} == {
        "summed up samples beyond the age limit": 24 * 19,
        "acknowledged days beyond the age limit": 2,
        "acknowledged records beyond the age limit": 2,
        "days beyond the age limit that were not chosen": 117,
    }
    assert days_of(store, SEASON - 3) == [dated("readings", 7, SEASON - 3)["date"]]
    assert [len(store.records(str(SEASON - 3), table)) for table in ("fields", "operations", "harvests")] == [0, 9, 0]
    assert len(days_of(store, SEASON + 1)) == 60
    assert len(sample_days(store)) == 11


def test_before_days_go_that_nobody_has_chosen_from_the_best_of_them_are_chosen(store: Store) -> None:
    season(store, SEASON, size=20_000)
    season(store, SEASON + 1, days=1)
    best = [dated(table, day)["record_id"] for table in CHOSEN_FROM for day in range(10)]  # by far not the widest

    def choose() -> None:
        assert len(days_of(store, SEASON)) == 60
        store.mark_selected("best", EPISODE, 10, stored_entries(store, best))

    report = make_room(store, CONTRACT, tight(1), TODAY, choose=choose)
    assert list(report.evicted) == ["days of past episodes that were not chosen"]
    assert days_of(store, SEASON) == [dated("readings", day)["date"] for day in range(10)]


@pytest.mark.parametrize("error", [StoreBusy("a sync is under way"), OSError(28, "No space left on device")])
def test_days_that_cannot_be_chosen_from_now_stay_until_they_can(store: Store, error: Exception) -> None:
    season(store, SEASON)
    season(store, SEASON + 1, days=1)

    def choose() -> None:
        raise error

    before = store.states()
    report = make_room(store, CONTRACT, tight(1), TODAY, choose=choose)
    assert (report.rows, store.states()) == (0, before)
    assert report.over_bytes > 0


def test_a_device_that_no_link_reaches_keeps_the_best_of_each_season(device: DeviceDirectory) -> None:
    """A real service over its bound: its own selection chooses, into batches that wait for a link or a stick."""
    write_config(device.settings, DeviceConfig(DEVICE_ID, "agriculture", upload_budget_bytes=2_500))
    with device.settings.open("a") as file:
        file.write("[store]\nmax_bytes = 1_500_000\nmax_days = 1\nmin_free_bytes = 0\n")
    with Store(device.root / "scratch.db") as scratch, Store(device.store) as store:
        agent = Agent(read_config(device.settings), AGRICULTURE, scratch, None)
        for year in range(SEASON, SEASON + 3):
            list(agent.answers(json.dumps(message) for message in season_messages(30, year)))
            for table in AGRICULTURE.contract.tables:
                for record in scratch.records(str(year), table.name):
                    store.add(table.name, {**record, "note": "x" * 15_000})
    farm = Farm(device, datetime(SEASON + 3, 1, 1, tzinfo=UTC))
    farm.service.make_room()
    store, outbox = farm.service.store, list(device.outbox.iterdir())
    seasons = {unpack(path.read_bytes())["season"]: unpack(path.read_bytes())["tables"] for path in outbox}
    assert set(seasons) == {SEASON, SEASON + 1}
    for year, tables in seasons.items():
        assert {len(tables[name]) for name in ("fields", "harvests")} == {1}
        assert len(tables["operations"]) == len(store.records(str(year), "operations"))
        chosen = {row["date"] for row in tables["readings"]}
        assert 5 < len(chosen) < 20
        assert chosen == set(days_of(store, year)) & chosen
        assert chosen == {row["date"] for row in store.records(str(year), "recommendations", "selected")}
    assert len(days_of(store, SEASON + 2)) == 30
    assert [event["what"] for event in store.events(kind="evicted")] == ["days of past episodes that were not chosen"]
    assert len(store.events(kind="chosen")) == 2
    farm.close()


def test_a_clock_that_runs_years_ahead_ages_nothing(store: Store) -> None:
    season(store, SEASON)
    samples(store, date(2006, 5, 1), 60)
    report = make_room(store, CONTRACT, StoreConfig(ROOMY.max_bytes, 300, NO_FREE_BYTES), date(2031, 1, 1))
    assert report.rows == 0


def test_a_flood_of_rejects_is_taken_back_before_anything_else(store: Store) -> None:
    season(store, SEASON)
    season(store, SEASON + 1, days=1)
    before = store.states()
    store.reject_all((f"line {number}", "not JSON", f"{number}" * 200) for number in range(3000))
    report = make_room(store, CONTRACT, StoreConfig(store.used_bytes() - 1, 10_000, NO_FREE_BYTES), TODAY)
    assert list(report.evicted) == ["rejects before the last 1000"] and store.states() == before
    assert len(store.rejects()) >= 1000


def test_making_room_can_be_interrupted_between_small_steps_and_goes_on_the_next_time(store: Store) -> None:
    season(store, SEASON + 1, days=1)
    samples(store, TODAY - timedelta(days=200), 200)
    asked = []

    def is_interrupted() -> bool:
        asked.append(len(store.last_samples("station", 10_000)))
        return len(asked) in (8, 16, 24)

    reports = []
    while not reports or reports[-1].is_interrupted:
        reports.append(make_room(store, CONTRACT, tight(1), TODAY, is_interrupted))
    assert len(reports) > 2
    assert all(before - after <= 500 for before, after in pairwise(asked))
    assert sample_days(store)[0] == f"{TODAY - timedelta(days=1 + FRESH_SAMPLE_DAYS)}"
    assert sum(event["rows"] for event in store.events(kind="evicted")) == sum(report.rows for report in reports)


def test_a_process_that_is_killed_while_it_makes_room_has_told_of_all_that_went(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        season(store, SEASON + 1, days=1)
        samples(store, TODAY - timedelta(days=200), 200)
        before = len(store.last_samples("station", 10_000))
    child = os.fork()
    if child == 0:
        steps = iter(range(100))
        make_room(Store(path), CONTRACT, tight(1), TODAY, lambda: os._exit(9) if next(steps) == 9 else False)  # type: ignore[func-returns-value]
    os.waitpid(child, 0)
    with Store(path) as store:
        store.check()
        gone = before - len(store.last_samples("station", 10_000))
        assert gone > 0 and sum(event["rows"] for event in store.events(kind="evicted")) == gone


def test_where_the_disk_is_full_damaged_stores_that_were_set_aside_go_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    season(store, SEASON)
    for name in ("20060501T000000Z", "20060601T000000Z"):
        for suffix in ("", "-wal"):
            store.path.with_name(f"store.db.damaged-{name}{suffix}").write_bytes(bytes(10_000))
    real = shutil.disk_usage(store.path.parent)
    kept = {"bytes": 0}

    def usage(path: Path) -> Any:
        kept["bytes"] = sum(file.stat().st_size for file in path.iterdir() if "damaged" in file.name)
        return real._replace(free=1_000_000 - kept["bytes"])

    monkeypatch.setattr(fieldedge.storage.eviction.shutil, "disk_usage", usage)
    report = make_room(store, CONTRACT, StoreConfig(ROOMY.max_bytes, 10_000, 980_000), TODAY)
    assert report.evicted == {"damaged stores that were set aside": (1, 20_000)}
    assert [file.name for file in store.path.parent.iterdir() if "damaged" in file.name and file.suffix != ""] != []
    assert "20060501T000000Z, damaged and set aside" in store.events(1, "evicted")[0]["text"]


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program has the disk but for a megabyte, whatever the store gives up."""
    usage = shutil.disk_usage("/")._replace(free=1_000_000)
    monkeypatch.setattr(fieldedge.storage.eviction.shutil, "disk_usage", lambda _path: usage)


@pytest.mark.usefixtures("crowded")
@pytest.mark.parametrize("is_over_too", [False, True])
def test_for_a_disk_that_another_program_fills_no_day_goes_that_is_not_acknowledged(
    store: Store, is_over_too: bool
) -> None:
    for year in (SEASON - 1, SEASON, SEASON + 1):
        season(store, year, size=5_000)
    samples(store, TODAY - timedelta(days=60), 60)
    for year, state in ((SEASON - 1, "sent"), (SEASON, "waits")):
        read = stored_entries(store, [dated("readings", day, year)["record_id"] for day in range(9)])
        store.mark_selected(state, str(year), 10, read)
    store.mark_acknowledged("sent")
    if is_over_too:
        store.reject_all((f"line {number}", "not JSON", f"{number}" * 2000) for number in range(1500))
    bound = store.used_bytes() - 1 if is_over_too else ROOMY.max_bytes
    report = make_room(store, CONTRACT, StoreConfig(bound, 10_000, 20_000_000), TODAY)
    went = {what: rows for what, (rows, _) in report.evicted.items() if not what.startswith("rejects")}
    assert went == {
        "samples that are summed up": 29 * 24,
        "acknowledged days of past episodes": 9,
    }
    assert [len(days_of(store, year)) for year in (SEASON - 1, SEASON, SEASON + 1)] == [51, 60, 60]
    assert report.over_bytes == 0 and report.missing_bytes == 19_000_000
    assert store.add("readings", dated("readings", 90, SEASON + 1)), "what comes is kept while it finds room"


@pytest.mark.usefixtures("crowded")
def test_that_another_program_fills_the_disk_is_told_and_holds_up_nothing(device: DeviceDirectory) -> None:
    farm = Farm(device)
    farm.plant()
    farm.live(1.5)
    assert [reading["date"] for reading in farm.records("readings")] == ["2006-05-01"]
    (room,) = [step for step in farm.service.field_steps.steps if step.name == "room"]
    assert "make room: logs, packages, other programs' data" in str(room.error)
    assert any("what it holds stays" in text for text in farm.events("step"))
    farm.close()


@dataclass
class Model:
    """What the store must hold, by what was done to it."""

    records: dict[str, tuple[str, int, str]] = field(default_factory=dict)  # table, season, state
    batches: dict[str, list[str]] = field(default_factory=dict)
    evicted: int = 0


class Pressure(RuleBasedStateMachine):
    """Seasons are lived, sent, acknowledged and lost again in any order; room is made with any bound at any time."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="eviction-"))
        self.store = Store(self.folder / "store.db", lambda: Stamp("boot", "2007-09-01T12:00:00Z", True))
        self.model, self.year, self.day, self.batch = Model(), SEASON, 0, 0

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def put(self, table: str, record: dict[str, Any], merit: float | None = None) -> None:
        if self.store.add(table, record, merit=merit):
            self.model.records[record["record_id"]] = table, record["season"], "stored"

    @rule(days=st.integers(1, 25), size=st.integers(0, 1500))
    def live(self, days: int, size: int) -> None:
        for day in range(self.day, self.day + days):
            self.put("readings", dated("readings", day, self.year, text="x" * size))
            self.put("recommendations", dated("recommendations", day, self.year, text="x" * size), day * 7 % 11)
            if day % 5 == 0:
                self.put("operations", dated("operations", day, self.year, source="override"))
        first = date.fromisoformat(dated("readings", self.day, self.year)["date"])
        samples(self.store, first, days)
        self.day += days

    @rule()
    def harvest(self) -> None:
        self.put("fields", field_record(self.year))
        self.put("harvests", dated("harvests", self.day, self.year, yield_t_ha=10.0))
        self.year, self.day = self.year + 1, 0

    @rule(count=st.integers(1, 30), text=st.integers(0, 3000))
    def refuse(self, count: int, text: int) -> None:
        self.store.reject_all((f"line {at}", "bad", f"{self.year} {self.day} {at}" + "x" * text) for at in range(count))

    @rule(seed=st.integers(0, 2**32), share=st.floats(0.05, 1.0))
    def select(self, seed: int, share: float) -> None:
        stored = sorted(identity for identity, (_, _, state) in self.model.records.items() if state == "stored")
        dice = random.Random(seed)  # noqa: S311
        chosen = [identity for identity in stored if dice.random() < share]
        if chosen:
            self.batch += 1
            self.store.mark_selected(f"batch {self.batch}", str(self.year), 100, stored_entries(self.store, chosen))
            self.model.batches[f"batch {self.batch}"] = chosen
            self._move(chosen, "selected")

    @rule(is_lost=st.booleans())
    def settle(self, is_lost: bool) -> None:
        if self.model.batches:
            identity = next(iter(self.model.batches))
            (self.store.withdraw if is_lost else self.store.mark_acknowledged)(identity)
            self._move(self.model.batches.pop(identity), "stored" if is_lost else "acknowledged")

    def _move(self, identities: list[str], state: str) -> None:
        for identity in identities:
            table, year, _ = self.model.records[identity]
            self.model.records[identity] = table, year, state

    @rule(content_kb=st.integers(1, 600), max_days=st.integers(1, 800), ahead=st.integers(-400, 4000))
    def make_room(self, content_kb: int, max_days: int, ahead: int) -> None:
        bounds, today = tight(content_kb, max_days), TODAY + timedelta(days=ahead)
        report = make_room(self.store, CONTRACT, bounds, today)
        self.model.evicted += report.rows
        if report.over_bytes:
            values = _values(self.store, CONTRACT, CHOSEN_ROLES, bounds, today)
            for eligible in (*BY_AGE, *BY_VALUE):
                rows = self.store._connection.execute(
                    f"SELECT count(*) FROM {eligible.table} t WHERE {eligible.where}",  # noqa: S608
                    values,
                ).fetchone()[0]
                assert rows == 0, f"over its bound, though there are {rows} {eligible.what}"
        else:
            assert self.store.used_bytes() <= bounds.max_bytes
            if report.rows:
                assert disk_bytes(self.store) <= bounds.max_bytes
        self._check()
        left = {row[0] for row in self.store._all("SELECT record_id FROM records")}
        self.model.records = {identity: kept for identity, kept in self.model.records.items() if identity in left}

    def _check(self) -> None:
        states = dict(self.store._all("SELECT record_id, state FROM records"))
        latest = max((year for _, year, _ in self.model.records.values()), default=0)
        for identity, (table, year, state) in self.model.records.items():
            is_protected = state == "selected" or (state == "stored" and table not in CHOSEN_FROM) or year == latest
            if is_protected:
                assert states.get(identity) == state, f"{identity}, {state}, has gone"
            else:
                assert states.get(identity, state) == state
        for identity, (table, year, _) in self.model.records.items():
            if table not in CHOSEN_FROM and identity not in states:
                assert field_record(year)["record_id"] not in states, f"{identity} has gone before its field"

    @invariant()
    def every_row_that_went_is_in_an_event(self) -> None:
        if hasattr(self, "store"):
            told = sum(
                json.loads(body)["rows"]
                for (body,) in self.store._all("SELECT body FROM events WHERE kind = 'evicted'")
            )
            assert told == self.model.evicted


TestPressure = Pressure.TestCase
TestPressure.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.slow
class TestLongPressure(Pressure.TestCase):
    settings = settings(
        max_examples=120, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
    )
