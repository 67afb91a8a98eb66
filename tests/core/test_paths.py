"""What a clone keeps stays where it is; what can be made again may go; the sample world may begin anew."""

import json
from pathlib import Path

import pytest

from fieldedge.system.errors import ConfigError, DataError, StoreBusy
from fieldloop.core.clone_lock import held
from fieldloop.core.paths import Paths

ACCEPTED = ("data/seasons/season=2006/region=champion/fields.parquet", "data/quarantine/history/fields-1.parquet")
KEPT = (
    ".fieldloop/gateway/inbox/x.batch",
    ".fieldloop/gateway/devices.json",
    ".fieldloop/tuf/keys/root.pem",
    ".fieldloop/tuf/metadata/1.root.json",
    ".fieldloop/bundles/agriculture-1.zip",
    ".fieldloop/mlflow/mlflow.db",
    ".fieldloop/runs/2006-1/last.ckpt",
    ".fieldloop/prefect/prefect.db",
    *ACCEPTED,
)
MADE_AGAIN = (".fieldloop/examples/a.npz", ".fieldloop/prefect/storage/key", ".fieldloop/report.html")


@pytest.fixture
def space(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path / ".fieldloop")


def leave(space: Paths, *names: str) -> None:
    for name in names:
        path = space.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def found(space: Paths) -> set[str]:
    files = (path.relative_to(space.root).as_posix() for path in space.root.rglob("*") if path.is_file())
    return {name for name in files if not name.endswith(("loop.lock", "world.json"))}


def test_preparing_a_clone_moves_nothing_that_it_keeps(space: Paths) -> None:
    leave(space, *KEPT, *MADE_AGAIN)
    space.prepare()
    space.prepare()
    assert found(space) == {*KEPT, *MADE_AGAIN}


def test_an_earlier_layouts_devices_and_their_seasons_are_found_in_the_sample_world(space: Paths) -> None:
    leave(space, ".fieldloop/devices/dev-00/store.db", ".fieldloop/lived/2006/fleet.json", *KEPT)
    space.prepare()
    space.prepare()
    assert (space.sample.devices / "dev-00" / "store.db").read_text() == ".fieldloop/devices/dev-00/store.db"
    assert (space.sample.periods / "2006" / "fleet.json").is_file()
    assert {*KEPT} <= found(space)


def test_an_earlier_layout_that_was_half_moved_is_moved_to_its_end(space: Paths) -> None:
    leave(space, ".fieldloop/sample/world-1/devices/dev-00/store.db", ".fieldloop/lived/2006/fleet.json")
    space.prepare()
    assert (space.sample.devices / "dev-00" / "store.db").is_file()
    assert (space.sample.periods / "2006" / "fleet.json").is_file()


def test_the_next_sample_world_has_other_names_and_nothing_is_moved(space: Paths) -> None:
    leave(space, ".fieldloop/sample/world-1/devices/dev-00/store.db", *KEPT)
    before = found(space)
    assert (space.sample.number, space.sample.prefix) == (1, "")

    former = space.sample.begin_anew()

    assert former == space.home / "sample" / "world-1"
    assert (space.sample.number, space.sample.prefix) == (2, "w2-")
    assert found(space) == before
    assert not space.sample.devices.exists()


def test_a_sample_world_that_has_not_begun_is_not_counted_on(space: Paths) -> None:
    assert space.sample.begin_anew() is None
    leave(space, ".fieldloop/sample/world-1/devices/dev-00/store.db")
    space.sample.begin_anew()
    assert space.sample.begin_anew() is None
    assert space.sample.number == 2


@pytest.mark.parametrize("said", ["", "[]", '{"world": "two"}', "{"])
def test_a_damaged_note_of_the_world_is_told_with_how_to_mend_it(space: Paths, said: str) -> None:
    leave(space, ".fieldloop/sample/world.json")
    (space.home / "sample" / "world.json").write_text(said)
    with pytest.raises(DataError, match=r"world\.json is damaged .* highest number"):
        _ = space.sample.number


def test_cleaning_deletes_what_is_made_again_and_nothing_else(space: Paths) -> None:
    leave(space, *KEPT, *MADE_AGAIN, ".fieldloop/sample/world-1/devices/dev-00/store.db")
    gone = space.forget_caches()
    assert {path.name for path in gone} == {"examples", "storage", "report.html"}
    assert found(space) == {*KEPT, ".fieldloop/sample/world-1/devices/dev-00/store.db"}
    assert space.forget_caches() == []


def test_what_cannot_be_made_again_is_named_and_counted(space: Paths) -> None:
    assert space.kept() == {}
    leave(space, *KEPT)
    space.device_registry.write_text(json.dumps({"dev-00": "00", "dev-01": "01"}))
    assert space.kept() == {
        "files of accepted data (data/seasons)": 1,
        "files of quarantine (data/quarantine)": 1,
        "batches in the gateway's inbox": 1,
        "registered devices": 2,
        "keys of the release repository": 1,
        "released bundles": 1,
        "files of the model registry (mlflow)": 1,
    }


def test_setting_a_clone_aside_moves_all_and_loses_nothing(space: Paths) -> None:
    leave(space, *KEPT)
    target = space.set_aside("before-1")
    assert target == space.root / ".fieldloop.before-1"
    moved = {path.read_text() for path in target.rglob("*") if path.is_file()}
    assert moved == {*KEPT}
    assert not space.home.exists()
    assert space.set_aside("before-1") == target  # again, after a crash at the very end


def test_a_clone_that_was_half_set_aside_is_set_aside_to_its_end(space: Paths) -> None:
    leave(space, *KEPT)
    half = space.root / ".fieldloop.before-1" / "data"
    half.mkdir(parents=True)
    space.accepted.replace(half / "seasons")
    target = space.set_aside("before-1")
    assert {path.read_text() for path in target.rglob("*") if path.is_file()} == {*KEPT}


def test_one_process_at_a_time_turns_a_clones_loop(tmp_path: Path) -> None:
    from filelock import FileLock

    with held(tmp_path / "home", "season"), held(tmp_path / "home", "clean"):  # the same process may nest
        pass
    with (
        FileLock(tmp_path / "home" / "loop.lock"),
        pytest.raises(StoreBusy, match="is in use by another process"),
        held(tmp_path / "home", "clean"),
    ):
        pass


def test_cleaning_takes_a_link_away_and_not_what_it_leads_to(space: Paths, tmp_path: Path) -> None:
    (tmp_path / "anothers").mkdir()
    space.home.mkdir(parents=True, exist_ok=True)
    (space.home / "ui").symlink_to(tmp_path / "anothers")
    (space.home / "report.html").symlink_to(tmp_path / "nowhere")
    assert sorted(path.name for path in space.forget_caches()) == ["report.html", "ui"]
    assert (tmp_path / "anothers").is_dir()
    assert not list(space.home.iterdir())


def test_a_clone_whose_sample_world_is_damaged_can_be_set_aside(space: Paths) -> None:
    device = space.sample.devices / "dev-00"
    device.mkdir(parents=True, exist_ok=True)
    (device / "device.toml").touch()
    (space.sample.root / "world.json").write_text("{")
    assert space.kept()["simulated devices"] >= 1
    assert space.set_aside("before").is_dir()


@pytest.mark.parametrize("home", ["/proc/x", "/dev/null", "/dev/null/x"])
def test_a_home_that_cannot_be_used_is_told(home: str) -> None:
    with pytest.raises(ConfigError, match="set FIELDLOOP_HOME to a folder"), held(Path(home), "clean"):
        pass
