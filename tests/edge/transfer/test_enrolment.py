"""A device enrols itself, and says what came of it: refused for good, or to be asked again."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldedge.cli import main
from fieldedge.system.errors import ConfigError, LinkError
from fieldedge.system.keys import is_signed_by, public_key_hex
from fieldedge.transfer.enrolment import ENROLMENTS_PATH, PREFIX, enrol

KEY = Ed25519PrivateKey.generate()
Judge = Callable[[bytes, str], tuple[int, dict[str, str]]]


@contextmanager
def gateway(judge: Judge) -> Iterator[str]:
    """A server that answers an enrolment as `judge` says of its body and signature."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == ENROLMENTS_PATH
            status, said = judge(body, self.headers["fieldloop-signature"])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_what_is_sent_is_signed_with_the_key_that_it_names() -> None:
    def judge(body: bytes, signature: str) -> tuple[int, dict[str, str]]:
        said = json.loads(body)
        assert said == {"device_id": "dev-07", "public_key": public_key_hex(KEY), "token": "a-token"}
        return (201 if is_signed_by(said["public_key"], PREFIX + body, signature) else 401), {"enrolled": "dev-07"}

    with gateway(judge) as url:
        enrol(f"{url}/", "a-token", "dev-07", KEY)


@pytest.mark.parametrize(
    ("status", "said", "kind", "words"),
    [
        (403, {"refusal": "used-token", "error": "ask for another"}, ConfigError, "used-token: ask for another"),
        (404, {"detail": "Not Found"}, LinkError, "it enrols nobody"),
        (503, {"error": "later"}, LinkError, "run init again"),
        (201, {"enrolled": "dev-08"}, LinkError, "answered 201"),  # whoever that is, it does not speak of this device
    ],
)
def test_a_refusal_is_for_good_and_any_other_answer_is_asked_again(
    status: int, said: dict[str, str], kind: type[Exception], words: str
) -> None:
    with gateway(lambda *_: (status, said)) as url, pytest.raises(kind, match=words):
        enrol(url, "a-token", "dev-07", KEY)


@pytest.mark.parametrize("named", [["--gateway", "http://gateway.example.org"], ["--token", "a-token"]])
def test_a_gateway_and_a_token_go_together(
    named: list[str], tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path_factory.mktemp("made") / "device"
    options = ["--dir", str(folder), "--device-id", "dev-07", "--workload", "agriculture", "--root", "1.root.json"]
    assert main(["init", *options, *named]) == 1
    assert "go together" in capsys.readouterr().err
    assert not folder.exists()
