"""The inbox: signed batches on disk, each under its device and named by its SHA-256, until they are ingested.

`<device_id>/<sha256>.batch` holds the bytes as they came and `<sha256>.json` beside it who sent and signed them. The
batch is renamed into place last, so a batch whose envelope is not there was damaged, and so was one whose bytes are not
those of its name. A batch is held only where the disk gives back both, so a name alone makes none known, and what is
damaged is written again when it is sent again. What one device sent makes no other's known: the same bytes from two
devices are two batches. Verifying is done before; ingesting, which moves the pair to the device's `ingested/`, after.

An inbox of before had all batches in one folder; they are moved to their devices when it is opened.
"""

import errno
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from fieldedge.system import strict_json
from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import DataError, StoreBusy
from fieldedge.system.plain_files import NotPlainError, digest, holds, read_own, read_plain

INGESTED_NAME = "ingested"
UNKNOWN_SENDER = "unknown-sender"
MAX_ENVELOPE_BYTES = 100_000
MAX_BATCH_BYTES = 200_000_000  # far beyond what any device sent
LOCK_NAME = "lock"
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

    def read(self) -> bytes:
        """The batch's bytes, whatever they are.

        Raises:
            NotPlainError: it is no plain file, or larger than any batch.
            OSError: it cannot be read.
        """
        return read_own(self.batch, MAX_BATCH_BYTES)


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
        values = strict_json.loads(read_plain(path, MAX_ENVELOPE_BYTES))
        return Envelope(str(values["device_id"]), str(values["signature"]), str(values["received_utc"]))
    except FileNotFoundError as error:
        raise DataError(f"the batch's envelope {path.name} is missing") from error
    except (ValueError, KeyError, TypeError, RecursionError, NotPlainError) as error:
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

    @contextmanager
    def alone(self, device_id: str) -> Iterator[None]:
        """No other process or thread writes batches of this device, or takes them out, meanwhile.

        Raises:
            StoreBusy: another one does, for a minute.
        """
        folder = self._directory / device_id
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
            fsync_directory(self._directory)
        try:
            with FileLock(folder / LOCK_NAME, timeout=LOCK_TIMEOUT_S):
                yield
        except Timeout:
            raise StoreBusy(f"{folder} is in use by another process; try again later") from None

    def keep(self, body: bytes, device_id: str, signature: str, received: datetime) -> bool:
        """Have a batch on disk, so that a power cut cannot lose it, and read it back. False when it was held already.

        Raises:
            DataError: the device's id cannot name a folder.
            OSError: it could not be stored; the sender must keep it.
            StoreBusy: another process is writing this device's batches; the sender must keep it.
        """
        if not is_plain_name(device_id):
            raise DataError(f"the device id {device_id!r} is no plain name; make the device anew with another one")
        sha256 = hashlib.sha256(body).hexdigest()
        values = {
            "device_id": device_id,
            "signature": signature,
            "received_utc": received.astimezone(UTC).isoformat(timespec="seconds"),
        }
        envelope = json.dumps(values, sort_keys=True).encode() + b"\n"
        with self.alone(device_id):
            found = [held for held in self._places(device_id, sha256) if held.batch.exists()]
            due = [held for held in found if not _is_held(held, body, signature)]
            for held in due if found else self._places(device_id, sha256)[:1]:
                _write(held, envelope, body)
                if not _is_held(held, body, signature):
                    raise OSError(errno.EIO, "what was written is not what is read back", str(held.batch))
        return bool(due) or not found

    def holds(self, device_id: str, sha256: str, signature: str) -> bool:
        """Whether the disk gives back the batch of this name, and an envelope with this signature over it."""
        for held in self._places(device_id, sha256):
            with suppress(OSError):
                if _is_signed(held, signature) and digest(held.batch) == sha256:
                    return True
        return False

    def put_back(self, device_id: str, sha256: str, envelope: bytes, body: bytes) -> None:
        """Let a batch that was taken out of the inbox wait in it again, as it was, whatever state it is in.

        One that came again meanwhile stays.
        """
        device_id = device_id if is_plain_name(device_id) else UNKNOWN_SENDER
        with self.alone(device_id):
            held = self._places(device_id, sha256)[0]
            if not held.batch.exists():
                _write(held, envelope, body)

    def waiting(self) -> list[Held]:
        """The batches that are not ingested, damaged ones too, by device and name."""
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

    def has_envelope(self, held: Held) -> bool:
        """Whether a batch's envelope is there, or where a move that was cut off left it."""
        return any(place.envelope.is_file() for place in self._places(held.device_id, held.sha256))

    def _places(self, device_id: str, sha256: str) -> tuple[Held, Held]:
        """Where a batch can lie: as one that waits, and as one that was ingested."""
        folder = self._directory / device_id
        return Held(device_id, sha256, folder), Held(device_id, sha256, folder / INGESTED_NAME)

    def _held(self, paths: Iterator[Path]) -> Iterator[Held]:
        for path in sorted(paths):
            device = path.parent.parent if path.parent.name == INGESTED_NAME else path.parent
            if device != self._directory and path.is_file():
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
            elif any(held.batch.exists() for held in self._places(_sender(envelope), envelope.stem)):
                envelope.unlink()

    def _former(self) -> Iterator[tuple[Path, Path]]:
        """Batches of the former layout, each with the folder that is its device's now."""
        places = ((self._directory, ""), (self._directory / INGESTED_NAME, INGESTED_NAME))
        for folder, below in places:
            for batch in sorted(folder.glob("*.batch")):
                if batch.is_file():
                    yield batch, self._directory / _sender(batch.with_suffix(".json")) / below


def _is_held(held: Held, body: bytes, signature: str) -> bool:
    """Whether the disk gives back these bytes, and an envelope that lets them be believed."""
    return _is_signed(held, signature) and holds(held.batch, body)


def _is_signed(held: Held, signature: str) -> bool:
    """Whether the disk gives back the envelope of this batch with this signature."""
    try:
        envelope = read_envelope(held.envelope)
    except DataError:
        return False
    return (envelope.device_id, envelope.signature) == (held.device_id, signature)


def _write(held: Held, envelope: bytes, body: bytes) -> None:
    write_durably(held.envelope, envelope)
    write_durably(held.batch, body)


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
    if envelope.is_file():
        write_durably(target / envelope.name, read_own(envelope, MAX_ENVELOPE_BYTES))
    batch.replace(target / batch.name)
    fsync_directory(target)
    envelope.unlink(missing_ok=True)
    fsync_directory(batch.parent)


def _move(held: Held, target: Path) -> None:
    """The batch first: its envelope alone is not a batch, so a crash in between is seen and finished."""
    target.mkdir(parents=True, exist_ok=True)
    held.batch.replace(target / held.batch.name)
    if held.envelope.exists():
        held.envelope.replace(target / held.envelope.name)
    fsync_directory(target)
    fsync_directory(held.folder)
