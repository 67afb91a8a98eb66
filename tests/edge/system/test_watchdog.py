"""The agent speaks systemd's notification protocol, over real sockets, and is never held up or ended by it."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.system.watchdog import MAX_STATUS_CHARACTERS, Watchdog

PID = 4321


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """systemd's end of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + address[1:] if address.startswith("@") else address)
        receiver.setblocking(False)
        yield receiver


def heard(receiver: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(receiver.recv(4096).decode())
        except BlockingIOError:
            return messages


@pytest.fixture(params=["file", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name = f"notify-{secrets.token_hex(4)}"
    return f"@{name}" if request.param == "abstract" else str(tmp_path / name)


def test_systemd_hears_a_life_from_ready_to_stopping(address: str) -> None:
    with manager(address) as receiver:
        watchdog = Watchdog.of({"NOTIFY_SOCKET": address}, PID)
        watchdog.ready("starting is done")
        watchdog.alive()
        watchdog.alive("2 sources, 14 samples a minute")
        watchdog.say("syncing")
        watchdog.stopping()
        assert heard(receiver) == [
            "READY=1\nSTATUS=starting is done",
            "WATCHDOG=1",
            "WATCHDOG=1\nSTATUS=2 sources, 14 samples a minute",
            "STATUS=syncing",
            "STOPPING=1",
        ]


@given(status=st.text(max_size=1000))
def test_no_status_can_say_anything_but_a_status(status: str) -> None:
    address = f"@notify-{secrets.token_hex(8)}"
    with manager(address) as receiver:
        Watchdog(address).alive(status.encode(errors="replace").decode())
        (message,) = heard(receiver)
    first, *rest = message.split("\n")
    assert first == "WATCHDOG=1"
    assert len(rest) <= 1 and all(line.startswith("STATUS=") for line in rest)
    assert len(message) <= len("WATCHDOG=1\nSTATUS=") + MAX_STATUS_CHARACTERS


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_systemd_nothing_is_said(environment: dict[str, str]) -> None:
    watchdog = Watchdog.of({**environment, "WATCHDOG_USEC": "1000000"}, PID)
    watchdog.ready()
    watchdog.alive("alive")
    watchdog.stopping()
    assert (watchdog.is_heard, watchdog.beat_every_s) == (False, None)


def test_a_manager_that_has_gone_or_does_not_listen_holds_nothing_up(address: str) -> None:
    watchdog = Watchdog(address)
    watchdog.alive()
    with manager(address):
        for _ in range(10_000):  # far more than its queue holds
            watchdog.alive("alive")


@pytest.mark.parametrize(
    ("environment", "beat_every_s"),
    [
        ({"WATCHDOG_USEC": "300000000"}, 150.0),
        ({"WATCHDOG_USEC": "300000000", "WATCHDOG_PID": str(PID)}, 150.0),
        ({"WATCHDOG_USEC": "300000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "\u0663"}, None),
        ({}, None),
    ],
)
def test_beats_are_due_at_half_of_what_is_allowed(
    address: str, environment: dict[str, str], beat_every_s: float | None
) -> None:
    assert Watchdog.of({"NOTIFY_SOCKET": address, **environment}, PID).beat_every_s == beat_every_s
