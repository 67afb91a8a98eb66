"""An MLflow store that is not there yet, made in memory and put in its place whole.

MLflow begins a database by sixty migrations, and on a disk each waits for it: seconds, before anything is learned. In
memory MLflow makes the same in one or two, and nobody sees half of it.
"""

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

SQLITE = "sqlite:///"
# MLflow would begin it itself, by a statement into which it writes the folder as it stands, quotes and colons included.
_DEFAULT_EXPERIMENT = """
INSERT INTO experiments
    (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time, workspace)
VALUES (0, ?, ?, 'active', ?, ?, ?)
"""


def begin_store(tracking_uri: str) -> None:
    """See that an SQLite store is there; any other begins itself. One that is there, empty or not, stays as it is."""
    path = Path(tracking_uri.removeprefix(SQLITE))
    if not tracking_uri.startswith(SQLITE) or path.exists():
        return
    # Importing them takes a second, needed here alone.
    from mlflow.entities import Experiment
    from mlflow.store.db.utils import _initialize_tables
    from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

    path.parent.mkdir(parents=True, exist_ok=True)
    scratches = TemporaryDirectory(prefix=".mlflow-", dir=path.parent)
    with closing(sqlite3.connect(":memory:")) as memory, scratches as scratch:
        _initialize_tables(create_engine("sqlite://", creator=lambda: memory, poolclass=StaticPool))
        now_ms, files = int(1000.0 * time.time()), (path.parent / "artifacts" / "0").as_uri()
        with memory:
            values = (Experiment.DEFAULT_EXPERIMENT_NAME, files, now_ms, now_ms, DEFAULT_WORKSPACE_NAME)
            memory.execute(_DEFAULT_EXPERIMENT, values)
        made = Path(scratch, path.name)
        with closing(sqlite3.connect(made)) as file:
            memory.backup(file)
        with suppress(FileExistsError):  # another process was first
            os.link(made, path)
