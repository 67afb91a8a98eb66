"""Strangers at the gateway."""

import http.client
from pathlib import Path

from benchmarks.attacks import Outcome, attack
from fieldloop.gateway.app import create_app
from fieldloop.gateway.server import GatewayServer
from fieldloop.release import ReleaseRepository


@attack(line=21, words="a stranger asks for the signing keys beside the releases")
def keys_asked_for(scratch: Path) -> Outcome:
    """Every spelling of a way from the served folders to the keys."""
    ReleaseRepository(scratch / "tuf")
    secret = (scratch / "tuf" / "keys" / "root.pem").read_bytes()
    ways = ("/tuf/keys/root.pem", "/tuf/metadata/../keys/root.pem", "/tuf/metadata/%2e%2e/keys/root.pem")
    ways += ("/tuf/metadata/..%2fkeys/root.pem", "/tuf/targets/..%5ckeys/root.pem", f"/tuf/metadata/{scratch}/tuf/keys")
    given = 0
    with GatewayServer(create_app(scratch / "tuf", scratch / "inbox", scratch / "devices.json")) as gateway:
        for way in ways:
            connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=10)
            connection.request("GET", way)
            answer = connection.getresponse()
            given += answer.status == 200 or secret in answer.read()
            connection.close()
    return Outcome(accepted=given, lost=0, detail=f"{len(ways)} ways tried")
