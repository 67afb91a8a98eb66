"""The inbox: signed batches on disk, each under its device and named by its SHA-256, until they are ingested.

`<device_id>/<sha256>.batch` holds the bytes as they came and `<sha256>.json` beside it who sent and signed them. The
batch is renamed into place last, so a batch that can be seen is whole and has its envelope. What one device sent makes
no other's known: the same bytes from two devices are two batches. Verifying is done before; ingesting, which moves the
pair to the device's `ingested/`, after.

An inbox of before had all batches in one folder; they are moved to their devices when it is opened.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from fieldedge.system import strict_json
from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import DataError, StoreBusy

INGESTED_NAME = "ingested"
UNKNOWN_SENDER = "unknown-sender"
MAX_ENVELOPE_BYTES = 100_000
LOCK_TIMEOUT_S = 60.0
# As the devices' own settings have it; the name of the folder for ingested batches is taken.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def is_plain_name(device_id: str) -> bool:
    """Whether a device id can name a folder of the inbox."""
    return _PLAIN_NAME.fullmatch(device_id) is not None and device_id != INGESTED_NAME


@dataclass(frozen=True)
class Held:
    """A batch in the inbox. `name` is `<device_id>/<sha256>`."""

    device_id: str
    sha256: str
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.device_id}/{self.sha256}"

    @property
    def batch(self) -> Path:
        return self.folder / f"{self.sha256}.batch"

    @property
    def envelope(self) -> Path:
        return self.folder / f"{self.sha256}.json"


@dataclass(frozen=True)
class Envelope:
    """Who sent a batch, when it came, and the signature (base64) over its bytes."""

    device_id: str
    signature: str
    received_utc: str


def read_envelope(path: Path) -> Envelope:
    """The envelope at `path`.

    Raises:
        DataError: it is missing or broken.
    """
    try:
        with path.open("rb") as file:
            values = strict_json.loads(file.read(MAX_ENVELOPE_BYTES))
        return Envelope(str(values["device_id"]), str(values["signature"]), str(values["received_utc"]))
    except FileNotFoundError as error:
        raise DataError(f"the batch's envelope {path.name} is missing") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"the batch's envelope {path.name} is broken: {error!r}") from error


class Inbox:
    """The inbox in one directory, which is created when it is not there."""

    def __init__(self, directory: Path) -> None:
        """Open the inbox.

        Raises:
            StoreBusy: batches of a former layout wait to be moved, and another process does not let go of them.
        """
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._sort_former_layout()

    def has(self, device_id: str, sha256: str) -> bool:
        """Whether this batch arrived from this device before, ingested or not."""
        folder = self._directory / device_id
        return any((place / f"{sha256}.batch").exists() for place in (folder, folder / INGESTED_NAME))

    def keep(self, body: bytes, device_id: str, signature: str, received: datetime) -> bool:
        """Store a batch so that a power cut cannot lose it. True when it is new, False when it was known.

        Raises:
            DataError: the device's id cannot name a folder.
            OSError: it could not be stored; the sender must keep it.
        """
        if not is_plain_name(device_id):
            raise DataError(f"the device id {device_id!r} is no plain name; make the device anew with another one")
        sha256 = hashlib.sha256(body).hexdigest()
        if self.has(device_id, sha256):
            return False
        envelope = {
            "device_id": device_id,
            "signature": signature,
            "received_utc": received.astimezone(UTC).isoformat(timespec="seconds"),
        }
        self._write(device_id, sha256, json.dumps(envelope, sort_keys=True).encode() + b"\n", body)
        return True

    def put_back(self, device_id: str, sha256: str, envelope: bytes, body: bytes) -> None:
        """Let a batch that was taken out of the inbox wait in it again, as it was, whatever state it is in."""
        self._write(device_id if is_plain_name(device_id) else UNKNOWN_SENDER, sha256, envelope, body)

    def waiting(self) -> list[Held]:
        """The whole batches that are not ingested, by device and name."""
        return list(self._held(self._directory.glob("*/*.batch")))

    def ingested(self) -> list[Held]:
        """The batches that were ingested, by device and name."""
        return list(self._held(self._directory.glob(f"*/{INGESTED_NAME}/*.batch")))

    def move_to_ingested(self, held: Held) -> None:
        """Take an ingested batch out of those that wait. Repeatable."""
        _move(held, self._directory / held.device_id / INGESTED_NAME)

    def move_to_waiting(self, held: Held) -> None:
        """Let an ingested batch be ingested once more. Repeatable."""
        _move(held, self._directory / held.device_id)

    def finish_moves(self) -> None:
        """Bring envelopes that a crash left behind to their batches."""
        for envelope in [*self._directory.glob("*/*.json"), *self._directory.glob(f"*/{INGESTED_NAME}/*.json")]:
            if envelope.with_suffix(".batch").exists():
                continue
            folder = envelope.parent
            other = folder.parent if folder.name == INGESTED_NAME else folder / INGESTED_NAME
            if (other / f"{envelope.stem}.batch").exists():
                envelope.replace(other / envelope.name)

    def remove(self, held: Held) -> None:
        """Forget a batch that is durable elsewhere."""
        held.batch.unlink(missing_ok=True)
        held.envelope.unlink(missing_ok=True)
        fsync_directory(held.folder)

    def _write(self, device_id: str, sha256: str, envelope: bytes, body: bytes) -> None:
        folder = self._directory / device_id
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
            fsync_directory(self._directory)
        write_durably(folder / f"{sha256}.json", envelope)
        write_durably(folder / f"{sha256}.batch", body)

    def _held(self, paths: Iterator[Path]) -> Iterator[Held]:
        for path in sorted(paths):
            device = path.parent.parent if path.parent.name == INGESTED_NAME else path.parent
            if device != self._directory and path.with_suffix(".json").exists():
                yield Held(device.name, path.stem, path.parent)

    def _sort_former_layout(self) -> None:
        if not any(self._former()) and not any(self._directory.glob("*.json")):
            return
        try:
            with FileLock(self._directory / ".layout.lock", timeout=LOCK_TIMEOUT_S):
                self._finish_former_moves()
                for batch, target in list(self._former()):
                    _sort(batch, target)
        except Timeout:
            raise StoreBusy(f"{self._directory} is being sorted by another process; try again later") from None

    def _finish_former_moves(self) -> None:
        """Envelopes without their batch: of a move that a crash cut off, or of a batch that never came."""
        for envelope in self._directory.glob("*.json"):
            moved = self._directory / INGESTED_NAME / f"{envelope.stem}.batch"
            if envelope.with_suffix(".batch").exists():
                continue
            if moved.exists():
                envelope.replace(moved.with_suffix(".json"))
            elif self.has(_sender(envelope), envelope.stem):
                envelope.unlink()

    def _former(self) -> Iterator[tuple[Path, Path]]:
        """Whole batches of the former layout, each with the folder that is its device's now."""
        places = ((self._directory, ""), (self._directory / INGESTED_NAME, INGESTED_NAME))
        for folder, below in places:
            for batch in sorted(folder.glob("*.batch")):
                if (envelope := batch.with_suffix(".json")).exists():
                    yield batch, self._directory / _sender(envelope) / below


def _sender(envelope: Path) -> str:
    try:
        device_id = read_envelope(envelope).device_id
    except DataError:
        return UNKNOWN_SENDER
    return device_id if is_plain_name(device_id) else UNKNOWN_SENDER


def _sort(batch: Path, target: Path) -> None:
    """The envelope first, as a copy: at any time the batch has one beside it."""
    envelope = batch.with_suffix(".json")
    target.mkdir(parents=True, exist_ok=True)
    fsync_directory(target.parent)
    write_durably(target / envelope.name, envelope.read_bytes())
    batch.replace(target / batch.name)
    fsync_directory(target)
    envelope.unlink()
    fsync_directory(batch.parent)


def _move(held: Held, target: Path) -> None:
    """The batch first: its envelope alone is not a batch, so a crash in between is seen and finished."""
    target.mkdir(parents=True, exist_ok=True)
    for path in (held.batch, held.envelope):
        path.replace(target / path.name)
    fsync_directory(target)
    fsync_directory(held.folder)
