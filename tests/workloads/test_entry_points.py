"""Workloads are found by their entry points, and what cannot be told apart or loaded is named."""

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from fieldedge.commands import AFTER, BEFORE, commands_of
from fieldedge.system import offers
from fieldedge.system.errors import ConfigError
from fieldedge.workloads import known_workload as known_on_device
from fieldloop.workloads import WORKLOADS, known_workload, workload_names

OWN = "fieldloop.workloads.agriculture.workload:AGRICULTURE_IN_CLOUD"
Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Sets what is installed: names, and what their entry points lead to."""

    def entries(*named: tuple[str, str]) -> None:
        found = EntryPoints(EntryPoint(name, value, WORKLOADS.group) for name, value in named)
        monkeypatch.setattr(offers, "entry_points", found.select)
        known_workload.cache_clear()

    yield entries
    known_workload.cache_clear()


def test_this_environment_has_the_workloads_of_this_clone() -> None:
    assert "agriculture" in workload_names()
    assert known_workload("agriculture").device.name == "agriculture"


def test_an_unknown_name_is_an_error_that_names_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no workload 'kiosk' in this environment; there is .*agriculture.*"):
        known_workload("kiosk")


def test_two_of_one_name_are_an_error_that_names_both(install: Install) -> None:
    install(("agriculture", OWN), ("agriculture", "acme.maize:MAIZE"))
    with pytest.raises(ConfigError, match=rf"two packages offer a workload 'agriculture', acme\.maize:MAIZE and {OWN}"):
        known_workload("agriculture")


def test_where_none_is_installed_it_says_how_they_are(install: Install) -> None:
    install()
    with pytest.raises(ConfigError, match="no workload is installed in this environment; `make setup`"):
        known_workload("agriculture")


def test_one_that_cannot_be_loaded_says_from_where(install: Install) -> None:
    install(("kiosk", "acme_kiosk.cloud:KIOSK"))
    with pytest.raises(ConfigError, match=r"'kiosk' cannot be loaded from acme_kiosk\.cloud:KIOSK: No module named"):
        known_workload("kiosk")


def test_one_that_has_another_name_than_its_entry_point_is_refused(install: Install) -> None:
    install(("kiosk", OWN))
    with pytest.raises(ConfigError, match=r"calls itself 'agriculture', and its entry point 'kiosk'"):
        known_workload("kiosk")


def test_a_device_on_which_none_is_installed_has_its_own_commands_and_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(offers, "entry_points", lambda **_asked: EntryPoints())
    known_on_device.cache_clear()
    assert commands_of(None) == (*BEFORE, *AFTER)
    with pytest.raises(ConfigError, match=r"no workload is installed .*fieldedge is not installed as it should be"):
        known_on_device("agriculture")
