"""What releases are judged by, the model that is installed, and whether it runs on this processor."""

import signal
import sys
from collections.abc import Iterator
from datetime import timedelta

from fieldedge.diagnostics.finding import Finding, Subject
from fieldedge.inference.bundles import MANIFEST, MAX_FILE_BYTES, parse_manifest
from fieldedge.inference.selftest import run_selftest
from fieldedge.inference.slots import Slots
from fieldedge.system.errors import ReleaseError
from fieldedge.system.plain_files import read_own

EXPIRY_WARNING = timedelta(days=30)


def trust(subject: Subject) -> Iterator[Finding]:
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata

    from fieldedge.transfer.trust import max_metadata_bytes

    directory, now = subject.directory, subject.clock.now()
    latest = directory.trust / "root.json"
    root_path = latest if latest.exists() else directory.bootstrap_root
    try:
        root = Metadata.from_bytes(read_own(root_path, max_metadata_bytes("root"))).signed
    except (OSError, RepositoryError) as error:
        yield Finding("trust", "fail", f"{root_path}: {error}", "provision the device again: fieldedge init --root")
        return
    found = f"root {root.version}, good until {root.expires:%Y-%m-%d}"
    if root.expires - now < EXPIRY_WARNING:
        yield Finding("trust", "warn", found, "have the office sign a newer root before then; updates follow it")
    else:
        yield Finding("trust", "ok", found)


def model(subject: Subject) -> Iterator[Finding]:
    slots = Slots(subject.directory.root)
    try:
        active = slots.active()
        if active is None:
            yield Finding(
                "model",
                "warn",
                f"none is installed: {subject.rule} decides",
                "fieldedge update --gateway URL, or fieldedge import --from STICK",
            )
            return
        slots.verified_model(active)
    except (ReleaseError, OSError) as error:
        stand_in = slots.first_sound()
        said = "nothing stands in for it" if stand_in is None else f"{stand_in[0].version} stands in for it"
        yield Finding("model", "fail", f"{error}; {said}", "fieldedge update --gateway URL, or import a release")
        return
    found = f"{active.version} ({active.precision}) in slot {active.slot}, whole"
    if not _is_for_this_version(subject):
        found += f", but for a former version of this software: {subject.rule} decides"
        yield Finding(
            "model", "warn", found, "fieldedge update, or import a release: the next one brings another model"
        )
        return
    yield Finding("model", "ok", found)


def runtime(subject: Subject) -> Iterator[Finding]:
    """onnxruntime 1.21 ended on a Raspberry Pi 4 with an illegal instruction (microsoft/onnxruntime#23957)."""
    can_try = subject.config is not None and _is_for_this_version(subject)
    rc, said = run_selftest(sys.executable, subject.directory.root if can_try else None)
    if rc != 0:
        yield Finding(
            "runtime",
            "fail",
            f"onnxruntime does not run here: {_ending(rc)}{said.get('error', '')}",
            f"install what requirements.lock names: sh install.sh; {subject.rule} decides meanwhile",
        )
        return
    if (error := said.get("model_error")) is not None:
        yield Finding("runtime", "fail", str(error), "fieldedge update, or release the model as float32")
        return
    tried = f"; {said['model']} repeats its golden vectors" if "model" in said else ""
    yield Finding("runtime", "ok", f"onnxruntime {said['onnxruntime']}{tried}")


def _is_for_this_version(subject: Subject) -> bool:
    """Whether the active model is of the contract of today, or nobody knows; one that cannot be read is not asked."""
    slots = Slots(subject.directory.root)
    try:
        active = slots.active()
        if active is None or subject.workload is None:
            return True
        manifest = parse_manifest(read_own(slots.path(active.slot) / MANIFEST, MAX_FILE_BYTES[MANIFEST]))
    except (ReleaseError, OSError):
        return True
    return manifest.contract_hash not in subject.workload.contract.upgrades


def _ending(rc: int) -> str:
    if rc >= 0:
        return ""
    name = signal.Signals(-rc).name
    return f"{name}, this processor lacks an instruction that it uses" if -rc == signal.SIGILL else f"{name} "
