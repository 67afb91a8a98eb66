"""The server of a loop that is run by hand."""

import os
from pathlib import Path

import pytest

from fieldedge.system.errors import LinkError
from flows.local_server import LocalServer, start_local_server


def test_a_server_that_the_environment_names_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_server: str
) -> None:
    assert start_local_server(tmp_path / "server.log") is None
    assert os.environ["PREFECT_API_URL"] == named_server
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/api", "127.0.0.1:4200", "http://prefect.invalid/api"])
def test_a_server_that_is_named_and_away_is_told_with_what_to_unset(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(LinkError, match=r"PREFECT_API_URL in the environment .*unset PREFECT_API_URL") as told:
        start_local_server(tmp_path / "server.log")
    assert url in str(told.value)
    assert "\n" not in str(told.value)


def test_a_server_on_this_machine_is_asked_past_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_server: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert start_local_server(tmp_path / "server.log") is None


def test_a_server_that_cannot_start_is_reported_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "uvicorn.py").write_text("raise SystemExit('no uvicorn today')\n")
    server = LocalServer(tmp_path / "server.log")
    with pytest.raises(LinkError, match="ended with exit code 1: no uvicorn today"):
        server.wait_until_up()
    server.end()
