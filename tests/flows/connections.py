"""What Python processes speak to beyond this machine: each is made to write it down before it happens."""

from pathlib import Path

_WATCH = """
import os, sys

_HERE = {None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}

def _watch(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else ""  # a path: a socket of this machine
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host not in _HERE:
        with open(os.environ["CONNECTIONS_LOG"], "a") as log:
            log.write(f"{event} {host}: {' '.join(sys.orig_argv)}\\n")

sys.addaudithook(_watch)
"""


def watched(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """That environment, in which every Python process writes what it speaks to into `connections.log` of the folder."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(_WATCH)
    path = f"{folder}:{environment.get('PYTHONPATH', '')}"
    return {**environment, "PYTHONPATH": path, "CONNECTIONS_LOG": str(folder / "connections.log")}


def connections_beyond(folder: Path) -> list[str]:
    """Who spoke to whom, one line each; empty where nobody did."""
    log = folder / "connections.log"
    return log.read_text().splitlines() if log.exists() else []
