"""A changed contract: accepted data of the former one is read, migrated, continued after a kill, and taken back."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from fieldedge.contract import Column, Contract, Record, Table
from fieldedge.system.errors import DataError
from fieldloop.data import AcceptedStore, accepted, migrate, open_store, snapshot
from tests.data.empty_clone import empty_clone, git
from tests.sample_season import CONTRACT, SEASON, field_row, frames

FORMER = CONTRACT
SEASONS = Path("data/seasons")


def with_column(table: Table, column: Column) -> Table:
    return replace(table, columns=(*table.columns, column))


def _judged(table: str, record: Record) -> Record:
    return record | {"is_weighed": 0} if table == "harvests" else record


TODAY: Contract = replace(
    FORMER,
    revision=FORMER.revision + 50,
    tables=tuple(
        with_column(table, Column("is_weighed", "int", minimum=0, maximum=1)) if table.name == "harvests" else table
        for table in FORMER.tables
    ),
    upgrades={FORMER.hash: _judged},
)
LATER = replace(TODAY, revision=TODAY.revision + 1, upgrades={**TODAY.upgrades, TODAY.hash: lambda _, record: record})


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with two fields' accepted seasons of the former contract."""
    root = empty_clone(tmp_path / "clone", monkeypatch)
    store = AcceptedStore(root / SEASONS, FORMER)
    for table, rows in frames(field_row(0), field_row(1), field_row(0, season=SEASON + 1), days=3).items():
        store.accept(table, rows, "history")
    store.note_batch("ab", {"device_id": "dev-00", "season": SEASON})
    return root


def as_before_stores_said_their_contract(root: Path) -> None:
    """What a store made by the code before this rule looks like."""
    (root / SEASONS / "contract.json").unlink()
    for path in (root / SEASONS).rglob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        pq.write_table(table.replace_schema_metadata(None), path, compression="zstd")


def content(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in (root / SEASONS).rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def today(root: Path, is_deployment: bool = False) -> AcceptedStore:
    return open_store(root, root / SEASONS, TODAY, root / "data" / "quarantine", is_deployment)


@pytest.mark.parametrize("says_its_contract", [True, False])
def test_data_of_a_former_contract_is_migrated_and_nothing_is_called_damaged(
    clone: Path, says_its_contract: bool
) -> None:
    before = AcceptedStore(clone / SEASONS, FORMER).read("harvests")
    if not says_its_contract:
        as_before_stores_said_their_contract(clone)
    store = today(clone)
    after = store.read("harvests")
    assert list(after["is_weighed"]) == [0, 0, 0]
    pd.testing.assert_frame_equal(after.drop(columns="is_weighed"), before)
    assert store.contract_hash() == TODAY.hash
    assert {store.contract_of(path) for _, path in store.partitions()} == {TODAY.hash}
    assert store.noted_batches()["ab"]["device_id"] == "dev-00"
    migrated = content(clone)
    assert migrate(clone, store, is_deployment=False) is None
    assert content(clone) == migrated


def test_data_of_a_former_contract_can_be_read_before_it_is_migrated_and_not_written(clone: Path) -> None:
    before = content(clone)
    store = AcceptedStore(clone / SEASONS, TODAY)
    assert list(store.read("harvests")["is_weighed"]) == [0, 0, 0]
    with pytest.raises(DataError, match=r"holds rows of the former contract .* Migrate it first: fieldloop migrate"):
        store.accept("harvests", store.read("harvests"), "sync")
    assert content(clone) == before


@pytest.mark.parametrize("files_written", [0, 1, 5, 8])
def test_a_migration_cut_off_after_any_file_is_continued(
    clone: Path, files_written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    uncut = clone.with_name("uncut")
    shutil.copytree(clone, uncut, symlinks=True)
    today(uncut)
    former = content(clone)
    real, left = accepted.write_durably, [files_written]

    def power_cut(path: Path, data: bytes) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(accepted, "write_durably", power_cut)
        with pytest.raises(KeyboardInterrupt):
            today(clone)
    assert sum(content(clone)[name] != data for name, data in former.items()) == files_written
    assert list(AcceptedStore(clone / SEASONS, TODAY).read("harvests")["is_weighed"]) == [0, 0, 0]
    pointer = next((clone / "data").glob("seasons-*.pointer")).read_text()
    today(clone)
    assert content(clone) == content(uncut)
    assert next((clone / "data").glob("seasons-*.pointer")).read_text() == pointer


@pytest.mark.parametrize("is_deployment", [True, False])
def test_the_former_version_comes_back_under_the_former_code(clone: Path, is_deployment: bool) -> None:
    before = content(clone)
    today(clone, is_deployment)
    snapshot(clone, SEASONS, "data", is_deployment, SEASON + 1)
    (pointer,) = (clone / "data").glob("seasons-*.pointer")
    assert pointer.name == f"seasons-{FORMER.hash[:12]}.pointer"
    if is_deployment:
        assert git(clone, "show", f"season-{SEASON + 1}:data/seasons.dvc") == pointer.read_text().strip()
    shutil.copyfile(pointer, clone / "data" / "seasons.dvc")
    checkout = ["-m", "dvc", "checkout", "data/seasons.dvc", "--force", "--quiet"]
    subprocess.run([sys.executable, *checkout], cwd=clone, check=True)
    assert content(clone) == before
    store = AcceptedStore(clone / SEASONS, FORMER)
    assert len(store.read("harvests")) == 3
    assert list(today(clone).read("harvests")["is_weighed"]) == [0, 0, 0]


def test_data_of_a_later_contract_says_so_and_what_to_do(clone: Path) -> None:
    open_store(clone, clone / SEASONS, LATER, clone / "data" / "quarantine", is_deployment=False)
    before = content(clone)
    more = frames(field_row(5))["harvests"].assign(is_weighed=1)
    for use in (
        lambda: today(clone),
        lambda: AcceptedStore(clone / SEASONS, TODAY).read("harvests"),
        lambda: AcceptedStore(clone / SEASONS, TODAY).accept("harvests", more, "sync"),
    ):
        with pytest.raises(DataError) as caught:
            use()
        assert "written by a later one" in str(caught.value)
        assert "Install that version again" in str(caught.value)
        assert "damaged" not in str(caught.value)
    assert content(clone) == before


def test_a_former_file_that_really_is_damaged_is_called_damaged_and_nothing_is_migrated(clone: Path) -> None:
    path = next((clone / SEASONS).rglob("harvests.parquet"))
    path.write_bytes(path.read_bytes()[:60])
    before = content(clone)
    with pytest.raises(DataError, match=r"harvests\.parquet is damaged .*dvc checkout seasons\.dvc"):
        today(clone)
    assert content(clone) == before


def test_quarantined_rows_keep_their_own_columns(clone: Path) -> None:
    former = AcceptedStore(clone / SEASONS, FORMER)
    refused = former.accept("harvests", former.read("harvests").assign(yield_t_ha=1.0), "late").quarantine_file
    assert refused is not None
    before = refused.read_bytes()
    today(clone)
    assert refused.read_bytes() == before


def test_a_store_says_its_contract_before_its_first_row(tmp_path: Path) -> None:
    store = AcceptedStore(tmp_path / "seasons", TODAY)
    assert store.contract_hash() is None
    store.accept("fields", frames(field_row(0))["fields"], "history")
    assert json.loads((tmp_path / "seasons" / "contract.json").read_text()) == {
        "workload": "agriculture",
        "contract_hash": TODAY.hash,
    }
