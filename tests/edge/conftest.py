"""The fixtures of the device's tests: a signed repository, a gateway over real HTTP, a provisioned device."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tests.edge.hypothesis_profile  # noqa: F401  (the device's tests run without the cloud's too)
from fieldedge.cli import main
from fieldedge.device.config import DeviceDirectory
from tests.edge.sample import DEVICE_ID, GatewaySimulator, Repository, serving


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "tuf")


@pytest.fixture
def gateway(repository: Repository) -> Iterator[GatewaySimulator]:
    with serving(GatewaySimulator(repository.metadata.parent)) as simulator:
        yield simulator


@pytest.fixture
def device(tmp_path: Path, repository: Repository, gateway: GatewaySimulator, capsys: Any) -> DeviceDirectory:
    """A provisioned device whose key the gateway knows."""
    directory = DeviceDirectory(tmp_path / "device")
    arguments = ["--device-id", DEVICE_ID, "--workload", "agriculture", "--root", str(repository.trusted_root)]
    assert main(["init", "--dir", str(directory.root), *arguments]) == 0
    gateway.public_keys[DEVICE_ID] = json.loads(capsys.readouterr().out)["public_key"]
    return directory
