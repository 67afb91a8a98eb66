"""What is released of a version: the files that stand, and those that lie ready for each class of devices."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from fieldedge.system.durable import write_durably
from fieldloop.registry.model_registry import ModelRegistry, StandingBundle
from fieldloop.rollout.signed import bundles_of
from fieldloop.stages.context import Loop

FOR_ALL = ""  # the file of the fleet's own class, which serves every class that has none


def standing_bundle(loop: Loop, registry: ModelRegistry, version: str, key: str) -> StandingBundle | None:
    """What was released of a version under this key, fetched from the registry."""
    return registry.standing_bundle(version, key, loop.paths.runs / f"released-{version}-{key}")


def write_bundles(loop: Loop, version: str, made: Mapping[str, bytes]) -> dict[str, Path]:
    """The bundles of a version where the repository and a rollout look for them; a class of before that is none goes.

    Where it is cut off, it is done again before anything is offered.
    """
    folder = loop.paths.bundles
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{loop.workload}-{version}"
    paths = {name: folder / (f"{stem}-{name}.zip" if name else f"{stem}.zip") for name in made}
    for name, path in paths.items():
        write_durably(path, made[name])
    for former in folder.glob(f"{stem}-*.zip"):
        if former not in paths.values():
            former.unlink()
    return paths


def bundle_files(loop: Loop, version: str, classes: Iterable[str]) -> dict[str, Path]:
    """The bundle of a version for each of these classes, and for any other; empty where there is none."""
    return bundles_of(loop.paths.bundles, loop.workload, version, [name for name in classes if name != FOR_ALL])
