"""A store of an older agent is carried over whole, whatever happens on the way; one of a newer agent is left alone."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldedge.contract.samples import Sample
from fieldedge.storage.schema import (
    APPLICATION,
    COLUMNS,
    CUT_FORM,
    NUMBERED_FORM,
    SCHEMA_VERSION,
    SEALED_3,
    STATES,
    prepare,
    seal,
)
from fieldedge.storage.store import Store, Watched
from fieldedge.system.errors import DataError, StoreBusy, StoreDamaged
from fieldedge.workload import merit
from tests.edge.sample import AGRICULTURE, EPISODE, SEASON, dated, field_record, reading_record

# As the first agent wrote it, word for word.
FORM_1 = """
CREATE TABLE IF NOT EXISTS records (
    record_id  TEXT PRIMARY KEY,
    season     INTEGER NOT NULL,
    table_name TEXT NOT NULL,
    date       TEXT NOT NULL,
    body       TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    state      TEXT NOT NULL DEFAULT 'stored' CHECK (state IN ('stored', 'selected', 'acknowledged')),
    batch_id   TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_by_season ON records (season, table_name, date);
CREATE TABLE IF NOT EXISTS batches (
    batch_id TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    season   INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    state    TEXT NOT NULL DEFAULT 'prepared' CHECK (state IN ('prepared', 'acknowledged'))
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rejects (
    reject_id TEXT PRIMARY KEY,
    where_    TEXT NOT NULL,
    error     TEXT NOT NULL,
    body      TEXT NOT NULL
) WITHOUT ROWID;
"""
DAYS = 30
DECISIONS = AGRICULTURE.contract.decision_table.name
REJECTS = [
    ("line 3", "not JSON", "{", "8d10e8aa9d1cb2b4a50c03ae4ba1a1a5f7a23eb4c47a3cc6d9e1e4d1b9bb2f10"),
    ("reading 2006-05-02", "rain_mm is -4", "…", "0e10e8aa9d1cb2b4a50c03ae4ba1a1a5f7a23eb4c47a3cc6d9e1e4d1b9bb2f11"),
]


def records() -> list[tuple[str, dict[str, Any], str, str | None]]:
    """Table, record, state, batch: a season in all states."""
    found: list[tuple[str, dict[str, Any], str, str | None]] = [("fields", field_record(), "acknowledged", "first")]
    for day in range(DAYS):
        state, batch = (("selected", "second"), ("acknowledged", "first"), ("stored", None))[day % 3]
        found.append(("readings", reading_record(day), state, batch))
        found.append(("recommendations", dated("recommendations", day, said="Größe und 100 % Wasser"), state, batch))
    found.append(("operations", dated("operations", 3, source="override"), "stored", None))
    return found


def write_form_1(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(FORM_1)
    connection.execute("PRAGMA user_version = 1")
    for table, record, state, batch in records():
        body = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        row = (record["record_id"], SEASON, table, record.get("date") or record["planting_date"], body)
        connection.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, len(body.encode()), state, batch)
        )
    connection.executemany(
        "INSERT INTO batches VALUES (?, ?, ?, ?, ?)",
        [("second", 2, SEASON, 500, "prepared"), ("first", 1, SEASON, 700, "acknowledged")],
    )
    connection.executemany("INSERT INTO rejects (where_, error, body, reject_id) VALUES (?, ?, ?, ?)", REJECTS)
    connection.close()


# Made by the last agent of form 3: each kind of row in each of its states, and a counter beyond the last record.
FORM_3 = Path(__file__).with_name("form_3.sql")
MERITS = {  # of its decisions; the model abstained on each second day
    f"{year}/champion-00/recommendations/{year}-05-0{day}": merit
    for year in (SEASON - 1, SEASON)
    for day, merit in ((1, 2.0), (2, None), (3, 9.35 - 8.25))
} | {f"{SEASON}/champion-00/recommendations/{SEASON}-05-05": 0.5}
Content = dict[str, list[dict[str, Any]]]


def write_form_3(path: Path, form: int = NUMBERED_FORM) -> None:
    """The same as form 2, without the times that it could not keep, where that is the form."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(FORM_3.read_text())
    if form == CUT_FORM:
        connection.execute("DELETE FROM samples WHERE time_utc LIKE '%Z.%'")
        connection.execute(f"PRAGMA user_version = {form}")
        connection.execute(f"PRAGMA application_id = {APPLICATION + form}")
    connection.close()


def content_of(path: Path) -> Content:
    """Every row of every table, and how far each has counted."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()}
    tables = [table for table in (*COLUMNS, "sqlite_sequence") if table in there]
    rows = {table: [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1")] for table in tables}  # noqa: S608
    connection.close()
    return rows


def as_form_5(former: Content) -> Content:
    """What must have become of a store of form 3; seals are judged by the store itself."""
    records = [
        {**row, "episode": str(row["season"]), "merit": MERITS.get(row["record_id"])} for row in former["records"]
    ]
    batches = [{**row, "episode": str(row["season"])} for row in former["batches"]]
    return without_seals({**former, "records": records, "batches": batches, "watched": []})


def without_seals(content: Content) -> Content:
    """Also without the event of the migration."""
    return {
        table: [
            {name: value for name, value in row.items() if name not in ("crc", "season")}
            for row in rows
            if row.get("kind") != "migrated" and row.get("name") != "events"
        ]
        for table, rows in content.items()
    }


def check_carried_over(store: Store) -> None:
    store.check()
    for table, record, state, _ in records():
        assert store.get(record["record_id"]) == record
        assert record in store.records(EPISODE, table, state)
    assert sum(store.states().values()) == len(records())
    totals = store.totals(EPISODE)
    assert (totals.batches, totals.bytes_sent, store.bytes_prepared(EPISODE)) == (1, 700, 1200)
    assert [(batch.batch_id, batch.bytes) for batch in store.prepared_batches()] == [("second", 500)]
    assert [(row["where"], row["error"], row["body"]) for row in store.rejects()] == [row[:3] for row in REJECTS]


def test_what_an_older_agent_stored_is_carried_over_whole_and_said_so(tmp_path: Path) -> None:
    write_form_1(tmp_path / "store.db")
    with Store(tmp_path / "store.db") as store:
        check_carried_over(store)
        (event,) = store.events()
        assert event["kind"] == "migrated" and "from form 1 to form 5" in event["text"]
        store.mark_acknowledged("second")
        assert store.states() == {"acknowledged": 1 + 2 * 20, "stored": 21}
        assert store._one("PRAGMA auto_vacuum") == (2,)
    with Store(tmp_path / "store.db") as store:
        assert len(store.events()) == 1


def test_order_of_arrival_follows_the_dates_where_none_was_kept(tmp_path: Path) -> None:
    write_form_1(tmp_path / "store.db")
    with Store(tmp_path / "store.db") as store:
        tables = [table for _, table, _ in store.records_after(0, ("fields", "readings"))]
        dates = [record["date"] for _, _, record in store.records_after(0, ("readings",))]
    assert tables == ["fields"] + ["readings"] * DAYS
    assert dates == [reading_record(day)["date"] for day in range(DAYS)]


def form_on_disk(path: Path) -> int:
    connection = sqlite3.connect(path)
    form: int = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return form


def ended_at_statement(number: int, run: Callable[[Callable[[str], None]], None]) -> bool:
    """Run in a process of its own that ends, without any clean-up, before its statement of that number.

    False where it came to its end before.
    """
    child = os.fork()
    if child == 0:
        count = 0

        def trace(_statement: str) -> None:
            nonlocal count
            count += 1
            if count == number:
                os._exit(9)

        try:
            run(trace)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9


def killed_while_carried_over(folder: Path) -> Iterator[Path]:
    """Copies of `old.db` in the folder, each carried over and killed a statement later; the last one was not killed."""
    for number in range(1, 1000):
        path = folder / str(number) / "store.db"
        path.parent.mkdir()
        shutil.copy(folder / "old.db", path)

        def migrate(trace: Callable[[str], None], path: Path = path) -> None:
            connection = sqlite3.connect(path, isolation_level=None)
            connection.set_trace_callback(trace)
            prepare(connection, str(path), lambda: "2026-05-01T00:00:00Z", merit(AGRICULTURE))

        was_killed = ended_at_statement(number, migrate)
        yield path
        if not was_killed:
            return


def test_a_migration_that_is_killed_anywhere_leaves_the_old_form_or_the_new_one(tmp_path: Path) -> None:
    write_form_1(tmp_path / "old.db")
    forms = []
    for path in killed_while_carried_over(tmp_path):
        forms.append(form_on_disk(path))
        with Store(path) as store:
            check_carried_over(store)
    assert len(forms) > 30 and set(forms) == {1, SCHEMA_VERSION}


@pytest.mark.parametrize("form", [CUT_FORM, NUMBERED_FORM])
def test_a_store_that_numbered_its_episodes_is_carried_over_whole_wherever_it_is_killed(
    tmp_path: Path, form: int
) -> None:
    write_form_3(tmp_path / "old.db", form)
    former = content_of(tmp_path / "old.db")
    assert {(row["table_name"], row["state"]) for row in former["records"]} == {
        (table.name, state) for table in AGRICULTURE.contract.tables if table.role != "feedback" for state in STATES
    }  # when stores had these forms nobody was asked anything
    forms = []
    for path in killed_while_carried_over(tmp_path):
        forms.append(form_on_disk(path))
        check_form_5(path, former, form)
    assert len(forms) > 20 and set(forms) == {form, SCHEMA_VERSION}
    check_form_5(path, former, form)  # opened once more


def check_form_5(path: Path, former: Content, form: int) -> None:
    with Store(path, merit=merit(AGRICULTURE)) as store:
        store.check()
        (event,) = store.events(kind="migrated")
        assert f"from form {form} to form 5" in event["text"]
        assert (store.episodes(), store.past_episodes(("readings",))) == (["2005", "2006", "2007"], ["2005"])
        merits = {e.record["record_id"]: e.merit for at in store.episodes() for e in store.entries(at, DECISIONS)}
        assert merits == MERITS
        cut = Sample("station", "2006-05-01T12:15:00.75Z", {"rain_mm": 0.2, "vwc": None})
        assert (store.as_stored(cut).time_utc == "2006-05-01T12:15:00Z") is (form == CUT_FORM)
    assert without_seals(content_of(path)) == as_form_5(former)


# Made by the last agent of form 4, before a model was on watch.
FORM_4 = Path(__file__).with_name("form_4.sql")


def write_form_4(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(FORM_4.read_text(encoding="utf-8"))
    connection.close()


def test_a_store_from_before_models_were_watched_goes_on_wherever_its_migration_is_killed(tmp_path: Path) -> None:
    write_form_4(tmp_path / "old.db")
    former = content_of(tmp_path / "old.db")
    forms = []
    for path in killed_while_carried_over(tmp_path):
        forms.append(form_on_disk(path))
        with Store(path, merit=merit(AGRICULTURE)) as store:
            store.check()
            (event,) = store.events(kind="migrated")
            assert "from form 4 to form 5; nothing was left behind" in event["text"]
            assert store.watched("b" * 64) == []
        found = content_of(path)
        assert found["records"] == former["records"], "with their seals"
        assert without_seals(found) == without_seals({**former, "watched": []})
    assert len(forms) > 8 and set(forms) == {4, SCHEMA_VERSION}


def test_what_was_watched_is_stored_with_its_decision_or_not_at_all(tmp_path: Path) -> None:
    decision = dated("recommendations", 1)
    with Store(tmp_path / "store.db") as store:
        assert store.add("recommendations", decision, watched=Watched("b" * 64, {"seen": 1}))
        assert not store.add("recommendations", decision, watched=Watched("b" * 64, {"seen": 2}))
        assert not store.add("recommendations", decision)
        store.check()
    with Store(tmp_path / "store.db") as store:
        (row,) = store.watched("b" * 64)
        assert row == {"seen": 1, "time_utc": row["time_utc"]}
        assert store.watched("c" * 64) == []
        store._connection.execute("UPDATE watched SET body = '{\"seen\":3}'")
        with pytest.raises(StoreDamaged, match="of its watched is not as it was stored"):
            store.watched("b" * 64)


def test_what_was_watched_long_ago_goes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldedge.storage.store.WATCHED_KEPT", 3)
    with Store(tmp_path / "store.db") as store:
        for day in range(6):
            store.add("recommendations", dated("recommendations", day), watched=Watched("b" * 64, {"day": day}))
        assert [row["day"] for row in store.watched("b" * 64)] == [3, 4, 5]


def test_what_no_workload_is_asked_of_is_carried_over_with_its_merit_unknown(tmp_path: Path) -> None:
    write_form_3(tmp_path / "store.db")
    with Store(tmp_path / "store.db") as store:
        store.check()
        assert [entry.merit for entry in store.entries(EPISODE, DECISIONS)] == [None] * 4


@pytest.mark.parametrize("table", ["records", "batches", "samples"])
def test_what_is_damaged_in_a_former_store_is_not_sealed_as_if_it_were_true(tmp_path: Path, table: str) -> None:
    path = tmp_path / "store.db"
    write_form_3(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"UPDATE {table} SET crc = crc + 1 WHERE sequence = 2")  # noqa: S608
    connection.close()
    with pytest.raises(StoreDamaged, match=f"of its {table} is not as it was stored"):
        Store(path)
    assert form_on_disk(path) == NUMBERED_FORM


def test_the_rows_of_a_larger_former_store_come_over_a_few_at_a_time_and_its_file_does_not_double(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    write_form_3(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    columns = SEALED_3["records"]
    for number in range(1600):
        row = dict(
            zip(columns, (f"2004/a/{number}", 2004, "readings", "2004-05-01", "x" * 900, None, 1, None, 0), strict=True)
        )
        names = ", ".join(row).replace("episode", "season")
        connection.execute(
            f"INSERT INTO records ({names}, crc, bytes) VALUES ({', '.join('?' * 10)}, 900)",  # noqa: S608
            (*row.values(), seal("records", row.values())),
        )
    connection.execute("COMMIT")
    connection.close()
    before = path.stat().st_size
    with Store(path) as store:
        store.check()
        assert store.states()["stored"] == 1618
        assert store.totals("2004").records_collected == 1600
    assert path.stat().st_size < 1.6 * before


def test_a_store_of_a_newer_agent_is_refused_by_name_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        store.add("fields", field_record())
        store._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        store._connection.execute(f"PRAGMA application_id = {APPLICATION + SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"store\.db has form 6; this fieldedge reads up to form 5: update it"):
        Store(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("form", "application"), [(0, 0), (6, None), (1, None), (-1, None), (2, 0), (4, 7)])
def test_a_form_that_there_cannot_be_is_damage(tmp_path: Path, form: int, application: int | None) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        store._connection.execute(f"PRAGMA user_version = {form}")
        if application is not None:
            store._connection.execute(f"PRAGMA application_id = {application}")
    with pytest.raises(StoreDamaged, match="says"):
        Store(path)


def test_an_old_store_that_somebody_reads_is_carried_over_when_it_can_be(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    write_form_1(path)
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy):
        Store(path, busy_timeout_s=0.01)
    writer.execute("ROLLBACK")
    writer.execute("BEGIN")
    writer.execute("SELECT count(*) FROM records").fetchall()
    with Store(path, busy_timeout_s=0.01) as store:
        check_carried_over(store)  # though the file could not be written anew beside that reader
    writer.close()
    with Store(path) as store:
        check_carried_over(store)
        assert store._one("PRAGMA auto_vacuum") == (2,)
