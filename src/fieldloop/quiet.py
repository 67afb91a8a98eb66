"""Telemetry, update checks and noise off, before any of the libraries is imported.

Call `settle()` first thing in every entry point. It only fills in what the user has not set; it opens no connection,
and with it none of the libraries opens one beyond loopback.
"""

import logging
import os
import sys
import warnings
from pathlib import Path

QUIET_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "GX_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "DVC_STUDIO_OFFLINE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "LOGLEVEL": "ERROR",  # neural-compressor
    "DEVELOPMENT": "1",  # aquacrop: skip its ahead-of-time compilation at import
    "TQDM_DISABLE": "1",
}

_CHATTY = (
    "alembic",
    "dvc",
    "lightning",
    "lightning.fabric",
    "lightning.pytorch",
    "lightning.pytorch.utilities.rank_zero",
    "mlflow",
    "onnx_ir",
    "onnxscript",
    "torch.onnx",
)


def settle(home: Path | None = None) -> None:
    """Fill in the environment, once; `home` is where Prefect keeps its database and results."""
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if home is not None:
        os.environ.setdefault("PREFECT_HOME", str(home / "prefect"))
        os.environ.setdefault("MPLCONFIGDIR", str(home / "matplotlib"))
    os.environ.setdefault("MPLBACKEND", "Agg")
    warnings.filterwarnings("ignore")
    hush_loggers()


def hush_loggers() -> None:
    """Errors only, from the libraries that chat. Some set their own level when imported: call it after that too."""
    for noisy in _CHATTY:
        logging.getLogger(noisy).setLevel(logging.ERROR)
