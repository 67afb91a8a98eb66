"""Whatever stands on the wire in place of an answer: a short answer to read, or one error that names the address."""

import socket
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest
import urllib3

from fieldedge.system.errors import LinkError
from fieldedge.system.http import MAX_ANSWER_BYTES, Bounds, Patience, ask, exchange, json_value
from tests.edge.patience import PATIENCE_S
from tests.edge.raw_server import RawServer

TIMEOUT = urllib3.Timeout(total=PATIENCE_S)
TIMEOUT_OF_EACH = urllib3.Timeout(connect=PATIENCE_S, read=PATIENCE_S)  # of the whole, patience says it


@pytest.fixture(scope="module")
def server() -> RawServer:
    return RawServer()


def asked(server: RawServer, answer: bytes) -> tuple[int, bytes]:
    server.next = answer.replace(b"200 Any\r\n", b"200 Any\r\nConnection: close\r\n")  # the server hangs up
    found = ask("GET", server.url, TIMEOUT)
    return found.status, found.body


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 Any\r\nContent-Length: 2\r\n\r\nok", (200, b"ok")),
        (b"HTTP/1.1 200 Any\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", (200, b"ok")),
        (b"HTTP/1.1 302 Any\r\nConnection: close\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n", (302, b"")),
        (b"HTTP/1.1 503 Any\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlater", (503, b"later")),
    ],
)
def test_an_answer_is_its_status_and_its_body(server: RawServer, answer: bytes, expected: tuple[int, bytes]) -> None:
    assert asked(server, answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 Any\r\nContent-Length: 99\r\n\r\nbroken off",
        b"HTTP/1.1 200 Any\r\nContent-Length: %d\r\n\r\nof exabytes" % 10**18,
        b"HTTP/1.1 200 Any\r\nContent-Length: %d\r\n\r\nno length at all" % 10**30,
        b"HTTP/1.1 200 Any\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\nof exabytes" % 10**18,
        b"HTTP/1.1 200 Any\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nless than none",
        b"HTTP/1.1 200 Any\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain",
    ],
)
def test_what_http_cannot_read_is_a_failed_link_that_names_the_address(server: RawServer, answer: bytes) -> None:
    try:
        asked(server, answer)
    except LinkError as error:
        assert str(error).startswith(f"{server.url} cannot be reached: ") and not str(error).endswith(": ")
    else:
        assert b"exabytes" in answer or b"no length" in answer  # read as far as it goes


def test_of_an_answer_without_end_only_the_beginning_is_read(server: RawServer) -> None:
    status, body = asked(server, b"HTTP/1.1 200 Any\r\n\r\n" + b"x" * 10 * MAX_ANSWER_BYTES)
    assert (status, len(body)) == (200, MAX_ANSWER_BYTES)


def test_nothing_reads_on_in_the_background_when_an_answer_without_end_was_left() -> None:
    """An answer that closes its connection has taken the socket from it: there is nothing to shut, only to stop."""
    with socket.create_server(("127.0.0.1", 0)) as endless:

        def answer() -> None:
            connection, _ = endless.accept()
            with connection, suppress(OSError):
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 Any\r\nConnection: close\r\n\r\n")
                while True:
                    connection.sendall(b"x" * 65_536)

        serving = threading.Thread(target=answer, daemon=True)
        serving.start()
        ask("GET", f"http://127.0.0.1:{endless.getsockname()[1]}", TIMEOUT)
        serving.join(PATIENCE_S)  # its sending fails as soon as nobody reads
    assert not serving.is_alive()


DRIPPING = {
    "headers": b"HTTP/1.1 200 Any\r\nX-Header: " + b"x" * 60_000,
    "many headers": b"HTTP/1.1 200 Any\r\n" + b"X: y\r\n" * 10_000,
    "body": b"HTTP/1.1 200 Any\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000,
    "chunks": b"HTTP/1.1 200 Any\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10_000,
    "body without end": b"HTTP/1.1 200 Any\r\n\r\n" + b"x" * 60_000,
}


@pytest.mark.parametrize("what", sorted(DRIPPING))
def test_a_server_that_drips_is_left_when_the_whole_time_is_over(what: str) -> None:
    dripping = RawServer()
    dripping.slowly = DRIPPING[what]
    with pytest.raises(LinkError, match=r"bytes came in .* no more time is allowed"):
        ask("GET", dripping.url, urllib3.Timeout(total=0.5, read=PATIENCE_S))


@pytest.mark.parametrize("what", sorted(DRIPPING))
def test_a_server_that_drips_is_left_when_too_little_has_come(what: str) -> None:
    dripping = RawServer()
    dripping.slowly = DRIPPING[what]
    patience = Patience(grace_s=0.5, min_bytes_per_s=1000.0)
    with pytest.raises(LinkError, match="at least 1000 bytes a second are expected"):
        ask("GET", dripping.url, TIMEOUT_OF_EACH, patience=patience)


def test_a_slow_link_gets_the_time_that_its_bytes_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four bytes a second by a clock that moves with them: the body takes three seconds, one more than the grace."""
    head, body = b"HTTP/1.1 200 Any\r\nContent-Length: 12\r\n\r\n", b"a slow link."
    slow, sent, clock_s = RawServer(), threading.Semaphore(len(head)), 0.0
    slow.slowly, slow.pace = head + body, lambda: sent.acquire(timeout=PATIENCE_S)
    monkeypatch.setattr("fieldedge.system.http.time", SimpleNamespace(monotonic=lambda: clock_s))
    patience, came = Patience(grace_s=2.0, min_bytes_per_s=4.0), b""
    with exchange("GET", slow.url, patience, Bounds(), timeout=TIMEOUT) as response:
        for chunk in response.chunks:
            came += chunk
            clock_s += len(chunk) / 4.0
            sent.release(len(chunk))
    assert (came, clock_s) == (body, 3.0)
    assert Patience().allowed_s(200_000) > 200_000 / 2_000, "a bundle of 200 kB over 2 kB/s"


def test_nobody_there_is_said_without_the_names_of_objects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with pytest.raises(LinkError, match=r"cannot be reached: Failed to establish a new connection: .*refused"):
        ask("GET", url, TIMEOUT)


def test_a_server_that_takes_what_it_is_sent_a_byte_at_a_time_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(LinkError, match="cannot be reached"):
            ask("POST", url, urllib3.Timeout(total=0.5, read=PATIENCE_S), body=b"x" * 20_000_000)


def test_an_exchange_is_left_when_somebody_needs_its_place() -> None:
    dripping = RawServer()
    dripping.slowly = DRIPPING["body"]
    with pytest.raises(LinkError, match="another fieldedge command needs its place"):
        bounds, patience = Bounds(must_stop=lambda: True), Patience(grace_s=PATIENCE_S)
        ask("GET", dripping.url, TIMEOUT_OF_EACH, bounds=bounds, patience=patience)


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    elsewhere, server = RawServer(), RawServer()
    server.next = b"HTTP/1.1 307 Any\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n" % elsewhere.url.encode()
    assert ask("GET", server.url, TIMEOUT).status == 307
    assert elsewhere.asked == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 60_000, b"\xff", b'{"a": 1' + b"0" * 5_000 + b"}"])
def test_an_answer_that_is_no_json_is_none(body: bytes) -> None:
    assert json_value(body) is None


def test_nobody_there_is_a_failed_link() -> None:
    with pytest.raises(LinkError, match="cannot be reached"):
        ask("GET", "http://127.0.0.1:1/", TIMEOUT)


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy", "HTTP_PROXY"])
def test_a_far_gateway_is_asked_through_the_proxy_and_this_device_never(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
    proxy, here = RawServer(), RawServer()
    proxy.next = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy"
    here.next = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere"
    monkeypatch.setenv(name, proxy.url)
    assert ask("GET", "http://gateway.example.org/v1/health", TIMEOUT).body == b"proxy"
    assert ask("GET", here.url, TIMEOUT).body == b"here"
    monkeypatch.setenv("no_proxy", "127.0.0.1,.example.org")
    with pytest.raises(LinkError):
        ask("GET", "http://gateway.example.invalid.example.org/", TIMEOUT)
    assert proxy.asked == 1
