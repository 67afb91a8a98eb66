"""A stick is trusted no more than a link: it frees only what signed metadata says is held, and installs releases."""

import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

import fieldedge.commands.usb
import fieldedge.transfer.usb
from fieldedge.cli import main
from fieldedge.contract.batches import unpack
from fieldedge.device.config import DeviceConfig, DeviceDirectory, read_config, write_config
from fieldedge.inference.loading import load_model, read_reference
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.system.errors import LinkError, ReleaseError
from fieldedge.system.keys import is_signed_by, load_key, public_key_hex
from fieldedge.transfer.outbox import Outbox
from fieldedge.transfer.packing import Packer
from fieldedge.transfer.updates import update
from fieldedge.transfer.usb import (
    DirectoryFetcher,
    Exported,
    UsbStick,
    acknowledgement,
    acknowledgement_path,
    export,
    read_acknowledgement,
    take_acknowledgements,
    update_from_usb,
)
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    EPISODE,
    SEASON,
    GatewaySimulator,
    Repository,
    bundle_files,
    onnx_model,
    season_messages,
    zipped,
)

NOW_UTC = "2006-10-02T12:00:00Z"
ROLE = "acknowledgements"


class Office:
    """Where sticks are brought: it signs which batches it holds, and copies its repository onto the stick."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.signer = repository.signers[ROLE]
        self.held: dict[str, TargetFile] = {}

    def acknowledge(self, batch_ids: frozenset[str], device_id: str = DEVICE_ID, at: str | None = None) -> Path:
        """Sign that these batches are held; the path of the statement."""
        data = acknowledgement(device_id, batch_ids)
        target = TargetFile.from_data(at or acknowledgement_path(device_id), data, ["sha256"])
        self.held[target.path] = target
        folder, _, name = target.path.rpartition("/")
        path = self.repository.targets_dir / folder / f"{target.hashes['sha256']}.{name}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        self.publish()
        return path

    def publish(self, signer: CryptoSigner | None = None) -> None:
        repository = self.repository
        repository.version += 1
        version, expires = repository.version, datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        delegations = Delegations(
            {self.signer.public_key.keyid: self.signer.public_key},
            {ROLE: DelegatedRole(ROLE, [self.signer.public_key.keyid], 1, True, paths=[acknowledgement_path("*")])},
        )
        signed = Metadata(Targets(version, expires=expires, targets=self.held))
        signed.sign(signer or self.signer)
        (repository.metadata / f"{version}.{ROLE}.json").write_bytes(signed.to_bytes())
        targets = Targets(version, expires=expires, targets=repository.targets, delegations=delegations)
        repository._write("targets", targets, f"{version}.targets.json")
        meta = {"targets.json": MetaFile(version), f"{ROLE}.json": MetaFile(version)}
        repository._write("snapshot", Snapshot(version, expires=expires, meta=meta), f"{version}.snapshot.json")
        timestamp = Timestamp(version, expires=expires, snapshot_meta=MetaFile(version))
        repository._write("timestamp", timestamp, "timestamp.json")

    def write_onto(self, stick: UsbStick) -> None:
        shutil.rmtree(stick.release, ignore_errors=True)
        shutil.copytree(self.repository.metadata, stick.release / "metadata")
        shutil.copytree(self.repository.targets_dir, stick.release / "targets")


@pytest.fixture
def office(repository: Repository) -> Office:
    return Office(repository)


@pytest.fixture
def stick(tmp_path: Path) -> UsbStick:
    (tmp_path / "stick").mkdir()
    return UsbStick(tmp_path / "stick")


@pytest.fixture(scope="module")
def lived_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a device after two short seasons; made once."""
    directory = DeviceDirectory(tmp_path_factory.mktemp("lived"))
    write_config(directory.settings, DeviceConfig(DEVICE_ID, "agriculture"))
    with Store(directory.store) as store:
        agent = Agent(read_config(directory.settings), AGRICULTURE, store, None)
        for season in (SEASON, SEASON + 1):
            list(agent.answers(json.dumps(message) for message in season_messages(10, season)))
    return directory.store


@pytest.fixture
def lived(device: DeviceDirectory, lived_store: Path) -> DeviceDirectory:
    shutil.copy(lived_store, device.store)
    return device


def exported(device: DeviceDirectory, stick: UsbStick) -> Exported:
    with Store(device.store) as store:
        outbox = Outbox(device.outbox, store)
        packer = Packer(read_config(device.settings), AGRICULTURE, store, *read_reference(device, AGRICULTURE))
        outbox.settle()
        for episode in store.episodes():
            packer.prepare(outbox, episode)
        return export(stick, outbox, DEVICE_ID, load_key(device.private_key), NOW_UTC)


def acknowledged(device: DeviceDirectory, stick: UsbStick) -> int:
    with Store(device.store) as store:
        outbox = Outbox(device.outbox, store)
        return take_acknowledgements(stick, device, outbox, DEVICE_ID, lambda: datetime.now(UTC))


def states(device: DeviceDirectory) -> dict[str, int]:
    with Store(device.store) as store:
        return store.states()


def waiting(device: DeviceDirectory) -> frozenset[str]:
    with Store(device.store) as store:
        return frozenset(batch.batch_id for batch in store.prepared_batches())


def on_stick(stick: UsbStick) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in stick.device(DEVICE_ID).iterdir()}


# Out


def test_a_season_goes_onto_the_stick_signed_and_stays_on_the_device(lived: DeviceDirectory, stick: UsbStick) -> None:
    report = exported(lived, stick)
    assert (report.batches, report.new_batches) == (2, 2)
    public_key = public_key_hex(load_key(lived.private_key))
    seasons = set()
    for batch_id in waiting(lived):
        data = (stick.device(DEVICE_ID) / f"{batch_id}.batch").read_bytes()
        envelope = json.loads((stick.device(DEVICE_ID) / f"{batch_id}.json").read_bytes())
        assert hashlib.sha256(data).hexdigest() == batch_id
        assert envelope["device_id"] == DEVICE_ID
        assert is_signed_by(public_key, data, envelope["signature"])
        seasons.add(unpack(data)["season"])
    assert seasons == {SEASON, SEASON + 1}
    assert len(waiting(lived)) == len(list(lived.outbox.iterdir())) == 2
    assert set(states(lived)) == {"selected"}


def test_the_manifest_names_every_file_with_its_checksum(lived: DeviceDirectory, stick: UsbStick) -> None:
    exported(lived, stick)
    files = on_stick(stick)
    manifest = json.loads(files.pop("manifest.json"))
    assert (manifest["device_id"], manifest["exported_utc"]) == (DEVICE_ID, NOW_UTC)
    assert {name: (row["sha256"], row["bytes"]) for name, row in manifest["files"].items()} == {
        name: (hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()
    }


def test_a_second_export_writes_nothing_new_and_mends_what_was_damaged(lived: DeviceDirectory, stick: UsbStick) -> None:
    exported(lived, stick)
    before = on_stick(stick)
    assert exported(lived, stick).new_batches == 0
    assert on_stick(stick) == before
    for path in stick.device(DEVICE_ID).glob("*.batch"):
        path.write_bytes(path.read_bytes()[:-1])
    (stick.device(DEVICE_ID) / ".half.batch.1234abcd.tmp").write_bytes(b"left by a stick that was pulled out")
    assert exported(lived, stick).new_batches == 2
    assert on_stick(stick) == before


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_circle(path: Path) -> None:
    path.symlink_to(path)


def put_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("suffix", ["batch", "json"])
@pytest.mark.parametrize("put", [put_pipe, put_circle])
def test_a_pipe_or_a_link_where_a_file_belongs_is_replaced(
    lived: DeviceDirectory, stick: UsbStick, put: Callable[[Path], None], suffix: str
) -> None:
    exported(lived, stick)
    before = on_stick(stick)
    path = stick.device(DEVICE_ID) / f"{min(waiting(lived))}.{suffix}"
    path.unlink()
    put(path)
    exported(lived, stick)
    assert on_stick(stick) == before


@pytest.mark.parametrize("suffix", ["batch", "json"])
def test_a_folder_where_a_file_belongs_is_told_and_holds_up_no_other(
    lived: DeviceDirectory, stick: UsbStick, suffix: str
) -> None:
    exported(lived, stick)
    for path in stick.device(DEVICE_ID).iterdir():
        path.unlink()
    folder = stick.device(DEVICE_ID) / f"{min(waiting(lived))}.{suffix}"
    folder.mkdir()
    with pytest.raises(LinkError, match=r"1 of 2 batches are on the stick.*a folder is where a file belongs.*Remove"):
        exported(lived, stick)
    (batch,) = (path for path in stick.device(DEVICE_ID).glob("*.batch") if path.is_file())
    assert batch.stem == max(waiting(lived))
    folder.rmdir()
    assert exported(lived, stick).new_batches == 1


def test_a_device_that_has_lived_nothing_exports_an_empty_manifest(device: DeviceDirectory, stick: UsbStick) -> None:
    assert exported(device, stick).batches == 0
    assert json.loads(on_stick(stick)["manifest.json"])["files"] == {}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "is full .* make room on it"),
        (errno.EROFS, "cannot be written .* mount it writable"),
        (errno.EIO, "does not hold what is written .* plug it in again"),
        (errno.ENODEV, "does not hold what is written .* plug it in again"),
    ],
)
@pytest.mark.parametrize("writes_before", range(5))
def test_a_stick_that_fails_at_any_write_is_named_and_costs_nothing(
    lived: DeviceDirectory, stick: UsbStick, monkeypatch: pytest.MonkeyPatch, code: int, said: str, writes_before: int
) -> None:
    real_write, left = fieldedge.transfer.usb.write_durably, [writes_before]

    def write_until_it_fails(path: Path, data: bytes) -> None:
        if left[0] == 0:
            raise OSError(code, os.strerror(code), str(path))
        left[0] -= 1
        real_write(path, data)

    with monkeypatch.context() as patch, pytest.raises(LinkError, match=said) as caught:
        patch.setattr(fieldedge.transfer.usb, "write_durably", write_until_it_fails)
        exported(lived, stick)
    assert f"{writes_before // 2} of 2 batches are on it" in str(caught.value)
    assert len(waiting(lived)) == len(list(lived.outbox.iterdir())) == 2
    exported(lived, stick)
    assert len(on_stick(stick)) == 5


def test_a_stick_that_is_pulled_out_half_way_is_named(
    lived: DeviceDirectory, stick: UsbStick, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write = fieldedge.transfer.usb.write_durably

    def write_and_pull_out(path: Path, data: bytes) -> None:
        real_write(path, data)
        shutil.rmtree(stick.root)

    monkeypatch.setattr(fieldedge.transfer.usb, "write_durably", write_and_pull_out)
    with pytest.raises(LinkError, match="everything is kept on the device"):
        exported(lived, stick)
    assert len(waiting(lived)) == 2


def test_a_stick_that_swallows_what_is_written_is_found_out(
    lived: DeviceDirectory, stick: UsbStick, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fieldedge.transfer.usb, "write_durably", lambda path, data: path.write_bytes(data[:-1]))
    with pytest.raises(LinkError, match="does not hold what is written to it"):
        exported(lived, stick)


def test_no_stick_is_named(lived: DeviceDirectory, tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="plug the stick in"):
        exported(lived, UsbStick(tmp_path / "nothing"))
    with pytest.raises(LinkError, match="plug the stick in"):
        acknowledged(lived, UsbStick(tmp_path / "nothing"))


# In: acknowledgements


def test_a_signed_acknowledgement_frees_exactly_the_batches_that_it_names(
    lived: DeviceDirectory, stick: UsbStick, office: Office
) -> None:
    exported(lived, stick)
    first, second = sorted(waiting(lived))
    office.acknowledge(frozenset({first, "f" * 64}))
    office.write_onto(stick)
    assert acknowledged(lived, stick) == 1
    assert waiting(lived) == {second}
    assert [path.name for path in lived.outbox.iterdir()] == [f"{second}.batch"]
    assert set(states(lived)) == {"acknowledged", "selected"}
    assert acknowledged(lived, stick) == 0

    office.acknowledge(frozenset({first, second}))
    office.write_onto(stick)
    assert acknowledged(lived, stick) == 1
    assert set(states(lived)) == {"acknowledged"}
    assert exported(lived, stick).batches == 0


def test_an_acknowledgement_that_no_device_has_room_for_frees_nothing_and_is_never_read(
    lived: DeviceDirectory, stick: UsbStick, office: Office
) -> None:
    exported(lived, stick)
    held = waiting(lived)
    office.acknowledge(held | {f"{number:064x}" for number in range(30_000)})
    office.write_onto(stick)
    with pytest.raises(ReleaseError, match=r"the acknowledgement of .* has \d+ bytes; at most 2000000 are taken"):
        acknowledged(lived, stick)
    assert waiting(lived) == held


def test_a_repository_that_acknowledges_nothing_of_this_device_frees_nothing(
    lived: DeviceDirectory, stick: UsbStick, office: Office
) -> None:
    exported(lived, stick)
    office.write_onto(stick)
    assert acknowledged(lived, stick) == 0
    office.acknowledge(waiting(lived), "dev-01")
    office.write_onto(stick)
    assert acknowledged(lived, stick) == 0
    assert len(waiting(lived)) == 2


def _changed_after_signing(office: Office, stick: UsbStick, batches: frozenset[str]) -> None:
    path = office.acknowledge(frozenset({"0" * 64, "1" * 64}))
    office.write_onto(stick)
    copied = stick.release / "targets" / ROLE / path.name
    copied.write_bytes(acknowledgement(DEVICE_ID, batches))


def _with_a_line_in_the_metadata(office: Office, stick: UsbStick, batches: frozenset[str]) -> None:
    path = office.acknowledge(frozenset({"0" * 64, "1" * 64}))
    data = acknowledgement(DEVICE_ID, batches)
    office.write_onto(stick)
    metadata = stick.release / "metadata" / f"{office.repository.version}.{ROLE}.json"
    former = path.name.partition(".")[0]
    forged = hashlib.sha256(data).hexdigest()
    metadata.write_text(metadata.read_text().replace(former, forged))
    (stick.release / "targets" / ROLE / f"{forged}.{DEVICE_ID}.json").write_bytes(data)


def _signed_by_a_stranger_for_the_role(office: Office, stick: UsbStick, batches: frozenset[str]) -> None:
    office.acknowledge(batches)
    office.publish(signer=CryptoSigner.generate_ed25519())
    office.write_onto(stick)


def _signed_by_another_repository(office: Office, stick: UsbStick, batches: frozenset[str]) -> None:
    stranger = Office(Repository(stick.root.parent / "stranger"))
    stranger.acknowledge(batches)
    stranger.write_onto(stick)


def _of_another_device_under_this_name(office: Office, stick: UsbStick, batches: frozenset[str]) -> None:
    office.acknowledge(batches, device_id="dev-01", at=acknowledgement_path(DEVICE_ID))
    office.write_onto(stick)


def _without_the_file_that_was_signed(office: Office, stick: UsbStick, batches: frozenset[str]) -> None:
    office.acknowledge(batches).unlink()
    office.write_onto(stick)


Forgery = Callable[[Office, UsbStick, frozenset[str]], None]


@pytest.mark.parametrize(
    "forge",
    [
        _changed_after_signing,
        _with_a_line_in_the_metadata,
        _signed_by_a_stranger_for_the_role,
        _signed_by_another_repository,
        _of_another_device_under_this_name,
        _without_the_file_that_was_signed,
    ],
)
def test_a_forged_acknowledgement_frees_nothing(
    lived: DeviceDirectory, stick: UsbStick, office: Office, forge: Forgery
) -> None:
    exported(lived, stick)
    batches = waiting(lived)
    forge(office, stick, batches)
    with pytest.raises((ReleaseError, LinkError)):
        acknowledged(lived, stick)
    assert waiting(lived) == batches
    assert len(list(lived.outbox.iterdir())) == 2
    assert set(states(lived)) == {"selected"}


def test_files_that_only_look_like_acknowledgements_are_not_looked_at(
    lived: DeviceDirectory, stick: UsbStick, office: Office
) -> None:
    exported(lived, stick)
    office.write_onto(stick)
    data = acknowledgement(DEVICE_ID, waiting(lived))
    for name in (f"targets/{ROLE}/{DEVICE_ID}.json", f"targets/{DEVICE_ID}.json", f"metadata/9.{ROLE}.json"):
        path = stick.release / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    assert acknowledged(lived, stick) == 0


def test_the_key_for_acknowledgements_can_release_no_model(
    device: DeviceDirectory, stick: UsbStick, office: Office
) -> None:
    data = zipped(bundle_files(onnx_model(AGRICULTURE.contract)))
    target = TargetFile.from_data("agriculture/bundle.zip", data, ["sha256"])
    target.unrecognized_fields["custom"] = {"contract_hash": AGRICULTURE.contract.hash}
    office.held[target.path] = target
    office.publish()
    office.write_onto(stick)
    with pytest.raises(ReleaseError, match="nothing is released"):
        update_from_usb(stick, device, AGRICULTURE.contract, lambda: datetime.now(UTC))


def test_a_stick_from_long_ago_frees_nothing_and_is_told_from_an_attack(
    lived: DeviceDirectory, stick: UsbStick, office: Office, gateway: GatewaySimulator, repository: Repository
) -> None:
    exported(lived, stick)
    office.acknowledge(waiting(lived))
    office.write_onto(stick)
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract))))
    update(lived, AGRICULTURE.contract, gateway.url)
    with pytest.raises(ReleaseError, match="older than what this device has seen"):
        acknowledged(lived, stick)
    assert len(waiting(lived)) == 2


@given(data=st.binary(max_size=60) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_no_acknowledgement_is_read_but_a_right_one(data: bytes | str) -> None:
    raw = data.encode() if isinstance(data, str) else data
    with pytest.raises(ReleaseError):
        read_acknowledgement(raw, DEVICE_ID)


@given(batches=st.frozensets(st.text(max_size=70), max_size=5))
def test_an_acknowledgement_reads_back_as_it_was_written(batches: frozenset[str]) -> None:
    assert read_acknowledgement(acknowledgement(DEVICE_ID, batches), DEVICE_ID) == batches


# In: releases


def test_a_release_on_the_stick_is_installed_as_over_the_air(
    device: DeviceDirectory, stick: UsbStick, office: Office, repository: Repository
) -> None:
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract), "3")))
    office.write_onto(stick)
    for changed in (True, False):
        result = update_from_usb(stick, device, AGRICULTURE.contract, lambda: datetime.now(UTC))
        assert (result.version, result.changed, result.slot) == ("3", changed, "a")
    loaded = load_model(device, AGRICULTURE)
    assert loaded is not None and loaded.installed.version == "3"


def test_stick_and_link_may_take_turns(
    device: DeviceDirectory, stick: UsbStick, office: Office, repository: Repository, gateway: GatewaySimulator
) -> None:
    versions = []
    for version in ("1", "2", "3", "4"):
        repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract, bias=int(version)), version)))
        if int(version) % 2:
            office.write_onto(stick)
            result = update_from_usb(stick, device, AGRICULTURE.contract, lambda: datetime.now(UTC))
        else:
            result = update(device, AGRICULTURE.contract, gateway.url)
        versions.append(result.version)
    assert versions == ["1", "2", "3", "4"]


@pytest.mark.parametrize("damage", ["changed", "cut", "longer", "lost", "a link", "a pipe", "a folder"])
def test_a_bundle_that_is_not_the_signed_one_is_refused_and_the_old_model_stays(
    device: DeviceDirectory,
    stick: UsbStick,
    office: Office,
    repository: Repository,
    gateway: GatewaySimulator,
    damage: str,
) -> None:
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract), "1")))
    update(device, AGRICULTURE.contract, gateway.url)
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract, bias=1.0), "2")))
    office.write_onto(stick)
    (bundle,) = (path for path in stick.release.glob("targets/agriculture/*") if b'"2"' in path.read_bytes())
    data = bundle.read_bytes()
    bundle.unlink()
    if damage == "changed":
        bundle.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "cut":
        bundle.write_bytes(data[:-1])
    elif damage == "longer":
        bundle.write_bytes(data + b"x" * 1_000_000)
    elif damage == "a link":
        bundle.symlink_to("/dev/zero")
    elif damage == "a pipe":
        os.mkfifo(bundle)
    elif damage == "a folder":
        bundle.mkdir()
    with pytest.raises((ReleaseError, LinkError)):
        update_from_usb(stick, device, AGRICULTURE.contract, lambda: datetime.now(UTC))
    loaded = load_model(device, AGRICULTURE)
    assert loaded is not None and loaded.installed.version == "1"
    assert not device.staging.exists()


def test_the_fetcher_reads_plain_files_below_its_folder_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_bytes(b"a" * 200_000)
    (tmp_path / "out.json").write_bytes(b"secret")
    fetcher = DirectoryFetcher(tmp_path / "in")
    assert fetcher.download_bytes("stick:a.json", 300_000) == b"a" * 200_000
    for name in ("nothing.json", "a.json/b.json"):
        with pytest.raises(DownloadHTTPError) as caught:
            fetcher.download_bytes(f"stick:{name}", 10)
        assert caught.value.status_code == 404
    for name in ("../out.json", "%2e%2e/out.json", "a\0b"):
        with pytest.raises(DownloadError):
            fetcher.download_bytes(f"stick:{name}", 10)


# The commands


def call(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_round_trip_by_hand(
    lived: DeviceDirectory, stick: UsbStick, office: Office, repository: Repository, capsys: Any
) -> None:
    at = ("--dir", str(lived.root))
    code, out, _ = call(capsys, "export", *at, "--to", str(stick.root))
    report = json.loads(out)
    assert (code, report["batches"], report["new_batches"], report["is_own_disk"]) == (0, 2, 2, True)

    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract), "5")))
    office.acknowledge(waiting(lived))
    office.write_onto(stick)
    code, out, _ = call(capsys, "import", *at, "--from", str(stick.root))
    assert (code, json.loads(out)) == (
        0,
        {
            "acknowledgements": {"acknowledged": 2, "waiting": 0},
            "release": {"version": "5", "changed": True, "slot": "a", "precision": "float32"},
        },
    )
    with Store(lived.store) as store:
        assert [event["kind"] for event in store.events(2)] == ["acknowledged", "export"]


def test_a_release_that_cannot_be_trusted_does_not_hold_up_acknowledgements(
    lived: DeviceDirectory, stick: UsbStick, office: Office, repository: Repository, capsys: Any
) -> None:
    exported(lived, stick)
    repository.release(b"no bundle at all")
    office.acknowledge(waiting(lived))
    office.write_onto(stick)
    code, out, err = call(capsys, "import", "--dir", str(lived.root), "--from", str(stick.root))
    assert code == 1
    assert json.loads(out)["acknowledgements"] == {"acknowledged": 2, "waiting": 0}
    assert "not a readable zip" in err


def test_messages_come_in_from_a_file_and_what_is_rejected_is_told(
    device: DeviceDirectory, tmp_path: Path, capsys: Any
) -> None:
    file = tmp_path / "messages.jsonl"
    lines = [json.dumps(message) for message in season_messages(3)]
    file.write_text("\n".join([*lines, "", "no JSON"]) + "\n")
    code, out, _ = call(capsys, "import", "--dir", str(device.root), "--messages", str(file))
    report = json.loads(out)["messages"]
    assert (code, report["lines"], report["rejected"]) == (0, len(lines) + 1, 1)
    assert report["rejections"][0]["line"] == len(lines) + 2
    with Store(device.store) as store:
        assert len(store.records(EPISODE, "readings")) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a stick with --from"),
        (["--from", "/nowhere"], "plug the stick in"),
        (["--from", "{stick}"], "holds no release"),
        (["--messages", "/nowhere.jsonl"], "cannot be read"),
    ],
)
def test_an_import_of_nothing_says_what_is_missing(
    device: DeviceDirectory, stick: UsbStick, capsys: Any, arguments: list[str], said: str
) -> None:
    filled = [argument.replace("{stick}", str(stick.root)) for argument in arguments]
    code, _, err = call(capsys, "import", "--dir", str(device.root), *filled)
    assert code == 1
    assert said in err


def test_a_person_at_a_terminal_reads_what_happened(
    lived: DeviceDirectory,
    stick: UsbStick,
    office: Office,
    repository: Repository,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _, out, _ = call(capsys, "export", "--dir", str(lived.root), "--to", str(stick.root))
    assert out.splitlines()[0].startswith("2 batches (")
    assert "New on it: 2. Everything stays here as well, until an acknowledgement comes back." in out
    assert "is the stick mounted?" in out
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract), "5")))
    office.acknowledge(waiting(lived))
    office.write_onto(stick)
    _, out, _ = call(capsys, "import", "--dir", str(lived.root), "--from", str(stick.root))
    assert out.splitlines() == [
        "acknowledgements: 2 batches freed, 0 still waiting",
        "release: 5 (float32) installed, slot a",
    ]


# What lies where something else belongs


@pytest.mark.parametrize("put", [put_pipe, put_circle, put_folder])
@pytest.mark.parametrize("name", ["1.root.json", "2.root.json", "99.targets.json"])
def test_what_is_no_file_on_the_stick_is_told_and_holds_up_nothing(
    device: DeviceDirectory,
    stick: UsbStick,
    office: Office,
    repository: Repository,
    put: Callable[[Path], None],
    name: str,
    capsys: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract), "5")))
    office.write_onto(stick)
    path = stick.release / "metadata" / name
    path.unlink(missing_ok=True)
    put(path)
    code, out, _ = call(capsys, "import", "--dir", str(device.root), "--from", str(stick.root))
    assert (code, json.loads(out)["release"]["version"]) == (0, "5")
    assert f"{path} is a" in caplog.text


def test_a_folder_in_the_place_of_the_timestamp_is_named(device: DeviceDirectory, stick: UsbStick, capsys: Any) -> None:
    stick.timestamp.mkdir(parents=True)
    code, _, err = call(capsys, "import", "--dir", str(device.root), "--from", str(stick.root))
    assert (code, "timestamp.json is a folder" in err) == (1, True)


@pytest.mark.parametrize("below", ["fieldloop", "fieldloop/devices", f"fieldloop/devices/{DEVICE_ID}"])
def test_no_link_on_the_stick_leads_an_export_away_from_it(
    lived: DeviceDirectory, stick: UsbStick, below: str, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (stick.root / below).parent.mkdir(parents=True, exist_ok=True)
    (stick.root / below).symlink_to(elsewhere)
    with pytest.raises(LinkError, match="is a link; expected a folder on the stick"):
        exported(lived, stick)
    assert not list(elsewhere.iterdir())


# Messages


def test_a_line_without_an_end_is_rejected_and_counted(device: DeviceDirectory, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "messages.jsonl"
    lines = [json.dumps(message) for message in season_messages(3)]
    file.write_text("\n".join(["x" * 3_000_000, *lines, "y" * 3_000_000]))
    code, out, _ = call(capsys, "import", "--dir", str(device.root), "--messages", str(file))
    report = json.loads(out)["messages"]
    assert (code, report["lines"], report["rejected"]) == (0, len(lines) + 2, 2)
    assert [row["line"] for row in report["rejections"]] == [1, len(lines) + 2]
    assert "at most" in report["rejections"][0]["error"]


def put_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def put_vast(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2_000_000_000)


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (put_pipe, "is a pipe"),
        (put_folder, "is a folder"),
        (put_endless, "is a device"),
        (put_circle, "in a circle"),
        (put_vast, "divide it"),
    ],
)
def test_messages_come_from_a_file_alone(
    device: DeviceDirectory, tmp_path: Path, capsys: Any, put: Callable[[Path], None], said: str
) -> None:
    put(tmp_path / "messages")
    code, out, err = call(capsys, "import", "--dir", str(device.root), "--messages", str(tmp_path / "messages"))
    assert (code, said in err, json.loads(out)["messages"].keys()) == (1, True, {"error"})


def test_what_is_appended_while_messages_are_read_is_not_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "messages"
    file.write_text("a\n" * 3)
    with fieldedge.commands.usb._opened(file) as lines, file.open("a") as writer:
        taken = 0
        for _ in lines:
            taken += 1
            writer.write("b\n" * 100_000)
            writer.flush()
    assert taken == 3
