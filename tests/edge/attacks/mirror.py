"""A mirror in an attacker's hands: real HTTP, and any bytes that it likes in place of a repository's files."""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CHUNK = b"\x20" * 16_384

Stream = Iterable[bytes]


@dataclass
class Mirror:
    """Serves what lies below `files` as a gateway does (`/tuf/...`).

    `instead` is given a path and the honest bytes (None: there are none) and says what is sent: bytes, None for 404, or
    a stream, which is sent chunk by chunk for as long as somebody listens, and of which no length is said.
    """

    files: Path
    instead: Callable[[str, bytes | None], bytes | Stream | None] = lambda _path, honest: honest
    url: str = ""
    asked: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)

    def honest(self, path: str) -> bytes | None:
        file = self.files / path.removeprefix("/tuf/")
        return file.read_bytes() if file.is_file() else None

    def asked_of(self, kind: str) -> list[str]:
        """What was asked for below `metadata/` or `targets/`."""
        return [path for path in self.asked if path.startswith(f"/tuf/{kind}/")]


def without_end() -> Stream:
    """Blanks for ever: still JSON, if ever an end came."""
    return itertools.repeat(CHUNK)


def pieces(whole: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(whole), size):
        yield whole[at : at + size]


@contextmanager
def serving(mirror: Mirror) -> Iterator[Mirror]:
    """The mirror on the loopback; `url` says where. Each request has a thread, so none can hold up another."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.asked.append(self.path)
            answer = mirror.instead(self.path, mirror.honest(self.path))
            if answer is None:
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            if isinstance(answer, bytes):
                self.send_header("Content-Length", str(len(answer)))
                answer = (answer,)
            self.end_headers()
            with suppress(OSError):
                for piece in answer:
                    self.wfile.write(piece)
                    mirror.sent[self.path] = mirror.sent.get(self.path, 0) + len(piece)

        def log_message(self, format: str, *values: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    mirror.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
