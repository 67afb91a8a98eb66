import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fieldedge.device.config import PageConfig
from fieldedge.page import server as page_module
from fieldedge.page.server import MAX_CONNECTIONS, Pages, PageServer, page_server
from fieldedge.presentation.facts import ServiceState
from fieldedge.system.errors import ConfigError
from tests.edge.page.season import SeasonedDevice, empty_device, seasoned_device, service_state
from tests.edge.patience import PATIENCE_S
from tests.edge.ports import free_port


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> SeasonedDevice:
    return seasoned_device(tmp_path_factory.mktemp("device"), 20)


@pytest.fixture
def server(device: SeasonedDevice) -> Iterator[PageServer]:
    with page_server(device.directory, device.config, lambda: device.now, lambda: service_state(device.now)) as serving:
        yield serving


def ask(server: PageServer, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def connected(server: PageServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_port), timeout=PATIENCE_S)


def send(server: PageServer, data: bytes) -> bytes:
    """What the server says to these bytes; it need not wait for the rest of them."""
    said = b""
    with (
        connected(server) as connection,
        suppress(OSError),
    ):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65_536):
            said += piece
    return said


def test_the_page_comes_whole_in_one_answer_and_lets_nothing_else_in(server: PageServer) -> None:
    status, headers, body = ask(server, "GET", "/")
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8"
    assert body.startswith(b"<!doctype html>") and len(body) < 100_000
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    assert "set-cookie" not in headers and headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store" and headers["server"].strip() == "fieldedge"


def test_the_same_facts_come_as_json(server: PageServer, device: SeasonedDevice) -> None:
    status, headers, body = ask(server, "GET", "/status.json?whatever")
    facts = json.loads(body)
    assert status == 200 and headers["content-type"] == "application/json"
    assert facts["device_id"] == device.config.device_id and facts["advice"]["is_today"]


def test_health_says_whether_the_device_can_be_read(server: PageServer) -> None:
    status, _, body = ask(server, "GET", "/health")
    assert (status, json.loads(body)) == (200, {"is_ok": True, "problems": []})


@pytest.mark.parametrize("path", ["/favicon.ico", "/..%2fstore.db", "/../store.db", "/status.json/", "/%00", "*"])
def test_nothing_else_is_there(server: PageServer, path: str) -> None:
    status, headers, body = ask(server, "GET", path)
    assert status == 404 and headers["content-type"].startswith("text/plain")
    assert path.encode() not in body


def said_to_host(server: PageServer, *hosts: str, version: str = "HTTP/1.1", method: str = "GET") -> int:
    """The status of an answer to a request for that host."""
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    said = send(server, f"{method} /status.json {version}\r\n{lines}\r\n".encode())
    return int(said.split(b" ", 2)[1])


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8080", "127.8.8.8", "localhost", "LOCALHOST:1", "localhost.", "[::1]", "[::1]:8080"],
)
def test_the_page_is_given_under_the_devices_own_names(server: PageServer, host: str) -> None:
    assert said_to_host(server, host) == 200
    assert said_to_host(server, socket.gethostname()) == 200
    assert said_to_host(server, f"{socket.gethostname().partition('.')[0]}.local:8080") == 200


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example",
        "rebound.example:8080",
        "127.0.0.1.rebound.example",
        "localhost.rebound.example",
        "rebound.example@127.0.0.1",
        "10.9.8.7",
        "[fe80::1]",
        "",
        "127.0.0.1 rebound.example",
        "127.0.0.1:8080:1",
        "[::1",
        "\xe4.example",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_website_with_a_name_that_points_here_reads_nothing(server: PageServer, host: str, method: str) -> None:
    assert said_to_host(server, host, method=method) in (400, 421)
    assert said_to_host(server, host, version="HTTP/1.0", method=method) in (400, 421)


def test_a_host_is_said_once(server: PageServer) -> None:
    assert said_to_host(server, "127.0.0.1", "rebound.example") == 400
    assert said_to_host(server) == 400
    assert said_to_host(server, version="HTTP/1.0") == 200, "a client as old as that is no browser"


def test_the_settings_name_what_else_the_device_is_called(device: SeasonedDevice) -> None:
    named = replace(device.config, page=PageConfig(port=0, names=("Field7.farm.example", "10.9.8.7")))
    with page_server(device.directory, named, lambda: device.now) as server:
        assert said_to_host(server, "field7.farm.example:80") == 200
        assert said_to_host(server, "10.9.8.7") == 200
        assert said_to_host(server, "other.farm.example") == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_nothing_can_be_done_here(server: PageServer, method: str) -> None:
    status, headers, _ = ask(server, method, "/", b"{}" if method in ("POST", "PUT") else None)
    assert status == 405 and headers["allow"] == "GET, HEAD"


def test_head_gives_the_headers_alone(server: PageServer) -> None:
    status, headers, body = ask(server, "HEAD", "/")
    assert status == 200 and int(headers["content-length"]) > 1000 and body == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"GET /",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\xff\xfe\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost" + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1500 + b"\r\n",
        b"GET /" + b"a" * 15_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_a_malformed_request_is_refused_or_dropped_and_the_next_is_served(server: PageServer, data: bytes) -> None:
    said = send(server, data)
    assert said == b"" or said.startswith((b"HTTP/1.0 200 ", b"HTTP/1.0 4", b"HTTP/1.0 505 "))
    assert said == b"" or b"Content-Security-Policy: default-src 'none'" in said
    assert ask(server, "GET", "/health")[0] == 200


def test_headers_without_end_are_cut_off(server: PageServer) -> None:
    said = send(server, b"GET / HTTP/1.1\r\n" + b"X-Filler: " + b"y" * 1_000_000)
    assert said == b"" or b" 431 " in said
    assert ask(server, "GET", "/health")[0] == 200


def test_a_slow_client_is_dropped(device: SeasonedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "REQUEST_S", 0.05)
    with (
        page_server(device.directory, device.config, lambda: device.now) as server,
        connected(server) as connection,
    ):
        connection.sendall(b"GET / HT")
        assert connection.recv(100) == b""


def test_only_so_many_are_served_at_once_and_a_place_comes_free_again(
    device: SeasonedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "REQUEST_S", 30.0)
    with page_server(device.directory, device.config, lambda: device.now) as server:
        places = [connected(server) for _ in range(MAX_CONNECTIONS)]
        with connected(server) as one_more:
            assert one_more.recv(100) == b""
        for place in places:
            place.close()
        for thread in threading.enumerate():
            if "process_request_thread" in thread.name:
                thread.join(PATIENCE_S)
        assert ask(server, "GET", "/health")[0] == 200


def test_the_page_is_made_once_for_all_who_ask_at_the_same_time(device: SeasonedDevice) -> None:
    asked: list[int] = []

    def state() -> ServiceState:
        asked.append(1)
        return service_state(device.now)

    now_s = [100.0]
    pages = Pages(device.directory, device.config, lambda: device.now, state, lambda: now_s[0])
    for _ in range(50):
        pages.answer("/")
        pages.answer("/status.json")
    assert len(asked) == 1
    now_s[0] += 3.0
    pages.answer("/")
    assert len(asked) == 2


def test_an_empty_device_is_served_and_stays_empty(tmp_path: Path) -> None:
    device = empty_device(tmp_path)
    answer = Pages(device.directory, device.config, lambda: device.now).answer("/")
    assert answer is not None and answer.status == 200 and b"What to do next" in answer.body
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_store_is_told_and_the_page_goes_on(tmp_path: Path) -> None:
    device = empty_device(tmp_path)
    device.directory.store.write_bytes(b"no database" * 1000)
    pages = Pages(device.directory, device.config, lambda: device.now)
    page, health = pages.answer("/"), pages.answer("/health")
    assert page is not None and page.status == 503 and b"cannot be read now" in page.body
    assert health is not None and health.status == 503 and b"damaged" in health.body


def test_a_service_that_fails_to_say_how_it_is_does_not_hide_the_season(device: SeasonedDevice) -> None:
    def fails() -> dict[str, Any]:
        raise RuntimeError("no state")

    answer = Pages(device.directory, device.config, lambda: device.now, fails).answer("/")
    assert answer is not None and answer.status == 200
    assert b"does not say how it is" in answer.body and b"Soil water of the season" in answer.body


def test_a_page_that_cannot_be_made_says_so_and_the_server_goes_on(
    device: SeasonedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_view: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(page_module, "render", broken)
    with page_server(device.directory, device.config, lambda: device.now) as server:
        status, _, body = ask(server, "GET", "/")
        assert status == 500 and b"cannot be made" in body
        assert ask(server, "GET", "/health")[0] == 503


def test_a_taken_port_is_named(device: SeasonedDevice, server: PageServer) -> None:
    taken = replace(device.config, page=PageConfig(port=server.server_port))
    with pytest.raises(ConfigError, match=rf"port {server.server_port}.*set host and port of \[page\]"):
        page_server(device.directory, taken)


def test_a_closed_server_frees_its_port_and_its_thread(device: SeasonedDevice) -> None:
    port = free_port()
    again = replace(device.config, page=PageConfig(port=port))
    with page_server(device.directory, again) as server:
        assert server.server_port == port
    with page_server(device.directory, again) as second:
        assert second.url == f"http://127.0.0.1:{port}/"
    assert not [thread for thread in threading.enumerate() if thread.name == "page"]


def test_a_server_that_was_never_started_can_be_closed(device: SeasonedDevice) -> None:
    page_server(device.directory, device.config).close()
