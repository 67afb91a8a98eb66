"""Prefect's server for a loop run by hand: it starts beside the imports and ends with the loop, however that ends.

Prefect's own temporary server shares the terminal's process group, so Ctrl-C ends it first and the flow then waits
for minutes to tell it that it was stopped; and it outlives a loop that is killed. This one leads its own group, and
ends when the pipe that its parent holds is closed, which a kill does too. `PREFECT_API_URL` in the environment means
that a server is there already, `make ui`'s (`fieldloop.ui.serve`) or another; then none is started.
"""

import atexit
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import urllib3

from fieldedge.system.errors import ConfigError, LinkError
from fieldedge.system.http import ask
from flows.server_template import begin_with_template

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 180.0
END_TIMEOUT_S = 5.0
LOOK_S = 15.0
_LOOK_EVERY_S = 0.1
_LOG_TAIL_BYTES = 2_000
_API_URL = "PREFECT_API_URL"
_AWAY = (502, 503, 504)
# As Prefect starts its own temporary server: the interface and the services of a lasting one stay off.
_TEMPORARY = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


class LocalServer:
    """A started server; `wait_until_up` before the first run that needs it."""

    def __init__(self, log: Path) -> None:
        """Start it on a free port of this machine; what it writes goes to `log`."""
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        if home := os.environ.get("PREFECT_HOME"):
            begin_with_template(Path(home))
        listener = socket.create_server((LOOPBACK, 0))
        self.port = int(listener.getsockname()[1])
        with listener, log.open("wb") as stream:
            # The child is handed the open socket, so that no other process can take the port in between.
            self._process = subprocess.Popen(  # noqa: S603 - this very module
                [sys.executable, "-m", "flows.local_server", str(listener.fileno())],
                env={**os.environ, **_TEMPORARY},
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )

    @property
    def api_url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/api"

    def wait_until_up(self) -> None:
        """Return when it answers.

        Raises:
            LinkError: it ended, or did not answer in time.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if (code := self._process.poll()) is not None:
                raise LinkError(f"Prefect's server ended with exit code {code}: {self._tail()}")
            if time.monotonic() > deadline:
                raise LinkError(f"Prefect's server did not answer within {START_TIMEOUT_S:.0f} s; see {self.log}")
            time.sleep(_LOOK_EVERY_S)

    def end(self) -> None:
        """End it and wait until it is gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(2 * END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=START_TIMEOUT_S)
        try:
            connection.request("GET", "/api/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _tail(self) -> str:
        said = self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
        return f"{said.splitlines()[-1] if said else 'it wrote nothing'} ({self.log})"


def start_local_server(log: Path) -> LocalServer | None:
    """A server for this process and its children until it exits; None where the environment names one.

    Call it before Prefect is imported: Prefect reads the address then. It must outlive the threads that tell it what
    happened, which Prefect joins at exit, so it is ended after them.

    Raises:
        LinkError: nobody answers at the address that the environment names.
    """
    if named := os.environ.get(_API_URL):
        _require_answer(named)
        return None
    server = LocalServer(log)
    os.environ[_API_URL] = server.api_url
    atexit.register(server.end)
    return server


def _require_answer(api_url: str) -> None:
    """Whatever answers is a server: one that asks for a login, say, is Prefect's own matter."""
    try:
        answer = ask("GET", f"{api_url.rstrip('/')}/health", urllib3.Timeout(total=LOOK_S))
    except (LinkError, ConfigError) as error:
        raise LinkError(
            f"{_API_URL} in the environment names a Prefect server, and nobody answers there: {error}. Start that "
            f"server, or let this run have its own: unset {_API_URL}"
        ) from error
    if answer.status in _AWAY:
        raise LinkError(
            f"{_API_URL} in the environment names {api_url}, for which a proxy answers {answer.status}: start that "
            f"server, or let this run have its own: unset {_API_URL}"
        )


def _end_with_parent() -> None:
    """Ask the server to end as soon as the parent is gone or says so; what it was told is written down first."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_TIMEOUT_S)
    os._exit(1)


def _serve(socket_number: int) -> None:
    import uvicorn

    threading.Thread(target=_end_with_parent, daemon=True).start()
    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        fd=socket_number,
        log_level="error",
        lifespan="on",
    )


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
