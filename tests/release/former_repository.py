"""A release repository as it was before workloads had roles of their own: one key for all targets, PEM files bare."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

ROLES = ("root", "targets", "snapshot", "timestamp")


def make_former_repository(root: Path, bundle: Path, version: str, contract_hash: str) -> None:
    """What the former code left of one release and a gateway that had begun to acknowledge."""
    for name in ("keys", "metadata", "targets/agriculture"):
        (root / name).mkdir(parents=True)
    signers = {name: CryptoSigner.generate_ed25519() for name in (*ROLES, "acknowledgements")}
    for name, signer in signers.items():
        path = root / "keys" / f"{name}.pem"
        path.write_bytes(signer.private_bytes)
        path.chmod(0o600)
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    content = bundle.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    (root / "targets" / "agriculture" / f"{sha256}.bundle.zip").write_bytes(content)
    target = TargetFile.from_data("agriculture/bundle.zip", content, ["sha256"])
    target.unrecognized_fields["custom"] = {
        "workload": "agriculture",
        "version": version,
        "contract_hash": contract_hash,
    }
    key = signers["acknowledgements"].public_key
    role = DelegatedRole("acknowledgements", [key.keyid], 1, True, paths=["acknowledgements/*.json"])
    targets = Targets(
        version=2,
        expires=expires,
        targets={target.path: target},
        delegations=Delegations({key.keyid: key}, {role.name: role}),
    )
    keys = {name: signers[name].public_key for name in ROLES}
    trusted = Root(
        expires=expires,
        keys={one.keyid: one for one in keys.values()},
        roles={name: Role([one.keyid], 1) for name, one in keys.items()},
    )
    meta: dict[str, MetaFile] = {}

    def write(name: str, payload: Any, role_name: str) -> MetaFile:
        signed = Metadata(payload)
        signed.sign(signers[role_name])
        (root / "metadata" / name).write_bytes(signed.to_bytes())
        return MetaFile.from_data(payload.version, signed.to_bytes(), ["sha256"])

    write("1.root.json", trusted, "root")
    meta["acknowledgements.json"] = write("1.acknowledgements.json", Targets(expires=expires), "acknowledgements")
    meta["targets.json"] = write("2.targets.json", targets, "targets")
    snapshot = write("2.snapshot.json", Snapshot(version=2, expires=expires, meta=meta), "snapshot")
    write("timestamp.json", Timestamp(version=2, expires=expires, snapshot_meta=snapshot), "timestamp")
