"""The model that is fit to run, loaded.

A damaged slot never stops the device, nor does a model that fails its self-test: the former model stands in, and
without one the workload's rule decides.
"""

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from fieldedge.device.config import DeviceDirectory, read_config
from fieldedge.inference import attempts
from fieldedge.inference.bundles import (
    GOLDEN,
    MANIFEST,
    MAX_FILE_BYTES,
    REFERENCE,
    Reference,
    check_fits,
    parse_golden,
    parse_manifest,
    parse_reference,
)
from fieldedge.inference.model import Model
from fieldedge.inference.slices import Slice
from fieldedge.inference.slots import Installed, Slots
from fieldedge.inference.trial import Trials, try_model
from fieldedge.inference.watch import Array, spread_of
from fieldedge.storage.store import Store
from fieldedge.system.errors import ReleaseError, TrialUnfinished
from fieldedge.system.plain_files import read_own
from fieldedge.workload import Workload

NO_MODEL = "none"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A verified model that is loaded, and what is known of it. `reference` is None where it could not be read; in
    `slices` the workload's rule decides. `spread` (outputs,) are the standard deviations of its golden outputs."""

    installed: Installed
    model: Model
    reference: Reference | None
    slices: tuple[Slice, ...] = ()
    spread: Array | None = None
    watch: "Watch | None" = None


@dataclass(frozen=True)
class Watch:
    """That a model is on watch: the former one, loaded as well where there is one, and where the switch is made."""

    slots: Slots
    former: LoadedModel | None


def load_model(directory: DeviceDirectory, workload: Workload, store: Store | None = None) -> LoadedModel | None:
    """The model to run, verified, tried and loaded now; None where the device must do without."""
    return load(directory, workload, store)[0]


def load(
    directory: DeviceDirectory, workload: Workload, store: Store | None = None
) -> tuple[LoadedModel | None, str | None]:
    """The model to run, and why it is not the active one, where it is another or none.

    A model that never passed a trial under this software is tried first, in a process of its own; each is then loaded
    and repeats its golden vectors here.

    Args:
        store: of who is to decide with the model. One on watch that nobody survived is then left first.
    """
    slots = Slots(directory.root)
    if store is not None:
        attempts.leave_deadly(slots, read_config(directory.settings), workload.name, store)
    problem = None
    sound = slots.sound()
    for installed, data in sound:
        is_on_watch = _is_on_watch(slots, installed)
        with attempts.loading(slots, installed) if is_on_watch and store is not None else nullcontext():
            try:
                loaded = _loaded(slots, installed, data, workload)
            except (ReleaseError, TrialUnfinished) as error:
                problem = problem or f"model {installed.version} in slot {installed.slot} is not used: {error}"
                _log.error("the model in slot %s is not used: %s", installed.slot, error)
                continue
            if is_on_watch:
                loaded = replace(loaded, watch=Watch(slots, _former(slots, sound, workload)))
        return loaded, problem or _unlike(slots, installed)
    return None, problem or _unlike(slots, None)


def _loaded(slots: Slots, installed: Installed, data: bytes, workload: Workload) -> LoadedModel:
    """A model that is whole, tried and loaded.

    Raises:
        ReleaseError, TrialUnfinished: it is not to be used, or not now.
    """
    folder = slots.path(installed.slot)
    _try_first(slots, installed, workload)
    model = Model(data, workload.contract)
    spread = _self_test(model, folder, workload)
    return LoadedModel(installed, model, _reference(slots, installed, workload), read_slices(folder, workload), spread)


def _is_on_watch(slots: Slots, installed: Installed) -> bool:
    try:
        pointer = slots.pointer()
    except (ReleaseError, OSError):
        return False
    return pointer.is_on_watch and pointer.active == installed


def _former(slots: Slots, left: Iterator[tuple[Installed, bytes]], workload: Workload) -> LoadedModel | None:
    """The model to go back to, loaded beside the one on watch; None where there is none that can be used."""
    for installed, data in left:
        try:
            return _loaded(slots, installed, data, workload)
        except (ReleaseError, TrialUnfinished) as error:
            _log.error("the former model in slot %s is not used: %s", installed.slot, error)
    return None


def usable(directory: DeviceDirectory, workload: Workload) -> tuple[Installed | None, str | None]:
    """What `load` would find, without loading anything: from the files, and from what was found of them before."""
    slots, trials = Slots(directory.root), Trials(directory.root, workload.contract)
    problem = None
    for installed, _ in slots.sound():
        why = trials.failure(installed.model_sha256) or _unreadable_slices(slots.path(installed.slot), workload)
        if why is None:
            return installed, problem or _unlike(slots, installed)
        problem = problem or f"model {installed.version} in slot {installed.slot} is not used: {why}"
    return None, problem or _unlike(slots, None)


def slices_of(directory: DeviceDirectory, installed: Installed, workload: Workload) -> tuple[Slice, ...]:
    """Where the rule decides in the place of a model that `usable` has found."""
    try:
        return read_slices(Slots(directory.root).path(installed.slot), workload)
    except ReleaseError:  # it was damaged since: what is usable now is another one
        return ()


def read_reference(directory: DeviceDirectory, workload: Workload) -> tuple[str, Reference | None]:
    """The version of the model on the device and the statistics of its training data, if they can be read."""
    installed, _ = usable(directory, workload)
    if installed is None:
        return NO_MODEL, None
    return installed.version, _reference(Slots(directory.root), installed, workload)


def _unlike(slots: Slots, used: Installed | None) -> str | None:
    """Why another model is used than the one that the pointer names, where that one is damaged."""
    try:
        active = slots.active()
        if active is not None and active != used:
            slots.verified_model(active)
    except (ReleaseError, OSError) as error:
        return str(error)
    return None


def _try_first(slots: Slots, installed: Installed, workload: Workload) -> None:
    trials = Trials(slots.root, workload.contract)
    if trials.has_passed(installed.model_sha256):
        return
    if (why := trials.failure(installed.model_sha256)) is not None:
        raise ReleaseError(why)
    folder = slots.path(installed.slot)
    if not (folder / GOLDEN).is_file() or not (folder / MANIFEST).is_file():
        return  # it was installed before bundles were kept whole; only its loading can be tried
    try:
        try_model(folder, workload.name)
    except ReleaseError as error:
        trials.keep_failed(installed.model_sha256, str(error))
        raise
    trials.keep_passed(installed.model_sha256)


def _self_test(model: Model, folder: Path, workload: Workload) -> Array | None:
    """Have the loaded model repeat its golden vectors, if the disk still has them; how far those spread."""
    try:
        golden = parse_golden(read_own(folder / GOLDEN, MAX_FILE_BYTES[GOLDEN]), workload.contract)
        tolerance = parse_manifest(read_own(folder / MANIFEST, MAX_FILE_BYTES[MANIFEST])).golden_tolerance
    except (OSError, ReleaseError) as error:
        _log.warning("the golden vectors in %s cannot be repeated: %s", folder, error)
        return None
    model.self_test(golden, tolerance)
    return spread_of(golden.outputs)


def read_slices(folder: Path, workload: Workload) -> tuple[Slice, ...]:
    """Where the bundle in a slot's folder says that the rule decides; nowhere for one from before bundles were whole.

    Raises:
        ReleaseError: it cannot be read, so that nobody knows where the model is not to be followed.
    """
    try:
        manifest = parse_manifest(read_own(folder / MANIFEST, MAX_FILE_BYTES[MANIFEST]))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ReleaseError(f"{MANIFEST} cannot be read: {error}") from error
    check_fits(manifest, workload.contract)
    return manifest.slices


def _unreadable_slices(folder: Path, workload: Workload) -> str | None:
    try:
        read_slices(folder, workload)
    except ReleaseError as error:
        return str(error)
    return None


def _reference(slots: Slots, installed: Installed, workload: Workload) -> Reference | None:
    try:
        data = read_own(slots.path(installed.slot) / REFERENCE, MAX_FILE_BYTES[REFERENCE])
        return parse_reference(data, workload.contract)
    except (OSError, ReleaseError) as error:
        _log.warning("the reference statistics are not used: %s", error)
        return None
