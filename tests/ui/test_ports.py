"""Which ports the servers get."""

import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from fieldedge.system.errors import ConfigError
from fieldloop.ui.ports import PortWish, reserved_ports
from tests.edge.ports import free_port


def chosen(wishes: Sequence[PortWish], locks: Path) -> list[int]:
    with reserved_ports(wishes, locks) as ports:
        return ports


def test_the_usual_port_is_taken_when_it_is_free(tmp_path: Path) -> None:
    usual = free_port()
    assert chosen([PortWish("FIELDLOOP_MLFLOW_PORT", 0, usual)], tmp_path) == [usual]


def test_another_port_is_found_when_the_usual_one_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        usual = other.getsockname()[1]
        (found,) = chosen([PortWish("FIELDLOOP_MLFLOW_PORT", 0, usual)], tmp_path)
    assert found not in (0, usual)


def test_two_that_start_at_the_same_moment_get_different_ports(tmp_path: Path) -> None:
    usual = free_port()
    wishes = [PortWish("FIELDLOOP_PREFECT_PORT", 0, usual)]
    with reserved_ports(wishes, tmp_path) as first, reserved_ports(wishes, tmp_path) as second:
        assert first == [usual]  # nothing listens on either yet
        assert second != first
    assert chosen(wishes, tmp_path) == [usual]


def test_wishes_for_the_same_usual_port_get_different_ones(tmp_path: Path) -> None:
    usual = free_port()
    assert len(set(chosen([PortWish("A", 0, usual)] * 3, tmp_path))) == 3


def test_a_configured_port_in_use_names_the_setting_and_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"FIELDLOOP_PAGES_PORT is {port}.*set another one, or 0"):
            chosen([PortWish("FIELDLOOP_PAGES_PORT", port, 8000)], tmp_path)
