"""The signed repository that devices update from, made with The Update Framework (TUF).

Four Ed25519 keys, one per top-level role, live in `keys/` and are never served; so does one for each workload, in a
role delegated to it, which signs that workload's releases and no others; `metadata/` and `targets/`
are what a gateway serves. Snapshots are consistent and every version of the metadata is kept, so that a device
that was off for a long time can follow. Only the rename of `timestamp.json`, always last, makes a release
visible: a crash before it leaves every device on the release before. One more key signs, in a role delegated to it,
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
from dataclasses import dataclass, field
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

from fieldedge.contract import Contract
from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import ConfigError, ReleaseError, StoreBusy
from fieldedge.system.keys import MAX_KEY_BYTES
from fieldedge.system.plain_files import NotPlainError, holds, read_own
from fieldedge.transfer.acknowledgements import statement
from fieldedge.transfer.cohort import Rollout
from fieldedge.transfer.trust import MAX_TARGET_BYTES, max_metadata_bytes
from fieldedge.transfer.usb import ACKNOWLEDGEMENTS, acknowledgement, acknowledgement_path, read_acknowledgement
from fieldedge.workloads import known_workload
from fieldloop.core.begun import Mark
from fieldloop.release.acknowledged import AcknowledgedBatches
from fieldloop.release.bundle import try_bundle
from fieldloop.release.offers import (
    BUNDLE,
    CANDIDATE,
    FLOAT32_ONLY,
    MIN_FIELDEDGE,
    Offers,
    Released,
    check_class,
    custom_of,
    finished,
    for_everyone,
    offer_candidate,
    offered,
    release,
    role_paths,
    set_rollout,
    target_path,
    withdraw,
)

_Payload = TypeVar("_Payload", Root, Targets, Snapshot, Timestamp)

ROLES = ("root", "targets", "snapshot", "timestamp")
LIFETIME_DAYS = {"root": 365, "targets": 90, "snapshot": 30, "timestamp": 30}
DELEGATED_LIFETIME_DAYS = 90
LOCK_TIMEOUT_S = 60.0
ACKNOWLEDGED_NAME = "acknowledged"
BEGINNING_NAME = ".beginning"
MAX_VERSION_DIGITS = 9
_NOTED = re.compile(r"timestamp of version ([0-9]{1,9})\b")
ROOT_VERSION = "root_version"  # in the timestamp: nothing else says which root was the newest


@dataclass
class _Signed:
    """The metadata as devices see it now."""

    root: Metadata[Root]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]
    delegated: dict[str, Metadata[Targets]]
    changed: set[str] = field(default_factory=set)  # roles to be signed anew

    @property
    def acknowledgements(self) -> Metadata[Targets] | None:
        return self.delegated.get(ACKNOWLEDGEMENTS)

    def role_of(self, workload: str) -> Targets:
        """What is offered for a workload; nothing where it has no role yet."""
        found = self.delegated.get(workload)
        return Targets() if found is None or workload == ACKNOWLEDGEMENTS else found.signed

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
        for role in self.delegated.values():
            yield from role.signed.targets.values()


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
            for role in (*ROLES, *signed.delegated):
                self._signer(role, signed)
            self._delegate_former(signed)

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
        return self.offers(workload).released

    def offers(self, workload: str) -> Offers:
        """All that devices of this workload are offered: for everyone, in rollout, and what was withdrawn."""
        with self._locked():
            signed = self._load()
            self._check_targets(signed)
            return offered(signed.role_of(workload), workload)

    def publish(
        self,
        bundles: Path | Mapping[str, Path],
        workload: str,
        version: str,
        contract_hash: str,
        mlflow_run_id: str = "",
    ) -> Released:
        """Offer this version to every device at once, after trying it as they will: a file for all, or one by class.

        The run that made it stands beside it. Publishing what is offered already changes nothing, but signs anew what
        is due, and stores a file again if it was lost. What was in rollout before is offered no more.

        Raises:
            ReleaseError: a bundle is not what the arguments say, or the repository is damaged.
            StoreBusy: another process is publishing.
        """
        by_class = {"": bundles} if isinstance(bundles, Path) else bundles
        contents = {
            name: _checked_bundle(path, workload, version, contract_hash) for name, path in sorted(by_class.items())
        }
        run = {"mlflow_run_id": mlflow_run_id} if mlflow_run_id else {}
        files = _targets_of(workload, version, contents, BUNDLE, run)
        if "" not in files:
            files = for_everyone(workload, {name: (target, custom_of(target)) for name, target in files.items()})
            contents[""] = contents[FLOAT32_ONLY if FLOAT32_ONLY in contents else next(iter(contents))]
        with self._locked():
            signed = self._load()
            self._check_targets(signed, but=tuple(target.path for target in files.values()))
            if release(self._workload_role(signed, workload), files):
                signed.changed.add(workload)
            self._store_all(files, contents)
            self._renew(signed)
            return self._offered(signed, workload)

    def publish_candidate(
        self, workload: str, version: str, files: Mapping[str, Path], rollout: Rollout, mlflow_run_id: str = ""
    ) -> Offers:
        """Offer a version, by class, to whom the rollout says. Every class has a file; `float32-only` serves the rest.

        A candidate that was offered before is offered no more. Repeatable.

        Raises:
            ReleaseError: a bundle is another version, the version was withdrawn or is everyone's already, a class has
                no file, or the percentage shrinks. Nothing is changed then.
            StoreBusy: another process is publishing.
        """
        if FLOAT32_ONLY not in files:
            raise ReleaseError(
                f"the rollout of {workload} {version} has no file for {FLOAT32_ONLY}, which every device of an unknown "
                f"class takes; it has {', '.join(sorted(files)) or 'none'}"
            )
        contract_hash = _contract_of(workload).hash
        contents = {
            name: _checked_bundle(path, workload, version, contract_hash) for name, path in sorted(files.items())
        }
        run = {"mlflow_run_id": mlflow_run_id} if mlflow_run_id else {}
        targets = _targets_of(workload, version, contents, CANDIDATE, run)
        with self._locked():
            signed = self._load()
            self._check_targets(signed, but=tuple(target.path for target in targets.values()))
            if offer_candidate(self._workload_role(signed, workload), workload, targets, rollout):
                signed.changed.add(workload)
            self._store_all(targets, contents)
            self._renew(signed)
            return offered(signed.role_of(workload), workload)

    def set_rollout(self, workload: str, rollout: Rollout) -> Offers:
        """Say another, larger percentage of the rollout that is on.

        Raises:
            ReleaseError: none is on, the percentage shrinks, or its salt is another. Nothing is changed then.
            StoreBusy: another process is publishing.
        """
        return self._change(workload, lambda role: set_rollout(role, workload, rollout))

    def finish_rollout(self, workload: str) -> Released:
        """Offer the candidate to everyone, and to those that ask for no class the file of `float32-only`.

        Raises:
            ReleaseError: no rollout is on. Nothing is changed then.
            StoreBusy: another process is publishing.
        """
        with self._locked():
            signed = self._load()
            self._check_targets(signed)
            role = signed.role_of(workload)
            files = finished(role, workload)
            sources = {target.hashes["sha256"]: target for target in role.targets.values()}
            contents = {
                name: self._read_file(self._target_file(sources[target.hashes["sha256"]]))
                for name, target in files.items()
            }
            for name, target in files.items():
                self._check_content(target, contents[name])
            release(role, files)
            signed.changed.add(workload)
            self._store_all(files, contents)
            self._renew(signed)
            return self._offered(signed, workload)

    def withdraw(self, workload: str, version: str) -> Offers:
        """Say that devices must go back from a version, for good; as a candidate it is offered no more. Repeatable.

        Raises:
            ReleaseError: it was never offered, or none that devices could go back to was. Nothing is changed then.
            StoreBusy: another process is publishing.
        """
        with self._locked():
            signed = self._load()
            self._check_targets(signed)
            role = signed.role_of(workload)
            if withdraw(role, workload, version, self._former_roles(signed, workload)):
                signed.changed.add(workload)
            self._check_targets(signed)
            self._renew(signed)
            return offered(role, workload)

    def _former_roles(self, signed: _Signed, workload: str) -> Iterator[Targets]:
        """What a workload's role said before, the newest first."""
        found = signed.delegated.get(workload)
        for version in range(0 if found is None else found.signed.version - 1, 0, -1):
            if (self.metadata_dir / f"{version}.{workload}.json").is_file():
                yield self._read_version(workload, version, Targets).signed

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
            if ACKNOWLEDGEMENTS not in signed.delegated:
                self._delegate(signed, ACKNOWLEDGEMENTS, [acknowledgement_path("*")])
            role = signed.delegated[ACKNOWLEDGEMENTS]
            for device_id, batch_ids in held.items():
                known = self._acknowledged(role.signed, device_id)
                if not known.issuperset(batch_ids):
                    content = acknowledgement(device_id, known.union(batch_ids))
                    target = TargetFile.from_data(acknowledgement_path(device_id), content, ["sha256"])
                    self._store_target(target, content)
                    role.signed.targets[target.path] = target
                    signed.changed.add(ACKNOWLEDGEMENTS)
            self._renew(signed)

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
            delegated={},
        )
        self._renew(unsigned)

    def _create_missing_keys(self) -> None:
        self._keys_dir.mkdir(mode=0o700, exist_ok=True)
        self._keys_dir.chmod(0o700)
        fsync_directory(self._root)
        for role in ROLES:
            self._create_missing_key(role)

    def _create_missing_key(self, role: str) -> None:
        if not self._key_path(role).exists():
            write_durably(self._key_path(role), CryptoSigner.generate_ed25519().private_bytes, mode=0o600)

    def _delegate(self, signed: _Signed, name: str, paths: list[str]) -> None:
        """Give a role a key of its own, which devices accept for these paths alone."""
        self._create_missing_key(name)
        key = self._signer(name).public_key
        targets = signed.targets.signed
        delegations = targets.delegations or Delegations({}, {})
        roles = {**(delegations.roles or {}), name: DelegatedRole(name, [key.keyid], 1, terminating=True, paths=paths)}
        targets.delegations = Delegations({**delegations.keys, key.keyid: key}, roles)
        signed.delegated[name] = Metadata(Targets())
        signed.changed.add("targets")

    def _workload_role(self, signed: _Signed, workload: str) -> Targets:
        """The role of a workload; one is delegated before its first release."""
        if workload in (*ROLES, ACKNOWLEDGEMENTS):
            raise ReleaseError(f"a workload cannot be called {workload}: that is the name of a role of the metadata")
        if workload not in signed.delegated:
            self._delegate(signed, workload, role_paths(workload))
        return signed.delegated[workload].signed

    def _delegate_former(self, signed: _Signed) -> None:
        """Move what a former version signed with the key of all targets to a role of its workload's own.

        Its files stay where they are, and devices of before find them as they did.
        """
        former = list(signed.targets.signed.targets.values())
        if not former:
            return
        for target in former:
            self._workload_role(signed, target.path.partition("/")[0]).targets[target.path] = target
        signed.targets.signed.targets.clear()
        self._renew(signed)

    def _change(self, workload: str, change: Callable[[Targets], bool]) -> Offers:
        with self._locked():
            signed = self._load()
            self._check_targets(signed)
            role = signed.role_of(workload)
            if change(role):
                signed.changed.add(workload)
            self._renew(signed)
            return offered(role, workload)

    def _offered(self, signed: _Signed, workload: str) -> Released:
        released = offered(signed.role_of(workload), workload).released
        if released is None:
            raise ReleaseError(f"{workload} was published but is not offered: {self._root} is damaged")
        return released

    def _store_all(self, targets: Mapping[str, TargetFile], contents: Mapping[str, bytes]) -> None:
        """The files of these targets, durably, before anything that refers to them is signed."""
        for name, target in targets.items():
            if not self._has(target, contents[name]):
                self._store_target(target, contents[name])

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
        names = [name.removesuffix(".json") for name in meta if name != "targets.json"]
        delegated = {name: self._read_version(name, meta[f"{name}.json"].version, Targets) for name in names}
        signed = _Signed(self._latest_root(), targets, snapshot, timestamp, delegated)
        self._check_signature(signed.root, timestamp, "timestamp", "timestamp.json")
        self._check_signature(signed.root, snapshot, "snapshot", f"{snapshot.signed.version}.snapshot.json")
        self._check_signature(signed.root, targets, "targets", f"{targets.signed.version}.targets.json")
        for role, metadata in delegated.items():
            self._check_signature(targets, metadata, role, f"{metadata.signed.version}.{role}.json")
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

    def _check_targets(self, signed: _Signed, but: Collection[str] = ()) -> None:
        """Whether each file that is offered is there; of `but` the caller has the contents.

        Raises:
            ReleaseError: one is not.
        """
        for target in signed.target_files():
            path = self._target_file(target)
            if target.path not in but and not (path.is_file() and path.stat().st_size == target.length):
                raise self._damage(path, "is missing or cut off, and devices are offered it")

    def _names(self, signed: _Signed) -> list[str]:
        """The files that a device reads to come from any root to now; the one that makes them visible comes last."""
        roots = [f"{version}.root.json" for version in range(1, signed.root.signed.version + 1)]
        versions = {
            "targets": signed.targets.signed.version,
            "snapshot": signed.snapshot.signed.version,
            **{role: metadata.signed.version for role, metadata in signed.delegated.items()},
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

    def _renew(self, signed: _Signed) -> None:
        """Sign anew what changed or has lived half its lifetime, in the order that is safe to cut anywhere.

        Versions that a crash left behind are referred to by no timestamp, so they are written over.
        """
        signers = {role: self._signer(role, signed) for role in ROLES}
        is_root_new = self._is_due("root", signed.root)
        if is_root_new:
            self._sign(signed.root, "root", signers["root"])
        meta, is_snapshot_new = signed.snapshot.signed.meta, False
        for role, metadata in signed.delegated.items():
            if role in signed.changed or self._is_due(role, metadata):
                meta[f"{role}.json"] = self._sign(metadata, role, self._signer(role, signed))
                is_snapshot_new = True
        if "targets" in signed.changed or self._is_due("targets", signed.targets):
            meta["targets.json"] = self._sign(signed.targets, "targets", signers["targets"])
            is_snapshot_new = True
        if is_snapshot_new or self._is_due("snapshot", signed.snapshot):
            signed.timestamp.signed.snapshot_meta = self._sign(signed.snapshot, "snapshot", signers["snapshot"])
            is_snapshot_new = True
        if is_snapshot_new or is_root_new or self._is_due("timestamp", signed.timestamp):
            signed.timestamp.signed.unrecognized_fields[ROOT_VERSION] = signed.root.signed.version
            self._sign(signed.timestamp, "timestamp", signers["timestamp"])
            self._note_published(signed.timestamp.signed.version)

    def _is_due(self, role: str, metadata: Metadata[Any]) -> bool:
        if not metadata.signatures:
            return True
        return bool(metadata.signed.expires - self._now() < _lifetime(role) / 2)

    def _sign(self, metadata: Metadata[Any], role: str, signer: CryptoSigner) -> MetaFile:
        """Write the next version of a role, or the first if it was never signed; return what refers to it."""
        payload: Signed = metadata.signed
        if metadata.signatures:
            payload.version += 1
        payload.expires = self._now().replace(microsecond=0) + _lifetime(role)
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


def _lifetime(role: str) -> timedelta:
    return timedelta(days=LIFETIME_DAYS.get(role, DELEGATED_LIFETIME_DAYS))


def _make_folder(folder: Path, stick: Path) -> None:
    """A folder on a stick; a file or a link in its place, which may lead away from the stick, goes."""
    if folder != stick:
        _make_folder(folder.parent, stick)
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            folder.unlink()
    folder.mkdir(parents=folder == stick, exist_ok=True)


def _contract_of(workload: str) -> Contract:
    try:
        return known_workload(workload).contract
    except ConfigError as error:
        raise ReleaseError(f"there is no workload {workload!r} to release for: {error}") from error


def _checked_bundle(bundle_path: Path, workload: str, version: str, contract_hash: str) -> bytes:
    contract = _contract_of(workload)
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


def _targets_of(
    workload: str, version: str, contents: Mapping[str, bytes], name: str, said: Mapping[str, Any]
) -> dict[str, TargetFile]:
    """The targets of these bundles, by class; what every device needs to know of them stands beside their hashes."""
    contract_hash, found = _contract_of(workload).hash, {}
    for device_class, content in contents.items():
        if device_class:
            check_class(device_class)
        target = TargetFile.from_data(target_path(workload, device_class, name), content, ["sha256"])
        target.unrecognized_fields["custom"] = {
            "workload": workload,
            "version": version,
            "contract_hash": contract_hash,
            "min_fieldedge": MIN_FIELDEDGE,
            **({"device_class": device_class} if device_class else {}),
            **said,
        }
        found[device_class] = target
    return found
