"""Workloads are found by their entry points, and what cannot be told apart or loaded is named."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from fieldedge.commands import AFTER, BEFORE, commands_of
from fieldedge.contract import Column, Contract, EpisodeKey
from fieldedge.system import offers
from fieldedge.system.errors import ConfigError
from fieldedge.workloads import known_workload as known_on_device
from fieldedge.workloads.agriculture import AGRICULTURE
from fieldloop.workloads import WORKLOADS, known_workload, workload_names
from fieldloop.workloads.agriculture.params import AgricultureParams

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


CONTRACT = known_workload("agriculture").device.contract
EPISODE = CONTRACT.episode


def without(name: str, *tables: str) -> Contract:
    kept = [
        replace(table, columns=tuple(one for one in table.columns if one.name != name))
        if table.name in tables
        else table
        for table in CONTRACT.tables
    ]
    return replace(CONTRACT, tables=tuple(kept))


@pytest.mark.parametrize(
    ("contract", "told"),
    [
        (
            replace(CONTRACT, episode=EpisodeKey()),
            r"episodes are of \(\) in folders by \(\); expected a period and",
        ),
        (replace(CONTRACT, episode=replace(EPISODE, partition=("season",))), r"in folders by \(season\); expected"),
        (
            replace(CONTRACT, episode=replace(EPISODE, columns=("field_id", "season"))),
            "begin with field_id; expected",
        ),
        (replace(CONTRACT, episode=replace(EPISODE, partition=("soil", "region"))), "expected a period and a unit"),
        (without("region", "readings"), "the table readings has no column region of kind str that is always there"),
        (without("device_id", "fields"), "the table fields, which opens episodes, has no column device_id"),
    ],
)
def test_a_contract_that_the_cloud_cannot_keep_its_data_by_is_refused(
    contract: Contract, told: str, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(("agriculture", OWN))
    monkeypatch.setattr(type(AGRICULTURE), "contract", contract)
    with pytest.raises(ConfigError, match=f"the contract of agriculture cannot be taken in by the cloud: .*{told}"):
        known_workload("agriculture")


def named(table: str, *names: str) -> Contract:
    more = tuple(Column(name, "str", is_nullable=True) for name in names)
    tables = (replace(one, columns=(*one.columns, *more)) if one.name == table else one for one in CONTRACT.tables)
    return replace(CONTRACT, tables=tuple(tables))


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("readings", "origin"),
        ("fields", "expectation"),
        ("harvests", "is_same_place"),
        ("readings", "date_days_ago"),
        ("readings", "date_years_before_season"),
        ("harvests", "date_days_into_episode"),
        ("recommendations", "latency_ms"),
        ("recommendations", "kind"),
        ("recommendations", "source"),  # it has one
    ],
)
def test_a_column_under_a_name_that_is_taken_is_refused_on_both_sides(
    table: str, name: str, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = f"the table {table} has a column {name}, which the core writes there itself: rename it"
    if name == "source":
        told = f"the table {table} has two columns {name}: rename one"
    monkeypatch.setattr(type(AGRICULTURE), "contract", named(table, name))
    known_on_device.cache_clear()
    with pytest.raises(ConfigError, match=f"the contract of agriculture cannot be kept: {told}"):
        known_on_device("agriculture")
    install(("agriculture", OWN))
    with pytest.raises(ConfigError, match=f"the contract of agriculture cannot be taken in by the cloud: {told}"):
        known_workload("agriculture")


def test_parameters_of_a_step_that_there_is_not_are_refused(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install(("agriculture", OWN))
    monkeypatch.setattr(AgricultureParams, "reads", {"season": ("history.seed",), "train": ("what_if",)})
    with pytest.raises(ConfigError, match=r"names the steps \['season'\]; expected some of history, .*run"):
        known_workload("agriculture")


def test_a_name_that_the_core_writes_elsewhere_alone_is_free(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install(("agriculture", OWN))
    monkeypatch.setattr(type(AGRICULTURE), "contract", named("readings", "kind", "visit_days_ago", "sender"))
    assert known_workload("agriculture").name == "agriculture"


def test_a_device_on_which_none_is_installed_has_its_own_commands_and_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(offers, "entry_points", lambda **_asked: EntryPoints())
    known_on_device.cache_clear()
    assert commands_of(None) == (*BEFORE, *AFTER)
    with pytest.raises(ConfigError, match=r"no workload is installed .*fieldedge is not installed as it should be"):
        known_on_device("agriculture")
