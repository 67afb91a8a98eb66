"""The shim, built once; where it cannot be built, its tests say so and are skipped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.faults.life import World, world
from tests.edge.faults.shim import build, missing_compiler


@pytest.fixture(scope="session")
def shim_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = missing_compiler()
    if missing is not None:
        pytest.skip(missing)
    return build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def fresh_world(tmp_path: Path, shim_library: Path) -> Iterator[World]:
    with world(tmp_path, shim_library) as found:
        yield found
