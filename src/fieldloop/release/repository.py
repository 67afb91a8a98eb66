"""The signed repository that devices update from, made with The Update Framework (TUF).

Four Ed25519 keys, one per top-level role, live in `keys/` and are never served; `metadata/` and `targets/`
are what a gateway serves. Snapshots are consistent and every version of the metadata is kept, so that a device
that was off for a long time can follow. Only the rename of `timestamp.json`, always last, makes a release
visible: a crash before it leaves every device on the release before. A fifth key signs, in a role delegated to it,
which batches of a device are held: in metadata for devices that only a stick reaches, under the gateway's answer for
the others. It can say nothing else.
A repository is begun once, in an empty folder, and a beginning that was cut off is gone on with. From then on a file
that is missing is damage, and said: devices refuse for ever what begins again at version 1, or is signed by other keys.
What a bundle holds is `bundle.py`'s work, and whether a device accepts it is the device's.
"""

import base64
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from filelock import FileLock, Timeout
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import LengthOrHashMismatchError, UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError

from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import ConfigError, ReleaseError, StoreBusy
from fieldedge.system.keys import MAX_KEY_BYTES
from fieldedge.system.plain_files import NotPlainError, holds, read_own
from fieldedge.transfer.acknowledgements import statement
from fieldedge.transfer.trust import MAX_TARGET_BYTES, max_metadata_bytes
from fieldedge.transfer.usb import ACKNOWLEDGEMENTS, acknowledgement, acknowledgement_path, read_acknowledgement
from fieldedge.workloads import known_workload
from fieldloop.core.begun import Mark
from fieldloop.release.acknowledged import AcknowledgedBatches
from fieldloop.release.bundle import try_bundle

_Payload = TypeVar("_Payload", Root, Targets, Snapshot, Timestamp)

ROLES = ("root", "targets", "snapshot", "timestamp")
LIFETIME_DAYS = {"root": 365, "targets": 90, ACKNOWLEDGEMENTS: 90, "snapshot": 30, "timestamp": 30}
LOCK_TIMEOUT_S = 60.0
ACKNOWLEDGED_NAME = "acknowledged"
BEGINNING_NAME = ".beginning"
MAX_VERSION_DIGITS = 9
_NOTED = re.compile(r"timestamp of version ([0-9]{1,9})\b")
ROOT_VERSION = "root_version"  # in the timestamp: nothing else says which root was the newest


@dataclass(frozen=True)
class Released:
    """What the repository offers to devices for one workload."""

    version: str
    sha256: str
    bytes: int
    targets_version: int


@dataclass
class _Signed:
    """The metadata as devices see it now."""

    root: Metadata[Root]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]
    acknowledgements: Metadata[Targets] | None = None

    def trusted_key_ids(self, role: str) -> list[str]:
        """Whose signature devices accept for a role."""
        if role in self.root.signed.roles:
            return self.root.signed.roles[role].keyids
        delegations = self.targets.signed.delegations
        delegated = None if delegations is None or delegations.roles is None else delegations.roles.get(role)
        return [] if delegated is None else delegated.keyids

    def target_files(self) -> Iterator[TargetFile]:
        """All that the metadata offers."""
        yield from self.targets.signed.targets.values()
        if self.acknowledgements is not None:
            yield from self.acknowledgements.signed.targets.values()


def target_path(workload: str) -> str:
    """The TUF target that holds a workload's bundle."""
    return f"{workload}/bundle.zip"


def is_begun(root: Path) -> bool:
    """Whether there is a repository that devices can read; nothing is made."""
    return (root / "metadata" / "timestamp.json").is_file()


class ReleaseRepository:
    """The TUF repository in one directory. Opening an empty one begins it, once: a mark beside it says so.

    Args:
        root: the directory.
        now: the clock, UTC; every expiry date comes from it.

    Raises:
        ReleaseError: metadata or keys of an existing repository are missing or damaged. Nothing is changed then.
        StoreBusy: another process has held the repository for a minute.
    """

    def __init__(self, root: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._root = root
        self._now = now
        for directory in (self.metadata_dir, self.targets_dir):
            directory.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if self._is_empty() and Mark.beside(self._root).is_set:
                raise self._loss()
            if self._is_beginning() or self._is_empty():
                self._begin()
            signed = self._load()
            for role in ROLES if signed.acknowledgements is None else (*ROLES, ACKNOWLEDGEMENTS):
                self._signer(role, signed)

    @property
    def metadata_dir(self) -> Path:
        return self._root / "metadata"

    @property
    def targets_dir(self) -> Path:
        return self._root / "targets"

    @property
    def acknowledged(self) -> AcknowledgedBatches:
        """The batches that this repository's key said are held."""
        return AcknowledgedBatches(self._root / ACKNOWLEDGED_NAME)

    def trusted_root(self) -> Path:
        """The first root metadata: what a device is given when it is provisioned, and trusts from then on."""
        return self.metadata_dir / "1.root.json"

    def current(self, workload: str) -> Released | None:
        """What devices of this workload are offered now, or None before its first release."""
        with self._locked():
            signed = self._load()
            self._check_targets(signed)
            return _released(signed.targets.signed, workload)

    def publish(
        self, bundle_path: Path, workload: str, version: str, contract_hash: str, mlflow_run_id: str = ""
    ) -> Released:
        """Offer this bundle to the devices, after trying it as they will; the run that made it stands beside it.

        Publishing the bundle that is offered already changes nothing, but signs anew what is due, and stores the file
        again if it was lost.

        Raises:
            ReleaseError: the bundle is not what the arguments say, or the repository is damaged.
            StoreBusy: another process is publishing.
        """
        content = _checked_bundle(bundle_path, workload, version, contract_hash)
        target = TargetFile.from_data(target_path(workload), content, ["sha256"])
        target.unrecognized_fields["custom"] = {
            "workload": workload,
            "version": version,
            "contract_hash": contract_hash,
            **({"mlflow_run_id": mlflow_run_id} if mlflow_run_id else {}),
        }
        with self._locked():
            signed = self._load()
            self._check_targets(signed, but=target.path)
            if not self._has(target, content):
                self._store_target(target, content)
            if signed.targets.signed.targets.get(target.path) == target:
                self._renew(signed)
            else:
                signed.targets.signed.targets[target.path] = target
                self._renew(signed, are_targets_changed=True)
            released = _released(signed.targets.signed, workload)
        if released is None:
            raise ReleaseError(f"{workload} was published but is not offered: {self._root} is damaged")
        return released

    def refresh(self) -> None:
        """Sign anew whatever has lived half its lifetime, so that devices keep accepting the repository.

        Raises:
            ReleaseError: the repository is damaged.
            StoreBusy: another process is publishing.
        """
        with self._locked():
            signed = self._load()
            self._check_targets(signed)
            self._renew(signed)

    def acknowledge(self, held: Mapping[str, Collection[str]]) -> None:
        """Sign that these batches, by device, are held, beside those that were said to be before.

        A device believes this as it believes an answer of the gateway: the batches must be durable already.

        Raises:
            ReleaseError: the repository is damaged.
            StoreBusy: another process is publishing.
            StoreFailed: the disk does not let it be noted what was acknowledged.
        """
        for device_id, batch_ids in held.items():
            for sha256 in sorted(batch_ids):
                self.acknowledged.note(device_id, sha256)
        with self._locked():
            signed = self._load()
            is_first = signed.acknowledgements is None
            role = signed.acknowledgements = signed.acknowledgements or self._delegate(signed.targets.signed)
            changed = False
            for device_id, batch_ids in held.items():
                known = self._acknowledged(role.signed, device_id)
                if not known.issuperset(batch_ids):
                    content = acknowledgement(device_id, known.union(batch_ids))
                    target = TargetFile.from_data(acknowledgement_path(device_id), content, ["sha256"])
                    self._store_target(target, content)
                    role.signed.targets[target.path] = target
                    changed = True
            self._renew(signed, are_targets_changed=is_first, are_acknowledgements_changed=changed or is_first)

    def delegate_acknowledgements(self) -> None:
        """See that devices know the key that acknowledges their batches; a gateway needs it, and so does a stick.

        Raises:
            ReleaseError: the repository is damaged.
            StoreBusy: another process is publishing.
        """
        self.acknowledge({})

    def sign_acknowledgement(self, device_id: str, sha256: str) -> str:
        """The signature (base64) under which a device frees this batch: it must be durable already.

        Raises:
            ReleaseError: the key of the acknowledgements is missing or damaged.
            StoreFailed: the disk does not let it be noted what was acknowledged.
        """
        self.acknowledged.note(device_id, sha256)
        signature = self._signer(ACKNOWLEDGEMENTS).sign(statement(device_id, sha256)).signature
        return base64.b64encode(bytes.fromhex(signature)).decode()

    def copy_to(self, directory: Path) -> None:
        """Write onto a stick what a device needs to follow now; what is there and no longer needed goes.

        Raises:
            OSError: the stick cannot be written, or folders are in files' way; all others are written then.
            ReleaseError: the repository is damaged.
            StoreBusy: another process is publishing.
        """
        with self._locked():
            signed = self._load()
            self._renew(signed)
            names = self._names(signed)
            files = {name: self._read_file(self._root / name) for name in names}
            for target in signed.target_files():
                self._check_content(target, files[self._target_file(target).relative_to(self._root).as_posix()])
        in_the_way: list[NotPlainError] = []
        for name, content in files.items():
            path = directory / name
            try:
                if not holds(path, content):
                    _make_folder(path.parent, directory)
                    write_durably(path, content)
            except NotPlainError as error:
                in_the_way.append(error)
        for path in sorted(directory.rglob("*")):
            is_folder = path.is_dir() and not path.is_symlink()
            if not is_folder and path.relative_to(directory).as_posix() not in files:
                path.unlink()
        if in_the_way:
            raise OSError("; ".join(f"{error.filename} {error.strerror}" for error in in_the_way))

    def _is_empty(self) -> bool:
        """Whether nothing was ever made here."""
        folders = (self._keys_dir, self.metadata_dir, self.targets_dir)
        return not any(path.is_file() for folder in folders for path in folder.rglob("*"))

    def _loss(self) -> ReleaseError:
        """What is gone, and how it is brought back."""
        return ReleaseError(
            f"the release repository {self._root} is gone, keys and all, and it was begun once "
            f"({Mark.beside(self._root).path}); none is begun in its place: every device would refuse it. Restore "
            f"{self._root} from the newest backup (metadata and targets are in a copy of the gateway's folder or on "
            "the newest stick too; keys are in a backup alone). If there is none, or no device was ever provisioned "
            f"from it, begin anew on purpose: remove {Mark.beside(self._root).path}, and provision every device again"
        )

    def _is_beginning(self) -> bool:
        """Whether a beginning was cut off here before devices could see anything."""
        return (self._root / BEGINNING_NAME).exists()

    def _begin(self) -> None:
        """Make a repository of an empty folder, or go on with that; the mark stands until all of it is there."""
        mark = self._root / BEGINNING_NAME
        if not (self.metadata_dir / "timestamp.json").exists():
            self._check_beginning()
            write_durably(mark, b"This repository is being made. Opening it goes on with that.\n")
            self._create()
        mark.unlink()
        fsync_directory(self._root)

    def _check_beginning(self) -> None:
        """Later versions say that the repository lived already, whatever the mark says.

        Raises:
            ReleaseError: it did.
        """
        later = [path for path in self.metadata_dir.iterdir() if not path.name.startswith(("1.", "."))]
        later += [path for path in self.targets_dir.rglob("*") if path.is_file()]
        if later:
            raise self._damage(self.metadata_dir / "timestamp.json", f"is missing, and {min(later)} is there")

    def _create(self) -> None:
        """Make the keys and the first version of every role; goes on where an earlier attempt was cut off."""
        if not self.trusted_root().exists():
            self._create_missing_keys()
            keys = {role: self._signer(role).public_key for role in ROLES}
            root = Root(
                keys={key.keyid: key for key in keys.values()},
                roles={role: Role([key.keyid], 1) for role, key in keys.items()},
            )
            self._sign(Metadata(root), "root", self._signer("root"))
        unsigned = _Signed(
            root=self._latest_root(),
            targets=Metadata(Targets()),
            snapshot=Metadata(Snapshot()),
            timestamp=Metadata(Timestamp()),
        )
        self._renew(unsigned, are_targets_changed=True)

    def _create_missing_keys(self) -> None:
        self._keys_dir.mkdir(mode=0o700, exist_ok=True)
        self._keys_dir.chmod(0o700)
        fsync_directory(self._root)
        for role in ROLES:
            self._create_missing_key(role)

    def _create_missing_key(self, role: str) -> None:
        if not self._key_path(role).exists():
            write_durably(self._key_path(role), CryptoSigner.generate_ed25519().private_bytes, mode=0o600)

    def _delegate(self, targets: Targets) -> Metadata[Targets]:
        """Give acknowledgements a key of their own, which devices accept for their paths alone."""
        self._create_missing_key(ACKNOWLEDGEMENTS)
        key = self._signer(ACKNOWLEDGEMENTS).public_key
        role = DelegatedRole(ACKNOWLEDGEMENTS, [key.keyid], 1, terminating=True, paths=[acknowledgement_path("*")])
        targets.delegations = Delegations({key.keyid: key}, {role.name: role})
        return Metadata(Targets())

    def _acknowledged(self, role: Targets, device_id: str) -> frozenset[str]:
        target = role.targets.get(acknowledgement_path(device_id))
        if target is None:
            return frozenset()
        content = self._read_file(self._target_file(target))
        self._check_content(target, content)
        return read_acknowledgement(content, device_id)

    def _load(self) -> _Signed:
        timestamp = self._read("timestamp.json", Timestamp)
        snapshot = self._read_version("snapshot", timestamp.signed.snapshot_meta.version, Snapshot)
        meta = snapshot.signed.meta
        targets = self._read_version("targets", meta["targets.json"].version, Targets)
        acknowledgements = None
        if (found := meta.get(f"{ACKNOWLEDGEMENTS}.json")) is not None:
            acknowledgements = self._read_version(ACKNOWLEDGEMENTS, found.version, Targets)
        signed = _Signed(self._latest_root(), targets, snapshot, timestamp, acknowledgements)
        self._check_signature(signed.root, timestamp, "timestamp", "timestamp.json")
        self._check_signature(signed.root, snapshot, "snapshot", f"{snapshot.signed.version}.snapshot.json")
        self._check_signature(signed.root, targets, "targets", f"{targets.signed.version}.targets.json")
        if acknowledgements is not None:
            name = f"{acknowledgements.signed.version}.{ACKNOWLEDGEMENTS}.json"
            self._check_signature(targets, acknowledgements, ACKNOWLEDGEMENTS, name)
        if signed.root.signed.version < int(timestamp.signed.unrecognized_fields.get(ROOT_VERSION, 1)):
            expected = timestamp.signed.unrecognized_fields[ROOT_VERSION]
            raise self._damage(self.metadata_dir / f"{expected}.root.json", "is missing")
        self._note_published(timestamp.signed.version)
        return signed

    def _note_published(self, version: int) -> None:
        """Note beside the repository which version of the timestamp devices may have seen: they take none before it.

        Raises:
            ReleaseError: they may have seen a newer one; an older file was brought back. Or the note cannot be read.
        """
        mark = Mark.beside(self._root)
        try:
            noted = _NOTED.search(mark.words)
        except OSError as error:
            raise ReleaseError(
                f"{mark.path} cannot be read ({error.strerror}), and it notes which version of {self._root} devices "
                "may have seen: bring it back from the newest backup. Only if the repository is the newest that "
                "devices were offered, remove what lies there: the version is noted anew"
            ) from error
        newest = int(noted[1]) if noted else 0
        if version < newest:
            raise self._damage(
                self.metadata_dir / "timestamp.json",
                f"is version {version}, and version {newest} was published ({mark.path}): devices go back to none "
                f"before it, and each that has updated since holds version {newest} as trust/timestamp.json",
            )
        if version > newest:
            mark.keep(
                f"The release repository {self._root.name}/ was begun; devices trust its keys and no others.\n"
                f"They were offered its timestamp of version {version}, and take none before it.\n"
            )

    def _check_targets(self, signed: _Signed, but: str = "") -> None:
        """Whether each file that is offered is there; of `but` the caller has the content.

        Raises:
            ReleaseError: one is not.
        """
        for target in signed.target_files():
            path = self._target_file(target)
            if target.path != but and not (path.is_file() and path.stat().st_size == target.length):
                raise self._damage(path, "is missing or cut off, and devices are offered it")

    def _names(self, signed: _Signed) -> list[str]:
        """The files that a device reads to come from any root to now; the one that makes them visible comes last."""
        roots = [f"{version}.root.json" for version in range(1, signed.root.signed.version + 1)]
        versions = {
            "targets": signed.targets.signed.version,
            "snapshot": signed.snapshot.signed.version,
            **({} if signed.acknowledgements is None else {ACKNOWLEDGEMENTS: signed.acknowledgements.signed.version}),
        }
        current = [f"{version}.{role}.json" for role, version in versions.items()]
        targets = [self._target_file(target).relative_to(self._root).as_posix() for target in signed.target_files()]
        return [*targets, *(f"metadata/{name}" for name in (*roots, *current, "timestamp.json"))]

    def _latest_root(self) -> Metadata[Root]:
        """The newest root; a device needs each one before it."""
        names = [path.name.removesuffix(".root.json") for path in self.metadata_dir.glob("[0-9]*.root.json")]
        versions = {int(name) for name in names if name.isdecimal() and len(name) < MAX_VERSION_DIGITS}
        for version in range(1, max(versions, default=1) + 1):
            root = self._read_version("root", version, Root)
            self._check_signature(root, root, "root", f"{version}.root.json")
        return root

    def _check_signature(self, delegator: Metadata[Any], metadata: Metadata[Any], role: str, name: str) -> None:
        """What is not as it was signed is never signed anew.

        Raises:
            ReleaseError: the file was changed.
        """
        try:
            delegator.verify_delegate(role, metadata)
        except (UnsignedMetadataError, ValueError) as error:
            raise self._damage(self.metadata_dir / name, "is not as it was signed") from error

    def _read_version(self, role: str, version: int, payload: type[_Payload]) -> Metadata[_Payload]:
        metadata = self._read(f"{version}.{role}.json", payload)
        if metadata.signed.version != version:
            raise self._damage(self.metadata_dir / f"{version}.{role}.json", f"is version {metadata.signed.version}")
        return metadata

    def _read(self, name: str, payload: type[_Payload]) -> Metadata[_Payload]:
        path = self.metadata_dir / name
        try:
            metadata: Metadata[_Payload] = Metadata.from_bytes(self._read_file(path))
        except DeserializationError as error:
            raise self._damage(path, f"cannot be read: {error}") from error
        if not isinstance(metadata.signed, payload):
            raise self._damage(path, f"holds {metadata.signed.type} metadata; expected {payload.type}")
        return metadata

    def _read_file(self, path: Path) -> bytes:
        try:
            return read_own(path, MAX_TARGET_BYTES)
        except FileNotFoundError as error:
            raise self._damage(path, "is missing") from error
        except OSError as error:
            raise self._damage(path, f"cannot be read: {error}") from error

    def _damage(self, path: Path, found: str) -> ReleaseError:
        """What is wrong with which file, and how it is mended."""
        return ReleaseError(
            f"{path} {found}: the release repository {self._root} is damaged, and nothing in it was changed. Restore "
            "the newest backup of the file (a copy of the gateway's folder or the folder release/ of the newest stick "
            "has metadata and targets; keys are in a backup alone). Begun anew it would be refused by every device: "
            f"remove the whole folder and {Mark.beside(self._root).path} only if no device was ever provisioned from "
            "it."
        )

    def _renew(
        self, signed: _Signed, are_targets_changed: bool = False, are_acknowledgements_changed: bool = False
    ) -> None:
        """Sign anew what changed or has lived half its lifetime, in the order that is safe to cut anywhere.

        Versions that a crash left behind are referred to by no timestamp, so they are written over.
        """
        signers = {role: self._signer(role, signed) for role in ROLES}
        is_root_new = self._is_due(signed.root.signed)
        if is_root_new:
            self._sign(signed.root, "root", signers["root"])
        are_targets_new = are_targets_changed or self._is_due(signed.targets.signed)
        if are_targets_new:
            signed.snapshot.signed.meta["targets.json"] = self._sign(signed.targets, "targets", signers["targets"])
        held = signed.acknowledgements
        are_held_new = held is not None and (are_acknowledgements_changed or self._is_due(held.signed))
        if held is not None and are_held_new:
            signer = self._signer(ACKNOWLEDGEMENTS, signed)
            signed.snapshot.signed.meta[f"{ACKNOWLEDGEMENTS}.json"] = self._sign(held, ACKNOWLEDGEMENTS, signer)
        is_snapshot_new = are_targets_new or are_held_new or self._is_due(signed.snapshot.signed)
        if is_snapshot_new:
            signed.timestamp.signed.snapshot_meta = self._sign(signed.snapshot, "snapshot", signers["snapshot"])
        if is_snapshot_new or is_root_new or self._is_due(signed.timestamp.signed):
            signed.timestamp.signed.unrecognized_fields[ROOT_VERSION] = signed.root.signed.version
            self._sign(signed.timestamp, "timestamp", signers["timestamp"])
            self._note_published(signed.timestamp.signed.version)

    def _is_due(self, payload: Signed) -> bool:
        return payload.expires - self._now() < timedelta(days=LIFETIME_DAYS[payload.type]) / 2

    def _sign(self, metadata: Metadata[Any], role: str, signer: CryptoSigner) -> MetaFile:
        """Write the next version of a role, or the first if it was never signed; return what refers to it."""
        payload: Signed = metadata.signed
        if metadata.signatures:
            payload.version += 1
        payload.expires = self._now().replace(microsecond=0) + timedelta(days=LIFETIME_DAYS[role])
        metadata.sign(signer)
        content = metadata.to_bytes()
        if len(content) > max_metadata_bytes(role):
            raise ReleaseError(
                f"the metadata of {role} would have {len(content)} bytes, and devices take {max_metadata_bytes(role)}: "
                "offer fewer files in it. Nothing was published"
            )
        name = f"{role}.json" if role == "timestamp" else f"{payload.version}.{role}.json"
        write_durably(self.metadata_dir / name, content)
        return MetaFile.from_data(payload.version, content, ["sha256"])

    def _signer(self, role: str, signed: _Signed | None = None) -> CryptoSigner:
        """The key of a role; of `signed`, when given, it must be the one that devices trust.

        Raises:
            ReleaseError: it is missing, damaged, readable by others, or another one.
        """
        path = self._key_path(role)
        try:
            content, mode = read_own(path, MAX_KEY_BYTES), path.stat().st_mode
            signer = CryptoSigner(load_pem_private_key(content, password=None))
        except FileNotFoundError as error:
            raise self._damage(path, "is missing") from error
        except (OSError, ValueError) as error:
            raise self._damage(path, f"cannot be used: {error}") from error
        if os.name == "posix" and mode & 0o077:
            raise ReleaseError(f"the signing key {path} can be read by others; run chmod 600 on it")
        if signed is not None and signer.public_key.keyid not in signed.trusted_key_ids(role):
            raise self._damage(path, "is another key than the one that devices trust")
        return signer

    def _check_content(self, target: TargetFile, content: bytes) -> None:
        try:
            target.verify_length_and_hashes(content)
        except LengthOrHashMismatchError as error:
            raise self._damage(self._target_file(target), f"is not what was signed: {error}") from error

    def _store_target(self, target: TargetFile, content: bytes) -> None:
        path = self._target_file(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, content)

    def _has(self, target: TargetFile, content: bytes) -> bool:
        return holds(self._target_file(target), content)

    def _target_file(self, target: TargetFile) -> Path:
        folder, _, name = target.path.rpartition("/")
        return self.targets_dir / folder / f"{target.hashes['sha256']}.{name}"

    @property
    def _keys_dir(self) -> Path:
        return self._root / "keys"

    def _key_path(self, role: str) -> Path:
        return self._keys_dir / f"{role}.pem"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self._root / ".lock", timeout=LOCK_TIMEOUT_S)
        try:
            with lock:
                yield
        except Timeout as error:
            raise StoreBusy(f"{self._root} is in use by another process; try again when it is done") from error


def _make_folder(folder: Path, stick: Path) -> None:
    """A folder on a stick; a file or a link in its place, which may lead away from the stick, goes."""
    if folder != stick:
        _make_folder(folder.parent, stick)
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            folder.unlink()
    folder.mkdir(parents=folder == stick, exist_ok=True)


def _checked_bundle(bundle_path: Path, workload: str, version: str, contract_hash: str) -> bytes:
    try:
        contract = known_workload(workload).contract
    except ConfigError as error:
        raise ReleaseError(f"there is no workload {workload!r} to release for: {error}") from error
    try:
        content = read_own(bundle_path, MAX_TARGET_BYTES)
    except OSError as error:
        raise ReleaseError(f"the bundle {bundle_path} cannot be read: {error}. Build it again.") from error
    manifest = try_bundle(content, contract)
    for name, found, expected in (
        ("version", manifest.version, version),
        ("contract_hash", manifest.contract_hash, contract_hash),
    ):
        if found != expected:
            raise ReleaseError(f"{bundle_path}: {name} is {found!r} in the manifest; expected {expected!r}")
    return content


def _released(targets: Targets, workload: str) -> Released | None:
    target = targets.targets.get(target_path(workload))
    if target is None:
        return None
    version = str(target.unrecognized_fields["custom"]["version"])
    return Released(version, target.hashes["sha256"], target.length, targets.version)
