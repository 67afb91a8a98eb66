"""kill -9 of the real process at random moments. `benchmarks/edge_faults.py` does it hundreds of times."""

import pytest

from tests.edge.faults.kills import JOBS, Kills, kill_at_random
from tests.edge.faults.life import World

pytestmark = pytest.mark.heavy
KILLS = 8


@pytest.mark.parametrize("name", JOBS)
def test_kill_9_at_random_moments_loses_nothing_and_the_season_goes_on(fresh_world: World, name: str) -> None:
    found = Kills()
    kill_at_random(fresh_world, name, KILLS, 20060501, found)
    assert found.killed[name] == KILLS
