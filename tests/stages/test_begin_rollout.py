"""What lies ready for a rollout begins one, once; the version that is everyone's and one that was withdrawn do not."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fieldedge.system.errors import DataError
from fieldloop.release import ReleaseRepository
from fieldloop.rollout.signed import note_run
from fieldloop.rollout.store import RolloutStore
from fieldloop.stages.context import Loop
from fieldloop.stages.refs import ReleasedRef
from fieldloop.stages.rollouts import begin_rollout, goes_out_in_stages, open_rollouts, rollouts_at
from fieldloop.stages.staged import goes_in_stages
from tests.conftest import CONTRACT


@pytest.fixture
def ready(loop: Loop, make_bundle: Callable[..., Path]) -> ReleasedRef:
    """Version 1 is everyone's, version 2 lies ready."""
    loop.paths.bundles.mkdir(parents=True)
    for version in ("1", "2"):
        shutil.copy(make_bundle(version), loop.paths.bundles / f"agriculture-{version}.zip")
    first = loop.paths.bundles / "agriculture-1.zip"
    ReleaseRepository(loop.paths.tuf).publish({"float32-only": first}, "agriculture", "1", CONTRACT.hash)
    return ReleasedRef("2", "0" * 64, 1, str(loop.paths.bundles / "agriculture-2.zip"), is_staged=True)


def test_it_begins_once_and_says_where_it_is(loop: Loop, ready: ReleasedRef) -> None:
    assert not goes_out_in_stages(loop.settings, "agriculture")
    begun = begin_rollout(loop, ready)
    assert begun.told == "its rollout begins: stage 1 of 4, 1 %; the others are offered version 1"
    offers = ReleaseRepository(loop.paths.tuf).offers("agriculture")
    assert offers.released is not None and offers.released.version == "1"
    assert offers.candidate is not None and offers.candidate.version == "2"
    assert set(offers.candidate.sha256) == {"x86-64", "aarch64", "float32-only"}
    assert begin_rollout(loop, ready).told == "its rollout is on: stage 1 of 4, 1 %, running"
    assert len(RolloutStore(loop.paths.rollouts).all("agriculture")) == 1
    assert goes_out_in_stages(loop.settings, "agriculture"), "a rollout that is on is not passed by"


def test_the_run_that_made_a_version_is_signed_beside_it_in_rollout_and_as_everyones(
    loop: Loop, ready: ReleasedRef
) -> None:
    repository = ReleaseRepository(loop.paths.tuf)

    def signed(name: str) -> dict[str, str]:
        role = max(repository.metadata_dir.glob("*.agriculture.json"), key=lambda path: int(path.name.split(".")[0]))
        targets = json.loads(role.read_text())["signed"]["targets"]
        return {path: one["custom"].get("mlflow_run_id") for path, one in targets.items() if path.endswith(name)}

    note_run(loop.paths.bundles, "agriculture", "2", "run-2")
    begin_rollout(loop, ready)
    assert set(signed("candidate.zip").values()) == {"run-2"} and len(signed("candidate.zip")) == 3
    repository.finish_rollout("agriculture")
    assert set(signed("bundle.zip").values()) == {"run-2"} and len(signed("bundle.zip")) == 4


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b'{"mlflow_run_id": 2}'])
def test_a_note_of_the_run_that_is_damaged_is_named_and_nothing_is_signed(
    loop: Loop, ready: ReleasedRef, damage: bytes
) -> None:
    (loop.paths.bundles / "agriculture-2.json").write_bytes(damage)
    with pytest.raises(DataError, match=r"agriculture-2\.json .*run `retrain`"):
        begin_rollout(loop, ready)
    assert ReleaseRepository(loop.paths.tuf).offers("agriculture").candidate is None


def test_what_was_withdrawn_is_not_offered_again_and_is_no_error(loop: Loop, ready: ReleasedRef) -> None:
    begin_rollout(loop, ready)
    open_rollouts(loop.settings, "agriculture").revert("agriculture", "ada", "a wet field")
    told = begin_rollout(loop, ready).told
    assert told.startswith("it was withdrawn, and nothing is released: every device is offered version 1 until")
    assert begin_rollout(loop, replace(ready, version="1", is_staged=False)).told == ""


def test_a_deployment_always_goes_out_in_stages(loop: Loop) -> None:
    deployment = loop.settings.model_copy(update={"is_deployment": True})
    assert goes_out_in_stages(deployment, "agriculture")


def test_a_period_in_which_a_version_went_out_is_lived_in_stages_again_after_it_has_finished(
    loop: Loop, ready: ReleasedRef
) -> None:
    """Killed before it told of its rollout: what the run finds then is that the version is everyone's."""
    assert goes_in_stages(loop, ready, 2007)
    plan, today = loop.params.loop.rollout, datetime(2007, 5, 1, tzinfo=UTC)
    assert plan is not None
    rollouts = rollouts_at(loop.settings, "agriculture", lambda: today)
    rollouts.start("agriculture", "2", plan, "the season", "the new model of 2007", salt="1-2007-2-0")
    for stage in plan.stages:
        today += timedelta(days=stage.soak_d)
        rollouts.approve("agriculture", "ada", "it is time")
    offers = ReleaseRepository(loop.paths.tuf).offers("agriculture")
    assert offers.released is not None and offers.released.version == "2"
    everyones = replace(ready, is_staged=False)
    assert goes_in_stages(loop, everyones, 2007)
    assert not goes_in_stages(loop, everyones, 2008), "the next one is lived with it from its first day"
    assert not goes_in_stages(loop, replace(everyones, version="1"), 2006)
