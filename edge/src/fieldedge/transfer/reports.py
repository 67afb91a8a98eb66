"""What the fleet's owner is told of this device's models: kept with the switch itself, sent until it is acknowledged.

Reports of what happened wait in the slots' pointer, where they were written in the same step as what they tell of. How
a watch goes is told with each sync as well, from what the store has seen by then; nobody waits for that one. A report
is acknowledged as a batch is. A gateway of before takes none: they wait, and nothing else does for them.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldedge.contract.update_report import MAX_REPORT_BYTES, read, signed_part
from fieldedge.device.config import DeviceConfig
from fieldedge.inference.slots import Slots
from fieldedge.inference.watch import progress, report, tally
from fieldedge.storage.store import Store
from fieldedge.system import strict_json
from fieldedge.system.errors import ConfigError, DataError, FieldloopError, LinkError, ReleaseError
from fieldedge.system.keys import sign

REPORTS_PATH = "/v1/reports"
SUFFIX = ".report"  # on a stick
MAX_STICK_BYTES = 2 * MAX_REPORT_BYTES + 1_000

_log = logging.getLogger(__name__)


def report_id(data: bytes) -> str:
    """The SHA-256 by which a report is acknowledged."""
    return hashlib.sha256(data).hexdigest()


def waiting(slots: Slots) -> list[bytes]:
    """The reports that nobody has acknowledged, oldest first; what is none is left out."""
    try:
        found = [one.encode() for one in slots.pointer().reports]
    except (ReleaseError, OSError) as error:
        _log.warning("there is nothing to report: %s", error)
        return []
    return [one for one in found if _is_report(one)]


def of_watch(slots: Slots, store: Store, config: DeviceConfig, workload: str) -> bytes | None:
    """How the watch that is on goes by now, the same bytes until more was seen; None where there is nothing to tell."""
    try:
        pointer = slots.pointer()
    except (ReleaseError, OSError):
        return None
    if pointer.active is None or not pointer.is_on_watch:
        return None
    rows = store.watched(pointer.active.bundle_sha256)
    if not rows:
        return None
    seen = tally(rows)
    said = report(
        *(config.device_id, rows[-1]["time_utc"], workload, pointer.active, pointer.former, "watching"),
        *(progress(seen, config.watch), seen),
    )
    return said.as_json()


class Sender(Protocol):
    """Whoever can bring a report to the gateway."""

    def post_report(self, data: bytes) -> bool:
        """True when the gateway has acknowledged exactly these bytes, False where it takes no reports yet.

        Raises:
            LinkError, ConfigError, DataError: as for a batch.
        """


def send(slots: Slots, sender: Sender, beside: Sequence[bytes] = ()) -> int:
    """Send all that waits, and what is told `beside`; how many were acknowledged. Never raises for the gateway's part:
    what it does not take is kept, and records go on."""
    told: list[str] = []
    kept = waiting(slots)
    for data in (*kept, *beside):
        try:
            if not sender.post_report(data):
                break
        except DataError as error:
            _log.error("a report is not taken, and not sent again: %s", error)
        except (LinkError, ConfigError) as error:
            _log.warning("reports are kept: %s", error)
            break
        told.append(data.decode())
    _forget(slots, told)
    return len(told)


def acknowledged(slots: Slots, held: Collection[str]) -> int:
    """Forget the reports that a stick says are held; how many."""
    told = [data.decode() for data in waiting(slots) if report_id(data) in held]
    _forget(slots, told)
    return len(told)


def on_stick(key: Ed25519PrivateKey, device_id: str, data: bytes) -> bytes:
    """A report with who signed it, as it lies on a stick."""
    said = {"device_id": device_id, "signature": sign(key, signed_part(data)), "report": data.decode()}
    return json.dumps(said, sort_keys=True).encode() + b"\n"


def from_stick(data: bytes) -> tuple[str, str, bytes]:
    """Device, signature and report of what `on_stick` made.

    Raises:
        DataError: it is damaged.
    """
    try:
        said: Any = strict_json.loads(data)
        texts = said["device_id"], said["signature"], said["report"]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("expected texts")
        return texts[0], texts[1], texts[2].encode()
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(f"it is no report as a device writes it ({error!r:.200}): export it again") from error


def _forget(slots: Slots, told: Collection[str]) -> None:
    if not told:
        return
    try:
        slots.forget_reports(told)
    except (FieldloopError, OSError) as error:
        _log.warning("reports that were taken are sent again: %s", error)


def _is_report(data: bytes) -> bool:
    try:
        read(data)
    except DataError as error:
        _log.error("%s", error)
        return False
    return True
