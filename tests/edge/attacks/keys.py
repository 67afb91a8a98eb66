"""What can be signed by whoever holds some of a repository's keys, written where the mirror serves it from."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Role, Root, Signed

from tests.edge.sample import Repository


def newest(repository: Repository, role: str) -> Path:
    """The file that says what a role says now."""
    if role == "timestamp":
        return repository.metadata / "timestamp.json"
    files = repository.metadata.glob(f"[0-9]*.{role}.json")
    return max(files, key=lambda path: int(path.name.partition(".")[0]))


def sign(
    repository: Repository,
    role: str,
    signers: Sequence[CryptoSigner],
    change: Callable[[Any], None],
    *,
    version: int | None = None,
) -> int:
    """Write the next version of a role, changed and signed by these keys and no others; its version."""
    metadata: Metadata[Any] = Metadata.from_bytes(newest(repository, role).read_bytes())
    payload: Signed = metadata.signed
    payload.version = payload.version + 1 if version is None else version
    change(payload)
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)
    name = f"{role}.json" if role == "timestamp" else f"{payload.version}.{role}.json"
    (repository.metadata / name).write_bytes(metadata.to_bytes())
    return payload.version


def say_newer(repository: Repository, roles: Sequence[str], signers: dict[str, CryptoSigner]) -> None:
    """Point snapshot and timestamp at what is newest of these roles, signed by whatever keys are at hand."""

    def snapshot(payload: Any) -> None:
        for role in roles:
            version = int(newest(repository, role).name.partition(".")[0])
            payload.meta[f"{role}.json"] = MetaFile(version)

    version = sign(repository, "snapshot", [signers["snapshot"]], snapshot)
    sign(
        repository,
        "timestamp",
        [signers["timestamp"]],
        lambda payload: setattr(payload, "snapshot_meta", MetaFile(version)),
    )


def given_to(signers: dict[str, CryptoSigner], roles: Sequence[str]) -> Callable[[Root], None]:
    """A root that trusts these keys, and no former one, for these roles."""

    def change(root: Root) -> None:
        for role in roles:
            key = signers[role].public_key
            for former in list(root.roles[role].keyids):
                root.revoke_key(former, role)
            root.add_key(key, role)

    return change


def with_threshold(role: str, signers: Sequence[CryptoSigner], threshold: int) -> Callable[[Root], None]:
    """A root that asks so many of these keys for a role."""

    def change(root: Root) -> None:
        for former in list(root.roles[role].keyids):
            root.revoke_key(former, role)
        for signer in signers:
            root.add_key(signer.public_key, role)
        root.roles[role] = Role([signer.public_key.keyid for signer in signers], threshold)

    return change
