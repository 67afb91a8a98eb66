"""By stick as over the link: every batch arrives once, and only what has arrived is freed on the device."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from fieldedge.cli import main as edge
from fieldedge.device.config import DeviceDirectory
from fieldedge.storage.store import Store
from fieldedge.system.errors import LinkError, ReleaseError
from fieldedge.system.keys import load_key, public_key_hex, sign
from fieldedge.transfer.usb import UsbStick, acknowledgement
from fieldloop.cli import app as cloud_commands
from fieldloop.data import AcceptedStore
from fieldloop.gateway.app import MAX_UPLOAD_BYTES, create_app
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.inbox import Inbox
from fieldloop.gateway.usb import TakenIn, ingest_usb
from fieldloop.ingest.accept import IngestReport, ingest_batches
from fieldloop.ingest.reconcile import reconcile
from fieldloop.release import ReleaseRepository
from tests.edge.sample import bundle_files, onnx_model, zipped
from tests.sample_season import CONTRACT, field_row, season_rows

DEVICE_ID = "dev-00"
TODAY = date(2007, 1, 15)


@dataclass
class Office:
    """The cloud side: inbox, registry, releases and accepted data in one directory."""

    root: Path

    def __post_init__(self) -> None:
        self.repository = ReleaseRepository(self.root / "tuf")
        self.registry = DeviceRegistry(self.root / "devices.json")
        self.inbox = Inbox(self.root / "inbox")
        self.store = AcceptedStore(self.root / "data" / "seasons", CONTRACT)

    def take(self, stick: UsbStick) -> TakenIn:
        return ingest_usb(stick, self.inbox, self.registry, self.repository, datetime.now(UTC))

    def ingest(self) -> IngestReport:
        quarantine = self.root / "quarantine"
        return ingest_batches(self.root / "inbox", self.registry.path, self.store, quarantine, CONTRACT, TODAY)

    def release(self, version: str) -> None:
        bundle = self.root / f"{version}.zip"
        bundle.write_bytes(zipped(bundle_files(onnx_model(CONTRACT, bias=float(version)), version)))
        self.repository.publish(bundle, "agriculture", version, CONTRACT.hash)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    (tmp_path / "office").mkdir()
    return Office(tmp_path / "office")


@pytest.fixture
def stick(tmp_path: Path) -> UsbStick:
    (tmp_path / "stick").mkdir()
    return UsbStick(tmp_path / "stick")


def new_device(office: Office, directory: Path, capsys: Any, device_id: str = DEVICE_ID) -> DeviceDirectory:
    """A registered device that has lived a season of twelve records."""
    device = DeviceDirectory(directory / device_id)
    root = str(office.repository.trusted_root())
    options = ("--device-id", device_id, "--workload", "agriculture", "--root", root)
    assert edge(["init", "--dir", str(device.root), *options]) == 0
    office.registry.register({device_id: json.loads(capsys.readouterr().out)["public_key"]})
    number = int(device_id.rpartition("-")[2])
    with Store(device.store) as store:
        for table, rows in season_rows(field_row(number, device_id=device_id), days=8).items():
            for row in rows:
                store.add(table, row)
    return device


@pytest.fixture
def device(office: Office, tmp_path: Path, capsys: Any) -> DeviceDirectory:
    return new_device(office, tmp_path, capsys)


def at_device(capsys: Any, device: DeviceDirectory, command: str, *arguments: str) -> tuple[int, Any]:
    code = edge([command, "--dir", str(device.root), *arguments])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else None


def states(device: DeviceDirectory) -> dict[str, int]:
    with Store(device.store) as store:
        return store.states()


def test_a_season_goes_home_and_a_model_comes_back_without_any_link(
    office: Office, device: DeviceDirectory, stick: UsbStick, capsys: Any
) -> None:
    office.release("1")
    at_device(capsys, device, "export", "--to", str(stick.root))
    assert states(device) == {"selected": 12}

    taken = office.take(stick)
    assert (taken.new, taken.known, taken.refused, taken.missing) == (1, 0, {}, [])
    assert office.ingest().records_accepted == 12
    assert reconcile(office.root / "inbox", office.store, office.root / "quarantine").missing == ()

    code, report = at_device(capsys, device, "import", "--from", str(stick.root))
    assert code == 0
    assert report["acknowledgements"] == {"acknowledged": 1, "waiting": 0}
    assert (report["release"]["version"], report["release"]["changed"]) == ("1", True)
    assert states(device) == {"acknowledged": 12}


def test_the_same_stick_again_and_again_brings_nothing_twice(
    office: Office, device: DeviceDirectory, stick: UsbStick, capsys: Any
) -> None:
    for round_ in range(3):
        at_device(capsys, device, "export", "--to", str(stick.root))
        taken = office.take(stick)
        assert (taken.new, taken.known) == ((1, 0) if round_ == 0 else (0, 1))
        report = office.ingest()
        assert report.records_accepted == (12 if round_ == 0 else 0)
        assert report.records_duplicate == report.records_quarantined == 0


def test_by_stick_and_over_the_link_at_once_a_batch_arrives_once(
    office: Office, device: DeviceDirectory, stick: UsbStick, capsys: Any
) -> None:
    at_device(capsys, device, "export", "--to", str(stick.root))
    (batch,) = stick.device(DEVICE_ID).glob("*.batch")
    body = batch.read_bytes()
    headers = {"Fieldloop-Device": DEVICE_ID, "Fieldloop-Signature": sign(load_key(device.private_key), body)}
    gateway = TestClient(create_app(office.root / "tuf", office.root / "inbox", office.registry.path))
    assert gateway.post("/v1/batches", content=body, headers=headers).status_code == 201
    assert (office.take(stick).known, len(list((office.root / "inbox").glob("*/*.batch")))) == (1, 1)
    assert office.ingest().records_accepted == 12
    assert gateway.post("/v1/batches", content=body, headers=headers).status_code == 200
    assert office.ingest().batches == ()


def test_one_stick_serves_many_devices_and_each_hears_of_its_own(
    office: Office, device: DeviceDirectory, stick: UsbStick, tmp_path: Path, capsys: Any
) -> None:
    devices = [device, *(new_device(office, tmp_path, capsys, f"dev-{number:02d}") for number in (1, 2))]
    for one in devices:
        at_device(capsys, one, "export", "--to", str(stick.root))
    shutil.rmtree(stick.device("dev-02"))  # one that never reached the office
    taken = office.take(stick)
    assert (taken.new, sorted(taken.held)) == (2, ["dev-00", "dev-01"])
    for one, freed in zip(devices, (1, 1, 0), strict=True):
        _, report = at_device(capsys, one, "import", "--from", str(stick.root))
        assert report["acknowledgements"] == {"acknowledged": freed, "waiting": 1 - freed}


def test_an_older_stick_that_comes_later_takes_back_no_acknowledgement(
    office: Office, device: DeviceDirectory, stick: UsbStick, tmp_path: Path, capsys: Any
) -> None:
    older = UsbStick(tmp_path / "older")
    older.root.mkdir()
    at_device(capsys, device, "export", "--to", str(older.root))
    with Store(device.store) as store:
        late = season_rows(field_row(0, season=2007, device_id=DEVICE_ID), days=8)
        for table, rows in late.items():
            for row in rows:
                store.add(table, row)
    at_device(capsys, device, "export", "--to", str(stick.root))
    assert office.take(stick).new == 2
    assert office.take(older).known == 1
    _, report = at_device(capsys, device, "import", "--from", str(older.root))
    assert report["acknowledgements"] == {"acknowledged": 2, "waiting": 0}


def test_what_cannot_be_trusted_is_refused_by_name_and_not_acknowledged(
    office: Office, device: DeviceDirectory, stick: UsbStick, tmp_path: Path, capsys: Any
) -> None:
    at_device(capsys, device, "export", "--to", str(stick.root))
    folder = stick.device(DEVICE_ID)
    (good,) = folder.glob("*.batch")
    body = good.read_bytes()
    stranger = stick.device("dev-66")
    stranger.mkdir()
    bad = {
        "cut": (body[:-1], good.with_suffix(".json").read_bytes(), "damaged on the way"),
        "large": (b"x" * (MAX_UPLOAD_BYTES + 1), b"{}", "is the most that is taken"),
    }
    for name, (data, envelope, _) in bad.items():
        (stranger / f"{name}.batch").write_bytes(data)
        (stranger / f"{name}.json").write_bytes(envelope)
    (stranger / good.name).write_bytes(body)
    taken = office.take(stick)
    assert (taken.new, taken.held) == (1, {DEVICE_ID: {good.stem}})
    assert f"dev-66/{good.name}" in taken.refused
    for name, (_, _, said) in bad.items():
        assert said in taken.refused[f"dev-66/{name}.batch"]


def put_folder(path: Path) -> None:
    path.mkdir()


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_circle(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("name", [f"dev-00a/{'0' * 64}.batch", "dev-00a/manifest.json", "dev-00a"])
@pytest.mark.parametrize("put", [put_folder, put_pipe, put_circle])
def test_one_bad_entry_of_a_stick_holds_up_no_other_and_is_told(
    office: Office, device: DeviceDirectory, stick: UsbStick, put: Callable[[Path], None], name: str, capsys: Any
) -> None:
    office.release("1")
    at_device(capsys, device, "export", "--to", str(stick.root))
    bad = stick.devices / name
    bad.parent.mkdir(exist_ok=True)
    put(bad)
    taken = office.take(stick)
    assert (taken.new, list(taken.held)) == (1, [DEVICE_ID])
    assert list(taken.refused) == ([] if name == "dev-00a" and put is put_folder else [name])
    _, report = at_device(capsys, device, "import", "--from", str(stick.root))
    assert report["acknowledgements"] == {"acknowledged": 1, "waiting": 0}
    assert report["release"]["version"] == "1"


def test_an_envelope_that_is_a_pipe_refuses_its_batch_alone(
    office: Office, device: DeviceDirectory, stick: UsbStick, tmp_path: Path, capsys: Any
) -> None:
    for one in (device, new_device(office, tmp_path, capsys, "dev-01")):
        at_device(capsys, one, "export", "--to", str(stick.root))
    (batch,) = stick.device(DEVICE_ID).glob("*.batch")
    batch.with_suffix(".json").unlink()
    os.mkfifo(batch.with_suffix(".json"))
    taken = office.take(stick)
    assert (list(taken.held), list(taken.refused)) == (["dev-01"], [f"{DEVICE_ID}/{batch.name}"])


@pytest.mark.parametrize(
    ("envelope", "said"),
    [
        (None, "is missing"),
        (b"", "is broken"),
        (b"[]", "is broken"),
        (b'{"device_id": "dev-00"}', "is broken"),
        (b'{"device_id": "dev-00", "signature": "AAAA"}', "not signed by a registered device"),
        (b'{"device_id": "dev-01", "signature": "AAAA"}', "not signed by a registered device"),
    ],
)
def test_a_batch_without_its_signature_is_refused(
    office: Office, device: DeviceDirectory, stick: UsbStick, capsys: Any, envelope: bytes | None, said: str
) -> None:
    at_device(capsys, device, "export", "--to", str(stick.root))
    (path,) = (path for path in stick.device(DEVICE_ID).glob("*.json") if path.name != "manifest.json")
    if envelope is None:
        path.unlink()
    else:
        path.write_bytes(envelope)
    taken = office.take(stick)
    assert (taken.new, taken.held) == (0, {})
    assert said in " ".join(taken.refused.values())
    _, report = at_device(capsys, device, "import", "--from", str(stick.root))
    assert report["acknowledgements"] == {"acknowledged": 0, "waiting": 1}


def test_a_batch_that_was_lost_from_the_stick_is_named(
    office: Office, device: DeviceDirectory, stick: UsbStick, capsys: Any
) -> None:
    at_device(capsys, device, "export", "--to", str(stick.root))
    (batch,) = stick.device(DEVICE_ID).glob("*.batch")
    batch.unlink()
    assert office.take(stick).missing == [f"{DEVICE_ID}/{batch.name}"]


@pytest.mark.parametrize("manifest", [b"\xff", b"no JSON", b"[]", b"{}", b'{"files": 7}', b"[" * 10_000])
def test_a_manifest_that_is_none_is_told_and_its_batches_are_taken(
    office: Office, device: DeviceDirectory, stick: UsbStick, manifest: bytes, capsys: Any
) -> None:
    at_device(capsys, device, "export", "--to", str(stick.root))
    (stick.device(DEVICE_ID) / "manifest.json").write_bytes(manifest)
    taken = office.take(stick)
    assert (taken.new, taken.missing, list(taken.refused)) == (1, [], [f"{DEVICE_ID}/manifest.json"])
    assert "is no manifest" in taken.refused[f"{DEVICE_ID}/manifest.json"]


def test_names_on_a_stick_are_told_on_one_line_and_command_no_terminal(
    office: Office, device: DeviceDirectory, stick: UsbStick, capsys: Any
) -> None:
    at_device(capsys, device, "export", "--to", str(stick.root))
    folder = stick.device(DEVICE_ID)
    for name in ("a\nb.batch", "\x1b[2J.batch", os.fsdecode(b"\xff.batch")):
        (folder / name).write_bytes(b"")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"] |= {"c\nd.batch": {}, "\ud800.batch": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    taken = office.take(stick)
    said = [*taken.refused, *taken.missing, *taken.refused.values()]
    assert (len(taken.refused), len(taken.missing)) == (3, 2)
    assert all(text.isprintable() for text in said)


@pytest.mark.parametrize("put", [put_folder, put_pipe, put_circle])
@pytest.mark.parametrize("name", ["metadata/1.root.json", "metadata/timestamp.json", "metadata/7.targets.json"])
def test_what_lies_in_the_way_of_the_release_is_replaced_or_told_and_holds_up_nothing_else(
    office: Office, stick: UsbStick, put: Callable[[Path], None], name: str
) -> None:
    office.release("1")
    path = stick.release / name
    path.parent.mkdir(parents=True)
    put(path)
    if put is put_folder and "7" not in name:
        with pytest.raises(LinkError, match=f"{path.name} is a folder; expected a plain file: remove it"):
            office.take(stick)
        path.rmdir()
    office.take(stick)
    wanted = {path.name for path in office.repository.metadata_dir.glob("*.json")}
    found = {path.name for path in (stick.release / "metadata").iterdir() if path.is_file()}
    assert {"1.root.json", "timestamp.json"} <= found
    assert {name for name in found if not name.endswith("snapshot.json")} <= wanted  # a stick has one of its own


@pytest.mark.parametrize("below", ["fieldloop", "fieldloop/release", "fieldloop/devices"])
def test_no_link_on_a_stick_leads_away_from_it(office: Office, stick: UsbStick, below: str, tmp_path: Path) -> None:
    office.release("1")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "release").mkdir(parents=True)
    (elsewhere / "precious").write_text("kept")
    (stick.root / below).parent.mkdir(parents=True, exist_ok=True)
    (stick.root / below).symlink_to(elsewhere)
    with pytest.raises(LinkError, match="is a link; expected a folder on the stick"):
        office.take(stick)
    assert (elsewhere / "precious").read_text() == "kept"


@pytest.mark.parametrize("below", ["metadata", "targets", "targets/agriculture"])
def test_a_link_within_the_release_goes_and_what_it_led_to_stays(
    office: Office, stick: UsbStick, below: str, tmp_path: Path
) -> None:
    office.release("1")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("kept")
    (stick.release / below).parent.mkdir(parents=True)
    (stick.release / below).symlink_to(elsewhere)
    office.take(stick)
    assert [path.name for path in elsewhere.iterdir()] == ["precious"]
    assert len(list((stick.release / "targets" / "agriculture").iterdir())) == 1


def test_an_acknowledgement_that_was_changed_on_the_way_back_frees_nothing(
    office: Office, device: DeviceDirectory, stick: UsbStick, capsys: Any
) -> None:
    at_device(capsys, device, "export", "--to", str(stick.root))
    (batch,) = stick.device(DEVICE_ID).glob("*.batch")
    office.repository.acknowledge({DEVICE_ID: {"0" * 64}})
    office.repository.copy_to(stick.release)
    (path,) = stick.release.glob("targets/acknowledgements/*")
    path.write_bytes(acknowledgement(DEVICE_ID, frozenset({batch.stem})))
    code, report = at_device(capsys, device, "import", "--from", str(stick.root))
    assert code == 1
    assert "cannot be trusted" in report["acknowledgements"]["error"]
    assert states(device) == {"selected": 12}


def test_a_stick_holds_what_is_released_now_and_nothing_older(office: Office, stick: UsbStick) -> None:
    for version in ("1", "2"):
        office.release(version)
        office.repository.copy_to(stick.release)
    assert len(list(stick.release.glob("targets/agriculture/*"))) == 1
    for role in ("targets", "snapshot"):
        assert len(list(stick.release.glob(f"metadata/*.{role}.json"))) == 1
    assert (stick.release / "metadata" / "1.root.json").is_file()
    assert not list(stick.release.rglob("*.pem"))


def test_acknowledgements_live_on_through_releases_and_refreshes(
    tmp_path: Path, stick: UsbStick, office: Office, device: DeviceDirectory, capsys: Any
) -> None:
    later = [datetime.now(UTC)]
    repository = ReleaseRepository(tmp_path / "office" / "tuf", now=lambda: later[0])
    at_device(capsys, device, "export", "--to", str(stick.root))
    office.take(stick)
    office.release("1")
    for _ in range(3):
        later[0] += timedelta(days=60)
        repository.refresh()
    repository.copy_to(stick.release)
    (role,) = stick.release.glob("metadata/*.acknowledgements.json")
    assert int(role.name.partition(".")[0]) > 1
    _, report = at_device(capsys, device, "import", "--from", str(stick.root))
    assert report["acknowledgements"] == {"acknowledged": 1, "waiting": 0}


def test_a_repository_whose_key_for_acknowledgements_is_lost_says_so(office: Office) -> None:
    office.repository.acknowledge({DEVICE_ID: {"0" * 64}})
    (office.root / "tuf" / "keys" / "acknowledgements.pem").unlink()
    with pytest.raises(ReleaseError, match=r"acknowledgements\.pem is missing"):
        office.repository.acknowledge({DEVICE_ID: {"1" * 64}})


def test_no_stick_is_named(office: Office, tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="plug the stick in"):
        office.take(UsbStick(tmp_path / "nothing"))


def test_a_stick_that_cannot_be_written_is_named_and_what_arrived_stays(
    office: Office, device: DeviceDirectory, stick: UsbStick, capsys: Any
) -> None:
    at_device(capsys, device, "export", "--to", str(stick.root))
    stick.release.write_bytes(b"a file where the folder should be")
    with pytest.raises(LinkError, match="cannot be written onto the stick"):
        office.take(stick)
    assert office.ingest().records_accepted == 12


def test_the_command_takes_a_stick_in(
    office: Office, device: DeviceDirectory, stick: UsbStick, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = office.root / "home"
    (home / "gateway").mkdir(parents=True)
    shutil.move(office.root / "tuf", home / "tuf")
    shutil.move(office.registry.path, home / "gateway" / "devices.json")
    at_device(capsys, device, "export", "--to", str(stick.root))
    monkeypatch.setenv("FIELDLOOP_HOME", str(home))
    cloud_commands(["ingest-usb", str(stick.root)], standalone_mode=False)
    assert "1 new batches and 0 known ones of 1 devices are in the inbox" in capsys.readouterr().out
    assert len(list((home / "gateway" / "inbox").glob("*/*.batch"))) == 1
    _, report = at_device(capsys, device, "import", "--from", str(stick.root))
    assert report["acknowledgements"] == {"acknowledged": 1, "waiting": 0}


def test_a_device_that_is_registered_with_another_key_is_refused(
    office: Office, device: DeviceDirectory, stick: UsbStick, capsys: Any
) -> None:
    at_device(capsys, device, "export", "--to", str(stick.root))
    registered = json.loads(office.registry.path.read_text())
    assert registered[DEVICE_ID] == public_key_hex(load_key(device.private_key))
    office.registry.path.write_text(json.dumps({DEVICE_ID: "00" * 32}))
    taken = office.take(stick)
    assert (taken.new, taken.held, len(taken.refused)) == (0, {}, 1)
