"""The gateway acknowledges what it has on disk and can attribute, and nothing else."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.testclient import TestClient

from fieldedge.system.errors import ConfigError
from fieldedge.system.keys import is_signed_by, public_key_hex, sign
from fieldedge.transfer.acknowledgements import statement
from fieldedge.transfer.opening import opening_headers
from fieldloop.gateway.app import create_app
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.release import ReleaseRepository

MAX_UPLOAD_BYTES = 1_000
BODY = b"a batch"
SHA256 = hashlib.sha256(BODY).hexdigest()
KEY = Ed25519PrivateKey.generate()


def signed(body: bytes, device_id: str = "dev-00", key: Ed25519PrivateKey = KEY) -> dict[str, str]:
    return {"Fieldloop-Device": device_id, "Fieldloop-Signature": sign(key, body)}


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


@pytest.fixture
def gateway(tmp_path: Path, inbox: Path) -> TestClient:
    ReleaseRepository(tmp_path / "tuf")
    registry = DeviceRegistry(tmp_path / "devices.json")
    registry.register({"dev-00": public_key_hex(KEY)})
    return TestClient(create_app(tmp_path / "tuf", inbox, registry.path, MAX_UPLOAD_BYTES))


def test_health_is_ok(gateway: TestClient) -> None:
    assert gateway.get("/v1/health").json() == {"ok": True}


def test_a_new_batch_is_acknowledged_with_its_hash_and_lies_in_the_inbox_with_its_envelope(
    gateway: TestClient, inbox: Path
) -> None:
    answer = gateway.post("/v1/batches", content=BODY, headers=signed(BODY))
    assert (answer.status_code, answer.json()["acknowledged"]) == (201, SHA256)
    assert (inbox / "dev-00" / f"{SHA256}.batch").read_bytes() == BODY
    envelope = json.loads((inbox / "dev-00" / f"{SHA256}.json").read_text())
    assert envelope["device_id"] == "dev-00"
    assert is_signed_by(public_key_hex(KEY), BODY, envelope["signature"])
    assert envelope["received_utc"].endswith("+00:00")


def test_an_acknowledgement_is_signed_for_this_batch_of_this_device_with_the_key_that_the_metadata_names(
    gateway: TestClient, tmp_path: Path
) -> None:
    answer = gateway.post("/v1/batches", content=BODY, headers=signed(BODY)).json()
    metadata = tmp_path / "tuf" / "metadata"
    newest = max(metadata.glob("*.targets.json"), key=lambda path: int(path.name.split(".")[0]))
    delegations = json.loads(newest.read_text())["signed"]["delegations"]
    (role,) = delegations["roles"]
    public_key = delegations["keys"][role["keyids"][0]]["keyval"]["public"]
    assert (role["name"], role["paths"]) == ("acknowledgements", ["acknowledgements/*.json"])
    assert is_signed_by(public_key, statement("dev-00", SHA256), answer["signature"])
    assert not is_signed_by(public_key, statement("dev-01", SHA256), answer["signature"])
    assert not is_signed_by(public_key, statement("dev-00", "0" * 64), answer["signature"])


def test_a_batch_that_cannot_be_signed_for_is_held_and_can_be_sent_again(
    gateway: TestClient, inbox: Path, tmp_path: Path
) -> None:
    key = tmp_path / "tuf" / "keys" / "acknowledgements.pem"
    away = key.rename(tmp_path / "away.pem")
    answer = gateway.post("/v1/batches", content=BODY, headers=signed(BODY))
    assert (answer.status_code, "acknowledged" in answer.json()) == (503, False)
    away.rename(key)
    assert gateway.post("/v1/batches", content=BODY, headers=signed(BODY)).status_code == 200


def test_the_same_batch_again_is_acknowledged_as_known_and_changes_nothing(gateway: TestClient, inbox: Path) -> None:
    gateway.post("/v1/batches", content=BODY, headers=signed(BODY))
    before = {path.name: path.read_bytes() for path in inbox.rglob("*.*")}
    answer = gateway.post("/v1/batches", content=BODY, headers=signed(BODY))
    assert (answer.status_code, answer.json()["acknowledged"]) == (200, SHA256)
    assert {path.name: path.read_bytes() for path in inbox.rglob("*.*")} == before
    assert len(before) == 2


@pytest.mark.parametrize("suffix", ["batch", "json"])
def test_what_lies_damaged_is_written_again_before_it_is_acknowledged(
    gateway: TestClient, inbox: Path, suffix: str
) -> None:
    gateway.post("/v1/batches", content=BODY, headers=signed(BODY))
    path = inbox / "dev-00" / f"{SHA256}.{suffix}"
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))
    assert gateway.post("/v1/batches", content=BODY, headers=signed(BODY)).status_code == 201
    assert (inbox / "dev-00" / f"{SHA256}.batch").read_bytes() == BODY
    path.unlink()
    path.mkdir()  # nothing can be written there
    answer = gateway.post("/v1/batches", content=BODY, headers=signed(BODY))
    assert (answer.status_code, "acknowledged" in answer.json()) == (503, False)


def test_a_batch_that_was_ingested_is_known(gateway: TestClient, inbox: Path) -> None:
    gateway.post("/v1/batches", content=BODY, headers=signed(BODY))
    (inbox / "dev-00" / "ingested").mkdir()
    for path in list(inbox.glob(f"*/{SHA256}.*")):
        path.rename(inbox / "dev-00" / "ingested" / path.name)
    assert gateway.post("/v1/batches", content=BODY, headers=signed(BODY)).status_code == 200
    assert not list(inbox.glob("*/*.batch"))


def test_anothers_bytes_make_the_owners_own_upload_no_known_one(
    gateway: TestClient, tmp_path: Path, inbox: Path
) -> None:
    stranger = Ed25519PrivateKey.generate()
    DeviceRegistry(tmp_path / "devices.json").register({"dev-66": public_key_hex(stranger)})
    stolen = signed(BODY, device_id="dev-66", key=stranger)
    assert gateway.post("/v1/batches", content=BODY, headers=stolen).status_code == 201
    assert gateway.post("/v1/batches", content=BODY, headers=signed(BODY)).status_code == 201
    assert sorted(path.parent.name for path in inbox.rglob("*.batch")) == ["dev-00", "dev-66"]


def test_a_registered_device_whose_name_no_folder_can_have_is_told_so(gateway: TestClient, tmp_path: Path) -> None:
    registry = tmp_path / "devices.json"
    for name in ("../dev-00", "ingested", "a/b", ""):
        registry.write_text(json.dumps({name: public_key_hex(KEY)}))
        answer = gateway.post("/v1/batches", content=BODY, headers=signed(BODY, device_id=name))
        assert answer.status_code == 400
    with pytest.raises(ConfigError, match="expected up to 63 letters"):
        DeviceRegistry(tmp_path / "new.json").register({"ingested": public_key_hex(KEY)})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Fieldloop-Device": "dev-00"}, 400),
        ({"Fieldloop-Device": "dev-00", "Fieldloop-Signature": "no base64!"}, 400),
        ({"Fieldloop-Device": "dev-00", "Fieldloop-Signature": "AAAA"}, 401),
        (signed(b"another batch"), 401),
        (signed(BODY, key=Ed25519PrivateKey.generate()), 401),
        (signed(BODY, device_id="dev-99"), 401),
        (signed(BODY, device_id="../dev-00"), 401),
    ],
)
def test_what_no_registered_device_signed_is_refused_and_not_kept(
    gateway: TestClient, inbox: Path, headers: dict[str, str], status: int
) -> None:
    answer = gateway.post("/v1/batches", content=BODY, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert "acknowledged" not in answer.json()
    assert not list(inbox.iterdir())


def test_a_stranger_is_refused_before_a_byte_of_its_batch_is_read(gateway: TestClient) -> None:
    def body() -> Iterator[bytes]:
        raise AssertionError("the body was asked for")
        yield b""

    answer = gateway.post("/v1/batches", content=body(), headers=signed(BODY, device_id="dev-99"))
    assert (answer.status_code, answer.headers["connection"]) == (401, "close")
    assert "no registered device 'dev-99'" in answer.json()["error"]


def test_a_registry_that_cannot_be_read_refuses_no_device_for_good(gateway: TestClient, tmp_path: Path) -> None:
    (tmp_path / "devices.json").write_text("{")
    answer = gateway.post("/v1/batches", content=BODY, headers=signed(BODY))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    (tmp_path / "devices.json").unlink()
    assert gateway.post("/v1/batches", content=BODY, headers=signed(BODY)).status_code == 503
    (tmp_path / "devices.json").write_text(json.dumps({"dev-00": public_key_hex(KEY)}))
    assert gateway.post("/v1/batches", content=BODY, headers=signed(BODY)).status_code == 201


def test_an_empty_batch_is_refused(gateway: TestClient) -> None:
    assert gateway.post("/v1/batches", content=b"", headers=signed(b"")).status_code == 400


def test_a_batch_that_is_too_large_is_refused_whether_or_not_it_says_so(gateway: TestClient, inbox: Path) -> None:
    body = b"x" * (MAX_UPLOAD_BYTES + 1)

    def in_pieces() -> Iterator[bytes]:
        yield body[:600]
        yield body[600:]

    assert gateway.post("/v1/batches", content=body, headers=signed(body)).status_code == 413
    assert gateway.post("/v1/batches", content=in_pieces(), headers=signed(body)).status_code == 413
    largest = body[:-1]
    opened = {**signed(largest), **opening_headers(KEY, "dev-00", largest)}
    assert gateway.post("/v1/batches", content=iter([largest]), headers=opened).status_code == 201, "of no said length"
    assert len(list(inbox.glob("*/*.batch"))) == 1


def test_what_cannot_be_stored_is_not_acknowledged_and_can_be_sent_again(gateway: TestClient, inbox: Path) -> None:
    inbox.rmdir()
    answer = gateway.post("/v1/batches", content=BODY, headers=signed(BODY))
    assert answer.status_code == 503
    assert "send it again" in answer.json()["error"]
    inbox.mkdir()
    assert gateway.post("/v1/batches", content=BODY, headers=signed(BODY)).status_code == 201


def test_a_device_that_registers_while_the_gateway_runs_may_send(gateway: TestClient, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    headers = signed(BODY, device_id="dev-01", key=key)
    assert gateway.post("/v1/batches", content=BODY, headers=headers).status_code == 401
    DeviceRegistry(tmp_path / "devices.json").register({"dev-01": public_key_hex(key)})
    assert gateway.post("/v1/batches", content=BODY, headers=headers).status_code == 201


def test_signed_metadata_is_served_and_keys_and_other_files_are_not(gateway: TestClient, tmp_path: Path) -> None:
    expected = (tmp_path / "tuf" / "metadata" / "1.root.json").read_bytes()
    assert gateway.get("/tuf/metadata/1.root.json").content == expected
    (tmp_path / "secret").write_text("no one's business")
    for path in (
        "/tuf/keys/root.pem",
        "/tuf/metadata/../keys/root.pem",
        "/tuf/metadata/%2e%2e/keys/root.pem",
        "/tuf/metadata/..%2fkeys/root.pem",
        "/tuf/targets/%2e%2e%2f%2e%2e%2fsecret",
        "/tuf/metadata//etc/passwd",
        "/tuf/metadata/2.root.json",
        "/tuf/metadata/",
    ):
        assert gateway.get(path).status_code == 404, path


def test_a_gateway_without_a_release_repository_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.metadata is not there"):
        create_app(tmp_path / "nowhere", tmp_path / "inbox", tmp_path / "devices.json")
