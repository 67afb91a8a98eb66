"""A PostgreSQL server of a test's own: on a Unix socket, in a folder of its own, gone afterwards."""

import getpass
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root
START_TIMEOUT_S = 120


@dataclass(frozen=True)
class PostgresServer:
    """A running server; `url` is a database in it, for SQLAlchemy."""

    url: str


def why_no_postgres() -> str:
    """Why no server can be started here; empty where it can."""
    if _program("initdb") is None or _program("pg_ctl") is None:
        return "PostgreSQL is not installed (apt-get install postgresql)"
    if importlib.util.find_spec("psycopg2") is None:
        return "psycopg2 is not installed (make setup)"
    if not _can_write_devnull():
        return f"{_user()} may not write {os.devnull} here, which initdb does (ls -l {os.devnull})"
    return ""


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start one and stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path is short
    user = _user()
    if os.geteuid() == 0:
        shutil.chown(folder, user)
    data = folder / "data"
    try:
        _run("initdb", user, folder, "-D", str(data), "-U", user, "-A", "trust", "--no-sync", "-E", "UTF8")
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        where = ("-D", str(data), "-l", str(folder / "log"), "-o", options)
        _run("pg_ctl", user, folder, *where, "-w", "-t", str(START_TIMEOUT_S), "start")
        yield PostgresServer(f"postgresql+psycopg2://{user}@/postgres?host={folder}")
    finally:
        if (data / "postmaster.pid").exists():
            _run("pg_ctl", user, folder, "-D", str(data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> str:
    return UNPRIVILEGED if os.geteuid() == 0 else getpass.getuser()


def _can_write_devnull() -> bool:
    """Whether the server's user may write to it; some containers give the device to root alone."""
    user = _user() if os.geteuid() == 0 else None
    try:
        tried = subprocess.run(["/bin/sh", "-c", f": > {os.devnull}"], user=user, cwd="/", capture_output=True)
    except OSError:  # not even its user can be had
        return False
    return tried.returncode == 0


def _run(program: str, user: str, folder: Path, *arguments: str) -> None:
    # The server inherits the outputs: a pipe would stay open as long as it runs.
    said = folder / f"{program}.said"
    with said.open("wb") as sink:
        done = subprocess.run(
            [str(_program(program)), *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            user=user if os.geteuid() == 0 else None,
            timeout=2 * START_TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 0, f"{program}: {said.read_text()}"


def _program(name: str) -> Path | None:
    found = [Path(place) for place in [shutil.which(name)] if place]
    found += sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return found[0] if found else None
