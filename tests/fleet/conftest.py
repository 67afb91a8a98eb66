"""A small fleet of real devices, with a release to install and a gateway to reach."""

import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fieldedge.workloads import known_workload
from fieldloop.core.http_server import HttpServer
from fieldloop.fleet import Fleet
from fieldloop.gateway.app import create_app
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.release import ReleaseRepository

MORTAL = """#!{python}
import os, subprocess, sys

arguments = sys.argv[1:]
if any(name.endswith("warm_process.py") for name in arguments) and os.path.exists({marker!r}):
    sys.exit("this Python warms nothing: each device is started on its own, so that the doomed one can be found")
is_doomed = "run" in arguments and any(name.endswith({doomed!r}) for name in arguments)
if not is_doomed or not os.path.exists({marker!r}):
    os.execv({python!r}, [{python!r}, *arguments])
device = subprocess.Popen([{python!r}, *arguments], stdin=subprocess.PIPE, text=True)
for number, line in enumerate(sys.stdin):
    if number == {lines}:
        break
    device.stdin.write(line)
    device.stdin.flush()
device.kill()
device.wait()
sys.exit("the battery of {doomed} is empty")
"""


@dataclass(frozen=True)
class World:
    """Where the cloud and the devices of one test are."""

    root: Path
    releases: ReleaseRepository
    registry: DeviceRegistry

    @property
    def devices_dir(self) -> Path:
        return self.root / "devices"

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    def fleet(self, python: Path = Path(sys.executable)) -> Fleet:
        return Fleet(self.devices_dir, python, self.releases.trusted_root(), self.registry, "agriculture")

    def gateway(self) -> HttpServer:
        return HttpServer(create_app(self.root / "tuf", self.inbox, self.registry.path))

    def mortal_python(self, doomed: str, marker: Path, lines: int) -> Path:
        """A Python whose device `doomed` is killed after some lines of a season, while `marker` exists."""
        script = self.root / "mortal-python"
        script.write_text(MORTAL.format(python=sys.executable, doomed=doomed, marker=str(marker), lines=lines))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return script


@pytest.fixture
def world(tmp_path: Path, make_bundle: Callable[..., Path]) -> Iterator[World]:
    releases = ReleaseRepository(tmp_path / "tuf")
    releases.publish(make_bundle("1"), "agriculture", "1", known_workload("agriculture").contract.hash)
    return World(tmp_path, releases, DeviceRegistry(tmp_path / "devices.json"))
