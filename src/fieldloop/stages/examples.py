"""Examples that are built once for the same rows and the same code, and kept."""

from collections.abc import Callable

from fieldloop.core.code_version import code_hash
from fieldloop.core.dataset import Dataset, load_dataset, save_dataset
from fieldloop.stages.access import content_hash, read_judging_tables, read_tables, training_seasons, unjudging
from fieldloop.stages.context import Loop
from fieldloop.stages.refs import SnapshotRef
from fieldloop.stages.workload import workload_of
from fieldloop.workload import Tables

KEPT_EXAMPLES = 12  # cached files of examples, the last used to be built


def training_examples(loop: Loop, data: SnapshotRef) -> Dataset:
    seasons = training_seasons(loop, data)
    return _examples(loop, content_hash(loop, seasons)[:20], lambda: read_tables(loop, seasons))


def held_out_examples(loop: Loop) -> Dataset:
    """Of the seasons that judge: of their fields those that are registered, or a history's."""
    seasons = loop.params.gates.holdout_seasons
    content = f"{content_hash(loop, seasons)[:20]}{unjudging(loop, seasons)}"
    return _examples(loop, content, lambda: read_judging_tables(loop, seasons))


def _examples(loop: Loop, content: str, tables: Callable[[], Tables]) -> Dataset:
    """Examples of some content, built once for the same rows and the same code."""
    workload = workload_of(loop)
    code = code_hash(type(workload).__module__)
    path = loop.workspace.examples / f"{code}-{content}.npz"
    if path.is_file():
        return load_dataset(path)
    examples = workload.dataset(tables())
    save_dataset(examples, path)
    files = sorted(loop.workspace.examples.glob("*.npz"), key=lambda file: file.stat().st_mtime)
    for outdated in files[:-KEPT_EXAMPLES]:
        outdated.unlink(missing_ok=True)
    return examples
