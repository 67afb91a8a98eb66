"""The signed repository that devices update from, made with The Update Framework (TUF).

Four Ed25519 keys, one per top-level role, live in `keys/` and are never served; `metadata/` and `targets/`
are what a gateway serves. Snapshots are consistent and every version of the metadata is kept, so that a device
that was off for a long time can follow. Only the rename of `timestamp.json`, always last, makes a release
visible: a crash before it leaves every device on the release before. A fifth key signs, in a role delegated to it,
which batches of a device are held, for devices that only a stick reaches; it can say nothing else.
What a bundle holds is `bundle.py`'s work, and whether a device accepts it is the device's.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from filelock import FileLock, Timeout
from securesystemslib.signer import CryptoSigner
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

from fieldedge.durable import write_durably
from fieldedge.errors import ReleaseError, StoreBusy
from fieldedge.stick import ACKNOWLEDGEMENTS, acknowledgement, acknowledgement_path, read_acknowledgement
from fieldedge.workloads import WORKLOADS
from fieldloop.release.bundle import try_bundle

_Payload = TypeVar("_Payload", Root, Targets, Snapshot, Timestamp)

ROLES = ("root", "targets", "snapshot", "timestamp")
LIFETIME_DAYS = {"root": 365, "targets": 90, ACKNOWLEDGEMENTS: 90, "snapshot": 30, "timestamp": 30}
LOCK_TIMEOUT_S = 60.0


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

    def target_files(self) -> Iterator[TargetFile]:
        """All that the metadata offers."""
        yield from self.targets.signed.targets.values()
        if self.acknowledgements is not None:
            yield from self.acknowledgements.signed.targets.values()


def target_path(workload: str) -> str:
    """The TUF target that holds a workload's bundle."""
    return f"{workload}/bundle.zip"


class ReleaseRepository:
    """The TUF repository in one directory. Opening one that does not exist creates it.

    Args:
        root: the directory.
        now: the clock, UTC; every expiry date comes from it.

    Raises:
        ReleaseError: metadata or keys of an existing repository are missing or damaged.
        StoreBusy: another process has held the repository for a minute.
    """

    def __init__(self, root: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._root = root
        self._now = now
        for directory in (self.metadata_dir, self.targets_dir):
            directory.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if not (self.metadata_dir / "timestamp.json").exists():
                self._create()

    @property
    def metadata_dir(self) -> Path:
        return self._root / "metadata"

    @property
    def targets_dir(self) -> Path:
        return self._root / "targets"

    def trusted_root(self) -> Path:
        """The first root metadata: what a device is given when it is provisioned, and trusts from then on."""
        return self.metadata_dir / "1.root.json"

    def current(self, workload: str) -> Released | None:
        """What devices of this workload are offered now, or None before its first release."""
        with self._locked():
            return _released(self._load().targets.signed, workload)

    def publish(self, bundle_path: Path, workload: str, version: str, contract_hash: str) -> Released:
        """Offer this bundle to the devices, after trying it as they will.

        Publishing the bundle that is offered already changes nothing, but signs anew what is due.

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
        }
        with self._locked():
            signed = self._load()
            if signed.targets.signed.targets.get(target.path) == target:
                self._renew(signed)
            else:
                self._store_target(target, content)
                signed.targets.signed.targets[target.path] = target
                self._renew(signed, are_targets_changed=True)
            released = _released(signed.targets.signed, workload)
        if released is None:
            raise ReleaseError(f"{workload} was published but is not offered: {self._root} is damaged")
        return released

    def refresh(self) -> None:
        """Sign anew whatever has lived half its lifetime, so that devices keep accepting the repository."""
        with self._locked():
            self._renew(self._load())

    def acknowledge(self, held: Mapping[str, Collection[str]]) -> None:
        """Sign that these batches, by device, are held, beside those that were said to be before.

        A device believes this as it believes an answer of the gateway: the batches must be durable already.

        Raises:
            ReleaseError: the repository is damaged.
            StoreBusy: another process is publishing.
        """
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

    def copy_to(self, directory: Path) -> None:
        """Write onto a stick what a device needs to follow now; what is there and no longer needed goes.

        Raises:
            OSError: the stick cannot be written.
            ReleaseError: the repository is damaged.
            StoreBusy: another process is publishing.
        """
        with self._locked():
            signed = self._load()
            self._renew(signed)
            names = self._names(signed)
            files = {name: self._read_file(self._root / name) for name in names}
        for name, content in files.items():
            path = directory / name
            if not path.is_file() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_durably(path, content)
        for path in sorted(directory.rglob("*")):
            if path.is_file() and path.relative_to(directory).as_posix() not in files:
                path.unlink()

    def _create(self) -> None:
        """Make the keys and the first version of every role; goes on where an earlier attempt was cut off."""
        self._create_missing_keys()
        if not self.trusted_root().exists():
            keys = {role: self._signer(role).public_key for role in ROLES}
            root = Root(
                keys={key.keyid: key for key in keys.values()},
                roles={role: Role([key.keyid], 1) for role, key in keys.items()},
            )
            self._sign(Metadata(root), "root")
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
        return read_acknowledgement(self._read_file(self._target_file(target)), device_id)

    def _load(self) -> _Signed:
        timestamp = self._read("timestamp.json", Timestamp)
        snapshot = self._read(f"{timestamp.signed.snapshot_meta.version}.snapshot.json", Snapshot)
        meta = snapshot.signed.meta
        targets = self._read(f"{meta['targets.json'].version}.targets.json", Targets)
        acknowledgements = None
        if (found := meta.get(f"{ACKNOWLEDGEMENTS}.json")) is not None:
            acknowledgements = self._read(f"{found.version}.{ACKNOWLEDGEMENTS}.json", Targets)
        return _Signed(self._latest_root(), targets, snapshot, timestamp, acknowledgements)

    def _names(self, signed: _Signed) -> list[str]:
        """The files that a device reads to come from any root to now; the one that makes them visible comes last."""
        roots = sorted(path.name for path in self.metadata_dir.glob("[0-9]*.root.json"))
        versions = {
            "targets": signed.targets.signed.version,
            "snapshot": signed.snapshot.signed.version,
            **({} if signed.acknowledgements is None else {ACKNOWLEDGEMENTS: signed.acknowledgements.signed.version}),
        }
        current = [f"{version}.{role}.json" for role, version in versions.items()]
        targets = [self._target_file(target).relative_to(self._root).as_posix() for target in signed.target_files()]
        return [*targets, *(f"metadata/{name}" for name in (*roots, *current, "timestamp.json"))]

    def _latest_root(self) -> Metadata[Root]:
        versions = [int(path.name.split(".")[0]) for path in self.metadata_dir.glob("[0-9]*.root.json")]
        return self._read(f"{max(versions, default=1)}.root.json", Root)

    def _read(self, name: str, payload: type[_Payload]) -> Metadata[_Payload]:
        path = self.metadata_dir / name
        try:
            metadata: Metadata[_Payload] = Metadata.from_bytes(self._read_file(path))
        except DeserializationError as error:
            raise ReleaseError(f"{path} cannot be read: {error}. Restore {self._root} from its backup.") from error
        if not isinstance(metadata.signed, payload):
            raise ReleaseError(
                f"{path} holds {metadata.signed.type} metadata; expected {payload.type}. "
                f"Restore {self._root} from its backup."
            )
        return metadata

    def _read_file(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise ReleaseError(f"{path} cannot be read: {error}. Restore {self._root} from its backup.") from error

    def _renew(
        self, signed: _Signed, are_targets_changed: bool = False, are_acknowledgements_changed: bool = False
    ) -> None:
        """Sign anew what changed or has lived half its lifetime, in the order that is safe to cut anywhere.

        Versions that a crash left behind are referred to by no timestamp, so they are written over.
        """
        if self._is_due(signed.root.signed):
            self._sign(signed.root, "root")
        are_targets_new = are_targets_changed or self._is_due(signed.targets.signed)
        if are_targets_new:
            signed.snapshot.signed.meta["targets.json"] = self._sign(signed.targets, "targets")
        held = signed.acknowledgements
        are_held_new = held is not None and (are_acknowledgements_changed or self._is_due(held.signed))
        if held is not None and are_held_new:
            signed.snapshot.signed.meta[f"{ACKNOWLEDGEMENTS}.json"] = self._sign(held, ACKNOWLEDGEMENTS)
        is_snapshot_new = are_targets_new or are_held_new or self._is_due(signed.snapshot.signed)
        if is_snapshot_new:
            signed.timestamp.signed.snapshot_meta = self._sign(signed.snapshot, "snapshot")
        if is_snapshot_new or self._is_due(signed.timestamp.signed):
            self._sign(signed.timestamp, "timestamp")

    def _is_due(self, payload: Signed) -> bool:
        return payload.expires - self._now() < timedelta(days=LIFETIME_DAYS[payload.type]) / 2

    def _sign(self, metadata: Metadata[Any], role: str) -> MetaFile:
        """Write the next version of a role, or the first if it was never signed; return what refers to it."""
        payload: Signed = metadata.signed
        if metadata.signatures:
            payload.version += 1
        payload.expires = self._now().replace(microsecond=0) + timedelta(days=LIFETIME_DAYS[role])
        metadata.sign(self._signer(role))
        content = metadata.to_bytes()
        name = f"{role}.json" if role == "timestamp" else f"{payload.version}.{role}.json"
        write_durably(self.metadata_dir / name, content)
        return MetaFile.from_data(payload.version, content, ["sha256"])

    def _signer(self, role: str) -> CryptoSigner:
        path = self._key_path(role)
        try:
            return CryptoSigner(load_pem_private_key(path.read_bytes(), password=None))
        except (OSError, ValueError) as error:
            raise ReleaseError(
                f"the signing key {path} cannot be used: {error}. Devices trust only the keys that they were "
                "provisioned with: restore it from its backup."
            ) from error

    def _store_target(self, target: TargetFile, content: bytes) -> None:
        path = self._target_file(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, content)

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


def _checked_bundle(bundle_path: Path, workload: str, version: str, contract_hash: str) -> bytes:
    if workload not in WORKLOADS:
        raise ReleaseError(f"there is no workload {workload!r}; there is {', '.join(WORKLOADS)}")
    try:
        content = bundle_path.read_bytes()
    except OSError as error:
        raise ReleaseError(f"the bundle {bundle_path} cannot be read: {error}. Build it again.") from error
    manifest = try_bundle(content, WORKLOADS[workload].contract)
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
