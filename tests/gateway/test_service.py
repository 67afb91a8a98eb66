"""The gateway as a service: nobody is let in, nothing is lost, on SQLite and on PostgreSQL."""

import hashlib
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import create_engine, select, text
from sqlalchemy.engine import make_url
from starlette.testclient import TestClient

from fieldedge.system.errors import ConfigError, StoreBusy
from fieldedge.system.keys import public_key_hex, sign
from fieldedge.transfer.enrolment import enrolment
from fieldedge.transfer.opening import opening_headers
from fieldloop.core.http_server import HttpServer
from fieldloop.core.paths import Paths
from fieldloop.gateway.app import create_app
from fieldloop.gateway.database import Database, batches, tokens
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.enrolment import EnrolledDevices
from fieldloop.gateway.inbox import Inbox
from fieldloop.gateway.recorded import RecordedInbox
from fieldloop.gateway.service import create_service
from fieldloop.release import ReleaseRepository
from tests.postgres import PostgresServer, postgres_server, why_no_postgres

BODY = b"a batch"
SHA256 = hashlib.sha256(BODY).hexdigest()
KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    if why := why_no_postgres():
        pytest.skip(why)
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway' / 'gateway.db'}"
    server = make_url(request.getfixturevalue("postgres").url)
    name = f"g{uuid.uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.set(database=name).render_as_string(hide_password=False)


@dataclass
class Office:
    """A clone's folders, its database, and the service on both; started again it is another process's."""

    root: Path
    url: str
    now: datetime = datetime(2027, 4, 1, 6, tzinfo=UTC)
    opened: list[Database] = field(default_factory=list)

    @property
    def paths(self) -> Paths:
        return Paths(self.root, self.root)

    def database(self) -> Database:
        self.opened.append(Database(self.url))
        return self.opened[-1]

    def devices(self) -> EnrolledDevices:
        return EnrolledDevices(self.paths.device_registry, self.database(), lambda: self.now)

    def start(self) -> TestClient:
        return TestClient(create_service(self.paths, self.database(), lambda: self.now).app)

    def token(self) -> str:
        return self.devices().make_tokens(1, DAY, "an operator")[0]

    def rows(self) -> list[tuple[str, str, int, str | None]]:
        with self.database().read() as connection:
            return [tuple(row) for row in connection.execute(select(batches))]


@pytest.fixture
def office(tmp_path: Path, database_url: str) -> Iterator[Office]:
    ReleaseRepository(tmp_path / "tuf")
    (tmp_path / "gateway").mkdir(exist_ok=True)
    made = Office(tmp_path, database_url)
    yield made
    for database in made.opened:
        database.close()


def enrol(gateway: TestClient, token: str, device_id: str = "dev-07", key: Ed25519PrivateKey = KEY) -> tuple[int, str]:
    body, signature = enrolment(key, device_id, token)
    answer = gateway.post("/v1/enrolments", content=body, headers={"Fieldloop-Signature": signature})
    return answer.status_code, answer.json().get("refusal", answer.json().get("enrolled", ""))


def send(gateway: TestClient, body: bytes = BODY, device_id: str = "dev-07", is_opened: bool = True) -> int:
    headers = {"Fieldloop-Device": device_id, "Fieldloop-Signature": sign(KEY, body)}
    headers |= opening_headers(KEY, device_id, body) if is_opened else {}
    return gateway.post("/v1/batches", content=body, headers=headers).status_code


def test_a_device_that_redeemed_a_token_may_send_and_its_batch_is_a_file_and_a_row(office: Office) -> None:
    gateway = office.start()
    assert send(gateway) == 401
    assert enrol(gateway, office.token()) == (201, "dev-07")
    assert send(gateway) == 201
    assert send(gateway) == 200
    assert (office.paths.inbox / "dev-07" / f"{SHA256}.batch").read_bytes() == BODY
    assert office.rows() == [("dev-07", SHA256, len(BODY), "2027-04-01T06:00:00+00:00")]
    assert DeviceRegistry(office.paths.device_registry).public_keys() == {"dev-07": public_key_hex(KEY)}


def test_each_refusal_has_its_name_and_spends_no_token(office: Office) -> None:
    gateway, token, spent = office.start(), office.token(), office.token()
    assert enrol(gateway, "made-up") == (401, "unknown-token")
    assert enrol(gateway, spent) == (201, "dev-07")
    assert enrol(gateway, spent) == (200, "dev-07")  # the answer was lost
    assert enrol(gateway, spent, "dev-08", OTHER) == (403, "used-token")
    assert enrol(gateway, token, "dev-07", OTHER) == (409, "device-exists")
    assert enrol(gateway, token, "dev-08", KEY) == (409, "key-exists")
    assert enrol(gateway, token, "../dev", OTHER) == (409, "no-such-name-or-key")
    body, _ = enrolment(OTHER, "dev-08", token)
    answer = gateway.post("/v1/enrolments", content=body, headers={"Fieldloop-Signature": sign(KEY, body)})
    assert (answer.status_code, answer.json()["refusal"]) == (401, "not-signed")
    assert gateway.post("/v1/enrolments", content=b"{}").json()["refusal"] == "not-an-enrolment"
    assert gateway.post("/v1/enrolments", content=b" " * 5_000).json()["refusal"] == "too-large"
    assert enrol(gateway, token, "dev-08", OTHER) == (201, "dev-08")
    late = office.token()
    office.now += 2 * DAY
    assert enrol(gateway, late, "dev-09", Ed25519PrivateKey.generate()) == (403, "expired-token")
    said = [(line.what, line.detail) for line in office.devices().audit()]
    assert ("enrolment refused", "used-token") in said
    assert "unknown-token" not in {detail for _, detail in said}


def test_a_token_that_many_redeem_at_once_enrols_one(office: Office) -> None:
    gateway, token = office.start(), office.token()
    keys = [Ed25519PrivateKey.generate() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: enrol(gateway, token, f"dev-{n:02}", keys[n])[0], range(8)))
    assert sorted(found) == [201, *[403] * 7]
    assert len(DeviceRegistry(office.paths.device_registry).public_keys()) == 1


def test_a_token_is_nowhere_in_the_database(office: Office) -> None:
    token = office.token()
    with office.database().read() as connection:
        rows = connection.execute(select(tokens)).all()
    assert len(rows) == 1
    assert token not in str(rows)


def test_a_revoked_device_is_refused_at_once_and_what_it_sent_stays(office: Office) -> None:
    gateway, elsewhere = office.start(), office.devices()
    enrol(gateway, office.token())
    assert send(gateway) == 201
    assert elsewhere.revoke("dev-07", "an operator")
    assert (send(gateway, b"another"), send(gateway), send(gateway, b"third", is_opened=False)) == (401, 401, 401)
    assert enrol(gateway, office.token()) == (403, "revoked-device")
    assert not elsewhere.revoke("dev-07", "an operator")
    with pytest.raises(ConfigError, match="revoked"):
        elsewhere.register({"dev-07": public_key_hex(KEY)})
    with pytest.raises(ConfigError, match="no device"):
        elsewhere.revoke("dev-99", "an operator")
    assert [held.sha256 for held in Inbox(office.paths.inbox).waiting()] == [SHA256]
    assert "dev-07" in DeviceRegistry(office.paths.device_registry).public_keys()  # ingestion judges by it
    (one,) = elsewhere.all()
    assert (one.revoked_utc, one.batches, one.last_batch_utc) == (office.now.isoformat(), 1, office.now.isoformat())
    assert ("an operator", "revoked", "dev-07") in [(at.who, at.what, at.subject) for at in elsewhere.audit()]


def test_a_former_gateways_folder_is_taken_in_once_and_nothing_in_it_is_changed(office: Office) -> None:
    DeviceRegistry(office.paths.device_registry).register({"dev-07": public_key_hex(KEY)})
    former = TestClient(create_app(office.paths.tuf, office.paths.inbox, office.paths.device_registry))
    assert [send(former, body) for body in (b"one", b"two", b"three")] == [201, 201, 201]
    inbox = Inbox(office.paths.inbox)
    inbox.move_to_ingested(inbox.waiting()[0])
    inbox.waiting()[0].envelope.write_text("{")  # damaged: it is listed, and stays for who mends it
    before = {path: path.read_bytes() for path in office.paths.inbox.rglob("*") if path.is_file()}
    registry = office.paths.device_registry.read_bytes()
    first = create_service(office.paths, office.database())
    again = create_service(office.paths, office.database())
    assert (first.new_devices, first.new_batches, again.new_devices, again.new_batches) == (1, 3, 0, 0)
    assert {path: path.read_bytes() for path in before} == before
    assert office.paths.device_registry.read_bytes() == registry
    assert len(office.rows()) == 3
    assert sum(row[3] is None for row in office.rows()) == 1
    assert send(TestClient(first.app), b"two") in (200, 201)


def test_a_device_that_a_person_registers_in_the_file_may_send_at_once(office: Office) -> None:
    gateway = office.start()
    DeviceRegistry(office.paths.device_registry).register({"dev-07": public_key_hex(KEY)})
    assert send(gateway) == 201


def test_a_registry_from_an_older_backup_gets_the_devices_back_that_the_database_knows(office: Office) -> None:
    enrol(office.start(), office.token())
    office.paths.device_registry.write_text("{}")
    assert send(office.start()) == 201


def test_another_key_in_the_file_than_in_the_database_lets_nobody_in(office: Office) -> None:
    gateway = office.start()
    enrol(gateway, office.token(), key=OTHER)
    office.paths.device_registry.write_text(json.dumps({"dev-07": public_key_hex(KEY)}))
    assert send(gateway) == 503


@pytest.mark.parametrize("is_opened", [True, False])
def test_a_batch_whose_row_cannot_be_written_is_not_acknowledged_until_it_can(
    office: Office, monkeypatch: pytest.MonkeyPatch, is_opened: bool
) -> None:
    gateway = office.start()
    enrol(gateway, office.token())

    def full(*_: object) -> None:
        raise StoreBusy("no room")

    with monkeypatch.context() as patched:
        patched.setattr(RecordedInbox, "_record", full)
        assert send(gateway, is_opened=is_opened) == 503
        assert send(gateway, is_opened=is_opened) == 503  # the file is there, the row is not
    assert office.rows() == []
    assert send(gateway, is_opened=is_opened) == 200
    assert len(office.rows()) == 1


def test_two_services_on_one_database_know_the_same(office: Office) -> None:
    one, two = office.start(), office.start()
    assert enrol(one, office.token()) == (201, "dev-07")
    assert (send(two), send(one)) == (201, 200)
    office.devices().revoke("dev-07", "an operator")
    assert (send(one, b"more"), send(two, b"more")) == (401, 401)


def test_health_says_live_and_ready_and_what_is_missing(office: Office) -> None:
    gateway = office.start()
    assert gateway.get("/v1/health").json() == {"ok": True}
    assert gateway.get("/v1/health/ready").json() == {"ok": True, "missing": []}
    (office.paths.tuf / "metadata" / "timestamp.json").rename(office.root / "away")
    answer = gateway.get("/v1/health/ready")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["there is no signed release metadata"])
    assert gateway.get("/v1/health/live").status_code == 200


def test_metrics_count_answers_devices_and_batches_and_take_no_name_from_a_stranger(office: Office) -> None:
    gateway = office.start()
    enrol(gateway, office.token())
    send(gateway)
    gateway.get("/a-strangers-path")
    told = gateway.get("/metrics").text
    assert 'fieldloop_gateway_requests_total{method="POST",route="/v1/batches",status="201"} 1.0' in told
    assert 'fieldloop_gateway_devices{state="may send"} 1.0' in told
    assert "fieldloop_gateway_batches 1.0" in told
    assert f"fieldloop_gateway_batch_bytes {float(len(BODY))}" in told
    assert "stranger" not in told


@pytest.mark.parametrize("url", ["", "nonsense", "sqlite://", "mysql://host/db", "sqlite:///:memory:"])
def test_an_address_that_is_no_database_for_it_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected like"):
        Database(url)


def test_a_database_that_does_not_answer_is_said_without_its_password() -> None:
    with pytest.raises(StoreBusy) as told:
        Database("postgresql+psycopg2://someone:secret@127.0.0.1:1/none")
    assert "secret" not in str(told.value)


def test_tables_of_a_newer_version_are_left_alone(office: Office) -> None:
    with office.database().write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="version of Fieldloop"):
        Database(office.url)


def test_fieldedge_init_enrols_a_real_device_over_http(office: Office) -> None:
    service = create_service(office.paths, office.database(), lambda: office.now)
    token = office.token()
    with HttpServer(service.app) as server:
        root = ReleaseRepository(office.paths.tuf).trusted_root()
        command = [sys.executable, "-m", "fieldedge", "init", "--dir", str(office.root / "device"), "--root", str(root)]
        command += ["--device-id", "dev-07", "--workload", "agriculture", "--json", "--gateway", server.url, "--token"]
        refused = subprocess.run([*command, "made-up"], capture_output=True, text=True, check=False)
        assert (refused.returncode, "unknown-token" in refused.stderr) == (1, True)
        done = [subprocess.run([*command, token], capture_output=True, text=True, check=False) for _ in range(2)]
    assert [one.returncode for one in done] == [0, 0], done[0].stderr
    key = json.loads(done[0].stdout)["public_key"]
    assert DeviceRegistry(office.paths.device_registry).public_keys() == {"dev-07": key}


def test_a_database_that_goes_while_devices_send_costs_no_batch() -> None:
    if why := why_no_postgres():
        pytest.skip(why)
    with TemporaryDirectory() as folder:
        with postgres_server() as server:
            office = Office(Path(folder), server.url)
            ReleaseRepository(office.paths.tuf)
            gateway = office.start()
            assert enrol(gateway, office.token()) == (201, "dev-07")
            assert send(gateway) == 201
        assert send(gateway, b"more") == 503
        assert enrol(gateway, "a token", "dev-08", OTHER) == (503, "")
        assert gateway.get("/v1/health/live").status_code == 200
        assert gateway.get("/v1/health/ready").json()["missing"] == ["the database does not answer"]
        assert "fieldloop_gateway_database_up 0.0" in gateway.get("/metrics").text
        for database in office.opened:
            database.close()
