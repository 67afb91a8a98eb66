"""A process ended before, after and in the middle of its writes, syncs and renames; a disk that fails; a power cut.

What is quick is done at every point; the others at every few, and at each of them in `benchmarks/edge_faults.py`.
"""

import pytest

from tests.edge.faults.crashes import crash, cut_power, cuts, fail, series_of
from tests.edge.faults.life import World
from tests.edge.faults.shim import FAULTS, Fault

pytestmark = pytest.mark.heavy

# Of so many points one: an update tries each model in a process of its own, which takes most of its time.
SHORT = {"init": 1, "first update": 8, "next update": 8, "sync": 4, "next days": 4, "revert": 8}
LONG = {"season": 19, "daemon": 121}


def every(times: int, **long: int) -> list[tuple[str, int]]:
    """The jobs, with how many points to go on by."""
    return [*((name, times * stride) for name, stride in SHORT.items()), *(long or LONG).items()]


@pytest.mark.parametrize(("name", "stride"), every(1))
def test_a_process_that_dies_at_any_point_of_a_job_loses_nothing_and_the_same_command_goes_on(
    fresh_world: World, name: str, stride: int
) -> None:
    series = series_of(fresh_world, name)
    points = series.points()
    assert len(points) > 20
    points = points[::stride]
    died = sum(crash(fresh_world, series, where, at) for where, at in points)
    assert died >= 0.9 * len(points)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
@pytest.mark.parametrize(("name", "stride"), every(5, season=83, daemon=487))
def test_a_disk_that_fails_for_a_while_costs_no_record(
    fresh_world: World, name: str, stride: int, fault: Fault
) -> None:
    series = series_of(fresh_world, name)
    for at in range(1, series.calls + 1, stride):
        for calls in (None, 1, 3):
            fail(fresh_world, series, fault, at, calls)


@pytest.mark.parametrize(("name", "stride"), every(2, season=23, daemon=121))
def test_a_power_cut_that_takes_what_was_not_synced_takes_nothing_that_was_acknowledged(
    fresh_world: World, name: str, stride: int
) -> None:
    series = series_of(fresh_world, name)
    left = list(cuts(fresh_world, series))
    received = dict(fresh_world.gateway.received)
    assert len(left) > 20
    for cut in left[::stride]:
        cut_power(fresh_world, series, cut, received)


def test_a_power_cut_while_another_process_has_the_store_open(fresh_world: World) -> None:
    series = series_of(fresh_world, "next days")
    left = list(cuts(fresh_world, series, is_store_open=True))
    received = dict(fresh_world.gateway.received)
    for cut in left[::3]:
        cut_power(fresh_world, series, cut, received)
