"""What no step can make again: a run that finds it gone stops, and one that finds it there notes it."""

import shutil
from pathlib import Path

import pytest

from fieldedge.system.errors import ConfigError, DataError, ReleaseError
from fieldloop.core.begun import Mark
from fieldloop.core.settings import Settings
from fieldloop.data import snapshot
from fieldloop.release import ReleaseRepository
from fieldloop.stages import version
from fieldloop.stages.context import Loop
from fieldloop.stages.kept import note_registry, require_kept
from fieldloop.stages.opening import new_loop
from fieldloop.stages.refs import SnapshotRef
from fieldloop.workloads import load_params
from tests.conftest import CONTRACT, BundleMaker
from tests.data.empty_clone import empty_clone
from tests.data.test_versions import add_field
from tests.sample_season import SEASON

PROJECT = Path(__file__).parents[2]
SEASONS = Path("data/seasons")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = empty_clone(tmp_path / "clone", monkeypatch)
    shutil.copyfile(PROJECT / "params.yaml", root / "params.yaml")
    return root


def loop_of(clone: Path) -> Loop:
    return new_loop(Settings(root=clone), "agriculture", load_params(clone, "agriculture"))


def test_a_deleted_pointer_is_written_again_and_the_data_comes_back(clone: Path) -> None:
    add_field(clone, 0)
    made = snapshot(clone, SEASONS, "data", is_deployment=False, period=SEASON)
    loop = loop_of(clone)
    data = SnapshotRef(made.data_hash, SEASON + 1, "", "", is_committed=False)
    assert version.stands(loop, data)
    pointer = loop.paths.pointer.read_bytes()
    loop.paths.pointer.unlink()
    shutil.rmtree(loop.paths.accepted)
    assert not version.stands(loop, data)
    assert version.stands(loop_of(clone), data)
    assert loop.paths.pointer.read_bytes() == pointer
    assert any(loop.paths.accepted.rglob("*.parquet"))

    loop.paths.pointer.unlink()
    shutil.rmtree(loop.paths.accepted)
    shutil.rmtree(clone / ".dvc/cache")
    with pytest.raises(DataError, match=r"data/seasons is gone, and DVC's cache has not all .* fieldloop reset"):
        loop_of(clone)


def test_a_clone_to_which_seasons_came_home_is_no_new_one(clone: Path) -> None:
    loop = loop_of(clone)
    report = loop.paths.sample.periods / "2006" / "sync.json"
    report.parent.mkdir(parents=True)
    report.write_text("{}")
    with pytest.raises(DataError, match=r"seasons\.dvc are gone, though records were accepted here .*sync\.json"):
        loop_of(clone)


def test_a_lost_release_repository_stops_the_run_and_a_new_clone_begins_one(clone: Path) -> None:
    loop = loop_of(clone)
    require_kept(loop)
    assert not loop.paths.tuf.exists()
    ReleaseRepository(loop.paths.tuf)
    require_kept(loop)
    shutil.rmtree(loop.paths.tuf)
    with pytest.raises(ReleaseError, match="keys and all"):
        require_kept(loop)
    Mark.beside(loop.paths.tuf).path.unlink()
    require_kept(loop)
    device = loop.paths.sample.devices / "dev-00" / "device.toml"
    device.parent.mkdir(parents=True)
    device.touch()  # of a clone from before repositories were marked
    with pytest.raises(ReleaseError, match="keys and all"):
        require_kept(loop)


def test_a_registry_that_has_not_what_devices_are_offered_stops_the_run(clone: Path, make_bundle: BundleMaker) -> None:
    loop = loop_of(clone)
    ReleaseRepository(loop.paths.tuf).publish(make_bundle(version="7"), "agriculture", "7", CONTRACT.hash)
    require_kept(loop)  # of a clone from before registries were marked: `evaluate` says it
    note_registry(loop)
    with pytest.raises(ReleaseError, match=r"version 7 of agriculture, .*mlflow\.db.* remove .*mlflow\.begun"):
        require_kept(loop)
    assert not (loop.paths.mlflow / "mlflow.db").exists()


def test_a_damaged_registry_is_told_in_one_line_with_its_place(clone: Path, make_bundle: BundleMaker) -> None:
    loop = loop_of(clone)
    ReleaseRepository(loop.paths.tuf).publish(make_bundle(version="7"), "agriculture", "7", CONTRACT.hash)
    loop.paths.mlflow.mkdir(parents=True, exist_ok=True)
    (loop.paths.mlflow / "mlflow.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with pytest.raises(ConfigError, match=r"the models in sqlite:///.*mlflow\.db cannot be read: .*from a backup"):
        require_kept(loop)
