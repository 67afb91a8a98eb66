"""The small model: neural-compressor static INT8, exported as ONNX with the weights stored as 8-bit integers.

A gate measures on the held-out seasons, in the fused ONNX Runtime session, and never assumes: INT8 ships only if it is
as good and as fast as float32; otherwise float32 ships and the reason is recorded. Building the bundle is release/'s.
"""

import copy
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxscript.optimizer
import torch
from onnx import numpy_helper
from onnxscript import ir

from fieldedge.durable import write_durably
from fieldedge.errors import ReleaseError
from fieldloop.evaluation import score
from fieldloop.inference import Array, latencies_us, predictor
from fieldloop.settings import CompressionParams
from fieldloop.training import batches
from fieldloop.workloads.agriculture.examples import Examples

MAX_BATCH = 4096
_DYNAMIC = ({0: torch.export.Dim("batch", min=1, max=MAX_BATCH)},)
_NO_LIMIT = 1 << 40


@dataclass(frozen=True)
class Compressed:
    """Both files, what was measured on them, and which one ships."""

    shipped: Literal["int8", "float32"]
    reason: str
    path: str
    bytes: int
    int8_bytes: int
    float32_bytes: int
    error_increase_pct: float
    int8_yield_rmse_t_ha: float
    float32_yield_rmse_t_ha: float
    int8_latency_us: float
    float32_latency_us: float
    batch: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def export_float32(network: torch.nn.Module, features: int, metadata: dict[str, str], path: Path) -> Path:
    """Write the network as ONNX: input `features` (batch, F), output `outputs` (batch, 5)."""
    example = (torch.zeros(8, features),)
    with torch.no_grad(), _silence():
        program = torch.onnx.export(
            network.eval(),
            example,
            dynamo=True,
            dynamic_shapes=_DYNAMIC,
            input_names=["features"],
            output_names=["outputs"],
            verbose=False,
        )
    _save_clean(program.model_proto, metadata, path)
    return path


def quantize_int8(
    network: torch.nn.Module, calibration: Array, features: int, metadata: dict[str, str], path: Path
) -> Path:
    """Write the network as INT8 ONNX, calibrated on scaled rows (N, F).

    Its `body`, where all the weights are, becomes 8-bit. What stands around it is arithmetic on physical units, which
    8 bits would spoil and could not speed up; it stays float32.

    Raises:
        ReleaseError: the calibration rows are too few or not finite.
    """
    if len(calibration) < 64 or not np.isfinite(calibration).all():
        raise ReleaseError(
            f"calibration needs at least 64 finite rows; found {len(calibration)} rows with "
            f"{int((~np.isfinite(calibration)).sum())} broken values. Look at the training data, or raise "
            "compression.calibration_rows in params.yaml"
        )
    os.environ.setdefault("LOGLEVEL", "ERROR")
    from neural_compressor.torch.export import export
    from neural_compressor.torch.quantization import convert, get_default_static_config, prepare

    example = (torch.zeros(8, features),)
    whole: Any = copy.deepcopy(network).eval()
    with torch.no_grad(), _silence():
        body_example = (whole.body_inputs(example[0]),)
        prepared = prepare(export(whole.body, body_example, dynamic_shapes=_DYNAMIC), get_default_static_config())
        for rows in batches(calibration, 256):
            prepared(whole.body_inputs(rows))
        whole.body = convert(prepared)
        program = torch.onnx.export(
            whole,
            example,
            dynamo=True,
            dynamic_shapes=_DYNAMIC,
            input_names=["features"],
            output_names=["outputs"],
            verbose=False,
        )
        folded = _fold_weights(program.model_proto)
    _save_clean(_as_unsigned(folded), metadata, path)
    return path


def _fold_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn float32 weights behind QuantizeLinear and Clip into stored 8-bit integers."""
    graph = ir.from_proto(model)
    onnxscript.optimizer.fold_constants_ir(
        graph,
        onnx_shape_inference=False,
        input_size_limit=_NO_LIMIT,
        output_size_limit=_NO_LIMIT,
        should_fold=lambda node: True if node.op_type in ("QuantizeLinear", "Clip") else None,
    )
    onnxscript.optimizer.remove_unused_nodes(graph)
    return ir.to_proto(graph)


def _as_unsigned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Signed weights as unsigned with the zero point moved by 128: the same numbers, and no saturation on AVX2."""
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for index, node in enumerate(graph.node):
        if node.op_type != "DequantizeLinear" or node.input[0] not in stored:
            continue
        weights = numpy_helper.to_array(stored[node.input[0]])
        if weights.dtype != np.int8:
            continue
        scales = numpy_helper.to_array(stored[node.input[1]])
        has_zero = len(node.input) > 2 and node.input[2]
        zeros = numpy_helper.to_array(stored[node.input[2]]) if has_zero else np.zeros(scales.shape, np.int8)
        names = [f"weight_{index}_{part}" for part in ("quantized", "scale", "zero_point")]
        graph.initializer.extend(
            [
                numpy_helper.from_array((weights.astype(np.int16) + 128).astype(np.uint8), names[0]),
                numpy_helper.from_array(scales, names[1]),
                numpy_helper.from_array((zeros.astype(np.int16) + 128).astype(np.uint8), names[2]),
            ]
        )
        node.input[:] = names
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return model


def _save_clean(model: onnx.ModelProto, metadata: dict[str, str], path: Path) -> None:
    """Check, strip what only a debugger wants (stack traces with build paths), add our metadata, write."""
    graph = model.graph
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for item in (*graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    del graph.value_info[:], graph.metadata_props[:], model.metadata_props[:], model.functions[:]
    graph.doc_string, graph.name = "", "fieldloop"
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, model.SerializeToString())


def compress(
    network: torch.nn.Module,
    calibration: Array,
    held_out: Examples,
    metadata: dict[str, str],
    params: CompressionParams,
    folder: Path,
) -> Compressed:
    """Make both files, measure them on the held-out seasons, and choose what ships.

    Args:
        calibration: scaled training rows (N, F).
        held_out: examples of seasons that were never trained on.
    """
    finished = folder / "measured.json"
    paths = {name: folder / f"{name}.onnx" for name in ("float32", "int8")}
    if finished.is_file():
        measured = Compressed(**json.loads(finished.read_text()))
        return choose(measured, params, paths)
    features = calibration.shape[1]
    export_float32(network, features, metadata, paths["float32"])
    quantize_int8(network, calibration, features, metadata, paths["int8"])
    rows = held_out.model_inputs()[: params.candidates_per_decision]
    latency_us = latencies_us(paths, rows)
    rmse = {name: score(predictor(path), held_out).yield_rmse_t_ha for name, path in paths.items()}
    measured = Compressed(
        shipped="int8",
        reason="",
        path="",
        bytes=0,
        int8_bytes=paths["int8"].stat().st_size,
        float32_bytes=paths["float32"].stat().st_size,
        error_increase_pct=100.0 * (rmse["int8"] / rmse["float32"] - 1.0),
        int8_yield_rmse_t_ha=rmse["int8"],
        float32_yield_rmse_t_ha=rmse["float32"],
        int8_latency_us=latency_us["int8"],
        float32_latency_us=latency_us["float32"],
        batch=len(rows),
    )
    write_durably(finished, json.dumps(measured.as_dict(), indent=1).encode())
    return choose(measured, params, paths)


def choose(measured: Compressed, params: CompressionParams, paths: dict[str, Path]) -> Compressed:
    """INT8 if it is as good and as fast as float32 within the tolerances, otherwise float32; the reason in words."""
    ratio = measured.int8_latency_us / measured.float32_latency_us
    figures = (
        f"held-out error {measured.error_increase_pct:+.2f} %, "
        f"{100 * measured.int8_bytes / measured.float32_bytes:.0f} % of the bytes, {ratio:.2f} of the time"
    )
    failures = []
    if not measured.error_increase_pct <= params.max_error_increase_pct:
        failures.append(f"the error may rise by {params.max_error_increase_pct:g} % at most")
    if not ratio <= params.max_latency_ratio:
        failures.append(f"the time may be {params.max_latency_ratio:g} of float32's at most")
    shipped: Literal["int8", "float32"] = "float32" if failures else "int8"
    reason = f"{shipped} ships: INT8 has {figures}" + (f"; {' and '.join(failures)}" if failures else "")
    path = paths[shipped]
    fields = {**measured.as_dict(), "shipped": shipped, "reason": reason, "path": str(path)}
    return Compressed(**{**fields, "bytes": path.stat().st_size})


class _silence:  # noqa: N801
    """The exporters' progress chatter, off for a while."""

    def __enter__(self) -> None:
        self.level = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self.level)
