"""Real devices through a real season: they update, decide offline, die, go on, and send home."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fieldedge.system.errors import ConfigError, DataError
from fieldedge.workloads import known_workload
from fieldloop.fleet import Fleet, FleetError, FleetRun
from fieldloop.workloads.agriculture.metrics import YIELD_ERROR
from fieldloop.workloads.agriculture.source import FieldPlace
from fieldloop.workloads.agriculture.world.world import field_specs

SEASON = 2008
DEVICES = 8  # `make season` has two dozen
ROOT = Path(__file__).parents[2]
PYTHON = Path(sys.executable)
CONTRACT = known_workload("agriculture").contract


def fields(device_ids: list[str], season: int = SEASON) -> list[FieldPlace]:
    specs = field_specs("champion", season, len(device_ids), 5, "fieldloop", device_ids)
    return [FieldPlace(spec) for spec in specs]


def but_for_time(season: FleetRun) -> dict[str, Any]:
    """A season's figures without those that a clock made."""
    timed = ("latency_p50_ms", "latency_p99_ms", "bytes_collected")
    return {name: value for name, value in asdict(season).items() if name not in timed}


def set_up(fleet: Fleet, world: Any, device_ids: list[str]) -> None:
    fleet.provision(device_ids)
    with world.gateway() as gateway:
        updates = fleet.update_all(gateway.url)
    assert [(update.device_id, update.version, update.changed) for update in updates] == [
        (device_id, "1", True) for device_id in device_ids
    ]


@pytest.mark.slow
def test_a_device_that_dies_mid_season_is_named_the_others_finish_and_it_continues(world: Any) -> None:
    device_ids = ["dev-00", "dev-01"]
    battery_is_weak = world.root / "battery-is-weak"
    battery_is_weak.touch()
    mortal = world.fleet(world.mortal_python("dev-01", battery_is_weak, lines=150))
    set_up(mortal, world, device_ids)
    shutil.copytree(world.devices_dir, world.root / "twins")
    progress: list[tuple[int, int]] = []
    with pytest.raises(FleetError, match="1 of 2 devices failed") as failed:
        mortal.run_period(fields(device_ids), on_progress=lambda *step: progress.append(step))
    assert list(failed.value.failures) == ["dev-01"]
    for told in ("dev-01 ended", "exit code 1", "the battery of dev-01 is empty"):
        assert told in str(failed.value)
    assert progress == [(1, 2), (2, 2)]

    battery_is_weak.unlink()
    twins = Fleet(world.root / "twins", PYTHON, world.releases.trusted_root(), world.registry, "agriculture")
    its_field = fields(device_ids)[1:]
    continued, uncut = (fleet.run_period(its_field) for fleet in (mortal, twins))
    assert but_for_time(continued) == but_for_time(uncut)


@pytest.mark.slow
def test_a_season_that_is_lived_in_parts_is_the_one_that_is_lived_in_one_go(world: Any) -> None:
    device_ids = ["dev-00", "dev-01"]
    fleet = world.fleet()
    set_up(fleet, world, device_ids)
    shutil.copytree(world.devices_dir, world.root / "twins")
    twins = Fleet(world.root / "twins", PYTHON, world.releases.trusted_root(), world.registry, "agriculture")
    periods = fleet.begin_period(fields(device_ids))
    begins = min(period.day for period in periods.values())
    with fleet.warmed():
        for days in (10, 10, 40):
            assert fleet.live(periods, begins + timedelta(days=days)) is None
            assert all(period.day >= begins + timedelta(days=days) for period in periods.values())
        in_parts = fleet.live(periods)
    in_one_go = twins.run_period(fields(device_ids))
    assert in_parts is not None and in_parts.decided_by == {"1": in_parts.recommendations}
    assert but_for_time(in_parts) == but_for_time(in_one_go)


@pytest.mark.slow
def test_a_season_is_lived_offline_and_sent_home_once(world: Any) -> None:
    fleet = world.fleet()
    set_up(fleet, world, ["dev-00"])
    lived = fleet.run_period(fields(["dev-00"]))
    assert (lived.period, lived.devices, lived.model_version, lived.records_rejected) == (SEASON, 1, "1", 0)
    assert lived.recommendations > 100
    assert lived.error is not None
    assert [outcome["device_id"] for outcome in lived.outcomes] == ["dev-00"]
    with world.gateway() as gateway:
        sync = fleet.sync_all(gateway.url)
        assert fleet.sync_all(gateway.url) == sync
    assert 0 < sync.records_acknowledged == sync.records_selected <= sync.records_collected
    assert sum(path.stat().st_size for path in world.inbox.glob("*/*.batch")) == sync.bytes_sent
    assert 0 < sync.bytes_sent < sync.bytes_collected
    season = lived.with_sync(sync)
    record = json.loads(json.dumps(season.as_record(YIELD_ERROR)))
    assert (record["yield_rmse_t_ha"], record["season"]) == (season.error, SEASON)
    assert FleetRun.of_record(record, YIELD_ERROR) == season


def test_provisioning_again_changes_nothing_and_registers_each_key_once(world: Any) -> None:
    fleet = world.fleet()
    keys = fleet.provision(["dev-00", "dev-01"])
    assert fleet.provision(["dev-01", "dev-00"]) == keys
    assert world.registry.public_keys() == keys
    assert fleet.device_ids() == ["dev-00", "dev-01"]


def test_an_update_that_cannot_reach_the_gateway_names_the_device_and_the_gateway(world: Any) -> None:
    fleet = world.fleet()
    fleet.provision(["dev-00"])
    with world.gateway() as gateway:
        url = gateway.url
    with pytest.raises(FleetError, match=rf"(?s)updating: 1 of 1.*dev-00 failed \(exit code 1\).*{url}"):
        fleet.update_all(url)


def test_a_rejected_answerable_message_is_an_error_and_not_a_wait(world: Any) -> None:
    fleet = world.fleet()
    fleet.provision(["dev-00"])
    (place,) = fields(["dev-00"])
    dear = FieldPlace(replace(place.spec, grain_price_usd_t=1e9))
    with pytest.raises(FleetError, match=r"rejected field 2008-04-28: .*grain_price_usd_t"):
        fleet.run_period([dear])


def test_fields_without_a_device_of_their_own_are_refused_before_anything_runs(world: Any) -> None:
    fleet = world.fleet()
    one, other = fields(["dev-00", "dev-01"])
    with pytest.raises(DataError, match="has no device"):
        fleet.run_period([FieldPlace(replace(one.spec, device_id=None))])
    with pytest.raises(DataError, match="dev-00 stands in champion-00 and in champion-01"):
        fleet.run_period([one, FieldPlace(replace(other.spec, device_id="dev-00"))])
    with pytest.raises(DataError, match="same season"):
        fleet.run_period([one, *fields(["dev-01"], season=SEASON + 1)])
    with pytest.raises(DataError, match="same season"):
        fleet.run_period([])


def test_a_missing_device_environment_says_what_to_run(world: Any) -> None:
    with pytest.raises(ConfigError, match="run `make setup`"):
        world.fleet(Path("/nowhere/bin/python"))


@pytest.mark.slow
def test_an_interrupted_season_ends_its_devices_and_continues(world: Any) -> None:
    device_ids = ["dev-00", "dev-01", "dev-02", "dev-03"]
    fleet = world.fleet()
    set_up(fleet, world, device_ids)

    lived: list[str] = []

    def interrupt(done: int, total: int) -> None:
        lived.extend(children_named("fieldedge run"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fleet.run_period(fields(device_ids), on_progress=interrupt)
    assert lived, "the others were under way"
    assert not children_named("fieldedge run")
    assert fleet.run_period(fields(device_ids)).devices == 4


def children_named(name: str) -> list[str]:
    """What this process's children, and theirs, are called or were called with, where that mentions `name`."""
    found, parents = [], [os.getpid()]
    while parents:
        listings = Path(f"/proc/{parents.pop()}/task").glob("*/children")
        children = [int(pid) for listing in listings for pid in listing.read_text().split()]
        parents += children
        for pid in children:
            with suppress(OSError):
                of = Path(f"/proc/{pid}")
                found.append((of / "comm").read_text() + (of / "cmdline").read_text().replace("\0", " "))
    return [said for said in found if name in said]


@pytest.mark.slow
def test_many_installed_devices_update_live_two_seasons_and_lose_nothing(
    world: Any, make_bundle: Callable[..., Path]
) -> None:
    device_ids = [f"dev-{number:02d}" for number in range(DEVICES)]
    fleet = world.fleet(ROOT / ".venv-edge" / "bin" / "python")
    fleet.provision(device_ids)
    for version, season in (("1", SEASON), ("2", SEASON + 1)):
        bundle = make_bundle(version, yield_t_ha=10.0 + 0.1 * int(version))  # near enough to be kept
        world.releases.publish(bundle, "agriculture", version, CONTRACT.hash)
        with world.gateway() as gateway:
            assert all(update.changed for update in fleet.update_all(gateway.url))
        lived = fleet.run_period(fields(device_ids, season))
        with world.gateway() as gateway:
            lived = lived.with_sync(fleet.sync_all(gateway.url))
        assert (lived.devices, lived.model_version) == (DEVICES, version)
        assert lived.records_acknowledged == lived.records_selected > 0
    assert len(list(world.inbox.glob("*/*.batch"))) >= 2 * DEVICES
