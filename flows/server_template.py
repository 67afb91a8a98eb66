"""An empty database of Prefect's server, made once for an environment: `python -m flows.server_template`.

A server that finds none makes its tables step by step, through every version that Prefect ever had, and notes its own
blocks; that is half of what its start costs. `make setup` has a server do it once, with nothing in it that is
anybody's, and a server that begins finds a copy. It belongs to the packages that made it: with others it is not found,
and the server makes its tables as ever. A database that is there is never touched.
"""

import hashlib
import os
import shutil
import sqlite3
import stat
import sys
import tempfile
from contextlib import closing, suppress
from importlib import metadata
from pathlib import Path

from fieldedge.system.durable import write_durably

DATABASE, MEMO = "prefect.db", "memo_store.toml"
_MADE_BY = ("prefect", "sqlalchemy", "alembic", "aiosqlite")
# Whose own database is named is not given another.
_NAMED_DATABASE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")


def template_folder() -> Path:
    """Where this environment has its own; it need not be there."""
    digest = hashlib.sha256("".join(f"{name} {metadata.version(name)}\n" for name in _MADE_BY).encode())
    digest.update(sqlite3.sqlite_version.encode())
    return Path(sys.prefix) / "share" / "fieldloop" / "prefect" / digest.hexdigest()[:20]


def begin_with_template(prefect_home: Path) -> None:
    """Give a server that has no database yet a copy; nothing where there is one, or none to copy."""
    template, database = template_folder(), prefect_home / DATABASE
    is_ours = template.is_dir() and not template.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    # What SQLite wrote beside a former database would be read into the new one.
    is_fresh = not any(database.with_name(DATABASE + ending).exists() for ending in ("", "-wal", "-shm", "-journal"))
    if not is_ours or not is_fresh or any(name in os.environ for name in _NAMED_DATABASE):
        return
    with suppress(OSError):  # without it the server only takes longer
        prefect_home.mkdir(parents=True, exist_ok=True)
        for name in (DATABASE, MEMO):  # the memo says what the database holds: never without it
            write_durably(prefect_home / name, (template / name).read_bytes(), 0o600)


def make_template() -> bool:
    """Have a server make it, unless it is there; whether it is there now."""
    from flows.local_server import LocalServer

    folder = template_folder()
    if folder.is_dir():
        return True
    with tempfile.TemporaryDirectory() as scratch:
        home, made = Path(scratch) / "home", Path(scratch) / "made"
        os.environ["PREFECT_HOME"] = str(home)
        server = LocalServer(Path(scratch) / "server.log")
        server.wait_until_up()
        server.end()
        made.mkdir()
        with closing(sqlite3.connect(home / DATABASE)) as source, closing(sqlite3.connect(made / DATABASE)) as copy:
            source.backup(copy)
            if copy.execute("SELECT count(*) FROM configuration").fetchone()[0]:
                return False  # a key of the server's own, which no two may share
        shutil.copy(home / MEMO, made / MEMO)
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent))  # of mode 0700, and on the same disk
        for name in (DATABASE, MEMO):
            write_durably(beside / name, (made / name).read_bytes(), 0o600)
        with suppress(OSError):  # another process was first
            beside.rename(folder)
        shutil.rmtree(beside, ignore_errors=True)
    return folder.is_dir()


if __name__ == "__main__":
    from fieldloop.core import process_setup

    process_setup.settle()
    for _name in _NAMED_DATABASE:
        os.environ.pop(_name, None)
    try:
        make_template()
    except Exception as error:  # noqa: BLE001 - a set-up's edge: every server can begin without
        sys.stderr.write(f"Prefect's servers will begin without a database that is made ready: {error}\n")
