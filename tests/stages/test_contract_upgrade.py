"""A deployment under today's contract, with what the code before it left there: data, a device, batches, an inbox."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from fieldedge.contract import Contract, Record
from fieldedge.contract.batches import batch_id, pack
from fieldedge.system.keys import sign
from fieldedge.workloads.agriculture.upgrades import REVISION_2, REVISION_3
from fieldloop.core.paths import Paths, paths_of
from fieldloop.core.settings import Settings
from fieldloop.data import AcceptedStore, restore
from fieldloop.ingest.reconcile import reconcile
from fieldloop.stages.context import Loop
from fieldloop.stages.ingest import ingest_inbox
from fieldloop.stages.opening import new_loop
from fieldloop.workloads import load_params
from tests.sample_season import CONTRACT, SEASON, Sender, field_row, frames, season_rows

PROJECT = Path(__file__).parents[2]
NOT_YET = {"operations": {"basis"}, "recommendations": {"bundle_sha256"}}
"""Columns that revision 2 did not have."""


def of_revision_2(contract: Contract) -> Contract:
    """A contract with revision 2's columns; its hash is not needed where this stands."""
    tables = [
        replace(t, columns=tuple(c for c in t.columns if c.name not in NOT_YET.get(t.name, ())))
        for t in contract.tables
    ]
    return replace(contract, tables=tuple(t for t in tables if t.name != "confirmations"), upgrades={})


class Deployment:
    """A deployment's clone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "data").mkdir(parents=True)
        (root / ".dvc").mkdir()
        for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", "data/.gitignore", ".gitignore", "params.yaml"):
            shutil.copyfile(PROJECT / name, root / name)
        self.git("init", "--quiet")
        self.git("config", "user.name", "The deployment")
        self.git("config", "user.email", "deployment@example.org")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "The project")
        self.space: Paths = paths_of(self.settings())
        self.gateway = self.space.inbox.parent
        self.sender = Sender(self.gateway)

    def settings(self) -> Settings:
        return Settings(root=self.root, is_deployment=True)

    def loop(self) -> Loop:
        return new_loop(self.settings(), "agriculture", load_params(self.root, "agriculture"))

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def accept_as_revision_2(self) -> None:
        """Two fields' seasons, in files that say of no contract."""
        store = AcceptedStore(self.space.accepted, of_revision_2(CONTRACT), self.space.quarantine)
        for table, rows in frames(field_row(1), field_row(2), days=9).items():
            store.accept(table, rows, "history")
        (self.space.accepted / "contract.json").unlink()
        for path in self.space.accepted.rglob("*.parquet"):
            content = pq.read_table(path, partitioning=None).replace_schema_metadata(None)
            pq.write_table(content, path, compression="zstd")

    def hold_as_revision_2(self, folder: Path, tables: dict[str, list[Record]]) -> str:
        """A batch of revision 2 in an inbox that has all batches in one folder."""
        return self.hold(folder, tables, of_revision_2(CONTRACT), REVISION_2)

    def hold(
        self, folder: Path, tables: dict[str, list[Record]], contract: Contract, contract_hash: str | None = None
    ) -> str:
        """A batch of a former contract, by its own hash unless one is given."""
        named = contract_hash or contract.hash
        header = {"device_id": "dev-00", "workload": "agriculture", "contract_hash": named, "season": SEASON}
        data = pack(header, tables, contract)
        key = self.sender._key
        envelope = {"device_id": "dev-00", "signature": sign(key, data), "received_utc": "2006-11-01T12:00:00+00:00"}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{batch_id(data)}.json").write_text(json.dumps(envelope))
        (folder / f"{batch_id(data)}.batch").write_bytes(data)
        return batch_id(data)

    def content(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.space.accepted.rglob("*.parquet")}


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    return Deployment(tmp_path / "clone")


def test_data_devices_and_batches_of_the_contract_before_live_on_under_todays(deployment: Deployment) -> None:
    tables = season_rows(field_row(0, device_id="dev-00"), days=8)
    deployment.accept_as_revision_2()
    before = deployment.content()
    waiting = deployment.hold_as_revision_2(deployment.space.inbox, tables)
    registered = deployment.space.device_registry.read_bytes()

    loop = deployment.loop()
    ingested = ingest_inbox(loop)

    assert (ingested.batches, ingested.accepted, ingested.quarantined, ingested.refused) == (1, 12, 0, 0)
    assert deployment.space.device_registry.read_bytes() == registered
    store = AcceptedStore(deployment.space.accepted, CONTRACT)
    assert store.contract_hash() == CONTRACT.hash != REVISION_2
    assert {store.contract_of(path) for _, path in store.partitions()} == {CONTRACT.hash}
    assert len(store.read("readings")) == 9 + 9 + 8
    assert set(store.read("operations")["basis"]) == {"confirmed"}
    assert store.noted_batches()[waiting]["contract_hash"] == REVISION_2
    account = reconcile(deployment.space.inbox, store, deployment.space.quarantine)
    assert (account.accepted, account.missing, account.waiting) == (12, (), {})

    # Taken back: the version from before is committed, tagged and named.
    (pointer,) = deployment.space.accepted.parent.glob("seasons-*.pointer")
    assert pointer.name == f"seasons-{REVISION_2[:12]}.pointer"
    assert deployment.git("show", f"season-{SEASON}:data/seasons.dvc") == pointer.read_text().strip()
    shutil.copyfile(pointer, deployment.space.accepted.with_suffix(".dvc"))
    shutil.rmtree(deployment.space.accepted)
    assert restore(deployment.root, deployment.space.accepted)
    assert deployment.content() == before

    # And forward once more: what came in between is ingested again, from the inbox.
    assert ingest_inbox(deployment.loop()).accepted == 12
    assert len(store.read("readings")) == 9 + 9 + 8


def test_data_and_batches_of_revision_3_say_under_todays_contract_what_they_said(deployment: Deployment) -> None:
    constants = {name: value for name, value in CONTRACT.constants.items() if name != "probe_alike_d"}
    former_tables = tuple(table for table in CONTRACT.tables if table.name != "confirmations")
    former = replace(CONTRACT, revision=3, tables=former_tables, constants=constants, upgrades={})
    assert former.hash == REVISION_3
    store = AcceptedStore(deployment.space.accepted, former, deployment.space.quarantine)
    for table, rows in frames(field_row(1), field_row(2), days=9).items():
        store.accept(table, rows, "history")
    before = {table: store.read(table) for table in ("fields", "readings", "operations", "harvests")}
    tables = season_rows(field_row(0, device_id="dev-00"), days=8)
    deployment.hold(deployment.space.inbox, tables, former)

    ingested = ingest_inbox(deployment.loop())

    assert (ingested.batches, ingested.accepted, ingested.quarantined, ingested.refused) == (1, 12, 0, 0)
    today = AcceptedStore(deployment.space.accepted, CONTRACT)
    assert today.contract_hash() == CONTRACT.hash != REVISION_3
    for table, rows in before.items():
        kept = today.read(table)
        kept = kept[kept["record_id"].isin(rows["record_id"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, rows.reset_index(drop=True), check_dtype=False)
