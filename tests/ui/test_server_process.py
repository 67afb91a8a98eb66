"""Servers as children: seen when they are up, reported when they die, gone with their own children."""

import os
import sys
from pathlib import Path

import pytest

from fieldloop.ui.server_process import ServerProcess, ServerSpec, ServerStopped
from tests.edge.ports import free_port

SERVES = """
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
DIES = "import sys; print('the database is locked'); sys.exit(3)"
STUBBORN_WITH_A_CHILD = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    print(child, flush=True)
signal.pause()
"""


def spec(tmp_path: Path, program: str) -> ServerSpec:
    port = free_port()
    return ServerSpec(
        name="Sample",
        command=(sys.executable, "-c", program, str(port)),
        port=port,
        health_path="/",
        log=tmp_path / "log" / "sample.log",
        environment=dict(os.environ),
    )


def is_alive(process_id: int) -> bool:
    """Whether a process runs; one that ended and waits to be taken in does not."""
    status = Path(f"/proc/{process_id}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_server_is_up_when_it_answers_and_gone_after_its_end(tmp_path: Path) -> None:
    server = ServerProcess(spec(tmp_path, SERVES))
    try:
        while not server.is_up():
            pass
    finally:
        server.terminate()
        server.wait_ended()
    with pytest.raises(ServerStopped):
        server.is_up()


def test_a_server_that_dies_is_reported_by_name_with_the_end_of_its_log(tmp_path: Path) -> None:
    server = ServerProcess(spec(tmp_path, DIES))
    with pytest.raises(ServerStopped, match=r"(?s)Sample ended by itself \(exit code 3\).*the database is locked"):
        while True:
            server.check()


def test_a_server_that_will_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    server = ServerProcess(spec(tmp_path, STUBBORN_WITH_A_CHILD))
    while not (said := server.spec.log.read_text()).endswith("\n"):
        server.check()
    child = int(said)
    assert is_alive(child)
    server.terminate()
    server.wait_ended(timeout_s=0.3)
    while is_alive(child):  # whoever takes in orphans does so in its own time
        pass
    with pytest.raises(ServerStopped):
        server.check()
