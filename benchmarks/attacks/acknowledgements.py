"""Whoever stands in the gateway's place and says that it holds what a device sent."""

import base64
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.attacks import Outcome, attack
from benchmarks.attacks.device_files import made, run
from fieldedge.device.config import DeviceDirectory
from fieldedge.storage.store import Store
from fieldedge.system.keys import load_key, public_key_hex, sign
from fieldedge.transfer.acknowledgements import statement
from fieldloop.core.http_server import HttpServer
from fieldloop.gateway.app import create_app
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.release import ReleaseRepository
from tests.edge.sample import DEVICE_ID, season_messages

STRANGER = Ed25519PrivateKey.generate()


@attack(line=10, words="a server without the gateway's key acknowledges batches over HTTP")
def acknowledged_by_a_stranger(scratch: Path) -> Outcome:
    """No record may be freed; then the gateway takes them all."""
    directory = made(scratch)
    run(directory, season_messages(24))
    repository = ReleaseRepository(scratch / "tuf")
    registry = DeviceRegistry(scratch / "devices.json")
    registry.register({DEVICE_ID: public_key_hex(load_key(directory.private_key))})
    answers: dict[str, Callable[[str], dict[str, object]]] = {
        "none": lambda sha: {"acknowledged": sha},
        "null": lambda sha: {"acknowledged": sha, "signature": None},
        "its own": lambda sha: {"acknowledged": sha, "signature": sign(STRANGER, statement(DEVICE_ID, sha))},
        "another device's": lambda sha: {
            "acknowledged": sha,
            "signature": repository.sign_acknowledgement("dev-99", sha),
        },
        "another batch's": lambda sha: {
            "acknowledged": sha,
            "signature": repository.sign_acknowledgement(DEVICE_ID, "0" * 64),
        },
        "nonsense": lambda sha: {"acknowledged": sha, "signature": base64.b64encode(b"x" * 64).decode()},
        "garbled": lambda sha: {"acknowledged": sha, "signature": "AAAA"},
    }
    with HttpServer(create_app(scratch / "tuf", scratch / "inbox", registry.path)) as gateway:
        fieldedge(directory, "update", gateway.url)  # it learns whose signature counts
        collected = records(directory)
        for answer in answers.values():
            with Stranger(answer) as server:
                fieldedge(directory, "sync", server.url)
        freed = records(directory, "acknowledged")
        fieldedge(directory, "sync", gateway.url)
    held = records(directory, "acknowledged")
    kept = len(list((scratch / "inbox").rglob("*.batch")))
    detail = f"{len(answers)} kinds of signature; {freed} records freed by them, {held} of {collected} by the gateway"
    return Outcome(freed, collected - held if kept else collected, detail)


class Stranger:
    """Answers each batch as it is told to."""

    def __init__(self, answer: Callable[[str], dict[str, object]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                said = json.dumps(answer(hashlib.sha256(body).hexdigest())).encode()
                self.send_response(201)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *values: object) -> None:
                """Nobody needs it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Stranger":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def records(directory: DeviceDirectory, state: str | None = None) -> int:
    """How many records the device has, in that state or in any."""
    with Store(directory.store) as store:
        states = store.states()
    return states.get(state, 0) if state else sum(states.values())


def fieldedge(directory: DeviceDirectory, command: str, gateway: str) -> None:
    """Whatever comes of it; the store says."""
    command_line = [sys.executable, "-m", "fieldedge", command, "--dir", str(directory.root), "--gateway", gateway]
    subprocess.run(command_line, stdin=subprocess.DEVNULL, check=False)
