"""A clone for the tests of what its settings and parameters say."""

from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project's own params.yaml, and an environment that says nothing."""
    for name in ("ROOT", "HOME", "EDGE_PYTHON", "WORKERS", "IS_DEPLOYMENT", "PREFECT_PORT", "MLFLOW_PORT"):
        monkeypatch.delenv(f"FIELDLOOP_{name}", raising=False)
    (tmp_path / "params.yaml").write_text((PROJECT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path
