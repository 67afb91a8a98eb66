"""A device that runs version 1, and a mirror in an attacker's hands that offers it version 2."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.loading import load_model
from fieldedge.system.errors import FieldloopError
from fieldedge.transfer.trust import max_metadata_bytes
from fieldedge.transfer.updates import update
from tests.edge.attacks.mirror import Mirror, serving
from tests.edge.sample import AGRICULTURE, Repository, bundle_files, onnx_model, zipped

CONTRACT = AGRICULTURE.contract
MOST_SENT = {"metadata": max(max_metadata_bytes("root"), max_metadata_bytes("x")), "targets": 32_000_000}
ON_THE_WAY = 8_000_000  # what the two kernels hold of an answer that nobody reads any more


@dataclass
class Attacked:
    """The victim, the repository whose metadata it trusts, and the mirror between them."""

    device: DeviceDirectory
    repository: Repository
    mirror: Mirror

    def attack(self) -> str:
        """Let the device update from the mirror: what it says on refusing.

        Raises:
            AssertionError: the update went through.
        """
        try:
            done = update(self.device, CONTRACT, self.mirror.url)
        except FieldloopError as error:
            return str(error)
        raise AssertionError(f"the attack was accepted: {done}")

    def update(self) -> str:
        """The version that an honest update leaves."""
        return update(self.device, CONTRACT, self.mirror.url).version

    def refuses(self) -> str:
        """As `attack`; version 1 still runs as it was, and nothing is left over but what a download goes on with."""
        before = files_of(self.device)
        said = self.attack()
        loaded = load_model(self.device, AGRICULTURE)
        assert loaded is not None and loaded.installed.version == "1"
        assert all(path.suffix == ".part" for path in self.device.staging.rglob("*"))
        assert files_of(self.device) == before
        return said

    def keep(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.device.trust, folder)

    def go_back(self, folder: Path) -> None:
        """Forget what it has seen since `keep`."""
        shutil.rmtree(self.device.trust)
        shutil.copytree(folder, self.device.trust)


def files_of(device: DeviceDirectory) -> dict[str, bytes]:
    """What decides: the version that the pointer names, and the active slot's files."""
    active = json.loads((device.root / "active.json").read_bytes())["active"]
    paths = (device.root / "slots" / "a").iterdir()
    return {"active": repr(active).encode(), **{path.name: path.read_bytes() for path in paths}}


def bundle(version: str, bias: float = 0.0) -> bytes:
    return zipped(bundle_files(onnx_model(CONTRACT, bias=bias), version))


@pytest.fixture
def attacked(device: DeviceDirectory, repository: Repository) -> Iterator[Attacked]:
    with serving(Mirror(repository.metadata.parent)) as mirror:
        repository.release(bundle("1"))
        found = Attacked(device, repository, mirror)
        assert found.update() == "1"
        repository.release(bundle("2", bias=1.0))
        mirror.asked.clear()
        yield found
