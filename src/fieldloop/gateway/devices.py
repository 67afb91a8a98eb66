"""The devices that may send: one JSON file of device id and Ed25519 public key, as hex.

The file is replaced in one step, so that a reader always finds a whole registry, and read again when it is another one.
A key, once registered, is never replaced here: who may speak for a device is a person's decision. A registry that was
made and is gone is damage, and no empty one (`core/begun.py`).
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from filelock import FileLock

from fieldedge.contract.update_report import PREFIX as REPORT_PREFIX
from fieldedge.contract.update_report import signed_part
from fieldedge.system.durable import write_durably
from fieldedge.system.errors import ConfigError
from fieldedge.system.keys import is_signed_by
from fieldedge.system.plain_files import open_own
from fieldedge.transfer.enrolment import PREFIX as ENROLMENT_PREFIX
from fieldedge.transfer.opening import PREFIX as OPENING_PREFIX
from fieldloop.core.begun import check_not_lost, mark_made
from fieldloop.gateway.inbox import INGESTED_NAME, is_plain_name

LOCK_TIMEOUT_S = 60.0
# Encodings of the points of order 1, 2, 4 and 8, but for the sign: no private key is theirs, and forged signatures
# pass (RFC 8032, section 5.1.7; the list is libsodium's).
_SMALL_ORDER = frozenset(
    (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)


class DeviceRegistry:
    """The registry in one file; a file that was never made is an empty registry."""

    waits = False
    """Whether a question may wait for another machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[tuple[int, int, int], Mapping[str, str]] | None = None

    def public_keys(self) -> dict[str, str]:
        """Device id to public key in hex.

        Raises:
            ConfigError: the file is not a registry, or is lost.
        """
        return dict(self._keys())

    def key_of(self, device_id: str) -> str | None:
        """The public key of a device, in hex, or None where it is not registered.

        Raises:
            ConfigError: the file is not a registry, or is lost.
        """
        return self._keys().get(device_id)

    def why_unknown(self, device_id: str) -> str:
        """Why `key_of` knows no key of this device, for who is refused."""
        return f"there is no registered device {device_id!r}: register it"

    def _keys(self) -> Mapping[str, str]:
        """The registry as it is now; the file is parsed only where it is another one than before."""
        try:
            with open_own(self.path) as file:
                found = os.fstat(file.fileno())
                version = (found.st_mtime_ns, found.st_size, found.st_ino)
                if self._read is not None and self._read[0] == version:
                    return self._read[1]
                content = file.read()
        except FileNotFoundError:
            check_not_lost(self.path, "the device registry")
            return {}
        except OSError as error:
            raise ConfigError(
                f"the device registry {self.path} cannot be read: {error}. Restore it, or set FIELDLOOP_HOME to a "
                "folder of this user"
            ) from error
        keys = self._parsed(content)
        self._read = (version, keys)
        return keys

    def _parsed(self, content: bytes) -> Mapping[str, str]:
        try:
            keys = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"the device registry {self.path} is not JSON: {error}. Restore it.") from error
        if not isinstance(keys, dict):
            raise ConfigError(f"the device registry {self.path} is not an object of device id and key")
        return {str(device_id): str(key) for device_id, key in keys.items()}

    def check(self, public_keys: Mapping[str, str]) -> dict[str, str]:
        """All devices and their keys as they would be with these; nothing is written.

        Raises:
            ConfigError: an id is no plain name, a key is not one that a single device can hold, a device is registered
                with another key, or another device with this one.
        """
        known = self.public_keys()
        for device_id, key in public_keys.items():
            _check_key(device_id, key)
            if known.get(device_id, key) != key:
                raise ConfigError(
                    f"{device_id} is registered in {self.path} with another key. If the device was "
                    "really made anew, remove its line there first."
                )
            holder = next((other for other, theirs in known.items() if theirs.lower() == key.lower()), device_id)
            if holder != device_id:
                raise ConfigError(
                    f"the public key of {device_id} is that of {holder} in {self.path}, and what one signs the other "
                    f"would have sent. Make {device_id} anew with `fieldedge init`, and register the key that it prints"
                )
            known[device_id] = key
        return known

    def register(self, public_keys: Mapping[str, str]) -> None:
        """Add devices; one that is registered with the same key already stays as it is.

        Raises:
            ConfigError: as `check` says. Nothing is added then.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S):
            known = self.check(public_keys)
            if known != self.public_keys():
                write_durably(self.path, json.dumps(known, indent=1, sort_keys=True).encode() + b"\n")
            mark_made(self.path)

    def is_signed_by(self, device_id: str, body: bytes, signature: str) -> bool:
        """Whether a registered device of that id made `signature` (base64) over exactly this body."""
        return not body.startswith((ENROLMENT_PREFIX, OPENING_PREFIX, REPORT_PREFIX)) and self._is_signed(
            device_id, body, signature
        )

    def is_report_signed_by(self, device_id: str, report: bytes, signature: str) -> bool:
        """Whether a registered device of that id made `signature` (base64) over this report."""
        return self._is_signed(device_id, signed_part(report), signature)

    def is_opened_by(self, device_id: str, statement: bytes, signature: str) -> bool:
        """Whether a registered device of that id made `signature` (base64) over this opening of a batch."""
        return statement.startswith(OPENING_PREFIX) and self._is_signed(device_id, statement, signature)

    def _is_signed(self, device_id: str, signed: bytes, signature: str) -> bool:
        key = self.key_of(device_id)
        return key is not None and is_signed_by(key, signed, signature)


def _check_key(device_id: str, key: str) -> None:
    if not is_plain_name(device_id):
        raise ConfigError(
            f"the device id is {device_id!r}; expected up to 63 letters, digits, '-', '_' or '.', like dev-07, and not "
            f"{INGESTED_NAME!r}: make the device anew with such a name"
        )
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    except ValueError as error:
        raise ConfigError(f"the public key of {device_id} is {key!r}; expected 64 hex digits") from error
    point = bytearray.fromhex(key)
    point[31] &= 0x7F
    if point.hex() in _SMALL_ORDER:
        raise ConfigError(
            f"the public key of {device_id} is {key!r}, under which anybody can sign; expected the one that "
            "`fieldedge init` printed"
        )
