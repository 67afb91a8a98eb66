"""Where the past comes from: the sample world's periods, made once."""

from collections.abc import Callable

import pyarrow.parquet as pq

from fieldloop.stages.access import folder_hash
from fieldloop.stages.context import Loop, contract_of, words_of
from fieldloop.stages.refs import HistoryRef
from fieldloop.versioning.pipeline import reproduce


def simulate_history(loop: Loop, on_output: Callable[[str], None]) -> HistoryRef:
    """Past episodes as Parquet, made once: DVC's stage `history` runs only when what it depends on changed.

    Raises:
        ConfigError: params.yaml has no block `history`.
        DataError: the stage failed.
    """
    loop.params.require_history()
    reproduce(loop.settings.root, "history", on_output)
    path = loop.paths.history
    files = path.rglob(f"{contract_of(loop).context_table.name}.parquet")
    episodes = sum(pq.read_metadata(file).num_rows for file in files)
    return HistoryRef(str(path), folder_hash(path, "*.parquet"), episodes, words_of(loop).episodes)
