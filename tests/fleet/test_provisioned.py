"""A device's directory is a fleet's own where it is of the fleet's workload."""

import sys
from pathlib import Path

import pytest

from fieldedge.device.config import DeviceConfig, write_config
from fieldloop.fleet import Fleet
from fieldloop.fleet.fleet import DEFAULT_UPLOAD_BUDGET_BYTES
from fieldloop.gateway.devices import DeviceRegistry


@pytest.mark.parametrize(("workload", "is_set_up"), [("agriculture", True), ("kiosk", False)])
def test_a_directory_of_another_workload_is_not_set_up(tmp_path: Path, workload: str, is_set_up: bool) -> None:
    (tmp_path / "devices" / "dev-00").mkdir(parents=True)
    config = DeviceConfig("dev-00", workload, upload_budget_bytes=DEFAULT_UPLOAD_BUDGET_BYTES)
    write_config(tmp_path / "devices" / "dev-00" / "device.toml", config)
    registry = DeviceRegistry(tmp_path / "devices.json")
    fleet = Fleet(tmp_path / "devices", Path(sys.executable), tmp_path, registry, "agriculture")
    assert fleet.is_provisioned() is is_set_up
