"""The gateway as a context manager: it listens when `with` begins and is gone when `with` ends.

It runs in a thread of this process, on 127.0.0.1 and a free port unless told otherwise. Connections that come
before the application is up wait in the socket's queue. What it answers is `app.py`'s.
"""

import socket
from threading import Event, Thread
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from fieldedge.errors import ConfigError, LinkError

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


class GatewayServer:
    """Serves an application while its `with` block runs.

    Raises:
        ConfigError: the address cannot be bound.
        LinkError: the server did not start.
    """

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        self._port = port
        self._server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=STOP_TIMEOUT_S,
            )
        )
        self._socket: socket.socket | None = None
        self._thread: Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens, like http://127.0.0.1:41234."""
        return f"http://{self._host}:{self._port}"

    def __enter__(self) -> Self:
        self._socket = self._bind()
        self._port = self._socket.getsockname()[1]
        self._thread = Thread(target=self._serve, name="gateway", daemon=True)
        self._thread.start()
        if not self._server.is_up.wait(START_TIMEOUT_S) or not self._server.started:
            self._stop()
            raise LinkError(f"the gateway did not start on {self.url}; its log says why")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _bind(self) -> socket.socket:
        try:
            return socket.create_server((self._host, self._port), backlog=256)
        except OSError as error:
            raise ConfigError(
                f"the gateway cannot listen on {self._host}:{self._port}: {error}. Choose another port."
            ) from error

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket] if self._socket else None)
        finally:
            self._server.is_up.set()

    def _stop(self) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_TIMEOUT_S + 5)
        if self._socket is not None:
            self._socket.close()
