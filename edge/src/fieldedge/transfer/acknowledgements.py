"""What frees a batch that went over the air: a signed statement that the gateway holds it.

A statement names one batch of one device, so that no other's can stand in for it. It is signed with the key of the role
`acknowledgements`, to which the signed repository delegates what a stick may free too. Whose key that is, the device
takes from the metadata that it has verified and kept; where that has none, or another one, it is refreshed once, and
that is how a new key becomes known. What cannot be verified frees nothing.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from fieldedge.device.config import DeviceDirectory
from fieldedge.system.clock import Reading
from fieldedge.system.errors import FieldloopError, LinkError, ReleaseError
from fieldedge.system.http import Bounds, Patience
from fieldedge.system.keys import is_signed_by
from fieldedge.system.locks import GIVE_WAY_S, exclusive
from fieldedge.system.plain_files import read_own
from fieldedge.transfer.trust import ReadClock, gateway_mirror, judged_at, max_metadata_bytes, refreshed
from fieldedge.transfer.usb import ACKNOWLEDGEMENTS, acknowledgement_path


class AcknowledgementError(LinkError):
    """Who answered did not prove that the gateway holds the batch. It is kept, and sent again."""


def statement(device_id: str, sha256: str) -> bytes:
    """The bytes under the signature of an acknowledgement; `sha256` is the batch's, as 64 hex digits."""
    return json.dumps({"acknowledged": sha256, "by": "fieldloop gateway", "device_id": device_id}).encode()


class Acknowledger:
    """Tells whether the gateway itself made an acknowledgement. Good for one sync: it refreshes its trust once at most.

    Args:
        directory: the device's; its verified metadata is there.
        gateway_url: where that metadata is refreshed from. It need not be trusted.
        now: the device's clock; a bare time is taken at its word.
        bounds, patience: of the sync; its refreshing of the trust is a part of it.
    """

    def __init__(
        self,
        directory: DeviceDirectory,
        gateway_url: str,
        now: ReadClock,
        bounds: Bounds | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._directory, self._url, self._now = directory, gateway_url, now
        self._bounds, self._patience = bounds, patience
        self._is_refreshed = False

    def check(self, answer: Any, device_id: str, sha256: str) -> None:
        """See that `answer` acknowledges exactly this batch of this device.

        Raises:
            AcknowledgementError: it does not, or nobody can tell; the message says why.
        """
        found = answer.get("acknowledged") if isinstance(answer, dict) else None
        if found != sha256:
            raise AcknowledgementError(
                f"{self._url} acknowledged {str(found)[:12]} where {sha256[:12]} was sent; the batch is kept"
            )
        signature = answer.get("signature")
        if not isinstance(signature, str):
            why = "it is not signed, so anyone can have made it: update the gateway, or mend the gateway's address"
        else:
            why = self._why_not(signature, device_id, sha256)
            if why and not self._is_refreshed:
                why = self._refresh() or self._why_not(signature, device_id, sha256)
        if why:
            raise AcknowledgementError(
                f"{self._url} says that it holds batch {sha256[:12]}, but {why}; the batch is kept"
            )

    def _why_not(self, signature: str, device_id: str, sha256: str) -> str:
        """What keeps this signature from being the gateway's; nothing where it is."""
        said = self._now()
        now = judged_at(self._directory, said) if isinstance(said, Reading) else said
        try:
            keys = trusted_keys(self._directory.trust, device_id, now)
        except ReleaseError as error:
            return f"its signature cannot be verified ({error})"
        if any(is_signed_by(key, statement(device_id, sha256), signature) for key in keys):
            return ""
        return (
            f"its signature is not that of a gateway over this batch of {device_id}: the release metadata names "
            f"{', '.join(key[:12] for key in keys)}"
        )

    def _refresh(self) -> str:
        """Bring the device's trust up to date; why it could not be, if so."""
        self._is_refreshed = True
        try:
            with (
                exclusive(self._directory.lock("update"), GIVE_WAY_S),  # an update that hangs gives way
                refreshed(self._directory, gateway_mirror(self._url, self._bounds, self._patience), self._now),
            ):
                pass  # what was verified is kept
        except FieldloopError as error:
            return f"its signature cannot be verified, because the release metadata cannot be refreshed ({error})"
        return ""


def trusted_keys(trust: Path, device_id: str, now: datetime) -> list[str]:
    """The public keys (Ed25519, hex) that may acknowledge this device's batches, by the verified metadata in `trust`.

    Raises:
        ReleaseError: there is none, it has expired, or it names no such key.
    """
    try:
        root: Metadata[Root] = Metadata.from_bytes(read_own(trust / "root.json", max_metadata_bytes("root")))
        data = read_own(trust / "targets.json", max_metadata_bytes(Targets.type))
        targets: Metadata[Targets] = Metadata.from_bytes(data)
        root.signed.verify_delegate(Targets.type, targets.signed_bytes, targets.signatures)
        delegations = targets.signed.delegations
    except FileNotFoundError:
        raise ReleaseError("this device has no verified release metadata yet") from None
    except OSError as error:
        raise ReleaseError(f"the release metadata on this device cannot be read: {error}") from error
    except (RepositoryError, ValueError, AttributeError) as error:
        raise ReleaseError(f"the release metadata on this device is damaged: {error}") from error
    for metadata in (root, targets):
        if metadata.signed.is_expired(now):
            raise ReleaseError(f"the release metadata on this device has expired on {metadata.signed.expires:%Y-%m-%d}")
    role = None if delegations is None or delegations.roles is None else delegations.roles.get(ACKNOWLEDGEMENTS)
    if delegations is None or role is None or not role.is_delegated_path(acknowledgement_path(device_id)):
        raise ReleaseError(f"the release metadata names no key for acknowledgements of {device_id}: update the gateway")
    if role.threshold != 1:
        raise ReleaseError(f"the release metadata asks for {role.threshold} signatures; this fieldedge reads one")
    keys = [delegations.keys[name] for name in role.keyids if name in delegations.keys]
    return [str(key.keyval["public"]) for key in keys if key.keytype == "ed25519"]
