"""The inbox: signed batches on disk, each named by its SHA-256, from their arrival until they are ingested.

`<sha256>.batch` holds the bytes as they came and `<sha256>.json` who sent and signed them. The batch is renamed
into place last, so a batch that can be seen is whole and has its envelope. Verifying is done before; ingesting,
which moves the pair to `ingested/`, after.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from fieldedge.durable import write_durably

INGESTED_NAME = "ingested"


class Inbox:
    """The inbox in one directory, which is created when it is not there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def has(self, sha256: str) -> bool:
        """Whether this batch arrived before, ingested or not."""
        name = f"{sha256}.batch"
        return (self._directory / name).exists() or (self._directory / INGESTED_NAME / name).exists()

    def keep(self, body: bytes, device_id: str, signature: str, received: datetime) -> bool:
        """Store a batch so that a power cut cannot lose it. True when it is new, False when it was known.

        Raises:
            OSError: it could not be stored; the sender must keep it.
        """
        sha256 = hashlib.sha256(body).hexdigest()
        if self.has(sha256):
            return False
        envelope = {
            "device_id": device_id,
            "signature": signature,
            "received_utc": received.astimezone(UTC).isoformat(timespec="seconds"),
        }
        write_durably(self._directory / f"{sha256}.json", json.dumps(envelope, sort_keys=True).encode() + b"\n")
        write_durably(self._directory / f"{sha256}.batch", body)
        return True
