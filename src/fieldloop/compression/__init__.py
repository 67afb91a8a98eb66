"""Compression: from a registered float32 model to the best file for each class of devices, with gates that measure.

`compress` is the step. candidates.py makes the files (distiller.py, prune.py, distil.py, quantise.py,
ort_quantise.py) of what it is given (inputs.py), gates.py and device_classes.py measure them, search.py picks.
docs/compression.md tells it with figures.
"""

from fieldloop.compression.calibration import CalibrationError, OperatorError, check_calibration
from fieldloop.compression.choice import Compressed, choose, compress, compression_key, measured
from fieldloop.compression.device_classes import Bench
from fieldloop.compression.inputs import CompressionInputs
from fieldloop.compression.onnx_files import export_float32
from fieldloop.compression.quantise import Recipe

__all__ = [
    "Bench",
    "CalibrationError",
    "Compressed",
    "CompressionInputs",
    "OperatorError",
    "Recipe",
    "check_calibration",
    "choose",
    "compress",
    "compression_key",
    "export_float32",
    "measured",
]
