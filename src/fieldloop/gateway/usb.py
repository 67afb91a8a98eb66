"""Sticks that come back from the field: their batches into the inbox, what is held and released back onto them.

A batch from a stick passes the same checks as one over the link and lies in the same inbox, so that it arrives once
whichever way it took, and both ways at once. The acknowledgement goes back as signed metadata of the release
repository, after the batches are durable. What the stick itself says (its manifest) only helps to name what is missing.
What is wrong with one file of the stick is said of that file, and holds up no other.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fieldedge.presentation.text import printable
from fieldedge.system import strict_json
from fieldedge.system.errors import DataError, LinkError, StoreBusy
from fieldedge.system.plain_files import not_plain, read_plain
from fieldedge.transfer.reports import MAX_STICK_BYTES, SUFFIX, from_stick, report_id
from fieldedge.transfer.usb import MANIFEST, UsbStick, check_folder
from fieldloop.gateway.app import MAX_UPLOAD_BYTES
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.inbox import MAX_ENVELOPE_BYTES, Inbox
from fieldloop.gateway.reports import Reports
from fieldloop.release import ReleaseRepository


@dataclass
class TakenIn:
    """What came of a stick's files. `held` names, by device, all batches of it that are in the inbox now, and
    `reports` what it said of its models that is kept now.

    `refused` gives the reason for each file that was not taken, by its path below the devices' folder.
    """

    new: int = 0
    known: int = 0
    held: dict[str, set[str]] = field(default_factory=dict)
    reports: dict[str, set[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def ingest_usb(
    stick: UsbStick,
    inbox: Inbox,
    registry: DeviceRegistry,
    repository: ReleaseRepository,
    now: datetime,
    reports: Reports | None = None,
) -> TakenIn:
    """Take in a stick's batches and reports, acknowledge them in signed metadata, write the release on it. Repeatable.

    Raises:
        LinkError: the stick cannot be read or written; what was taken in stays so.
        ReleaseError: the release repository is damaged.
    """
    stick.check()
    taken = take_in(stick, inbox, registry, now, reports)
    if taken.held or taken.reports:
        repository.acknowledge(taken.held, taken.reports)
    try:
        check_folder(stick.release)
        repository.copy_to(stick.release)
    except (OSError, LinkError) as error:
        raise LinkError(
            f"the release cannot be written onto the stick at {stick.root}: {error}; its {taken.new} new batches are "
            "in the inbox. Make room or mount it writable, and do this again"
        ) from error
    return taken


def take_in(
    stick: UsbStick, inbox: Inbox, registry: DeviceRegistry, now: datetime, reports: Reports | None = None
) -> TakenIn:
    """Keep every batch of the stick that a registered device signed; the others are named with the reason. So too the
    reports, where it is said where they are kept.

    Raises:
        LinkError: the stick cannot be read.
    """
    taken = TakenIn()
    try:
        folders = sorted(stick.devices.iterdir()) if stick.devices.exists() else []
    except OSError as error:
        raise LinkError(f"the stick at {stick.root} cannot be read: {error}; plug it in again") from error
    for folder in folders:
        with _refused_alone(folder.name, taken):
            found = not_plain(folder, follows=False)
            if found == "a folder":
                _take_folder(folder, inbox, registry, now, taken, reports)
            elif found:
                raise DataError(f"it is {found}; expected a device's folder: remove it")
    return taken


def _take_folder(
    folder: Path, inbox: Inbox, registry: DeviceRegistry, now: datetime, taken: TakenIn, reports: Reports | None
) -> None:
    names = {path.name for path in folder.iterdir()}
    for name in sorted(names):
        with _refused_alone(f"{folder.name}/{name}", taken):
            if name.endswith(".batch"):
                _take(folder / name, inbox, registry, now, taken)
            elif name.endswith(SUFFIX) and reports is not None:
                _take_report(folder / name, reports, registry, now, taken)
            elif name == MANIFEST:
                wanted = (Path(listed).name for listed in _named(folder / name))
                taken.missing += [printable(f"{folder.name}/{one}") for one in wanted if _is_missing(one, names)]


def _is_missing(name: str, names: Collection[str]) -> bool:
    return name.endswith(".batch") and name not in names


@contextmanager
def _refused_alone(name: str, taken: TakenIn) -> Iterator[None]:
    """Whatever is wrong with this one is said of it, and the others are gone on with."""
    try:
        yield
    except (DataError, StoreBusy) as error:
        taken.refused[printable(name)] = str(error)
    except OSError as error:
        taken.refused[printable(name)] = (
            f"{error.strerror} ({printable(str(error.filename))}): remove it, and do this again"
        )


def _take(path: Path, inbox: Inbox, registry: DeviceRegistry, now: datetime, taken: TakenIn) -> None:
    body = read_plain(path, MAX_UPLOAD_BYTES)
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


def _take_report(path: Path, reports: Reports, registry: DeviceRegistry, now: datetime, taken: TakenIn) -> None:
    device_id, signature, report = from_stick(read_plain(path, MAX_STICK_BYTES))
    if not registry.is_report_signed_by(device_id, report, signature):
        raise DataError(f"not signed by a registered device {device_id!r}: register it, or check its key")
    reports.keep(report, device_id, signature, now)
    taken.reports.setdefault(device_id, set()).add(report_id(report))


def _envelope(path: Path) -> tuple[str, str]:
    try:
        envelope = strict_json.loads(read_plain(path, MAX_ENVELOPE_BYTES))
        return str(envelope["device_id"]), str(envelope["signature"])
    except FileNotFoundError:
        raise DataError(f"its envelope {printable(path.name)} is missing; export it again") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"its envelope {printable(path.name)} is broken ({error!r}); export it again") from error


def _named(manifest: Path) -> Mapping[str, Any]:
    """The files that a device says it wrote.

    Raises:
        DataError: the manifest is none.
    """
    try:
        files = strict_json.loads(read_plain(manifest, MAX_UPLOAD_BYTES))["files"]
        if not isinstance(files, dict):
            raise TypeError(f"files is a {type(files).__name__}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"it is no manifest ({error!r:.200}), so what is missing is not known: export again") from error
    return files
