"""When the loop's world changes, what the former devices stored and sent is set aside, never deleted."""

import os
import shutil
from pathlib import Path

import pytest

from fieldloop.settings import WorkloadParams, load_params
from fieldloop.workspace import Workspace, loop_id_of

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, tmp_path / ".fieldloop")


@pytest.fixture(scope="module")
def params() -> WorkloadParams:
    return load_params(PROJECT, "agriculture")


def live_in(space: Workspace, said: str = "a season") -> None:
    """Leave behind what a loop makes."""
    for name in ("devices/dev-00/store.db", "gateway/inbox/x.batch", "lived/2006/fleet.json", "tuf/1.root.json"):
        write(space.home / name, said)
    for name in ("seasons/season=2006/fields.parquet", "quarantine/x/fields.parquet", "history/fields.parquet"):
        write(space.root / "data" / name, said)


def write(path: Path, said: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(said)


def archived(space: Workspace) -> dict[str, str]:
    """Every archived file by its place below `archive/<loop>-<n>/`, and what stands in it."""
    folder = space.home / "archive"
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {"/".join(path.relative_to(folder).parts[1:]): path.read_text() for path in found}


LIVED = ("devices/dev-00/store.db", "gateway/inbox/x.batch", "lived/2006/fleet.json")
ACCEPTED = ("seasons/season=2006/fields.parquet", "quarantine/x/fields.parquet")


def test_a_fresh_clone_begins_with_nothing_to_set_aside(space: Workspace) -> None:
    assert space.loop_id() is None
    assert space.begin("aaa") is None
    assert space.loop_id() == "aaa"


def test_the_same_loop_again_moves_nothing(space: Workspace) -> None:
    space.begin("aaa")
    live_in(space)
    assert space.begin("aaa") is None
    assert all((space.home / name).is_file() for name in LIVED)
    assert not (space.home / "archive").exists()


def test_another_loop_finds_its_world_empty_and_the_former_one_in_the_archive(space: Workspace) -> None:
    space.begin("aaa")
    live_in(space)
    target = space.begin("bbb")
    assert target == space.home / "archive" / "aaa-1"
    assert archived(space) == dict.fromkeys((*LIVED, *ACCEPTED), "a season")
    assert not any(path.exists() for path in (space.devices, space.inbox, space.seasons, space.quarantine))
    assert space.loop_id() == "bbb"


def test_releases_and_the_simulated_past_go_on_over_a_change_of_loop(space: Workspace) -> None:
    space.begin("aaa")
    live_in(space)
    space.begin("bbb")
    assert (space.tuf / "1.root.json").is_file()
    assert (space.history / "fields.parquet").is_file()


def test_two_changes_to_and_fro_are_archived_apart(space: Workspace) -> None:
    for number, loop_id in enumerate(("aaa", "bbb", "aaa", "bbb")):
        space.begin(loop_id)
        live_in(space, f"world {number}")
    space.begin("ccc")
    names = sorted(path.name for path in (space.home / "archive").iterdir())
    assert names == ["aaa-1", "aaa-2", "bbb-1", "bbb-2"]


@pytest.mark.parametrize("moves", range(5))
def test_a_crash_between_two_moves_loses_nothing_and_the_next_call_ends_the_work(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    space.begin("aaa")
    live_in(space)
    real, done = shutil.move, []

    def cut_off(source: Path, target: Path) -> None:
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(real(source, target))

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "move", cut_off)
        space.begin("bbb")
    assert space.loop_id() == "aaa"
    space.begin("bbb")
    assert archived(space) == dict.fromkeys((*LIVED, *ACCEPTED), "a season")
    assert not space.devices.exists()
    assert space.loop_id() == "bbb"


def test_a_home_on_another_disk_takes_the_archive_too(tmp_path: Path) -> None:
    disk = Path("/dev/shm")  # noqa: S108  (another file system is what the test is about)
    if not disk.is_dir() or disk.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system to write on")
    home = disk / f"fieldloop-test-{os.getpid()}"
    try:
        space = Workspace(tmp_path, home)
        space.begin("aaa")
        live_in(space)
        space.begin("bbb")
        assert archived(space) == dict.fromkeys((*LIVED, *ACCEPTED), "a season")
        assert not space.seasons.exists()
    finally:
        shutil.rmtree(home)


def test_a_loop_is_named_by_its_parameters_and_its_code(tmp_path: Path, params: WorkloadParams) -> None:
    write(tmp_path / "src" / "fieldloop" / "steps.py", "x = 1\n")
    first = loop_id_of(tmp_path, params)
    assert first == loop_id_of(tmp_path, params)
    fewer = params.model_copy(update={"loop": params.loop.model_copy(update={"devices": 2})})
    write(tmp_path / "src" / "fieldloop" / "report" / "page.py", "colour = 'green'\n")
    assert loop_id_of(tmp_path, fewer) != first == loop_id_of(tmp_path, params)
    write(tmp_path / "src" / "fieldloop" / "steps.py", "x = 2\n")
    assert loop_id_of(tmp_path, params) != first


@pytest.mark.parametrize("parent", ["ui", "report"])
def test_a_clone_in_a_folder_of_any_name_sees_its_code_change(
    tmp_path: Path, params: WorkloadParams, parent: str
) -> None:
    clone = tmp_path / parent / "clone"
    write(clone / "src" / "fieldloop" / "steps.py", "x = 1\n")
    first = loop_id_of(clone, params)
    write(clone / "src" / "fieldloop" / "steps.py", "x = 2\n")
    assert loop_id_of(clone, params) != first
