"""Which of the signed targets this device takes: that of its class, and of a rollout where its cohort is in.

A workload's targets are `<workload>/<class>/bundle.zip`, which everyone of the class runs, and beside it
`candidate.zip` while a rollout is on. Of each, a device of a class for which there is no file takes the float32-only
one, and where there are no classes at all, `<workload>/bundle.zip`, the only target of before. Nothing that the
metadata says makes a device go to an older version; what is `withdrawn` it leaves. `choose` is pure: what is offered,
and where the device stands, are plain data.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from tuf.api.metadata import TargetFile

from fieldedge import __version__
from fieldedge.device.processor import FLOAT32_ONLY
from fieldedge.inference.bundles import MAX_TEXT_CHARACTERS, Manifest
from fieldedge.system.errors import ReleaseError
from fieldedge.system.strict_json import shown
from fieldedge.transfer.cohort import Rollout, is_in

UNKNOWN_VERSION = "unknown"
MAX_WITHDRAWN = 1_000

_RELEASE = re.compile(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?:[.\-+a-z].*)?")
_NUMBER = re.compile(r"[0-9]{1,18}")

_log = logging.getLogger(__name__)


class Targets(Protocol):
    """What is asked of the signed metadata."""

    def get_targetinfo(self, target_path: str) -> TargetFile | None: ...


@dataclass(frozen=True)
class Offered:
    """One signed target, and what its metadata says of it. What older metadata does not say is None."""

    target: TargetFile
    contract_hash: object = None
    version: str | None = None
    min_fieldedge: str | None = None
    rollout: Rollout | None = None

    @property
    def sha256(self) -> str:
        return self.target.hashes["sha256"]

    @property
    def is_candidate(self) -> bool:
        return self.rollout is not None


@dataclass(frozen=True)
class Offer:
    """All that is released for a device of one class. `has_classes` is whether there is a file for each class."""

    bundle: Offered | None
    candidate: Offered | None = None
    withdrawn: frozenset[str] = frozenset()
    has_classes: bool = False


@dataclass(frozen=True)
class Standing:
    """Where a device stands: by its own time `now`, with this version active, and why it would not take a target."""

    device_id: str
    now: datetime
    active_version: str | None
    why_not: Callable[[Offered], str | None]


def read_offer(targets: Targets, workload: str, device_class: str) -> Offer:
    """What the signed metadata offers to a device of that class.

    Raises:
        LinkError: a delegated role cannot be read.
        ReleaseError: nothing is released, or what is said of a target cannot be used by any device.
    """
    name, target = _of_class(targets, workload, device_class, "bundle.zip")
    former = targets.get_targetinfo(f"{workload}/bundle.zip") if target is None else None
    candidate = _candidate(targets, workload, device_class)
    chosen = target or former
    if chosen is None and candidate is None:
        raise ReleaseError(f"nothing is released for {workload} yet; release a model first")
    if chosen is None:
        return Offer(None, candidate, has_classes=True)
    return Offer(_offered(chosen, name), candidate, _withdrawn(chosen), has_classes=target is not None)


def choose(offer: Offer, standing: Standing) -> tuple[Offered | None, str | None]:
    """What the device takes, or keeps where that is active already, and why it is not what is newest.

    None where it stays with what it has.
    """
    note = None
    if offer.candidate is not None:
        why_not = _why_no_candidate(offer.candidate, offer, standing)
        if why_not is None:
            return offer.candidate, None
        note = f"the version in rollout is not taken: {why_not}"
    bundle = offer.bundle
    if bundle is None:
        return None, note
    if bundle.version in offer.withdrawn:
        return None, f"version {bundle.version} is released and withdrawn: release another one"
    if (why_not := _why_too_old_software(bundle)) is not None:
        raise ReleaseError(f"the release is not for this device: {why_not}")
    if (why_not := standing.why_not(bundle)) is not None:
        return None, why_not
    active = standing.active_version
    if offer.has_classes and active not in offer.withdrawn and is_older(bundle.version, active):
        return None, note or f"version {bundle.version} is released, and the newer {active} stays until it is withdrawn"
    return bundle, note


def is_older(version: str | None, than: str | None) -> bool:
    """Whether a version comes before another one. Versions that are no numbers have no order."""
    if version is None or than is None or not (_NUMBER.fullmatch(version) and _NUMBER.fullmatch(than)):
        return False
    return int(version) < int(than)


def check_is_offered(manifest: Manifest, offered: Offered) -> None:
    """See that a bundle is the version that its signed metadata says.

    Raises:
        ReleaseError: it is another one.
    """
    if offered.version is not None and manifest.version != offered.version:
        raise ReleaseError(
            f"the bundle holds version {shown(manifest.version)}; the signed metadata says {offered.version}: "
            "publish it again"
        )


def _why_no_candidate(candidate: Offered, offer: Offer, standing: Standing) -> str | None:
    assert candidate.rollout is not None  # noqa: S101 - else it is none
    if candidate.version in offer.withdrawn:
        return f"version {candidate.version} is withdrawn"
    if is_older(candidate.version, standing.active_version):
        return f"version {candidate.version} is older than {standing.active_version}"
    if (why_not := _why_too_old_software(candidate) or standing.why_not(candidate)) is not None:
        return why_not
    if candidate.version != standing.active_version and not is_in(standing.device_id, candidate.rollout, standing.now):
        return f"this device is not among the {candidate.rollout.percentage:g} % that have it"
    return None


def _why_too_old_software(offered: Offered) -> str | None:
    needed = offered.min_fieldedge
    if needed is None or _release(needed) <= _release(__version__):
        return None
    return f"version {offered.version} needs fieldedge {needed}, and this is {__version__}: update fieldedge"


def _release(version: str) -> tuple[int, ...]:
    found = _RELEASE.fullmatch(version)
    if found is None:
        raise ReleaseError(f"the release needs fieldedge {shown(version)}; expected a version like 0.1.0")
    return tuple(int(part or 0) for part in found.groups())


def _of_class(
    targets: Targets, workload: str, device_class: str, file: str
) -> tuple[str, TargetFile] | tuple[None, None]:
    """The file for a class, else the one that any device can run; and for which class it is."""
    for name in dict.fromkeys((device_class, FLOAT32_ONLY)):
        target = targets.get_targetinfo(f"{workload}/{name}/{file}")
        if target is not None:
            return name, target
    return None, None


def _candidate(targets: Targets, workload: str, device_class: str) -> Offered | None:
    name, target = _of_class(targets, workload, device_class, "candidate.zip")
    if target is None:
        return None
    try:
        offered = _offered(target, name)
        if offered.rollout is None:
            raise ReleaseError("it says no rollout")
    except ReleaseError as error:  # a rollout that nobody can read holds up no release
        _log.error("the version in rollout is not taken: %s", error)
        return None
    return offered


def _offered(target: TargetFile, name: str | None) -> Offered:
    """What the signed metadata says of a target for the class `name`; None: for a target of before there were classes.

    Raises:
        ReleaseError: it is of another class, or says what no device can read.
    """
    if "sha256" not in target.hashes:  # a device names what it runs by it
        raise ReleaseError(f"the release names {target.path} without its sha256; publish it again")
    custom: dict[str, Any] = target.custom if isinstance(target.custom, dict) else {}
    found = custom.get("device_class")
    if name is not None and found is not None and found != name:
        raise ReleaseError(f"{target.path} is for devices of class {shown(found)}: publish it again")
    return Offered(
        target,
        custom.get("contract_hash"),
        _text(custom, "version", target.path),
        _text(custom, "min_fieldedge", target.path),
        Rollout.from_custom(custom["rollout"]) if "rollout" in custom else None,
    )


def _text(custom: dict[str, Any], name: str, path: str) -> str | None:
    value = custom.get(name)
    if value is None or (isinstance(value, str) and 0 < len(value) <= MAX_TEXT_CHARACTERS and value.isprintable()):
        return value
    raise ReleaseError(f"{path} says the {name} {shown(value)}; expected a short text: publish it again")


def _withdrawn(target: TargetFile) -> frozenset[str]:
    custom: dict[str, Any] = target.custom if isinstance(target.custom, dict) else {}
    found = custom.get("withdrawn", [])
    if not isinstance(found, list) or len(found) > MAX_WITHDRAWN or not all(isinstance(one, str) for one in found):
        raise ReleaseError(
            f"{target.path} says withdrawn {shown(found)}; expected a list of versions: publish it again"
        )
    return frozenset(found)
