"""A clone with the project's parameters and nothing in it, as a stage is given it."""

import shutil
from pathlib import Path

import pytest

from fieldloop.core.settings import Settings
from fieldloop.stages.context import Loop
from fieldloop.stages.opening import new_loop
from fieldloop.workloads import load_params
from tests.data.empty_clone import empty_clone

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    root = empty_clone(tmp_path / "clone", monkeypatch)
    shutil.copyfile(PROJECT / "params.yaml", root / "params.yaml")
    return new_loop(Settings(root=root), "agriculture", load_params(root, "agriculture"))
