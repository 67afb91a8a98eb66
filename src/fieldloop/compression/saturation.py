"""Whether 8-bit products can overflow on a processor without 8-bit dot products.

AVX2 multiplies unsigned activations with signed weights in pairs (VPMADDUBSW): two neighbours along the summed axis,
added in 16 bits with saturation. A pair whose sum leaves the 16 bits is silently wrong. Two figures: what the weights
allow for any input at all, and how many pairs really overflow on given rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

INT16 = (-32_768, 32_767)
_ROWS_A_BLOCK = 64


@dataclass(frozen=True)
class PairSums:
    """One layer: the largest pair sum that its weights allow, the largest on the rows, and how many overflow there."""

    layer: str
    kernel: str  # "u8s8" multiplies in saturating pairs; "u8u8" widens to 16 bits first
    largest_possible: int
    largest_seen: int
    overflows: int
    pairs: int

    @property
    def is_safe(self) -> bool:
        """No input whatever can make this layer overflow."""
        return self.kernel != "u8s8" or self.largest_possible <= INT16[1]


def pair_sums(model: onnx.ModelProto, rows: NDArray[np.float32]) -> list[PairSums]:
    """For every 8-bit layer of a whole model, the pair sums on scaled rows (N, F)."""
    layers = _layers(model)
    seen = _activations(model, [activation for _, _, activation in layers], rows)
    return [_of_layer(name, weights, seen[activation]) for name, weights, activation in layers]


def _of_layer(name: str, weights: NDArray[Any], activations: NDArray[Any]) -> PairSums:
    """`weights` (N, K) as stored and `activations` (rows, K), both along the summed axis K."""
    is_signed = weights.dtype == np.int8
    wide = _paired(weights.astype(np.int32))  # (N, K/2, 2)
    # The runtime shifts signed activations by 128 to unsigned ones; what it multiplies is unsigned either way.
    unsigned = activations.astype(np.int32) + (128 if activations.dtype == np.int8 else 0)
    inputs = _paired(unsigned)  # (rows, K/2, 2)
    up, down = np.maximum(wide, 0).sum(2) * 255, np.minimum(wide, 0).sum(2) * 255
    largest_possible = int(max(up.max(), -down.min()))
    largest_seen, overflows, pairs = 0, 0, 0
    for start in range(0, len(inputs), _ROWS_A_BLOCK):
        block = inputs[start : start + _ROWS_A_BLOCK]
        for part in np.array_split(wide, max(1, len(wide) // 64)):
            sums = np.einsum("rkp,nkp->rnk", block, part)
            largest_seen = max(largest_seen, int(np.abs(sums).max()))
            overflows += int(((sums < INT16[0]) | (sums > INT16[1])).sum()) if is_signed else 0
            pairs += sums.size
    kernel = "u8s8" if is_signed else "u8u8"
    return PairSums(name, kernel, largest_possible, largest_seen, overflows, pairs)


def _paired(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """(N, K) as (N, K/2, 2), with a zero where K is odd."""
    if values.shape[1] % 2:
        values = np.pad(values, ((0, 0), (0, 1)))
    return values.reshape(len(values), -1, 2)


def _layers(model: onnx.ModelProto) -> list[tuple[str, NDArray[Any], str]]:
    """Every 8-bit matrix product: name, weights (N, K), and the name of its quantised input."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    made_by = {output: node for node in model.graph.node for output in node.output}
    found: list[tuple[str, NDArray[Any], str]] = []
    for node in model.graph.node:
        if node.op_type not in ("Gemm", "MatMul"):
            continue
        left, right = (made_by.get(name) for name in node.input[:2])
        if left is None or right is None or {left.op_type, right.op_type} != {"DequantizeLinear"}:
            continue
        if right.input[0] not in stored:
            continue
        weights = numpy_helper.to_array(stored[right.input[0]])
        is_transposed = any(a.name == "transB" and a.i for a in node.attribute)
        found.append((f"layer {len(found)}", weights if is_transposed else weights.T, left.input[0]))
    return found


def _activations(model: onnx.ModelProto, names: list[str], rows: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    import onnxruntime as ort

    if not names:  # the runtime would give every output
        return {}
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    made_by = {output: node for node in model.graph.node for output in node.output}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in names:
        node = made_by[name]
        zero = stored[node.input[2]].data_type if len(node.input) > 2 else onnx.TensorProto.UINT8
        opened.graph.output.append(helper.make_tensor_value_info(name, zero, None))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {"features": rows}), strict=True))
