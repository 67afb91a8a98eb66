"""The champion of this clone, and what it learned from: what `make season` made, as its own steps know it."""

import sys

from fieldloop.compression import CompressionInputs
from fieldloop.core import process_setup
from fieldloop.core.settings import load_settings
from fieldloop.registry.model_registry import ModelRegistry
from fieldloop.stages.compress import compression_inputs
from fieldloop.stages.context import Loop
from fieldloop.stages.refs import SnapshotRef
from fieldloop.stages.workload import workload_of
from fieldloop.workloads import load_params


def champion() -> tuple[Loop, CompressionInputs]:
    """The loop whose champion stands in the registry, and what compression needs of it."""
    settings = load_settings()
    process_setup.settle(settings.home_dir)
    loop = Loop(settings, "agriculture", load_params(settings.root, "agriculture"))
    registry = ModelRegistry(settings.tracking_uri, workload_of(loop)) if loop.paths.mlflow.is_dir() else None
    version = registry.champion_version() if registry else None
    if registry is None or version is None:
        sys.exit(f"there is no champion in {settings.home_dir}: run `make season` first")
    found = registry.describe(str(version.version))
    season = int(version.tags["fieldloop.for_season"])
    data = SnapshotRef(found.data_hash, season, "", "", is_committed=False)
    return loop, compression_inputs(loop, data, str(version.version))
