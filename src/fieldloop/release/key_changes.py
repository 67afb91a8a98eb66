"""Keys that come and go: who may sign what, changed so that every device follows, however long it was off.

A change of a root is signed by the keys of the former root and of the new one, so that a device walks from any root to
today. Where keys of the timestamp, the snapshot or all targets change, what they signed is signed by the former and the
new key before the new root is shown, so that a device is served at every moment. A key that was stolen is revoked
together with those of timestamp and snapshot: a device that sees other keys for these forgets what it knew of their
versions, and so is out of reach of whoever had counted them up (TUF 5.3.11, recovery from fast-forward attacks).
Nothing is written before everything is signed; a key that was made for a change that fails is gone again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import Key, SSlibKey
from tuf.api.metadata import Root

from fieldedge.system.errors import ConfigError, ReleaseError
from fieldedge.system.keys import MAX_KEY_BYTES
from fieldedge.system.plain_files import read_own
from fieldedge.transfer.usb import ACKNOWLEDGEMENTS
from fieldloop.release.keys import Kept
from fieldloop.release.metadata_store import OFFLINE_ROLES, ROLES, MetadataStore, SignedSet, lifetime

DEPLOYMENT_ROOT_KEYS, DEPLOYMENT_THRESHOLD = 3, 2


@dataclass(frozen=True)
class RoleStatus:
    """One role: until when its metadata stands, how many of its keys must sign, and where each is."""

    role: str
    version: int
    expires: datetime
    is_due: bool
    threshold: int
    keys: Mapping[str, Kept]


@dataclass(frozen=True)
class KeysStatus:
    """All roles, the files in `keys/` that sign nothing any more, and what a person should do."""

    roles: tuple[RoleStatus, ...]
    unused: tuple[Path, ...]
    advice: tuple[str, ...]


class KeyChanges:
    """The keys of the repository that a store holds.

    Each change raises:
        ConfigError: a passphrase is not known.
        ReleaseError: a key is missing, a passphrase fails, or fewer can sign than must. Nothing is changed then.
        StoreBusy: another process is publishing.
    """

    def __init__(self, store: MetadataStore) -> None:
        self._store = store

    def status(self) -> KeysStatus:
        """What there is; nothing is decrypted or written."""
        with self._store.locked():
            signed = self._store.load()
            roles = tuple(self._role_status(signed, role) for role in signed.roles)
            trusted = [(role, key) for role in signed.roles for key in signed.keys_of(role)[0]]
            unused = tuple(self._store.keys.unused(trusted))
        return KeysStatus(roles, unused, tuple(_advice(roles, unused, self._store.now())))

    def init(
        self, offline: Sequence[Path] = (), workloads: Sequence[str] = (), count: int = 3, threshold: int = 2
    ) -> list[str]:
        """Bring the keys to what a deployment should have; what was done, in words. Repeatable.

        Keys of root and targets come onto the offline media, in turns; those that stay are encrypted where a passphrase
        is configured; every workload gets a role.

        Args:
            offline: folders on media that are put away afterwards; where none is named, root and targets stay as is.
            count: of root keys.
            threshold: how many of them must sign.
        """
        if offline:
            check_media(offline, count, threshold)
        done: list[str] = []
        with self._store.locked():
            signed = self._store.load()
            for workload in workloads:
                if workload not in signed.delegated:
                    self._store.workload_role(signed, workload)
                    done.append(f"{workload} has a role and a key of its own")
            if ACKNOWLEDGEMENTS not in signed.delegated:
                self._store.acknowledgements_role(signed)
                done.append("acknowledgements have a role and a key of their own")
            self._store.renew(signed)
        with self._store.locked():
            signed = self._store.load()
            done += [
                f"the key of {role} is encrypted now"
                for role in signed.roles
                for key in signed.keys_of(role)[0]
                if self._store.keys.encrypt(role, key)
            ]
        if offline and not self._is_offline():
            self._to_offline(offline, count, threshold)
            done.append(f"root is signed by {threshold} of {count} keys, root and targets by keys on the offline media")
        return done

    def rotate(self, role: str, uri: str = "", public_key: Path | None = None, folder: Path | None = None) -> list[str]:
        """Give a role another key, or all of a root's others; the ids of the new ones.

        Args:
            uri: a key on a token or in a key service instead of a new file.
            public_key: its public half, PEM; a token says it itself.
            folder: the medium for new offline keys, where they are not to lie beside the former ones.
        """
        with self._store.locked():
            signed = self._store.load()
            self._check_role(signed, role)
            former, _ = signed.keys_of(role)
            new = [self._adopted(role, uri, public_key)] if uri else self._made(role, former, folder)
            if uri and len(former) != 1:
                raise ReleaseError(f"{role} has {len(former)} keys, and one is named to take their place")
            self._apply(signed, {role: _replaced(former, former, new)}, [(role, key) for key in new])
            return [key.keyid for key in new]

    def revoke(self, keyid: str, folder: Path | None = None) -> list[str]:
        """Trust a key no more, and a new one in its place; the roles that have new keys.

        Of a key that is online the timestamp and the snapshot get new keys with it, whatever it signed.
        """
        with self._store.locked():
            signed = self._store.load()
            gone, roles = self._found(signed, keyid)
            if not set(roles) & {"root"}:
                roles = [*roles, *(role for role in ("snapshot", "timestamp") if role not in roles)]
            new: dict[str, list[Key]] = {}
            made: list[tuple[str, Key]] = []
            try:
                for role in roles:
                    former, _ = signed.keys_of(role)
                    leaving = [key for key in former if key.keyid == gone] or former
                    fresh = self._made(role, leaving, folder)
                    made += [(role, key) for key in fresh]
                    new[role] = _replaced(former, leaving, fresh)
            except BaseException:
                self._forget(made)
                raise
            self._apply(signed, new, made)
            return roles

    def newest_root(self) -> tuple[int, bytes]:
        """The version and the content of the newest root."""
        with self._store.locked():
            version = self._store.load().root.signed.version
            return version, self._store.read_file(self._store.metadata_dir / f"{version}.root.json")

    def _to_offline(self, folders: Sequence[Path], count: int, threshold: int) -> None:
        with self._store.locked():
            signed = self._store.load()
            former = {role: signed.keys_of(role)[0] for role in OFFLINE_ROLES}
            made: list[tuple[str, Key]] = []
            try:
                for number in range(count):
                    made.append(("root", self._store.keys.create("root", folders[number % len(folders)])))
                made.append(("targets", self._store.keys.create("targets", folders[0])))
            except BaseException:
                self._forget(made)
                raise
            new = {role: [key for name, key in made if name == role] for role in OFFLINE_ROLES}
            is_fresh = signed.root.signed.version == 1 and not any(signed.target_files())
            self._apply(signed, new, made, threshold)
        if is_fresh:  # nobody was given the root that these signed
            for role, keys in former.items():
                for key in keys:
                    self._store.keys.forget(role, key)

    def _is_offline(self) -> bool:
        with self._store.locked():
            signed = self._store.load()
            return all(
                self._store.keys.kept(role, key).is_offline for role in OFFLINE_ROLES for key in signed.keys_of(role)[0]
            )

    def _apply(
        self,
        signed: SignedSet,
        new: Mapping[str, Sequence[Key]],
        made: Sequence[tuple[str, Key]],
        threshold: int | None = None,
    ) -> None:
        """Sign, and then write, what makes these the keys of these roles; where signing fails, what was made goes."""
        try:
            steps = self._signed_change(signed, new, threshold)
        except BaseException:
            self._forget(made)
            raise
        self._store.write_at_once(steps)

    def _signed_change(
        self, signed: SignedSet, new: Mapping[str, Sequence[Key]], threshold: int | None
    ) -> list[tuple[str, bytes]]:
        before = {role: signed.keys_of(role) for role in signed.roles}
        for role, keys in new.items():
            if role not in ROLES:
                self._redelegate(signed, role, keys)
        top = {role: keys for role, keys in new.items() if role in ROLES}
        if not top:
            return list(self._store.drafted(signed).items())
        _set_keys(signed.root.signed, top, threshold)
        signed.root.signed.version += 1
        signed.root.signed.expires = self._store.now().replace(microsecond=0) + lifetime("root")
        self._store.sign(signed.root, "root", [before["root"], signed.keys_of("root")])
        root = (f"{signed.root.signed.version}.root.json", signed.root.to_bytes())
        signed.changed |= {role for role in top if role != "root"} | {"timestamp"}
        # What is valid under both roots, then the new root, then what names it: a device is served at each moment.
        both = {
            role: before[role]
            for role in top
            if role != "root" and all(self._store.keys.is_at_hand(role, key) for key in before[role][0])
        }
        steps = list(self._store.drafted(signed, also=both).items())
        signed.changed.add("timestamp")
        return [*steps, root, *self._store.drafted(signed).items()]

    def _redelegate(self, signed: SignedSet, role: str, keys: Sequence[Key]) -> None:
        delegations = signed.targets.signed.delegations
        if delegations is None or delegations.roles is None or role not in delegations.roles:
            raise ReleaseError(f"there is no role {role}")
        own = delegations.roles[role]
        own.keyids = [key.keyid for key in keys]
        delegations.keys.update({key.keyid: key for key in keys})
        used = {keyid for other in delegations.roles.values() for keyid in other.keyids}
        delegations.keys = {keyid: key for keyid, key in delegations.keys.items() if keyid in used}
        signed.changed |= {"targets", role}

    def _made(self, role: str, former: Sequence[Key], folder: Path | None) -> list[Key]:
        """So many new keys, each where the one that it replaces is."""
        made: list[Key] = []
        for key in former:
            kept = self._store.keys.kept(role, key)
            place = folder or (Path(kept.place).parent if kept.is_offline else None)
            try:
                made.append(self._store.keys.create(role, place))
            except OSError as error:
                self._forget([(role, one) for one in made])
                raise ReleaseError(
                    f"a key of {role} cannot be made in {place}: {error}. Plug the medium in, or name another folder"
                ) from error
        return made

    def _adopted(self, role: str, uri: str, public_key: Path | None) -> Key:
        """A key that lives on a token or in a key service, once it has shown that it signs."""
        if public_key is not None:
            try:
                key = SSlibKey.from_crypto(load_pem_public_key(read_own(public_key, MAX_KEY_BYTES)))
            except (OSError, ValueError) as error:
                raise ConfigError(f"{public_key} is no public key in PEM: {error}") from error
        elif uri.startswith("hsm:"):
            key = self._store.keys.token_key(uri)
        else:
            raise ConfigError(f"of {uri} the public key is needed too: --public-key FILE.pem")
        if role == ACKNOWLEDGEMENTS and key.keytype != "ed25519":
            raise ReleaseError(f"devices read acknowledgements signed with ed25519 alone, and {uri} is {key.keytype}")
        self._store.keys.note(key.keyid, uri)
        probe = b"fieldloop"
        try:
            key.verify_signature(self._store.keys.signer(role, key).sign(probe), probe)
        except Exception as error:
            self._store.keys.unnote(key.keyid)
            raise ReleaseError(f"the key {uri} does not sign for {role}: {error}. Nothing was changed") from error
        return key

    def _found(self, signed: SignedSet, keyid: str) -> tuple[str, list[str]]:
        found = {
            key.keyid: [role for role in signed.roles if any(one.keyid == key.keyid for one in signed.keys_of(role)[0])]
            for role in signed.roles
            for key in signed.keys_of(role)[0]
            if len(keyid) >= 4 and key.keyid.startswith(keyid)
        }
        if len(found) != 1:
            raise ReleaseError(
                f"{keyid!r} names {len(found) or 'none'} of the trusted keys; `fieldloop keys status` lists them"
            )
        return next(iter(found.items()))

    def _check_role(self, signed: SignedSet, role: str) -> None:
        if role not in signed.roles:
            raise ReleaseError(f"there is no role {role!r}; expected one of {', '.join(signed.roles)}")

    def _forget(self, made: Sequence[tuple[str, Key]]) -> None:
        for role, key in made:
            self._store.keys.forget(role, key)

    def _role_status(self, signed: SignedSet, role: str) -> RoleStatus:
        keys, threshold = signed.keys_of(role)
        payload = signed.metadata_of(role).signed
        is_due = payload.expires - self._store.now() < lifetime(role) / 2
        kept = {key.keyid: self._store.keys.kept(role, key) for key in keys}
        return RoleStatus(role, payload.version, payload.expires, is_due, threshold, kept)


def check_media(folders: Sequence[Path], count: int, threshold: int) -> None:
    """See that so many root keys can be made on these media.

    Raises:
        ConfigError: they cannot.
    """
    if not 1 <= threshold <= count:
        raise ConfigError(f"{threshold} of {count} root keys cannot be asked for: expected 1 to {count}")
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder: plug the medium in, and name where it is mounted")


def _replaced(former: Sequence[Key], leaving: Sequence[Key], new: Sequence[Key]) -> list[Key]:
    gone = {key.keyid for key in leaving}
    return [*(key for key in former if key.keyid not in gone), *new]


def _set_keys(root: Root, new: Mapping[str, Sequence[Key]], threshold: int | None) -> None:
    for role, keys in new.items():
        root.roles[role].keyids = [key.keyid for key in keys]
        root.keys.update({key.keyid: key for key in keys})
    if threshold is not None:
        root.roles["root"].threshold = threshold
    used = {keyid for role in root.roles.values() for keyid in role.keyids}
    root.keys = {keyid: key for keyid, key in root.keys.items() if keyid in used}


def _advice(roles: Sequence[RoleStatus], unused: Sequence[Path], now: datetime) -> list[str]:
    """What a person should do, the most urgent first."""
    said: list[str] = []
    for one in roles:
        if one.expires <= now:
            said.append(f"{one.role} has expired: devices go on with what they have, and take nothing new")
        elif one.is_due:
            said.append(
                f"{one.role} expires on {one.expires:%Y-%m-%d}: run `fieldloop keys refresh` with its keys at hand"
            )
    root = next(one for one in roles if one.role == "root")
    if root.threshold == 1:
        said.append(
            f"root is {root.threshold} of {len(root.keys)}: whoever has that key can sign anything. That is enough for "
            "the sample world; for a deployment `fieldloop keys init --offline FOLDER` makes it 2 of 3"
        )
    bare = [one.role for one in roles if any(kept.is_here and not kept.is_encrypted for kept in one.keys.values())]
    if bare:
        said.append(
            f"the keys of {', '.join(bare)} are not encrypted: set FIELDLOOP_KEY_PASSPHRASE_FILE, and run "
            "`fieldloop keys init`"
        )
    said += [f"{path} signs nothing any more: destroy it" for path in unused]
    return said
