"""What was released before, which stands."""

from fieldloop.registry.model_registry import ModelRegistry, StandingBundle
from fieldloop.stages.context import Loop


def standing_bundle(loop: Loop, registry: ModelRegistry, version: str, key: str) -> StandingBundle | None:
    """What was released of a version under this key, fetched from the registry."""
    return registry.standing_bundle(version, key, loop.paths.runs / f"released-{version}-{key}")
