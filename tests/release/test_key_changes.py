"""Keys that come and go under the eyes of devices that were off, thieves, and power that fails at any write."""

import copy
import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata

from fieldedge.system.errors import ConfigError, ReleaseError
from fieldedge.workloads import known_workload
from fieldloop.core.settings import KeySettings
from fieldloop.release import ReleaseRepository
from fieldloop.release.key_changes import KeyChanges
from fieldloop.release.keys import Secrets
from fieldloop.release.metadata_store import MetadataStore
from tests.release.former_repository import make_former_repository
from tests.release.test_repository import PowerCut, contents, cut_power_after
from tests.release.test_rollouts import Device

CONTRACT = known_workload("agriculture").contract
MakeBundle = Callable[..., Path]
ONLINE = ("agriculture", "acknowledgements", "snapshot", "timestamp")


class Deployment:
    """A repository whose root is 2 of 3 on three media, with its passphrases in files."""

    def __init__(self, folder: Path) -> None:
        self.root, self.media = folder / "tuf", [folder / f"medium-{number}" for number in (1, 2, 3)]
        for medium in self.media:
            medium.mkdir()
        self.settings = KeySettings(
            key_passphrase_file=secret(folder / "online"), offline_passphrase_file=secret(folder / "offline")
        )

    def releases(self, now: datetime | None = None) -> ReleaseRepository:
        return ReleaseRepository(self.root, lambda: now or datetime.now(UTC), Secrets(self.settings))

    def changes(self, settings: KeySettings | None = None) -> KeyChanges:
        return KeyChanges(MetadataStore(self.root, lambda: datetime.now(UTC), Secrets(settings or self.settings)))

    def publish(self, bundle: Path, version: str) -> None:
        self.releases().publish(bundle, "agriculture", version, CONTRACT.hash)

    def put_away(self) -> None:
        for medium in self.media:
            medium.rename(medium.with_name(f"away-{medium.name}"))

    def bring(self, *numbers: int) -> None:
        for number in numbers:
            medium = self.media[number - 1]
            medium.with_name(f"away-{medium.name}").rename(medium)

    def key(self, role: str) -> Any:
        """A key as a thief has it who has the file and its passphrase."""
        changes = self.changes().status()
        kept = next(one for one in changes.roles if one.role == role).keys
        path = Path(next(iter(kept.values())).place)
        passphrase = b"offline" if path.parent in self.media else b"online"
        return CryptoSigner(load_pem_private_key(path.read_bytes(), passphrase))


def secret(path: Path, words: str = "") -> Path:
    path.write_text((words or path.name) + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def deployment(tmp_path: Path, make_bundle: MakeBundle) -> Deployment:
    made = Deployment(tmp_path)
    assert made.changes().init(made.media, ["agriculture"]) != []
    made.publish(make_bundle("1"), "1")
    return made


def test_a_deployment_begins_with_two_of_three_offline_and_releases_without_them(
    deployment: Deployment, tmp_path: Path, make_bundle: MakeBundle
) -> None:
    status = {one.role: one for one in deployment.changes().status().roles}
    assert (status["root"].threshold, len(status["root"].keys)) == (2, 3)
    places = {Path(kept.place).parent for kept in status["root"].keys.values()}
    assert places == set(deployment.media)
    assert deployment.changes().status().advice == ()
    assert all(kept.is_encrypted for one in status.values() for kept in one.keys.values())
    files = [path for folder in (*deployment.media, deployment.root / "keys") for path in folder.iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert not any(path.name in ("root.pem", "targets.pem") for path in files)
    assert deployment.changes().init(deployment.media, ["agriculture"]) == []
    device = Device(deployment.root, tmp_path / "device")
    deployment.put_away()
    new = make_bundle("2", yield_t_ha=11.0)
    deployment.publish(new, "2")
    assert device.content("agriculture/bundle.zip") == new.read_bytes()
    assert not any(kept.is_here for kept in next(iter(deployment.changes().status().roles)).keys.values())


def test_in_half_a_year_without_the_media_everything_online_is_signed_anew_and_devices_follow(
    deployment: Deployment, tmp_path: Path
) -> None:
    device = Device(deployment.root, tmp_path / "device")
    deployment.put_away()
    for days in (0.6, 4, 50, 170):
        now = datetime.now(UTC) + timedelta(days=days)
        deployment.releases(now).refresh()
        for name in ("timestamp.json",):
            signed: Metadata[Any] = Metadata.from_file(str(deployment.root / "metadata" / name))
            assert timedelta(0) < signed.signed.expires - now <= timedelta(days=1)
    assert device.target("agriculture/bundle.zip") is not None


def test_a_device_that_was_off_walks_through_every_rotation(
    deployment: Deployment, tmp_path: Path, make_bundle: MakeBundle
) -> None:
    shutil.copytree(deployment.root / "metadata", tmp_path / "first" / "metadata")
    device = Device(deployment.root, tmp_path / "device")
    assert device.content("agriculture/bundle.zip") is not None
    for _ in range(2):
        for role in ("root", "targets", *ONLINE):
            before = {one.role: set(one.keys) for one in deployment.changes().status().roles}
            new = deployment.changes().rotate(role)
            after = {one.role: set(one.keys) for one in deployment.changes().status().roles}
            assert after[role] == set(new) and not after[role] & before[role]
            assert {one: keys for one, keys in after.items() if one != role} == {
                one: keys for one, keys in before.items() if one != role
            }
    deployment.put_away()
    new = make_bundle("2", yield_t_ha=11.0)
    deployment.publish(new, "2")
    assert device.content("agriculture/bundle.zip") == new.read_bytes()
    assert len(list((deployment.root / "metadata").glob("*.root.json"))) == 2 + 2 * 4


def test_less_than_the_threshold_changes_nothing_and_is_named(deployment: Deployment) -> None:
    deployment.put_away()
    deployment.bring(1)
    before = contents(deployment.root)
    with pytest.raises(ReleaseError, match=r"root needs 2 signatures of its 3 keys, and 1 could be made.*plug"):
        deployment.changes().rotate("timestamp")
    with pytest.raises(ReleaseError, match="Plug the medium in"):
        deployment.changes().rotate("root")
    with pytest.raises(ReleaseError, match="there is no role 'tagets'"):
        deployment.changes().rotate("tagets")
    with pytest.raises(ReleaseError, match="'feed' names none"):
        deployment.changes().revoke("feed")
    assert contents(deployment.root) == before
    deployment.bring(3)
    deployment.changes().rotate("timestamp")


@pytest.mark.parametrize("harm", ["wrong", "none", "open to others", "empty", "lost"])
def test_a_passphrase_that_fails_is_named_and_nothing_half_signed_is_left(
    deployment: Deployment, tmp_path: Path, make_bundle: MakeBundle, harm: str
) -> None:
    path = secret(tmp_path / "harmed", "wrong")
    if harm == "open to others":
        path.chmod(0o644)
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "lost":
        path.unlink()
    before = contents(deployment.root)
    for name in ("key_passphrase_file", "offline_passphrase_file"):
        settings = deployment.settings.model_copy(update={name: None if harm == "none" else path})
        said = rf"FIELDLOOP_{name.upper()}|passphrase does not open"
        with pytest.raises((ReleaseError, ConfigError), match=said):
            deployment.changes(settings).rotate("snapshot")
        media = [file for medium in deployment.media for file in medium.iterdir()]
        assert len(media) == 4
        assert contents(deployment.root) == before
    settings = deployment.settings.model_copy(update={"key_passphrase_file": None if harm == "none" else path})
    with pytest.raises((ReleaseError, ConfigError)):
        ReleaseRepository(deployment.root, secrets=Secrets(settings)).publish(
            make_bundle("2"), "agriculture", "2", CONTRACT.hash
        )
    assert {name for name in contents(deployment.root) if "metadata" in name.parts} == {
        name for name in before if "metadata" in name.parts
    }


def test_a_person_is_asked_where_no_file_says_it(deployment: Deployment) -> None:
    asked: list[str] = []

    def ask(what: str) -> str:
        asked.append(what)
        return "offline" if "medium" in what or "offline" in what else "online"

    store = MetadataStore(deployment.root, lambda: datetime.now(UTC), Secrets(KeySettings(), ask))
    KeyChanges(store).rotate("targets")
    assert sum("medium" in what for what in asked) >= 2


CHANGES: dict[str, Callable[[KeyChanges], object]] = {
    "rotate root": lambda changes: changes.rotate("root"),
    "rotate targets": lambda changes: changes.rotate("targets"),
    "rotate timestamp": lambda changes: changes.rotate("timestamp"),
    "rotate agriculture": lambda changes: changes.rotate("agriculture"),
    "revoke agriculture": lambda changes: changes.revoke(first_key(changes, "agriculture")),
    "revoke root": lambda changes: changes.revoke(first_key(changes, "root")),
}


def first_key(changes: KeyChanges, role: str) -> str:
    return next(iter(next(one for one in changes.status().roles if one.role == role).keys))


@pytest.mark.parametrize("change", CHANGES)
def test_power_that_fails_at_any_write_leaves_devices_served_before_and_after_it_is_gone_on_with(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    device, newcomer = Device(deployment.root, tmp_path / "device"), 0
    content, cuts = device.content("agriculture/bundle.zip"), 0
    while True:
        with monkeypatch.context() as patched:
            cut_power_after(patched, cuts)
            try:
                CHANGES[change](deployment.changes())
                break
            except PowerCut:
                cuts += 1
        for _ in range(2):
            newcomer += 1
            assert device.content("agriculture/bundle.zip") == content
            assert Device(deployment.root, tmp_path / f"new-{newcomer}").content("agriculture/bundle.zip") == content
            deployment.releases().refresh()
    assert cuts >= 4
    assert device.content("agriculture/bundle.zip") == content


def test_one_of_three_root_keys_harms_nothing_and_is_revoked_while_devices_are_off(
    deployment: Deployment, tmp_path: Path
) -> None:
    device = Device(deployment.root, tmp_path / "device")
    assert device.target("agriculture/bundle.zip") is not None
    thief = deployment.key("root")
    newest = deployment.changes().newest_root()
    forged: Metadata[Any] = Metadata.from_bytes(newest[1])
    forged.signed.version += 1
    forged.signed.roles["root"].threshold = 1
    forged.signed.roles["root"].keyids = [thief.public_key.keyid]
    forged.signatures.clear()
    forged.sign(thief)
    path = deployment.root / "metadata" / f"{forged.signed.version}.root.json"
    path.write_bytes(forged.to_bytes())
    with pytest.raises(RepositoryError):
        device.target("agriculture/bundle.zip")
    path.unlink()
    assert device.target("agriculture/bundle.zip") is not None
    assert deployment.changes().revoke(thief.public_key.keyid[:12]) == ["root"]
    root = next(one for one in deployment.changes().status().roles if one.role == "root")
    assert (root.threshold, len(root.keys)) == (2, 3) and thief.public_key.keyid not in root.keys
    assert device.target("agriculture/bundle.zip") is not None


def test_stolen_online_keys_are_recovered_from_with_the_offline_ones_even_after_a_fast_forward(
    deployment: Deployment, tmp_path: Path, make_bundle: MakeBundle
) -> None:
    device, honest = Device(deployment.root, tmp_path / "device"), deployment.root / "metadata"
    assert device.target("agriculture/bundle.zip") is not None
    thief = {role: deployment.key(role) for role in ONLINE}
    hijacked = tmp_path / "hijacked"
    shutil.copytree(deployment.root, hijacked)
    snapshots = honest.glob("*.snapshot.json")
    metadata: dict[str, Metadata[Any]] = {
        "agriculture": Metadata.from_file(str(max(honest.glob("*.agriculture.json")))),
        "snapshot": Metadata.from_file(str(max(snapshots, key=lambda path: int(path.name.split(".")[0])))),
        "timestamp": Metadata.from_file(str(honest / "timestamp.json")),
    }
    for role, signed in metadata.items():
        signed.signed.version = 2_000_000
        signed.signed.expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1000)
        if role == "snapshot":
            signed.signed.meta["agriculture.json"].version = 2_000_000
            signed.signed.meta["agriculture.json"].hashes = signed.signed.meta["agriculture.json"].length = None
        if role == "timestamp":
            signed.signed.snapshot_meta.version = 2_000_000
            signed.signed.snapshot_meta.hashes = signed.signed.snapshot_meta.length = None
        signed.sign(thief[role])
        name = "timestamp.json" if role == "timestamp" else f"2000000.{role}.json"
        (hijacked / "metadata" / name).write_bytes(signed.to_bytes())
    victim = copy.copy(device)
    victim._root = hijacked  # type: ignore[attr-defined]
    victim.target("agriculture/bundle.zip")
    new = make_bundle("2", yield_t_ha=11.0)
    deployment.publish(new, "2")
    with pytest.raises(RepositoryError):
        device.target("agriculture/bundle.zip")
    changed = deployment.changes().revoke(thief["agriculture"].public_key.keyid)
    assert changed == ["agriculture", "snapshot", "timestamp"]
    assert device.content("agriculture/bundle.zip") == new.read_bytes()
    with pytest.raises(RepositoryError):
        victim.target("agriculture/bundle.zip")


def test_a_repository_of_before_is_brought_offline_and_its_devices_walk_on(
    tmp_path: Path, make_bundle: MakeBundle
) -> None:
    made, old = Deployment(tmp_path), make_bundle("1")
    make_former_repository(made.root, old, "1", CONTRACT.hash)
    device = Device(made.root, tmp_path / "device")
    assert device.content("agriculture/bundle.zip") == old.read_bytes()
    said = " ".join(made.changes(KeySettings()).status().advice)
    assert "root is 1 of 1" in said and "are not encrypted" in said
    assert len(made.changes().init(made.media, ["agriculture"])) == 7
    status = made.changes().status()
    assert [path.name for path in status.unused] == ["root.pem", "targets.pem"]
    assert len(status.advice) == 2 and all("destroy it" in words for words in status.advice)
    for path in status.unused:
        path.unlink()
    made.put_away()
    new = make_bundle("2", yield_t_ha=11.0)
    made.publish(new, "2")
    assert device.content("agriculture/bundle.zip") == new.read_bytes()


def test_the_sample_worlds_keys_say_that_one_is_enough(tmp_path: Path) -> None:
    ReleaseRepository(tmp_path / "tuf")
    store = MetadataStore(tmp_path / "tuf", lambda: datetime.now(UTC))
    assert "root is 1 of 1: whoever has that key can sign anything" in KeyChanges(store).status().advice[0]
    assert KeyChanges(store).init() == ["acknowledgements have a role and a key of their own"]
