"""What a device signs before a batch, so that its gateway knows whose the batch is before a byte of it is read.

An opening names one batch of one device, its size, and a number that is used once: who copies it from the wire cannot
open anything with it again. It is no batch: the gateway takes no body that begins like one.
"""

import json
import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldedge.contract.batches import batch_id
from fieldedge.system.keys import sign

BATCH, ONCE, OPENING = "Fieldloop-Batch", "Fieldloop-Once", "Fieldloop-Opening"  # the headers
PREFIX = b"fieldloop opening "


def opening(device_id: str, sha256: str, size_bytes: int, once: str) -> bytes:
    """The bytes under the signature of an opening; `sha256` is the batch's, as 64 hex digits."""
    return PREFIX + json.dumps({"batch": sha256, "bytes": size_bytes, "device_id": device_id, "once": once}).encode()


def opening_headers(key: Ed25519PrivateKey, device_id: str, body: bytes) -> dict[str, str]:
    """The headers that open one upload of this batch."""
    sha256, once = batch_id(body), secrets.token_hex(16)
    return {BATCH: sha256, ONCE: once, OPENING: sign(key, opening(device_id, sha256, len(body), once))}
