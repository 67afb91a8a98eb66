"""Where the past comes from: the sample world's seasons, made once."""

from collections.abc import Callable

from fieldloop.data import reproduce
from fieldloop.stages.access import folder_hash
from fieldloop.stages.context import Loop
from fieldloop.stages.refs import HistoryRef


def simulate_history(loop: Loop, on_output: Callable[[str], None]) -> HistoryRef:
    """Past field-seasons as Parquet, made once: DVC's stage `history` runs only when what it depends on changed.

    Raises:
        ConfigError: params.yaml has no block `history`.
        DataError: the stage failed.
    """
    params = loop.params.sample_history
    reproduce(loop.settings.root, "history", on_output)
    path = loop.workspace.history
    seasons = sum(last - first + 1 for first, last in params.regions.values())
    return HistoryRef(str(path), folder_hash(path, "*.parquet"), params.fields_per_region * seasons)
