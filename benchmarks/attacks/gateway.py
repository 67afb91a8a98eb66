"""Strangers at the gateway. It runs in a process of its own, with the files that an ordinary machine allows."""

import hashlib
import http.client
import json
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.attacks import Outcome, attack
from fieldedge.system.keys import public_key_hex, sign
from fieldedge.transfer.opening import opening_headers
from fieldloop.core.http_server import HttpServer
from fieldloop.gateway.app import create_app
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.release import ReleaseRepository

KEY = Ed25519PrivateKey.generate()
DEVICE = "dev-00"
FILES = 1_024  # what most systems allow a process
HONEST_WITHIN_S = 20.0
MAY_GROW_MB = 120.0
HEALTH = b"GET /v1/health HTTP/1.1\r\nHost: gateway\r\n\r\n"


@attack(line=21, words="a stranger asks for the signing keys beside the releases")
def keys_asked_for(scratch: Path) -> Outcome:
    """Every spelling of a way from the served folders to the keys."""
    ways = ("/tuf/keys/root.pem", "/tuf/metadata/../keys/root.pem", "/tuf/metadata/%2e%2e/keys/root.pem")
    ways += ("/tuf/metadata/..%2fkeys/root.pem", "/tuf/targets/..%5ckeys/root.pem", f"/tuf/metadata/{scratch}/tuf/keys")
    given = 0
    with gateway(scratch) as server:
        secret = (scratch / "tuf" / "keys" / "root.pem").read_bytes()
        for way in ways:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            connection.request("GET", way)
            answer = connection.getresponse()
            given += answer.status == 200 or secret in answer.read()
            connection.close()
    return Outcome(accepted=given, lost=0, detail=f"{len(ways)} ways tried")


@attack(line=21, words="1,020 strangers connect and say nothing")
def idle_connections(scratch: Path) -> Outcome:
    """A registered device must be let in among them."""
    return held(scratch, 1_020, b"")


@attack(line=21, words="1,020 strangers begin a request and do not end it")
def half_headers(scratch: Path) -> Outcome:
    """Headers that never end."""
    return held(scratch, 1_020, HEALTH[:-2])


@attack(line=21, words="1,020 strangers ask once and keep the connection")
def kept_connections(scratch: Path) -> Outcome:
    """Answered, and never gone."""
    return held(scratch, 1_020, HEALTH)


@attack(line=21, words="300 strangers send half a batch of 5 MB each")
def half_bodies(scratch: Path) -> Outcome:
    """The gateway must take next to none of it into memory."""
    return held(scratch, 300, batch_of("stranger"), body=b"x" * 2_500_000)


@attack(line=21, words="300 strangers send half a batch under a registered device's name")
def half_bodies_of_a_device(scratch: Path) -> Outcome:
    """A name is no secret: what is held for it has a bound, and the device itself gets its turn."""
    return held(scratch, 300, batch_of(DEVICE), body=b"x" * 2_500_000)


@attack(line=21, words="13 strangers drip batches under a device's name, as a slow link would", at_most_s=120.0)
def dripped_bodies(scratch: Path) -> Outcome:
    """They never become slow enough to be ended, and the device must get its turns all the same."""
    with gateway(scratch) as server, ExitStack() as strangers:
        drips = [strangers.enter_context(server.connect(batch_of(DEVICE))) for _ in range(13)]
        has_ended = threading.Event()

        def drip() -> None:
            while not has_ended.wait(0.5):
                for number, connection in enumerate(drips):
                    try:
                        connection.sendall(b"x" * 550)
                    except OSError:  # it had to go: the next one comes
                        drips[number] = strangers.enter_context(server.connect(batch_of(DEVICE)))

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        try:
            lost = sum(not server.takes_a_batch() for _ in range(5))
        finally:
            has_ended.set()
            thread.join()
    return Outcome(accepted=0, lost=lost, detail="13 drip 1.1 kB a second each")


@attack(line=21, words="a stranger drips a request, a byte at a time", at_most_s=90.0)
def dripped_headers(scratch: Path) -> Outcome:
    """It must be cut off, however long it goes on."""
    with gateway(scratch) as server, server.connect() as drips:
        started_s = time.monotonic()
        while time.monotonic() - started_s < 60.0:
            try:
                drips.sendall(b"G")
                drips.settimeout(0.2)
                if not drips.recv(1_000):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        seconds = time.monotonic() - started_s
        return Outcome(int(seconds >= 60.0), int(not server.takes_a_batch()), f"cut off after {seconds:.0f} s")


@attack(line=21, words="50,000 registered devices: what one upload costs")
def large_registry(scratch: Path) -> Outcome:
    """The registry is parsed when it changed, not for each batch."""
    with gateway(scratch) as server:
        keys = {f"dev-{number:05d}": public_key_hex(KEY) for number in range(50_000)}
        (scratch / "devices.json").write_text(json.dumps({**keys, DEVICE: public_key_hex(KEY)}))
        refused = int(not server.takes_a_batch())
        before_s = server.cpu_s()
        refused += sum(not server.takes_a_batch() for _ in range(100))
        each_ms = (server.cpu_s() - before_s) * 10
    return Outcome(int(each_ms > 20.0), refused, f"{each_ms:.1f} ms of the processor for each of 100 uploads")


def held(scratch: Path, strangers: int, said: bytes, body: bytes = b"") -> Outcome:
    """So many connections, each of which says this and stays; then a device comes, and comes again.

    `lost` counts a device's batches that were not taken, `accepted` whether memory grew without bound.
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (strangers + 500, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with gateway(scratch) as server, ExitStack() as open_connections:
        server.takes_a_batch()
        before_mb = server.resident_mb()
        most_mb = 0.0
        for _ in range(strangers):
            with suppress(OSError):
                connection = open_connections.enter_context(server.connect(said))
                if body:
                    connection.settimeout(0.05)
                    connection.sendall(body)
            most_mb = max(most_mb, server.resident_mb())
        lost = sum(not server.takes_a_batch() for _ in range(5))
        grown_mb = max(most_mb, server.resident_mb()) - before_mb
    return Outcome(int(grown_mb > MAY_GROW_MB), lost, f"{strangers} held; memory grew by {grown_mb:.0f} MB")


def batch_of(device_id: str) -> bytes:
    """The headers of a batch that nobody signed."""
    return (
        f"POST /v1/batches HTTP/1.1\r\nHost: gateway\r\nFieldloop-Device: {device_id}\r\n"
        f"Fieldloop-Signature: {'A' * 86}==\r\nContent-Length: 5000000\r\n\r\n"
    ).encode()


@dataclass
class Gateway:
    """A gateway in a process of its own, with one registered device."""

    port: int
    process: psutil.Process
    sent: int = 0

    def connect(self, said: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection.sendall(said)
        return connection

    def takes_a_batch(self) -> bool:
        """Whether the registered device's next batch is acknowledged in a while; asked to come again, it does."""
        self.sent += 1
        body = b"batch %d" % self.sent
        signed = {"Fieldloop-Device": DEVICE, "Fieldloop-Signature": sign(KEY, body), "Connection": "close"}
        url = f"http://127.0.0.1:{self.port}/v1/batches"
        until_s = time.monotonic() + HONEST_WITHIN_S
        timeout = urllib3.Timeout(total=HONEST_WITHIN_S)
        while time.monotonic() < until_s:
            headers = {**signed, **opening_headers(KEY, DEVICE, body)}
            with suppress(urllib3.exceptions.HTTPError):
                answer = urllib3.request("POST", url, body=body, headers=headers, timeout=timeout, retries=False)
                if answer.status in (200, 201):
                    return bool(answer.json()["acknowledged"] == hashlib.sha256(body).hexdigest())
            time.sleep(0.5)
        return False

    def resident_mb(self) -> float:
        return float(self.process.memory_info().rss) / 1e6

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def gateway(scratch: Path) -> Iterator[Gateway]:
    """A running gateway on an empty repository in `scratch`."""
    ReleaseRepository(scratch / "tuf")
    DeviceRegistry(scratch / "devices.json").register({DEVICE: public_key_hex(KEY)})
    command = [sys.executable, "-c", f"from {__name__} import serve; serve({str(scratch)!r})"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = re.match(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline() if process.stdout else "")
            if found is None:
                raise RuntimeError("the gateway did not start")
            yield Gateway(int(found[1]), psutil.Process(process.pid))
        finally:
            process.kill()


def serve(scratch: str) -> None:
    """The gateway's process: until its standard input ends."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    root = Path(scratch)
    with HttpServer(create_app(root / "tuf", root / "inbox", root / "devices.json")) as server:
        print(server.url, flush=True)
        sys.stdin.read()
