"""A new model over the air: refresh the trust, choose, download, verify, try it out, switch, and put it on watch.

Nothing that TUF has not verified is opened, and nothing that has not passed the self-test becomes active. Whatever
fails on the way, the old slot stays active: the switch is the last step. A version that the signed metadata withdraws
is left at once. The link's failures are `LinkError`, all others `ReleaseError`. What is trusted, by which clock, and
where the signed files come from is `trust.py`'s, which target is meant `choice.py`'s, the watch `watching.py`'s.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from fieldedge.contract import Contract, Record
from fieldedge.device.config import DeviceDirectory, read_config
from fieldedge.device.processor import device_class
from fieldedge.inference.bundles import Bundle, check_contract_hash, open_bundle
from fieldedge.inference.pointer import Installed, Pointer
from fieldedge.inference.slots import Slots
from fieldedge.inference.trial import Trials, try_model
from fieldedge.inference.watch import report
from fieldedge.system import locks
from fieldedge.system.clock import format_utc
from fieldedge.system.errors import FieldloopError, ReleaseError
from fieldedge.system.http import Bounds, Patience
from fieldedge.system.locks import exclusive, is_wanted
from fieldedge.system.plain_files import read_own
from fieldedge.transfer.choice import (
    UNKNOWN_VERSION,
    Offer,
    Offered,
    Standing,
    check_is_offered,
    choose,
    read_offer,
)
from fieldedge.transfer.trust import (
    MAX_TARGET_BYTES,
    UPDATE_WITHIN_S,
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
    note: str | None = None
    """Why what is released is not what is active, where that is so."""

    def as_record(self) -> Record:
        """As it is answered: a note only where there is one."""
        return {name: value for name, value in asdict(self).items() if name != "note" or value is not None}


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
            device = _Device(directory, contract, slots, trials, format_utc(client.judged_at))
            offer = read_offer(client, contract.workload, device_class())
            left = _leave_withdrawn(device, offer)
            current = _sound_active(slots)
            chosen, note = choose(offer, _standing(device, client.judged_at, current))
            if chosen is None:
                if current is None:
                    raise ReleaseError(f"nothing that is released can be used here: {note}")
                return UpdateResult(current.version, left, current.slot, current.precision, note)
            check_contract_hash(chosen.contract_hash, contract, "the release")
            if current is not None and current.bundle_sha256 == chosen.sha256:
                client.is_up_to_date = True
                return UpdateResult(current.version, left, current.slot, current.precision, note)
            _check_not_refused(trials, chosen)
            say(f"fetching a bundle of {chosen.target.length / 1000.0:.0f} kB from {mirror.name}")
            data = read_own(Path(client.download_target(chosen.target)), MAX_TARGET_BYTES)
            say("trying the new model")
            installed = _installed(device, data, chosen)
    _log.info("installed version=%s slot=%s precision=%s", installed.version, installed.slot, installed.precision)
    return UpdateResult(installed.version, True, installed.slot, installed.precision, note)


def install(slots: Slots, bundle: Bundle, contract: Contract, *, at: str, device_id: str) -> Installed:
    """Write a verified bundle to the free slot, try it from there in a process of its own, and switch to it, on watch.

    A version that is still on watch is left first: the confirmed one decides meanwhile, and is the one to go back to.

    Raises:
        ReleaseError: the model as written does not load, does not fit or fails its self-test. Nothing is switched.
        TrialUnfinished: the trial could not be carried out. Nothing is switched.
    """
    manifest = bundle.manifest
    _leave_watched(slots, manifest.version)
    slot = slots.free_slot()
    folder = slots.write(slot, bundle.files)
    installed = Installed(slot, manifest.version, manifest.precision, bundle.sha256, manifest.model_sha256)
    slots.verified_model(installed)
    try_model(folder, contract.workload)
    Trials(slots.root, contract).keep_passed(installed.model_sha256)
    reason = f"version {installed.version} passed its trial on this device"
    said = report(device_id, at, contract.workload, installed, _active(slots), "installed", reason)
    slots.activate(installed, watched_since=at, reason=reason, report=said.as_json())
    return installed


@dataclass(frozen=True)
class _Device:
    """Where an update is carried out, and when."""

    directory: DeviceDirectory
    contract: Contract
    slots: Slots
    trials: Trials
    at: str

    @property
    def device_id(self) -> str:
        return read_config(self.directory.settings).device_id


def _installed(device: _Device, data: bytes, chosen: Offered) -> Installed:
    """Unpack, try and install; what is refused is remembered, and told."""
    try:
        bundle = open_bundle(data, device.contract)
        check_is_offered(bundle.manifest, chosen)
        return install(device.slots, bundle, device.contract, at=device.at, device_id=device.device_id)
    except ReleaseError as error:
        device.trials.keep_refused(chosen.sha256, str(error))
        _tell_refused(device, chosen, str(error))
        raise


def _tell_refused(device: _Device, chosen: Offered, why: str) -> None:
    """Keep for the fleet's owner that a release was refused. Whatever is wrong with its version holds up nothing."""
    refused = Installed("a", chosen.version or UNKNOWN_VERSION, "", chosen.sha256, "")
    try:
        said = report(
            *(device.device_id, device.at, device.contract.workload, refused, _active(device.slots)),
            *("refused", why),
        )
        device.slots.add_report(said.as_json())
    except (FieldloopError, OSError) as error:
        _log.warning("that a release was refused is not told: %s", error)


def _leave_watched(slots: Slots, newer: str) -> None:
    """Let the confirmed version decide again before another one takes the place of the one on watch."""
    try:
        pointer = slots.pointer()
    except ReleaseError:
        return
    if pointer.active is not None and pointer.is_on_watch and pointer.former is not None:
        reason = f"version {pointer.active.version} was still on watch when version {newer} came"
        slots.go_back(pointer.active, reason)


def _leave_withdrawn(device: _Device, offer: Offer) -> bool:
    """Go back from a version that the signed metadata withdraws, if the former one is allowed; whether it was left.

    Where it is not, the active one decides until what is released is installed in its place.
    """
    try:
        pointer = device.slots.pointer()
    except ReleaseError:
        return False
    active, former = pointer.active, pointer.former
    if active is None or active.version not in offer.withdrawn or former is None or former.version in offer.withdrawn:
        return False
    try:
        device.slots.verified_model(former)
    except ReleaseError as error:
        _log.error("there is no going back to version %s: %s", former.version, error)
        return False
    reason = f"version {active.version} was withdrawn by its release; version {former.version} decides again"
    said = report(
        device.device_id, device.at, device.contract.workload, active, former, "reverted", "withdrawn by its release"
    )
    return device.slots.go_back(active, reason, report=said.as_json())


def _standing(device: _Device, now: datetime, current: Installed | None) -> Standing:
    """What of this device decides which target it takes."""
    try:
        pointer = device.slots.pointer()
    except ReleaseError:
        pointer = Pointer()

    def why_not(offered: Offered) -> str | None:
        found = pointer.why_not(offered.version, offered.sha256)
        if found is None and offered.is_candidate:  # of what everyone runs, it is an error
            found = device.trials.refusal(offered.sha256) or _of_another_contract(offered, device.contract)
        return found

    return Standing(device.device_id, now, None if current is None else current.version, why_not)


def _of_another_contract(offered: Offered, contract: Contract) -> str | None:
    try:
        check_contract_hash(offered.contract_hash, contract, f"version {offered.version}")
    except ReleaseError as error:
        return str(error)
    return None


def _check_not_refused(trials: Trials, chosen: Offered) -> None:
    why = trials.refusal(chosen.sha256)
    if why is not None:
        raise ReleaseError(
            f"the release was tried on this device before and refused: {why} (it is not fetched again until another "
            "one is released, or fieldedge is updated)"
        )


def _active(slots: Slots) -> Installed | None:
    try:
        return slots.active()
    except ReleaseError:
        return None


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
