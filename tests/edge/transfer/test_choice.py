"""Which target a device takes: its class's, the one in rollout where it is in, and never an older one."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import TargetFile

from fieldedge.contract import Contract
from fieldedge.contract.update_report import read
from fieldedge.device.config import DeviceDirectory
from fieldedge.device.processor import FLOAT32_ONLY, class_of, cpu_features, device_class
from fieldedge.inference.slots import Installed, Slots, TakenBack
from fieldedge.system.errors import ReleaseError
from fieldedge.transfer import updates
from fieldedge.transfer.choice import Offered, Standing, choose, is_older, read_offer
from fieldedge.transfer.cohort import Rollout, cohort_share
from fieldedge.transfer.updates import update
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    GatewaySimulator,
    Repository,
    bundle_files,
    onnx_model,
    zipped,
)

CONTRACT: Contract = AGRICULTURE.contract
NOW = datetime(2027, 4, 10, tzinfo=UTC)
HERE = device_class()
EVERYONE = Rollout(100.0, "s1", datetime(2026, 1, 1, tzinfo=UTC))
NOBODY = Rollout(max(cohort_share(DEVICE_ID, "s1") / 2, 1e-3), "s1", datetime(2026, 1, 1, tzinfo=UTC))


# The class of a device


@pytest.mark.parametrize(
    ("machine", "features", "is_64_bit", "expected"),
    [
        ("x86_64", ["avx2"], True, "x86-64"),
        ("x86_64", ["avx2", "avx_vnni", "avx512_vnni"], True, "x86-64"),
        ("AMD64", ["avx2"], True, "x86-64"),
        ("x86_64", [], True, FLOAT32_ONLY),
        ("x86_64", ["avx2"], False, FLOAT32_ONLY),
        ("aarch64", ["asimd"], True, "aarch64"),
        ("aarch64", ["asimd", "asimddp"], True, "aarch64"),
        ("aarch64", [], True, FLOAT32_ONLY),
        ("aarch64", ["asimd"], False, FLOAT32_ONLY),
        ("armv7l", ["asimd"], False, FLOAT32_ONLY),
        ("riscv64", [], True, FLOAT32_ONLY),
        ("", [], True, FLOAT32_ONLY),
    ],
)
def test_a_device_finds_its_class_by_its_machine_and_instruction_sets(
    machine: str, features: list[str], is_64_bit: bool, expected: str
) -> None:
    assert class_of(machine, features, is_64_bit=is_64_bit) == expected


def test_this_machine_has_a_class() -> None:
    assert device_class() in ("x86-64", "aarch64", FLOAT32_ONLY)
    assert set(cpu_features()) <= {"avx2", "avx_vnni", "avx512_vnni", "avx512bw", "asimd", "asimddp", "i8mm"}


# The choice alone


def target(path: str, version: str | None = "11", **custom: Any) -> TargetFile:
    found = TargetFile.from_data(path, f"{path} {version}".encode(), ["sha256"])
    said = {"contract_hash": "c", **({} if version is None else {"version": version}), **custom}
    found.unrecognized_fields["custom"] = said
    return found


class Signed(dict[str, TargetFile]):
    """The targets of a repository, as the verified metadata has them."""

    def __init__(self, *targets: TargetFile) -> None:
        super().__init__({one.path: one for one in targets})

    def get_targetinfo(self, path: str) -> TargetFile | None:
        return self.get(path)


def at(active: str | None = None, why_not: Callable[[Offered], str | None] = lambda _offered: None) -> Standing:
    return Standing(DEVICE_ID, NOW, active, why_not)


def chosen(signed: Signed, standing: Standing, name: str = "x86-64") -> tuple[str | None, str | None]:
    found, note = choose(read_offer(signed, "agriculture", name), standing)
    return None if found is None else found.target.path, note


BUNDLE = target("agriculture/x86-64/bundle.zip")
FLOAT32 = target("agriculture/float32-only/bundle.zip")
FORMER = target("agriculture/bundle.zip")


def candidate(rollout: Rollout = EVERYONE, version: str = "12", **custom: Any) -> TargetFile:
    return target("agriculture/x86-64/candidate.zip", version, rollout=rollout.as_custom(), **custom)


def test_a_device_takes_the_file_of_its_class_or_the_float32_one_or_the_one_of_before() -> None:
    assert chosen(Signed(BUNDLE, FLOAT32, FORMER), at())[0] == BUNDLE.path
    assert chosen(Signed(BUNDLE, FLOAT32, FORMER), at(), "riscv")[0] == FLOAT32.path
    assert chosen(Signed(FLOAT32, FORMER), at())[0] == FLOAT32.path
    assert chosen(Signed(FORMER), at())[0] == FORMER.path
    with pytest.raises(ReleaseError, match="nothing is released"):
        chosen(Signed(), at())


def test_what_is_released_without_its_sha256_is_refused_by_name() -> None:
    """A device names what it runs by it."""
    unnamed = TargetFile.from_data(BUNDLE.path, b"11", ["sha512"])
    with pytest.raises(ReleaseError, match=r"agriculture/x86-64/bundle\.zip without its sha256; publish it again"):
        chosen(Signed(unnamed), at())


def test_a_device_in_the_cohort_takes_the_candidate_and_one_outside_says_why_not() -> None:
    assert chosen(Signed(BUNDLE, candidate()), at("11")) == ("agriculture/x86-64/candidate.zip", None)
    path, note = chosen(Signed(BUNDLE, candidate(NOBODY)), at("11"))
    assert path == BUNDLE.path and "not among the" in str(note)
    later = Rollout(100.0, "s1", NOW + timedelta(hours=1))
    assert chosen(Signed(BUNDLE, candidate(later)), at("11"))[0] == BUNDLE.path
    assert chosen(Signed(candidate()), at())[0] == "agriculture/x86-64/candidate.zip"


def test_a_candidate_is_found_by_class_as_the_bundle_is_and_whatever_file_the_bundle_is() -> None:
    plain = target(f"agriculture/{FLOAT32_ONLY}/candidate.zip", "12", rollout=EVERYONE.as_custom())
    assert chosen(Signed(BUNDLE, plain), at("11"))[0] == plain.path
    assert chosen(Signed(FORMER, plain), at("11"))[0] == plain.path
    assert chosen(Signed(BUNDLE, candidate(), plain), at("11"))[0] == candidate().path
    assert chosen(Signed(FLOAT32, candidate(), plain), at("11"))[0] == candidate().path
    assert chosen(Signed(FLOAT32, candidate(), plain), at("11"), "riscv")[0] == plain.path
    assert chosen(Signed(FLOAT32, candidate()), at("11"), "riscv")[0] == FLOAT32.path


def test_a_device_that_has_the_candidate_keeps_it_whatever_the_rollout_says() -> None:
    assert chosen(Signed(BUNDLE, candidate(NOBODY)), at("12"))[0] == "agriculture/x86-64/candidate.zip"


def test_nothing_makes_a_device_go_to_an_older_version() -> None:
    path, note = chosen(Signed(BUNDLE), at("12"))
    assert path is None and "the newer 12 stays until it is withdrawn" in str(note)
    assert chosen(Signed(BUNDLE, candidate(version="10")), at("11"))[0] == BUNDLE.path
    assert chosen(Signed(target("agriculture/x86-64/bundle.zip", withdrawn=["12"])), at("12"))[0] == BUNDLE.path
    assert chosen(Signed(FORMER), at("12"))[0] == FORMER.path, "as it was before there were classes"


def test_what_is_withdrawn_is_taken_by_nobody() -> None:
    withdrawn = target("agriculture/x86-64/bundle.zip", withdrawn=["12"])
    path, note = chosen(Signed(withdrawn, candidate()), at("11"))
    assert path == withdrawn.path and "version 12 is withdrawn" in str(note)
    path, note = chosen(Signed(target("agriculture/x86-64/bundle.zip", withdrawn=["11"])), at())
    assert path is None and "released and withdrawn" in str(note)


def test_a_version_that_this_device_left_or_refused_is_not_taken() -> None:
    no = at("11", lambda offered: "it was taken back here" if offered.version == "12" else None)
    path, note = chosen(Signed(BUNDLE, candidate()), no)
    assert path == BUNDLE.path and "it was taken back here" in str(note)
    assert chosen(Signed(target("agriculture/x86-64/bundle.zip", "12")), no) == (None, "it was taken back here")


@pytest.mark.parametrize(("needed", "is_taken"), [("0.0.9", True), ("0.1.0", True), ("0.1.1", False), ("1.0", False)])
def test_a_release_for_a_newer_fieldedge_waits_for_it(needed: str, is_taken: bool) -> None:
    path, note = chosen(Signed(BUNDLE, candidate(min_fieldedge=needed)), at("11"))
    assert (path != BUNDLE.path) is is_taken
    assert is_taken or f"needs fieldedge {needed}" in str(note)
    if not is_taken:
        with pytest.raises(ReleaseError, match="update fieldedge"):
            chosen(Signed(target("agriculture/x86-64/bundle.zip", min_fieldedge=needed)), at())


@pytest.mark.parametrize(
    ("custom", "match"),
    [
        ({"device_class": "aarch64"}, "for devices of class 'aarch64'"),
        ({"version": 11}, "says the version 11"),
        ({"version": "1\n"}, "says the version"),
        ({"min_fieldedge": "soon"}, "needs fieldedge 'soon'"),
        ({"withdrawn": "12"}, "says withdrawn '12'"),
        ({"withdrawn": [12]}, "says withdrawn"),
    ],
)
def test_what_the_metadata_says_and_no_device_can_mean_is_refused_by_name(custom: dict[str, Any], match: str) -> None:
    with pytest.raises(ReleaseError, match=match):
        chosen(Signed(target("agriculture/x86-64/bundle.zip", **custom)), at())


@pytest.mark.parametrize("rollout", [None, {}, {"percentage": 400, "salt": "s", "not_before": "now"}])
def test_a_rollout_that_nobody_can_read_holds_up_no_release(rollout: Any) -> None:
    broken = target("agriculture/x86-64/candidate.zip", "12", **({} if rollout is None else {"rollout": rollout}))
    assert chosen(Signed(BUNDLE, broken), at("11"))[0] == BUNDLE.path


@pytest.mark.parametrize(
    ("version", "than", "expected"),
    [("9", "10", True), ("10", "9", False), ("10", "10", False), ("a", "10", False), (None, "1", False)],
)
def test_versions_are_ordered_as_numbers(version: str | None, than: str, expected: bool) -> None:
    assert is_older(version, than) is expected


# On a device, over HTTP


def bundle(version: str, **model: Any) -> bytes:
    return zipped(bundle_files(onnx_model(CONTRACT, **model), version))


@pytest.fixture
def on_11(device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator) -> DeviceDirectory:
    """A device that runs version 11, confirmed, of the file for its class."""
    repository.offer(bundle("11"), f"agriculture/{HERE}/bundle.zip", version="11", device_class=HERE)
    repository.publish()
    assert update(device, CONTRACT, gateway.url).changed
    confirm(device)
    return device


def confirm(device: DeviceDirectory) -> None:
    slots = Slots(device.root)
    active = slots.active()
    assert active is not None and slots.confirm(active, f"version {active.version} is confirmed")


def offer_12(repository: Repository, rollout: Rollout = EVERYONE, **custom: Any) -> None:
    said = {"version": "12", "device_class": HERE, "rollout": rollout.as_custom(), **custom}
    repository.offer(bundle("12", bias=0.5), f"agriculture/{HERE}/candidate.zip", **said)
    repository.publish()


def active(device: DeviceDirectory) -> Installed:
    found = Slots(device.root).active()
    assert found is not None
    return found


def states(device: DeviceDirectory) -> list[tuple[str, str]]:
    reports = [read(one.encode()) for one in Slots(device.root).pointer().reports]
    return [(one.version, one.state) for one in reports]


def test_a_rollout_reaches_a_device_and_puts_it_on_watch_and_its_end_changes_nothing(
    on_11: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    offer_12(repository, NOBODY)
    result = update(on_11, CONTRACT, gateway.url)
    assert (result.version, result.changed) == ("11", False) and "not among the" in str(result.note)
    offer_12(repository)
    assert update(on_11, CONTRACT, gateway.url).version == "12"
    pointer = Slots(on_11.root).pointer()
    assert pointer.is_on_watch and pointer.former is not None and pointer.former.version == "11"
    assert states(on_11) == [("11", "installed"), ("12", "installed")]
    confirm(on_11)
    repository.offer(bundle("12", bias=0.5), f"agriculture/{HERE}/bundle.zip", version="12", device_class=HERE)
    del repository.targets[f"agriculture/{HERE}/candidate.zip"]
    repository.publish()
    assert update(on_11, CONTRACT, gateway.url).changed is False


@pytest.mark.parametrize("here", ["x86-64", "aarch64", class_of("riscv64", [], is_64_bit=True)])
@pytest.mark.parametrize(
    ("bundles", "candidates", "expected"),
    [
        (["x86-64", FLOAT32_ONLY], [FLOAT32_ONLY], FLOAT32_ONLY),
        ([FLOAT32_ONLY], [FLOAT32_ONLY], FLOAT32_ONLY),
        ([FLOAT32_ONLY], ["x86-64", FLOAT32_ONLY], "x86-64"),
        ([""], [FLOAT32_ONLY], FLOAT32_ONLY),
    ],
    ids=["its bundle, no candidate of its own", "float32 alone", "a candidate of its own alone", "from before classes"],
)
def test_bundle_and_candidate_are_each_the_one_of_the_class_or_the_float32_one(
    device: DeviceDirectory,
    repository: Repository,
    gateway: GatewaySimulator,
    monkeypatch: pytest.MonkeyPatch,
    here: str,
    bundles: list[str],
    candidates: list[str],
    expected: str,
) -> None:
    """Each class has a file with bytes of its own, so that what was installed says which one was taken."""
    monkeypatch.setattr(updates, "device_class", lambda: here)
    files: dict[tuple[str, str], bytes] = {}
    for version, classes, name in (("11", bundles, "bundle.zip"), ("12", candidates, "candidate.zip")):
        for number, one in enumerate(classes):
            files[version, one] = bundle(version, bias=int(version) + number / 10)
            said = {"device_class": one} if one else {}
            said |= {"rollout": NOBODY.as_custom()} if name == "candidate.zip" else {}
            path = "/".join(part for part in ("agriculture", one, name) if part)
            repository.offer(files[version, one], path, version=version, **said)
    repository.publish()
    assert update(device, CONTRACT, gateway.url).version == "11"
    own = here if here in bundles else bundles[-1]
    assert active(device).bundle_sha256 == hashlib.sha256(files["11", own]).hexdigest()
    confirm(device)

    for one in candidates:
        found = repository.targets[f"agriculture/{one}/candidate.zip"]
        found.unrecognized_fields["custom"]["rollout"] = EVERYONE.as_custom()
    repository.publish()
    assert update(device, CONTRACT, gateway.url).version == "12"
    own = expected if here == "x86-64" else FLOAT32_ONLY
    assert active(device).bundle_sha256 == hashlib.sha256(files["12", own]).hexdigest()
    assert update(device, CONTRACT, gateway.url).changed is False


@pytest.mark.parametrize("is_confirmed", [False, True], ids=["on watch", "confirmed"])
def test_a_version_that_is_withdrawn_is_left_for_the_former_one(
    on_11: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, is_confirmed: bool
) -> None:
    offer_12(repository)
    update(on_11, CONTRACT, gateway.url)
    if is_confirmed:
        confirm(on_11)
    del repository.targets[f"agriculture/{HERE}/candidate.zip"]
    said = {"version": "11", "device_class": HERE, "withdrawn": ["12"]}
    repository.offer(bundle("11"), f"agriculture/{HERE}/bundle.zip", **said)
    repository.publish()
    asked = len(gateway.asked)
    result = update(on_11, CONTRACT, gateway.url)
    assert (result.version, result.changed, active(on_11).slot) == ("11", True, "a")
    assert not any("bundle.zip" in path for path in gateway.asked[asked:]), "it was there already"
    assert states(on_11)[-1] == ("12", "reverted")
    assert update(on_11, CONTRACT, gateway.url).changed is False


def test_a_version_that_is_withdrawn_and_has_no_allowed_former_one_is_replaced_by_what_is_released(
    on_11: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    offer_12(repository)
    update(on_11, CONTRACT, gateway.url)
    confirm(on_11)
    del repository.targets[f"agriculture/{HERE}/candidate.zip"]
    said = {"version": "10", "device_class": HERE, "withdrawn": ["11", "12"]}
    repository.offer(bundle("10", bias=0.2), f"agriculture/{HERE}/bundle.zip", **said)
    repository.publish()
    assert update(on_11, CONTRACT, gateway.url).version == "10"
    assert active(on_11).slot == "a"


def test_a_newer_version_takes_the_place_of_one_on_watch_and_the_confirmed_one_is_not_touched(
    on_11: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    offer_12(repository)
    update(on_11, CONTRACT, gateway.url)
    before = {path: path.stat().st_mtime_ns for path in (on_11.root / "slots" / "a").iterdir()}
    repository.offer(
        bundle("13", bias=0.7), f"agriculture/{HERE}/candidate.zip", version="13", rollout=EVERYONE.as_custom()
    )
    repository.publish()
    assert update(on_11, CONTRACT, gateway.url).version == "13"
    pointer = Slots(on_11.root).pointer()
    assert pointer.former is not None and pointer.active is not None
    assert (pointer.active.version, pointer.active.slot, pointer.former.version) == ("13", "b", "11")
    assert {path: path.stat().st_mtime_ns for path in (on_11.root / "slots" / "a").iterdir()} == before


def test_a_version_that_was_taken_back_is_not_tried_again_until_a_newer_one_comes(
    on_11: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    offer_12(repository)
    update(on_11, CONTRACT, gateway.url)
    left = active(on_11)
    taken_back = TakenBack("12", left.bundle_sha256, "it failed", "2027-04-01T00:00:00Z")
    assert Slots(on_11.root).go_back(left, "version 12 was taken back", taken_back)
    assert "taken back here: it failed" in str(update(on_11, CONTRACT, gateway.url).note)
    del repository.targets[f"agriculture/{HERE}/candidate.zip"]
    repository.offer(bundle("12", bias=0.6), f"agriculture/{HERE}/bundle.zip", version="12", device_class=HERE)
    repository.publish()
    result = update(on_11, CONTRACT, gateway.url)
    assert (result.version, result.changed) == ("11", False), "not another file of it either"
    repository.offer(bundle("13", bias=0.7), f"agriculture/{HERE}/bundle.zip", version="13", device_class=HERE)
    repository.publish()
    assert update(on_11, CONTRACT, gateway.url).version == "13"


def test_a_candidate_that_is_refused_in_its_trial_is_told_and_what_everyone_runs_goes_on(
    on_11: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    offer_12(repository, version="13")
    with pytest.raises(ReleaseError, match="the signed metadata says 13"):
        update(on_11, CONTRACT, gateway.url)
    assert states(on_11)[-1] == ("13", "refused")
    result = update(on_11, CONTRACT, gateway.url)
    assert (result.version, result.changed) == ("11", False)
    assert active(on_11).version == "11"


def test_a_candidate_for_another_contract_waits_and_what_everyone_runs_goes_on(
    on_11: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    offer_12(repository, contract_hash="f" * 64)
    result = update(on_11, CONTRACT, gateway.url)
    assert (result.version, result.changed) == ("11", False) and "is for contract" in str(result.note)


def test_a_pointer_of_a_former_version_counts_as_confirmed_and_goes_on(
    on_11: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, tmp_path: Path
) -> None:
    del tmp_path
    installed = active(on_11)
    text = '{"format": 1, "active": {"slot": "a", "version": "11", "precision": "float32", "bundle_sha256": "'
    text += f'{installed.bundle_sha256}", "model_sha256": "{installed.model_sha256}"}}, "former": null}}'
    (on_11.root / "active.json").write_text(text)
    assert not Slots(on_11.root).pointer().is_on_watch
    assert update(on_11, CONTRACT, gateway.url).changed is False
    offer_12(repository)
    assert update(on_11, CONTRACT, gateway.url).version == "12"
