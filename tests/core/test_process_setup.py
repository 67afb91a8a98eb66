"""What an entry point sets up is the same whatever a company's environment says."""

import getpass
import os
import pwd
from http.server import HTTPServer, SimpleHTTPRequestHandler
from importlib import import_module
from pathlib import Path
from threading import Thread
from urllib.request import proxy_bypass

import pytest

from fieldloop.core.process_setup import LOOPBACK, name_a_nameless_user, spare_loopback_the_proxy


@pytest.fixture(autouse=True)
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.example.org:3128")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("said", ["", ".example.org", "mlflow.example.org, localhost"])
def test_what_this_machine_serves_goes_through_no_proxy(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, said)
    spare_loopback_the_proxy()
    assert all(proxy_bypass(host) for host in LOOPBACK)
    assert not proxy_bypass("gateway.example.com")
    if "example.org" in said:
        assert proxy_bypass("mlflow.example.org")
    for spelling in ("NO_PROXY", "no_proxy"):
        assert os.environ[spelling].split(",").count("localhost") == 1


def test_whoever_wants_no_proxy_at_all_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    spare_loopback_the_proxy()
    assert proxy_bypass("gateway.example.com")


@pytest.mark.parametrize("library", ["httpx", "requests"])
def test_the_libraries_own_clients_reach_this_machine_past_a_proxy(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect and MLflow read the environment each in its own way."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # where nobody answers
    spare_loopback_the_proxy()
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        Thread(target=server.handle_request, daemon=True).start()
        asked = import_module(library).get(f"http://127.0.0.1:{server.server_port}/not-there", timeout=10)
    assert asked.status_code == 404


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(user: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_a_user_without_an_account_has_a_name_and_a_home(
    nameless: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyError):
        getpass.getuser()
    name_a_nameless_user(tmp_path)
    assert getpass.getuser() == f"user-{os.getuid()}"
    assert Path.home() == tmp_path


def test_whoever_has_a_name_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ana")
    monkeypatch.setenv("HOME", "/home/ana")
    name_a_nameless_user(tmp_path)
    assert (getpass.getuser(), os.environ["HOME"]) == ("ana", "/home/ana")
