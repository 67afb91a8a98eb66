"""The store that a registry begins is the one that MLflow makes by itself."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy import create_engine

from fieldloop.registry.new_store import begin_store


def schema(path: Path) -> list[object]:
    """Everything that is there by name; the clauses of a table stand in no order of their own."""
    with closing(sqlite3.connect(path)) as store:
        found = store.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY name, type").fetchall()
        revision = store.execute("SELECT version_num FROM alembic_version").fetchall()
    return [*revision, *((kind, name, sorted(re.split(r",?\s*\n\s*", sql))) for kind, name, sql in found)]


def test_it_has_the_tables_and_the_revision_of_one_that_mlflow_begins(tmp_path: Path) -> None:
    from mlflow.store.db.utils import _initialize_tables

    begin_store(f"sqlite:///{tmp_path}/ours/mlflow.db")
    theirs = create_engine(f"sqlite:///{tmp_path}/theirs.db")
    _initialize_tables(theirs)
    theirs.dispose()
    assert schema(tmp_path / "ours" / "mlflow.db") == schema(tmp_path / "theirs.db")
    assert list((tmp_path / "ours").iterdir()) == [tmp_path / "ours" / "mlflow.db"]


def test_one_that_is_there_is_not_touched_and_no_other_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    begin_store(uri)
    made = MlflowClient(uri).create_experiment("mine")
    begin_store(uri)
    begin_store("http://127.0.0.1:9")
    assert MlflowClient(uri).get_experiment(made).name == "mine"
    assert list(tmp_path.iterdir()) == [tmp_path / "mlflow.db"]


@pytest.mark.parametrize("name", ["o'brien", '"quoted" o\'brien', "a:b", "back\\slash", "50% #1", "ü 玉米", "$HOME;--"])
def test_models_are_kept_below_a_folder_of_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / name
    uri = f"sqlite:///{folder}/mlflow.db"
    begin_store(uri)
    client = MlflowClient(uri)
    made = client.create_experiment("mine", artifact_location=(folder / "artifacts").as_uri())
    run = client.create_run(made)
    client.log_text(run.info.run_id, "kept", "note.txt")
    assert client.get_experiment("0").name == "Default"
    (note,) = folder.rglob("note.txt")
    assert note.read_text() == "kept"
    assert sorted(path.name for path in folder.iterdir()) == ["artifacts", "mlflow.db"]
    assert list(tmp_path.iterdir()) == [folder]
