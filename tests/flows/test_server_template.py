"""A server begins with a copy of an empty database of its own version, and never touches one that is there."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flows import server_template
from flows.local_server import LocalServer
from flows.server_template import DATABASE, MEMO, begin_with_template


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A template that can be told from every other."""
    folder = tmp_path / "template"
    folder.mkdir(mode=0o700)
    (folder / DATABASE).write_bytes(b"tables")
    (folder / MEMO).write_bytes(b"blocks")
    monkeypatch.setattr(server_template, "template_folder", lambda: folder)
    return folder


def test_a_home_without_a_database_gets_a_copy_that_is_its_users_alone(template: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    begin_with_template(home)
    assert (home / DATABASE).read_bytes() == b"tables"
    assert (home / MEMO).read_bytes() == b"blocks"
    assert (home / DATABASE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal"])
def test_a_database_or_what_is_left_of_one_is_not_touched(template: Path, tmp_path: Path, ending: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / f"{DATABASE}{ending}").write_bytes(b"own")
    begin_with_template(home)
    assert [path.name for path in home.iterdir()] == [f"{DATABASE}{ending}"]


def test_whose_database_is_named_is_given_none(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://db/prefect")
    begin_with_template(tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_template_that_others_may_write_is_not_used(template: Path, tmp_path: Path) -> None:
    template.chmod(0o777)
    begin_with_template(tmp_path / "home")
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_a_server_makes_it_and_the_next_one_begins_with_the_same_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "share" / "template"
    monkeypatch.setattr(server_template, "template_folder", lambda: folder)
    with monkeypatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path / "another"))  # restored afterwards: making it sets its own
        assert server_template.make_template()
    assert sorted(path.name for path in folder.iterdir()) == [MEMO, DATABASE]

    def tables(path: Path) -> list[str]:
        with closing(sqlite3.connect(path)) as database:
            return [row[0] for row in database.execute("SELECT name FROM sqlite_master ORDER BY name")]

    home = tmp_path / "home"
    monkeypatch.setenv("PREFECT_HOME", str(home))
    server = LocalServer(tmp_path / "server.log")
    try:
        assert tables(home / DATABASE) == tables(folder / DATABASE)
        server.wait_until_up()
    finally:
        server.end()
    assert os.environ["PREFECT_HOME"] == str(home)
    assert tables(home / DATABASE) == tables(folder / DATABASE)
