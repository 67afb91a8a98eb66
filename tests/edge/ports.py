"""A port for a server that binds it later."""

import random
import socket

# Below the range from which Linux gives ports away by itself: nobody who asks for any port gets one of these meanwhile.
_FIRST, _LAST = 20_000, 30_000


def free_port() -> int:
    """A port of this machine that nobody listens on, drawn by lot: two tests at once do not draw the same."""
    dice = random.SystemRandom()
    while True:
        port = dice.randrange(_FIRST, _LAST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
