"""Tasks on models: train, judge, make small."""

from fieldloop.core.console import bar
from fieldloop.stages.context import Loop
from fieldloop.stages.refs import CompressedRef, RegisteredRef, SnapshotRef
from fieldloop.training.trained import Trained
from tasks import artifacts
from tasks.caching import step


def _learned_from(trained: Trained) -> str:
    from fieldloop.workloads import known_workload

    words = known_workload(trained.workload).card
    return f"{trained.examples} {words.examples} of {trained.episodes} {words.groups}"


@step(
    "train",
    lambda ref: (
        f"{_learned_from(ref)}, "
        + (f"{len(ref.left_out)} left out (see the log), " if ref.left_out else "")
        + f"MLflow run {ref.mlflow_run_id[:8]}"
    ),
    params=("model", "gates.held_out_periods"),
    settings=("mlflow_uri",),
    stands="train",
    timeout_s=7200,
)
def train_model(loop: Loop, data: SnapshotRef, champion: str) -> Trained:
    """Lightning; a killed run goes on from its last epoch."""
    from fieldloop.stages import train

    with bar("epochs") as on_progress:
        return train.train_model(loop, data, champion, on_progress)


@step(
    "register",
    lambda ref: f"version {ref.version} {ref.reason.partition('; ')[0]}",
    params=("gates",),
    settings=("mlflow_uri", "is_deployment"),
    stands="evaluate",
    timeout_s=1800,
)
def evaluate_and_register(loop: Loop, data: SnapshotRef, trained: Trained, last_word: str) -> RegisteredRef:
    """Challenger against champion; the alias moves only when the gate or a person says so (`last_word`)."""
    from fieldloop.stages import evaluate

    del last_word  # a part of the key: what a person promoted since is judged anew
    registered = evaluate.evaluate_and_register(loop, data, trained)
    artifacts.show_verdict(registered)
    return registered


@step(
    "compress",
    lambda ref: ref.reason,
    params=("compression", "model", "gates.held_out_periods"),
    settings=("mlflow_uri",),
    program="fieldedge.diagnostics.benchmark",
    stands="compress",
    timeout_s=1800,
)
def compress_champion(loop: Loop, data: SnapshotRef, registered: RegisteredRef) -> CompressedRef:
    """INT8 if it is measured to be as good and as fast, otherwise float32."""
    from fieldloop.stages import compress

    compressed = compress.compress_champion(loop, data, registered)
    artifacts.show_compression(compressed)
    return compressed


def champion_before(loop: Loop, data: SnapshotRef) -> str:
    """The version that training starts from."""
    from fieldloop.stages import train

    return train.champion_before(loop, data)


def last_word(loop: Loop) -> str:
    """The last promotion by a person."""
    from fieldloop.stages import evaluate

    return evaluate.last_word(loop)
