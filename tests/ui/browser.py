"""A browser that goes to the address as it is written and follows redirects on the same server."""

import http.client
from urllib.parse import urlsplit

from tests.edge.patience import PATIENCE_S


def get(url: str) -> tuple[int, str]:
    """Status and text of a page."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE_S)
    try:
        connection.request("GET", url.removeprefix(f"http://{parts.netloc}") or "/")
        answer = connection.getresponse()
        text = answer.read().decode()
        target = answer.getheader("location")
    finally:
        connection.close()
    return get(f"http://{parts.netloc}{urlsplit(target).path}") if target else (answer.status, text)
