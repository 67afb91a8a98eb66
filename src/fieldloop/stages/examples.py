"""Examples that are built once for the same rows and the same code, and kept."""

from collections.abc import Callable

from fieldloop.core.code_version import code_hash
from fieldloop.core.dataset import Dataset, load_dataset, save_dataset
from fieldloop.stages.access import content_hash, read_judging_tables, read_tables, training_periods, unjudging
from fieldloop.stages.context import Loop
from fieldloop.stages.refs import SnapshotRef
from fieldloop.stages.workload import workload_of
from fieldloop.workload import Tables

KEPT_EXAMPLES = 12  # cached files of examples, the last used to be built


def training_examples(loop: Loop, data: SnapshotRef) -> Dataset:
    periods = training_periods(loop, data)
    return _examples(loop, content_hash(loop, periods)[:20], lambda: read_tables(loop, periods))


def held_out_examples(loop: Loop) -> Dataset:
    """Of the periods that judge: of their units those that are registered, or a history's."""
    periods = loop.params.gates.held_out_periods
    content = f"{content_hash(loop, periods)[:20]}{unjudging(loop, periods)}"
    return _examples(loop, content, lambda: read_judging_tables(loop, periods))


def _examples(loop: Loop, content: str, tables: Callable[[], Tables]) -> Dataset:
    """Examples of some content, built once for the same rows and the same code."""
    workload = workload_of(loop)
    code = code_hash(type(workload).__module__)
    path = loop.paths.examples / f"{code}-{content}.npz"
    if path.is_file():
        return load_dataset(path)
    examples = workload.dataset(tables())
    save_dataset(examples, path)
    files = sorted(loop.paths.examples.glob("*.npz"), key=lambda file: file.stat().st_mtime)
    for outdated in files[:-KEPT_EXAMPLES]:
        outdated.unlink(missing_ok=True)
    return examples
