"""A stolen key of a workload: the real repository and client, over HTTP, and a thief who may have online keys too.

What he can do is what that key is for: say what devices of that workload are offered, from now on. All else is refused,
and one revocation ends it.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, MetaFile, TargetFile, Targets

from fieldedge.cli import main
from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.slots import Slots
from fieldedge.system.errors import FieldloopError
from fieldedge.transfer.trust import device_clock, gateway_mirror, refreshed
from fieldedge.transfer.updates import update
from fieldedge.transfer.usb import acknowledgement_path
from fieldedge.workloads import known_workload
from fieldloop.release import ReleaseRepository
from fieldloop.release.key_changes import KeyChanges
from fieldloop.release.metadata_store import MetadataStore
from tests.edge.attacks.mirror import Mirror, serving

CONTRACT = known_workload("agriculture").contract
ONLINE = ("snapshot", "timestamp")
BundleMaker = Callable[..., Path]


class Theft:
    """A device on version 2 of agriculture, a repository of two workloads, and who stole keys from it."""

    def __init__(self, root: Path, mirror: Mirror, make_bundle: BundleMaker) -> None:
        self.tuf, self.mirror, self._make = root / "tuf", mirror, make_bundle
        self.changes().init(workloads=["agriculture", "bearing"])
        for version in ("1", "2"):
            self.publish(version)
        self.stolen = {
            role: CryptoSigner(load_pem_private_key((self.tuf / "keys" / f"{role}.pem").read_bytes(), None))
            for role in ("agriculture", *ONLINE)
        }
        self.device = DeviceDirectory(root / "device")
        trusted = ReleaseRepository(self.tuf).trusted_root()
        said = ["--device-id", "dev-00", "--workload", "agriculture", "--root", str(trusted)]
        assert main(["init", "--dir", str(self.device.root), *said]) == 0
        assert self.update() == "2"

    def changes(self) -> KeyChanges:
        return KeyChanges(MetadataStore(self.tuf, lambda: datetime.now(UTC)))

    def bundle(self, version: str) -> Path:
        return self._make(version, yield_t_ha=10.0 + float(version))

    def publish(self, version: str) -> None:
        """What the company releases."""
        files = {"float32-only": self.bundle(version)}
        ReleaseRepository(self.tuf).publish(files, "agriculture", version, CONTRACT.hash)

    def update(self) -> str:
        return update(self.device, CONTRACT, self.mirror.url).version

    @property
    def running(self) -> str:
        active = Slots(self.device.root).active()
        assert active is not None
        return active.version

    def seen(self, path: str) -> TargetFile | None:
        """What the device's client finds under a path."""
        with refreshed(self.device, gateway_mirror(self.mirror.url), device_clock(self.device)) as client:
            return client.get_targetinfo(path)

    def newest(self, role: str) -> Path:
        files = self.tuf.joinpath("metadata").glob(f"[0-9]*.{role}.json")
        return max(files, key=lambda path: int(path.name.partition(".")[0]))

    def sign(self, role: str, change: Callable[[Any], None], version: int | None = None) -> int:
        """The next version of a role, changed and signed with the stolen key; its number."""
        path = self.tuf / "metadata" / "timestamp.json" if role == "timestamp" else self.newest(role)
        metadata: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
        metadata.signed.version = metadata.signed.version + 1 if version is None else version
        change(metadata.signed)
        metadata.signatures.clear()
        metadata.sign(self.stolen[role], append=True)
        name = "timestamp.json" if role == "timestamp" else f"{metadata.signed.version}.{role}.json"
        (self.tuf / "metadata" / name).write_bytes(metadata.to_bytes())
        return int(metadata.signed.version)

    def say(self, version: int) -> None:
        """Have snapshot and timestamp name this version of agriculture's role: with the stolen online keys."""
        snapshot = self.sign("snapshot", lambda said: said.meta.update({"agriculture.json": MetaFile(version)}))
        self.sign("timestamp", lambda said: setattr(said, "snapshot_meta", MetaFile(snapshot)))

    def offer(self, paths: Sequence[str], version: str) -> Callable[[Targets], None]:
        """A role that offers the thief's file under these paths, and nothing else."""
        content = self.bundle(version).read_bytes()

        def change(role: Targets) -> None:
            role.targets = {}
            for path in paths:
                target = TargetFile.from_data(path, content, ["sha256"])
                target.unrecognized_fields["custom"] = {"version": version, "contract_hash": CONTRACT.hash}
                role.targets[path] = target
                folder, _, name = path.rpartition("/")
                file = self.tuf / "targets" / folder / f"{target.hashes['sha256']}.{name}"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)

        return change


@pytest.fixture
def theft(tmp_path: Path, make_bundle: BundleMaker) -> Iterator[Theft]:
    with serving(Mirror(tmp_path / "tuf")) as mirror:
        yield Theft(tmp_path, mirror, make_bundle)


OWN = ("agriculture/float32-only/bundle.zip",)
OTHERS = (
    "bearing/bundle.zip",
    "bearing/float32-only/bundle.zip",
    "bearing/float32-only/candidate.zip",
    acknowledgement_path("dev-00"),
    "bundle.zip",
    "agriculture.zip",
    "agriculture/../bearing/bundle.zip",
    "agriculture/float32-only/deeper/bundle.zip",
)


def test_without_the_online_keys_what_the_thief_signs_is_read_by_nobody(theft: Theft) -> None:
    theft.sign("agriculture", theft.offer(OWN, "3"))
    assert theft.update() == "2"
    assert theft.seen(OWN[0]) is not None


def test_in_the_place_of_what_the_snapshot_names_it_is_refused(theft: Theft) -> None:
    """By a device that reads it for the first time: its hash stands in the snapshot."""
    honest = int(theft.newest("agriculture").name.partition(".")[0])
    theft.sign("agriculture", theft.offer(OWN, "3"), version=honest)
    fresh = DeviceDirectory(theft.device.root.with_name("fresh"))
    said = ["--device-id", "dev-01", "--workload", "agriculture", "--root", str(theft.tuf / "metadata/1.root.json")]
    assert main(["init", "--dir", str(fresh.root), *said]) == 0
    with pytest.raises(FieldloopError, match="cannot be trusted"):
        update(fresh, CONTRACT, theft.mirror.url)
    assert Slots(fresh.root).active() is None


def test_with_the_online_keys_too_he_signs_for_no_other_workload_and_no_other_role(theft: Theft) -> None:
    theft.say(theft.sign("agriculture", theft.offer((*OWN, *OTHERS), "3")))
    assert theft.seen(OWN[0]) is not None, "that is what the key is for"
    assert [path for path in OTHERS if theft.seen(path) is not None] == []


def test_he_hands_no_path_on_to_a_key_of_his_own(theft: Theft) -> None:
    own = CryptoSigner(Ed25519PrivateKey.generate())
    key = own.public_key

    def hand_on(role: Targets) -> None:
        paths = ["bearing/*", "bearing/*/*", "acknowledgements/*", "*"]
        role.delegations = Delegations({key.keyid: key}, {"evil": DelegatedRole("evil", [key.keyid], 1, False, paths)})

    evil = Metadata(Targets(version=1))
    theft.offer(OTHERS, "3")(evil.signed)
    evil.sign(own)
    (theft.tuf / "metadata" / "1.evil.json").write_bytes(evil.to_bytes())
    version = theft.sign("agriculture", hand_on)
    snapshot = theft.sign(
        "snapshot", lambda said: said.meta.update({"agriculture.json": MetaFile(version), "evil.json": MetaFile(1)})
    )
    theft.sign("timestamp", lambda said: setattr(said, "snapshot_meta", MetaFile(snapshot)))
    assert [path for path in OTHERS if theft.seen(path) is not None] == []


@pytest.mark.parametrize("is_resigned", [False, True], ids=["as it was", "signed by him"])
def test_an_older_version_of_the_role_is_refused_by_who_has_seen_a_newer_one(theft: Theft, is_resigned: bool) -> None:
    newest = int(theft.newest("agriculture").name.partition(".")[0])
    if is_resigned:
        theft.sign("agriculture", theft.offer(OWN, "1"), version=newest - 1)
    theft.say(newest - 1)
    with pytest.raises(FieldloopError, match="cannot be trusted"):
        theft.update()
    assert theft.running == "2"


def test_an_older_model_under_a_newer_version_of_the_role_is_not_taken(theft: Theft) -> None:
    theft.say(theft.sign("agriculture", theft.offer(OWN, "1")))
    result = update(theft.device, CONTRACT, theft.mirror.url)
    assert (result.version, result.changed) == ("2", False)
    assert "the newer 2 stays until it is withdrawn" in str(result.note)


def test_one_revocation_ends_it_and_devices_follow_the_company_again(theft: Theft, tmp_path: Path) -> None:
    shutil.copytree(theft.tuf, tmp_path / "kept")
    theft.say(theft.sign("agriculture", theft.offer(OWN, "9"), version=1_000_000))
    assert theft.update() == "9", "until somebody notices"
    shutil.rmtree(theft.tuf / "metadata")
    shutil.copytree(tmp_path / "kept" / "metadata", theft.tuf / "metadata")
    roles = theft.changes().revoke(theft.stolen["agriculture"].public_key.keyid)
    assert set(roles) == {"agriculture", *ONLINE}
    theft.publish("10")
    assert theft.update() == "10"
    theft.sign("agriculture", theft.offer(OWN, "11"))
    with pytest.raises(FieldloopError, match="cannot be trusted"):
        theft.say(int(theft.newest("agriculture").name.partition(".")[0]))
        theft.update()
    assert theft.running == "10"
    names = json.loads((theft.tuf / "metadata" / "timestamp.json").read_bytes())["signatures"]
    assert names[0]["keyid"] == theft.stolen["timestamp"].public_key.keyid, "it was his timestamp that was refused"
