"""A new model over the air: refresh the trust, download, verify, try it out, switch.

Nothing that TUF has not verified is opened, and nothing that has not passed the self-test becomes active. Whatever
fails on the way, the old slot stays active: the switch is the last step. The link's failures are `LinkError`, all
others `ReleaseError`. What is trusted, by which clock, and where the signed files come from is `trust.py`'s.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tuf.api.metadata import TargetFile

from fieldedge.contract import Contract
from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.bundles import Bundle, check_contract_hash, open_bundle
from fieldedge.inference.slots import Installed, Slots
from fieldedge.inference.trial import Trials, try_model
from fieldedge.system import locks
from fieldedge.system.errors import ReleaseError
from fieldedge.system.http import Bounds, Patience
from fieldedge.system.locks import exclusive, is_wanted
from fieldedge.system.plain_files import read_own
from fieldedge.transfer.trust import (
    MAX_TARGET_BYTES,
    UPDATE_WITHIN_S,
    Client,
    Mirror,
    ReadClock,
    device_clock,
    gateway_mirror,
    refreshed,
)

Tell = Callable[[str], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UpdateResult:
    """What is active after an update, and whether that is new."""

    version: str
    changed: bool
    slot: str
    precision: str


def update(
    directory: DeviceDirectory,
    contract: Contract,
    gateway_url: str,
    now: ReadClock | None = None,
    *,
    within_s: float = UPDATE_WITHIN_S,
    patience: Patience | None = None,
    tell: Tell = lambda _doing: None,
) -> UpdateResult:
    """Install the released bundle of the contract's workload, unless it is active already.

    Args:
        now: the device's clock; without one, it is read from where the device keeps it.
        within_s: how long the gateway may take for all of it.
        tell: hears what is being done.

    Raises:
        LinkError: the gateway cannot be reached; try again later.
        ReleaseError: the release cannot be trusted or does not fit this device; the old model stays.
        StoreBusy: another update is under way.
    """
    bounds = Bounds.within(within_s, lambda: is_wanted(directory.lock("update")))
    return update_from(directory, contract, gateway_mirror(gateway_url, bounds, patience), now, tell=tell)


def update_from(
    directory: DeviceDirectory,
    contract: Contract,
    mirror: Mirror,
    now: ReadClock | None = None,
    *,
    tell: Tell = lambda _doing: None,
    wait_s: float = 0.0,
) -> UpdateResult:
    """As `update`, from any mirror of the repository.

    Another update is waited for as long as `wait_s`; one over the air gives way.
    """
    slots, trials = Slots(directory.root), Trials(directory.root, contract)
    lock = directory.lock("update")

    def say(doing: str) -> None:
        tell(doing)
        locks.tell(lock, doing)

    with exclusive(lock, wait_s):
        say(f"reading what {mirror.name} releases")
        with refreshed(directory, mirror, now or device_clock(directory)) as client:
            target = _released_target(client, contract)
            current = _sound_active(slots)
            if current is not None and current.bundle_sha256 == target.hashes["sha256"]:
                return UpdateResult(current.version, False, current.slot, current.precision)
            _check_not_refused(trials, target)
            say(f"fetching a bundle of {target.length / 1000.0:.0f} kB from {mirror.name}")
            data = read_own(Path(client.download_target(target)), MAX_TARGET_BYTES)
        say("trying the new model")
        installed = _installed(slots, data, target.hashes["sha256"], contract, trials)
    _log.info("installed version=%s slot=%s precision=%s", installed.version, installed.slot, installed.precision)
    return UpdateResult(installed.version, True, installed.slot, installed.precision)


def install(slots: Slots, bundle: Bundle, contract: Contract) -> Installed:
    """Write a verified bundle to the free slot, try it from there in a process of its own, and switch to it.

    Raises:
        ReleaseError: the model as written does not load, does not fit or fails its self-test. Nothing is switched.
        TrialUnfinished: the trial could not be carried out. Nothing is switched.
    """
    manifest = bundle.manifest
    slot = slots.free_slot()
    folder = slots.write(slot, bundle.files)
    installed = Installed(slot, manifest.version, manifest.precision, bundle.sha256, manifest.model_sha256)
    slots.verified_model(installed)
    try_model(folder, contract.workload)
    Trials(slots.root, contract).keep_passed(installed.model_sha256)
    slots.activate(installed)
    return installed


def _installed(slots: Slots, data: bytes, sha256: str, contract: Contract, trials: Trials) -> Installed:
    """Unpack, try and install; what is refused is remembered."""
    try:
        return install(slots, open_bundle(data, contract), contract)
    except ReleaseError as error:
        trials.keep_refused(sha256, str(error))
        raise


def _check_not_refused(trials: Trials, target: TargetFile) -> None:
    why = trials.refusal(target.hashes["sha256"])
    if why is not None:
        raise ReleaseError(
            f"the release was tried on this device before and refused: {why} (it is not fetched again until another "
            "one is released, or fieldedge is updated)"
        )


def _released_target(client: Client, contract: Contract) -> TargetFile:
    target = client.get_targetinfo(f"{contract.workload}/bundle.zip")
    if target is None:
        raise ReleaseError(f"nothing is released for {contract.workload} yet; release a model first")
    custom = target.custom
    found = custom.get("contract_hash") if isinstance(custom, dict) else None
    check_contract_hash(found, contract, "the release")
    return target


def _sound_active(slots: Slots) -> Installed | None:
    """The active bundle if its model is whole; a damaged one is installed again."""
    try:
        active = slots.active()
        if active is not None:
            slots.verified_model(active)
    except ReleaseError as error:
        _log.warning("the active slot is installed again: %s", error)
        return None
    return active
