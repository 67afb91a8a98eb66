"""In a deployment a first model waits for a person; what was released of a version stands, on any worker."""

import hashlib
import shutil
import time

import pytest

from fieldloop.core.paths import Paths
from fieldloop.release import ReleaseRepository
from tests.edge.patience import PATIENCE_S
from tests.flows.small_loop import SmallLoop

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("promotion")]  # one deployment, and each test goes on from it


def released_sha256(clone: SmallLoop) -> tuple[str, str]:
    found = ReleaseRepository(Paths(clone.root, clone.home).tuf).current("agriculture")
    assert found is not None
    return found.version, found.sha256


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> SmallLoop:
    made = SmallLoop.make(tmp_path_factory.mktemp("promotion") / "clone", has_int8=False)
    made.prefect_api_url = prefect_api_url
    return made


def test_a_first_model_in_a_deployment_waits_for_a_person_and_is_then_released_without_training_again(
    clone: SmallLoop,
) -> None:
    running = clone.start(flow="retrain", is_deployment=True)
    while not (clone.home / "loop.holder.json").exists():
        assert running.poll() is None, clone.wait(running)
        time.sleep(0.05)
    refused = clone.command("promote", "agriculture", "1", "--why", "half-way through", "--wait-s", "0")
    assert refused.code == 1
    assert f"is in use by `retrain`, process {running.pid}, since " in refused.stderr
    unknown = clone.command("promote", "agriculture", "7", "--why", "a guess", "--wait-s", str(PATIENCE_S))
    assert unknown.code == 1
    assert f"waiting for `retrain`, process {running.pid}, since " in unknown.stderr
    assert "there is no version 7 of agriculture in the registry; there are 1" in unknown.stderr, (
        "it came after the run"
    )
    ended = clone.wait(running)
    assert ended.code == 1
    assert "version 1 of agriculture cannot be released (waiting for a person: there is no champion yet" in ended.stderr
    assert "let a person release it: fieldloop promote agriculture 1" in ended.stderr
    assert "against the FAO-56 rule" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr

    unsaid = clone.command("promote", "agriculture", "1", "--why", " ")
    assert unsaid.code == 1
    assert "a promotion needs a reason" in unsaid.stderr
    promoted = clone.command("promote", "agriculture", "1", "--why", "tried on two farms", "--by", "ada")
    assert promoted.code == 0, promoted.stderr
    assert "version 1 of agriculture is the champion; promoted by a person, ada: tried on two farms" in promoted.stdout

    again = clone.run(flow="retrain", is_deployment=True)
    assert (again.code, again.stderr) == (0, ""), again.stdout + again.stderr
    assert "\n  train " in again.stdout
    (train,) = [line for line in again.stdout.splitlines() if line.startswith("  train")]
    assert train.endswith("(unchanged)")
    assert released_sha256(clone)[0] == "1"


def test_what_was_released_of_a_version_is_released_again_byte_for_byte(clone: SmallLoop) -> None:
    released, space = released_sha256(clone), Paths(clone.root, clone.home)
    for folder in (*space.runs.glob("compressed-*"), *space.runs.glob("released-*"), space.bundles):
        shutil.rmtree(folder)
    ended = clone.run(flow="retrain", is_deployment=True)
    assert (ended.code, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    assert released_sha256(clone) == released
    (bundle,) = space.runs.glob("released-1-*/**/bundle.zip")
    assert hashlib.sha256(bundle.read_bytes()).hexdigest() == released[1]


def test_a_worker_without_the_runs_of_another_trains_and_releases_from_the_registry_alone(clone: SmallLoop) -> None:
    shutil.rmtree(Paths(clone.root, clone.home).runs)
    ended = clone.run(flow="retrain", is_deployment=True)
    assert (ended.code, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    (train,) = [line for line in ended.stdout.splitlines() if line.startswith("  train")]
    assert not train.endswith("(unchanged)")
    assert "against version 1" in ended.stdout  # whose file came from the registry


def test_what_a_person_goes_back_from_is_not_promoted_again_by_the_next_run(clone: SmallLoop) -> None:
    back = clone.command("promote", "agriculture", "1", "--why", "version 2 waters too much")
    assert back.code == 0, back.stderr
    ended = clone.run(flow="retrain", is_deployment=True)
    assert (ended.code, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    (train,) = [line for line in ended.stdout.splitlines() if line.startswith("  train")]
    assert train.endswith("(unchanged)")
    assert "version 2 kept back: a person promoted version 1 when there was this one to choose" in ended.stdout
    assert released_sha256(clone)[0] == "1"
