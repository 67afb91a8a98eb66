"""An MLflow store that is not there yet, made in memory and put in its place whole.

MLflow begins a database by sixty migrations, and on a disk each waits for it: seconds, before anything is learned. In
memory MLflow makes the same in one or two, and nobody sees half of it.
"""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

SQLITE = "sqlite:///"


def begin_store(tracking_uri: str) -> None:
    """See that an SQLite store is there; any other begins itself. One that is there, empty or not, stays as it is."""
    path = Path(tracking_uri.removeprefix(SQLITE))
    if not tracking_uri.startswith(SQLITE) or path.exists():
        return
    from mlflow.store.db.utils import _initialize_tables  # importing it takes a second, needed here alone

    path.parent.mkdir(parents=True, exist_ok=True)
    scratches = TemporaryDirectory(prefix=".mlflow-", dir=path.parent)
    with closing(sqlite3.connect(":memory:")) as memory, scratches as scratch:
        _initialize_tables(create_engine("sqlite://", creator=lambda: memory, poolclass=StaticPool))
        made = Path(scratch, path.name)
        with closing(sqlite3.connect(made)) as file:
            memory.backup(file)
        with suppress(FileExistsError):  # another process was first
            os.link(made, path)
