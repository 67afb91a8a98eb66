"""What a link would carry, carried by hand: batches out on a USB stick, acknowledgements and releases in.

On the stick everything lies below `fieldloop/`: each device's batches with who signed them in `devices/<device_id>/`,
and a copy of the signed repository in `release/`. An export frees nothing. What frees a batch is an acknowledgement
that is itself a target of the signed repository, so a stick is trusted no more than a link: what it says is verified by
the same keys, and a stick that was tampered with, cut short or pulled out changes nothing on the device.
Choosing what goes home is `packing.py`'s, verifying and installing a release `updates.py`'s.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.exceptions import BadVersionNumberError, DownloadError, DownloadHTTPError
from tuf.ngclient import FetcherInterface

from fieldedge.contract import Contract
from fieldedge.contract.batches import PERIOD_KEY, as_header
from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.slots import Slots
from fieldedge.presentation.text import printable
from fieldedge.system import strict_json
from fieldedge.system.durable import fsync_directory, sweep_temporaries, write_durably
from fieldedge.system.errors import LinkError, ReleaseError
from fieldedge.system.keys import public_key_hex, sign
from fieldedge.system.locks import GIVE_WAY_S, exclusive
from fieldedge.system.plain_files import NotPlainError, holds, not_plain, open_plain, read_own
from fieldedge.transfer.outbox import Outbox
from fieldedge.transfer.reports import SUFFIX as REPORT_SUFFIX
from fieldedge.transfer.reports import acknowledged, on_stick, report_id
from fieldedge.transfer.trust import Mirror, ReadClock, refreshed
from fieldedge.transfer.updates import UpdateResult, update_from

FORMAT = 1
MANIFEST = "manifest.json"
ACKNOWLEDGEMENTS = "acknowledgements"
CHUNK_BYTES = 65_536
MAX_ACKNOWLEDGEMENT_BYTES = 2_000_000  # some 29,000 batches of one device
FILE_SUFFIXES = (".json", ".zip")
_SCHEME = "stick:"


@dataclass(frozen=True)
class UsbStick:
    """The places below the folder at which a stick is mounted."""

    root: Path

    @property
    def devices(self) -> Path:
        return self.root / "fieldloop" / "devices"

    @property
    def release(self) -> Path:
        return self.root / "fieldloop" / "release"

    @property
    def timestamp(self) -> Path:
        """The file without which there is no release."""
        return self.release / "metadata" / "timestamp.json"

    @property
    def has_release(self) -> bool:
        return self.timestamp.is_file()

    def device(self, device_id: str) -> Path:
        return self.devices / device_id

    def check(self) -> None:
        """See that there is a stick, and that what it brings does not lie elsewhere.

        Raises:
            LinkError: there is no such folder, or something else lies where one of its folders belongs.
        """
        if not self.root.is_dir():
            raise LinkError(f"{self.root} is not a folder; plug the stick in, mount it, and name where it is mounted")
        for folder in (self.devices.parent, self.devices):
            check_folder(folder)

    def misplaced(self) -> list[str]:
        """What lies where a file of the release belongs and is none: it is passed over. Never raises."""
        try:
            found = [(path, not_plain(path, follows=False)) for path in sorted(self.release.rglob("*"))]
        except OSError:
            return []  # whoever reads the release says it
        strange = [
            (path, kind) for path, kind in found if kind and (kind != "a folder" or path.suffix in FILE_SUFFIXES)
        ]
        return [f"{printable(str(path))} is {kind}; expected a plain file: remove it" for path, kind in strange]

    def is_on_disk_of(self, directory: DeviceDirectory) -> bool:
        """Whether this is no stick at all, but a folder on the device's own disk: most likely nothing is mounted."""
        return self.root.stat().st_dev == directory.root.stat().st_dev


@dataclass(frozen=True)
class Exported:
    """What an export left on the stick. `new_batches` were not on it before; all of them wait on the device still."""

    folder: str
    batches: int
    new_batches: int
    bytes: int


def check_folder(path: Path) -> None:
    """See that a folder of the stick is one, or not there yet.

    Raises:
        LinkError: it is a link, which may lead away from the stick, or no folder at all.
    """
    if os.path.lexists(path) and (found := not_plain(path, follows=False) or "a file") != "a folder":
        raise LinkError(f"{path} is {found}; expected a folder on the stick: remove it, and do this again")


# Out: batches


def export(
    stick: UsbStick,
    outbox: Outbox,
    device_id: str,
    key: Ed25519PrivateKey,
    exported_utc: str,
    told: Sequence[bytes] = (),
) -> Exported:
    """Write every waiting batch and its envelope onto the stick, durably, and what is `told` of the device's models.

    Again, it writes only what is missing.

    A pipe or a link where a file belongs is replaced; a folder holds up that file alone.

    Raises:
        LinkError: the stick is not there, full, read-only or was pulled out, or a folder is in a file's way.
            Everything is kept on the device.
    """
    stick.check()
    folder = stick.device(device_id)
    check_folder(folder)
    batches = outbox.waiting()
    files: dict[str, Mapping[str, Any]] = {}
    in_the_way: list[Path] = []
    new = 0
    with _named_errors(stick, lambda: f"{len(files) // 2} of {len(batches)} batches are on it"):
        _make_folder(folder, stick.root)
        sweep_temporaries(folder)
        for batch, data in batches:
            paths = [folder / f"{batch.batch_id}.{suffix}" for suffix in ("json", "batch")]
            if folders := [path for path in paths if _is_folder(path)]:
                in_the_way += folders
                continue
            envelope = json.dumps({"device_id": device_id, "signature": sign(key, data)}, sort_keys=True).encode()
            _put(folder / f"{batch.batch_id}.json", envelope)
            new += _put(folder / f"{batch.batch_id}.batch", data)
            files |= {
                f"{batch.batch_id}.json": {"sha256": hashlib.sha256(envelope).hexdigest(), "bytes": len(envelope)},
                f"{batch.batch_id}.batch": {
                    "sha256": batch.batch_id,
                    "bytes": len(data),
                    PERIOD_KEY: as_header(batch.episode),
                },
            }
        for data in told:
            path = folder / f"{report_id(data)}{REPORT_SUFFIX}"
            if _is_folder(path):
                in_the_way.append(path)
            else:
                _put(path, on_stick(key, device_id, data))
        manifest = {
            "format": FORMAT,
            "device_id": device_id,
            "public_key": public_key_hex(key),
            "exported_utc": exported_utc,
            "files": files,
        }
        if _is_folder(folder / MANIFEST):
            in_the_way.append(folder / MANIFEST)
        else:
            _put(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")
    if in_the_way:
        raise LinkError(
            f"{len(files) // 2} of {len(batches)} batches are on the stick at {stick.root}, and everything is kept on "
            f"the device: a folder is where a file belongs: {', '.join(map(str, in_the_way))}. Remove it, and export "
            "again"
        )
    size_bytes = sum(len(data) for _, data in batches)
    return Exported(str(folder), len(batches), new, size_bytes)


def _put(path: Path, data: bytes) -> bool:
    """Make sure that the stick holds these bytes under this name. False when it did already."""
    if holds(path, data):
        return False
    write_durably(path, data)
    _let_others_read(path, 0o644)
    if not holds(path, data):
        raise OSError(errno.EIO, "what was written is not what is read back", str(path))
    return True


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _let_others_read(path: Path, mode: int) -> None:
    """A stick is read by whoever takes it home; most have no modes at all."""
    with suppress(OSError):
        path.chmod(mode)


def _make_folder(folder: Path, root: Path) -> None:
    if folder == root or folder.is_dir():
        return
    _make_folder(folder.parent, root)
    folder.mkdir()
    _let_others_read(folder, 0o755)
    fsync_directory(folder.parent)


@contextmanager
def _named_errors(stick: UsbStick, so_far: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what, remedy = _named(error)
        raise LinkError(
            f"the stick at {stick.root} {what} ({error.strerror}); {so_far()}, and everything is kept on the device: "
            f"{remedy}"
        ) from error


def _named(error: OSError) -> tuple[str, str]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "is full", "make room on it, or take another one, and export again"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "cannot be written", "mount it writable for this user, and export again"
    return "does not hold what is written to it", "plug it in again, or take another one, and export again"


# In: acknowledgements and releases


def acknowledgement_path(device_id: str) -> str:
    """The target that says which of a device's batches are held."""
    return f"{ACKNOWLEDGEMENTS}/{device_id}.json"


def acknowledgement(device_id: str, batch_ids: frozenset[str]) -> bytes:
    """What that target holds."""
    return json.dumps({"device_id": device_id, "batches": sorted(batch_ids)}).encode()


def read_acknowledgement(data: bytes, device_id: str) -> frozenset[str]:
    """The batches that an acknowledgement names.

    Raises:
        ReleaseError: it is damaged, or of another device.
    """
    try:
        values = strict_json.loads(data)
        found, batches = values["device_id"], frozenset(values["batches"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ReleaseError(f"the acknowledgement of {device_id} is not readable: {error!r}; write it again") from error
    if found != device_id:
        raise ReleaseError(f"the acknowledgement is of {found!r}; this device is {device_id}: write it again")
    return batches


def take_acknowledgements(
    stick: UsbStick, directory: DeviceDirectory, outbox: Outbox, device_id: str, now: ReadClock
) -> int:
    """Free the waiting batches that the signed repository on the stick says are held; how many. Reports too.

    Raises:
        LinkError: the stick cannot be read.
        ReleaseError: what it says cannot be trusted; nothing is freed.
        StoreBusy: an update is under way.
    """
    with (
        exclusive(directory.lock("update"), GIVE_WAY_S),
        _stale_is_told(stick),
        refreshed(directory, _mirror(stick), now) as client,
    ):
        target = client.get_targetinfo(acknowledgement_path(device_id))
        if target is None:
            return 0
        if target.length > MAX_ACKNOWLEDGEMENT_BYTES:
            raise ReleaseError(
                f"the acknowledgement of {device_id} has {target.length} bytes; at most {MAX_ACKNOWLEDGEMENT_BYTES} "
                "are taken: write it again"
            )
        path = Path(client.download_target(target))
        held = read_acknowledgement(read_own(path, MAX_ACKNOWLEDGEMENT_BYTES), device_id)
    freed = [batch.batch_id for batch, _ in outbox.waiting() if batch.batch_id in held]
    for batch_id in freed:
        outbox.acknowledged(batch_id)
    acknowledged(Slots(directory.root), held)
    return len(freed)


def update_from_usb(stick: UsbStick, directory: DeviceDirectory, contract: Contract, now: ReadClock) -> UpdateResult:
    """Install the release on the stick as if it had come over the air, with all its checks.

    Raises:
        LinkError: the stick cannot be read.
        ReleaseError: the release cannot be trusted or does not fit this device; the old model stays.
        StoreBusy: another update is under way.
    """
    with _stale_is_told(stick):
        return update_from(directory, contract, _mirror(stick), now, wait_s=GIVE_WAY_S)


def _mirror(stick: UsbStick) -> Mirror:
    stick.check()
    check_folder(stick.release)
    name = f"the stick at {stick.root}"
    return Mirror(name, f"{_SCHEME}metadata/", f"{_SCHEME}targets/", DirectoryFetcher(stick.release))


@contextmanager
def _stale_is_told(stick: UsbStick) -> Iterator[None]:
    """A stick from long ago is no attack, but it is refused all the same."""
    try:
        yield
    except ReleaseError as error:
        if isinstance(error.__cause__, BadVersionNumberError):
            raise ReleaseError(
                f"the stick at {stick.root} is older than what this device has seen ({error.__cause__}): "
                "write the release onto it again"
            ) from error
        raise


class DirectoryFetcher(FetcherInterface):
    """Lets TUF's client read a repository from a folder. Only plain files are read: nothing there can block."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = unquote(url.removeprefix(_SCHEME))
        path = self._root / name
        if ".." in path.parts:
            raise DownloadError(f"{name} leads out of {self._root}")
        try:
            with open_plain(path) as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except (FileNotFoundError, NotADirectoryError):
            raise DownloadHTTPError(f"{path} is not there", 404) from None
        except NotPlainError as error:
            if name.endswith(".root.json"):  # as none: what follows is verified by the root that is trusted
                raise DownloadHTTPError(f"{path} {error.strerror}", 404) from None
            raise DownloadError(f"{path} {error.strerror}") from None
        except (OSError, ValueError) as error:
            raise DownloadError(f"{path} cannot be read: {error}") from error
