"""Answers of a model file exactly as the device gets them: the fused ONNX Runtime session, on one thread."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from fieldloop.workload import Predict

Array = npt.NDArray[np.float32]
BLOCK = 4096


def open_session(model: Path | bytes) -> ort.InferenceSession:
    """A session with the device's options: one thread, CPU. A model is a file, or its bytes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )


def predictor(model: Path | bytes) -> Predict:
    """Scaled features (N, F) to outputs (N, O), in blocks."""
    session = open_session(model)

    def predict(features: Array) -> Array:
        parts = [
            session.run(["outputs"], {"features": np.ascontiguousarray(features[i : i + BLOCK], np.float32)})[0]
            for i in range(0, len(features), BLOCK)
        ]
        return np.concatenate(parts)

    return predict
