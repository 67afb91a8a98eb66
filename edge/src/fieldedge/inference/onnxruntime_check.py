"""ONNX Runtime on this processor, loaded and used once, before anything else is asked of it."""

import base64
import os

# y = tanh(x w), 4 values to 2: enough to load the runtime and multiply with it.
SMALLEST_MODEL = base64.b64decode(
    "CAg6ggEKEQoBeAoBdxIBbSIGTWF0TXVsCgwKAW0SAXkiBFRhbmgSBmNhbmFyeSorCAQIAhABQgF3SiAAAAA+AACAPgAAwD4AAAA/AAAgPwAAQD8A"
    "AGA/AACAP1oUCgF4Eg8KDQgBEgkKAxIBbgoCCARiFAoBeRIPCg0IARIJCgMSAW4KAggCQgQKABAR"
)


def load_runtime() -> str:
    """Load the runtime and use it; its version.

    Raises:
        SystemExit: it computes something else.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it counts only before the import
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(SMALLEST_MODEL, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"x": np.ones((3, 4), np.float32)})
    if not np.allclose(result, np.tanh([[2.0, 2.5]] * 3), atol=1e-5):
        raise SystemExit(f"tanh(x w) is {result.tolist()}")
    return str(onnxruntime.__version__)
