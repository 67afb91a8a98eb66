"""Eight bits by neural-compressor: a body calibrated statically, its weights stored as 8-bit integers.

What stands around the body is arithmetic on physical units, which 8 bits would spoil and could not speed up; it stays
float32. Which recipe is best is searched by neural-compressor's own `autotune`, but judged in the fused ONNX Runtime
session: torch's emulation of the same graph does not saturate where AVX2 does.
"""

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import onnx
import onnxscript.optimizer
import torch
from onnx import helper, numpy_helper
from onnxscript import ir

from fieldloop.compression.calibration import INSTEAD, Array, OperatorError
from fieldloop.compression.onnx_files import BATCH, Shell, export_body, silenced, whole_model

Weights = Literal["reduced", "unsigned", "signed"]
Judge = Callable[[onnx.ModelProto], float]

_NO_LIMIT = 1 << 40
_LEFT_IN_FLOAT_ELEMENTS = 256  # a matrix below this is arithmetic, not a layer


@dataclass(frozen=True)
class Recipe:
    """How a body becomes 8-bit.

    `weights` says how they are stored: `reduced` is signed with 7 bits, whose products with 8-bit activations cannot
    overflow 16 bits on AVX2; `unsigned` has 8 bits with the zero point moved by 128, and another kernel; `signed` is
    the plain form, right where the processor has 8-bit dot products (VNNI, aarch64).
    """

    granularity: Literal["per_channel", "per_tensor"] = "per_channel"
    is_symmetric: bool = False  # of activations; weights are symmetric
    observer: Literal["minmax", "kl"] = "minmax"
    float_layers: tuple[str, ...] = ()  # names within the body
    weights: Weights = "reduced"

    def words(self) -> str:
        """For tables and cards."""
        shape = "symmetric" if self.is_symmetric else "asymmetric"
        kept = f", {', '.join(self.float_layers)} in float" if self.float_layers else ""
        return f"{self.granularity.replace('_', ' ')}, {shape}, {self.observer}, {self.weights} weights{kept}"


DEFAULT = Recipe()


@dataclass(frozen=True)
class Trial:
    """A recipe that was tried, and how much worse the fused session answered, in % of the held-out error."""

    recipe: Recipe
    error_increase_pct: float


@dataclass(frozen=True)
class Tuned:
    """What the search found: the best recipe's body, and every trial. Its other forms need no calibration of their own.

    `exported` is the body as it came from torch, before its weights were stored in the recipe's form.
    """

    body: onnx.ModelProto
    exported: onnx.ModelProto
    trials: list[Trial]

    @property
    def best(self) -> Trial:
        """The trial with the least error."""
        return min(self.trials, key=lambda one: one.error_increase_pct)

    def in_form(self, weights: Weights) -> onnx.ModelProto:
        """The same body with its weights stored in another form."""
        recipe = replace(self.best.recipe, weights=weights)
        return self.body if recipe == self.best.recipe else in_form(self.exported, recipe)


def recipes(body: torch.nn.Module, weights: Weights = "reduced") -> tuple[Recipe, ...]:
    """What `autotune` tries, likeliest first; the last layers in float come at the end, for they cost most time."""
    layers = [name for name, module in body.named_modules() if isinstance(module, torch.nn.Linear)]
    plain = replace(DEFAULT, weights=weights)
    return (
        plain,
        replace(plain, observer="kl"),
        replace(plain, is_symmetric=True),
        replace(plain, granularity="per_tensor"),
        replace(plain, granularity="per_tensor", is_symmetric=True, observer="kl"),
        replace(plain, float_layers=tuple(layers[-1:])),
        replace(plain, float_layers=(*layers[:1], *layers[-1:])),
    )


def quantized_body(network: torch.nn.Module, calibration: Array, shell: Shell, recipe: Recipe) -> onnx.ModelProto:
    """The body as an 8-bit ONNX model by that recipe.

    Raises:
        OperatorError: it has an operator that cannot be made 8-bit.
    """
    whole: Any = copy.deepcopy(network).eval()
    convert, prepare = _neural_compressor()[1:3]
    try:
        with torch.no_grad(), silenced():
            prepared = prepare(_exported(whole.body, shell.example), _config(recipe))
            _observe(prepared, whole, calibration)
            return in_form(export_body(convert(prepared), shell.example), recipe)
    except (RuntimeError, ValueError, TypeError, NotImplementedError, KeyError, AssertionError) as error:
        raise OperatorError(_told(whole.body, error)) from error


def autotuned(
    network: torch.nn.Module,
    calibration: Array,
    shell: Shell,
    tried: Sequence[Recipe],
    judge: Judge,
    tolerance_pct: float,
) -> Tuned:
    """neural-compressor's accuracy-driven search: the first recipe within the tolerance, else the best tried.

    Args:
        judge: how much worse a whole model answers than float32 does, in %, measured in the fused session.

    Raises:
        OperatorError: the body has an operator that cannot be made 8-bit.
    """
    whole: Any = copy.deepcopy(network).eval()
    autotune, _, _, tuning_config = _neural_compressor()
    made: list[tuple[onnx.ModelProto, onnx.ModelProto]] = []
    trials: list[Trial] = []

    def score(model: Any) -> float:
        """INC wants a score where more is better and a fall is relative: 100 is as good as float32."""
        if not _is_converted(model):
            return 100.0
        recipe = tried[len(trials)]
        exported = export_body(model, shell.example)
        body = in_form(exported, recipe)
        made.append((body, exported))
        trials.append(Trial(recipe, judge(whole_model(shell, body))))
        return 100.0 - trials[-1].error_increase_pct

    config = tuning_config(
        config_set=[_config(recipe) for recipe in tried],
        tolerable_loss=tolerance_pct / 100.0,
        max_trials=len(tried),
    )
    try:
        with torch.no_grad(), silenced():
            exported = _exported(whole.body, shell.example)
            autotune(exported, config, score, run_fn=lambda model: _observe(model, whole, calibration))
    except (RuntimeError, ValueError, TypeError, NotImplementedError, KeyError, AssertionError) as error:
        if not trials:
            raise OperatorError(_told(whole.body, error)) from error
    best = min(range(len(trials)), key=lambda i: trials[i].error_increase_pct)
    return Tuned(*made[best], trials)


def in_form(exported: onnx.ModelProto, recipe: Recipe) -> onnx.ModelProto:
    """A converted body, as it was exported, with its weights stored as 8-bit integers in the recipe's form."""
    given, exported = exported, onnx.ModelProto()
    exported.CopyFrom(given)
    if recipe.weights == "reduced":
        exported = _with_doubled_weight_scales(exported)
    folded = _fold_weights(exported)
    if recipe.weights == "unsigned":
        folded = as_unsigned(folded)
    folded = _with_integer_bias(folded)
    _check_all_quantized(folded, recipe)
    return folded


def _neural_compressor() -> tuple[Any, Any, Any, Any]:
    os.environ.setdefault("LOGLEVEL", "ERROR")
    from neural_compressor.torch.quantization import TuningConfig, autotune, convert, prepare

    return autotune, convert, prepare, TuningConfig


def _exported(body: torch.nn.Module, example: torch.Tensor) -> Any:
    os.environ.setdefault("LOGLEVEL", "ERROR")
    from neural_compressor.torch.export import export

    return export(body, (example,), dynamic_shapes=(BATCH,))


def _config(recipe: Recipe) -> Any:
    from neural_compressor.torch.quantization import INT8StaticQuantConfig

    config = INT8StaticQuantConfig(
        w_dtype="int8",
        w_sym=True,
        w_granularity=recipe.granularity,
        w_algo="minmax",
        act_dtype="int8" if recipe.is_symmetric else "uint8",
        act_sym=recipe.is_symmetric,
        act_granularity="per_tensor",
        act_algo=recipe.observer,
    )
    for layer in recipe.float_layers:
        config.set_local(layer, INT8StaticQuantConfig(w_dtype="fp32", act_dtype="fp32"))
    return config


def _observe(prepared: Any, whole: Any, calibration: Array) -> None:
    for rows in torch.from_numpy(calibration).split(256):
        prepared(whole.body_inputs(rows))


def _is_converted(model: Any) -> bool:
    return any("quantize" in str(node.target) for node in model.graph.nodes)


def _with_doubled_weight_scales(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights on half as many steps: -64 to 64 instead of -127 to 127."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    doubled: dict[str, str] = {}
    weights = {n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] in stored}
    held = set(weights)
    for node in model.graph.node:  # a weight passes QuantizeLinear, maybe Clip, and DequantizeLinear
        if node.op_type in ("QuantizeLinear", "Clip", "DequantizeLinear") and node.input[0] in held:
            held.update(node.output)
            if node.op_type != "Clip":
                name = node.input[1]
                if name not in doubled:
                    doubled[name] = f"{name}_reduced"
                    scale = numpy_helper.to_array(stored[name]) * np.float32(2.0)
                    model.graph.initializer.append(numpy_helper.from_array(scale, doubled[name]))
                node.input[1] = doubled[name]
            if node.op_type == "DequantizeLinear":
                held.difference_update(node.output)
    return model


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


def _with_integer_bias(model: onnx.ModelProto) -> onnx.ModelProto:
    """Biases in the units in which 8-bit products are summed.

    A layer whose answer is not rounded becomes one 8-bit kernel only so: with a float bias ONNX Runtime would turn its
    weights back into float32 in every call.
    """
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    for index, layer in enumerate(list(graph.node)):
        if layer.op_type != "Gemm" or len(layer.input) < 3 or layer.input[2] not in stored:
            continue
        sources = [made_by.get(name) for name in layer.input[:2]]
        if any(node is None or node.op_type != "DequantizeLinear" for node in sources):
            continue
        scales = [numpy_helper.to_array(stored[node.input[1]]) for node in sources if node is not None]
        scale = np.asarray(scales[0].astype(np.float64) * scales[1], np.float32)
        steps = np.rint(numpy_helper.to_array(stored[layer.input[2]]) / scale.astype(np.float64))
        if np.abs(steps).max() > np.iinfo(np.int32).max:
            continue  # beside such a bias the products count for nothing
        names = [f"bias_{index}_{part}" for part in ("quantized", "scale", "float")]
        graph.initializer.extend(
            [numpy_helper.from_array(steps.astype(np.int32), names[0]), numpy_helper.from_array(scale, names[1])]
        )
        dequantize = helper.make_node("DequantizeLinear", names[:2], names[2:], axis=0)
        graph.node.insert(list(graph.node).index(layer), dequantize)
        layer.input[2] = names[2]
    return model


def as_unsigned(model: onnx.ModelProto) -> onnx.ModelProto:
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
    return model


def _check_all_quantized(model: onnx.ModelProto, recipe: Recipe) -> None:
    """Whatever has weights is 8-bit, unless the recipe leaves it in float on purpose.

    Raises:
        OperatorError: with the operator's name.
    """
    used = {name for node in model.graph.node for name in node.input}
    stored = {t.name: t for t in model.graph.initializer if t.name in used}
    left = []
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for name in node.input:
            tensor = stored.get(name)
            if tensor is not None and tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1:
                elements = int(np.prod(tensor.dims))
                if elements > _LEFT_IN_FLOAT_ELEMENTS:
                    left.append((node.op_type, node.name or name, elements))
    if len(left) > len(recipe.float_layers):
        told = ", ".join(f"{kind} ({name}, {elements} weights)" for kind, name, elements in left)
        raise OperatorError(
            f"the operator {told} cannot be made 8-bit and would stay float32 inside an INT8 file; use Linear or "
            f"convolution layers in the network's body, or name the layer in `float_layers`; {INSTEAD}"
        )


def _told(body: torch.nn.Module, error: Exception) -> str:
    known = (torch.nn.Linear, torch.nn.ReLU, torch.nn.Dropout, torch.nn.Sequential, torch.nn.Conv1d, torch.nn.Conv2d)
    strange = [f"{type(m).__name__} ({name})" for name, m in body.named_modules() if name and not isinstance(m, known)]
    first = " ".join((str(error).splitlines() or [type(error).__name__])[0].split())[:200]
    what = f"the operator {', '.join(strange)}" if strange else "the network's body"
    return f"{what} cannot be made 8-bit: {first}; use Linear or convolution layers in the body; {INSTEAD}"
