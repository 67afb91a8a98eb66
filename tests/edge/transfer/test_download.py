"""A download goes on where it broke off, comes within its bounds, and is used only when it is whole and signed for."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tuf.api.metadata import TargetFile

import fieldedge.transfer.download
from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.bundles import CARD
from fieldedge.inference.slots import Slots
from fieldedge.system.errors import LinkError, ReleaseError
from fieldedge.system.http import Patience
from fieldedge.transfer.download import RANGE_BYTES, first_byte
from fieldedge.transfer.trust import device_clock, gateway_mirror, refreshed
from fieldedge.transfer.updates import update
from tests.edge.sample import (
    AGRICULTURE,
    GatewaySimulator,
    Repository,
    bundle_files,
    onnx_model,
    zipped,
)

CONTRACT = AGRICULTURE.contract
BUNDLE = "bundle.zip"


def large_bundle(version: str = "1") -> bytes:
    """Some 400 kB that do not compress."""
    card = np.random.default_rng(int(version)).bytes(400_000)
    return zipped({**bundle_files(onnx_model(CONTRACT), version), CARD: card})


@pytest.fixture
def data(repository: Repository) -> bytes:
    data = large_bundle()
    repository.release(data)
    return data


def came(gateway: GatewaySimulator) -> list[tuple[int, int]]:
    """From which byte on how many bytes of the bundle were served, for each time that it was asked for."""
    return [(start, count) for path, start, count in gateway.served if path.endswith(BUNDLE)]


def fetched_twice(gateway: GatewaySimulator, length: int) -> int:
    """How many bytes of the bundle were served more than once."""
    times = np.zeros(length, int)
    for start, count in came(gateway):
        times[start : start + count] += 1
    assert (times > 0).all()
    return int((times - 1).sum())


def broken(*counts: int) -> Any:
    """Let the bundle break off after so many bytes, time after time, and then come whole."""
    left = list(counts)
    return lambda path, _start: left.pop(0) if path.endswith(BUNDLE) and left else None


def parts(device: DeviceDirectory) -> list[Path]:
    return sorted(device.staging.glob("*")) if device.staging.exists() else []


def test_a_link_that_breaks_again_and_again_costs_no_byte_twice_in_one_update(
    device: DeviceDirectory, gateway: GatewaySimulator, data: bytes
) -> None:
    gateway.breaks_off = broken(100_000, 90_000, 70_001)
    assert update(device, CONTRACT, gateway.url).version == "1"
    assert [start for start, _ in came(gateway)] == [0, 100_000, 190_000, 260_001]
    assert fetched_twice(gateway, len(data)) == 0
    assert not device.staging.exists()


def test_an_update_that_was_left_goes_on_the_next_time_with_at_most_one_range_twice(
    device: DeviceDirectory, gateway: GatewaySimulator, data: bytes
) -> None:
    for bytes_ in (50_000, 20_000, 3 * RANGE_BYTES):
        gateway.breaks_off = broken(bytes_, 0)
        with pytest.raises(LinkError, match="the old model stays, try again later"):
            update(device, CONTRACT, gateway.url)
        assert len(parts(device)) == 1
        assert Slots(device.root).active() is None, "half a bundle is nobody's"
    gateway.breaks_off = None
    assert update(device, CONTRACT, gateway.url).version == "1"
    starts = [start for start, count in came(gateway) if count]
    assert starts[:2] == [0, 50_000 // RANGE_BYTES * RANGE_BYTES]
    assert all(start % RANGE_BYTES == 0 for start in starts)
    assert fetched_twice(gateway, len(data)) <= 3 * RANGE_BYTES, "one range for each of three times"
    assert not device.staging.exists()


class Killed(BaseException):
    """Ends the process where it is raised."""


def test_a_process_that_is_killed_in_the_middle_goes_on_where_the_last_range_was_synced(
    device: DeviceDirectory, gateway: GatewaySimulator, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = fieldedge.transfer.download._append, [12]

    def append(descriptor: int, at: int, chunk: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return real(descriptor, at, chunk)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(fieldedge.transfer.download, "_append", append)
        patch.setattr("fieldedge.transfer.trust._clear", lambda *_, **__: None)  # who is killed clears nothing
        update(device, CONTRACT, gateway.url)
    (part,) = parts(device)
    had = part.stat().st_size
    assert had > 5 * RANGE_BYTES
    gateway.served.clear()
    assert update(device, CONTRACT, gateway.url).version == "1"
    assert came(gateway) == [
        ((had - 1) // RANGE_BYTES * RANGE_BYTES, len(data) - (had - 1) // RANGE_BYTES * RANGE_BYTES)
    ]


def test_a_bundle_that_is_whole_already_is_not_fetched_again(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, data: bytes
) -> None:
    device.staging.mkdir()
    sha256 = repository.targets["agriculture/bundle.zip"].hashes["sha256"]
    (device.staging / f"{sha256}.part").write_bytes(data)
    assert update(device, CONTRACT, gateway.url).version == "1"
    assert came(gateway) == []


@pytest.mark.parametrize("had", [100_000, 400_000, None], ids=["a part", "nearly all", "all"])
def test_what_lies_there_and_is_not_of_it_is_fetched_anew_and_not_used(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, data: bytes, had: int | None
) -> None:
    """After a power cut a file may hold anything."""
    device.staging.mkdir()
    sha256 = repository.targets["agriculture/bundle.zip"].hashes["sha256"]
    (device.staging / f"{sha256}.part").write_bytes(bytes(len(data) if had is None else had))
    assert update(device, CONTRACT, gateway.url).version == "1"
    assert came(gateway)[-1] == (0, len(data))


def test_parts_of_another_release_and_whatever_else_lies_there_go(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, data: bytes
) -> None:
    gateway.breaks_off = broken(50_000, 0)
    with pytest.raises(LinkError):
        update(device, CONTRACT, gateway.url)
    (device.staging / "folder.part").mkdir()
    (device.staging / "link.part").symlink_to("/dev/zero")
    (device.staging / "other").write_bytes(b"x")
    repository.release(large_bundle("2"))
    gateway.breaks_off = broken(60_000, 0)
    with pytest.raises(LinkError):
        update(device, CONTRACT, gateway.url)
    sha256 = repository.targets["agriculture/bundle.zip"].hashes["sha256"]
    assert [path.name for path in parts(device)] == [f"{sha256}.part"]
    gateway.breaks_off = None
    assert update(device, CONTRACT, gateway.url).version == "2"
    assert not device.staging.exists()


def test_what_a_disk_that_failed_would_not_let_go_is_cleared_by_an_update_that_finds_nothing_new(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, data: bytes
) -> None:
    update(device, CONTRACT, gateway.url)
    device.staging.mkdir()
    sha256 = repository.targets["agriculture/bundle.zip"].hashes["sha256"]
    (device.staging / f"{sha256}.part").write_bytes(data)
    gateway.served.clear()
    assert not update(device, CONTRACT, gateway.url).changed
    assert came(gateway) == []
    assert not device.staging.exists()


def test_a_look_at_the_metadata_alone_keeps_what_came_of_a_bundle(
    device: DeviceDirectory, gateway: GatewaySimulator, data: bytes
) -> None:
    """As a sync takes one to see who may acknowledge."""
    gateway.breaks_off = broken(100_000, 0)
    with pytest.raises(LinkError):
        update(device, CONTRACT, gateway.url)
    before = parts(device)
    with refreshed(device, gateway_mirror(gateway.url), device_clock(device)):
        pass
    assert parts(device) == before
    assert [path.stat().st_size < len(data) for path in before] == [True]


@pytest.mark.parametrize("hash_", ["../keys/device", "0" * 63 + "/", "x" * 64, ""])
def test_a_hash_that_is_none_names_no_file(device: DeviceDirectory, gateway: GatewaySimulator, hash_: str) -> None:
    target = TargetFile(10, {"sha256": hash_}, "agriculture/bundle.zip")
    with refreshed(device, gateway_mirror(gateway.url), device_clock(device)) as client:
        with pytest.raises(ReleaseError, match=r"names agriculture/bundle\.zip by what is no hash; publish it again"):
            client.download_target(target)
        assert parts(device) == []


def test_a_server_that_knows_no_ranges_is_asked_for_all_of_it(
    device: DeviceDirectory, gateway: GatewaySimulator, data: bytes
) -> None:
    gateway.breaks_off = broken(100_000, 0)
    with pytest.raises(LinkError):
        update(device, CONTRACT, gateway.url)
    gateway.breaks_off, gateway.knows_ranges = None, False
    gateway.served.clear()
    assert update(device, CONTRACT, gateway.url).version == "1"
    assert came(gateway) == [(0, len(data))]


def test_a_server_that_drips_is_given_up_after_a_budget_and_what_came_is_kept_within_its_bound(
    device: DeviceDirectory, gateway: GatewaySimulator, data: bytes
) -> None:
    gateway.breaks_off = broken(50_000, 0)
    with pytest.raises(LinkError):
        update(device, CONTRACT, gateway.url)
    gateway.breaks_off, gateway.knows_ranges = None, True
    gateway.drips = lambda path: path.endswith(BUNDLE)
    gateway.knows_ranges = False
    began_s = time.monotonic()
    with pytest.raises(LinkError, match="bytes a second are expected"):
        update(device, CONTRACT, gateway.url, patience=Patience(grace_s=0.5, min_bytes_per_s=1e5))
    with pytest.raises(LinkError, match="no more time is allowed"):
        update(device, CONTRACT, gateway.url, within_s=1.0)
    assert time.monotonic() - began_s < 60.0
    assert sum(path.stat().st_size for path in parts(device)) <= len(data)


def test_a_server_that_sends_more_than_is_signed_for_is_left_and_nothing_of_it_is_kept(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, data: bytes
) -> None:
    sha256 = repository.targets["agriculture/bundle.zip"].hashes["sha256"]
    path = repository.targets_dir / "agriculture" / f"{sha256}.bundle.zip"
    path.write_bytes(data + b"x" * 10_000_000)
    with pytest.raises(ReleaseError, match="cannot be trusted"):
        update(device, CONTRACT, gateway.url)
    assert not device.staging.exists()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes 16384-99999/100000", 16384),
        ("bytes 0-9/*", 0),
        ("bytes */100", None),
        ("lines 1-2/3", None),
        ("", None),
        (None, None),
    ],
)
def test_which_part_an_answer_holds_is_read_from_its_header(header: str | None, expected: int | None) -> None:
    assert first_byte(header) == expected
