"""What later work refers to and no step can make again: where it is gone the run stops, and says how it comes back.

A cached result and a period that was lived refer to it by name alone, so it is looked for when a run begins. Accepted
data is `opening.py`'s. To begin anew on purpose a person removes a mark, which each message names.
"""

from pathlib import Path

from fieldedge.system.errors import ConfigError, ReleaseError
from fieldloop.core.begun import Mark
from fieldloop.registry.model_registry import ModelRegistry, store_failures_told
from fieldloop.registry.new_store import SQLITE
from fieldloop.release import ReleaseRepository, is_bare, is_begun
from fieldloop.stages.context import Loop
from fieldloop.stages.workload import workload_of


def require_kept(loop: Loop) -> None:
    """See that the release repository is there where devices trust it, and the registry of the model they have.

    Raises:
        ConfigError: a deployment has no keys yet.
        ReleaseError: one is gone or damaged; the message names it, and how to bring it back or to begin anew.
    """
    require_keys(loop)
    paths = loop.paths
    if not is_begun(paths.tuf):
        mark = Mark.beside(paths.tuf)
        if any(paths.sample.root.glob("world-*/devices/*/device.toml")):
            mark.set("Devices were provisioned from the release repository tuf/.\n")
        if mark.is_set:
            ReleaseRepository(paths.tuf)
        return
    offered = ReleaseRepository(paths.tuf).current(loop.workload)
    if offered is None:
        return
    if _has(loop, offered.version):
        note_registry(loop)
    elif (mark := Mark.beside(paths.mlflow)).is_set:
        raise ReleaseError(
            f"version {offered.version} of {loop.workload}, which devices are offered, is not in the registry "
            f"{loop.settings.tracking_uri}: its store was lost, or is another one. Restore it from a backup, the "
            "database together with its artifacts, or set FIELDLOOP_MLFLOW_URI to the one that has the version. To "
            f"begin a new registry on purpose: remove {mark.path}; its first model then waits for a person"
        )


def require_keys(loop: Loop) -> None:
    """See that a person has made the keys of a deployment, before anything is signed that devices trust for years.

    Raises:
        ConfigError: nobody has.
    """
    tuf = loop.paths.tuf
    is_lost = Mark.beside(tuf).is_set and not is_begun(tuf)  # that is another's to say
    if loop.settings.is_deployment and not is_lost and is_bare(tuf):
        raise ConfigError(
            f"{tuf} has no keys of a deployment yet, so nothing is released: make them with `fieldloop keys init "
            "--offline MEDIUM --offline MEDIUM --offline MEDIUM`, each the folder of a medium that is put away after; "
            "root is then signed by 2 of 3 keys"
        )


def note_registry(loop: Loop) -> None:
    """Note that devices are offered a version that stands in the registry."""
    Mark.beside(loop.paths.mlflow).set("Devices are offered versions of the model registry.\n")


def _has(loop: Loop, version: str) -> bool:
    uri = loop.settings.tracking_uri
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        return False  # asking would make an empty one, in the place where a backup belongs
    with store_failures_told(uri):
        return ModelRegistry(uri, workload_of(loop)).has(version)
