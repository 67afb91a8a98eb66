"""The threats that TUF's specification names (section 1.5.2), each played over HTTP against the device's own client.

What a hostile bundle holds, once it is signed, is in `test_bundles.py`; single bytes are in `test_every_byte.py`.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import TargetFile

from fieldedge.inference.loading import load_model
from fieldedge.system.clock import Reading
from fieldedge.system.errors import LinkError, ReleaseError
from fieldedge.system.http import Patience
from fieldedge.transfer.updates import update
from tests.edge.attacks.conftest import CONTRACT, MOST_SENT, ON_THE_WAY, Attacked, bundle
from tests.edge.attacks.keys import given_to, newest, say_newer, sign, with_threshold
from tests.edge.attacks.mirror import Stream, pieces, without_end
from tests.edge.sample import AGRICULTURE, Repository, bundle_files, onnx_model, with_manifest, zipped

METADATA = ("2.root.json", "timestamp.json", ".snapshot.json", ".targets.json")
FILES = (*METADATA, "bundle.zip")


def bundle_role(repository: Repository) -> str:
    """The role that speaks of the workload's bundles."""
    return "agriculture" if "agriculture" in repository.signers else "targets"


def offers(name: str, data: bytes) -> Callable[[Any], None]:
    """What a role says when it offers this content under a name."""
    target = TargetFile.from_data(name, data, ["sha256"])
    target.unrecognized_fields["custom"] = {"workload": "agriculture", "contract_hash": CONTRACT.hash}
    return lambda payload: payload.targets.update({name: target})


def put_target(repository: Repository, name: str, data: bytes) -> None:
    target = TargetFile.from_data(name, data, ["sha256"])
    folder, _, file = name.rpartition("/")
    path = repository.targets_dir / folder / f"{target.hashes['sha256']}.{file}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_the_mirror_is_no_hindrance_while_it_is_honest(attacked: Attacked) -> None:
    assert attacked.update() == "2"


# Arbitrary software


def test_arbitrary_software_in_a_targets_place(attacked: Attacked) -> None:
    attacked.mirror.instead = lambda path, honest: bundle("evil") if path.endswith("bundle.zip") else honest
    assert "cannot be trusted" in attacked.refuses()


def test_arbitrary_software_of_the_same_length(attacked: Attacked) -> None:
    attacked.mirror.instead = lambda path, honest: (
        bytes(len(honest)) if honest and path.endswith("bundle.zip") else honest
    )
    assert "cannot be trusted" in attacked.refuses()


def test_arbitrary_software_in_a_strangers_repository(attacked: Attacked, tmp_path: Path) -> None:
    """All of it, well signed by keys that nobody gave the device."""
    stranger = Repository(tmp_path / "stranger")
    for version in ("1", "2", "3", "4"):
        stranger.release(bundle(f"evil {version}"))
    attacked.mirror.files = stranger.metadata.parent
    assert "cannot be trusted" in attacked.refuses()


def test_arbitrary_software_by_a_root_that_signs_itself(attacked: Attacked, tmp_path: Path) -> None:
    stranger = Repository(tmp_path / "stranger")
    root = sign(
        attacked.repository, "root", [stranger.signers["root"]], given_to(stranger.signers, ["root", "targets"])
    )
    assert root == 2
    assert "cannot be trusted" in attacked.refuses()


# Rollback, replay


@pytest.mark.parametrize("roles", [("timestamp",), ("snapshot", "timestamp"), ("targets", "snapshot", "timestamp")])
def test_rollback_to_metadata_that_was_good_before(attacked: Attacked, tmp_path: Path, roles: tuple[str, ...]) -> None:
    """What was released before is offered again, by way of files that were all signed once."""
    shutil.copytree(attacked.repository.metadata, tmp_path / "former")
    attacked.repository.release(bundle("3", bias=2.0))
    assert attacked.update() == "3"
    for role in roles:
        for former in (tmp_path / "former").glob(f"*{role}.json"):
            shutil.copy(former, attacked.repository.metadata)
    attacked.attack()
    assert running(attacked) == "3"


def test_rollback_by_whoever_holds_the_online_keys(attacked: Attacked) -> None:
    """Snapshot and timestamp may say that former targets are the newest: the device has seen newer ones."""
    repository = attacked.repository
    former = {path.name: path.read_bytes() for path in repository.metadata.glob("*.targets.json")}
    repository.release(bundle("3", bias=2.0))
    assert attacked.update() == "3"
    for path in repository.metadata.glob("*.targets.json"):
        if path.name not in former:
            path.unlink()
    say_newer(repository, ["targets"], repository.signers)
    assert "cannot be trusted" in attacked.attack()
    assert running(attacked) == "3"


# Fast-forward


@pytest.mark.parametrize("roles", [["timestamp"], ["snapshot", "timestamp"]])
def test_fast_forward_by_stolen_online_keys_is_recovered_from_by_the_root(attacked: Attacked, roles: list[str]) -> None:
    """The highest version there is shuts a device off, until the root names other keys: then it follows at once."""
    repository, highest = attacked.repository, 2**31 - 1
    for role in ["snapshot"] if "snapshot" in roles else []:
        sign(repository, role, [repository.signers[role]], lambda _: None, version=highest)
    change = (lambda payload: setattr(payload.snapshot_meta, "version", highest)) if len(roles) == 2 else lambda _: None
    sign(repository, "timestamp", [repository.signers["timestamp"]], change, version=highest)
    update(attacked.device, CONTRACT, attacked.mirror.url)  # the release is a good one: the version alone is a lie
    repository.release(bundle("3", bias=2.0))
    (repository.metadata / f"{highest}.snapshot.json").unlink(missing_ok=True)
    assert "cannot be trusted" in attacked.attack()
    for role in ("snapshot", "timestamp"):
        repository.signers[role] = CryptoSigner.generate_ed25519()
    sign(repository, "root", [repository.signers["root"]], given_to(repository.signers, ["snapshot", "timestamp"]))
    repository.publish()
    assert attacked.update() == "3"


# Indefinite freeze


def test_indefinite_freeze_is_told_when_the_metadata_expires_and_the_model_goes_on(
    attacked: Attacked, tmp_path: Path
) -> None:
    assert attacked.update() == "2"
    shutil.copytree(attacked.repository.metadata, tmp_path / "frozen")
    attacked.repository.release(bundle("3", bias=2.0))
    shutil.rmtree(attacked.repository.metadata)
    shutil.copytree(tmp_path / "frozen", attacked.repository.metadata)
    assert attacked.update() == "2", "a freeze cannot be told from no news, until"
    later = datetime.now(UTC) + timedelta(days=31)
    with pytest.raises(ReleaseError, match="expired"):
        update(attacked.device, CONTRACT, attacked.mirror.url, now=lambda: later)
    assert running(attacked) == "2"


@pytest.mark.parametrize("days", [-3650, -31, -1])
def test_indefinite_freeze_beside_a_clock_that_is_set_back(attacked: Attacked, days: int) -> None:
    attacked.repository.publish(expires_days=-1)
    now = datetime.now(UTC)
    clock = Reading(now + timedelta(days=days), now + timedelta(days=days), is_confirmed=True, is_trusted=False)
    with pytest.raises(ReleaseError, match="expired"):
        update(attacked.device, CONTRACT, attacked.mirror.url, now=lambda: clock)
    assert running(attacked) == "1"


def test_indefinite_freeze_by_a_mirror_that_withholds(attacked: Attacked) -> None:
    """Each file that is not there is a matter of the link, not of trust: the next mirror may have it."""
    for place in ("timestamp.json", ".snapshot.json", ".targets.json", "bundle.zip"):
        attacked.mirror.instead = lambda path, honest, place=place: None if path.endswith(place) else honest
        with pytest.raises(LinkError):
            update(attacked.device, CONTRACT, attacked.mirror.url)
        assert running(attacked) == "1"


# Endless data, slow retrieval


@pytest.mark.parametrize("after", ["", "the honest bytes"])
@pytest.mark.parametrize("place", FILES)
def test_endless_data(attacked: Attacked, place: str, after: str) -> None:
    """Alone, and after all that an honest mirror would say."""

    def endless(path: str, honest: bytes | None) -> bytes | Stream | None:
        if not path.endswith(place):
            return honest
        return chained(honest or b"", without_end()) if after else without_end()

    attacked.mirror.instead = endless
    attacked.refuses()
    for path, sent in attacked.mirror.sent.items():
        kind = "targets" if path.startswith("/tuf/targets/") else "metadata"
        assert sent <= MOST_SENT[kind] + ON_THE_WAY, f"{sent} bytes of {path}"


def chained(first: bytes, rest: Stream) -> Stream:
    yield first
    yield from rest


def test_endless_data_by_roots_without_number(attacked: Attacked) -> None:
    """Whoever holds the root's key may sign root after root: the walk has an end."""
    repository = attacked.repository
    for _ in range(300):
        sign(repository, "root", [repository.signers["root"]], lambda _: None)
    assert attacked.update() == "2"
    assert len([path for path in attacked.mirror.asked if path.endswith("root.json")]) <= 257


@pytest.mark.parametrize("place", FILES[1:])
def test_slow_retrieval(attacked: Attacked, place: str) -> None:
    """A byte every twentieth of a second is given up by its rate, and by the time that all of it may take."""
    attacked.mirror.instead = lambda path, honest: slowly(honest) if honest and path.endswith(place) else honest
    with pytest.raises(LinkError, match="bytes a second are expected"):
        update(attacked.device, CONTRACT, attacked.mirror.url, patience=Patience(grace_s=0.5, min_bytes_per_s=1e5))
    with pytest.raises(LinkError, match="no more time is allowed"):
        update(attacked.device, CONTRACT, attacked.mirror.url, within_s=1.0)
    assert running(attacked) == "1"


def slowly(honest: bytes) -> Stream:
    for piece in pieces(honest, 1):
        yield piece
        sleep(0.05)


# Extraneous dependencies, wrong software


def test_extraneous_dependencies_are_neither_fetched_nor_kept(attacked: Attacked) -> None:
    """Whatever else is signed beside the bundle, and says that it is needed, is nobody's business."""
    repository, role = attacked.repository, bundle_role(attacked.repository)
    name = "agriculture/needed.so"
    put_target(repository, name, b"\x7fELF")
    repository.targets[name] = TargetFile.from_data(name, b"\x7fELF", ["sha256"])
    for target in repository.targets.values():
        custom = target.unrecognized_fields.setdefault("custom", {})
        custom["depends"], custom["requires"] = [name], {name: "*"}
    repository.publish()
    assert role in repository.signers
    assert attacked.update() == "2"
    assert {path.rpartition(".")[2] for path in attacked.mirror.asked_of("targets")} == {"zip"}
    assert len(attacked.mirror.asked_of("targets")) == 1


def test_extraneous_dependencies_within_a_bundle_are_refused(attacked: Attacked) -> None:
    files = {**bundle_files(onnx_model(CONTRACT, bias=1.0), "2"), "requirements.txt": b"evil==1.0\n"}
    attacked.repository.release(zipped(files))
    assert "requirements.txt" in attacked.refuses()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (lambda files: with_manifest(files, workload="kiosk"), "for 'kiosk'"),
        (lambda files: with_manifest(files, contract_hash="0" * 64), "for contract 000000000000"),
        (lambda _: bundle_files(onnx_model(CONTRACT, workload="kiosk"), "2"), "for 'kiosk'"),
        (lambda _: bundle_files(onnx_model(CONTRACT, contract_hash="0" * 64), "2"), "for contract 000000000000"),
    ],
)
def test_wrong_software_under_the_right_name(
    attacked: Attacked, files: Callable[[dict[str, bytes]], dict[str, bytes]], said: str
) -> None:
    attacked.repository.release(zipped(files(bundle_files(onnx_model(CONTRACT, bias=1.0), "2"))))
    assert said in attacked.refuses()


def test_wrong_software_that_was_signed_for_another_name(attacked: Attacked) -> None:
    """The mirror hands over a file that is signed too, in place of the one that was asked for."""
    other = bundle("of another workload", bias=3.0)
    put_target(attacked.repository, "kiosk/bundle.zip", other)
    attacked.repository.targets["kiosk/bundle.zip"] = TargetFile.from_data("kiosk/bundle.zip", other, ["sha256"])
    attacked.repository.publish()
    attacked.mirror.instead = lambda path, honest: other if path.endswith("bundle.zip") else honest
    assert "cannot be trusted" in attacked.refuses()


# Mix and match


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_mix_and_match_of_metadata_that_never_stood_together(attacked: Attacked, role: str) -> None:
    """A former version under the newest one's name, and the newest one under a former timestamp."""
    former = attacked.mirror.honest(f"/tuf/metadata/{version_of(attacked, role) - 1}.{role}.json")
    attacked.mirror.instead = lambda path, honest: former if path.endswith(f".{role}.json") else honest
    assert "cannot be trusted" in attacked.refuses()


def test_mix_and_match_of_a_snapshot_that_forgets_a_role(attacked: Attacked) -> None:
    repository = attacked.repository
    assert attacked.update() == "2"
    sign(repository, "snapshot", [repository.signers["snapshot"]], lambda payload: payload.meta.pop("targets.json"))
    say_newer(repository, [], repository.signers)
    attacked.attack()
    assert running(attacked) == "2"


def test_mix_and_match_of_a_former_bundle_under_the_newest_name(attacked: Attacked) -> None:
    former = bundle("1")
    attacked.mirror.instead = lambda path, honest: former if path.endswith("bundle.zip") else honest
    assert "cannot be trusted" in attacked.refuses()


# Keys


@pytest.mark.parametrize(
    "held", [["timestamp"], ["snapshot"], ["snapshot", "timestamp"], ["acknowledgements", "snapshot", "timestamp"]]
)
def test_key_compromise_of_online_keys_brings_no_software(attacked: Attacked, held: list[str]) -> None:
    """Who holds them signs a bundle of its own into whatever role they let it."""
    repository, evil = attacked.repository, bundle("evil", bias=3.0)
    stranger = {role: CryptoSigner.generate_ed25519() for role in repository.signers}
    signers = {**stranger, **{role: repository.signers[role] for role in held}}
    roles = ["acknowledgements" if "acknowledgements" in held else bundle_role(repository)]
    name = "agriculture/bundle.zip"
    put_target(repository, name, evil)
    for role in roles:
        sign(repository, role, [signers[role]], offers(name, evil))
    say_newer(repository, roles, signers)
    if held == ["acknowledgements", "snapshot", "timestamp"]:
        assert attacked.update() == "2", "what another role says of a bundle is not even looked at"
    else:
        attacked.refuses()
    assert not [path for path in attacked.mirror.asked_of("targets") if hashlib.sha256(evil).hexdigest() in path]


@pytest.mark.parametrize("signatures", ["one", "the same one twice", "one and a stranger's"])
@pytest.mark.parametrize("role", ["root", "targets"])
def test_key_compromise_below_the_threshold_changes_nothing(attacked: Attacked, role: str, signatures: str) -> None:
    """Two of three must sign; one was stolen."""
    repository = attacked.repository
    three = [CryptoSigner.generate_ed25519() for _ in range(3)]
    sign(repository, "root", [repository.signers["root"], *three], with_threshold(role, three, 2))
    if role == "targets":
        sign(repository, "targets", three[:2], lambda _: None)
        say_newer(repository, ["targets"], repository.signers)
    assert attacked.update() == "2"
    stranger = CryptoSigner.generate_ed25519()
    signers = {
        "one": three[:1],
        "the same one twice": [three[0], three[0]],
        "one and a stranger's": [three[0], stranger],
    }
    if role == "root":
        sign(repository, "root", signers[signatures], given_to({"root": stranger}, ["root"]))
        doubled(newest(repository, "root"), signatures)
        assert "cannot be trusted" in attacked.attack()
        newest(repository, "root").unlink()
    else:
        evil = bundle("evil", bias=3.0)
        put_target(repository, "agriculture/bundle.zip", evil)
        sign(repository, "targets", signers[signatures], offers("agriculture/bundle.zip", evil))
        doubled(newest(repository, "targets"), signatures)
        say_newer(repository, ["targets"], repository.signers)
        assert "cannot be trusted" in attacked.attack()
    assert running(attacked) == "2"


def doubled(path: Path, signatures: str) -> None:
    """Say one signature twice: a parser that counts them would be at the threshold."""
    if signatures == "the same one twice":
        metadata = json.loads(path.read_bytes())
        metadata["signatures"] *= 2
        path.write_text(json.dumps(metadata))


# Truncated


@pytest.mark.parametrize("says_its_length", [True, False])
@pytest.mark.parametrize("place", FILES[1:])
def test_truncated_metadata_and_targets(attacked: Attacked, tmp_path: Path, place: str, says_its_length: bool) -> None:
    """Cut off at the beginning, at the end and in between; told as whole, or told as what it should have been."""
    attacked.keep(tmp_path / "trust")
    for share in (0.0, 0.1, 0.5, 0.9, 0.9999):

        def cut(path: str, honest: bytes | None, share: float = share) -> bytes | Stream | None:
            if honest is None or not path.endswith(place):
                return honest
            short = honest[: int(len(honest) * share)]
            return short if says_its_length else pieces(short, 100)

        attacked.mirror.instead = cut
        attacked.go_back(tmp_path / "trust")
        attacked.refuses()
    assert [path for path in attacked.mirror.asked if path.endswith(place)]


def version_of(attacked: Attacked, role: str) -> int:
    return int(newest(attacked.repository, role).name.partition(".")[0])


def running(attacked: Attacked) -> str:
    loaded = load_model(attacked.device, AGRICULTURE)
    assert loaded is not None
    return loaded.installed.version
