"""Where the private keys are, and how one is opened to sign.

A key is found by what the metadata trusts: as `<role>-<key id>.pem` in a folder that a person named, in `keys/`, or
where `keys/signers.json` says that it is; the files of before are `<role>.pem`. That file names places and no secrets:
a PEM file on a medium that is offline (`pem:/media/...`), or any URI that securesystemslib's signers read, of a
hardware token (`hsm:2?label=...`) or a key service (`awskms:`, `gcpkms:`, `azurekms:`). PEM files are readable by their
owner alone and encrypted where a passphrase is given. What is signed, and with how many keys, is `repository.py`'s.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlparse

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.exceptions import KeyMismatchError
from securesystemslib.signer import CryptoSigner, HSMSigner, Key, Signer, SSlibKey

from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import ConfigError, ReleaseError
from fieldedge.system.keys import MAX_KEY_BYTES
from fieldedge.system.plain_files import read_own
from fieldloop.core.settings import KeySettings, load_key_settings

SIGNERS_NAME = "signers.json"
PEM = "pem:"
_ENCRYPTED = b"ENCRYPTED"
_MAX_SIGNERS_BYTES = 1_000_000
_ID_DIGITS = 16

Damage = Callable[[Path, str], ReleaseError]
Ask = Callable[[str], str]


@dataclass(frozen=True)
class Secrets:
    """Passphrases and PINs: from the file that a setting names, else from a person, if one is there to `ask`."""

    settings: KeySettings = field(default_factory=load_key_settings)
    ask: Ask | None = None

    def passphrase(self, path: Path, *, is_offline: bool) -> bytes:
        """The passphrase of a PEM file.

        Raises:
            ConfigError: nobody can say it.
        """
        name = "offline_passphrase_file" if is_offline else "key_passphrase_file"
        return self._secret(name, f"passphrase of {path}").encode()

    def new_passphrase(self, *, is_offline: bool) -> bytes | None:
        """What a new key is encrypted with; None where the key may stay bare, which no offline key may."""
        if not is_offline:
            said = self._read("key_passphrase_file")
            return None if said is None else said.encode()
        what = "passphrase for the new offline keys"
        said = self._secret("offline_passphrase_file", what)
        if not self.is_known(is_offline=True) and self.ask is not None and self.ask(f"{what}, again") != said:
            raise ConfigError(f"the {what} was typed in two ways; type it again")
        if not said:
            raise ConfigError(f"the {what} is empty; keys that are put away are encrypted")
        return said.encode()

    def check_new(self, *, is_offline: bool) -> None:
        """See that new keys can be encrypted, as far as that is known before a person is asked.

        Raises:
            ConfigError: they cannot.
        """
        if self.is_known(is_offline=is_offline) or (is_offline and self.ask is None):
            self.new_passphrase(is_offline=is_offline)

    def pin(self, _what: str) -> str:
        """The PIN of a hardware token, for securesystemslib."""
        return self._secret("hsm_pin_file", "PIN of the token")

    def is_known(self, *, is_offline: bool) -> bool:
        """Whether a passphrase is at hand without asking anybody."""
        return self._file("offline_passphrase_file" if is_offline else "key_passphrase_file") is not None

    def _secret(self, name: str, what: str) -> str:
        found = self._read(name)
        if found is not None:
            return found
        if self.ask is None:
            raise ConfigError(
                f"the {what} is not known: write it into a file of mode 600 and set {_variable(name)} to it"
            )
        return self.ask(what)

    def _file(self, name: str) -> Path | None:
        found: Path | None = getattr(self.settings, name)
        return found

    def _read(self, name: str) -> str | None:
        path = self._file(name)
        if path is None:
            return None
        try:
            said = read_own(path, MAX_KEY_BYTES).decode().rstrip("\r\n")
            mode = path.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{_variable(name)}: {path} cannot be read: {error}") from error
        if os.name == "posix" and mode & 0o077:
            raise ConfigError(f"{_variable(name)}: {path} can be read by others; run chmod 600 on it")
        if not said:
            raise ConfigError(f"{_variable(name)}: {path} is empty; expected the passphrase or PIN in its first line")
        return said


@dataclass(frozen=True)
class Kept:
    """Where the private half of a key is. `is_here`: it can be opened now, if its secret is known."""

    place: str
    is_here: bool
    is_encrypted: bool
    is_offline: bool


class KeyRing:
    """The private keys of one repository.

    Args:
        folder: the repository's own, `keys/`.
        damage: the error for a file of it that is not as it was.
        elsewhere: folders in which a person says that offline keys are now.
    """

    def __init__(self, folder: Path, secrets: Secrets, damage: Damage, elsewhere: Sequence[Path] = ()) -> None:
        self.folder, self._secrets, self._damage, self._elsewhere = folder, secrets, damage, tuple(elsewhere)
        self._opened: dict[bytes, Any] = {}  # a passphrase costs a tenth of a second
        self._new_offline: bytes | None = None  # a person types it once for all keys that are made together

    def kept(self, role: str, key: Key) -> Kept:
        """Where the private half of a key that the metadata trusts is; nothing is decrypted."""
        uri = self._uri(role, key)
        if not uri.startswith(PEM):
            return Kept(uri, True, True, False)
        path = Path(uri.removeprefix(PEM))
        try:
            content = read_own(path, MAX_KEY_BYTES)
        except OSError:
            return Kept(str(path), False, False, self._is_offline(path))
        return Kept(str(path), True, _ENCRYPTED in content, self._is_offline(path))

    def is_at_hand(self, role: str, key: Key) -> bool:
        """Whether the key can sign without anybody being asked."""
        kept = self.kept(role, key)
        return kept.is_here and (not kept.is_encrypted or self._secrets.is_known(is_offline=kept.is_offline))

    def check(self, role: str, key: Key) -> None:
        """See that a key that belongs into `keys/` is there and is the one that devices trust; none is decrypted.

        Raises:
            ReleaseError: it is not.
        """
        path = Path(self._uri(role, key).removeprefix(PEM))
        if path.parent != self.folder:
            return
        if _ENCRYPTED not in self._content(path):
            self._open(path, key)

    def signer(self, role: str, key: Key) -> Signer:
        """The signer of a key that the metadata trusts.

        Raises:
            ConfigError: its passphrase is not known.
            ReleaseError: it is missing, damaged, readable by others, another one, or its passphrase is wrong.
        """
        uri = self._uri(role, key)
        if uri.startswith(PEM):
            return CryptoSigner(self._open(Path(uri.removeprefix(PEM)), key), _sslib(key))
        try:
            return Signer.from_priv_key_uri(uri, key, self._secrets.pin)
        except Exception as error:
            raise ReleaseError(f"the key {uri} of {role} cannot be used: {error}. Nothing was signed") from error

    def create(self, role: str, folder: Path | None = None, *, is_plain: bool = False) -> SSlibKey:
        """Make a key, durably: in `keys/`, or on an offline medium, where it is always encrypted.

        Args:
            is_plain: under the plain name `<role>.pem`, which is of before.

        Raises:
            ConfigError: an offline key has no passphrase.
            OSError: it cannot be written.
        """
        private = Ed25519PrivateKey.generate()
        key = SSlibKey.from_crypto(private.public_key())
        is_offline = folder is not None and folder.resolve() != self.folder.resolve()
        path = (folder or self.folder) / (f"{role}.pem" if is_plain else pem_name(role, key.keyid))
        if is_offline:
            self._new_offline = passphrase = self._new_offline or self._secrets.new_passphrase(is_offline=True)
        else:
            passphrase = self._secrets.new_passphrase(is_offline=False)
        content = _pem(private, passphrase)
        self.make_folder()
        write_durably(path, content, mode=0o600)
        self._opened[content] = private  # it signs at once, and nobody is asked again for what was just said
        if is_offline:
            self.note(key.keyid, PEM + str(path.resolve()))
        return key

    def first(self, role: str) -> SSlibKey:
        """The key of a role that is trusted nowhere yet; a beginning that was cut off may have made it already."""
        path = self.folder / f"{role}.pem"
        if not path.exists():
            return self.create(role, is_plain=True)
        return SSlibKey.from_crypto(self._private(path).public_key())

    def make_folder(self) -> None:
        """The folder of the keys, for its owner alone."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.folder.chmod(0o700)
        fsync_directory(self.folder.parent)

    def encrypt(self, role: str, key: Key) -> bool:
        """Encrypt a bare file of `keys/` in its place, in one step. False where there is nothing to do."""
        kept = self.kept(role, key)
        passphrase = self._secrets.new_passphrase(is_offline=False)
        if kept.is_encrypted or kept.is_offline or not kept.is_here or passphrase is None:
            return False
        path = Path(kept.place)
        write_durably(path, _pem(self._open(path, key), passphrase), mode=0o600)
        return True

    def note(self, keyid: str, uri: str) -> None:
        """Write down where a key is that is not in `keys/`."""
        self.make_folder()
        noted = {**self._noted(), keyid: uri}
        write_durably(self.folder / SIGNERS_NAME, json.dumps(noted, indent=1, sort_keys=True).encode() + b"\n", 0o600)

    def unnote(self, keyid: str) -> None:
        """Take back what `note` wrote."""
        noted = {known: uri for known, uri in self._noted().items() if known != keyid}
        write_durably(self.folder / SIGNERS_NAME, json.dumps(noted, indent=1, sort_keys=True).encode() + b"\n", 0o600)

    def token_key(self, uri: str) -> SSlibKey:
        """The public half of a key on a hardware token.

        Raises:
            ReleaseError: the token is not there, or has no such key.
        """
        found = urlparse(uri)
        label = dict(parse_qsl(found.query)).get("label")
        try:
            _, key = HSMSigner.import_(int(found.path or HSMSigner.SCHEME_KEYID), label, self._secrets.pin)
        except Exception as error:
            raise ReleaseError(
                f"the key {uri} cannot be read from its token: {error}. PYKCS11LIB names the token's PKCS#11 module; "
                "the extra is installed by `pip install securesystemslib[hsm]`"
            ) from error
        return key

    def forget(self, role: str, key: Key) -> None:
        """Delete the file of a key that was made and never trusted."""
        uri = self._uri(role, key)
        if uri.startswith(PEM):
            Path(uri.removeprefix(PEM)).unlink(missing_ok=True)
        if key.keyid in self._noted():
            self.unnote(key.keyid)

    def unused(self, trusted: Iterable[tuple[str, Key]]) -> list[Path]:
        """PEM files in `keys/` that sign nothing any more."""
        used = {self.kept(role, key).place for role, key in trusted}
        return sorted(path for path in self.folder.glob("*.pem") if str(path) not in used)

    def _uri(self, role: str, key: Key) -> str:
        name = pem_name(role, key.keyid)
        for folder in (*self._elsewhere, self.folder):
            if (folder / name).is_file():
                return f"{PEM}{folder / name}"
        return self._noted().get(key.keyid) or f"{PEM}{self.folder / f'{role}.pem'}"

    def _noted(self) -> dict[str, str]:
        path = self.folder / SIGNERS_NAME
        try:
            found = json.loads(read_own(path, _MAX_SIGNERS_BYTES))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise self._damage(path, f"cannot be read: {error}") from error
        if not isinstance(found, dict) or not all(isinstance(uri, str) for uri in found.values()):
            raise self._damage(path, "is no object of key ids and where they are")
        return found

    def _is_offline(self, path: Path) -> bool:
        return path.parent.resolve() != self.folder.resolve()

    def _content(self, path: Path) -> bytes:
        try:
            content, mode = read_own(path, MAX_KEY_BYTES), path.stat().st_mode
        except FileNotFoundError as error:
            if self._is_offline(path):
                raise ReleaseError(
                    f"the offline key {path} is not here: plug its medium in, or say where it is: --keys FOLDER"
                ) from error
            raise self._damage(path, "is missing") from error
        except OSError as error:
            raise self._damage(path, f"cannot be used: {error}") from error
        if os.name == "posix" and mode & 0o077 and not self._is_offline(path):  # most sticks have no modes
            raise ReleaseError(f"the signing key {path} can be read by others; run chmod 600 on it")
        return content

    def _open(self, path: Path, key: Key) -> Any:
        private = self._private(path)
        try:
            CryptoSigner(private, _sslib(key))
        except (KeyMismatchError, ValueError) as error:
            raise self._damage(path, "is another key than the one that devices trust") from error
        return private

    def _private(self, path: Path) -> Any:
        content = self._content(path)
        if content in self._opened:
            return self._opened[content]
        is_encrypted = _ENCRYPTED in content
        password = self._secrets.passphrase(path, is_offline=self._is_offline(path)) if is_encrypted else None
        try:
            private = load_pem_private_key(content, password=password)
        except (ValueError, TypeError) as error:
            if is_encrypted:
                raise ReleaseError(f"the passphrase does not open {path}, or the file is damaged: {error}") from error
            raise self._damage(path, f"cannot be used: {error}") from error
        self._opened[content] = private
        return private


def pem_name(role: str, keyid: str) -> str:
    """The file of a key."""
    return f"{role}-{keyid[:_ID_DIGITS]}.pem"


def _sslib(key: Key) -> SSlibKey:
    if not isinstance(key, SSlibKey):
        raise ReleaseError(f"the key {key.keyid[:_ID_DIGITS]} is of the unknown type {key.keytype}")
    return key


def _variable(name: str) -> str:
    return f"FIELDLOOP_{name.upper()}"


def _pem(private: Any, passphrase: bytes | None) -> bytes:
    how: KeySerializationEncryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    content: bytes = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    return content
