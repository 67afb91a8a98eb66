"""What was accepted and taken back: whose it is, and when it is back."""

from pathlib import Path

import pandas as pd
import pytest

from fieldedge.contract import Record
from fieldedge.system.errors import DataError
from fieldloop.data import AcceptedStore
from fieldloop.data.withdrawn import Withdrawal, withdrawals
from tests.sample_season import CONTRACT, SEASON, field_row, season_rows

FIELD_ID = "champion-00"


@pytest.fixture
def store(tmp_path: Path) -> AcceptedStore:
    return AcceptedStore(tmp_path / "seasons", CONTRACT)


def accept(store: AcceptedStore, field: Record, *tables: str) -> None:
    for table, rows in season_rows(field, days=3).items():
        if not tables or table in tables:
            store.accept(table, pd.DataFrame(rows), "sync")


def withdrawn(store: AcceptedStore) -> list[Withdrawal]:
    return withdrawals(store.quarantine_dir)


def test_the_withdrawn_seasons_of_two_fields_lie_apart_whatever_their_names(store: AcceptedStore) -> None:
    short = field_row(device_id="00-dev-00") | {"field_id": "champion", "record_id": f"{SEASON}/champion/fields"}
    for field in (field_row(device_id="dev-00"), short):
        accept(store, field)
        store.withdraw(SEASON, field["field_id"], "another's")
    assert {(one.unit, *one.devices) for one in withdrawn(store)} == {
        ("champion-00", "dev-00"),
        ("champion", "00-dev-00"),
    }
    accept(store, short)
    store.settle_withdrawn()
    (left,) = withdrawn(store)
    assert left.unit == "champion-00"
    assert all(record_id.startswith(f"{SEASON}/champion-00/") for record_id in left.record_ids)


def test_whose_withdrawn_rows_are_is_known_without_the_fields_own_row(store: AcceptedStore) -> None:
    accept(store, field_row(device_id="dev-00"))
    store.withdraw(SEASON, FIELD_ID, "another's")
    accept(store, field_row(device_id="dev-00"), "fields")
    store.settle_withdrawn()
    (left,) = withdrawn(store)
    assert (left.excuses("dev-00"), left.excuses("dev-17"), left.excuses(None)) == (True, False, False)
    accept(store, field_row(device_id="dev-00"))
    note = store.quarantine_dir / "withdrawn-why.txt"  # a person's own
    note.touch()
    store.settle_withdrawn()
    assert list(store.quarantine_dir.iterdir()) == [note]


def test_a_row_that_came_back_otherwise_leaves_the_one_that_was_withdrawn_in_quarantine(store: AcceptedStore) -> None:
    accept(store, field_row(device_id="dev-00"))
    store.withdraw(SEASON, FIELD_ID, "another's")
    first, *others = season_rows(field_row(device_id="dev-00"), days=3)["readings"]
    store.accept("readings", pd.DataFrame([first | {"tmin_c": first["tmin_c"] + 0.04}, *others]), "sync")
    accept(store, field_row(device_id="dev-00"), "fields", "operations", "harvests")
    for _ in range(2):
        store.settle_withdrawn()
        (left,) = withdrawn(store)
        assert left.record_ids == {first["record_id"]}


def test_a_folder_of_earlier_code_is_read_as_it_was(store: AcceptedStore) -> None:
    accept(store, field_row(device_id="dev-00"))
    store.withdraw(SEASON, FIELD_ID, "another's")
    (folder,) = store.quarantine_dir.iterdir()
    (folder / "whose.json").unlink()
    folder = folder.rename(folder.with_name(f"withdrawn-{SEASON}-{FIELD_ID}-dev-00"))
    (one,) = withdrawn(store)
    assert (one.period, one.unit, one.devices) == (SEASON, FIELD_ID, {"dev-00"})
    accept(store, field_row(device_id="dev-00"))
    store.settle_withdrawn()
    assert not folder.exists()


def test_withdrawn_rows_of_nobody_are_told(store: AcceptedStore) -> None:
    accept(store, field_row(device_id="dev-00"))
    store.withdraw(SEASON, FIELD_ID, "another's")
    (whose,) = store.quarantine_dir.glob("*/whose.json")
    whose.write_bytes(b"{}")
    with pytest.raises(DataError, match=r"whose\.json, which says whose .*backup"):
        withdrawn(store)
