"""The second season's model goes out in stages; one that was built wrong goes out first, is halted, and is left."""

import json
import signal
from typing import Any

import pytest

from fieldloop.core.paths import Paths
from fieldloop.release import ReleaseRepository
from fieldloop.rollout.store import RolloutStore
from tests.flows.small_loop import SmallLoop

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("staged")]
PLAN: dict[str, Any] = {
    "stages": [{"percentage": 50, "soak_d": 16}, {"percentage": 100, "soak_d": 16}],
    **{"min_sample": 1, "acceptable_failed_pct": 5, "unacceptable_failed_pct": 40},
    **{"false_halt_risk": 0.05, "ripe_after_d": 0},
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> SmallLoop:
    made = SmallLoop.make(tmp_path_factory.mktemp("staged") / "clone", has_int8=False)
    made.prefect_api_url = prefect_api_url
    made.set_params(
        loop={"devices": 4, "seasons": [2006, 2007], "rollout": PLAN, "bad_release": True},
        gates={"max_error_increase_pct": 1000.0},
    )
    return made


def test_a_bad_version_is_halted_and_left_and_the_good_one_reaches_every_device_though_the_run_was_killed(
    clone: SmallLoop,
) -> None:
    paths = Paths(clone.root, clone.home)
    store = RolloutStore(paths.rollouts)
    killed = clone.cut_off(lambda _loop: len(store.all("agriculture")) > 1, signal.SIGKILL)  # the good one has begun
    assert killed.code == -signal.SIGKILL
    told = paths.sample.periods / "2007" / "fleet.json"
    killed = clone.cut_off(lambda _loop: store.all("agriculture")[-1].phase == "finished", signal.SIGKILL)
    assert killed.code == -signal.SIGKILL and not told.exists(), "it is everyone's, and nothing has told of its stages"
    ended = clone.run()
    assert (ended.code, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    bad, good = store.all("agriculture")
    assert (bad.version, bad.phase, bad.stage) == ("2.bad", "halted", 0)
    assert (good.version, good.phase) == ("2", "finished")
    assert all(moment.year == 2007 for moment in (*bad.entered, *good.entered)), "the days are the world's"
    offers = ReleaseRepository(paths.tuf).offers("agriculture")
    assert offers.released is not None and offers.released.version == "2"
    assert (offers.candidate, offers.withdrawn) == (None, ("2.bad",))

    report = json.loads((clone.home / "report.json").read_text())
    first, second = report["seasons"]
    assert first["rollouts"] == [] and [one["version"] for one in second["rollouts"]] == ["2.bad", "2"]
    halted, finished = second["rollouts"]
    assert halted["stages"][0]["failed"] == 2 == halted["stages"][0]["cohort"]
    assert [stage["confirmed"] for stage in finished["stages"]] == [2, 4]
    assert second["records_lost"] == 0
    assert {"2"} == set(second["model_version"])
    assert second["decided_by"]["2.bad"] == 2 * 3, "each device went back by itself after three mornings"
    html = (clone.home / "report.html").read_text()
    assert "How the new model went out" in html and "halted" in html
    assert "halted" in ended.stdout and "went out in stages" in ended.stdout
