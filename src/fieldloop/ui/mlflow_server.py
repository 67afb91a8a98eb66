"""The MLflow tracking server as `mlflow/server.yaml` describes it, on this project's store."""

import sys
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldedge.system.errors import ConfigError
from fieldloop.core.settings import Settings
from fieldloop.ui.ports import LOOPBACK

Value = bool | int | str
OWN_OPTIONS = ("host", "port", "backend-store-uri", "registry-store-uri", "default-artifact-root")


class TrackingServerConfig(BaseModel):
    """The contents of `mlflow/server.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    options: dict[str, Value] = Field(default_factory=dict)
    environment: dict[str, str] = Field(default_factory=dict)


def read_config(path: Path) -> TrackingServerConfig:
    """What the file says; a file that is not there says nothing.

    Raises:
        ConfigError: the file is broken, or sets what the settings decide.
    """
    if not path.is_file():
        return TrackingServerConfig()
    try:
        config = TrackingServerConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path} cannot be used: {error}. Expected: options and environment, name: value") from None
    taken = [name for name in config.options if name.replace("_", "-") in OWN_OPTIONS]
    if taken:
        raise ConfigError(f"{path} sets {', '.join(taken)}; set FIELDLOOP_HOME or FIELDLOOP_MLFLOW_PORT instead")
    return config


def tracking_server_command(settings: Settings, config: TrackingServerConfig, port: int) -> list[str]:
    """The command that serves this project's runs and models."""
    artifacts = settings.artifact_location or (settings.home_dir / "mlflow" / "artifacts").as_uri()
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port)),
        *("--backend-store-uri", settings.tracking_uri),
        *("--default-artifact-root", artifacts),
        *(part for name, value in config.options.items() for part in _flag(name, value)),
    ]


def _flag(name: str, value: Value) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", str(value)]
