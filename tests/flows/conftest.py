"""The season loop as it is when nobody disturbs it, run once for all tests that compare with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from flows.local_server import LocalServer
from tests.flows.small_loop import ALONE_IN_THE_NETWORK, Ended, SmallLoop, may_leave_the_network


@dataclass(frozen=True)
class Undisturbed:
    """A loop that ran from start to end, and what it came to. Tests that change the clone must put it back."""

    loop: SmallLoop
    ended: Ended
    is_offline: bool
    accepted: dict[str, str]
    figures: dict[str, Any]
    validation_losses: list[float]


class _Healthy(BaseHTTPRequestHandler):
    """Says that it is well, and nothing else."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def named_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address that PREFECT_API_URL names, where something answers: no server is started then."""
    with HTTPServer(("127.0.0.1", 0), _Healthy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        monkeypatch.setenv("PREFECT_API_URL", url)
        yield url
        server.shutdown()


@pytest.fixture(scope="session")
def prefect_api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for the many short runs of a worker of the tests, which else would each start one for ten seconds."""
    folder = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(folder))
        server = LocalServer(folder / "server.log")
    try:
        server.wait_until_up()
        yield server.api_url
    finally:
        server.end()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> Undisturbed:
    """Run where no network is, if this machine lets us: it needs none. What comes after it shares a server."""
    loop = SmallLoop.make(tmp_path_factory.mktemp("undisturbed") / "clone")
    is_offline = may_leave_the_network()
    ended = loop.run(*(ALONE_IN_THE_NETWORK if is_offline else ()))
    assert ended.code == 0, ended.stdout + ended.stderr
    loop.prefect_api_url = prefect_api_url
    return Undisturbed(loop, ended, is_offline, loop.accepted(), loop.figures(), loop.validation_losses())
