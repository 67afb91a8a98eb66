"""What an ONNX file may hold on a device, found without loading it.

A file is read as the protocol buffer that it is, field by field; nothing of it is built or run. Refused are constants
that lie in another file, control flow and everything else that is not a plain operation on arrays, functions and
training parts, and constants that declare more than a device can hold. Whether the model then loads and computes what
it should is tried in `trial.py`. The format: onnx/onnx.proto, IR version 13; protobuf.dev/programming-guides/encoding.
"""

import math
from collections.abc import Iterator

from fieldedge.system.errors import ReleaseError

MAX_MODEL_BYTES = 16_000_000
MAX_CONSTANT_BYTES = 32_000_000  # all constants together, as they lie in memory
MAX_DIMENSIONS = 16
MAX_PARTS = 500_000  # fields that are looked at

_ARITHMETIC = (
    "Abs Add And Cast Ceil Clip Cos Div Equal Erf Exp Floor Greater GreaterOrEqual Identity IsInf IsNaN Less "
    "LessOrEqual Log Max Mean Min Mod Mul Neg Not Or Pow Reciprocal Round Sign Sin Sqrt Sub Sum Where Xor"
)
_ACTIVATIONS = (
    "Celu Elu Gelu HardSigmoid HardSwish LeakyRelu LogSoftmax Mish PRelu Relu Selu Sigmoid Softmax Softplus "
    "Softsign Swish Tanh ThresholdedRelu"
)
_REDUCTIONS = (
    "ArgMax ArgMin CumSum ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin "
    "ReduceProd ReduceSum ReduceSumSquare TopK"
)
_LAYERS = (
    "AveragePool BatchNormalization Conv ConvTranspose Dropout GRU Gemm GlobalAveragePool GlobalMaxPool "
    "GroupNormalization InstanceNormalization LSTM LayerNormalization LpNormalization MatMul MaxPool "
    "RMSNormalization RNN"
)
_SHAPES = "Concat Constant Flatten Gather GatherElements Reshape Shape Slice Split Squeeze Transpose Unsqueeze"
_QUANTISED = "ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul QuantizeLinear"
_MICROSOFT = (
    "BiasGelu DequantizeLinear DynamicQuantizeMatMul FastGelu FusedGemm FusedMatMul Gelu MatMulIntegerToFloat "
    "QGemm QLinearAdd QLinearConcat QLinearLeakyRelu QLinearMul QLinearSigmoid QuantizeLinear QuickGelu"
)
ALLOWED_OPERATIONS = {
    **dict.fromkeys(
        ("", "ai.onnx"),
        frozenset(" ".join((_ARITHMETIC, _ACTIVATIONS, _REDUCTIONS, _LAYERS, _SHAPES, _QUANTISED)).split()),
    ),
    "com.microsoft": frozenset(_MICROSOFT.split()),
}
"""By domain. No control flow (If, Loop, Scan), no randomness, nothing whose result grows with the values that it is
given, reads a file or speaks of text. A new kind of model may need more: here, and in a release of this software."""

SHAPING_INPUTS: dict[str, tuple[int, ...]] = {
    "CenterCropPad": (1,),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    **dict.fromkeys([name for name in _REDUCTIONS.split() if name.startswith("Reduce")], (1,)),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}
"""By operation, the inputs whose values decide the shape of what comes out: constants, so that all shapes depend on the
number of rows alone, and a trial with the most rows sees the most memory. (Of `Gather` the indices' shape does.)"""

_BYTES_PER_VALUE = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}  # by data_type
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_model_file(model: bytes) -> None:
    """Refuse a model file that is more than plain operations on arrays of its own.

    Raises:
        ReleaseError: the file is too large, not readable, or holds what no device runs; the message says what.
    """
    if len(model) > MAX_MODEL_BYTES:
        raise ReleaseError(
            f"the model has {len(model)} bytes; at most {MAX_MODEL_BYTES} are taken: release a smaller one"
        )
    _Reading().model(memoryview(model))


def _unreadable(why: str) -> ReleaseError:
    return ReleaseError(f"the model does not load: it is not readable as ONNX ({why}); release it again")


class _Reading:
    """One walk through a file, with what it has seen so far."""

    def __init__(self) -> None:
        self._parts, self._constant_bytes = 0, 0

    def model(self, data: memoryview) -> None:
        graphs = 0
        for number, value in self._fields(data):
            if number == 7 and isinstance(value, memoryview):
                graphs += 1
                self._graph(value)
            elif number == 20:
                raise ReleaseError("the model holds training parts; release it without them")
            elif number == 25:
                raise ReleaseError("the model holds functions of its own; release it with them written out")
        if graphs != 1:
            raise _unreadable(f"it holds {graphs} graphs")

    def _graph(self, data: memoryview) -> None:
        self._shapes_by_constants(data)
        for number, value in self._fields(data):
            if number == 15:
                raise ReleaseError("the model holds sparse constants; release it with dense ones")
            if number == 1 and isinstance(value, memoryview):
                self._node(value)
            elif number == 5 and isinstance(value, memoryview):
                self._constant(value)

    def _shapes_by_constants(self, data: memoryview) -> None:
        """Refuse operations whose result has a shape that is computed from what the model is given."""
        constants: set[bytes] = set()
        given: set[bytes] = set()
        shaping: list[tuple[str, bytes]] = []
        for number, value in self._fields(data):
            if not isinstance(value, memoryview) or number not in (1, 5, 11):
                continue
            if number == 11:
                given |= set(self._texts(value, 1))
            elif number == 5:
                constants |= set(self._texts(value, 8)[-1:])
            else:
                operation = (self._texts(value, 4) or [b""])[-1].decode(errors="backslashreplace")
                if operation == "Constant":
                    constants |= set(self._texts(value, 2))
                inputs = self._texts(value, 1)
                shaping += [(operation, inputs[at]) for at in SHAPING_INPUTS.get(operation, ()) if at < len(inputs)]
        for operation, name in shaping:
            if name and (name not in constants or name in given):
                raise ReleaseError(
                    f"the model computes the shape of what {operation!r} gives; release it with constant shapes"
                )

    def _texts(self, data: memoryview, wanted: int) -> list[bytes]:
        return [
            bytes(value) for number, value in self._fields(data) if number == wanted and isinstance(value, memoryview)
        ]

    def _node(self, data: memoryview) -> None:
        operations, domains, attributes = [b""], [b""], []
        for number, value in self._fields(data):
            if isinstance(value, memoryview):
                if number == 4:
                    operations.append(bytes(value[:100]))
                elif number == 7:
                    domains.append(bytes(value[:100]))
                elif number == 5:
                    attributes.append(value)
        operation, domain = (found[-1].decode(errors="backslashreplace") for found in (operations, domains))
        if operation not in ALLOWED_OPERATIONS.get(domain, ()):
            named = f"{domain}.{operation}" if domain else operation
            raise ReleaseError(
                f"the model uses {named!r}, which this fieldedge does not run: release it without, or update"
            )
        for attribute in attributes:
            self._attribute(attribute)

    def _attribute(self, data: memoryview) -> None:
        for number, value in self._fields(data):
            if number in (6, 11):
                raise ReleaseError("the model holds a graph within a graph: release it without control flow")
            if number in (22, 23):
                raise ReleaseError("the model holds sparse constants; release it with dense ones")
            if number in (5, 10) and isinstance(value, memoryview):
                self._constant(value)

    def _constant(self, data: memoryview) -> None:
        dims: list[int] = []
        width = 8
        for number, value in self._fields(data):
            if number == 13 or (number == 14 and value != 0):
                raise ReleaseError("the model keeps a constant in another file; release it in one piece")
            if number == 1:
                dims += [value] if isinstance(value, int) else _packed(value)
            elif number == 2 and isinstance(value, int):
                width = _BYTES_PER_VALUE.get(value, 8)
        is_shape = len(dims) <= MAX_DIMENSIONS and all(size < 1 << 63 for size in dims)
        self._constant_bytes += math.prod(dims) * width if is_shape else 0
        if not is_shape or self._constant_bytes > MAX_CONSTANT_BYTES:
            raise ReleaseError(
                f"the model's constants take more than {MAX_CONSTANT_BYTES} bytes (one has the shape {dims[:8]}); "
                "release a smaller one"
            )

    def _fields(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Each field's number and value: a whole number, or the bytes of what it holds."""
        at, end = 0, len(data)
        while at < end:
            self._parts += 1
            if self._parts > MAX_PARTS:
                raise ReleaseError(f"the model has more than {MAX_PARTS} parts; release a simpler one")
            key, at = _varint(data, at)
            if key > 0xFFFF_FFFF:  # a parser that keeps 32 bits of it would see another field
                raise _unreadable(f"field {key}")
            number, wire = key >> 3, key & 7
            if wire == _VARINT:
                value, at = _varint(data, at)
                yield number, value
                continue
            if wire == _BYTES:
                size, at = _varint(data, at)
            elif wire in (_FIXED64, _FIXED32):
                size = 8 if wire == _FIXED64 else 4
            else:
                raise _unreadable(f"wire type {wire}")
            if size > end - at:
                raise _unreadable("it is cut off")
            yield number, data[at : at + size]
            at += size


def _packed(data: memoryview) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        found.append(value)
        if len(found) > MAX_DIMENSIONS:
            break
    return found


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A whole number of up to 64 bits, unsigned, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _unreadable("it is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise _unreadable("a number of more than ten bytes")
