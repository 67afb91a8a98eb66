"""A rollout with real devices: they take the candidate by their own ids, say so, and go back from what is withdrawn."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fieldedge.cli import main
from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.slots import Slots
from fieldedge.transfer.cohort import cohort_share
from fieldedge.transfer.reports import waiting
from fieldedge.transfer.trust import Mirror
from fieldedge.transfer.updates import update_from
from fieldedge.workloads import known_workload
from fieldloop.core.params import RolloutParams
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.reports import Reports
from fieldloop.release import ReleaseRepository
from fieldloop.rollout import engine
from fieldloop.rollout.engine import Rollouts
from fieldloop.rollout.gateway_fleet import GatewayFleet
from fieldloop.rollout.history import spans
from fieldloop.rollout.signed import SignedReleases, bundles_of
from fieldloop.rollout.store import RolloutStore
from tests.release.test_repository import FilesOfTheRepository

CONTRACT = known_workload("agriculture").contract
SALT = "a1b2c3"
DEVICES = [f"dev-{number:02}" for number in range(6)]
PLAN = RolloutParams.model_validate(
    {"stages": [{"percentage": 50, "soak_d": 0}, {"percentage": 100, "soak_d": 0}], "approval": "none"}
)


pytestmark = pytest.mark.slow  # each device tries its model in a process of its own


class Farm:
    """Six devices on version 11, their signed repository and their gateway; version 12 is made."""

    def __init__(self, root: Path, make_bundle: Callable[..., Path], printed: Callable[[], str]) -> None:
        self.root = root
        bundles = root / "released"
        bundles.mkdir()
        for version in ("11", "12"):
            shutil.copy(make_bundle(version, yield_t_ha=float(version)), bundles / f"agriculture-{version}.zip")
        self.repository = ReleaseRepository(root / "tuf")
        self.repository.publish(bundles / "agriculture-11.zip", "agriculture", "11", CONTRACT.hash)
        self.reports = Reports(root / "reports")
        registry = DeviceRegistry(root / "devices.json")
        self.devices = {name: DeviceDirectory(root / name) for name in DEVICES}
        for name, device in self.devices.items():
            said = ["--device-id", name, "--workload", "agriculture", "--root", str(self.repository.trusted_root())]
            assert main(["init", "--dir", str(device.root), *said]) == 0
            registry.register({name: json.loads(printed())["public_key"]})
        fleet = GatewayFleet(registry, root / "inbox", self.reports, datetime.now(UTC))
        self.rollouts = Rollouts(
            RolloutStore(root / "rollouts"),
            SignedReleases(self.repository),
            fleet,
            lambda workload, version: bundles_of(bundles, workload, version, ("x86-64", "aarch64")),
        )

    def sync(self) -> dict[str, str]:
        """Every device follows the repository and sends what it has to say; the version that each has."""
        versions = {}
        for name, device in self.devices.items():
            fetcher: Any = FilesOfTheRepository(self.root / "tuf")
            mirror = Mirror("repository", "http://repository/metadata/", "http://repository/targets/", fetcher)
            versions[name] = update_from(device, CONTRACT, mirror).version
            for data in waiting(Slots(device.root)):
                self.reports.keep(data, name, "AAAA", datetime.now(UTC))
        return versions


@pytest.fixture
def farm(tmp_path: Path, make_bundle: Callable[..., Path], capsys: Any, monkeypatch: pytest.MonkeyPatch) -> Farm:
    monkeypatch.setattr(engine.secrets, "token_hex", lambda _bytes: SALT)
    return Farm(tmp_path, make_bundle, lambda: str(capsys.readouterr().out))


def test_devices_take_the_candidate_by_their_ids_say_so_and_go_back_from_what_is_withdrawn(farm: Farm) -> None:
    assert set(farm.sync().values()) == {"11"}
    farm.rollouts.start("agriculture", "12", PLAN, "someone")
    canary = {name for name in DEVICES if cohort_share(name, SALT) < 50}
    assert 0 < len(canary) < len(DEVICES)
    assert farm.sync() == {name: "12" if name in canary else "11" for name in DEVICES}
    look = farm.rollouts.look("agriculture")
    assert (look.evidence.cohort, look.evidence.pending, look.state.percentage) == (len(canary), len(canary), 50)

    farm.rollouts.revert("agriculture", "someone", "a wet field")
    assert set(farm.sync().values()) == {"11"}
    farm.rollouts.look("agriculture")
    lines = [entry.values for entry in RolloutStore(farm.root / "rollouts").ledger.entries()]
    held = [span for span in spans(lines) if span.version == "12"]
    assert {span.device_id for span in held} == canary
    assert all(span.until is not None for span in held)
