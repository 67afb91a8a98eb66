"""What a finished training hands on: `network.pt`, tensors and nothing else, and `network.json`, what they belong to.

The registry keeps both. Nothing here is ever read as a pickle.
"""

import io
import json
import pickle
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from fieldedge.system.durable import write_durably
from fieldedge.system.errors import ReleaseError
from fieldloop.core.params import ModelParams
from fieldloop.training.trained import CONFIG, NETWORK, OtherNetworkError, Trained
from fieldloop.workload import Workload

CONFIG_FORMAT = 1


def save_network(network: nn.Module, workload: str, params: ModelParams, folder: Path) -> None:
    """Write `network.pt`, the state dict on the CPU, and `network.json`, which says what to load it into."""
    sink = io.BytesIO()
    torch.save({name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}, sink)
    config = {"format": CONFIG_FORMAT, "workload": workload, "model": params.model_dump(mode="json")}
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / NETWORK, sink.getvalue())
    write_durably(folder / CONFIG, json.dumps(config, indent=1).encode() + b"\n")


def network_folder(trained: Trained, workload: Workload) -> Path:
    """The run's folder, with the network as tensors; of a run from before that, they are taken from its checkpoint.

    Raises:
        ReleaseError: the checkpoint is gone, damaged, or holds more than tensors.
    """
    folder = Path(trained.folder)
    if not (folder / CONFIG).is_file():
        checkpoint = Path(trained.checkpoint)
        network, kept = load_network(checkpoint, workload), tensors_only(checkpoint)["hyper_parameters"]["params"]
        save_network(network, trained.workload, ModelParams.model_validate(kept), folder)
    return folder


def load_network(path: Path, workload: Workload) -> nn.Module:
    """A trained network on the CPU, ready to answer.

    Args:
        path: the folder that `save_network` wrote into, or a Lightning checkpoint of a former version.

    Raises:
        ReleaseError: a file is missing or damaged, holds more than tensors and plain values, or is for another network.
    """
    if path.is_dir():
        config, state = _config(path / CONFIG), tensors_only(path / NETWORK)
    else:
        checkpoint = tensors_only(path)
        kept = checkpoint.get("hyper_parameters")
        config = {"workload": (kept or {}).get("workload"), "model": (kept or {}).get("params")}
        state = {
            name.removeprefix("network."): tensor
            for name, tensor in (checkpoint.get("state_dict") or {}).items()
            if name.startswith("network.")
        }
    if config.get("workload") != workload.name:
        raise ReleaseError(f"{path} holds a network of workload {config.get('workload')!r}; expected {workload.name!r}")
    try:
        params = ModelParams.model_validate(config.get("model"))
        network = workload.learner.network(params.hidden, params.dropout)
        network.load_state_dict(state)
    except (ValidationError, RuntimeError, TypeError, AttributeError) as error:
        why = " ".join(str(error).split())[:300]
        raise OtherNetworkError(
            f"{path} does not fit the network of this version of {workload.name}: {why}. Train a model with this "
            "version, or run the version that made it"
        ) from error
    return network.eval()


def tensors_only(path: Path) -> dict[str, Any]:
    """What torch saved in a file, read without running anything that it holds.

    Raises:
        ReleaseError: it cannot be read, or holds more than tensors and plain values.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ReleaseError(f"the network {path} cannot be read: {error}. Restore it, or train anew") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        why = " ".join(str(error).split())[:200]
        raise ReleaseError(
            f"{path} holds more than tensors and plain values, or is damaged, and is not loaded: {why}. Somebody may "
            "have put it there; train the model anew, or restore the file from a backup that you trust"
        ) from error
    if not isinstance(found, dict):
        raise ReleaseError(f"{path} holds {type(found).__name__}; expected a state dict")
    return found


def _config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{path}, which says what the network beside it is, cannot be read: {error}") from error
    if not isinstance(found, dict) or found.get("format") != CONFIG_FORMAT:
        raise ReleaseError(f"{path} is not of format {CONFIG_FORMAT}; update Fieldloop, or train anew")
    return found
