"""Connections: how many there are, from whom, and how long one may take.

Who sends nothing makes room for who comes, so that strangers who hold connections open shut nobody out: an address that
has too many closes its own oldest idle one, and where all are taken the oldest idle one of all goes. Headers, bodies,
answers and pauses between requests each have a time. What is asked and who may ask is the application's
business.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections there may be, and how long each part of one may take, in seconds.

    `headers_s` runs from the first byte of a request to its last header, and from being connected to the first request;
    `idle_s` from an answer to the next request; `stalled_s` is how long nothing may move in a body or an answer;
    `exchange_s` bounds a request and its answer together, however slowly they move; `linger_s` is how long what is left
    of a refused body is thrown away, so that its sender can read why. A connection that has been busy for `patience_s`
    makes room where no idle one can.
    """

    connections: int = 512
    per_address: int = 128
    headers_s: float = 10.0
    idle_s: float = 15.0
    stalled_s: float = 30.0
    exchange_s: float = 3_600.0
    linger_s: float = 30.0
    patience_s: float = 30.0


class Connections:
    """All connections of one server. Used in its event loop alone."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: dict[GuardedProtocol, None] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator["GuardedProtocol"]:
        return iter(list(self._open))

    def protocol(self) -> Callable[..., asyncio.Protocol]:
        """What uvicorn makes of each new connection."""

        def made(**arguments: Any) -> GuardedProtocol:
            return GuardedProtocol(connections=self, **arguments)

        return made

    def opened(self, connection: "GuardedProtocol") -> None:
        """Count a connection; where there are too many, one that waits for nothing of ours is closed for it."""
        self._open[connection] = None
        same_address = [other for other in self._open if other.address == connection.address]
        if len(same_address) > self.limits.per_address:
            self._make_room(same_address, connection)
        if len(self._open) > self.limits.connections:
            self._make_room(self._open, connection)
        if self._sweeper is None:
            self._sweep()

    def closed(self, connection: "GuardedProtocol") -> None:
        """Forget a connection that is gone."""
        self._open.pop(connection, None)

    def _make_room(self, among: Iterable["GuardedProtocol"], newest: "GuardedProtocol") -> None:
        others = [other for other in among if other is not newest and other in self._open]
        idle = [other for other in others if other.is_idle]
        now_s = newest.loop.time()
        slow = [other for other in others if now_s - other.since_s > self.limits.patience_s]
        leaving = min(idle or slow or [newest], key=lambda other: other.since_s)
        self._open.pop(leaving, None)
        if leaving is newest:
            _log.warning("a connection from %s is refused: %d are busy", newest.address, len(others))
            newest.transport.write(_BUSY)
        leaving.end()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        for connection in list(self._open):
            why = connection.overdue(now_s)
            if why:
                _log.info("a connection from %s is closed: %s", connection.address, why)
                self._open.pop(connection, None)
                connection.end()
        limits = self.limits
        shortest_s = min(limits.headers_s, limits.idle_s, limits.stalled_s, limits.exchange_s, limits.linger_s)
        self._sweeper = loop.call_later(min(shortest_s / 4, 1.0), self._sweep) if self._open else None


class GuardedProtocol(H11Protocol):
    """uvicorn's connection, which knows what it waits for and since when."""

    def __init__(self, connections: Connections, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.since_s = 0.0  # idle: since the last answer or the first byte after it; busy: since the headers were read
        self.is_idle = True
        self._connections = connections
        self._has_begun = False
        self._is_first = True
        self._lingers_since_s: float | None = None
        self._moved_s = 0.0
        self._unsent_bytes = 0
        self._transport: asyncio.Transport | None = None

    @property
    def address(self) -> str:
        """Who is at the other end."""
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self.since_s = self._moved_s = self.loop.time()
        super().connection_made(cast("asyncio.Transport", _LingeringTransport(transport, self._linger)))
        self._connections.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._moved_s = self.loop.time()
        if self._lingers_since_s is not None:
            return
        if self.is_idle and not self._has_begun:
            self._has_begun = True
            self.since_s = self.since_s if self._is_first else self._moved_s
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()
        if self._linger():
            self._unset_keepalive_if_required()

    def overdue(self, now_s: float) -> str:
        """Why this connection has lasted long enough, or nothing."""
        limits = self._connections.limits
        if self._lingers_since_s is not None:
            return "it goes on sending what was refused" if now_s - self._lingers_since_s > limits.linger_s else ""
        if self.is_idle:
            is_waited_for = self._has_begun or self._is_first
            if now_s - self.since_s > (limits.headers_s if is_waited_for else limits.idle_s):
                return "no request came" if not self._has_begun else "its headers did not end"
            return ""
        unsent_bytes = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if unsent_bytes != self._unsent_bytes:
            self._unsent_bytes, self._moved_s = unsent_bytes, now_s
        is_ours = not self._is_body_left() and not unsent_bytes
        if not is_ours and now_s - self._moved_s > limits.stalled_s:
            return "nothing moves"
        return "it takes too long" if now_s - self.since_s > limits.exchange_s else ""

    def end(self) -> None:
        """Close without waiting for anything, and without losing what was written."""
        if self._transport is not None:
            unsent_bytes = self._transport.get_write_buffer_size()
            (self._transport.abort if unsent_bytes else self._transport.close)()

    def _look(self) -> None:
        """Notice where a request began or an answer ended."""
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle != self.is_idle:
            self.is_idle, self.since_s = is_idle, self.loop.time()
            self._is_first = self._has_begun = False

    def _is_body_left(self) -> bool:
        return self.cycle is not None and self.cycle.more_body

    def _linger(self) -> bool:
        """Say that this was the last answer and throw away what still comes; whether there is something to come.

        Closing at once would reset the connection, and its sender would never read the answer.
        """
        if self._lingers_since_s is not None or self._transport is None or self._transport.is_closing():
            return self._lingers_since_s is not None
        if not self._is_body_left() or not self.cycle.response_complete:
            return False
        self.is_idle, self._lingers_since_s = True, self.loop.time()
        self.since_s = self._lingers_since_s
        with suppress(OSError):  # the other end is gone: the transport notices by itself
            self._transport.write_eof()
        self.flow.resume_reading()
        return True


class _LingeringTransport:
    """A transport that closes only after the other end was told why, where it is still sending."""

    def __init__(self, transport: asyncio.Transport, linger: Callable[[], bool]) -> None:
        self._transport = transport
        self._linger = linger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Close, or let what still comes be thrown away first."""
        if not self._linger():
            self._transport.close()
