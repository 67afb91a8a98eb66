"""A web application's server as a context manager: it listens when `with` begins and is gone when `with` ends.

It runs in a thread of this process, on 127.0.0.1 and a free port unless told otherwise. Connections that come
before the application is up wait in the socket's queue. How many it holds, and for how long, is `http_connections.py`'s
rule; what is answered, the application's: the gateway's for devices, the pages' for a person.
"""

import asyncio
import math
import resource
import socket
from dataclasses import replace
from threading import Event, Thread
from types import TracebackType
from typing import Self, cast

import uvicorn
from starlette.types import ASGIApp

from fieldedge.system.errors import ConfigError, LinkError
from fieldloop.core.http_connections import ConnectionLimits, Connections

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10
ACCEPTED_AT_ONCE = 64
QUEUE = 1_024
FILES_PER_CONNECTION = 3  # its socket, a file that it is sent, and one in the making


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for bound in sockets or ():
            bound.listen(QUEUE)  # uvicorn's one number is also how many are accepted before one is looked at
        self.is_up.set()


class HttpServer:
    """Serves an application while its `with` block runs.

    Raises:
        ConfigError: the address cannot be bound.
        LinkError: the server did not start.
    """

    def __init__(
        self, app: ASGIApp, host: str = "127.0.0.1", port: int = 0, limits: ConnectionLimits | None = None
    ) -> None:
        self._host = host
        self._port = port
        self.connections = Connections(_within_the_files(limits or ConnectionLimits()))
        self._server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                # uvicorn calls what it is given here, class or not
                http=cast("type[asyncio.Protocol]", self.connections.protocol()),
                ws="none",
                backlog=ACCEPTED_AT_ONCE,
                timeout_keep_alive=math.ceil(self.connections.limits.idle_s),
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
        self._thread = Thread(target=self._serve, name="http", daemon=True)
        self._thread.start()
        if not self._server.is_up.wait(START_TIMEOUT_S) or not self._server.started:
            self._stop()
            raise LinkError(f"the server did not start on {self.url}; its log says why")
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
            bound = socket.create_server((self._host, self._port), backlog=QUEUE)
        except OSError as error:
            raise ConfigError(
                f"{self._host}:{self._port} cannot be listened on: {error}. Choose another port."
            ) from error
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or each answer waits 40 ms for an ACK
        return bound

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


def _within_the_files(limits: ConnectionLimits) -> ConnectionLimits:
    """No more connections than this process may open files for."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = max(files // FILES_PER_CONNECTION - ACCEPTED_AT_ONCE, 1)
    if files == resource.RLIM_INFINITY or most >= limits.connections:
        return limits
    return replace(limits, connections=most, per_address=min(limits.per_address, most))
