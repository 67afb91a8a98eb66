"""Whatever stands on the wire in place of an answer: a short answer to read, or one error that names the address."""

import pytest
import urllib3

from fieldedge.errors import LinkError
from fieldedge.http_client import MAX_ANSWER_BYTES, ask
from tests.edge.raw_server import RawServer

TIMEOUT = urllib3.Timeout(total=5.0)


@pytest.fixture(scope="module")
def server() -> RawServer:
    return RawServer()


def asked(server: RawServer, answer: bytes) -> tuple[int, bytes]:
    server.next = answer.replace(b"200 Any\r\n", b"200 Any\r\nConnection: close\r\n")  # the server hangs up
    found = ask("GET", server.url, TIMEOUT)
    return found.status, found.body


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 Any\r\nContent-Length: 2\r\n\r\nok", (200, b"ok")),
        (b"HTTP/1.1 200 Any\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", (200, b"ok")),
        (b"HTTP/1.1 302 Any\r\nConnection: close\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n", (302, b"")),
        (b"HTTP/1.1 503 Any\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlater", (503, b"later")),
    ],
)
def test_an_answer_is_its_status_and_its_body(server: RawServer, answer: bytes, expected: tuple[int, bytes]) -> None:
    assert asked(server, answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 Any\r\nContent-Length: 99\r\n\r\nbroken off",
        b"HTTP/1.1 200 Any\r\nContent-Length: %d\r\n\r\nof exabytes" % 10**18,
        b"HTTP/1.1 200 Any\r\nContent-Length: %d\r\n\r\nno length at all" % 10**30,
        b"HTTP/1.1 200 Any\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\nof exabytes" % 10**18,
        b"HTTP/1.1 200 Any\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nless than none",
        b"HTTP/1.1 200 Any\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain",
    ],
)
def test_what_http_cannot_read_is_a_failed_link_that_names_the_address(server: RawServer, answer: bytes) -> None:
    try:
        asked(server, answer)
    except LinkError as error:
        assert str(error).startswith(f"{server.url} cannot be reached: ") and not str(error).endswith(": ")
    else:
        assert b"exabytes" in answer or b"no length" in answer  # read as far as it goes


def test_of_an_answer_without_end_only_the_beginning_is_read(server: RawServer) -> None:
    status, body = asked(server, b"HTTP/1.1 200 Any\r\n\r\n" + b"x" * 10 * MAX_ANSWER_BYTES)
    assert (status, len(body)) == (200, MAX_ANSWER_BYTES)


def test_nobody_there_is_a_failed_link() -> None:
    with pytest.raises(LinkError, match="cannot be reached"):
        ask("GET", "http://127.0.0.1:1/", TIMEOUT)
