"""What this processor does with signed 8-bit weights, found by asking it, and another kind of processor to ask.

Without 8-bit dot products (VNNI) x86 adds two products in 16 bits with saturation. Which kind runs the tests is luck;
what is right on each kind is not.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

EMULATOR = ("qemu-x86_64", "-cpu", "Haswell")  # AVX2 and no VNNI, as many a laptop
HAS_EMULATOR = shutil.which(EMULATOR[0]) is not None


def product_of_the_largest() -> int:
    """255 · 127 + 255 · 127, as ONNX Runtime's unsigned-by-signed kernel adds it here: 64,770 where it is exact."""
    weights = numpy_helper.from_array(np.full((2, 16), 127, np.int8), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["rows", "weights"], ["sums"])],
        "largest",
        [helper.make_tensor_value_info("rows", TensorProto.UINT8, ["batch", 2])],
        [helper.make_tensor_value_info("sums", TensorProto.INT32, ["batch", 16])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (sums,) = session.run(None, {"rows": np.full((1, 2), 255, np.uint8)})
    return int(sums[0, 0])


def is_emulated() -> bool:
    """Whether this very process runs under qemu-user, where /proc tells of the host's processor."""
    return Path("/proc/self/comm").read_text().startswith("qemu")


def saturates() -> bool:
    """Whether signed weights of the full 8 bits can overflow on the processor that runs this test."""
    return product_of_the_largest() != 2 * 255 * 127


def exact(model: Path | bytes, rows: Any) -> Any:
    """What a file answers when nothing of it is fused: 8-bit numbers in float arithmetic, alike on every processor."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = model if isinstance(model, bytes) else model.read_bytes()
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (outputs,) = session.run(["outputs"], {"features": rows})
    return outputs


def error_sd(found: Any, truth: Any) -> float:
    """The root mean square error of the worst output, in standard deviations of that output."""
    return float((np.sqrt(((found - truth) ** 2).mean(0)) / truth.std(0)).max())
