"""Shared by the tests: a quiet process, and a tiny crop model as a bundle that a real device accepts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tests.edge.hypothesis_profile  # noqa: F401  (no deadline in any test)
from fieldedge.inference.bundles import Golden
from fieldedge.inference.model import METADATA_CONTRACT_HASH, METADATA_WORKLOAD, Model
from fieldedge.workloads import known_workload
from fieldloop.core import process_setup
from fieldloop.release import Lineage, build_bundle

CONTRACT = known_workload("agriculture").contract
BundleMaker = Callable[..., Path]


def pytest_configure() -> None:
    """As at every other entry point: nothing is sent anywhere."""
    process_setup.settle()


def crop_model(yield_t_ha: float, contract_hash: str = CONTRACT.hash) -> bytes:
    """A linear model around one yield, with an interval of 2 t/ha and little water and nitrogen to come."""
    features, outputs = len(CONTRACT.features), len(CONTRACT.outputs)
    weights = np.random.default_rng(7).normal(0, 0.05, (features, 1)).astype(np.float32)
    spread = np.array([[1.0, 1.0, 1.0, 0.0, 0.0]], dtype=np.float32)
    bias = np.array([yield_t_ha - 1, yield_t_ha, yield_t_ha + 1, 40.0, 20.0], dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "weights"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["outputs"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", features])],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["batch", outputs])],
        [numpy_helper.from_array(weights @ spread, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {METADATA_CONTRACT_HASH: contract_hash, METADATA_WORKLOAD: CONTRACT.workload})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture
def make_bundle(tmp_path: Path) -> BundleMaker:
    """Builds the bundle of a version; other models give other bytes."""

    def make(version: str = "1", yield_t_ha: float = 10.0, name: str | None = None) -> Path:
        model_path = tmp_path / f"model-{version}.onnx"
        model_path.write_bytes(crop_model(yield_t_ha))
        features = np.random.default_rng(3).uniform(-1, 1, (16, len(CONTRACT.features))).astype(np.float32)
        outputs = Model(model_path.read_bytes(), CONTRACT).predict(features)
        return build_bundle(
            tmp_path / "bundles" / f"{name or version}.zip",
            model_path,
            contract=CONTRACT,
            lineage=Lineage(
                version=version,
                precision="float32",
                data_hash="d" * 32,
                compression_data_hash="e" * 32,
                compression_key="k" * 12,
                git_commit="c" * 40,
            ),
            golden=Golden(features, outputs),
            golden_tolerance=0.01,
            reference={
                feature.name: {
                    "mean": (feature.minimum + feature.maximum) / 2,
                    "std": (feature.maximum - feature.minimum) / 4,
                    "p01": feature.minimum,
                    "p99": feature.maximum,
                }
                for feature in CONTRACT.features
            },
            card="# A tiny model\n",
        )

    return make
