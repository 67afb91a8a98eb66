"""A server over real sockets, with the gateway as its application: there while its block runs, gone after."""

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fieldedge.system.errors import ConfigError
from fieldloop.core.http_server import HttpServer
from fieldloop.gateway.app import create_app
from fieldloop.release import ReleaseRepository
from tests.edge.patience import PATIENCE_S


@pytest.fixture
def server(tmp_path: Path) -> HttpServer:
    ReleaseRepository(tmp_path / "tuf")
    return HttpServer(create_app(tmp_path / "tuf", tmp_path / "inbox", tmp_path / "devices.json"))


def test_it_listens_on_a_free_port_of_this_machine_and_is_gone_afterwards(server: HttpServer) -> None:
    with server:
        assert server.url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{server.url}/v1/health", timeout=PATIENCE_S) as answer:  # noqa: S310
            assert json.load(answer) == {"ok": True}
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{server.url}/v1/health", timeout=PATIENCE_S)  # noqa: S310


def test_it_stops_although_a_device_still_holds_a_connection(server: HttpServer) -> None:
    with server:
        held = socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
    held.close()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    ReleaseRepository(tmp_path / "tuf")
    app = create_app(tmp_path / "tuf", tmp_path / "inbox", tmp_path / "devices.json")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=str(port)), HttpServer(app, port=port):
            pass
