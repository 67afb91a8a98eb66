"""Deployment facts (`FIELDLOOP_*`): where things are on this machine; read once, frozen, passed down.

A broken value is a ConfigError that names it and says what to set. Nothing reads the environment at import.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fieldedge.system.errors import ConfigError
from fieldloop.core.broken_values import told

USUAL_PAGES_PORT = 8000
_NOT_FOR_DVC = frozenset("{}")


class Settings(BaseSettings):
    """Where things are on this machine. Every field is set by `FIELDLOOP_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="FIELDLOOP_", frozen=True, extra="ignore")

    root: Path = Field(default=Path(), description="the project's folder, with params.yaml and dvc.yaml")
    home: Path = Field(default=Path(".fieldloop"), description="runs, models, devices and reports; relative to root")
    edge_python: Path = Field(default=Path(".venv-edge/bin/python"), description="the device environment's Python")
    workers: int = Field(default=0, ge=0, le=256, description="processes for simulation; 0: one per core")
    mlflow_uri: str = Field(default="", description="MLflow's store or server, shared by workers; empty: SQLite")
    mlflow_artifacts: str = Field(
        default="", description="where MLflow keeps files beside such a database, a URI that every worker reaches"
    )
    gateway_database: str = Field(
        default="", description="the gateway's database, as SQLAlchemy writes it; empty: SQLite beside the inbox"
    )
    is_deployment: bool = Field(
        default=False, description="a deployment's clone: commit and tag data; a person promotes"
    )
    prefect_port: int = Field(default=0, ge=0, le=65535, description="`make ui`: Prefect; 0: 4200, or any that is free")
    mlflow_port: int = Field(default=0, ge=0, le=65535, description="`make ui`: MLflow; 0: 5000, or any that is free")
    pages_port: int = Field(
        default=0, ge=0, le=65535, description="`make ui`: the report; 0: 8000, or any that is free"
    )

    @field_validator("root")
    @classmethod
    def _has_params(cls, value: Path) -> Path:
        root = value.expanduser().resolve()
        if not (root / "params.yaml").is_file():
            raise ValueError(f"no params.yaml in {root}; set FIELDLOOP_ROOT to the folder of the clone")
        return root

    @cached_property
    def home_dir(self) -> Path:
        return self.home if self.home.is_absolute() else self.root / self.home

    @cached_property
    def data_dir(self) -> Path:
        return self.root / "data"

    @cached_property
    def edge_python_path(self) -> Path:
        return self.edge_python if self.edge_python.is_absolute() else self.root / self.edge_python

    @cached_property
    def worker_count(self) -> int:
        return self.workers or max(1, len(os.sched_getaffinity(0)))

    def page_url(self, path: Path) -> str:
        """Where `make ui` shows a file below `home_dir`."""
        return f"http://127.0.0.1:{self.pages_port or USUAL_PAGES_PORT}/{path.relative_to(self.home_dir).as_posix()}"

    @cached_property
    def tracking_uri(self) -> str:
        return self.mlflow_uri or f"sqlite:///{self.home_dir}/mlflow/mlflow.db"

    @cached_property
    def artifact_location(self) -> str | None:
        """Where a new experiment's files go; None: a tracking server says it."""
        if self.mlflow_artifacts:
            return self.mlflow_artifacts
        is_server = self.tracking_uri.startswith(("http://", "https://"))
        return None if is_server else (self.home_dir / "mlflow" / "artifacts").as_uri()


class KeySettings(BaseSettings):
    """What signing needs: files of mode 600, each with a passphrase or PIN. Set by `FIELDLOOP_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="FIELDLOOP_", frozen=True, extra="ignore")

    key_passphrase_file: Path | None = Field(default=None, description="opens the keys in the release repository")
    offline_passphrase_file: Path | None = Field(default=None, description="opens the keys kept offline")
    hsm_pin_file: Path | None = Field(default=None, description="opens a hardware token")


def load_key_settings() -> KeySettings:
    """The settings of signing, read where a key is opened.

    Raises:
        ConfigError: one is broken.
    """
    try:
        return KeySettings()
    except ValidationError as error:
        raise ConfigError(told(error, lambda place: f"FIELDLOOP_{place.upper()}")) from None


def load_settings(**overrides: Any) -> Settings:
    """The settings of this machine.

    Raises:
        ConfigError: a setting is broken; the message names each and what to set.
    """
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        raise ConfigError(told(error, lambda place: f"FIELDLOOP_{place.upper()}")) from None
    if not settings.mlflow_uri and "?" in str(settings.home_dir):
        raise ConfigError(
            f"{settings.home_dir} has a '?' in its name, where the address of MLflow's database would end: move the "
            "clone, or set FIELDLOOP_HOME to a folder of another name"
        )
    if not _NOT_FOR_DVC.isdisjoint(str(settings.root)):
        raise ConfigError(
            f"{settings.root} has a brace in its name, in which DVC would look for a value: move the clone to a folder "
            "of another name"
        )
    return settings
