"""A broken setting says which, and what to set."""

from pathlib import Path

import pytest

from fieldedge.system.errors import ConfigError
from fieldloop.core.settings import load_settings


def test_with_nothing_set_everything_is_in_the_folder_of_the_clone(clone: Path) -> None:
    settings = load_settings()
    assert settings.root == clone
    assert settings.home_dir == clone / ".fieldloop"
    assert settings.data_dir == clone / "data"
    assert settings.edge_python_path == clone / ".venv-edge" / "bin" / "python"
    assert settings.tracking_uri == f"sqlite:///{clone}/.fieldloop/mlflow/mlflow.db"
    assert settings.worker_count >= 1
    assert not settings.is_deployment


def test_every_setting_is_a_fieldloop_variable(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HOME": "/var/loop", "WORKERS": "3", "IS_DEPLOYMENT": "0", "EDGE_PYTHON": "/opt/py"}.items():
        monkeypatch.setenv(f"FIELDLOOP_{name}", value)
    settings = load_settings()
    assert (settings.home_dir, settings.worker_count) == (Path("/var/loop"), 3)
    assert settings.is_deployment is False
    assert settings.edge_python_path == Path("/opt/py")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WORKERS", "many", "FIELDLOOP_WORKERS: input should be a valid integer"),
        ("WORKERS", "-3", "FIELDLOOP_WORKERS: input should be greater than or equal to 0"),
        ("IS_DEPLOYMENT", "perhaps", "FIELDLOOP_IS_DEPLOYMENT: input should be a valid boolean"),
        ("PREFECT_PORT", "70000", "FIELDLOOP_PREFECT_PORT: input should be less than or equal to 65535"),
        ("ROOT", "/nowhere", "no params.yaml in /nowhere; set FIELDLOOP_ROOT to the folder of the clone"),
    ],
)
def test_a_broken_setting_is_named_with_what_was_found(
    clone: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(f"FIELDLOOP_{name}", value)
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert expected in str(refused.value)
    assert value in str(refused.value)


def test_a_folder_that_no_address_of_mlflow_s_database_can_hold_is_named(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDLOOP_HOME", "/var/what now?")
    with pytest.raises(ConfigError, match=r"/var/what now\? has a '\?' in its name.*set FIELDLOOP_HOME"):
        load_settings()
    monkeypatch.setenv("FIELDLOOP_MLFLOW_URI", "http://127.0.0.1:5000")
    assert load_settings().home_dir == Path("/var/what now?")


def test_a_folder_in_which_dvc_cannot_work_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "{farm}"
    root.mkdir()
    (root / "params.yaml").touch()
    with pytest.raises(ConfigError, match=r"\{farm\} has a brace in its name.*move the clone"):
        load_settings(root=root)


def test_every_broken_setting_is_named_at_once(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDLOOP_WORKERS", "many")
    monkeypatch.setenv("FIELDLOOP_MLFLOW_PORT", "x")
    with pytest.raises(ConfigError, match=r"FIELDLOOP_WORKERS: .*; FIELDLOOP_MLFLOW_PORT: "):
        load_settings()
