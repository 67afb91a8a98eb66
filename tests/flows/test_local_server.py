"""The server of a loop that is run by hand."""

import os
from pathlib import Path

import pytest

from fieldedge.system.errors import LinkError
from flows.local_server import LocalServer, start_local_server


def test_a_server_that_the_environment_names_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    assert start_local_server(tmp_path / "server.log") is None
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_cannot_start_is_reported_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "uvicorn.py").write_text("raise SystemExit('no uvicorn today')\n")
    server = LocalServer(tmp_path / "server.log")
    with pytest.raises(LinkError, match="ended with exit code 1: no uvicorn today"):
        server.wait_until_up()
    server.end()
