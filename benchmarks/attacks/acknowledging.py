"""Whoever stands in the gateway's place and says that it holds what a device sent."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.attacks import Outcome, attack
from fieldedge.acknowledgements import AcknowledgementError, Acknowledger, statement
from fieldedge.config import DeviceDirectory
from fieldedge.keys import sign
from fieldedge.stick import DirectoryFetcher
from fieldedge.trust import Mirror, refreshed
from fieldedge.uploads import Gateway
from fieldloop.release import ReleaseRepository

DEVICE_ID = "dev-00"
BATCH = b"a season's records"


@contextmanager
def _stranger(answer: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(201)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *values: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@attack(line=10, words="a server that knows no key acknowledges what a device sent")
def acknowledged_by_a_stranger(scratch: Path) -> Outcome:
    """Unsigned, garbled, signed by a stranger, of another device and of another batch."""
    repository = ReleaseRepository(scratch / "tuf")
    repository.delegate_acknowledgements()
    device = DeviceDirectory(scratch / "device")
    device.trust.mkdir(parents=True)
    device.bootstrap_root.write_bytes(repository.trusted_root().read_bytes())
    mirror = Mirror("the releases", "stick:metadata/", "stick:targets/", DirectoryFetcher(scratch / "tuf"))
    with refreshed(device, mirror, lambda: datetime.now(UTC)):
        pass  # from now on the device knows the key
    held, key = hashlib.sha256(BATCH).hexdigest(), Ed25519PrivateKey.generate()
    forged = [
        {"acknowledged": held},
        {"acknowledged": held, "signature": "AAAA"},
        {"acknowledged": held, "signature": sign(key, statement(DEVICE_ID, held))},
        {"acknowledged": held, "signature": repository.sign_acknowledgement("dev-01", held)},
        {"acknowledged": held, "signature": repository.sign_acknowledgement(DEVICE_ID, "0" * 64)},
    ]
    freed = 0
    for answer in forged:
        with _stranger(json.dumps(answer).encode()) as url:
            acknowledger = Acknowledger(device, url, lambda: datetime.now(UTC))
            try:
                Gateway(url, DEVICE_ID, key, acknowledger).post(BATCH)
                freed += 1
            except AcknowledgementError:
                continue
    return Outcome(accepted=freed, lost=freed, detail=f"{len(forged)} forged acknowledgements, {freed} believed")
