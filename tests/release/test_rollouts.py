"""What a rollout says in signed metadata, as devices of today and of before see it, and whatever is cut off between."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata, TargetFile, Targets
from tuf.ngclient import Updater

from fieldedge.system.errors import ReleaseError
from fieldedge.transfer.cohort import Rollout
from fieldedge.workloads import known_workload
from fieldloop.release import Offers, ReleaseRepository
from tests.release.former_repository import make_former_repository
from tests.release.test_repository import FilesOfTheRepository, PowerCut, cut_power_after

CONTRACT = known_workload("agriculture").contract
CLASSES = ("aarch64", "float32-only", "x86-64")
APRIL = datetime(2027, 4, 1, tzinfo=UTC)
MakeBundle = Callable[..., Path]


class Device:
    """A device's view: plain TUF, from the first root on."""

    def __init__(self, root: Path, directory: Path) -> None:
        self._root, self._directory = root, directory
        directory.mkdir()
        self._bootstrap = (root / "metadata" / "1.root.json").read_bytes()

    def target(self, path: str) -> TargetFile | None:
        return self._updater().get_targetinfo(path)

    def content(self, path: str) -> bytes | None:
        updater = self._updater()
        target = updater.get_targetinfo(path)
        return None if target is None else Path(updater.download_target(target)).read_bytes()

    def custom(self, path: str) -> dict[str, Any]:
        target = self.target(path)
        assert target is not None
        return dict(target.custom)

    def _updater(self) -> Updater:
        updater = Updater(
            str(self._directory),
            "http://repository/metadata/",
            str(self._directory),
            "http://repository/targets/",
            fetcher=FilesOfTheRepository(self._root),
            bootstrap=self._bootstrap,
        )
        updater.refresh()
        return updater


@pytest.fixture
def bundles(make_bundle: MakeBundle) -> Callable[[str], dict[str, Path]]:
    def make(version: str) -> dict[str, Path]:
        return {
            name: make_bundle(version, yield_t_ha=10.0 + int(version) + 0.1 * number, name=f"{version}-{name}")
            for number, name in enumerate(CLASSES)
        }

    return make


MakeBundles = Callable[[str], dict[str, Path]]


def at(percentage: float, salt: str = "spring") -> Rollout:
    return Rollout(percentage, salt, APRIL)


def publish(releases: ReleaseRepository, files: dict[str, Path] | Path, version: str) -> None:
    releases.publish(files, "agriculture", version, CONTRACT.hash, f"run-{version}")


def test_every_class_has_its_own_file_and_who_asks_for_none_takes_that_of_float32(
    tmp_path: Path, bundles: MakeBundles
) -> None:
    releases, files = ReleaseRepository(tmp_path / "tuf"), bundles("1")
    publish(releases, files, "1")
    device = Device(tmp_path / "tuf", tmp_path / "device")
    for name, path in files.items():
        assert device.content(f"agriculture/{name}/bundle.zip") == path.read_bytes()
        assert device.custom(f"agriculture/{name}/bundle.zip") == {
            "workload": "agriculture",
            "version": "1",
            "contract_hash": CONTRACT.hash,
            "device_class": name,
            "min_fieldedge": "0.1.0",
            "mlflow_run_id": "run-1",
        }
    assert device.content("agriculture/bundle.zip") == files["float32-only"].read_bytes()
    assert device.target("agriculture/x86-64/candidate.zip") is None


def test_a_rollout_grows_and_ends_with_the_candidate_as_everyones(tmp_path: Path, bundles: MakeBundles) -> None:
    releases, old, new = ReleaseRepository(tmp_path / "tuf"), bundles("1"), bundles("2")
    publish(releases, old, "1")
    device = Device(tmp_path / "tuf", tmp_path / "device")
    started = releases.publish_candidate("agriculture", "2", new, at(1.0), "run-2")
    assert started.candidate is not None and (started.candidate.version, started.candidate.rollout) == ("2", at(1.0))
    assert releases.publish_candidate("agriculture", "2", new, at(1.0), "run-2") == started
    assert device.custom("agriculture/aarch64/candidate.zip")["rollout"] == at(1.0).as_custom()
    assert device.content("agriculture/aarch64/candidate.zip") == new["aarch64"].read_bytes()
    assert device.content("agriculture/aarch64/bundle.zip") == old["aarch64"].read_bytes()
    assert device.content("agriculture/bundle.zip") == old["float32-only"].read_bytes()
    releases.set_rollout("agriculture", at(50.0))
    assert device.custom("agriculture/x86-64/candidate.zip")["rollout"]["percentage"] == "50.0"
    assert releases.finish_rollout("agriculture").version == "2"
    for name, path in new.items():
        assert device.content(f"agriculture/{name}/bundle.zip") == path.read_bytes()
        assert "rollout" not in device.custom(f"agriculture/{name}/bundle.zip")
        assert device.target(f"agriculture/{name}/candidate.zip") is None
    assert device.content("agriculture/bundle.zip") == new["float32-only"].read_bytes()


def test_a_version_that_was_withdrawn_is_said_on_every_bundle_and_never_offered_again(
    tmp_path: Path, bundles: MakeBundles
) -> None:
    releases, new = ReleaseRepository(tmp_path / "tuf"), bundles("2")
    publish(releases, bundles("1"), "1")
    releases.publish_candidate("agriculture", "2", new, at(10.0))
    found = releases.withdraw("agriculture", "2")
    assert (found.candidate, found.withdrawn) == (None, ("2",))
    assert releases.withdraw("agriculture", "2") == found
    device = Device(tmp_path / "tuf", tmp_path / "device")
    for path in ("agriculture/bundle.zip", *(f"agriculture/{name}/bundle.zip" for name in CLASSES)):
        assert device.custom(path)["withdrawn"] == ["2"]
    with pytest.raises(ReleaseError, match="version 2 was withdrawn"):
        releases.publish_candidate("agriculture", "2", new, at(1.0))
    with pytest.raises(ReleaseError, match="version 2 was withdrawn"):
        publish(releases, new, "2")
    publish(releases, bundles("3"), "3")
    assert device.custom("agriculture/x86-64/bundle.zip")["withdrawn"] == ["2"]


def test_what_everyone_runs_and_is_withdrawn_gives_way_to_the_version_before_it(
    tmp_path: Path, bundles: MakeBundles
) -> None:
    releases, old = ReleaseRepository(tmp_path / "tuf"), bundles("1")
    publish(releases, old, "1")
    with pytest.raises(ReleaseError, match="no version was released before 1"):
        releases.withdraw("agriculture", "1")
    releases.publish_candidate("agriculture", "2", bundles("2"), at(1.0))
    releases.finish_rollout("agriculture")
    publish(releases, bundles("3"), "3")
    releases.withdraw("agriculture", "2")
    found = releases.withdraw("agriculture", "3")
    assert found.released is not None and (found.released.version, found.withdrawn) == ("1", ("2", "3"))
    device = Device(tmp_path / "tuf", tmp_path / "device")
    assert device.content("agriculture/x86-64/bundle.zip") == old["x86-64"].read_bytes()
    assert device.content("agriculture/bundle.zip") == old["float32-only"].read_bytes()
    assert device.custom("agriculture/bundle.zip")["withdrawn"] == ["2", "3"]


def test_what_cannot_be_a_rollout_is_refused_by_name_and_changes_nothing(tmp_path: Path, bundles: MakeBundles) -> None:
    releases, new = ReleaseRepository(tmp_path / "tuf"), bundles("2")
    publish(releases, bundles("1"), "1")
    for refused in (releases.finish_rollout, lambda workload: releases.set_rollout(workload, at(50.0))):
        with pytest.raises(ReleaseError, match="no rollout of agriculture is on"):
            refused("agriculture")
    releases.publish_candidate("agriculture", "2", new, at(10.0))
    before = {path: path.read_bytes() for path in (tmp_path / "tuf").rglob("*") if path.is_file()}
    partial = {name: path for name, path in new.items() if name != "float32-only"}

    def start(version: str, files: dict[str, Path], rollout: Rollout) -> Offers:
        return releases.publish_candidate("agriculture", version, files, rollout)

    refusals: list[tuple[str, Callable[[], object]]] = [
        ("is at 10 %, and 1 % is less", lambda: releases.set_rollout("agriculture", at(1.0))),
        ("is at 10 %, and 1 % is less", lambda: start("2", new, at(1.0))),
        ("has the salt spring", lambda: releases.set_rollout("agriculture", at(20.0, "autumn"))),
        ("no file for float32-only", lambda: start("3", partial, at(1.0))),
        ("version is '2'.*expected '3'", lambda: start("3", new, at(1.0))),
        ("every device is offered already", lambda: start("1", bundles("1"), at(1.0))),
        ("version 7 of agriculture was never offered", lambda: releases.withdraw("agriculture", "7")),
        ("no workload 'vineyard'", lambda: releases.publish_candidate("vineyard", "2", new, at(1.0))),
        ("no name of a device class", lambda: start("2", {**new, "../x": new["aarch64"]}, at(10.0))),
    ]
    for words, refused_call in refusals:
        with pytest.raises(ReleaseError, match=words):
            refused_call()
    assert {path: path.read_bytes() for path in (tmp_path / "tuf").rglob("*") if path.is_file()} == before


STEPS: dict[str, Callable[[ReleaseRepository, dict[str, Path]], object]] = {
    "publish_candidate": lambda releases, new: releases.publish_candidate("agriculture", "3", new, at(1.0)),
    "set_rollout": lambda releases, _: releases.set_rollout("agriculture", at(50.0)),
    "finish_rollout": lambda releases, _: releases.finish_rollout("agriculture"),
    "withdraw": lambda releases, _: releases.withdraw("agriculture", "2"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_write_of_a_step_leaves_devices_before_it_and_it_can_be_done_again(
    tmp_path: Path, bundles: MakeBundles, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    releases, newest = ReleaseRepository(tmp_path / "tuf"), bundles("3")
    publish(releases, bundles("1"), "1")
    releases.publish_candidate("agriculture", "2", bundles("2"), at(10.0))
    device = Device(tmp_path / "tuf", tmp_path / "device")

    def seen() -> list[object]:
        paths = [f"agriculture/{name}/{kind}" for name in CLASSES for kind in ("bundle.zip", "candidate.zip")]
        return [found and found.to_dict() for found in map(device.target, ["agriculture/bundle.zip", *paths])]

    before, cuts = seen(), 0
    while True:
        with monkeypatch.context() as patched:
            cut_power_after(patched, cuts)
            try:
                STEPS[step](ReleaseRepository(tmp_path / "tuf"), newest)
                break
            except PowerCut:
                cuts += 1
                assert seen() == before
    assert cuts >= 3
    assert seen() != before


@pytest.mark.parametrize("writes_before_the_cut", range(6))
def test_a_repository_of_before_goes_on_under_a_key_of_its_workload_and_devices_of_before_follow(
    tmp_path: Path,
    make_bundle: MakeBundle,
    bundles: MakeBundles,
    monkeypatch: pytest.MonkeyPatch,
    writes_before_the_cut: int,
) -> None:
    old = make_bundle("1")
    make_former_repository(tmp_path / "tuf", old, "1", CONTRACT.hash)
    device = Device(tmp_path / "tuf", tmp_path / "device")
    assert device.content("agriculture/bundle.zip") == old.read_bytes()
    with monkeypatch.context() as patched:
        cut_power_after(patched, writes_before_the_cut)
        try:
            ReleaseRepository(tmp_path / "tuf")
        except PowerCut:
            assert device.content("agriculture/bundle.zip") == old.read_bytes()
    releases = ReleaseRepository(tmp_path / "tuf")
    current = releases.current("agriculture")
    assert current is not None and current.version == "1"
    assert device.content("agriculture/bundle.zip") == old.read_bytes()
    newest = max((tmp_path / "tuf" / "metadata").glob("*.targets.json"), key=lambda path: int(path.name.split(".")[0]))
    targets: Metadata[Targets] = Metadata.from_file(str(newest))
    assert not targets.signed.targets and targets.signed.delegations is not None
    roles = targets.signed.delegations.roles or {}
    assert set(roles) == {"acknowledgements", "agriculture"}
    assert len({role.keyids[0] for role in roles.values()}) == 2
    releases.publish_candidate("agriculture", "2", bundles("2"), at(1.0))
    assert device.content("agriculture/bundle.zip") == old.read_bytes()
    releases.finish_rollout("agriculture")
    assert device.content("agriculture/bundle.zip") == bundles("2")["float32-only"].read_bytes()


def test_a_workload_takes_no_name_of_a_role(tmp_path: Path, bundles: MakeBundles) -> None:
    releases = ReleaseRepository(tmp_path / "tuf")
    assert releases.offers("agriculture") == Offers(None, None, (), {})
    with pytest.raises(ReleaseError):
        releases.publish_candidate("targets", "2", bundles("2"), at(1.0))
