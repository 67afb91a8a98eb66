"""ONNX files of a network: the float shell around its body is exported once, and any body is put into it.

A network keeps its weights in `body` and does arithmetic on physical units around it. Compression changes the body
alone, so every variant of a network shares the shell: the same bytes, the same arithmetic. A file says nothing of the
machine that made it. What a body's numbers are is quantise.py's and its neighbours'.
"""

import copy
import io
import logging
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper
from torch.onnx._internal.exporter._registration import ONNXRegistry

from fieldedge.system.durable import write_durably

BODY_INPUT, BODY_OUTPUT = "body_in", "body_out"
BATCH = {0: torch.export.Dim("batch", min=1, max=4096)}


@dataclass(frozen=True, eq=False)
class Shell:
    """A network's arithmetic without its body: (features, body_out) to (body_in, outputs)."""

    model: onnx.ModelProto
    example: torch.Tensor  # what the body sees, (8, W)


def export_float32(network: torch.nn.Module, features: int, metadata: dict[str, str], path: Path) -> Path:
    """Write the network as ONNX: input `features` (batch, F), output `outputs` (batch, O)."""
    return write_whole(*export_parts(network, features), metadata, path)


def export_parts(network: torch.nn.Module, features: int) -> tuple[Shell, onnx.ModelProto]:
    """`export_shell` and `export_body` of a network, to be read alone.

    Those of the last network are kept: what was judged is made small next, and comes back from the registry as it was.
    """
    return _parts_of(_Whole(_content_of(network), network), features)


def export_shell(network: torch.nn.Module, features: int, is_folded: bool = True) -> Shell:
    """Everything of the network but its body; not folded, it is written operation by operation as it trains."""
    whole: Any = copy.deepcopy(network).eval()
    if is_folded and hasattr(whole, "deployed"):  # the same answers in fewer operations
        whole = whole.deployed().eval()
    given: list[torch.Tensor] = []
    rows = torch.zeros(8, features)
    with torch.no_grad():
        example = whole.body_inputs(rows)
        raw = whole.body(example)
    whole.body = _Given(given)
    with exporting():
        program = torch.onnx.export(
            _Around(whole, given).eval(),
            (rows, raw),
            dynamo=True,
            dynamic_shapes=(BATCH, {0: torch.export.Dim.DYNAMIC}),  # which is the same batch
            input_names=["features", BODY_OUTPUT],
            output_names=[BODY_INPUT, "outputs"],
            verbose=False,
        )
    return Shell(_with_plain_softplus(program.model_proto), example)


def export_body(body: Callable[..., Any], example: torch.Tensor | None = None) -> onnx.ModelProto:
    """A body, float or converted by neural-compressor: `body_in` (batch, W) to `body_out`."""
    if example is None:
        example = torch.zeros(8, next(p for p in body.parameters() if p.ndim == 2).shape[1])  # type: ignore[attr-defined]  # a torch module
    if isinstance(body, torch.fx.GraphModule):
        body.training = False  # its operations are settled; only the flag is left from before
    elif isinstance(body, torch.nn.Module):
        body = copy.deepcopy(body).eval()
    with exporting():
        program = torch.onnx.export(
            body,
            (example,),
            dynamo=True,
            dynamic_shapes=(BATCH,),
            input_names=[BODY_INPUT],
            output_names=[BODY_OUTPUT],
            verbose=False,
        )
    made: onnx.ModelProto = program.model_proto
    return made


def whole_model(shell: Shell, body: onnx.ModelProto) -> onnx.ModelProto:
    """The shell with that body inside, as one model."""
    model, inner = onnx.ModelProto(), onnx.ModelProto()
    model.CopyFrom(shell.model)
    inner.CopyFrom(body)
    _rename(inner.graph, "body/", keep={BODY_INPUT, BODY_OUTPUT})
    graph = model.graph
    graph.initializer.extend(inner.graph.initializer)
    nodes = _in_order([*graph.node, *inner.graph.node], {i.name for i in graph.initializer} | {"features"})
    del graph.node[:]
    graph.node.extend(nodes)
    _keep(graph.input, {"features"})
    _keep(graph.output, {"outputs"})
    versions = {entry.domain: entry.version for entry in model.opset_import}
    for entry in inner.opset_import:
        if entry.domain not in versions:
            model.opset_import.append(entry)
    model.ir_version = max(model.ir_version, inner.ir_version)
    return model


def write_whole(shell: Shell, body: onnx.ModelProto, metadata: dict[str, str], path: Path) -> Path:
    """Write the shell with that body inside as one file."""
    save_clean(whole_model(shell, body), metadata, path)
    return path


def save_clean(model: onnx.ModelProto, metadata: dict[str, str], path: Path) -> None:
    """Check, strip what only a debugger wants (names, stack traces with build paths), add our metadata, write."""
    graph = model.graph
    _keep(graph.initializer, {name for node in graph.node for name in node.input})
    _shorten(graph)
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for item in (*graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    del graph.value_info[:], graph.metadata_props[:], model.metadata_props[:], model.functions[:]
    graph.doc_string, graph.name = "", "fieldloop"
    model.producer_name, model.producer_version = "fieldloop", ""
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, model.SerializeToString())


@contextmanager
def exporting() -> Iterator[None]:
    """The exporter without chatter and gradients, and with one table of ONNX's operators for all exports.

    torch makes that table anew for each, from a thousand sources; that takes longer than the export of a small network.
    """
    made_anew = vars(ONNXRegistry)["from_torchlib"]
    ONNXRegistry.from_torchlib = staticmethod(_operators)  # it is asked alike
    try:
        with torch.no_grad(), silenced():
            yield
    finally:
        ONNXRegistry.from_torchlib = made_anew


_made_by_torch = ONNXRegistry.from_torchlib


def _operators(opset_version: int) -> ONNXRegistry:
    # A library may have brought operators since, as the quantiser does, and torch leaves out what it does not know.
    return _known_operators(opset_version, len(torch._C._dispatch_get_all_op_names()))


@cache
def _known_operators(opset_version: int, _known: int) -> ONNXRegistry:
    return _made_by_torch(opset_version)


@contextmanager
def silenced() -> Iterator[None]:
    """The exporters' progress chatter, off for a while."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)


class _Content(pickle.Pickler):
    """Writes all that a network is, tensors by their numbers."""

    def persistent_id(self, thing: Any) -> Any:
        if isinstance(thing, torch.Tensor):
            return str(thing.dtype), tuple(thing.shape), thing.detach().cpu().numpy().tobytes()
        return None


def _content_of(network: torch.nn.Module) -> bytes | object:
    """The same for networks that answer alike in all; for one that cannot be written, its own."""
    sink = io.BytesIO()
    try:
        _Content(sink).dump(network)
    except (pickle.PicklingError, AttributeError, TypeError):  # a function of a guest's that has no name
        return object()
    return sink.getvalue()


@dataclass(frozen=True)
class _Whole:
    content: bytes | object
    network: torch.nn.Module = field(compare=False)


@lru_cache(maxsize=1)
def _parts_of(whole: _Whole, features: int) -> tuple[Shell, onnx.ModelProto]:
    return export_shell(whole.network, features), export_body(_body_of(whole.network))


class _Given(torch.nn.Module):
    """Stands where the body was and answers what was given."""

    def __init__(self, given: list[torch.Tensor]) -> None:
        super().__init__()
        self.given = given

    def forward(self, _inputs: torch.Tensor) -> torch.Tensor:
        return self.given[-1]


class _Around(torch.nn.Module):
    def __init__(self, whole: Any, given: list[torch.Tensor]) -> None:
        super().__init__()
        self.whole, self.given = whole, given

    def forward(self, features: torch.Tensor, raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.given.append(raw)
        answers = self.whole.body_inputs(features), self.whole(features)
        self.given.clear()  # the exporter wants the module as it was
        return answers


def _body_of(network: Any) -> torch.nn.Module:
    body: torch.nn.Module = network.body
    return body


def _with_plain_softplus(model: onnx.ModelProto) -> onnx.ModelProto:
    """Softplus alone: the exporter adds torch's threshold, which ONNX Runtime's stable form does not need."""
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    for where in [node for node in graph.node if node.op_type == "Where"]:
        condition, soft = (made_by.get(where.input[i]) for i in (0, 2))
        if condition is None or soft is None or (condition.op_type, soft.op_type) != ("Greater", "Softplus"):
            continue
        for node in graph.node:
            node.input[:] = [soft.output[0] if name == where.output[0] else name for name in node.input]
        graph.node.remove(where)
        graph.node.remove(condition)
    return model


def _rename(graph: onnx.GraphProto, prefix: str, keep: set[str]) -> None:
    def named(name: str) -> str:
        return name if not name or name in keep else prefix + name

    for node in graph.node:
        node.input[:] = [named(name) for name in node.input]
        node.output[:] = [named(name) for name in node.output]
        node.name = prefix + node.name if node.name else ""
    for tensor in graph.initializer:
        tensor.name = named(tensor.name)


def _in_order(nodes: list[onnx.NodeProto], known: set[str]) -> list[onnx.NodeProto]:
    """The nodes, each after those that it needs."""
    known, waiting = known | {""}, list(nodes)
    done: list[onnx.NodeProto] = []
    while waiting:
        later = []
        for node in waiting:
            if set(node.input) <= known:
                known |= set(node.output)
                done.append(node)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise ValueError(f"the graph has a cycle at {later[0].op_type} {later[0].name}")
        waiting = later
    return done


def _shorten(graph: onnx.GraphProto) -> None:
    """Short names for every inner value: in a small file names weigh as much as a layer."""
    fixed = {"", "features", "outputs"}
    short: dict[str, str] = {}

    def named(name: str) -> str:
        return name if name in fixed else short.setdefault(name, f"v{len(short)}")

    for node in graph.node:
        node.name = ""
        node.input[:] = [named(name) for name in node.input]
        node.output[:] = [named(name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = named(tensor.name)


def _keep(items: Any, names: set[str]) -> None:
    kept = [item for item in items if item.name in names]
    del items[:]
    items.extend(kept)
