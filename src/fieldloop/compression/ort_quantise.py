"""The other ways to make a body small, for comparison and as alternatives: ONNX Runtime's own quantiser, and float16.

ONNX Runtime's static quantiser calibrates on the body's inputs; the dynamic one reads ranges call by call. Both with
`reduce_range`, so that 8-bit products cannot overflow on AVX2. Float16 halves the file; the runtime computes in
float32.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from fieldloop.compression.calibration import Array
from fieldloop.compression.onnx_files import BODY_INPUT, BODY_OUTPUT, silenced


def ort_static(body: onnx.ModelProto, inputs: Array, reduce_range: bool = True) -> onnx.ModelProto:
    """The float body by ONNX Runtime's static quantiser, per channel, calibrated on what the body sees (N, W)."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    def quantize(source: str, target: str) -> None:
        quantize_static(
            source,
            target,
            _Rows(inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )

    return _with_float_output(_through_files(body, quantize))


def ort_dynamic(body: onnx.ModelProto, reduce_range: bool = True) -> onnx.ModelProto:
    """The float body by ONNX Runtime's dynamic quantiser: ranges of activations are read in every call."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def quantize(source: str, target: str) -> None:
        quantize_dynamic(source, target, per_channel=True, reduce_range=reduce_range, weight_type=QuantType.QInt8)

    return _through_files(body, quantize)


def float16(body: onnx.ModelProto) -> onnx.ModelProto:
    """The float body with its weights stored as float16 and cast when the file is opened."""
    half = onnx.ModelProto()
    half.CopyFrom(body)
    graph, casts = half.graph, []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return half


def body_inputs(network: torch.nn.Module, rows: Array) -> Array:
    """What the network's body sees of scaled rows (N, F)."""
    whole: Any = copy.deepcopy(network).eval()
    with torch.no_grad():
        seen: Array = whole.body_inputs(torch.from_numpy(rows)).numpy()
    return seen


def _through_files(body: onnx.ModelProto, quantize: Callable[[str, str], None]) -> onnx.ModelProto:
    """ONNX Runtime's quantiser speaks files."""
    plain = onnx.ModelProto()
    plain.CopyFrom(body)
    del plain.graph.value_info[:], plain.functions[:]
    with tempfile.TemporaryDirectory() as scratch, silenced():
        source, target = Path(scratch) / "float.onnx", Path(scratch) / "int8.onnx"
        onnx.save(plain, source)
        quantize(str(source), str(target))
        return onnx.load(target)


def _with_float_output(body: onnx.ModelProto) -> onnx.ModelProto:
    """Without the rounding of the answers themselves: the last layer's 8-bit kernel can give float32 at once."""
    graph = body.graph
    made_by = {name: node for node in graph.node for name in node.output}
    last = made_by[BODY_OUTPUT]
    rounded = made_by.get(last.input[0]) if last.op_type == "DequantizeLinear" else None
    if rounded is None or rounded.op_type != "QuantizeLinear":
        return body
    layer = made_by[rounded.input[0]]
    layer.output[:] = [BODY_OUTPUT if name == rounded.input[0] else name for name in layer.output]
    graph.node.remove(last)
    graph.node.remove(rounded)
    return body


class _Rows:
    """ONNX Runtime's `CalibrationDataReader` over an array."""

    def __init__(self, inputs: Array) -> None:
        self._blocks: Iterator[dict[str, Array]] = iter(
            [{BODY_INPUT: np.ascontiguousarray(inputs[i : i + 256])} for i in range(0, len(inputs), 256)]
        )

    def get_next(self) -> dict[str, Array] | None:
        return next(self._blocks, None)
