"""`mlflow/server.yaml` and the command that it makes."""

from pathlib import Path

import pytest

from fieldedge.system.errors import ConfigError
from fieldloop.core.settings import load_settings
from fieldloop.ui.mlflow_server import read_config, tracking_server_command

ROOT = Path(__file__).parents[2]


def test_the_projects_own_file_asks_for_one_worker_and_no_background_jobs(tmp_path: Path) -> None:
    config = read_config(ROOT / "mlflow" / "server.yaml")
    command = tracking_server_command(load_settings(root=ROOT, home=tmp_path), config, 5123)
    assert " ".join(command).endswith("--workers 1 --no-serve-artifacts")
    assert f"sqlite:///{tmp_path}/mlflow/mlflow.db" in command
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "5123"
    assert config.environment == {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def test_without_the_file_mlflows_defaults_hold(tmp_path: Path) -> None:
    config = read_config(tmp_path / "server.yaml")
    assert config.options == {}
    assert config.environment == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("options: [", "server.yaml cannot be used"),
        ("workers: 1", "Expected: options and environment"),
        ("options: {workers: [1]}", "server.yaml cannot be used"),
        ("options: {port: 5001}", "sets port; set FIELDLOOP_HOME or FIELDLOOP_MLFLOW_PORT"),
        ("options: {backend_store_uri: x}", "sets backend_store_uri"),
    ],
)
def test_a_broken_file_is_named_with_what_was_expected(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        read_config(path)
