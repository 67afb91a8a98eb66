"""A device enrols itself: with a one-time token that an operator made, and its public key.

The request is signed with the key that is enrolled, so that nobody enrols a key that is not his. Asked again with the
same token, by the same device and key, a gateway says yes again: an answer that was lost costs no token.
"""

import json

import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldedge.system.errors import ConfigError, LinkError
from fieldedge.system.http import Answer, ask, json_value, redirected
from fieldedge.system.keys import public_key_hex, sign

ENROLMENTS_PATH = "/v1/enrolments"
PREFIX = b"fieldloop enrolment "
TIMEOUT_S = 30.0


def enrolment(key: Ed25519PrivateKey, device_id: str, token: str) -> tuple[bytes, str]:
    """The body of a request to enrol, and its signature (base64) over `PREFIX` and the body."""
    said = {"device_id": device_id, "public_key": public_key_hex(key), "token": token}
    body = json.dumps(said, sort_keys=True).encode()
    return body, sign(key, PREFIX + body)


def enrol(gateway: str, token: str, device_id: str, key: Ed25519PrivateKey) -> None:
    """Have the gateway know this device. Repeatable with the same token.

    Raises:
        ConfigError: the gateway refuses; the message says why, by the refusal's name.
        LinkError: nobody answered, or not a gateway that enrols; try again later.
    """
    body, signature = enrolment(key, device_id, token)
    url = f"{gateway.rstrip('/')}{ENROLMENTS_PATH}"
    headers = {"Content-Type": "application/json", "Fieldloop-Signature": signature}
    answered = ask("POST", url, urllib3.Timeout(total=TIMEOUT_S), body, headers)
    answer = json_value(answered.body)
    if answered.status in (200, 201) and isinstance(answer, dict) and answer.get("enrolled") == device_id:
        return
    if answered.location is not None:
        raise LinkError(f"{url} {redirected(answered)}; the device is made, and init can be run again")
    reason = _reason(answered, answer)
    if 400 <= answered.status < 500 and answered.status not in (404, 405, 408, 429):
        raise ConfigError(f"{gateway} does not enrol {device_id}: {reason}")
    raise LinkError(f"{gateway} answered {answered.status} ({reason}); the device is made: run init again to enrol it")


def _reason(answered: Answer, answer: object) -> str:
    if not isinstance(answer, dict) or "error" not in answer:
        return "it enrols nobody: see that it is `fieldloop gateway serve`" if answered.status == 404 else "no reason"
    return f"{answer.get('refusal', 'refused')}: {answer['error']}"[:300]
