"""Bundles that were signed with a stolen key: each is whole by its hashes, and asks of the device what none may do."""

import hashlib
import io
import itertools
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fieldedge.inference.bundles import GOLDEN, MANIFEST, MODEL, REFERENCE
from tests.edge.sample import AGRICULTURE, bundle_files, onnx_model, with_manifest, zipped

CONTRACT = AGRICULTURE.contract
Files = dict[str, bytes]
_GOOD = onnx_model(CONTRACT)
_SIDE = 1000


def with_model(model: onnx.ModelProto | bytes) -> Files:
    """A bundle around a model that nobody checked, with the golden vectors of a good one."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return with_manifest({**bundle_files(_GOOD, "2"), MODEL: data}, model_sha256=hashlib.sha256(data).hexdigest())


def good() -> onnx.ModelProto:
    return onnx.load_from_string(_GOOD)


def external(tensor: TensorProto, location: str = "keys/device.pem") -> TensorProto:
    """The same constant, but its values stand in a file of the device."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def external_initializer() -> Files:
    model = good()
    external(model.graph.initializer[1])
    return with_model(model)


def external_without_saying_so() -> Files:
    """The place is named, the mark that says so is left out."""
    model = good()
    model.graph.initializer[1].external_data.add(key="location", value="keys/device.pem")
    return with_model(model)


def external_attribute() -> Files:
    model = good()
    constant = external(numpy_helper.from_array(np.zeros(5, np.float32), "x"))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["secret"], value=constant))
    return with_model(model)


def external_sparse() -> Files:
    model = good()
    values = external(numpy_helper.from_array(np.ones(2, np.float32), "sparse"))
    indices = numpy_helper.from_array(np.array([0, 1], np.int64), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [5]))
    return with_model(model)


def external_in_a_branch() -> Files:
    model = good()
    branch = helper.make_graph(
        [helper.make_node("Identity", ["hidden"], ["out"])],
        "branch",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [5])],
        [external(numpy_helper.from_array(np.zeros(5, np.float32), "hidden"))],
    )
    condition = numpy_helper.from_array(np.array(True), "yes")
    model.graph.initializer.append(condition)
    model.graph.node.insert(0, helper.make_node("If", ["yes"], ["b"], then_branch=branch, else_branch=branch))
    return with_model(model)


def external_in_a_function() -> Files:
    model = good()
    constant = external(numpy_helper.from_array(np.zeros(5, np.float32), "x"))
    nodes = [helper.make_node("Constant", [], ["y"], value=constant)]
    model.functions.append(helper.make_function("own", "f", [], ["y"], nodes, [helper.make_opsetid("", 17)]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    return with_model(model)


def endless_loop() -> Files:
    model = good()
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["going_on"]),
            helper.make_node("Identity", ["value"], ["value_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("going_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value_on", TensorProto.FLOAT, None),
        ],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node[0].output[0] = "before"
    model.graph.node.append(helper.make_node("Loop", ["", "yes", "before"], ["outputs"], body=body))
    return with_model(model)


def gigabyte_from_a_shape() -> Files:
    model = good()
    shape = numpy_helper.from_array(np.array([2**28], np.int64), "shape")
    model.graph.initializer.append(shape)
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["shape"], ["large"]))
    return with_model(model)


def gigabyte_declared() -> Files:
    model = good()
    model.graph.initializer.append(TensorProto(name="large", data_type=TensorProto.FLOAT, dims=[2**28]))
    return with_model(model)


def gigabyte_of_products() -> Files:
    """Only operations that every model may use: rows times rows times rows."""
    model = good()
    model.graph.node[0].output[0] = "plain"
    nodes, last = [], "features"
    for turn in range(4000):
        axes = numpy_helper.from_array(np.array([0], np.int64), f"axes{turn}")
        model.graph.initializer.append(axes)
        nodes.append(helper.make_node("Unsqueeze", [last, f"axes{turn}"], [f"a{turn}"]))
        nodes.append(helper.make_node("Transpose", [f"a{turn}"], [f"b{turn}"]))
        nodes.append(helper.make_node("Mul", [f"a{turn}", f"b{turn}"], [f"c{turn}"]))
        last = f"c{turn}"
    nodes.append(helper.make_node("ReduceMax", [last], ["most"], keepdims=0))
    nodes.append(helper.make_node("Add", ["plain", "most"], ["outputs"]))
    model.graph.node.extend(nodes)
    return with_model(model)


def minutes_of_work() -> Files:
    """A small file that takes minutes of any core and never more than a trial may have of memory.

    1,000 products of 1,000 by 1,000, several times over; what the runtime holds grows with the steps that it has taken.
    """
    model = good()
    model.graph.node[0].output[0] = "plain"
    for name, shape in (("column", (_SIDE, 1)), ("row", (1, _SIDE))):
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    sum_column = helper.make_node("Add", ["column", "features_sum"], ["filled"])
    nodes, last = [sum_column, helper.make_node("MatMul", ["filled", "row"], ["square"])], "square"
    for turn in range(1000):
        nodes.append(helper.make_node("MatMul", [last, "square"], [f"m{turn}"]))
        nodes.append(helper.make_node("Add", [f"m{turn}", "features_sum"], [f"s{turn}"]))
        last = f"s{turn}"
    first = helper.make_node("ReduceMax", ["features"], ["features_sum"], keepdims=0)
    ends = [
        helper.make_node("ReduceMax", [last], ["most"], keepdims=0),
        helper.make_node("Add", ["plain", "most"], ["outputs"]),
    ]
    model.graph.node.extend([first, *nodes, *ends])
    return with_model(model)


def other_domain() -> Files:
    model = good()
    model.graph.node[0].op_type, model.graph.node[0].domain = "EPContext", "com.microsoft"
    return with_model(model)


def custom_operator() -> Files:
    """An operator of a library that the file hopes to find."""
    model = good()
    model.graph.node[0].op_type, model.graph.node[0].domain = "Run", "own.operators"
    model.opset_import.append(helper.make_opsetid("own.operators", 1))
    return with_model(model)


def runtime_format() -> Files:
    """ONNX Runtime's own format is told by its bytes 4 to 8."""
    return with_model(_GOOD[:4] + b"ORTM" + _GOOD[8:])


def npy(shape: tuple[int, ...], data: bytes, kind: str = "<f4") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * ((-len(header) - 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def npz(method: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return whole.getvalue()


def with_golden(data: bytes) -> Files:
    return {**bundle_files(_GOOD, "2"), GOLDEN: data}


def large_golden() -> Files:
    """2.6 MB that unpack to gigabytes."""
    rows = 2_600_000_000 // (4 * len(CONTRACT.features))
    zeros = npy((rows, len(CONTRACT.features)), bytes(100_000_000))
    return with_golden(npz(zipfile.ZIP_DEFLATED, features=zeros, outputs=npy((1, 5), bytes(20))))


def golden_that_claims() -> Files:
    claim = npy((10**9, len(CONTRACT.features)), bytes(400))
    return with_golden(npz(features=claim, outputs=npy((10**9, len(CONTRACT.outputs)), bytes(20))))


def golden_of_objects() -> Files:
    pickled = npy((1,), b"cos\nsystem\n(S'true'\ntR.", "|O")
    return with_golden(npz(features=pickled, outputs=pickled))


def corrupt(method: int) -> Callable[[], bytes]:
    """A bundle in another compression, whose stream is spoilt."""

    def make() -> bytes:
        whole = io.BytesIO()
        with zipfile.ZipFile(whole, "w", method) as archive:
            for name, data in bundle_files(_GOOD, "2").items():
                archive.writestr(name, data)
        data = bytearray(whole.getvalue())
        at = data.index(MODEL.encode()) + len(MODEL) + 40
        data[at : at + 40] = b"\xff" * 40
        return bytes(data)

    return make


def deep(name: str) -> Callable[[], Files]:
    return lambda: {**bundle_files(_GOOD, "2"), name: b'{"a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"}


def manifest_of(**values: Any) -> Callable[[], Files]:
    def make() -> Files:
        files = bundle_files(_GOOD, "2")
        return {**files, MANIFEST: json.dumps({**json.loads(files[MANIFEST]), **values}).encode()}

    return make


def with_extra(nodes: list[onnx.NodeProto], constants: dict[str, Any], golden_rows: int = 16) -> Files:
    """A good model to whose answer nothing is added, by way of something large; few golden vectors to show it."""
    model = good()
    model.graph.node[0].output[0] = "plain"
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    model.graph.node.extend([*nodes, helper.make_node("Add", ["plain", "extra"], ["outputs"])])
    files = with_model(model)
    with np.load(io.BytesIO(files[GOLDEN])) as whole:
        few = {name: whole[name][:golden_rows] for name in whole}
    golden = io.BytesIO()
    np.savez(golden, **few)
    return {**files, GOLDEN: golden.getvalue()}


def doubled(last: str, times: int, axis: int) -> tuple[list[onnx.NodeProto], str]:
    names = [last, *(f"double{turn}" for turn in range(times))]
    pairs = itertools.pairwise(names)
    return [helper.make_node("Concat", [one, one], [two], axis=axis) for one, two in pairs], names[-1]


def large_with_every_row() -> Files:
    """Small with the one golden vector, and sixteen times as large with a decision's candidates."""
    nodes, last = doubled("features", 14, axis=1)
    nodes.append(helper.make_node("ReduceMax", [last], ["most"], axes=[1], keepdims=1))
    nodes.append(helper.make_node("Mul", ["most", "nothing"], ["extra"]))
    return with_extra(nodes, {"nothing": np.float32(0.0)}, golden_rows=1)


def shaped_by_values(operation: str) -> Callable[[], Files]:
    """Large once a feature passes what no golden vector reaches: a slice, or a shape, that is computed."""

    def make() -> Files:
        nodes = [
            helper.make_node("ReduceMax", ["features"], ["most"], keepdims=0),
            helper.make_node("Greater", ["most", "threshold"], ["is_far"]),
            helper.make_node("Cast", ["is_far"], ["far"], to=TensorProto.INT64),
            helper.make_node("Mul", ["far", "size"], ["end"]),
            helper.make_node("Reshape", ["end", "one"], ["ends"]),
        ]
        inputs = {
            "Slice": ["blob", "zero", "ends"],
            "Reshape": ["blob", "ends"],
            "TopK": ["blob", "ends"],
            "Split": ["blob", "ends"],
        }[operation]
        outputs = ["part", "places"] if operation == "TopK" else ["part"]
        nodes.append(helper.make_node(operation, inputs, outputs))
        more, last = doubled("part", 11, axis=0)
        nodes += [*more, helper.make_node("ReduceSum", [last], ["sum"], keepdims=0)]
        nodes.append(helper.make_node("Mul", ["sum", "nothing"], ["extra"]))
        return with_extra(
            nodes,
            {
                "threshold": np.float32(0.9999),
                "size": np.int64(200_000),
                "blob": np.zeros(200_000, np.float32),
                "zero": np.array([0], np.int64),
                "one": np.array([1], np.int64),
                "nothing": np.float32(0.0),
            },
        )

    return make


def list_of_nothing() -> bytes:
    """A zip of 20,000 empty files; of one that is as large as a release may be, the list alone takes 300 MB."""
    return zipped({f"{number:x}": b"" for number in range(20_000)})


def yields_of(bias: float) -> Callable[[], Files]:
    """A model that repeats its golden vectors well, in another unit."""
    return lambda: bundle_files(onnx_model(CONTRACT, bias=bias), "2")


def reference_of(value: Any) -> Callable[[], Files]:
    def make() -> Files:
        files = bundle_files(_GOOD, "2")
        reference = json.loads(files[REFERENCE])
        reference[CONTRACT.feature_names[0]]["mean"] = value
        return {**files, REFERENCE: json.dumps(reference).encode()}

    return make


HOSTILE: dict[str, tuple[Callable[[], Files | bytes], str]] = {
    "a constant in keys/device.pem": (external_initializer, "keeps a constant in another file"),
    "a constant in a file, unmarked": (external_without_saying_so, "keeps a constant in another file"),
    "an attribute in a file": (external_attribute, "keeps a constant in another file"),
    "a sparse constant in a file": (external_sparse, "sparse"),
    "a constant in a file, in a branch": (external_in_a_branch, "uses 'If'"),
    "a constant in a file, in a function": (external_in_a_function, "functions of its own"),
    "an endless Loop": (endless_loop, "uses 'Loop'"),
    "a gigabyte out of a shape": (gigabyte_from_a_shape, "uses 'ConstantOfShape'"),
    "a gigabyte declared": (gigabyte_declared, "constants take more than"),
    "a gigabyte of products": (gigabyte_of_products, "the model"),
    "an operation that reads a file": (other_domain, "uses 'com.microsoft.EPContext'"),
    "a custom operator": (custom_operator, "uses 'own.operators.Run'"),
    "the runtime's own format": (runtime_format, "does not load"),
    "golden vectors of gigabytes": (large_golden, "unpacks to"),
    "golden vectors that claim to be gigabytes": (golden_that_claims, "golden.npz is damaged"),
    "golden vectors of objects": (golden_of_objects, "golden.npz is damaged"),
    "a corrupt LZMA stream": (corrupt(zipfile.ZIP_LZMA), "neither stored nor deflated"),
    "a corrupt BZIP2 stream": (corrupt(zipfile.ZIP_BZIP2), "neither stored nor deflated"),
    "a corrupt deflated stream": (corrupt(zipfile.ZIP_DEFLATED), "not a readable zip"),
    "a list of empty files": (list_of_nothing, "lists 20000 files"),
    "a deep manifest": (deep(MANIFEST), "manifest.json is not readable JSON"),
    "a deep reference": (deep(REFERENCE), "reference.json is not readable JSON"),
    "a tolerance beyond all floats": (manifest_of(golden_tolerance=10**400), "golden_tolerance"),
    "a tolerance of everything": (manifest_of(golden_tolerance=1e30), "golden_tolerance is 1e\\+30; expected more"),
    "a version that cannot be said": (manifest_of(version="2\ud800"), "can be printed"),
    "a version of a megabyte": (manifest_of(version="2" * 90_000), "can be printed"),
    "large with every row": (large_with_every_row, "the model"),
    "a slice by a feature": (shaped_by_values("Slice"), "computes the shape of what 'Slice' gives"),
    "a shape by a feature": (shaped_by_values("Reshape"), "computes the shape of what 'Reshape' gives"),
    "the most by a feature": (shaped_by_values("TopK"), "computes the shape of what 'TopK' gives"),
    "a split by a feature": (shaped_by_values("Split"), "computes the shape of what 'Split' gives"),
    "yields of a thousand tons": (yields_of(1000.0), "golden vectors lie outside the contract"),
    "yields below nothing": (yields_of(-500.0), "golden vectors lie outside the contract"),
    "a mean beyond all floats": (reference_of(10**400), "expected a finite number"),
}
"""By what they are: how they are made, and what is said of them."""
