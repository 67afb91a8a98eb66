"""The device's own Ed25519 key: made on the device, never leaves it.

What is signed is always the exact bytes that are sent. The gateway knows the public half, as 64 hex digits.
"""

import base64
import binascii
import os
from pathlib import Path

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fieldedge.system.durable import write_durably
from fieldedge.system.errors import ConfigError
from fieldedge.system.plain_files import NotPlainError, read_own

MAX_KEY_BYTES = 100_000


def load_or_create_key(path: Path) -> Ed25519PrivateKey:
    """The key at `path`; made there, readable by its owner alone, if there is none yet.

    Raises:
        ConfigError: the file is not an Ed25519 key.
    """
    if path.exists():
        return load_key(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    key = Ed25519PrivateKey.generate()
    write_durably(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)
    return key


def load_key(path: Path) -> Ed25519PrivateKey:
    """The key at `path`.

    Raises:
        ConfigError: the file is missing or is not an Ed25519 key.
    """
    try:
        key = load_pem_private_key(read_own(path, MAX_KEY_BYTES), password=None)
    except FileNotFoundError:
        raise ConfigError(f"the device key {path} is missing; run fieldedge init again and register it") from None
    except NotPlainError as error:
        raise ConfigError(
            f"the device key {path} {error.strerror}: bring the key back, or move it away, run fieldedge init again "
            "and register the new one"
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as error:
        raise ConfigError(f"the device key {path} is damaged: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"the device key {path} is a {type(key).__name__}; expected Ed25519")
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise ConfigError(
            f"the device key {path} can be read by others; run chmod 600 on it, or where that changes nothing, as on "
            "exFAT and FAT, put the device's directory on a file system that knows rights, such as ext4"
        )
    return key


def public_key_hex(key: Ed25519PrivateKey) -> str:
    """The public half as 64 hex digits."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def sign(key: Ed25519PrivateKey, body: bytes) -> str:
    """The signature over `body`, base64."""
    return base64.b64encode(key.sign(body)).decode("ascii")


def is_signed_by(public_key: str, body: bytes, signature: str) -> bool:
    """Whether `signature` (base64) over `body` was made with the private half of `public_key` (hex)."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(base64.b64decode(signature, validate=True), body)
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True
