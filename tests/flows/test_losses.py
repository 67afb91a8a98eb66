"""What is deleted after a run is seen by the next one: it comes back, or the run stops and says how it would."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.flows.conftest import Undisturbed
from tests.flows.small_loop import SmallLoop

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("undisturbed")]  # one loop for all of them
TURN = Path("sample/world-1/seasons/2006/turn.json")


@pytest.fixture
def loop(undisturbed: Undisturbed, tmp_path: Path) -> Iterator[SmallLoop]:
    """The finished loop, put back afterwards."""
    root = undisturbed.loop.root
    shutil.copytree(root, tmp_path / "kept", symlinks=True)
    yield undisturbed.loop
    shutil.rmtree(root)
    shutil.copytree(tmp_path / "kept", root, symlinks=True)


def accepted_and_pointer(loop: SmallLoop) -> list[Path]:
    return [loop.seasons, loop.root / "data" / "seasons.dvc"]


def pointer_and_cache(loop: SmallLoop) -> list[Path]:
    return [loop.root / "data" / "seasons.dvc", loop.root / ".dvc" / "cache"]


@pytest.mark.parametrize(("what", "is_turn_known"), [(accepted_and_pointer, False), (pointer_and_cache, True)])
def test_accepted_data_and_its_version_come_back(
    loop: SmallLoop, what: Callable[[SmallLoop], list[Path]], is_turn_known: bool
) -> None:
    accepted, pointer = loop.accepted(), (loop.root / "data" / "seasons.dvc").read_bytes()
    delete(what(loop) if is_turn_known else [*what(loop), loop.home / TURN])
    ended = loop.run()
    assert (ended.code, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    assert loop.accepted() == accepted
    assert (loop.root / "data" / "seasons.dvc").read_bytes() == pointer
    shutil.rmtree(loop.seasons)
    assert loop.run().code == 0  # from the cache that was filled again
    assert loop.accepted() == accepted


@pytest.mark.parametrize("flow", ["season", "retrain"])
@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("tuf", "the release repository {place} is gone, keys and all"),
        ("mlflow/mlflow.db", "which devices are offered, is not in the registry sqlite:///{place}"),
    ],
)
def test_what_cannot_be_made_again_stops_the_run_and_nothing_takes_its_place(
    loop: SmallLoop, flow: str, place: str, told: str
) -> None:
    gone = loop.home / place
    delete([gone])
    ended = loop.run(flow=flow)
    assert ended.code == 1, ended.stdout
    assert told.format(place=gone) in ended.stderr
    assert "backup" in ended.stderr and "on purpose: remove " in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert not any(path.is_file() and path.suffix in (".pem", ".json", ".db") for path in (gone, *gone.rglob("*")))


def delete(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
