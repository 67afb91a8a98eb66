"""What an entry point sets up before the libraries are imported: no telemetry, no update checks, no chatter.

`python -m flows`, the `fieldloop` command, a notebook's first cell and a benchmark call `settle()` first thing. A run
by a Prefect worker begins in Prefect, which reads its environment when it is imported: `prefect.yaml` gives it the
same variables. Importing a module of this project changes nothing in the process.
"""

import atexit
import gc
import getpass
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

from fieldedge.system.streams import print_any_character

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
    "MPLBACKEND": "Agg",  # pictures go to files
    "OMP_WAIT_POLICY": "PASSIVE",  # torch's threads sleep while they wait; spinning, they slow a busy machine fivefold
    "TQDM_DISABLE": "1",
}

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NO_PROXY = ("no_proxy", "NO_PROXY")

# torch, MLflow and Great Expectations bring millions of objects that live on. Python looks through the youngest after
# every 700 new ones and then, ever again, through all: a tenth to a third of the time of a run.
GC_THRESHOLD = 50_000

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


@dataclass(frozen=True)
class KnownWarning:
    """A warning that nobody here can mend and that says nothing of our data. `module` is a regular expression."""

    category: type[Warning]
    module: str
    message: str
    reason: str


KNOWN_WARNINGS = (
    KnownWarning(
        Warning,  # tqdm's own kind, which only importing tqdm would bring
        r"tqdm\.auto",
        r"IProgress not found",
        "in a notebook a bar of tqdm would need ipywidgets, and no bar is shown",
    ),
    KnownWarning(
        UserWarning,
        r"lightning\.pytorch\.callbacks\.model_checkpoint",
        r"Checkpoint directory .* exists and is not empty",
        "a training that was cut off goes on in its own folder, and its last epoch lies there",
    ),
    KnownWarning(
        FutureWarning,
        r"lightning\.pytorch\.utilities\._pytree|copyreg",
        r"`isinstance\(treespec, LeafSpec\)` is deprecated",
        "Lightning and torch's exporter ask torch's own trees in torch's own former way",
    ),
    KnownWarning(
        UserWarning,
        r"mlflow\.types\.type_hints",
        r".*Any type hint is inferred as AnyType",
        "MLflow speaks of its own classes, when it is imported",
    ),
)


def settle(home: Path | None = None) -> None:
    """Fill in what the user has not set; `home` is where Prefect keeps its database and matplotlib its fonts.

    Nothing is overruled, no connection is opened, and with it none of the libraries opens one beyond loopback. What
    this machine serves itself is not asked for through a proxy, whatever `HTTP_PROXY` says.
    """
    print_any_character()
    spare_loopback_the_proxy()
    name_a_nameless_user(home)
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if home is not None:
        os.environ.setdefault("PREFECT_HOME", str(home / "prefect"))
        os.environ.setdefault("MPLCONFIGDIR", str(home / "matplotlib"))
    gc.set_threshold(GC_THRESHOLD)
    atexit.register(gc.freeze)  # to collect at the end what torch, Lightning and MLflow made would take seconds
    hush()


def spare_loopback_the_proxy() -> None:
    """Add this machine's own names to those that `NO_PROXY` has; libraries read either spelling, some only one."""
    said = next((os.environ[name] for name in _NO_PROXY if os.environ.get(name)), "")
    hosts = [host.strip() for host in said.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += [host for host in LOOPBACK if host not in hosts]
    for name in _NO_PROXY:
        os.environ[name] = ",".join(hosts)


def name_a_nameless_user(home: Path | None) -> None:
    """A container may run as a number that no account has: libraries ask for the name and the folder of its user."""
    try:
        getpass.getuser()
    except KeyError:
        os.environ["USER"] = f"user-{os.getuid()}"
    if home is not None and os.path.expanduser("~") == "~":  # noqa: PTH111 - Path's would raise
        os.environ["HOME"] = str(home)


def hush() -> None:
    """Errors only from the libraries that chat. Some set their own level when imported: call it after that too."""
    for known in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", known.message, known.category, known.module)
    for noisy in _CHATTY:
        logging.getLogger(noisy).setLevel(logging.ERROR)
