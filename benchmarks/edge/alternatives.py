"""The same decision through what a user would otherwise run: torch eager, ONNX Runtime float32, boosted trees.

Each lives through the same seasons with the device's own code; only the model that scores the candidates differs. The
trees are trained on the examples that the network was fitted to, a model for each output, the yields by quantile loss.
"""

import io
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor

from benchmarks.common.champion import champion
from benchmarks.edge.device import WORKLOAD, make_device
from benchmarks.edge.device_side import TimedModel, timed_decisions
from fieldedge.inference.loading import load_model
from fieldedge.runtime.agent import Agent
from fieldedge.storage.recovery.rebuild import open_store
from fieldedge.workloads import read_device
from fieldedge.workloads.agriculture import AGRICULTURE
from fieldloop.core.dataset import Dataset
from fieldloop.evaluation.predictor import predictor
from fieldloop.workloads.agriculture.metrics import score

TREES, LEAVES = 120, 31
QUANTILES = (0.1, 0.5, 0.9)
TREE_ROWS = 60_000


class Predictor:
    """Anything that scores candidates, in the place of the device's model."""

    def __init__(self, predict: Callable[[Any], Any]) -> None:
        self.predict = predict


def alternatives(scratch: Path, seasons: Path, decisions: int) -> dict[str, dict[str, float]]:
    """Figures of each alternative: the decision's percentiles, held-out yield error, and the size to ship."""
    loop, inputs = champion()
    held_out, network = inputs.held_out, inputs.network.eval()
    weights = io.BytesIO()
    torch.save(network.state_dict(), weights)
    torch.set_num_threads(1)

    def eager(features: Any) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(np.ascontiguousarray(features, np.float32))).numpy()

    trees = _trees(inputs.training)
    compressed = max(loop.paths.runs.glob("compressed-*"), key=lambda path: path.stat().st_mtime)
    candidates: dict[str, tuple[Callable[[Any], Any], float]] = {
        "torch eager": (eager, len(weights.getbuffer()) / 1e6),
        "onnxruntime float32": _session(compressed / "float32.onnx"),
        "onnxruntime int8, all neurons": _session(compressed / "int8-reduced.onnx"),
        "onnxruntime, what ships": _session(Path(json.loads((compressed / "report.json").read_text())["path"])),
        "scikit-learn boosted trees": (_tree_predict(trees), len(pickle.dumps(trees)) / 1e6),
    }
    found = {}
    for number, (name, (predict, size_mb)) in enumerate(candidates.items()):
        times = _live(make_device(scratch / f"other-{number}").root, seasons, decisions, predict)
        found[name] = {**times, "yield_rmse_t_ha": score(predict, held_out).value, "file_mb": size_mb}
    return found


def _live(root: Path, seasons: Path, decisions: int, predict: Callable[[Any], Any]) -> dict[str, float]:
    from fieldedge.device.config import DeviceDirectory

    directory = DeviceDirectory(root)
    config, workload = read_device(directory)
    store, _ = open_store(directory.store)
    with store:
        loaded = load_model(directory, workload)
        assert loaded is not None
        timed = TimedModel(Predictor(predict))
        agent = Agent(config, workload, store, replace(loaded, model=timed))  # type: ignore[arg-type]
        whole, model, _ = timed_decisions(agent, store, timed, seasons, decisions)
    asked = np.array([value for value in model if value > 0.0])
    return {
        "p50_ms": float(np.percentile(whole, 50)),
        "p99_ms": float(np.percentile(whole, 99)),
        "model_p50_ms": float(np.percentile(asked, 50)),
    }


def _session(path: Path) -> tuple[Callable[[Any], Any], float]:
    return predictor(path), path.stat().st_size / 1e6


def _trees(examples: Dataset) -> list[HistGradientBoostingRegressor]:
    """One model per output of the contract."""
    picked = np.random.default_rng(0).permutation(len(examples))[:TREE_ROWS]
    inputs, targets = AGRICULTURE.contract.scale(examples.inputs)[picked], examples.targets[picked]
    losses: list[tuple[dict[str, Any], int]] = [
        *(({"loss": "quantile", "quantile": quantile}, 0) for quantile in QUANTILES),
        ({"loss": "squared_error"}, 1),
        ({"loss": "squared_error"}, 2),
    ]
    return [
        HistGradientBoostingRegressor(max_iter=TREES, max_leaf_nodes=LEAVES, random_state=0, **loss).fit(
            inputs, targets[:, column]
        )
        for loss, column in losses
    ]


def _tree_predict(trees: list[HistGradientBoostingRegressor]) -> Callable[[Any], Any]:
    def predict(features: Any) -> Any:
        return np.stack([tree.predict(features) for tree in trees], axis=1).astype(np.float32)

    return predict


assert len(WORKLOAD.contract.outputs) == len(QUANTILES) + 2
