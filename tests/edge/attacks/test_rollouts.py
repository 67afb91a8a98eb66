"""Attacks on a staged rollout: by a mirror, by a replay, by a stick, and by whoever holds the online keys."""

import contextlib
import hashlib
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fieldedge.device.processor import FLOAT32_ONLY
from fieldedge.system.errors import FieldloopError
from fieldedge.transfer.cohort import cohort_share
from fieldedge.transfer.updates import UpdateResult
from fieldedge.transfer.usb import UsbStick, update_from_usb
from tests.edge.attacks.conftest import CONTRACT, Attacked, bundle
from tests.edge.attacks.keys import say_newer, sign
from tests.edge.attacks.test_threats import running
from tests.edge.sample import DEVICE_ID

EVERYONES = f"agriculture/{FLOAT32_ONLY}/bundle.zip"
CANDIDATE = f"agriculture/{FLOAT32_ONLY}/candidate.zip"
SHARE = cohort_share(DEVICE_ID, "salt")


def rollout(percentage: float, begins: timedelta = timedelta(0), salt: str = "salt") -> dict[str, Any]:
    not_before = datetime.now(UTC) - timedelta(hours=1) + begins
    return {"percentage": str(percentage), "salt": salt, "not_before": not_before.isoformat()}


@pytest.fixture
def staged(attacked: Attacked) -> Attacked:
    """A device that runs version 1, which is everyone's, and is not yet among those that have version 2."""
    offer(attacked, EVERYONES, "1", bundle("1"))
    offer(attacked, CANDIDATE, "2", bundle("2", bias=1.0), rollout=rollout(SHARE / 2))
    attacked.repository.publish()
    assert attacked.update() == "1"
    attacked.mirror.asked.clear()
    return attacked


def offer(attacked: Attacked, path: str, version: str, data: bytes, **custom: Any) -> None:
    attacked.repository.offer(data, path, version=version, device_class=FLOAT32_ONLY, **custom)


def withdraw(attacked: Attacked, *versions: str) -> None:
    attacked.repository.targets.pop(CANDIDATE, None)
    attacked.repository.targets[EVERYONES].unrecognized_fields["custom"]["withdrawn"] = list(versions)
    attacked.repository.publish()


def test_a_mirror_that_serves_the_candidate_to_everybody(staged: Attacked) -> None:
    """Under the name of everyone's bundle, to a device that needs that one again."""
    candidate = bundle("2", bias=1.0)
    offer(staged, EVERYONES, "3", bundle("3", bias=2.0))
    staged.repository.publish()
    staged.mirror.instead = lambda path, honest: candidate if path.endswith(".zip") else honest
    assert "cannot be trusted" in staged.refuses()


@pytest.mark.parametrize("kept", ["whole", "half"])
def test_a_mirror_that_pushes_a_candidate_into_a_download_that_goes_on(staged: Attacked, kept: str) -> None:
    """What lies in staging was put there by an earlier answer: as a whole it is verified all the same."""
    third = bundle("3", bias=2.0)
    offer(staged, EVERYONES, "3", third)
    staged.repository.publish()
    candidate = bundle("2", bias=1.0)[: len(third)].ljust(len(third), b"\0")
    staged.device.staging.mkdir()
    part = staged.device.staging / f"{hashlib.sha256(third).hexdigest()}.part"
    part.write_bytes(candidate if kept == "whole" else candidate[: len(third) // 2])
    assert staged.update() == "3", "it is fetched anew, and is what was signed"


def test_a_withdrawn_version_replayed(staged: Attacked, tmp_path: Path) -> None:
    """The metadata of the days when it was in rollout, to a device that has seen the withdrawal."""
    staged.repository.targets[CANDIDATE].unrecognized_fields["custom"]["rollout"] = rollout(100.0)
    staged.repository.publish()
    assert staged.update() == "2"
    shutil.copytree(staged.repository.metadata, tmp_path / "former")
    withdraw(staged, "2")
    assert staged.update() == "1"
    shutil.rmtree(staged.repository.metadata)
    shutil.copytree(tmp_path / "former", staged.repository.metadata)
    assert "cannot be trusted" in staged.attack()
    assert running(staged) == "1"


def test_a_withdrawn_version_offered_again_under_another_hash(staged: Attacked) -> None:
    withdraw(staged, "2")
    assert staged.update() == "1"
    offer(staged, CANDIDATE, "2", bundle("2", bias=5.0), rollout=rollout(100.0))
    staged.repository.publish()
    assert staged.update() == "1"


def test_a_percentage_that_shrinks_takes_no_version_back_and_gives_it_to_nobody_else(staged: Attacked) -> None:
    staged.repository.targets[CANDIDATE].unrecognized_fields["custom"]["rollout"] = rollout(100.0)
    staged.repository.publish()
    assert staged.update() == "2"
    staged.repository.targets[CANDIDATE].unrecognized_fields["custom"]["rollout"] = rollout(SHARE / 1e6)
    staged.repository.publish()
    assert staged.update() == "2", "a version is left by a withdrawal, and by nothing else that is signed"


@pytest.mark.parametrize(
    "said",
    [
        rollout(100.0, timedelta(days=2)),
        {**rollout(100.0), "percentage": "1e999"},
        {**rollout(100.0), "percentage": "nan"},
        {**rollout(100.0), "percentage": -1},
        {**rollout(100.0), "percentage": "100.0001"},
        {**rollout(100.0), "salt": "a/b"},
        {**rollout(100.0), "not_before": "2027-04-01T00:00:00"},
        {**rollout(100.0), "everybody": "yes"},
        {"percentage": "100"},
        "100",
        [],
        None,
    ],
)
def test_a_rollout_that_nobody_can_read_or_that_begins_later_is_nobodys(staged: Attacked, said: Any) -> None:
    staged.repository.targets[CANDIDATE].unrecognized_fields["custom"]["rollout"] = said
    staged.repository.publish()
    assert staged.update() == "1"


def test_a_candidate_without_a_rollout_is_nobodys(staged: Attacked) -> None:
    del staged.repository.targets[CANDIDATE].unrecognized_fields["custom"]["rollout"]
    staged.repository.publish()
    assert staged.update() == "1"


def test_stolen_online_keys_put_nobody_into_a_cohort(staged: Attacked) -> None:
    """The percentage stands where only the workload's key can change it."""
    repository = staged.repository

    def wider(payload: Any) -> None:
        payload.targets[CANDIDATE].unrecognized_fields["custom"]["rollout"] = rollout(100.0)

    sign(repository, "targets", [repository.signers["snapshot"]], wider)
    say_newer(repository, ["targets"], repository.signers)
    assert "cannot be trusted" in staged.refuses()


Mix = Callable[[Path, Path], None]


def _former_targets(former: Path, stick: Path) -> None:
    shutil.rmtree(stick / "targets")
    shutil.copytree(former / "targets", stick / "targets")


def _former_files(pattern: str) -> Mix:
    def mix(former: Path, stick: Path) -> None:
        for path in (former / "metadata").glob(pattern):
            shutil.copy(path, stick / "metadata")

    return mix


def _former_under_new_name(role: str) -> Mix:
    def mix(former: Path, stick: Path) -> None:
        found = [sorted((place / "metadata").glob(f"*.{role}.json"), key=_number)[-1] for place in (former, stick)]
        shutil.copy(found[0], found[1])

    return mix


def _number(path: Path) -> int:
    return int(path.name.partition(".")[0])


@pytest.mark.parametrize(
    "mix",
    [
        _former_targets,
        _former_files("timestamp.json"),
        _former_under_new_name("snapshot"),
        _former_under_new_name("targets"),
    ],
)
def test_a_stick_that_mixes_versions(staged: Attacked, tmp_path: Path, mix: Mix) -> None:
    """Files of two exports on one stick: nothing of it is installed, and version 1 goes on."""
    shutil.copytree(staged.repository.metadata.parent, tmp_path / "former", dirs_exist_ok=True)
    offer(staged, EVERYONES, "3", bundle("3", bias=2.0))
    staged.repository.publish()
    stick = UsbStick(tmp_path / "stick")
    shutil.copytree(staged.repository.metadata.parent, stick.release)
    mix(tmp_path / "former", stick.release)
    result: UpdateResult | None = None
    with contextlib.suppress(FieldloopError):
        result = update_from_usb(stick, staged.device, CONTRACT, lambda: datetime.now(UTC))
    assert result is None or not result.changed
    assert running(staged) == "1"
