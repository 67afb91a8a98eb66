"""Strangers who hold on to a gateway shut nobody out, and each part of a connection has its time."""

import hashlib
import json
import resource
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.types import Receive, Scope, Send

from fieldedge.system.keys import public_key_hex, sign
from fieldedge.transfer.acknowledgements import Acknowledger
from fieldedge.transfer.opening import opening, opening_headers
from fieldedge.transfer.uploads import Gateway
from fieldloop.core.http_connections import ConnectionLimits
from fieldloop.core.http_server import HttpServer
from fieldloop.gateway.admission import AdmissionLimits
from fieldloop.gateway.app import create_app
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.release import ReleaseRepository
from tests.edge.patience import PATIENCE_S

KEY = Ed25519PrivateKey.generate()
BODY = b"a batch"
Start = Callable[..., HttpServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Gateways with one registered device, with limits of their own."""
    ReleaseRepository(tmp_path / "tuf")
    DeviceRegistry(tmp_path / "devices.json").register({"dev-00": public_key_hex(KEY)})
    with ExitStack() as running:

        def started(admission: AdmissionLimits | None = None, **limits: float) -> HttpServer:
            app = create_app(tmp_path / "tuf", tmp_path / "inbox", tmp_path / "devices.json", admission=admission)
            connection_limits = ConnectionLimits(**limits)  # type: ignore[arg-type]
            return running.enter_context(HttpServer(app, limits=connection_limits))

        yield started


def connect(server: HttpServer, said: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=PATIENCE_S)
    connection.sendall(said)
    return connection


def until_closed(connection: socket.socket) -> bytes:
    """All that comes until the other end closes, however it does."""
    said = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65_536):
            said += piece
    return said


def until_closed_while_sending(connection: socket.socket, piece: bytes) -> bytes:
    """Send a piece now and then until the other end closes; what it said."""
    said = b""
    connection.settimeout(0.02)
    with suppress(ConnectionError):
        for _ in range(100_000):
            try:
                connection.sendall(piece)
                got = connection.recv(65_536)
                if not got:
                    return said
                said += got
            except TimeoutError:
                continue
    return said


def headers(device_id: str = "dev-00", length: int = len(BODY), proof: Mapping[str, str] | None = None) -> bytes:
    proven = "".join(f"{name}: {value}\r\n" for name, value in (proof or {}).items())
    return (
        f"POST /v1/batches HTTP/1.1\r\nHost: gateway\r\nFieldloop-Device: {device_id}\r\n{proven}"
        f"Fieldloop-Signature: {sign(KEY, BODY)}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def begin(
    server: HttpServer, device_id: str = "dev-00", length: int = len(BODY), proof: Mapping[str, str] | None = None
) -> socket.socket:
    """A batch of which the gateway has begun to read the body; none of it is sent."""
    said = headers(device_id, length, proof).replace(b"Host:", b"Expect: 100-continue\r\nHost:")
    connection = connect(server, said)
    assert connection.recv(65_536).startswith(b"HTTP/1.1 100 ")
    return connection


def upload(server: HttpServer, body: bytes = BODY, proof: Mapping[str, str] | None = None) -> int:
    """What a registered device is answered; with no proof, one of the former version."""
    answer = urllib3.request(
        "POST",
        f"{server.url}/v1/batches",
        body=body,
        headers={"Fieldloop-Device": "dev-00", "Fieldloop-Signature": sign(KEY, body), **(proof or {})},
        retries=False,
        timeout=PATIENCE_S,
    )
    if answer.status in (200, 201):
        assert json.loads(answer.data)["acknowledged"] == hashlib.sha256(body).hexdigest()
    return answer.status


class Believing(Acknowledger):
    """Takes the gateway at its word."""

    def __init__(self) -> None:
        pass

    def check(self, answer: Any, device_id: str, sha256: str) -> None:
        assert (answer["acknowledged"], device_id) == (sha256, "dev-00")


@pytest.mark.parametrize("limits", [{"connections": 20}, {"connections": 1_000, "per_address": 20}])
@pytest.mark.parametrize("said", [b"", b"GET /v1/health HTT", b"GET /v1/health HTTP/1.1\r\nHost: gateway\r\n\r\n"])
def test_strangers_who_hold_connections_shut_no_device_out(start: Start, limits: dict[str, int], said: bytes) -> None:
    server = start(headers_s=10 * PATIENCE_S, idle_s=10 * PATIENCE_S, **limits)
    with ExitStack() as strangers:
        for _ in range(60):
            stranger = strangers.enter_context(connect(server, said))
            if said.endswith(b"\r\n\r\n"):
                assert stranger.recv(100).startswith(b"HTTP/1.1 200 ")  # from now on it only holds on
        assert upload(server) == 201
        assert len(server.connections) <= 20


def test_where_all_are_busy_a_newcomer_is_told_and_the_others_are_served(start: Start) -> None:
    server = start(connections=1, stalled_s=10 * PATIENCE_S, patience_s=10 * PATIENCE_S)
    with begin(server) as busy:
        with connect(server, b"GET /v1/health HTTP/1.1\r\nHost: gateway\r\n\r\n") as newcomer:
            assert until_closed(newcomer).startswith(b"HTTP/1.1 503 ")
        busy.sendall(BODY)
        assert busy.recv(65_536).startswith(b"HTTP/1.1 201 ")


def test_a_connection_that_is_busy_too_long_makes_room_where_all_are(start: Start) -> None:
    server = start(connections=2, patience_s=0.0, stalled_s=10 * PATIENCE_S)
    with ExitStack() as strangers:
        for _ in range(2):
            strangers.enter_context(begin(server))
        assert upload(server) == 201


@pytest.mark.parametrize("said", [b"", b"GET /v1/hea", b"GET / HTTP/1.1\r\nHost: gateway\r\nX-Slow: "])
def test_headers_that_do_not_end_are_not_waited_for(start: Start, said: bytes) -> None:
    server = start(headers_s=0.2)
    with connect(server, said) as silent:
        assert until_closed(silent) == b""
    with connect(server, said) as drips:
        assert until_closed_while_sending(drips, said[-1:]) == b""
    assert upload(server) == 201


def test_headers_without_end_are_refused_before_they_fill_the_memory(start: Start) -> None:
    server = start()
    with connect(server, b"GET / HTTP/1.1\r\nHost: gateway\r\n") as endless:
        assert until_closed_while_sending(endless, b"X-More: " + b"x" * 8_000 + b"\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_connection_that_is_idle_after_an_answer_is_closed(start: Start) -> None:
    server = start(idle_s=0.2)
    with connect(server, b"GET /v1/health HTTP/1.1\r\nHost: gateway\r\n\r\n") as idle:
        assert until_closed(idle).endswith(b'{"ok":true}')


def test_one_connection_asks_many_times(start: Start) -> None:
    server = start()
    with connect(server) as kept:
        for _ in range(50):
            kept.sendall(b"GET /v1/health HTTP/1.1\r\nHost: gateway\r\n\r\n")
            answer = b""
            while not answer.endswith(b'{"ok":true}'):
                answer += kept.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("known", ["dev-00", "dev-99"])
def test_a_body_that_stops_is_not_waited_for(start: Start, known: str) -> None:
    server = start(stalled_s=0.3, linger_s=0.3)
    with connect(server, headers(known) + BODY[:3]) as stopped:
        assert until_closed(stopped).startswith(b"HTTP/1.1 401 " if known == "dev-99" else b"")
    assert upload(server) == 201


def test_a_body_that_drips_has_an_end(start: Start) -> None:
    server = start(AdmissionLimits(patience_s=0.2, bytes_per_s=1_000_000.0))
    with connect(server, headers(length=400_000)) as drips:
        answer = until_closed_while_sending(drips, b"x")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"1e+06 a second are the least" in answer


def test_an_exchange_has_an_end_however_it_moves(start: Start) -> None:
    server = start(exchange_s=0.3)
    with connect(server, headers(length=4_000_000)) as drips:
        assert until_closed_while_sending(drips, b"x") == b""


@pytest.mark.parametrize("ask_to_close", [False, True])
def test_a_stranger_reads_its_answer_before_it_sends_a_body_and_after(start: Start, ask_to_close: bool) -> None:
    server = start()
    first = headers("dev-99", length=4_000_000)
    if ask_to_close:
        first = first.replace(b"Host:", b"Connection: close\r\nHost:")
    with connect(server, first) as stranger:
        assert stranger.recv(65_536).startswith(b"HTTP/1.1 401 ")
        stranger.sendall(b"x" * 4_000_000)
        until_closed(stranger)
    with connect(server, first) as stranger:
        stranger.sendall(b"x" * 4_000_000)
        assert b"there is no registered device 'dev-99'" in until_closed(stranger)


def test_what_a_refused_stranger_goes_on_sending_has_an_end(start: Start) -> None:
    server = start(linger_s=0.3)
    with connect(server, headers("dev-99", length=4_000_000)) as stranger:
        assert until_closed_while_sending(stranger, b"x" * 100).startswith(b"HTTP/1.1 401 ")


async def large_answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(100):
        await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def test_an_answer_that_nobody_reads_has_an_end() -> None:
    limits = ConnectionLimits(connections=1, stalled_s=0.3, patience_s=10 * PATIENCE_S)
    ask = b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"
    with HttpServer(large_answer, limits=limits) as server, connect(server, ask) as reader:
        assert reader.recv(100)
        answer = b""
        while not answer.startswith(b"HTTP/1.1 200 "):
            with connect(server, ask) as newcomer:
                answer = newcomer.recv(100)
        assert len(until_closed(reader)) < 100_000_000


def test_one_device_name_takes_two_turns_and_no_more(start: Start) -> None:
    """Who knows a device's name cannot fill the memory with it."""
    server = start(AdmissionLimits(per_device=2, wait_s=0.2, pause_s=10 * PATIENCE_S))
    with ExitStack() as strangers:
        for _ in range(2):
            strangers.enter_context(begin(server, length=1_000))
        with connect(server, headers(length=1_000) + b"x") as third:
            answer = until_closed(third)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 10" in answer.lower()


@pytest.mark.parametrize("limits", [{"per_device": 1}, {"batches": 1}, {"bytes": 1_003}])
def test_who_drips_makes_room_for_who_sends(start: Start, limits: dict[str, int]) -> None:
    server = start(AdmissionLimits(pause_s=0.2, wait_s=PATIENCE_S, **limits))  # type: ignore[arg-type]
    with begin(server, length=1_000) as drips:
        assert upload(server) == 201
        assert until_closed(drips).startswith(b"HTTP/1.1 408 ")


def test_a_device_is_served_before_the_strangers_who_wait_under_its_name(start: Start) -> None:
    server = start(AdmissionLimits(per_device=1, pause_s=1.0, wait_s=PATIENCE_S))
    with ExitStack() as strangers:
        strangers.enter_context(begin(server, length=1_000))
        for _ in range(30):
            strangers.enter_context(connect(server, headers(length=1_000) + b"x"))
        assert upload(server) == 201


@pytest.mark.parametrize(("name", "strangers"), [("dev-00", 2), ("dev-01", 13), ("dev-00", 60)])
def test_bodies_that_nobody_signed_keep_no_device_out(start: Start, name: str, strangers: int, tmp_path: Path) -> None:
    """They send fast enough for ever, as far as the gateway can tell."""
    other = public_key_hex(Ed25519PrivateKey.generate())
    DeviceRegistry(tmp_path / "devices.json").register({"dev-01": other})
    read = min(strangers, 12)
    server = start(
        AdmissionLimits(patience_s=10 * PATIENCE_S, pause_s=10 * PATIENCE_S, per_device=read, waiting_per_device=60)
    )
    with ExitStack() as held:
        for _ in range(read):
            held.enter_context(begin(server, name, length=5_000_000))
        for _ in range(strangers - 12):
            held.enter_context(connect(server, headers(name, length=5_000_000) + b"x"))
        Gateway(server.url, "dev-00", KEY, Believing()).post(BODY * 600_000)
    assert len(list(tmp_path.glob("inbox/dev-00/*.batch"))) == 1


def test_an_opening_is_used_once_and_for_its_own_batch(start: Start) -> None:
    server = start(AdmissionLimits(pause_s=10 * PATIENCE_S, wait_s=PATIENCE_S))
    proof = opening_headers(KEY, "dev-00", BODY)
    with begin(server, proof=proof) as first:
        assert upload(server, BODY, proof) == 409, "a copy from the wire ends nothing"
        assert upload(server, BODY, opening_headers(KEY, "dev-00", BODY)) == 201
        assert until_closed(first).startswith(b"HTTP/1.1 408 "), "the same batch again ends the former try"
    assert upload(server, BODY + b"!", opening_headers(KEY, "dev-00", BODY)) == 401, "of another size"
    assert upload(server, BODY[::-1], opening_headers(KEY, "dev-00", b"another")) == 400
    stranger = Ed25519PrivateKey.generate()
    assert upload(server, BODY, opening_headers(stranger, "dev-00", BODY)) == 401
    assert upload(server, BODY, {**opening_headers(KEY, "dev-00", BODY), "Fieldloop-Batch": "../" * 21 + "x"}) == 400


def test_a_batch_that_is_held_is_looked_for_in_a_turn_and_takes_no_room(start: Start) -> None:
    no_room = start(AdmissionLimits(bytes=0, wait_s=0.0))
    assert upload(no_room, BODY, opening_headers(KEY, "dev-00", BODY)) == 503
    assert upload(start(), BODY) == 201
    assert upload(no_room, BODY, opening_headers(KEY, "dev-00", BODY)) == 200
    no_turn = start(AdmissionLimits(per_device=0, wait_s=0.0))
    assert upload(no_turn, BODY, opening_headers(KEY, "dev-00", BODY)) == 503


def test_an_opening_is_no_batch(start: Start) -> None:
    proof = opening_headers(KEY, "dev-00", BODY)
    statement = opening("dev-00", proof["Fieldloop-Batch"], len(BODY), proof["Fieldloop-Once"])
    assert upload(start(), statement, {"Fieldloop-Signature": proof["Fieldloop-Opening"]}) == 401


def test_there_are_no_more_connections_than_files(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    assert start().connections.limits.connections == 277
    assert start(connections=100).connections.limits.connections == 100
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert start().connections.limits.connections == 512
