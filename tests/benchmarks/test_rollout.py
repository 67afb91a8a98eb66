"""The simulation of rollouts, small: the bad version is stopped in the first stage, the good one goes to the end."""

from benchmarks.rollout import VERSIONS, Fleet, lived
from fieldloop.core.params import RolloutParams

PLAN = RolloutParams()


def test_a_bad_version_is_halted_in_the_first_stage_and_every_affected_device_is_back() -> None:
    fleet = Fleet(50_000, seed=1)
    run = lived(fleet, VERSIONS[4], 1, PLAN)
    assert (run.phase, run.halted_at_pct) == ("halted", 1.0)
    assert run.had_it_pct < 2.0
    assert run.affected > 0
    assert run.are_all_back


def test_a_good_version_is_with_the_devices_that_can_be_reached_in_the_planned_time() -> None:
    run = lived(Fleet(50_000, seed=1), VERSIONS[0], 1, PLAN)
    assert run.phase == "finished"
    assert run.reachable_pct >= 95.0
