"""The toy workload, installed as a guest is: a distribution with entry points, here and in a device's environment."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldedge.workloads import known_workload as known_on_device
from fieldloop.workloads import known_workload

PROJECT = Path(__file__).parents[2]
TOY = PROJECT / "tests" / "workloads" / "toy"
EDGE_PACKAGES = next((PROJECT / ".venv-edge" / "lib").glob("python3*/site-packages"), PROJECT)
ENTRY_POINTS = """
[fieldedge.workloads]
bearing = bearing_on_device:BEARING
[fieldloop.workloads]
bearing = bearing_in_cloud:BEARING_IN_CLOUD
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Installs the toy; the Python of a device environment that has it too, beside nothing of the cloud side."""
    folder = tmp_path_factory.mktemp("installed")
    described = folder / "bearing-1.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: bearing\nVersion: 1\n")
    (described / "entry_points.txt").write_text(ENTRY_POINTS)
    paths, edge = [str(TOY), str(folder)], str(PROJECT / "edge" / "src")
    with pytest.MonkeyPatch.context() as patch:
        for path in paths:
            patch.syspath_prepend(path)
        patch.setenv("PYTHONPATH", os.pathsep.join([*paths, str(PROJECT / "src"), edge]))
        yield _device_environment(folder / "edge", [*paths, edge, str(EDGE_PACKAGES)])
    known_workload.cache_clear()
    known_on_device.cache_clear()


def _device_environment(root: Path, paths: list[str]) -> Path:
    """A virtual environment in which these folders are installed; its Python."""
    packages = root / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "installed.pth").write_text("\n".join(paths) + "\n")
    base = Path(sys.executable).resolve()
    (root / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(base)
    return root / "bin" / "python"
