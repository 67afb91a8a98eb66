"""A contract names its periods, units and places as it likes: folders, refusals and their words follow it."""

from dataclasses import replace
from pathlib import Path

from fieldedge.contract import Contract, Table
from fieldloop.data import AcceptedStore
from fieldloop.data.withdrawn import withdrawals
from fieldloop.ingest.intake import Taken, take_in
from fieldloop.validation import Ownership
from fieldloop.validation.tables import read_tables
from tests.sample_season import CONTRACT, SEASON, TODAY, Tables, field_row, frames

NAMES = {"season": "month", "field_id": "bearing_id", "region": "hall"}
FIELD = "champion-00"


def renamed(table: Table) -> Table:
    columns = tuple(
        replace(one, name=NAMES.get(one.name, one.name), unit=one.unit.replace("year", "month"))
        for one in table.columns
    )
    return replace(table, columns=columns)


def contract() -> Contract:
    episode = replace(CONTRACT.episode, columns=("month", "bearing_id"), partition=("month", "hall"))
    return replace(CONTRACT, tables=tuple(map(renamed, CONTRACT.tables)), episode=episode, upgrades={})


def month(**changes: object) -> Tables:
    tables = {name: rows.rename(columns=NAMES) for name, rows in frames(field_row(device_id="dev-00"), days=3).items()}
    return tables | {"readings": tables["readings"].assign(**changes)}


def write(folder: Path, tables: Tables) -> Path:
    partition = folder / f"month={SEASON}" / "hall=champion"
    partition.mkdir(parents=True)
    for name, rows in tables.items():
        rows.to_parquet(partition / f"{name}.parquet")
    return folder


def take(past: Path, store: AcceptedStore) -> Taken:
    ownership = Ownership(devices={"dev-00"})
    return take_in(read_tables(past, store.contract), store, ownership, TODAY, source=past, came_with="history")


def test_a_past_of_months_is_judged_accepted_and_taken_back_by_its_own_names(tmp_path: Path) -> None:
    made = contract()
    store = AcceptedStore(tmp_path / "data" / "seasons", made)
    taken = take(write(tmp_path / "past", month()), store)
    assert [table.quarantined for table in taken.tables.values()] == [0, 0, 0, 0]
    assert (store.root / f"month={SEASON}" / "hall=champion" / "readings.parquet").is_file()
    assert (store.periods(), set(store.read("readings", [SEASON])["bearing_id"])) == ([SEASON], {FIELD})
    holders = Ownership.of({}, store.read(made.context_table.name), ()).holders
    assert holders == {(SEASON, FIELD): "dev-00"}

    assert store.withdraw(SEASON, FIELD, "another's") == sum(table.rows for table in taken.tables.values())
    (taken,) = withdrawals(store.quarantine_dir)
    assert (taken.period, taken.unit, taken.devices) == (SEASON, FIELD, {"dev-00"})
    assert store.periods() == []


def test_what_a_row_breaks_is_told_in_the_contracts_words(tmp_path: Path) -> None:
    known = month()["readings"]["record_id"]
    past = write(tmp_path / "past", month(hall=["champion", "champion", "north"], record_id=[known[0], "x", known[2]]))
    told = take(past, AcceptedStore(tmp_path / "data" / "seasons", contract())).tables["readings"].broken
    assert told["the row's bearing has an accepted row in fields in the same hall"] == 1
    assert told["record_id says the row's month, bearing, table and date"] == 1
    assert not any("season" in words or "year" in words for words in told)
