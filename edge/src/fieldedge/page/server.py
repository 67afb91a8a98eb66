"""The page over HTTP, on the device's own port; unless told otherwise, for this device alone.

It answers: `GET /` with the page, `GET /status.json` with the same facts, `GET /health` with whether the store can be
read. `POST /done` is what a person says of a day on the page itself, where the settings let it; nothing else that a
client sends is kept or changes anything. A request is small and comes within seconds or is dropped, and only so many
are served at once; the page is made at most once in two seconds, however many ask. So a client can make the page slow
for others, and never the agent. It is given only under the device's own names and addresses and those of its settings:
a website that a browser has open cannot read it by pointing its own name here, and so it has no token to answer with.
"""

import io
import ipaddress
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast

from fieldedge.device.config import DeviceConfig, DeviceDirectory
from fieldedge.page.answers import (
    FORM_TYPE,
    MAX_FORM_BYTES,
    ForeignFormError,
    check_origin,
    check_token,
    new_token,
    parse_form,
)
from fieldedge.page.render import STYLE_HASH, render, render_failure, render_refusal
from fieldedge.page.view import plain, read_view
from fieldedge.presentation.facts import ServiceState, View
from fieldedge.storage.store import Store
from fieldedge.system.clock import Stamp, system_time
from fieldedge.system.errors import ConfigError, FieldloopError, PermanentError
from fieldedge.workload import merit
from fieldedge.workloads import known_workload

MAX_CONNECTIONS = 8
MAX_HEAD_BYTES = 16_384
REQUEST_S = 5.0  # a request must be whole by then
ANSWER_S = 10.0  # and its answer be taken
KEPT_S = 2.0
STORE_BUSY_S = 1.0

_HTML, _JSON, _TEXT = "text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8"
_HEADERS = (
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; img-src data:; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
    ("Connection", "close"),
)
OWN_NAMES = ("localhost",)
PATHS = ("/", "/status.json", "/health")
DONE = "/done"
_LENGTH = re.compile(r"[0-9]{1,6}")
_HOST = re.compile(r"(?:(?P<bare>[^\[\]:/@\s]+)|\[(?P<bracketed>[0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?")
_ELSEWHERE = b"421 This device is not known by that name. Add it to names in [page] of its device.toml.\n"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What a path gives."""

    status: int
    kind: str
    body: bytes
    location: str | None = None


class Pages:
    """Makes the answers. Several threads may ask; one at a time reads the store, with a connection of its own."""

    def __init__(
        self,
        directory: DeviceDirectory,
        config: DeviceConfig,
        now: Callable[[], datetime] = system_time,
        service_state: Callable[[], Any] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        stamp: Callable[[], Stamp] | None = None,
    ) -> None:
        self._directory, self._config = directory, config
        self._workload = known_workload(config.workload)
        self._names = frozenset(
            _plain(name) for name in (*OWN_NAMES, config.page.host, *own_names(), *config.page.names)
        )
        self._now, self._service_state, self._monotonic, self._stamp = now, service_state, monotonic, stamp
        self._lock = threading.Lock()
        self._kept: dict[str, Answer] = {}
        self._kept_s = 0.0
        self._token = new_token()

    def is_asked_here(self, host: str, address: str) -> bool:
        """Whether a request that came to this address, for this host (`name`, `name:port`), is for this device."""
        found = _HOST.fullmatch(host.strip())
        if found is None:
            return False
        name = _plain(found["bare"] or found["bracketed"])
        return name in self._names or name == _plain(address) or _is_loopback(name)

    def answer(self, path: str) -> Answer | None:
        """The answer to a GET of that path; None where there is nothing."""
        if path not in PATHS:
            return None
        with self._lock:
            if not self._kept or self._monotonic() - self._kept_s > KEPT_S:
                self._kept = self._made()
                self._kept_s = self._monotonic()
            return self._kept[path]

    def take(self, body: bytes, headers: Mapping[str, str | None], host: str | None) -> Answer:
        """The answer to what a person said of a day: the way back to the page, once it is on disk."""
        try:
            if not self._config.page.takes_answers:
                raise ForeignFormError(
                    "this page takes no answers; say it on the device (fieldedge confirm), or set "
                    "takes_answers of [page] in its device.toml"
                )
            check_origin(headers, host)
            answers = self._workload.answers
            if answers is None:
                raise ForeignFormError(f"the workload {self._workload.name} asks nothing on this page")
            form = parse_form(body, answers.fields)
            check_token(form, self._token)
            with self._lock, Store(self._directory.store, self._stamp, STORE_BUSY_S, merit(self._workload)) as store:
                outcome = answers.store(store, form, self._now().date())
                self._kept = {}
        except ForeignFormError as error:
            return self._refusal(403, str(error))
        except PermanentError as error:
            return self._refusal(422, str(error))
        except (FieldloopError, OSError) as error:
            return self._refusal(503, f"{error}; try again")
        _log.info("answered on the page: episode=%s outcome=%s", form.get("episode"), outcome)
        return Answer(303, _TEXT, b"Noted.\n", location="./")

    def _refusal(self, status: int, what: str) -> Answer:
        return Answer(status, _HTML, render_refusal(self._config.device_id, what).encode())

    def _made(self) -> dict[str, Answer]:
        try:
            view = self._view()
            facts, page, status = plain(view), render(view, self._token), 200 if view.is_readable else 503
            problems = [notice.text for notice in view.notices if notice.level == "bad"]
        except Exception as error:  # noqa: BLE001  (the loop's edge: the page says so, and the agent goes on)
            _log.exception("the page cannot be made")
            what = f"This page cannot be made ({type(error).__name__}). The agent goes on; its log says more."
            facts, page, status = {"error": what}, render_failure(self._config.device_id, what), 500
            problems = [what]
        health = {"is_ok": not problems, "problems": problems}
        return {
            "/": Answer(status, _HTML, page.encode()),
            "/status.json": Answer(status, _JSON, _json(facts)),
            "/health": Answer(503 if problems else 200, _JSON, _json(health)),
        }

    def _view(self) -> View:
        state, trouble = self._state()
        problems = [] if trouble is None else [trouble]
        now = self._now()

        def view(store: Store | None, is_readable: bool = True) -> View:
            return read_view(
                self._directory, self._config, self._workload, now, store, state, problems, is_readable=is_readable
            )

        if not self._directory.store.exists():
            return view(None)
        try:
            with Store(self._directory.store, None, STORE_BUSY_S, merit(self._workload)) as store:
                store.episodes()
                return view(store)
        except (FieldloopError, OSError) as error:
            problems.append(str(error))
            return view(None, is_readable=False)

    def _state(self) -> tuple[ServiceState, str | None]:
        """What the service says of itself, and what went wrong in asking."""
        if self._service_state is None:
            return {}, None
        try:
            return cast("ServiceState", self._service_state()), None
        except Exception as error:  # noqa: BLE001  (whatever it is, the rest of the page does not depend on it)
            _log.exception("the service does not say how it is")
            return {}, f"the service does not say how it is ({type(error).__name__}: {error})"


def _json(values: object) -> bytes:
    return json.dumps(values, allow_nan=False).encode()


def own_names() -> tuple[str, ...]:
    """What this device is called in its network, with mDNS too."""
    name = socket.gethostname()
    return (name, f"{name.partition('.')[0]}.local")


def _plain(name: str) -> str:
    """A name or an address in one spelling."""
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
        return str(getattr(address, "ipv4_mapped", None) or address)
    except ValueError:
        return name.lower().removesuffix(".")


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class PageServer(ThreadingHTTPServer):
    """Answers on its port from the moment it is made until it is closed; `start` does so in a thread of its own."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        self.pages = pages
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._thread: threading.Thread | None = None
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        host, port = self.server_address[0], self.server_address[1]
        shown = f"[{host!s}]" if self.address_family == socket.AF_INET6 else f"{host!s}"
        return f"http://{shown}:{port}/"

    def start(self) -> Self:
        """Serve in a thread until `close`."""
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
        self._thread.name = "page"
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop serving and free the port. Answers under way are not waited for."""
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
            self._thread = None
        self.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def server_bind(self) -> None:
        """As the base class, without asking a name server who we are."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve it in a thread if there is a place; drop it otherwise."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread was begun
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  (called so by the base)
        _log.debug("a request of %s ended early", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One request: the standard library reads it, but only after the whole of it came in time."""

    server: PageServer
    server_version, sys_version = "fieldedge", ""

    def setup(self) -> None:
        super().setup()
        until_s = time.monotonic() + REQUEST_S
        head, body = _read_head(self.connection, until_s)
        self._is_too_large = len(head) > MAX_HEAD_BYTES
        self._begun, self._until_s = body, until_s
        self.rfile = io.BytesIO(head)

    def parse_request(self) -> bool:
        if self._is_too_large:
            self.requestline, self.request_version, self.command = "", "HTTP/1.0", ""
            self.send_error(431)
            return False
        return super().parse_request() and self._is_asked_here()

    def _is_asked_here(self) -> bool:
        """An old client may say no host; whoever says one, says ours, once."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) > 1 or (not hosts and self.request_version >= "HTTP/1.1"):
            self.send_error(400)
            return False
        address = str(self.connection.getsockname()[0])
        if hosts and not self.server.pages.is_asked_here(hosts[0], address):
            self._send(Answer(421, _TEXT, _ELSEWHERE))
            return False
        return True

    def do_GET(self) -> None:
        found = self.server.pages.answer(self.path.partition("?")[0])
        if found is None:
            self.send_error(404)
        else:
            self._send(found)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        if self.path != DONE:
            self.send_error(405 if self.path.partition("?")[0] in PATHS else 404)
            return
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
            self.send_error(411)
        elif int(lengths[0]) > MAX_FORM_BYTES:
            self.send_error(413)
        elif self.headers.get_content_type() != FORM_TYPE:
            self.send_error(415)
        elif (body := self._body(int(lengths[0]))) is None:
            self.send_error(400)
        else:
            origin = {name: self.headers.get(name) for name in ("Origin", "Sec-Fetch-Site")}
            self._send(self.server.pages.take(body, origin, self.headers.get("Host")))

    def _body(self, length: int) -> bytes | None:
        """The form, whole and in time; None where the client leaves before."""
        body = self._begun
        while len(body) < length:
            data = _received(self.connection, self._until_s)
            if not data:
                return None
            body += data
        return body[:length]

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """A short answer in plain text that repeats nothing of the request. An unknown method is one not allowed."""
        status = 405 if code == 501 else code
        words = self.responses.get(status, ("error", ""))[0]
        self._send(Answer(status, _TEXT, f"{status} {words}\n".encode()))

    def _send(self, answer: Answer) -> None:
        self.connection.settimeout(ANSWER_S)  # whatever was left to wait for the request
        self.request_version = "HTTP/1.0"  # whatever was asked in: an answer always has its headers
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.status == 405:
            self.send_header("Allow", "POST" if self.path == DONE else "GET, HEAD")
        for name, value in _HEADERS:
            self.send_header(name, value)
        if answer.location is not None:
            self.send_header("Location", answer.location)
        self.end_headers()
        self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *values: object) -> None:
        _log.debug(format, *values)


def _read_head(connection: socket.socket, until_s: float) -> tuple[bytes, bytes]:
    """What the client sends up to the empty line after its headers, or a little more than the most that is served; and
    what came of a body with it. Nothing where the client leaves before, or takes longer."""
    head = b""
    while len(head) <= MAX_HEAD_BYTES and b"\r\n\r\n" not in head:
        data = _received(connection, until_s)
        if not data:
            return b"", b""
        head += data
    head, end, body = head.partition(b"\r\n\r\n")
    return head + end, body


def _received(connection: socket.socket, until_s: float) -> bytes:
    """What comes next; nothing where the client leaves, or the time is over."""
    left_s = until_s - time.monotonic()
    if left_s <= 0.0:
        return b""
    connection.settimeout(left_s)
    try:
        return connection.recv(4096)
    except OSError:
        return b""


def page_server(
    directory: DeviceDirectory,
    config: DeviceConfig,
    now: Callable[[], datetime] = system_time,
    service_state: Callable[[], Any] | None = None,
    stamp: Callable[[], Stamp] | None = None,
) -> PageServer:
    """The page of a device, bound to the host and port of its settings; `start()` or `with` serves it, `close()` ends
    that. `service_state` gives a `ServiceState`; without one, the page shows what is on disk. `stamp` is the device's
    time, for what is answered; without one it is the system's.

    Raises:
        ConfigError: the port cannot be had.
    """
    host, port = config.page.host, config.page.port
    try:
        return PageServer(host, port, Pages(directory, config, now, service_state, stamp=stamp))
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"the page cannot be served on {host}, port {port}: {error}; set host and port of [page] in "
            f"{directory.settings}"
        ) from error
