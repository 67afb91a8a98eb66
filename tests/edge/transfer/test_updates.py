"""Nothing unverified runs, nothing half-written is ever active, and whatever fails leaves the old model."""

import hashlib
import json
import re
import shutil
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldedge.inference.slots
from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.bundles import CARD, GOLDEN, MANIFEST, MODEL, REFERENCE
from fieldedge.inference.loading import load_model, read_reference
from fieldedge.inference.model import Model
from fieldedge.inference.slots import Slots
from fieldedge.system.clock import Clock, Reading, format_utc
from fieldedge.system.errors import ConfigError, LinkError, ReleaseError, StoreBusy
from fieldedge.system.http import Patience
from fieldedge.system.locks import exclusive
from fieldedge.transfer.trust import max_metadata_bytes
from fieldedge.transfer.updates import UpdateResult, update
from fieldedge.transfer.usb import UsbStick, update_from_usb
from tests.edge.patience import PATIENCE_S
from tests.edge.sample import (
    AGRICULTURE,
    GatewaySimulator,
    Repository,
    bundle_files,
    onnx_model,
    serving,
    with_manifest,
    zipped,
)

CONTRACT = AGRICULTURE.contract
Files = dict[str, bytes]


def good_files(version: str = "1", **model: Any) -> Files:
    return bundle_files(onnx_model(CONTRACT, **model), version)


@pytest.fixture
def updated(device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator) -> DeviceDirectory:
    """A device that runs version 1."""
    repository.release(zipped(good_files("1")))
    update(device, CONTRACT, gateway.url)
    return device


def assert_version_1_still_runs(device: DeviceDirectory) -> None:
    loaded = load_model(device, AGRICULTURE)
    assert loaded is not None
    assert loaded.installed.version == "1"
    assert not device.staging.exists()


def test_a_release_is_installed_once_and_then_found_unchanged(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    repository.release(zipped(good_files("1")))
    assert update(device, CONTRACT, gateway.url) == UpdateResult("1", True, "a", "float32")
    assert update(device, CONTRACT, gateway.url) == UpdateResult("1", False, "a", "float32")
    assert read_reference(device, AGRICULTURE)[0] == "1"
    assert_version_1_still_runs(device)


def test_releases_that_are_confirmed_alternate_between_the_slots(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    slots = []
    for version in ("2", "3", "4"):
        repository.release(zipped(good_files(version, bias=int(version))))
        slots.append(update(updated, CONTRACT, gateway.url).slot)
        active = Slots(updated.root).active()
        assert active is not None and Slots(updated.root).confirm(active, "nothing spoke against it")
    assert slots == ["b", "a", "b"]
    loaded = load_model(updated, AGRICULTURE)
    assert loaded is not None and loaded.installed.version == "4"


def test_what_runs_after_an_update_is_the_new_model(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    features = np.zeros((1, len(CONTRACT.features)), np.float32)
    before = load_model(updated, AGRICULTURE)
    repository.release(zipped(good_files("2", bias=2.0)))
    update(updated, CONTRACT, gateway.url)
    after = load_model(updated, AGRICULTURE)
    assert before is not None and after is not None
    np.testing.assert_allclose(after.model.predict(features) - before.model.predict(features), 2.0, atol=1e-5)


def truncated_model(files: Files) -> Files:
    return {**files, MODEL: files[MODEL][: len(files[MODEL]) // 2]}


def truncated_model_with_matching_sha(files: Files) -> Files:
    model = files[MODEL][: len(files[MODEL]) // 2]
    return with_manifest({**files, MODEL: model}, model_sha256=hashlib.sha256(model).hexdigest())


def other_manifest_contract(files: Files) -> Files:
    return with_manifest(files, contract_hash="0" * 64)


def other_onnx_contract(_files: Files) -> Files:
    return good_files("2", contract_hash="0" * 64)


def other_onnx_workload(_files: Files) -> Files:
    return good_files("2", workload="kiosk")


def other_golden(files: Files) -> Files:
    return {**files, GOLDEN: good_files("2", seed=1)[GOLDEN]}


def model_without_finite_outputs(files: Files) -> Files:
    model = onnx_model(CONTRACT, bias=float("nan"))
    return with_manifest({**files, MODEL: model}, model_sha256=hashlib.sha256(model).hexdigest())


def model_that_always_says_the_same(_files: Files) -> Files:
    return good_files("2", slope=0.0)


def reference_without_a_feature(files: Files) -> Files:
    reference = json.loads(files[REFERENCE])
    del reference["gdd_c_d"]
    return {**files, REFERENCE: json.dumps(reference).encode()}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (truncated_model, "model.onnx has sha256"),
        (truncated_model_with_matching_sha, "does not load"),
        (other_manifest_contract, "the bundle's manifest is for contract 000000000000"),
        (other_onnx_contract, "the model's metadata is for contract 000000000000"),
        (other_onnx_workload, "the model is for 'kiosk'"),
        (other_golden, "misses its golden vectors"),
        (model_without_finite_outputs, "not finite"),
        (model_that_always_says_the_same, "one and the same answer to every golden vector"),
        (reference_without_a_feature, "reference.json: mean of gdd_c_d"),
        (lambda files: with_manifest(files, workload="kiosk"), "the bundle is for 'kiosk'"),
        (lambda files: with_manifest(files, format=2), "format 2"),
        (lambda files: with_manifest(files, golden_tolerance=float("nan")), "golden_tolerance"),
        (lambda files: {**files, MANIFEST: b"{}"}, "manifest.json: format is None"),
        (lambda files: {**files, MANIFEST: b"\xff"}, "manifest.json is not readable JSON"),
        (lambda files: {**files, GOLDEN: files[GOLDEN][:100]}, "golden.npz is damaged"),
        (lambda files: {**files, REFERENCE: b"[]"}, "reference.json holds list"),
        (lambda files: {name: data for name, data in files.items() if name != CARD}, "expected manifest.json"),
        (lambda files: {**files, "../escape": b""}, "the bundle holds"),
    ],
)
def test_a_bundle_that_does_not_hold_together_is_refused_by_name(
    updated: DeviceDirectory,
    repository: Repository,
    gateway: GatewaySimulator,
    spoil: Callable[[Files], Files],
    said: str,
) -> None:
    repository.release(zipped(spoil(good_files("2"))))
    with pytest.raises(ReleaseError, match=said):
        update(updated, CONTRACT, gateway.url)
    assert_version_1_still_runs(updated)


def test_a_signed_release_that_is_no_zip_is_refused(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    repository.release(b"not a zip")
    with pytest.raises(ReleaseError, match="not a readable zip"):
        update(updated, CONTRACT, gateway.url)
    assert_version_1_still_runs(updated)


def test_a_bundle_that_unpacks_without_end_is_refused(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**good_files("2"), CARD: b" " * 60_000_000}.items():
            archive.writestr(name, data)
    repository.release((tmp_path / "bomb.zip").read_bytes())
    with pytest.raises(ReleaseError, match="unpacks to"):
        update(updated, CONTRACT, gateway.url)
    assert_version_1_still_runs(updated)


def test_a_release_for_another_contract_is_refused_before_it_is_downloaded(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    repository.release(zipped(good_files("2")), contract_hash="0" * 64).unlink()
    with pytest.raises(ReleaseError, match="the release is for contract 000000000000"):
        update(updated, CONTRACT, gateway.url)
    assert_version_1_still_runs(updated)


def test_a_tampered_target_is_refused(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    path = repository.release(zipped(good_files("2")))
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ReleaseError, match="cannot be trusted"):
        update(updated, CONTRACT, gateway.url)
    assert_version_1_still_runs(updated)


@pytest.mark.parametrize("says_its_length", [False, True])
@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root"])
def test_signed_metadata_is_read_up_to_a_size(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, role: str, says_its_length: bool
) -> None:
    """Whoever holds a key could fill a device's memory with it, again at each update."""
    large = {"x": ["ab"] * (max_metadata_bytes(role) // 4)}
    repository.release(zipped(good_files("2")))
    asked = len(gateway.asked)
    repository.publish(padded={role: large}, says_its_length=says_its_length)
    with pytest.raises(ReleaseError, match=r"cannot be trusted: Downloaded [0-9]+ bytes exceeding"):
        update(updated, CONTRACT, gateway.url)
    assert_version_1_still_runs(updated)
    assert not [path for path in gateway.asked[asked:] if path.startswith("/tuf/targets/")]


def test_metadata_that_a_former_version_took_is_fetched_anew_and_not_read(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    (updated.trust / "targets.json").write_bytes(b"[" * 3_000_000)
    assert not update(updated, CONTRACT, gateway.url).changed
    assert (updated.trust / "targets.json").stat().st_size < max_metadata_bytes("targets")


def test_metadata_signed_by_another_key_is_refused(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, tmp_path: Path
) -> None:
    stranger = Repository(tmp_path / "stranger")
    repository.signers["timestamp"] = stranger.signers["timestamp"]
    repository.release(zipped(good_files("2")))
    with pytest.raises(ReleaseError, match="cannot be trusted"):
        update(updated, CONTRACT, gateway.url)
    assert_version_1_still_runs(updated)


def test_a_rolled_back_repository_is_refused(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, tmp_path: Path
) -> None:
    former = tmp_path / "former"
    shutil.copytree(repository.metadata, former)
    repository.release(zipped(good_files("2")))
    update(updated, CONTRACT, gateway.url)
    shutil.copytree(former, repository.metadata, dirs_exist_ok=True)
    with pytest.raises(ReleaseError, match="cannot be trusted"):
        update(updated, CONTRACT, gateway.url)
    loaded = load_model(updated, AGRICULTURE)
    assert loaded is not None and loaded.installed.version == "2"


def test_expired_metadata_is_refused(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    repository.release(zipped(good_files("2")), expires_days=-1)
    with pytest.raises(ReleaseError, match="expired"):
        update(updated, CONTRACT, gateway.url)
    assert_version_1_still_runs(updated)


# Time. The repository's metadata is good for 30 days of the real time; the system clock of these tests is right.


def device_time(days: float, *, sure: float | None = None, **what: bool) -> Callable[[], Reading]:
    """A device's clock that runs so many days from the real time; loggers alone carried it beyond `sure`."""
    claims = {"is_confirmed": True, "is_trusted": False, **what}

    def read() -> Reading:
        now = datetime.now(UTC)
        return Reading(now + timedelta(days=days), now + timedelta(days=days if sure is None else sure), **claims)

    return read


def test_metadata_expires_by_the_devices_clock_and_not_by_the_systems(
    updated: DeviceDirectory, gateway: GatewaySimulator
) -> None:
    with pytest.raises(ReleaseError, match=r"expired \(timestamp.json is expired\) by the device's time"):
        update(updated, CONTRACT, gateway.url, now=device_time(60))
    assert_version_1_still_runs(updated)


def test_a_device_that_knows_the_time_updates_while_the_system_clock_is_far_ahead(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    """By the system's clock the release expired ten days ago; by the device's it is good for another ten."""
    updated.time_floor.unlink()
    repository.release(zipped(good_files("2")), expires_days=-10)
    assert update(updated, CONTRACT, gateway.url, now=device_time(-20)).version == "2"


def test_a_clock_that_was_set_back_makes_nothing_good_that_has_expired(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    repository.release(zipped(good_files("2")), expires_days=-1)
    with pytest.raises(ReleaseError, match="expired"):
        update(updated, CONTRACT, gateway.url, now=device_time(-3650))
    assert_version_1_still_runs(updated)
    repository.release(zipped(good_files("3")))
    assert update(updated, CONTRACT, gateway.url, now=device_time(-3650)).version == "3", "nothing good is held up"


def test_without_being_told_the_time_an_update_takes_it_from_where_the_device_keeps_it(
    updated: DeviceDirectory, gateway: GatewaySimulator
) -> None:
    later = datetime.now(UTC) + timedelta(days=60)
    updated.clock_floor.write_text(json.dumps({"floor_utc": format_utc(later)}))
    with pytest.raises(ReleaseError, match="expired"):
        update(updated, CONTRACT, gateway.url)


def test_a_logger_that_runs_200_days_ahead_holds_up_no_update_now_or_later(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    real = datetime.now(UTC)
    clock = Clock(updated.clock_floor, is_synchronised=lambda: False)
    for _ in range(8):
        clock.witness(real + timedelta(days=200), "station")
        clock.keep()
    assert clock.now() > real + timedelta(days=199)
    repository.release(zipped(good_files("2")))
    assert update(updated, CONTRACT, gateway.url, now=clock.reading).changed
    for boot in ("later", "later still"):
        again = Clock(updated.clock_floor, is_synchronised=lambda: False, boot_id=boot)
        repository.release(zipped(good_files(boot)))
        assert update(updated, CONTRACT, gateway.url, now=again.reading).changed


def kept_floor(device: DeviceDirectory) -> float:
    """Days from the real time."""
    found = datetime.fromisoformat(device.time_floor.read_text()) - datetime.now(UTC)
    return round(found / timedelta(days=1), 1)


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        (device_time(5), 5.0),
        (device_time(5, is_confirmed=False), 0.0),
        (device_time(300, sure=5), 5.0),
        (device_time(300, sure=5, is_confirmed=False), 0.0),
        (device_time(-2), 0.0),
        (device_time(-2, is_trusted=True), -2.0),
    ],
)
def test_the_floor_moves_by_confirmed_time_and_back_by_trusted_time_alone(
    updated: DeviceDirectory, gateway: GatewaySimulator, clock: Callable[[], Reading], expected: float
) -> None:
    update(updated, CONTRACT, gateway.url, now=clock)
    assert kept_floor(updated) == expected


def test_a_wrong_floor_of_a_former_version_holds_up_nothing_and_is_mended_by_a_trusted_time(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    updated.time_floor.write_text((datetime.now(UTC) + timedelta(days=300)).isoformat())
    assert not update(updated, CONTRACT, gateway.url, now=device_time(0)).changed
    repository.release(zipped(good_files("2")))
    assert update(updated, CONTRACT, gateway.url, now=device_time(0)).changed
    assert kept_floor(updated) <= 29.0, "later metadata does not carry it along"
    update(updated, CONTRACT, gateway.url, now=device_time(0, is_trusted=True))
    assert kept_floor(updated) == 0.0


@pytest.mark.parametrize("damage", [b"", b"\xff", b"yesterday", b"2006-05-01T00:00:00"])
def test_a_damaged_time_floor_is_written_anew(
    updated: DeviceDirectory, gateway: GatewaySimulator, damage: bytes
) -> None:
    updated.time_floor.write_bytes(damage)
    assert not update(updated, CONTRACT, gateway.url).changed
    assert updated.time_floor.read_bytes() != damage


def test_a_repository_without_a_release_is_named(device: DeviceDirectory, gateway: GatewaySimulator) -> None:
    with pytest.raises(ReleaseError, match="nothing is released for agriculture"):
        update(device, CONTRACT, gateway.url)


def test_no_link_keeps_the_old_model_and_says_try_again(updated: DeviceDirectory) -> None:
    with pytest.raises(LinkError, match="try again later"):
        update(updated, CONTRACT, "http://127.0.0.1:9")
    assert_version_1_still_runs(updated)


def test_a_target_that_the_gateway_has_lost_is_a_matter_of_the_link(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    repository.release(zipped(good_files("2"))).unlink()
    with pytest.raises(LinkError):
        update(updated, CONTRACT, gateway.url)
    assert_version_1_still_runs(updated)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("what", ["metadata", "target"])
def test_no_redirect_is_followed(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, status: int, what: str
) -> None:
    """Not even to where the very same files are: neither to another origin, nor on the same one."""
    target = repository.release(zipped(good_files("2")))
    with serving(GatewaySimulator(repository.metadata.parent)) as elsewhere:
        moved = ("timestamp.json",) if what == "metadata" else (target.name,)
        gateway.redirect = lambda path: (status, elsewhere.url + path) if path.endswith(moved) else None
        with pytest.raises(LinkError, match="redirects are not followed"):
            update(updated, CONTRACT, gateway.url)
        assert elsewhere.asked == []
    gateway.redirect = lambda path: (status, f"/tuf/../tuf{path}") if path.endswith(moved) else None
    with pytest.raises(LinkError, match="redirects are not followed"):
        update(updated, CONTRACT, gateway.url)
    assert_version_1_still_runs(updated)


@pytest.mark.parametrize("where", ["timestamp.json", ".snapshot.json", ".targets.json", "bundle.zip"])
def test_a_server_that_drips_holds_no_step_of_an_update_beyond_its_time(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, where: str
) -> None:
    repository.release(zipped(good_files("2")))
    gateway.drips = lambda path: path.endswith(where)
    with pytest.raises(LinkError, match=r"bytes came in .* no more time is allowed"):
        update(updated, CONTRACT, gateway.url, within_s=1.0)
    with pytest.raises(LinkError, match="bytes a second are expected"):
        update(updated, CONTRACT, gateway.url, patience=Patience(grace_s=0.5, min_bytes_per_s=1e5))
    assert_version_1_still_runs(updated)
    gateway.drips = None
    assert update(updated, CONTRACT, gateway.url).version == "2"


def test_an_update_that_hangs_gives_way_to_a_stick(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, tmp_path: Path
) -> None:
    repository.release(zipped(good_files("2")))
    stick = UsbStick(tmp_path / "stick")
    shutil.copytree(repository.metadata.parent, stick.release)
    hangs = threading.Event()

    def drips(_path: str) -> bool:
        hangs.set()
        return True

    gateway.drips = drips
    ended: list[Exception] = []

    def hang() -> None:
        try:
            update(updated, CONTRACT, gateway.url, within_s=PATIENCE_S, patience=Patience(grace_s=PATIENCE_S))
        except LinkError as error:
            ended.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    assert hangs.wait(PATIENCE_S)
    assert update_from_usb(stick, updated, CONTRACT, device_time(0)).version == "2"
    thread.join(PATIENCE_S)
    assert "needs its place" in str(ended[0])


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://[::1]:9", "http://no.such.name.invalid"])
def test_a_gateway_that_is_down_is_told_with_its_cause(updated: DeviceDirectory, url: str) -> None:
    with pytest.raises(LinkError) as told:
        update(updated, CONTRACT, url)
    assert re.search(r"cannot be reached: \w.{5,}; the old model stays", str(told.value))


def test_two_updates_at_once_are_told_apart(updated: DeviceDirectory, gateway: GatewaySimulator) -> None:
    with exclusive(updated.lock("update")), pytest.raises(StoreBusy):
        update(updated, CONTRACT, gateway.url)


def test_a_device_without_its_root_of_trust_asks_to_be_provisioned(
    updated: DeviceDirectory, gateway: GatewaySimulator
) -> None:
    updated.bootstrap_root.unlink()
    with pytest.raises(ConfigError, match="provision the device again"):
        update(updated, CONTRACT, gateway.url)


class PowerLoss(BaseException):
    """Ends the process where it is raised: no handler may mend anything."""


@pytest.mark.parametrize("writes_before_power_loss", range(6))
def test_power_loss_at_any_write_keeps_the_old_slot_and_the_next_update_succeeds(
    updated: DeviceDirectory,
    repository: Repository,
    gateway: GatewaySimulator,
    monkeypatch: pytest.MonkeyPatch,
    writes_before_power_loss: int,
) -> None:
    """Five files of the bundle, then the pointer: the power goes at each of them in turn."""
    repository.release(zipped(good_files("2", bias=1.0)))
    real_write, left = fieldedge.inference.slots.write_durably, [writes_before_power_loss]

    def write_until_power_loss(path: Path, data: bytes) -> None:
        if left[0] == 0:
            path.with_name(f".{path.name}.half.tmp").write_bytes(data[: len(data) // 2])
            raise PowerLoss
        left[0] -= 1
        real_write(path, data)

    with monkeypatch.context() as patch, pytest.raises(PowerLoss):
        patch.setattr(fieldedge.inference.slots, "write_durably", write_until_power_loss)
        update(updated, CONTRACT, gateway.url)
    assert_version_1_still_runs(updated)
    assert update(updated, CONTRACT, gateway.url) == UpdateResult("2", True, "b", "float32")


def test_a_damaged_active_model_is_replaced_by_the_former_one_at_the_next_start(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    repository.release(zipped(good_files("2", bias=1.0)))
    update(updated, CONTRACT, gateway.url)
    (updated.root / "slots" / "b" / MODEL).write_bytes(b"rotten")
    assert_version_1_still_runs(updated)


def test_a_damaged_active_model_is_installed_again_by_an_update(
    updated: DeviceDirectory, gateway: GatewaySimulator
) -> None:
    (updated.root / "slots" / "a" / MODEL).write_bytes(b"rotten")
    assert load_model(updated, AGRICULTURE) is None
    assert update(updated, CONTRACT, gateway.url).changed
    assert_version_1_still_runs(updated)


@pytest.mark.parametrize("pointer", [b"", b"{", b"[]", b'{"active": {"slot": "c"}, "former": null}', b"null"])
def test_a_damaged_pointer_boots_without_a_model_and_an_update_mends_it(
    updated: DeviceDirectory, gateway: GatewaySimulator, pointer: bytes
) -> None:
    (updated.root / "active.json").write_bytes(pointer)
    assert load_model(updated, AGRICULTURE) is None
    assert update(updated, CONTRACT, gateway.url).changed
    assert_version_1_still_runs(updated)


def test_the_active_slot_is_never_written(updated: DeviceDirectory) -> None:
    with pytest.raises(ValueError, match="never written"):
        Slots(updated.root).write("a", {})


def test_the_model_answers_any_number_of_candidates_and_refuses_a_wrong_shape() -> None:
    model = Model(onnx_model(CONTRACT), CONTRACT)
    for rows in (1, 2, 33):
        features = np.zeros((rows, len(CONTRACT.features)), np.float32)
        assert model.predict(features).shape == (rows, len(CONTRACT.outputs))
    with pytest.raises(ReleaseError, match="does not run"):
        model.predict(np.zeros((2, 3), np.float32))
