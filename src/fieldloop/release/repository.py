"""The signed repository that devices update from, made with The Update Framework (TUF).

`metadata/` and `targets/` are what a gateway or any static host serves; `keys/` is never served. Each workload has a
role and a key of its own, which signs that workload's releases and no others. One more key signs, in a role delegated
to it, which batches of a device are held: in metadata for devices that only a stick reaches, under the gateway's answer
for the others. It can say nothing else.
What a workload offers is `offers.py`'s, how metadata is read, signed and written `metadata_store.py`'s. What a bundle
holds is `bundle.py`'s work, and whether a device accepts it is the device's.
"""

import base64
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import TargetFile, Targets

from fieldedge.contract import Contract
from fieldedge.system.durable import write_durably
from fieldedge.system.errors import ConfigError, ReleaseError
from fieldedge.system.plain_files import NotPlainError, holds, read_own
from fieldedge.transfer.acknowledgements import statement
from fieldedge.transfer.cohort import Rollout
from fieldedge.transfer.trust import MAX_TARGET_BYTES
from fieldedge.transfer.usb import ACKNOWLEDGEMENTS, acknowledgement, acknowledgement_path, read_acknowledgement
from fieldedge.workloads import known_workload
from fieldloop.release.acknowledged import AcknowledgedBatches
from fieldloop.release.bundle import try_bundle
from fieldloop.release.keys import Secrets
from fieldloop.release.metadata_store import (
    STICK_LIFETIME_DAYS,
    MetadataStore,
    SignedSet,
)
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
    set_rollout,
    target_path,
    version_of,
    withdraw,
)

ACKNOWLEDGED_NAME = "acknowledged"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ReleaseRepository:
    """The TUF repository in one directory. Opening an empty one begins it, once: a mark beside it says so.

    Args:
        root: the directory.
        now: the clock, UTC; every expiry date comes from it.
        secrets: what opens encrypted keys; where left out, what the settings name.

    Raises:
        ReleaseError: metadata or keys of an existing repository are missing or damaged. Nothing is changed then.
        StoreBusy: another process has held the repository for a minute.
    """

    def __init__(self, root: Path, now: Callable[[], datetime] = _utc_now, secrets: Secrets | None = None) -> None:
        self._root = root
        self._store = MetadataStore(root, now, secrets)
        self._acknowledger: tuple[tuple[int, int], Key] | None = None
        self._fresh_until = datetime.min.replace(tzinfo=UTC)

    @property
    def metadata_dir(self) -> Path:
        return self._store.metadata_dir

    @property
    def targets_dir(self) -> Path:
        return self._store.targets_dir

    @property
    def acknowledged(self) -> AcknowledgedBatches:
        """The batches that this repository's key said are held."""
        return AcknowledgedBatches(self._root / ACKNOWLEDGED_NAME)

    def trusted_root(self) -> Path:
        """The newest root metadata: what a device is given when it is provisioned, and trusts from then on."""
        with self._store.locked():
            return self.metadata_dir / f"{self._store.load().root.signed.version}.root.json"

    def current(self, workload: str) -> Released | None:
        """What devices of this workload are offered now, or None before its first release."""
        return self.offers(workload).released

    def offers(self, workload: str) -> Offers:
        """All that devices of this workload are offered: for everyone, in rollout, and what was withdrawn."""
        with self._store.locked():
            signed = self._store.load()
            self._store.check_targets(signed)
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
        with self._store.locked():
            signed = self._store.load()
            self._store.check_targets(signed, but=tuple(target.path for target in files.values()))
            if release(self._store.workload_role(signed, workload), files):
                signed.changed.add(workload)
            self._store_all(files, contents)
            self._store.renew(signed)
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
        with self._store.locked():
            signed = self._store.load()
            self._store.check_targets(signed, but=tuple(target.path for target in targets.values()))
            if offer_candidate(self._store.workload_role(signed, workload), workload, targets, rollout):
                signed.changed.add(workload)
            self._store_all(targets, contents)
            self._store.renew(signed)
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
        with self._store.locked():
            signed = self._store.load()
            self._store.check_targets(signed)
            role = signed.role_of(workload)
            files = finished(role, workload)
            sources = {target.hashes["sha256"]: target for target in role.targets.values()}
            contents = {
                name: self._store.read_file(self._store.target_file(sources[target.hashes["sha256"]]))
                for name, target in files.items()
            }
            for name, target in files.items():
                self._store.check_content(target, contents[name])
            release(role, files)
            signed.changed.add(workload)
            self._store_all(files, contents)
            self._store.renew(signed)
            return self._offered(signed, workload)

    def withdraw(self, workload: str, version: str) -> Offers:
        """Say that devices must go back from a version, for good; as a candidate it is offered no more. Repeatable.

        Raises:
            ReleaseError: it was never offered, or none that devices could go back to was. Nothing is changed then.
            StoreBusy: another process is publishing.
        """
        with self._store.locked():
            signed = self._store.load()
            self._store.check_targets(signed)
            role = signed.role_of(workload)
            if withdraw(role, workload, version, self._former_roles(signed, workload)):
                signed.changed.add(workload)
            self._store.check_targets(signed)
            self._store.renew(signed)
            return offered(role, workload)

    def _former_roles(self, signed: SignedSet, workload: str) -> Iterator[Targets]:
        """What a workload's role said before, the newest first."""
        found = signed.delegated.get(workload)
        for version in range(0 if found is None else found.signed.version - 1, 0, -1):
            if (self.metadata_dir / f"{version}.{workload}.json").is_file():
                yield self._store.read_version(workload, version, Targets).signed

    def versions(self, workload: str) -> list[str]:
        """Every version that was ever offered, the newest first."""
        with self._store.locked():
            signed = self._store.load()
            roles = [signed.role_of(workload), *self._former_roles(signed, workload)]
        return list(dict.fromkeys(version_of(target) for role in roles for target in role.targets.values()))

    def problems(self, now: datetime) -> list[str]:
        """What is wrong with what devices are offered, each in a sentence; signatures are checked on the way.

        Raises:
            ReleaseError: the metadata itself is damaged.
        """
        found: list[str] = []
        with self._store.locked():
            signed = self._store.load()
            found += [f"{role} has expired" for role in signed.roles if signed.metadata_of(role).signed.expires <= now]
            for target in signed.target_files():
                try:
                    content = self._store.read_file(self._store.target_file(target))
                    self._store.check_content(target, content)
                    if target.path.endswith(".zip"):
                        try_bundle(content, _contract_of(target.path.partition("/")[0]))
                except ReleaseError as error:
                    found.append(f"{target.path}: {error}")
        return found

    def refresh(self) -> None:
        """Sign anew whatever has lived half its lifetime, so that devices keep accepting the repository.

        Raises:
            ReleaseError: the repository is damaged.
            StoreBusy: another process is publishing.
        """
        with self._store.locked():
            signed = self._store.load()
            self._store.check_targets(signed)
            self._store.renew(signed)

    def acknowledge(
        self, held: Mapping[str, Collection[str]], reports: Mapping[str, Collection[str]] | None = None
    ) -> None:
        """Sign that these batches and reports, by device, are held, beside those that were said to be before.

        A device believes this as it believes an answer of the gateway: the batches must be durable already.

        Raises:
            ReleaseError: the repository is damaged.
            StoreBusy: another process is publishing.
            StoreFailed: the disk does not let it be noted what was acknowledged.
        """
        for device_id, batch_ids in held.items():
            for sha256 in sorted(batch_ids):
                self.acknowledged.note(device_id, sha256)
        told = reports or {}
        both = {device_id: {*held.get(device_id, ()), *told.get(device_id, ())} for device_id in {*held, *told}}
        with self._store.locked():
            signed = self._store.load()
            role = self._store.acknowledgements_role(signed)
            for device_id, batch_ids in sorted(both.items()):
                known = self._acknowledged(role, device_id)
                if not known.issuperset(batch_ids):
                    content = acknowledgement(device_id, known.union(batch_ids))
                    target = TargetFile.from_data(acknowledgement_path(device_id), content, ["sha256"])
                    self._store.store_target(target, content)
                    role.targets[target.path] = target
                    signed.changed.add(ACKNOWLEDGEMENTS)
            self._store.renew(signed)

    def delegate_acknowledgements(self) -> None:
        """See that devices know the key that acknowledges their batches; a gateway needs it, and so does a stick.

        Raises:
            ReleaseError: the repository is damaged.
            StoreBusy: another process is publishing.
        """
        self.acknowledge({})

    def sign_acknowledgement(self, device_id: str, sha256: str, *, is_batch: bool = True) -> str:
        """The signature (base64) under which a device frees this batch, or report: it must be durable already.

        Raises:
            ReleaseError: the key of the acknowledgements is missing or damaged.
            StoreFailed: the disk does not let it be noted what was acknowledged.
        """
        if is_batch:
            self.acknowledged.note(device_id, sha256)
        signature = self._acknowledgement_signer().sign(statement(device_id, sha256)).signature
        return base64.b64encode(bytes.fromhex(signature)).decode()

    def _acknowledgement_signer(self) -> Signer:
        """The signer of the key that devices trust now; the metadata is read again where it changed."""
        try:
            stat = (self.metadata_dir / "timestamp.json").stat()
        except OSError as error:
            raise self._store.damage(self.metadata_dir / "timestamp.json", f"cannot be read: {error}") from error
        seen = (stat.st_ino, stat.st_mtime_ns)
        if self._acknowledger is None or self._acknowledger[0] != seen:
            with self._store.locked():
                keys, _ = self._store.load().keys_of(ACKNOWLEDGEMENTS)
            if not keys:
                raise ReleaseError("no key acknowledges batches yet: start the gateway anew")
            self._acknowledger = (seen, keys[0])
        return self._store.keys.signer(ACKNOWLEDGEMENTS, self._acknowledger[1])

    def refresh_if_due(self) -> None:
        """As `refresh`; where nothing is due yet, nothing is read."""
        if self._store.now() >= self._fresh_until:
            self.refresh()
            with self._store.locked():
                self._fresh_until = self._store.due_at(self._store.load())

    def copy_to(self, directory: Path) -> None:
        """Write onto a stick what a device needs to follow now; what is there and no longer needed goes.

        What expires soon is signed for the stick to stand a month, under versions of its own: what the repository
        offers after it is newer.

        Raises:
            OSError: the stick cannot be written, or folders are in files' way; all others are written then.
            ReleaseError: the repository is damaged.
            StoreBusy: another process is publishing.
        """
        with self._store.locked():
            signed = self._store.load()
            files = {}
            for target in signed.target_files():
                path = self._store.target_file(target)
                files[path.relative_to(self._root).as_posix()] = content = self._store.read_file(path)
                self._store.check_content(target, content)
            self._store.renew(signed)
            carried = self._store.drafted(signed, STICK_LIFETIME_DAYS)
            names = self._store.names(signed)
            signed.changed.update(("snapshot", "timestamp"))
            self._store.renew(signed)
            for name in names:
                if name not in files:
                    found = carried.get(name.removeprefix("metadata/"))
                    files[name] = self._store.read_file(self._root / name) if found is None else found
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

    def _change(self, workload: str, change: Callable[[Targets], bool]) -> Offers:
        with self._store.locked():
            signed = self._store.load()
            self._store.check_targets(signed)
            role = signed.role_of(workload)
            if change(role):
                signed.changed.add(workload)
            self._store.renew(signed)
            return offered(role, workload)

    def _offered(self, signed: SignedSet, workload: str) -> Released:
        released = offered(signed.role_of(workload), workload).released
        if released is None:
            raise ReleaseError(f"{workload} was published but is not offered: {self._root} is damaged")
        return released

    def _store_all(self, targets: Mapping[str, TargetFile], contents: Mapping[str, bytes]) -> None:
        """The files of these targets, durably, before anything that refers to them is signed."""
        for name, target in targets.items():
            if not self._store.has(target, contents[name]):
                self._store.store_target(target, contents[name])

    def _acknowledged(self, role: Targets, device_id: str) -> frozenset[str]:
        target = role.targets.get(acknowledgement_path(device_id))
        if target is None:
            return frozenset()
        content = self._store.read_file(self._store.target_file(target))
        self._store.check_content(target, content)
        return read_acknowledgement(content, device_id)


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
