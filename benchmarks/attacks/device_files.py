"""Whoever else uses the device or a browser near it, and a power cut that makes a logger tell its season again."""

import json
import socket
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.attacks import Outcome, attack
from fieldedge.device.config import DeviceDirectory, read_config
from fieldedge.page.server import page_server
from fieldedge.storage.store import Store
from fieldloop.core.http_server import HttpServer
from fieldloop.release import ReleaseRepository
from fieldloop.ui.pages import create_pages
from tests.edge.sample import DEVICE_ID, SEASON, field_record, season_messages

FOREIGN_HOSTS = ("rebound.example", "rebound.example:8080", "127.0.0.1.rebound.example", "10.9.8.7", "a@localhost", "")


@attack(line=22, words="a website points its own name at the status page and at the report")
def rebound_name(scratch: Path) -> Outcome:
    """DNS rebinding: the request comes to the right address, for the wrong host."""
    directory = made(scratch)
    (scratch / "home").mkdir()
    (scratch / "home" / "report.html").write_text("the report")
    settings = directory.settings.read_text() + "\n[page]\nport = 0\n"
    directory.settings.write_text(settings)
    accepted, refused_own = [], 0
    with ExitStack() as running:
        page = running.enter_context(page_server(directory, read_config(directory.settings)))
        report = running.enter_context(HttpServer(create_pages(scratch / "home")))
        for port, path in ((page.server_port, "/status.json"), (int(report.url.rsplit(":", 1)[1]), "/report.html")):
            accepted += [host for host in FOREIGN_HOSTS if status(port, path, host) == 200]
            refused_own += status(port, path, f"localhost:{port}") != 200
    detail = f"{2 * len(FOREIGN_HOSTS)} requests for another host {' '.join(accepted)}"
    return Outcome(len(accepted), refused_own, detail.strip())


@attack(line=22, words="another user of the device reads what it made, whatever the umask")
def files_read_by_others(scratch: Path) -> Outcome:
    """Modes of all that init and a season made, with the store open."""
    open_to_others = []
    for umask in (0o000, 0o022):
        directory = made(scratch / oct(umask), umask)
        run(directory, season_messages(5), umask)
        with Store(directory.store):
            for path in (directory.root, *directory.root.rglob("*")):
                if stat.S_IMODE(path.stat().st_mode) & 0o077:
                    open_to_others.append(path.name)
    return Outcome(len(open_to_others), 0, f"2 umasks {' '.join(open_to_others)}".strip())


@attack(line=22, words="killed, a logger tells the season before again")
def season_told_again(scratch: Path) -> Outcome:
    """What is stored is known: nothing of it is a reject, and nothing of it changes."""
    directory = made(scratch)
    former = season_messages(24)
    run(directory, [*former, {"kind": "field", "record": field_record(SEASON + 1)}], is_killed=True)
    before = records(directory)
    run(directory, former[9:], is_killed=True)
    with Store(directory.store) as store:
        rejected = len(store.rejects())
    lost = sum(record not in records(directory) for record in before)
    return Outcome(rejected, lost, f"{len(former) - 9} messages told again, {rejected} rejected")


def made(folder: Path, umask: int = 0o022) -> DeviceDirectory:
    """A device that was provisioned by `fieldedge init` under this umask."""
    folder.mkdir(parents=True, exist_ok=True)
    directory = DeviceDirectory(folder / "device")
    root = ReleaseRepository(folder / "tuf").trusted_root()
    fieldedge(
        umask, "init", "--dir", directory.root, "--device-id", DEVICE_ID, "--workload", "agriculture", "--root", root
    )
    return directory


def run(
    directory: DeviceDirectory, messages: list[dict[str, object]], umask: int = 0o022, is_killed: bool = False
) -> None:
    """Tell a device these messages; its process is killed once it has answered the last, or ended."""
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    if not is_killed:
        fieldedge(umask, "run", "--dir", directory.root, said=lines)
        return
    command = [sys.executable, "-m", "fieldedge", "run", "--dir", str(directory.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(lines)
        process.stdin.flush()
        expected = sum(message["kind"] in ("field", "decide", "harvest") for message in messages)
        for _ in range(expected):
            process.stdout.readline()
        process.kill()


def records(directory: DeviceDirectory) -> list[dict[str, object]]:
    with Store(directory.store) as store:
        tables = ("fields", "readings", "recommendations", "operations", "harvests")
        return [record for episode in store.episodes() for table in tables for record in store.records(episode, table)]


def fieldedge(umask: int, *arguments: object, said: str = "") -> None:
    subprocess.run(
        [sys.executable, "-m", "fieldedge", *map(str, arguments)],
        input=said,
        stdout=subprocess.DEVNULL,
        text=True,
        check=True,
        umask=umask,
    )


def status(port: int, path: str, host: str) -> int:
    """What is answered to a request that comes here for another host."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        said = b""
        while piece := connection.recv(65_536):
            said += piece
    return int(said.split(b" ", 2)[1])
