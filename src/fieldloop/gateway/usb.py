"""Sticks that come back from the field: their batches into the inbox, what is held and released back onto them.

A batch from a stick passes the same checks as one over the link and lies in the same inbox, so that it arrives once
whichever way it took, and both ways at once. The acknowledgement goes back as signed metadata of the release
repository, after the batches are durable. What the stick itself says (its manifest) only helps to name what is missing.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fieldedge.system import strict_json
from fieldedge.system.errors import DataError, LinkError
from fieldedge.transfer.usb import MANIFEST, Stick
from fieldloop.gateway.app import MAX_UPLOAD_BYTES
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.inbox import Inbox
from fieldloop.release import ReleaseRepository

MAX_ENVELOPE_BYTES = 100_000


@dataclass
class TakenIn:
    """What came of a stick's batches. `held` names, by device, all of them that are in the inbox now."""

    new: int = 0
    known: int = 0
    held: dict[str, set[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def ingest_stick(
    stick: Stick, inbox: Inbox, registry: DeviceRegistry, repository: ReleaseRepository, now: datetime
) -> TakenIn:
    """Take a stick's batches in, acknowledge them in signed metadata, and write the release onto it. Repeatable.

    Raises:
        LinkError: the stick cannot be read or written; what was taken in stays so.
        ReleaseError: the release repository is damaged.
    """
    stick.check()
    taken = take_in(stick, inbox, registry, now)
    if taken.held:
        repository.acknowledge(taken.held)
    try:
        repository.copy_to(stick.release)
    except OSError as error:
        raise LinkError(
            f"the release cannot be written onto the stick at {stick.root}: {error}; its {taken.new} new batches are "
            "in the inbox. Make room or mount it writable, and do this again"
        ) from error
    return taken


def take_in(stick: Stick, inbox: Inbox, registry: DeviceRegistry, now: datetime) -> TakenIn:
    """Keep every batch of the stick that a registered device signed; the others are named with the reason.

    Raises:
        LinkError: the stick cannot be read.
    """
    taken = TakenIn()
    try:
        for path in sorted(stick.devices.glob("*/*.batch")):
            try:
                _take(path, inbox, registry, now, taken)
            except DataError as error:
                taken.refused[path.relative_to(stick.devices).as_posix()] = str(error)
        for manifest in sorted(stick.devices.glob(f"*/{MANIFEST}")):
            taken.missing.extend(_missing(manifest))
    except OSError as error:
        raise LinkError(f"the stick at {stick.root} cannot be read: {error}; plug it in again") from error
    return taken


def _take(path: Path, inbox: Inbox, registry: DeviceRegistry, now: datetime, taken: TakenIn) -> None:
    body = _read(path, MAX_UPLOAD_BYTES)
    if (found := hashlib.sha256(body).hexdigest()) != path.stem:
        raise DataError(f"its content has the hash {found[:12]}…: it was damaged on the way; export it again")
    device_id, signature = _envelope(path.with_suffix(".json"))
    if not registry.is_signed_by(device_id, body, signature):
        raise DataError(f"not signed by a registered device {device_id!r}: register it, or check its key")
    if inbox.keep(body, device_id, signature, now):
        taken.new += 1
    else:
        taken.known += 1
    taken.held.setdefault(device_id, set()).add(path.stem)


def _envelope(path: Path) -> tuple[str, str]:
    try:
        envelope = strict_json.loads(_read(path, MAX_ENVELOPE_BYTES))
        return str(envelope["device_id"]), str(envelope["signature"])
    except FileNotFoundError:
        raise DataError(f"its envelope {path.name} is missing; export it again") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"its envelope {path.name} is broken ({error!r}); export it again") from error


def _read(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as file:
        body = file.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise DataError(f"{path.name} has more than {max_bytes} bytes, which is the most that is taken")
    return body


def _missing(manifest: Path) -> Iterator[str]:
    """The batches that the device wrote and that are not there any more."""
    for name in _named(manifest):
        path = manifest.parent / Path(name).name
        if path.suffix == ".batch" and not path.exists():
            yield f"{manifest.parent.name}/{path.name}"


def _named(manifest: Path) -> Mapping[str, Any]:
    try:
        files = strict_json.loads(_read(manifest, MAX_UPLOAD_BYTES))["files"]
    except (ValueError, KeyError, TypeError, RecursionError, DataError):
        return {}
    return files if isinstance(files, dict) else {}
