"""The fixtures of the device's tests: a signed repository, a gateway over real HTTP, a provisioned device."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from fieldedge.cli import main
from fieldedge.config import DeviceDirectory
from tests.edge.sample import DEVICE_ID, GatewaySimulator, Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "tuf")


@pytest.fixture
def gateway(repository: Repository) -> Iterator[GatewaySimulator]:
    simulator = GatewaySimulator(repository.metadata.parent)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = simulator.files / self.path.removeprefix("/tuf/")
            self._answer(200 if path.is_file() else 404, path.read_bytes() if path.is_file() else b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = simulator.accept(
                self.headers["Fieldloop-Device"], self.headers["Fieldloop-Signature"], body
            )
            self._answer(status, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    simulator.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield simulator
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def device(tmp_path: Path, repository: Repository, gateway: GatewaySimulator, capsys: Any) -> DeviceDirectory:
    """A provisioned device whose key the gateway knows."""
    directory = DeviceDirectory(tmp_path / "device")
    arguments = ["--device-id", DEVICE_ID, "--workload", "agriculture", "--root", str(repository.trusted_root)]
    assert main(["init", "--dir", str(directory.root), *arguments]) == 0
    gateway.public_keys[DEVICE_ID] = json.loads(capsys.readouterr().out)["public_key"]
    return directory
