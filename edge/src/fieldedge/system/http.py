"""Asking over HTTP, whoever answers: bounded in time and in bytes, and every failure is a `LinkError`.

Only an address, or a proxy's, that can never work is a `ConfigError`, before anybody is asked.

An exchange is one request and its answer. It runs in a thread of its own, and whoever asked waits for it no longer than
is allowed, whatever holds it up: a name server, a handshake, headers or a body that drip. What is allowed grows with
what has come: a slow link takes its time, a server that sends a byte a second does not get any. No redirect is followed
and no encoding is undone; what an answer says of its own length is not believed.
"""

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from fieldedge.system import strict_json
from fieldedge.system.addresses import checked_address
from fieldedge.system.errors import LinkError

MAX_ANSWER_BYTES = 65_536
UNREADABLE = (urllib3.exceptions.HTTPError, OSError, ValueError, ArithmeticError, LookupError, MemoryError)
CHUNK_BYTES = 16_384
LOOK_AROUND_S = 0.5
_WAITING_CHUNKS = 4
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Patience:
    """How long an exchange may take: `grace_s`, and for what has moved as long as it takes at `min_bytes_per_s`.

    `connect_s` and `silence_s` bound the wait for a connection and for the next byte.
    """

    connect_s: float = 10.0
    silence_s: float = 30.0
    grace_s: float = 60.0
    min_bytes_per_s: float = 200.0

    def allowed_s(self, moved_bytes: int) -> float:
        return self.grace_s + moved_bytes / self.min_bytes_per_s


@dataclass(frozen=True)
class Bounds:
    """What ends an exchange from outside: the end of the whole step (monotonic, s), and someone who needs its place."""

    ends_s: float = float("inf")
    must_stop: Callable[[], bool] = lambda: False

    @classmethod
    def within(cls, total_s: float, must_stop: Callable[[], bool] = lambda: False) -> "Bounds":
        """From now on for so long."""
        return cls(time.monotonic() + total_s, must_stop)


@dataclass(frozen=True)
class Answer:
    """What came back: the status, the first `MAX_ANSWER_BYTES` of the body, and where a redirect points."""

    status: int
    body: bytes
    location: str | None = None


@dataclass(frozen=True)
class Response:
    """An answer whose body still comes, in chunks; `content_range` says which part of the whole that is, if any."""

    status: int
    location: str | None
    chunks: Iterator[bytes]
    content_range: str | None = None


def ask(
    method: str,
    url: str,
    timeout: urllib3.Timeout,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    bounds: "Bounds | None" = None,
    patience: "Patience | None" = None,
) -> Answer:
    """One request, without a second try. `timeout.total` is the whole time of it; without one, `patience` says it.

    Raises:
        ConfigError: the address, or that of the proxy, can never work.
        LinkError: nobody answered in time, or nothing that HTTP can read.
    """
    bounds, patience = bounds or Bounds(), patience or Patience()
    if isinstance(timeout.total, int | float):
        bounds = Bounds(min(bounds.ends_s, time.monotonic() + timeout.total), bounds.must_stop)
    with exchange(method, url, patience, bounds, body, headers, timeout=timeout) as response:
        found = b""
        for chunk in response.chunks:
            found += chunk
            if len(found) >= MAX_ANSWER_BYTES:
                break
    is_redirect = 300 <= response.status < 400
    return Answer(response.status, found[:MAX_ANSWER_BYTES], response.location or "nowhere" if is_redirect else None)


@contextmanager
def exchange(
    method: str,
    url: str,
    patience: Patience,
    bounds: Bounds,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout: urllib3.Timeout | None = None,
    tries: int = 1,
) -> Iterator[Response]:
    """One request and its answer, whose body may be read in the block. The connection is kept for the next one.

    Raises:
        ConfigError: the address, or that of the proxy, can never work.
        LinkError: nobody answered in time, or nothing that HTTP can read; also while the body is read.
    """
    manager = _manager_for(checked_address("the address", url))
    allowed = timeout or urllib3.Timeout(connect=patience.connect_s, read=patience.silence_s)
    running = _Exchange(manager, url, patience, bounds, len(body or b""))
    options: dict[str, Any] = {"body": body, "headers": dict(headers or {}), "timeout": allowed}
    options["retries"] = _retries(tries)
    threading.Thread(target=running.run, args=(method, options), name="exchange", daemon=True).start()
    try:
        status, location, content_range = running.head()
        yield Response(status, location, running.chunks(), content_range)
    finally:
        running.abandon()


def json_value(body: bytes) -> Any:
    """What an answer says, or None where it is no JSON that can be read: cut, nested, or with one name twice."""
    try:
        return strict_json.loads(body)
    except (ValueError, RecursionError):
        return None


def redirected(answer: Answer | Response) -> str:
    """What a redirect says, for people. None is followed: whoever points elsewhere may be a login page, or anybody."""
    to = str(answer.location)[:100]
    return f"answers {answer.status} and points to {to!r}; redirects are not followed: name the address itself"


_OBJECT = re.compile(r"\A\w+\(host=[^)]*\): ")  # how urllib3 names a connection in front of what failed


def words(error: BaseException) -> str:
    """What an error says, without the object that it happened to; its name where it says nothing."""
    cause = getattr(error, "reason", None)
    if isinstance(error, urllib3.exceptions.MaxRetryError) and isinstance(cause, Exception):
        error = cause
    return _OBJECT.sub("", str(error)) or type(error).__name__


_Head = tuple[int, str | None, str | None]  # the status, where a redirect points, which range it is


class _Exchange:
    """What a thread and whoever waits for it share."""

    def __init__(
        self, manager: urllib3.PoolManager, url: str, patience: Patience, bounds: Bounds, sent_bytes: int
    ) -> None:
        self._manager, self._url, self._patience, self._bounds = manager, url, patience, bounds
        self._moved_bytes, self._received_bytes = sent_bytes, 0
        self._began_s = time.monotonic()
        self._parts: queue.Queue[_Head | bytes | BaseException] = queue.Queue(_WAITING_CHUNKS)
        self._is_abandoned, self._has_ended = threading.Event(), threading.Event()
        self._connection: HTTPConnection | None = None

    # In the thread

    def run(self, method: str, options: dict[str, Any]) -> None:
        _of_thread.exchange = self
        try:
            self._put(self._read(method, options))
        except BaseException as error:  # noqa: BLE001  (it is raised where somebody waits)
            self._put(error)
        finally:
            self._has_ended.set()

    def holds(self, connection: HTTPConnection) -> None:
        """A connection works for this exchange now."""
        self._connection = connection
        if self._is_abandoned.is_set():
            raise OSError("nobody waits for it any more")

    def _read(self, method: str, options: dict[str, Any]) -> bytes:
        response = self._manager.request(
            method, self._url, redirect=False, preload_content=False, decode_content=False, **options
        )
        with response:
            encoding = response.headers.get("content-encoding", "identity")
            if encoding != "identity":
                raise ValueError(f"the answer is encoded as {encoding[:40]!r}, for which nobody asked")
            headers = response.headers
            self._put((response.status, headers.get("location"), headers.get("content-range")))
            # An answer that closes its connection has taken the socket with it: `abandon` cannot shut that.
            while not self._is_abandoned.is_set() and (chunk := response.read1(CHUNK_BYTES)):
                self._put(chunk)
        return b""

    def _put(self, part: _Head | bytes | BaseException) -> None:
        while not self._is_abandoned.is_set():
            with suppress(queue.Full):
                self._parts.put(part, timeout=LOOK_AROUND_S)
                return

    # Where somebody waits

    def head(self) -> _Head:
        part = self._next()
        assert isinstance(part, tuple)  # noqa: S101  (the first part is no other)
        return part

    def chunks(self) -> Iterator[bytes]:
        while chunk := self._next():
            assert isinstance(chunk, bytes)  # noqa: S101
            yield chunk

    def abandon(self) -> None:
        """Let the thread go: whatever it waits for on the wire ends now."""
        if self._has_ended.is_set():
            return
        self._is_abandoned.set()
        sock = None if self._connection is None else self._connection.sock
        if sock is not None:
            with suppress(OSError, ValueError):
                sock.shutdown(2)

    def _next(self) -> _Head | bytes:
        while True:
            left_s = self._left_s()
            if left_s <= 0.0:
                raise LinkError(self._too_long())
            if self._bounds.must_stop():
                raise LinkError(f"{self._url} was left: another fieldedge command needs its place now")
            with suppress(queue.Empty):
                part = self._parts.get(timeout=min(left_s, LOOK_AROUND_S))
                break
        if isinstance(part, UNREADABLE):
            raise LinkError(f"{self._url} cannot be reached: {words(part)}") from part
        if isinstance(part, BaseException):
            raise part
        if isinstance(part, bytes):
            self._moved_bytes += len(part)
            self._received_bytes += len(part)
        return part

    def _left_s(self) -> float:
        allowed_s = self._began_s + self._patience.allowed_s(self._moved_bytes)
        return min(allowed_s, self._bounds.ends_s) - time.monotonic()

    def _too_long(self) -> str:
        took_s = time.monotonic() - self._began_s
        if self._bounds.ends_s < self._began_s + self._patience.allowed_s(self._moved_bytes):
            why = "no more time is allowed for it"
        else:
            why = f"at least {self._patience.min_bytes_per_s:g} bytes a second are expected"
        return f"{self._url} cannot be reached: {self._received_bytes} bytes came in {took_s:.1f} s, and {why}"


class _Held:
    """Tells the exchange which connection works for it, so that it can be cut off."""

    def connect(self) -> None:
        self._tell()
        super().connect()  # type: ignore[misc]  # of the connection beside it
        self._tell()

    def request(self, *values: Any, **named: Any) -> None:
        self._tell()
        super().request(*values, **named)  # type: ignore[misc]  # of the connection beside it

    def _tell(self) -> None:
        running = getattr(_of_thread, "exchange", None)
        if running is not None:
            running.holds(self)


class _Plain(_Held, HTTPConnection):
    pass


class _Secure(_Held, HTTPSConnection):
    pass


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


_of_thread = threading.local()


def _manager_for(url: str) -> urllib3.PoolManager:
    """Straight to the server, or through the proxy that the environment names for its kind of address."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = {} if host in _LOOPBACK or proxy_bypass(host) else getproxies()
    kind = parts.scheme if proxies.get(parts.scheme) else "all"
    proxy = proxies.get(kind)
    return _manager(checked_address(f"{kind}_proxy", proxy, "http://proxy.example.org:3128") if proxy else None)


@cache
def _manager(proxy: str | None) -> urllib3.PoolManager:
    options: dict[str, Any] = {"num_pools": 2, "maxsize": 2}
    manager = urllib3.PoolManager(**options) if proxy is None else urllib3.ProxyManager(proxy, **options)
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return manager


def _retries(tries: int) -> urllib3.Retry | bool:
    """A second try is for a connection that broke; what a server answers is never tried again, nor at its word."""
    if tries <= 1:
        return False
    return urllib3.Retry(
        total=tries - 1, redirect=0, status=0, respect_retry_after_header=False, raise_on_redirect=False
    )
