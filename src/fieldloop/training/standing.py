"""Whether what a training left behind is still there. It is asked of every cached result: nothing here needs torch."""

from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from fieldloop.training.trained import CONFIG, NETWORK, Trained


def is_whole(trained: Trained, tracking_uri: str) -> bool:
    """Whether all that a finished training leaves behind is there: the network, and its run in MLflow."""
    folder = Path(trained.folder)
    has_network = all((folder / name).is_file() for name in (NETWORK, CONFIG)) or _is_former(folder, trained)
    return has_network and is_logged(trained.mlflow_run_id, tracking_uri)


def is_logged(run_id: str, tracking_uri: str) -> bool:
    """Whether MLflow has the run, and nobody deleted it."""
    try:
        run = MlflowClient(tracking_uri).get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return False
    return str(run.info.lifecycle_stage) == "active"


def _is_former(folder: Path, trained: Trained) -> bool:
    """Whether the run is from before networks were files of their own."""
    return not (folder / CONFIG).is_file() and Path(trained.checkpoint).is_file()
