"""Whatever bytes a test wants to see on the wire in place of an HTTP answer."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from time import sleep

from tests.edge.patience import PATIENCE_S


class RawServer:
    """A server that says `next` to whoever asks, as it stands, and hangs up. What stands in `slowly` comes before, a
    byte every tenth of a second until nobody listens; `pace` waits after each of them."""

    def __init__(self) -> None:
        self.next = self.slowly = b""
        self.asked = 0
        self.pace: Callable[[], object] = lambda: sleep(0.1)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(PATIENCE_S)
            self.asked += 1
            _read_request(connection)
            for byte in self.slowly:
                connection.sendall(bytes([byte]))
                self.pace()
            connection.sendall(self.next)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(2.0)  # for whoever keeps the connection for a next request
            while connection.recv(65_536):
                pass


def _read_request(connection: socket.socket) -> None:
    """A request with its body, so that the hanging up is not taken for a reset."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        piece = connection.recv(65_536)
        if not piece:
            return
        seen += piece
    head, _, body = seen.partition(b"\r\n\r\n")
    length = next(
        (int(v) for n, _, v in (h.partition(b":") for h in head.split(b"\r\n")) if n.lower() == b"content-length"), 0
    )
    while len(body) < length:
        body += connection.recv(65_536)
