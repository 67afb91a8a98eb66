"""The signed metadata of a release repository on disk: read and checked whole, signed in memory, written in order.

Snapshots are consistent and every version is kept, so that a device that was off for a long time can follow. Only the
rename of `timestamp.json`, always last, makes a change visible: a crash before it leaves every device where it was.
Everything is signed before a byte is written, so a passphrase that fails or a threshold that is not met leaves nothing
behind. A change of keys is more than one file that devices see: it is written whole as a journal first, which whoever
opens the repository next carries out.
A repository is begun once, in an empty folder, and a beginning that was cut off is gone on with. From then on a file
that is missing is damage, and said: devices refuse for ever what begins again at version 1, or is signed by other keys.
What is released is `repository.py`'s, which keys there are `key_changes.py`'s.
"""

import base64
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from tuf.api.exceptions import LengthOrHashMismatchError, UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
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
from fieldedge.system.plain_files import holds, read_own
from fieldedge.transfer.trust import MAX_TARGET_BYTES, max_metadata_bytes
from fieldedge.transfer.usb import ACKNOWLEDGEMENTS, acknowledgement_path
from fieldloop.core.begun import Mark
from fieldloop.release.keys import KeyRing, Secrets
from fieldloop.release.offers import role_paths

KeySet = tuple[Sequence[Key], int]  # keys, and how many of them must sign
_Payload = TypeVar("_Payload", Root, Targets, Snapshot, Timestamp)

ROLES = ("root", "targets", "snapshot", "timestamp")
OFFLINE_ROLES = ("root", "targets")
LIFETIME_DAYS = {"root": 365, "targets": 365, "snapshot": 7, "timestamp": 1}
DELEGATED_LIFETIME_DAYS = 90
STICK_LIFETIME_DAYS = 30  # a stick is carried about, and nobody signs anew what is on it
LOCK_TIMEOUT_S = 60.0
BEGINNING_NAME = ".beginning"
JOURNAL_NAME = ".change-of-keys"
MAX_JOURNAL_BYTES = 20_000_000
MAX_VERSION_DIGITS = 9
_PUBLISHED = re.compile(r"timestamp of version ([0-9]{1,9})\b")
_DATED = re.compile(r"since version ([0-9]{1,9}); the newest snapshot is ([0-9]{1,9})\b")
ROOT_VERSION = "root_version"  # in the timestamp: nothing else says which root was the newest


@dataclass(frozen=True)
class _Noted:
    """What devices may have seen: versions of timestamp and snapshot, and since which timestamp only dates changed."""

    timestamp: int
    since: int
    snapshot: int


@dataclass
class SignedSet:
    """The metadata as devices see it now, and what of it is to be signed anew."""

    root: Metadata[Root]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]
    delegated: dict[str, Metadata[Targets]]
    changed: set[str] = field(default_factory=set)

    @property
    def roles(self) -> tuple[str, ...]:
        return (*ROLES, *self.delegated)

    def role_of(self, workload: str) -> Targets:
        """What is offered for a workload; nothing where it has no role yet."""
        found = self.delegated.get(workload)
        return Targets() if found is None or workload == ACKNOWLEDGEMENTS else found.signed

    def metadata_of(self, role: str) -> Metadata[Any]:
        top: dict[str, Metadata[Any]] = {
            "root": self.root,
            "targets": self.targets,
            "snapshot": self.snapshot,
            "timestamp": self.timestamp,
        }
        return top.get(role) or self.delegated[role]

    def keys_of(self, role: str) -> tuple[list[Key], int]:
        """The keys that devices accept for a role, and how many of them must sign."""
        if role in ROLES:
            own: Role = self.root.signed.roles[role]
            return [self.root.signed.keys[keyid] for keyid in own.keyids], own.threshold
        delegations = self.targets.signed.delegations
        found = None if delegations is None or delegations.roles is None else delegations.roles.get(role)
        if delegations is None or found is None:
            return [], 1
        return [delegations.keys[keyid] for keyid in found.keyids], found.threshold

    def target_files(self) -> Iterator[TargetFile]:
        """All that the metadata offers."""
        yield from self.targets.signed.targets.values()
        for role in self.delegated.values():
            yield from role.signed.targets.values()


def is_begun(root: Path) -> bool:
    """Whether there is a repository that devices can read; nothing is made."""
    return (root / "metadata" / "timestamp.json").is_file()


def is_bare(root: Path) -> bool:
    """Whether there is no repository, or one of which nothing was published and whose keys nobody has changed yet."""
    if not is_begun(root):
        return True
    has_files = any(path.is_file() for path in (root / "targets").rglob("*"))
    return not has_files and not (root / "metadata" / "2.root.json").exists()


class MetadataStore:
    """One repository's metadata, targets and keys. Opening an empty folder begins it, once: a mark beside it says so.

    Raises:
        ReleaseError: metadata or keys of an existing repository are missing or damaged. Nothing is changed then.
        StoreBusy: another process has held the repository for a minute.
    """

    def __init__(
        self, root: Path, now: Callable[[], datetime], secrets: Secrets | None = None, elsewhere: Sequence[Path] = ()
    ) -> None:
        self.root, self.now = root, now
        self.metadata_dir, self.targets_dir = root / "metadata", root / "targets"
        self.keys = KeyRing(root / "keys", secrets or Secrets(), self.damage, elsewhere)
        for directory in (self.metadata_dir, self.targets_dir):
            directory.mkdir(parents=True, exist_ok=True)
        with self.locked():
            if self._is_empty() and Mark.beside(self.root).is_set:
                raise self._loss()
            if self._is_beginning() or self._is_empty():
                self._begin()
            signed = self.load()
            for role in signed.roles:
                for key in signed.keys_of(role)[0]:
                    self.keys.check(role, key)
            self._delegate_former(signed)

    @contextmanager
    def locked(self) -> Iterator[None]:
        lock = FileLock(self.root / ".lock", timeout=LOCK_TIMEOUT_S)
        try:
            with lock:
                yield
        except Timeout as error:
            raise StoreBusy(f"{self.root} is in use by another process; try again when it is done") from error

    # Reading

    def load(self) -> SignedSet:
        """All of it, each file checked against who signed it. A change of keys that was cut off is carried out first.

        Raises:
            ReleaseError: a file is missing, damaged, older than what was published, or signed by nobody it should be.
        """
        self._carry_out()
        root = self._latest_root()
        timestamp = self._read("timestamp.json", Timestamp)
        self._check_signature(root, timestamp, "timestamp", "timestamp.json")
        # What a file says is followed once its signature was checked: so the file that was changed is the one named.
        snapshot = self._read_signed(root, "snapshot", timestamp.signed.snapshot_meta.version, Snapshot)
        meta = snapshot.signed.meta
        targets = self._read_signed(root, "targets", meta["targets.json"].version, Targets)
        names = [name.removesuffix(".json") for name in meta if name != "targets.json"]
        delegated = {name: self._read_signed(targets, name, meta[f"{name}.json"].version, Targets) for name in names}
        signed = SignedSet(root, targets, snapshot, timestamp, delegated)
        if signed.root.signed.version < int(timestamp.signed.unrecognized_fields.get(ROOT_VERSION, 1)):
            expected = timestamp.signed.unrecognized_fields[ROOT_VERSION]
            raise self.damage(self.metadata_dir / f"{expected}.root.json", "is missing")
        self._check_published(signed)
        return signed

    def _note_published(self, noted: _Noted) -> None:
        """Note beside the repository what devices may have seen: they take no timestamp before it."""
        Mark.beside(self.root).keep(
            f"The release repository {self.root.name}/ was begun; devices trust its keys and no others.\n"
            f"They were offered its timestamp of version {noted.timestamp}, and take none before it.\n"
            f"Nothing but dates was signed anew since version {noted.since}; the newest snapshot is {noted.snapshot}.\n"
        )

    def _check_published(self, signed: SignedSet) -> None:
        """See that nothing newer was published. A backup or a stick's copy that lacks but dates goes on, as newer.

        Raises:
            ReleaseError: devices may have seen a newer one; an older file was brought back. Or the note is unreadable.
        """
        version, snapshot = signed.timestamp.signed.version, signed.snapshot.signed.version
        noted = self._noted()
        if version < noted.since:
            raise self.damage(
                self.metadata_dir / "timestamp.json",
                f"is version {version}, and version {noted.timestamp} was published ({Mark.beside(self.root).path}): "
                f"devices go back to none before it, and each that has updated since holds version {noted.timestamp} "
                "as trust/timestamp.json",
            )
        if version > noted.timestamp:
            self._note_published(_Noted(version, version, snapshot))
        elif version < noted.timestamp:
            signed.timestamp.signed.version, signed.snapshot.signed.version = noted.timestamp, noted.snapshot
            signed.changed.update(("snapshot", "timestamp"))

    def _noted(self) -> _Noted:
        mark = Mark.beside(self.root)
        try:
            words = mark.words
        except OSError as error:
            raise ReleaseError(
                f"{mark.path} cannot be read ({error.strerror}), and it notes which version of {self.root} devices "
                "may have seen: bring it back from the newest backup. Only if the repository is the newest that "
                "devices were offered, remove what lies there: the version is noted anew"
            ) from error
        published, dated = _PUBLISHED.search(words), _DATED.search(words)
        newest = int(published[1]) if published else 0
        return _Noted(newest, int(dated[1]) if dated else newest, int(dated[2]) if dated else 0)

    def check_targets(self, signed: SignedSet, but: Collection[str] = ()) -> None:
        """Whether each file that is offered is there; of `but` the caller has the contents.

        Raises:
            ReleaseError: one is not.
        """
        for target in signed.target_files():
            path = self.target_file(target)
            if target.path not in but and not (path.is_file() and path.stat().st_size == target.length):
                raise self.damage(path, "is missing or cut off, and devices are offered it")

    def names(self, signed: SignedSet) -> list[str]:
        """The files that a device reads to come from any root to now; the one that makes them visible comes last."""
        roots = [f"{version}.root.json" for version in range(1, signed.root.signed.version + 1)]
        versions = {
            "targets": signed.targets.signed.version,
            "snapshot": signed.snapshot.signed.version,
            **{role: metadata.signed.version for role, metadata in signed.delegated.items()},
        }
        current = [f"{version}.{role}.json" for role, version in versions.items()]
        targets = [self.target_file(target).relative_to(self.root).as_posix() for target in signed.target_files()]
        return [*targets, *(f"metadata/{name}" for name in (*roots, *current, "timestamp.json"))]

    def _latest_root(self) -> Metadata[Root]:
        """The newest root; a device needs each one before it."""
        names = [path.name.removesuffix(".root.json") for path in self.metadata_dir.glob("[0-9]*.root.json")]
        versions = {int(name) for name in names if name.isdecimal() and len(name) < MAX_VERSION_DIGITS}
        for version in range(1, max(versions, default=1) + 1):
            root = self.read_version("root", version, Root)
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
            raise self.damage(self.metadata_dir / name, "is not as it was signed") from error

    def _read_signed(
        self, delegator: Metadata[Any], role: str, version: int, payload: type[_Payload]
    ) -> Metadata[_Payload]:
        metadata = self.read_version(role, version, payload)
        self._check_signature(delegator, metadata, role, f"{version}.{role}.json")
        return metadata

    def read_version(self, role: str, version: int, payload: type[_Payload]) -> Metadata[_Payload]:
        metadata = self._read(f"{version}.{role}.json", payload)
        if metadata.signed.version != version:
            raise self.damage(self.metadata_dir / f"{version}.{role}.json", f"is version {metadata.signed.version}")
        return metadata

    def _read(self, name: str, payload: type[_Payload]) -> Metadata[_Payload]:
        path = self.metadata_dir / name
        try:
            metadata: Metadata[_Payload] = Metadata.from_bytes(self.read_file(path))
        except DeserializationError as error:
            raise self.damage(path, f"cannot be read: {error}") from error
        if not isinstance(metadata.signed, payload):
            raise self.damage(path, f"holds {metadata.signed.type} metadata; expected {payload.type}")
        return metadata

    def read_file(self, path: Path) -> bytes:
        try:
            return read_own(path, MAX_TARGET_BYTES)
        except FileNotFoundError as error:
            raise self.damage(path, "is missing") from error
        except OSError as error:
            raise self.damage(path, f"cannot be read: {error}") from error

    def damage(self, path: Path, found: str) -> ReleaseError:
        """What is wrong with which file, and how it is mended."""
        return ReleaseError(
            f"{path} {found}: the release repository {self.root} is damaged, and nothing in it was changed. Restore "
            "the newest backup of the file (a copy of the gateway's folder or the folder release/ of the newest stick "
            "has metadata and targets; keys are in a backup alone). Begun anew it would be refused by every device: "
            f"remove the whole folder and {Mark.beside(self.root).path} only if no device was ever provisioned from "
            "it."
        )

    # Signing

    def renew(self, signed: SignedSet, is_asking: bool = False) -> None:
        """Sign anew what changed or has lived half its lifetime, and write it in the order that is safe to cut.

        What only offline keys sign is left as it is where they are not at hand and it did not change, unless a person
        `is_asking` for it. Versions that a
        crash left behind are referred to by no timestamp, so they are written over.

        Raises:
            ConfigError: a passphrase is not known.
            ReleaseError: a key is missing, a passphrase fails or too few can sign. Nothing is written then.
        """
        if is_asking:
            signed.changed |= {role for role in OFFLINE_ROLES if self._is_old(signed, role)}
        self.write(self.drafted(signed))

    def drafted(
        self, signed: SignedSet, lifetime_days: float | None = None, also: Mapping[str, KeySet] | None = None
    ) -> dict[str, bytes]:
        """The files that `renew` writes, in their order.

        Args:
            lifetime_days: of the snapshot and the timestamp, which are signed anew then, for a copy that stands alone.
            also: further keys that sign a role, where a device may still trust these.
        """
        files: dict[str, bytes] = {}
        meta, stale = signed.snapshot.signed.meta, {role for role in signed.roles if self._is_due(signed, role)}
        stale |= signed.changed | ({"snapshot", "timestamp"} if lifetime_days else set())

        def sign(role: str, days: float | None = None) -> MetaFile:
            asked = [signed.keys_of(role), *((also[role],) if also and role in also else ())]
            _, reference = self._sign(files, signed.metadata_of(role), role, asked, days)
            return reference

        if "root" in stale:
            sign("root")
        for role in (*signed.delegated, "targets"):
            if role in stale:
                meta[f"{role}.json"] = sign(role)
                stale.add("snapshot")
        if "snapshot" in stale:
            signed.timestamp.signed.snapshot_meta = sign("snapshot", lifetime_days)
        if stale & {"root", "snapshot", "timestamp"}:
            if also is None:  # else the newest root is shown after this
                signed.timestamp.signed.unrecognized_fields[ROOT_VERSION] = signed.root.signed.version
            sign("timestamp", lifetime_days)
        signed.changed.clear()
        return files

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write signed files of metadata in this order."""
        is_dates = all(name.endswith(("snapshot.json", "timestamp.json")) for name in files)
        for name, content in files.items():
            self._write(name, content, is_dates)

    def _write(self, name: str, content: bytes, is_dates: bool) -> None:
        write_durably(self.metadata_dir / name, content)
        if name == "timestamp.json":
            said = json.loads(content)["signed"]
            version, snapshot = int(said["version"]), int(said["meta"]["snapshot.json"]["version"])
            self._note_published(_Noted(version, self._noted().since if is_dates else version, snapshot))

    def write_at_once(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Write files of which devices see more than one: once this has begun, it is carried out whatever happens."""
        content = json.dumps([[name, base64.b64encode(data).decode()] for name, data in files]).encode()
        write_durably(self.root / JOURNAL_NAME, content)
        self._carry_out()

    def _carry_out(self) -> None:
        """Write what a change of keys was to write, if one was cut off."""
        path = self.root / JOURNAL_NAME
        try:
            steps = json.loads(read_own(path, MAX_JOURNAL_BYTES))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise self.damage(path, f"cannot be read: {error}") from error
        for name, encoded in steps:
            self._write(str(name), base64.b64decode(encoded), is_dates=False)
        path.unlink()
        fsync_directory(self.root)

    def due_at(self, signed: SignedSet) -> datetime:
        """When the first of what is signed online has lived half its lifetime."""
        online = [role for role in signed.roles if role not in OFFLINE_ROLES]
        due: datetime = min(signed.metadata_of(role).signed.expires - lifetime(role) / 2 for role in online)
        return due

    def is_signable(self, signed: SignedSet, role: str) -> bool:
        """Whether a role can be signed without anybody being asked."""
        keys, threshold = signed.keys_of(role)
        return sum(self.keys.is_at_hand(role, key) for key in keys) >= threshold

    def _is_due(self, signed: SignedSet, role: str) -> bool:
        metadata = signed.metadata_of(role)
        if not metadata.signatures:
            return True
        return self._is_old(signed, role) and (role not in OFFLINE_ROLES or self.is_signable(signed, role))

    def _is_old(self, signed: SignedSet, role: str) -> bool:
        return bool(signed.metadata_of(role).signed.expires - self.now() < lifetime(role) / 2)

    def _sign(
        self, files: dict[str, bytes], metadata: Metadata[Any], role: str, asked: Sequence[KeySet], days: float | None
    ) -> tuple[str, MetaFile]:
        """Draft the next version of a role, or the first if it was never signed; its name, and what refers to it."""
        payload: Signed = metadata.signed
        if metadata.signatures:
            payload.version += 1
        payload.expires = self.now().replace(microsecond=0) + (lifetime(role) if days is None else timedelta(days=days))
        self.sign(metadata, role, asked)
        content: bytes = metadata.to_bytes()
        if len(content) > max_metadata_bytes(role):
            raise ReleaseError(
                f"the metadata of {role} would have {len(content)} bytes, and devices take {max_metadata_bytes(role)}: "
                "offer fewer files in it. Nothing was published"
            )
        name = "timestamp.json" if role == "timestamp" else f"{payload.version}.{role}.json"
        files[name] = content
        return name, MetaFile.from_data(payload.version, content, ["sha256"])

    def sign(self, metadata: Metadata[Any], role: str, asked: Sequence[KeySet]) -> None:
        """Sign with so many of these keys; where several sets are asked for (a root: the former and the new), of each.

        Raises:
            ReleaseError: fewer can sign; the message says which could not, and why.
        """
        metadata.signatures.clear()
        every: dict[str, Key] = {key.keyid: key for keys, _ in asked for key in keys}
        shared = [one for one in every if all(any(key.keyid == one for key in keys) for keys, _ in asked)]
        order = [*shared, *(one for one in every if one not in shared)]
        failed: dict[str, ReleaseError | ConfigError] = {}
        for keyid in order:
            lacking = [keys for keys, count in asked if _made(metadata, keys) < count]
            if not any(key.keyid == keyid for keys in lacking for key in keys):
                continue
            try:
                metadata.sign(self.keys.signer(role, every[keyid]), append=True)
                every[keyid].verify_signature(metadata.signatures[keyid], metadata.signed_bytes)
            except (ReleaseError, ConfigError) as error:
                metadata.signatures.pop(keyid, None)
                failed[keyid] = error
            except Exception as error:  # noqa: BLE001 - a token or a key service fails in its own ways
                metadata.signatures.pop(keyid, None)
                failed[keyid] = ReleaseError(f"the key {keyid[:16]} of {role} does not sign: {error}")
        for keys, count in asked:
            if (made := _made(metadata, keys)) < count:
                reasons = [error for keyid, error in failed.items() if any(key.keyid == keyid for key in keys)]
                if len(keys) == 1 and reasons:
                    raise reasons[0]
                raise ReleaseError(
                    f"{role} needs {count} signatures of its {len(keys)} keys, and {made} could be made; nothing was "
                    f"written: {'; '.join(str(error) for error in reasons)}"
                )

    # Roles

    def delegate(self, signed: SignedSet, name: str, paths: list[str]) -> None:
        """Give a role a key of its own, which devices accept for these paths alone."""
        key = self.keys.first(name)
        targets = signed.targets.signed
        delegations = targets.delegations or Delegations({}, {})
        roles = {**(delegations.roles or {}), name: DelegatedRole(name, [key.keyid], 1, terminating=True, paths=paths)}
        targets.delegations = Delegations({**delegations.keys, key.keyid: key}, roles)
        signed.delegated[name] = Metadata(Targets())
        signed.changed.add("targets")

    def acknowledgements_role(self, signed: SignedSet) -> Targets:
        """The role that says which batches are held; it is delegated before the first."""
        if ACKNOWLEDGEMENTS not in signed.delegated:
            self.delegate(signed, ACKNOWLEDGEMENTS, [acknowledgement_path("*")])
        return signed.delegated[ACKNOWLEDGEMENTS].signed

    def workload_role(self, signed: SignedSet, workload: str) -> Targets:
        """The role of a workload; one is delegated before its first release."""
        if workload in (*ROLES, ACKNOWLEDGEMENTS):
            raise ReleaseError(f"a workload cannot be called {workload}: that is the name of a role of the metadata")
        if workload not in signed.delegated:
            self.delegate(signed, workload, role_paths(workload))
        return signed.delegated[workload].signed

    def _delegate_former(self, signed: SignedSet) -> None:
        """Move what a former version signed with the key of all targets to a role of its workload's own.

        Its files stay where they are, and devices of before find them as they did.
        """
        former = list(signed.targets.signed.targets.values())
        if not former:
            return
        for target in former:
            self.workload_role(signed, target.path.partition("/")[0]).targets[target.path] = target
        signed.targets.signed.targets.clear()
        self.renew(signed)

    def _is_empty(self) -> bool:
        """Whether nothing was ever made here."""
        folders = (self.keys.folder, self.metadata_dir, self.targets_dir)
        return not any(path.is_file() for folder in folders for path in folder.rglob("*"))

    def _loss(self) -> ReleaseError:
        """What is gone, and how it is brought back."""
        return ReleaseError(
            f"the release repository {self.root} is gone, keys and all, and it was begun once "
            f"({Mark.beside(self.root).path}); none is begun in its place: every device would refuse it. Restore "
            f"{self.root} from the newest backup (metadata and targets are in a copy of the gateway's folder or on "
            "the newest stick too; keys are in a backup alone). If there is none, or no device was ever provisioned "
            f"from it, begin anew on purpose: remove {Mark.beside(self.root).path}, and provision every device again"
        )

    def _is_beginning(self) -> bool:
        """Whether a beginning was cut off here before devices could see anything."""
        return (self.root / BEGINNING_NAME).exists()

    def _begin(self) -> None:
        """Make a repository of an empty folder, or go on with that; the mark stands until all of it is there."""
        mark = self.root / BEGINNING_NAME
        if not (self.metadata_dir / "timestamp.json").exists():
            self._check_beginning()
            write_durably(mark, b"This repository is being made. Opening it goes on with that.\n")
            self._create()
        mark.unlink()
        fsync_directory(self.root)

    def _check_beginning(self) -> None:
        """Later versions say that the repository lived already, whatever the mark says.

        Raises:
            ReleaseError: it did.
        """
        later = [path for path in self.metadata_dir.iterdir() if not path.name.startswith(("1.", "."))]
        later += [path for path in self.targets_dir.rglob("*") if path.is_file()]
        if later:
            raise self.damage(self.metadata_dir / "timestamp.json", f"is missing, and {min(later)} is there")

    def _create(self) -> None:
        """Make the keys and the first version of every role; goes on where an earlier attempt was cut off."""
        files: dict[str, bytes] = {}
        if not (self.metadata_dir / "1.root.json").exists():
            keys = {role: self.keys.first(role) for role in ROLES}
            root = Root(
                keys={key.keyid: key for key in keys.values()},
                roles={role: Role([key.keyid], 1) for role, key in keys.items()},
            )
            begun = SignedSet(
                Metadata(root), Metadata(Targets()), Metadata(Snapshot()), Metadata(Timestamp()), delegated={}
            )
        else:
            begun = SignedSet(
                self._latest_root(), Metadata(Targets()), Metadata(Snapshot()), Metadata(Timestamp()), delegated={}
            )
        files |= self.drafted(begun)
        self.write(files)

    def check_content(self, target: TargetFile, content: bytes) -> None:
        try:
            target.verify_length_and_hashes(content)
        except LengthOrHashMismatchError as error:
            raise self.damage(self.target_file(target), f"is not what was signed: {error}") from error

    def store_target(self, target: TargetFile, content: bytes) -> None:
        path = self.target_file(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, content)

    def has(self, target: TargetFile, content: bytes) -> bool:
        return holds(self.target_file(target), content)

    def target_file(self, target: TargetFile) -> Path:
        folder, _, name = target.path.rpartition("/")
        return self.targets_dir / folder / f"{target.hashes['sha256']}.{name}"


def lifetime(role: str) -> timedelta:
    """How long a version of a role's metadata stands."""
    return timedelta(days=LIFETIME_DAYS.get(role, DELEGATED_LIFETIME_DAYS))


def _made(metadata: Metadata[Any], keys: Sequence[Key]) -> int:
    """How many of these keys have signed."""
    return sum(key.keyid in metadata.signatures for key in keys)
