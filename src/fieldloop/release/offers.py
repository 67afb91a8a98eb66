"""What a workload's role of the signed metadata offers to its devices: plain functions over plain metadata.

`<workload>/<class>/bundle.zip` is what every device of a class runs, `<workload>/<class>/candidate.zip` the version in
rollout while one is on, and `<workload>/bundle.zip` what a device that asks for no class takes. The rollout stands on
the candidates, the versions that were withdrawn on every bundle; a version is withdrawn for good. Signing is
`repository.py`'s, and who takes what is decided on the device.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tuf.api.metadata import TargetFile, Targets

from fieldedge.system.errors import ReleaseError
from fieldedge.transfer.cohort import Rollout

BUNDLE, CANDIDATE = "bundle.zip", "candidate.zip"
FLOAT32_ONLY = "float32-only"
MIN_FIELDEDGE = "0.1.0"  # the first that reads today's bundles
WITHDRAWN = "withdrawn"
_CLASS_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")


@dataclass(frozen=True)
class Released:
    """What the repository offers to devices for one workload."""

    version: str
    sha256: str
    bytes: int
    targets_version: int


@dataclass(frozen=True)
class Candidate:
    """A version in rollout, by device class the hash of its file."""

    version: str
    rollout: Rollout
    sha256: Mapping[str, str]


@dataclass(frozen=True)
class Offers:
    """All that is offered for one workload. `classes` gives the hash of each class's bundle."""

    released: Released | None
    candidate: Candidate | None
    withdrawn: tuple[str, ...]
    classes: Mapping[str, str]


def target_path(workload: str, device_class: str = "", name: str = BUNDLE) -> str:
    """The TUF target of a class; of no class: what a device takes that asks for none."""
    return f"{workload}/{device_class}/{name}" if device_class else f"{workload}/{name}"


def role_paths(workload: str) -> list[str]:
    """The targets that the key of a workload may sign, and no others."""
    return [f"{workload}/*", f"{workload}/*/*"]


def check_class(name: str) -> None:
    """See that a device class can be a folder's name.

    Raises:
        ReleaseError: it cannot.
    """
    if not _CLASS_NAME.fullmatch(name):
        raise ReleaseError(f"{name!r:.80} is no name of a device class: expected one like x86-64, as in params.yaml")


def offered(role: Targets, workload: str) -> Offers:
    """What a workload's role says."""
    own = {path: target for path, target in role.targets.items() if path.startswith(f"{workload}/")}
    everyone = own.get(target_path(workload)) or own.get(target_path(workload, FLOAT32_ONLY))
    by_class = {path.split("/")[1]: target for path, target in own.items() if path.count("/") == 2}
    candidates = {name: one for name in by_class if (one := own.get(target_path(workload, name, CANDIDATE)))}
    bundles = {name: one for name in by_class if (one := own.get(target_path(workload, name)))}
    released = None
    if everyone is not None:
        released = Released(version_of(everyone), everyone.hashes["sha256"], everyone.length, role.version)
    candidate = None
    if candidates:
        first = next(iter(candidates.values()))
        found = {name: one.hashes["sha256"] for name, one in sorted(candidates.items())}
        candidate = Candidate(version_of(first), Rollout.from_custom(custom_of(first).get("rollout")), found)
    classes = {name: one.hashes["sha256"] for name, one in sorted(bundles.items())}
    return Offers(released, candidate, withdrawn(role), classes)


def withdrawn(role: Targets) -> tuple[str, ...]:
    """The versions that a device must go back from."""
    return tuple(role.unrecognized_fields.get(WITHDRAWN, ()))


def custom_of(target: TargetFile) -> dict[str, Any]:
    """What is said of a target beside its hash."""
    found = target.custom
    return dict(found) if isinstance(found, dict) else {}


def version_of(target: TargetFile) -> str:
    return str(custom_of(target)["version"])


def release(role: Targets, files: Mapping[str, TargetFile]) -> bool:
    """Offer these files, by class, to everyone; the file of no class is what a device takes that asks for none.

    What was offered before goes, a candidate too. False where exactly this is offered already.
    """
    _check_not_withdrawn(role, files)
    wanted = {target.path: target for target in files.values()}
    standing = {path: target for path, target in role.targets.items() if not path.endswith(f"/{CANDIDATE}")}
    said = _with_withdrawn(wanted, withdrawn(role))
    if standing == said:
        return False
    role.targets = said
    return True


def offer_candidate(role: Targets, workload: str, files: Mapping[str, TargetFile], rollout: Rollout) -> bool:
    """Offer these files, by class, to whom the rollout says; a candidate that was offered before goes.

    Raises:
        ReleaseError: the version was withdrawn, is released to everyone already, or was offered to more before; or
            nothing is released, so that devices would have nothing to go back to.
    """
    _check_not_withdrawn(role, files)
    found, version = offered(role, workload), version_of(next(iter(files.values())))
    if found.released is None:
        raise ReleaseError(
            f"nothing is released for {workload} that devices could go back to from version {version}: "
            "release a first version to all of them, and roll out the next"
        )
    if found.released is not None and found.released.version == version:
        raise ReleaseError(f"version {version} of {workload} is what every device is offered already")
    if found.candidate is not None and found.candidate.version == version:
        _check_growth(workload, found.candidate, rollout)
    before = dict(role.targets)
    role.targets = {path: target for path, target in before.items() if not path.endswith(f"/{CANDIDATE}")}
    for target in files.values():
        _say(target, rollout=rollout.as_custom())
        role.targets[target.path] = target
    return role.targets != before


def set_rollout(role: Targets, workload: str, rollout: Rollout) -> bool:
    """Say another percentage of the rollout that is on. False where it stands so already.

    Raises:
        ReleaseError: none is on, or the percentage shrinks, or who is in would be drawn anew.
    """
    candidate = _rollout_of(role, workload)
    _check_growth(workload, candidate, rollout)
    for name in candidate.sha256:
        _say(role.targets[target_path(workload, name, CANDIDATE)], rollout=rollout.as_custom())
    return rollout != candidate.rollout


def finished(role: Targets, workload: str) -> dict[str, TargetFile]:
    """The candidate's files as what everyone is to be offered: by class, and for who asks for none.

    Raises:
        ReleaseError: no rollout is on.
    """
    candidate = _rollout_of(role, workload)
    found = {name: role.targets[target_path(workload, name, CANDIDATE)] for name in candidate.sha256}
    return for_everyone(workload, {name: (target, _without_rollout(target)) for name, target in found.items()})


def for_everyone(workload: str, by_class: Mapping[str, tuple[TargetFile, dict[str, Any]]]) -> dict[str, TargetFile]:
    """Each class's file and what is said of it, as targets of the bundles; who asks for no class takes float32's."""
    files = {name: _renamed(target, target_path(workload, name), said) for name, (target, said) in by_class.items()}
    plain = FLOAT32_ONLY if FLOAT32_ONLY in by_class else next(iter(by_class))
    return {**files, "": _renamed(files[plain], target_path(workload), custom_of(files[plain]))}


def withdraw(role: Targets, workload: str, version: str, former: Iterable[Targets]) -> bool:
    """Say that devices must go back from a version. As a candidate it goes; as everyone's, the one before it returns.

    False where that was said already.

    Args:
        former: what the role said before, the newest first.

    Raises:
        ReleaseError: it was never offered, or none that stands was offered before it.
    """
    found = offered(role, workload)
    if version in found.withdrawn:
        return False
    gone = (*found.withdrawn, version)
    if found.released is not None and found.released.version == version:
        before = _standing_before(former, workload, gone)
        if before is None:
            raise ReleaseError(f"no version was released before {version} of {workload}: release another instead")
        role.targets = dict(before)
    elif found.candidate is not None and found.candidate.version == version:
        role.targets = {path: one for path, one in role.targets.items() if not path.endswith(f"/{CANDIDATE}")}
    elif not any(version_of(target) == version for one in former for target in one.targets.values()):
        raise ReleaseError(f"version {version} of {workload} was never offered; `fieldloop release list` names all")
    role.unrecognized_fields[WITHDRAWN] = list(gone)
    role.targets = _with_withdrawn(role.targets, gone)
    return True


def _standing_before(
    former: Iterable[Targets], workload: str, withdrawn_versions: tuple[str, ...]
) -> dict[str, TargetFile] | None:
    """The bundles that were everyone's last and are not withdrawn."""
    for role in former:
        found = offered(role, workload).released
        if found is not None and found.version not in withdrawn_versions:
            return {path: target for path, target in role.targets.items() if path.endswith(f"/{BUNDLE}")}
    return None


def _rollout_of(role: Targets, workload: str) -> Candidate:
    candidate = offered(role, workload).candidate
    if candidate is None:
        raise ReleaseError(f"no rollout of {workload} is on; start one: `fieldloop rollout start`")
    return candidate


def _check_growth(workload: str, candidate: Candidate, rollout: Rollout) -> None:
    now = candidate.rollout
    if rollout.percentage < now.percentage:
        raise ReleaseError(
            f"the rollout of {workload} {candidate.version} is at {now.percentage:g} %, and "
            f"{rollout.percentage:g} % is less: a percentage only grows. To take the version back, withdraw it"
        )
    if rollout.salt != now.salt:
        raise ReleaseError(
            f"the rollout of {workload} {candidate.version} has the salt {now.salt}, and {rollout.salt} would "
            "draw other devices: withdraw the version, or go on with its salt"
        )


def _check_not_withdrawn(role: Targets, files: Mapping[str, TargetFile]) -> None:
    for target in files.values():
        if version_of(target) in withdrawn(role):
            raise ReleaseError(
                f"version {version_of(target)} was withdrawn, and devices go back from it: release another version"
            )


def _with_withdrawn(targets: Mapping[str, TargetFile], versions: tuple[str, ...]) -> dict[str, TargetFile]:
    """The same targets, with the versions that were withdrawn on every bundle."""
    for path, target in targets.items():
        if path.endswith(f"/{BUNDLE}") and versions:
            _say(target, **{WITHDRAWN: list(versions)})
    return dict(targets)


def _without_rollout(target: TargetFile) -> dict[str, Any]:
    return {key: value for key, value in custom_of(target).items() if key != "rollout"}


def _renamed(target: TargetFile, path: str, said: Mapping[str, Any]) -> TargetFile:
    return TargetFile(target.length, dict(target.hashes), path, {"custom": dict(said)})


def _say(target: TargetFile, **said: Any) -> None:
    target.unrecognized_fields["custom"] = {**custom_of(target), **said}
