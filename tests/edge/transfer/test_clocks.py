"""A wrong clock neither bricks a device nor lets anybody hold it back: the rows of the table in docs/updates.md."""

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root

from fieldedge.device.config import DeviceConfig, DeviceDirectory
from fieldedge.inference.loading import load_model
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock, Reading
from fieldedge.system.errors import ReleaseError
from fieldedge.transfer.updates import update
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    GatewaySimulator,
    Repository,
    bundle_files,
    onnx_model,
    season_messages,
    zipped,
)

CONTRACT = AGRICULTURE.contract
YEAR, DAY = timedelta(days=365), timedelta(days=1)
DOCS = Path(__file__).parents[3] / "docs" / "updates.md"


class Clocks:
    """A device's clocks over restarts: how wrong the system clock is, and for how long it has run."""

    def __init__(self, device: DeviceDirectory) -> None:
        self.device, self.off, self.ran_s, self.boots = device, timedelta(0), 1000.0, 0
        self.fixed: datetime | None = None
        self.is_synchronised = False
        self.boot()

    def wall(self) -> datetime:
        return self.fixed if self.fixed is not None else datetime.now(UTC) + self.off

    def boot(self) -> None:
        """The device starts again."""
        self.boots += 1
        self.clock = Clock(
            self.device.clock_floor,
            wall=self.wall,
            monotonic=lambda: self.ran_s,
            boot_id=f"boot-{self.boots}",
            is_synchronised=lambda: self.is_synchronised,
        )
        self.clock.now()
        self.clock.keep()

    def run(self, time_: timedelta) -> None:
        self.ran_s += time_.total_seconds()
        self.clock.now()
        self.clock.keep()

    @property
    def reading(self) -> Callable[[], Reading]:
        return self.clock.reading


@pytest.fixture
def clocks(device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator) -> Clocks:
    """A device with version 1, whose clock was right when it was installed."""
    release(repository, "1")
    clocks = Clocks(device)
    clocks.is_synchronised = True
    clocks.run(DAY)
    update(device, CONTRACT, gateway.url, clocks.reading)
    clocks.is_synchronised = False
    return clocks


def release(repository: Repository, version: str, expires_days: int = 30) -> None:
    repository.release(zipped(bundle_files(onnx_model(CONTRACT), version)), expires_days=expires_days)


def takes(clocks: Clocks, repository: Repository, gateway: GatewaySimulator, version: str) -> bool:
    """Whether a release of today comes to the device."""
    release(repository, version)
    try:
        return update(clocks.device, CONTRACT, gateway.url, clocks.reading).version == version
    except ReleaseError as error:
        assert "has expired" in str(error)
        return False


def is_held_back(clocks: Clocks, repository: Repository, gateway: GatewaySimulator) -> bool:
    """Whether who replays metadata that expired yesterday can make the device believe that it is the newest."""
    release(repository, "99", expires_days=-1)
    try:
        update(clocks.device, CONTRACT, gateway.url, clocks.reading)
    except ReleaseError as error:
        assert "has expired" in str(error)
        return False
    return True


def still_decides(device: DeviceDirectory, version: str) -> bool:
    loaded = load_model(device, AGRICULTURE)
    with Store(device.store) as store:
        agent = Agent(DeviceConfig(DEVICE_ID, "agriculture"), AGRICULTURE, store, loaded)
        for message in season_messages(1, harvest_t_ha=None):
            answer = agent.answer_line(json.dumps(message), "here")
            if answer is not None and answer["kind"] == "recommendation":
                return bool(answer["model_version"] == version)
    return False


def test_a_clock_that_is_right(clocks: Clocks, repository: Repository, gateway: GatewaySimulator) -> None:
    assert not is_held_back(clocks, repository, gateway)
    assert takes(clocks, repository, gateway, "2")


def test_a_clock_a_year_ahead(clocks: Clocks, repository: Repository, gateway: GatewaySimulator) -> None:
    clocks.off = YEAR
    clocks.boot()
    assert not takes(clocks, repository, gateway, "2"), "for this device it has expired"
    assert still_decides(clocks.device, "1")
    clocks.off = timedelta(0)
    clocks.boot()
    assert takes(clocks, repository, gateway, "3"), "as soon as the clock is right, and nothing was poisoned"
    assert not is_held_back(clocks, repository, gateway)


def test_a_clock_a_year_behind(clocks: Clocks, repository: Repository, gateway: GatewaySimulator) -> None:
    clocks.off = -YEAR
    clocks.boot()
    assert takes(clocks, repository, gateway, "2"), "time goes on from its floor"
    assert not is_held_back(clocks, repository, gateway)
    assert still_decides(clocks.device, "2")


@pytest.mark.parametrize("jump", [YEAR, -YEAR, 20 * YEAR])
def test_a_clock_that_jumps_while_the_device_runs(
    clocks: Clocks, repository: Repository, gateway: GatewaySimulator, jump: timedelta
) -> None:
    for off in (jump, timedelta(0), jump):
        clocks.off = off
        clocks.run(timedelta(hours=1))
    assert takes(clocks, repository, gateway, "2"), "a jump within one boot is not believed"
    assert not is_held_back(clocks, repository, gateway)


def test_a_clock_without_a_battery(clocks: Clocks, repository: Repository, gateway: GatewaySimulator) -> None:
    clocks.fixed = datetime(1970, 1, 1, tzinfo=UTC)
    for version in ("2", "3"):
        clocks.boot()
        assert takes(clocks, repository, gateway, version)
        assert not is_held_back(clocks, repository, gateway)
    assert still_decides(clocks.device, "3")


def test_a_device_that_has_never_known_the_time(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    """Nobody can tell it that something has expired; but what it has seen once is the oldest that it takes."""
    clocks = Clocks(device)
    clocks.fixed = datetime(1970, 1, 1, tzinfo=UTC)
    device.clock_floor.unlink(missing_ok=True)
    clocks.boot()
    release(repository, "1")
    old = repository.metadata.with_name("old")
    shutil.copytree(repository.metadata, old)
    assert takes(clocks, repository, gateway, "2")
    shutil.copy(old / "timestamp.json", repository.metadata / "timestamp.json")
    with pytest.raises(ReleaseError, match="cannot be trusted"):
        update(device, CONTRACT, gateway.url, clocks.reading)
    assert still_decides(device, "2")


def test_a_device_that_was_off_for_eight_months(
    clocks: Clocks, repository: Repository, gateway: GatewaySimulator
) -> None:
    """Meanwhile all that it trusted has expired, and the root's key was replaced twice."""
    off = timedelta(days=240)
    clocks.off = off
    clocks.boot()
    assert still_decides(clocks.device, "1"), "a model that was verified decides, whatever has expired"
    renew_root(repository)
    renew_root(repository)
    release(repository, "2", expires_days=off.days - 1)
    with pytest.raises(ReleaseError, match="has expired"):
        update(clocks.device, CONTRACT, gateway.url, clocks.reading)
    release(repository, "3", expires_days=off.days + 30)
    assert update(clocks.device, CONTRACT, gateway.url, clocks.reading).version == "3"
    kept = Metadata[Root].from_bytes((clocks.device.trust / "root.json").read_bytes()).signed
    assert kept.version == 3, "it walked from its old root to today's"


def renew_root(repository: Repository) -> None:
    """A new key for the root, signed for by the former and by the new one; every root stays where it was."""
    numbers = [int(path.name.split(".")[0]) for path in repository.metadata.glob("*.root.json")]
    last = max(numbers)
    root = Metadata[Root].from_bytes((repository.metadata / f"{last}.root.json").read_bytes()).signed
    former, new = repository.signers["root"], CryptoSigner.generate_ed25519()
    root.revoke_key(former.public_key.keyid, "root")
    root.add_key(new.public_key, "root")
    root.version = last + 1
    root.expires = datetime.now(UTC).replace(microsecond=0) + YEAR
    metadata = Metadata(root)
    metadata.sign(former)
    metadata.sign(new, append=True)
    (repository.metadata / f"{root.version}.root.json").write_bytes(metadata.to_bytes())
    repository.signers["root"] = new


def test_every_row_of_the_table_in_the_docs_is_a_test_here() -> None:
    named = set(re.findall(r"`(test_a_[a-z_]+)`", DOCS.read_text(encoding="utf-8")))
    here = {name for name in globals() if name.startswith("test_a_")}
    assert named == here
