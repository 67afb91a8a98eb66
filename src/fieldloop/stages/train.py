"""Train: the workload's network on all that is accepted, and on practice."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fieldloop.core.code_version import code_hash
from fieldloop.core.console import OnProgress
from fieldloop.core.dataset import Dataset
from fieldloop.core.git import git_commit
from fieldloop.core.stored_names import LEARNED_BEFORE
from fieldloop.registry.model_registry import LEARNABLE_HASH, ModelRegistry
from fieldloop.stages.access import read_tables, terms_of, training_periods
from fieldloop.stages.context import Loop, contract_of
from fieldloop.stages.examples import training_examples
from fieldloop.stages.refs import SnapshotRef
from fieldloop.stages.workload import workload_of
from fieldloop.training.standing import is_whole
from fieldloop.training.trained import OtherNetworkError, Trained

if TYPE_CHECKING:
    from torch import nn

    from fieldloop.training.trainer import Pretrain

STEP = "train"  # by which a workload says what of its parameters is read here


def train_model(loop: Loop, data: SnapshotRef, champion: str, on_progress: OnProgress) -> Trained:
    """Fit the workload's model on every accepted period before `data.period` that is not held out.

    Args:
        champion: the version that practice starts from, by `champion_before`; empty where it starts fresh.
    """
    from fieldloop.training.trainer import train  # torch: a cached result is asked only whether it stands

    folder = _run_folder(loop, data, champion)
    examples = training_examples(loop, data)
    tags = {
        "git_commit": git_commit(loop.settings.root),
        "code_hash": code_hash("fieldloop.stages.train:train_model"),
        LEARNED_BEFORE: str(data.period),
        "contract_hash": contract_of(loop).hash,
        LEARNABLE_HASH: data.learnable_hash,
        "started_from_version": champion,
    }
    return train(
        workload_of(loop),
        examples,
        loop.params.model,
        folder,
        loop.settings.tracking_uri,
        data.data_hash,
        tags,
        on_progress,
        _pretrain(loop, data, champion, on_progress),
        loop.settings.artifact_location,
    )


def stands(loop: Loop, trained: Trained) -> bool:
    """Whether the network and its MLflow run are there."""
    return is_whole(trained, loop.settings.tracking_uri)


def champion_before(loop: Loop, data: SnapshotRef) -> str:
    """The champion before this data, from whose weights practice starts; empty where there is none that fits."""
    registry = ModelRegistry(loop.settings.tracking_uri, workload_of(loop))
    return registry.start_of_pretraining(terms_of(loop, data), data.learnable_hash) or ""


def _pretrain(loop: Loop, data: SnapshotRef, champion: str, on_progress: OnProgress) -> "Pretrain":
    """Practice on what-if periods made of what is accepted, from a champion's weights."""

    def pretrain(network: "nn.Module") -> Dataset | None:
        start = None
        if champion:
            with suppress(OtherNetworkError):  # from before an upgrade: practice starts anew
                start = ModelRegistry(loop.settings.tracking_uri, workload_of(loop)).network(champion)
        tables = read_tables(loop, training_periods(loop, data))
        return workload_of(loop).learner.pretrain(network, tables, loop.params, start, on_progress)

    return pretrain


def _run_folder(loop: Loop, data: SnapshotRef, champion: str) -> Path:
    own = loop.params.values_of(loop.params.reads.get(STEP, ()))
    params = [loop.params.model.model_dump(mode="json"), *own.values()]
    ran = code_hash("fieldloop.stages.train:train_model")
    key = json.dumps([ran, data.learnable_hash, training_periods(loop, data), data.period, params, champion])
    return loop.paths.runs / f"{data.period}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"
