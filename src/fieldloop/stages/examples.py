"""Examples that are built once for the same rows and the same code, and kept."""

from collections.abc import Sequence

from fieldloop.core.code_version import code_hash
from fieldloop.core.dataset import Dataset, load_dataset, save_dataset
from fieldloop.stages.access import content_hash, read_tables, training_seasons
from fieldloop.stages.context import Loop
from fieldloop.stages.refs import SnapshotRef
from fieldloop.stages.workload import workload_of

KEPT_EXAMPLES = 12  # cached files of examples, the last used to be built


def training_examples(loop: Loop, data: SnapshotRef) -> Dataset:
    return _examples(loop, training_seasons(loop, data))


def held_out_examples(loop: Loop) -> Dataset:
    return _examples(loop, loop.params.gates.holdout_seasons)


def _examples(loop: Loop, seasons: Sequence[int]) -> Dataset:
    """Examples of some seasons, built once for the same rows and the same code."""
    workload = workload_of(loop)
    code = code_hash(type(workload).__module__)
    path = loop.workspace.examples / f"{code}-{content_hash(loop, seasons)[:20]}.npz"
    if path.is_file():
        return load_dataset(path)
    examples = workload.dataset(read_tables(loop, seasons))
    save_dataset(examples, path)
    files = sorted(loop.workspace.examples.glob("*.npz"), key=lambda file: file.stat().st_mtime)
    for outdated in files[:-KEPT_EXAMPLES]:
        outdated.unlink(missing_ok=True)
    return examples
