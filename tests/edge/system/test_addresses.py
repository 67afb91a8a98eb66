"""An address that can never work is a setting to mend, and says so before anybody is asked."""

import pytest
import urllib3

from fieldedge.system.addresses import checked_address, is_host
from fieldedge.system.errors import ConfigError
from fieldedge.system.http import ask

NEVER = [
    "gateway.example.org",
    "ftp://gateway.example.org",
    "socks5://proxy.example.org:1080",
    "http://",
    "http://:80",
    "http://gateway.example.org:99999",
    "http://gateway.example.org:0",
    "http://gateway.example.org:port",
    "http://[::1",
    "http://a..b",
    f"http://{'a' * 64}.org",
    "http://gate way.example.org",
    "https:gateway.example.org",
    "",
]


@pytest.mark.parametrize("text", NEVER)
def test_an_address_that_can_never_work_is_named_with_what_was_expected(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        checked_address("[link] gateway", text)
    assert str(raised.value) == f"[link] gateway is {text!r}; expected an address like https://gateway.example.org"
    with pytest.raises(ConfigError, match="expected an address"):
        ask("GET", text, urllib3.Timeout(total=30.0))


@pytest.mark.parametrize(
    "text",
    ["https://gateway.example.org", "http://10.0.0.2:8080/base/", "http://[::1]:8080", "http://\u00e4cker.example"],
)
def test_an_address_that_may_work_is_taken_as_it_is(text: str) -> None:
    assert checked_address("gateway", text) == text


@pytest.mark.parametrize(("text", "is_one"), [("broker", True), ("::1", True), ("b:1883", False), ("a b", False)])
def test_a_host_is_a_name_or_an_ip_address(text: str, is_one: bool) -> None:
    assert is_host(text) == is_one


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1:99999"])
@pytest.mark.parametrize("name", ["https_proxy", "all_proxy"])
def test_a_proxy_that_can_never_work_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, proxy: str
) -> None:
    for other in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, proxy)
    with pytest.raises(ConfigError, match=f"{name} is '{proxy}'; expected an address like http://proxy"):
        ask("GET", "https://gateway.example.org", urllib3.Timeout(total=30.0))
