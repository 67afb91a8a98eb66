"""What devices reported of their models: kept as they came, append-only, a file for each device.

`<device_id>.jsonl` has a line for each report: its bytes, who signed them, and when they came. What `keep` has returned
for is on disk. The same report again is known by its SHA-256. A line that a power cut left half is passed over, and was
acknowledged to nobody. Verifying the signature is done before; what follows from a report is the rollout's.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from fieldedge.contract.update_report import UpdateReport, read
from fieldedge.system import strict_json
from fieldedge.system.durable import fsync_directory
from fieldedge.system.errors import DataError, StoreBusy
from fieldedge.system.plain_files import NotPlainError, read_own
from fieldloop.gateway.inbox import is_plain_name

LOCK_TIMEOUT_S = 60.0
MAX_REPORTS_OF_A_DEVICE = 10_000  # a version a day for years
MAX_FILE_BYTES = 80_000_000
SUFFIX = ".jsonl"
REPORTS = "reports"  # the folder, beside the inbox

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Received:
    """A report, and how it came. `number` counts the lines of its device's file."""

    report: UpdateReport
    sha256: str
    signature: str
    received_utc: str
    number: int


class Reports:
    """The reports in one directory, which is created when it is not there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        if not directory.is_dir():
            directory.mkdir(parents=True, exist_ok=True)
            fsync_directory(directory.parent)

    def keep(self, data: bytes, device_id: str, signature: str, received: datetime) -> bool:
        """Have a report on disk, so that a power cut cannot lose it. False when it was held already.

        Raises:
            DataError: it is no report, or another device's; or this device has sent more than any can.
            StoreBusy: another process is writing; the sender must keep it.
            OSError: it could not be stored; the sender must keep it.
        """
        report = read(data)
        if report.device_id != device_id or not is_plain_name(device_id):
            raise DataError(f"the report is of {report.device_id!r}, and {device_id!r} sent it")
        sha256 = hashlib.sha256(data).hexdigest()
        with self._alone(device_id):
            if self.holds(device_id, sha256):
                return False
            if (sent := self._read(device_id).count(b"\n")) >= MAX_REPORTS_OF_A_DEVICE:
                raise DataError(f"{device_id} has sent {sent} reports; no more are kept: look at the device")
            line = {
                "received_utc": received.astimezone(UTC).isoformat(timespec="seconds"),
                "sha256": sha256,
                "signature": signature,
                "report": data.decode(),
            }
            self._append(self._path(device_id), json.dumps(line, sort_keys=True).encode() + b"\n")
        return True

    def holds(self, device_id: str, sha256: str) -> bool:
        """Whether the disk gives back this report of a device. Of a flood no line is read that does not name it."""
        named = f'"sha256": "{sha256}"'.encode()  # in a report's own text the quotes would be escaped
        return any(one.sha256 == sha256 for one in self._received(device_id, named))

    def of_device(self, device_id: str) -> list[Received]:
        """All reports of a device, in the order in which they came."""
        return list(self._received(device_id))

    def _received(self, device_id: str, named: bytes = b"") -> Iterator[Received]:
        """The reports whose lines hold these bytes."""
        data = self._read(device_id)
        if named not in data:
            return
        for number, line in enumerate(data.split(b"\n"), start=1):
            if line and named in line:
                found = _received(line, number)
                if found is not None and found.report.device_id == device_id:
                    yield found

    def _read(self, device_id: str) -> bytes:
        try:
            return read_own(self._path(device_id), MAX_FILE_BYTES)
        except FileNotFoundError:
            return b""
        except NotPlainError as error:
            raise DataError(f"{self._path(device_id)} {error.strerror}: restore it") from error

    def devices(self) -> list[str]:
        """The devices that ever reported."""
        return sorted(path.name.removesuffix(SUFFIX) for path in self._directory.glob(f"*{SUFFIX}") if path.is_file())

    def all(self) -> Iterator[Received]:
        """All reports, device by device, each device's in the order in which they came."""
        for device_id in self.devices():
            yield from self.of_device(device_id)

    def _path(self, device_id: str) -> Path:
        return self._directory / f"{device_id}{SUFFIX}"

    def _append(self, path: Path, line: bytes) -> None:
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # what a power cut left half ends there
            if os.write(descriptor, line) != len(line):
                raise OSError(f"{path} took a report only in part")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            fsync_directory(self._directory)

    @contextmanager
    def _alone(self, device_id: str) -> Iterator[None]:
        try:
            with FileLock(self._directory / f".{device_id}.lock", timeout=LOCK_TIMEOUT_S):
                yield
        except Timeout:
            raise StoreBusy(f"the reports of {device_id} are in use by another process; try again later") from None


def _received(line: bytes, number: int) -> Received | None:
    """What a line holds; None for one that was cut off or is no report."""
    try:
        said = strict_json.loads(line)
        data = said["report"].encode()
        received = Received(read(data), said["sha256"], said["signature"], said["received_utc"], number)
        if hashlib.sha256(data).hexdigest() != received.sha256:
            raise ValueError("its bytes are not those of its name")
    except (DataError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        _log.warning("line %d of the reports is passed over: %r", number, str(error)[:200])
        return None
    return received
