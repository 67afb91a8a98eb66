"""Messages over a real broker: acknowledged when durable, never lost, never dropped."""

import importlib.util
import ipaddress
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.acquisition.pipeline import Pipeline, Taken
from fieldedge.acquisition.source import Delivery
from fieldedge.acquisition.sources import mqtt as mqtt_module
from fieldedge.acquisition.sources.mqtt import MqttSettings, MqttSource, is_topic_filter, origin_of, read_mqtt_settings
from fieldedge.contract.samples import Channel
from fieldedge.device.config import DeviceConfig, DeviceDirectory, SourceConfig, Table
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock
from fieldedge.system.errors import ConfigError
from tests.edge.acquisition.sources.broker import MOSQUITTO, Broker, needs_mosquitto, pause, wait_until

TOPIC = "farm/+/samples"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    if MOSQUITTO is None:
        pytest.skip("no mosquitto on this machine; apt-get install mosquitto runs these tests")
    broker = Broker(tmp_path / "broker")
    broker.start()
    yield broker
    broker.stop()


class Device:
    """A source as the service holds it, with a clock that the test moves."""

    def __init__(self, folder: Path, settings: MqttSettings, client_id: str = "fieldedge-dev-00-farm") -> None:
        self.now_s = 0.0
        self.told: list[str] = []
        self.source = MqttSource(
            "farm",
            settings,
            client_id,
            folder / "farm.json",
            self.told.append,
            monotonic=lambda: self.now_s,
            chance=lambda: 0.5,
        )

    def connect(self) -> None:
        """Step until the broker has taken the subscription."""
        wait_until(lambda: self.source.poll(0) is not None and self.source.note is None)

    def receive(self, count: int) -> list[Delivery]:
        """Step until so many messages wait."""
        found: list[Delivery] = []

        def has_come() -> bool:
            found[:] = self.source.poll(10_000_000)
            return len(found) >= count

        wait_until(has_come)
        return found

    def take(self, count: int) -> list[str]:
        """Receive messages and say that they are durable."""
        deliveries = self.receive(count)
        for delivery in deliveries:
            delivery.done()
        return payloads(deliveries)


def payloads(deliveries: list[Delivery]) -> list[str]:
    return [delivery.payload.decode() for delivery in deliveries]


def settings_of(broker: Broker, **changes: Any) -> MqttSettings:
    return MqttSettings(**{"host": "127.0.0.1", "topic": TOPIC, "port": broker.port, **changes})


def test_a_message_says_where_it_is_from_and_of_which_logger(broker: Broker, tmp_path: Path) -> None:
    device = Device(tmp_path, settings_of(broker))
    device.connect()
    broker.publish("farm/north/samples", "1")
    (delivery,) = device.receive(1)
    assert (delivery.payload, delivery.where, delivery.origin) == (b"1", "farm/farm/north/samples", "farm/north")
    device.source.close()


def test_what_was_published_while_the_device_was_away_arrives(broker: Broker, tmp_path: Path) -> None:
    before = Device(tmp_path, settings_of(broker))
    before.connect()
    before.source.close()
    broker.publish("farm/north/samples", *(str(n) for n in range(300)))
    after = Device(tmp_path, settings_of(broker))
    assert after.take(300) == [str(n) for n in range(300)]
    after.source.close()


def test_what_is_not_done_is_handed_over_again_and_what_is_done_is_not(broker: Broker, tmp_path: Path) -> None:
    device = Device(tmp_path, settings_of(broker))
    device.connect()
    broker.publish("farm/north/samples", "1", "2", "3")
    first = device.receive(3)
    first[1].done()
    assert payloads(device.receive(2)) == ["1", "3"]
    first[1].done()  # said twice, it changes nothing
    assert payloads(device.receive(2)) == ["1", "3"]
    device.source.close()


DYING = """
import sys
from pathlib import Path
from fieldedge.acquisition.sources.mqtt import MqttSettings, MqttSource
import time
source = MqttSource("farm", MqttSettings("127.0.0.1", "farm/+/samples", int(sys.argv[1])), "fieldedge-dev-00-farm",
                    Path(sys.argv[2]), print, monotonic=time.monotonic)
is_announced = False
while True:
    deliveries = source.poll(10_000)
    if source.note is None and not is_announced:
        is_announced = True
        print("up", flush=True)
    if len(deliveries) == 3:
        deliveries[0].done()
        print("one of three is done", flush=True)
        time.sleep(3600)
    time.sleep(0.005)
"""


def test_a_process_that_dies_before_it_is_done_gets_the_message_again(broker: Broker, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", DYING, str(broker.port), str(tmp_path / "farm.json")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        broker.publish("farm/north/samples", "1", "2", "3")
        assert process.stdout.readline() == "one of three is done\n"
        process.kill()
    device = Device(tmp_path, settings_of(broker))
    assert device.take(2) == ["2", "3"]
    device.source.close()


def test_nothing_is_lost_when_the_broker_restarts(broker: Broker, tmp_path: Path) -> None:
    device = Device(tmp_path, settings_of(broker))
    device.connect()
    broker.publish("farm/north/samples", "1", "2")
    undone = device.receive(2)
    broker.stop()
    wait_until(lambda: device.source.poll(0) == [] and device.source.note is not None)
    for delivery in undone:
        delivery.done()  # durable here, but there is nobody to tell: the broker will send it again
    broker.start()
    broker.publish("farm/north/samples", "3")
    device.now_s += 10.0
    assert device.take(3) == ["1", "2", "3"]
    device.connect()
    assert device.told == [
        f"the broker 127.0.0.1:{broker.port} is away: the connection ended: Unspecified error; trying again",
        f"the broker 127.0.0.1:{broker.port} is there again",
    ]
    device.source.close()


def test_an_acknowledgement_of_an_old_connection_never_hits_a_message_of_a_new_one(
    broker: Broker, tmp_path: Path
) -> None:
    device = Device(tmp_path, settings_of(broker))
    device.connect()
    broker.publish("farm/north/samples", "1")
    (old,) = device.receive(1)
    broker.stop()
    wait_until(lambda: device.source.poll(0) == [] and device.source.note is not None)
    broker.start()
    device.now_s += 10.0
    device.connect()
    (new,) = device.receive(1)
    old.done()
    device.source.close()
    again = Device(tmp_path, settings_of(broker))
    assert payloads(again.receive(1)) == [new.payload.decode()] == ["1"]
    again.source.close()


def test_an_uplink_goes_through_the_door_into_the_store_once(broker: Broker, tmp_path: Path) -> None:
    settings = {"host": "127.0.0.1", "port": broker.port, "topic": "application/+/device/+/event/up"}
    source = SourceConfig("probes", "mqtt", "chirpstack", settings, {"rain_mm": "rain"})
    config = DeviceConfig("dev-00", "agriculture", sources=(source,))
    event = {"deviceInfo": {"devEui": "a84041000181c2b3"}, "time": "2026-05-02T11:45:00Z", "object": {"rain": 0.2}}
    now = datetime(2026, 5, 2, 12, tzinfo=UTC)
    clock = Clock(tmp_path / "clock.json", wall=lambda: now, is_synchronised=lambda: True)
    channels = [Channel("rain_mm", "mm", 0.0, 450.0)]

    def take(pipeline: Pipeline, is_enough: Callable[[Taken], bool]) -> None:
        wait_until(lambda: is_enough(pipeline.take("probes", now)) and pipeline.sources["probes"].note is None)

    with Store(tmp_path / "store.db", clock.stamp) as store:
        first = Pipeline.open(config, DeviceDirectory(tmp_path), store, channels, lambda _line, _where: None, clock)
        take(first, lambda taken: taken == Taken())
        broker.publish("application/1/device/a84041000181c2b3/event/up", json.dumps(event))
        take(first, lambda taken: taken.samples == 1)
        first.close()
        second = Pipeline.open(config, DeviceDirectory(tmp_path), store, channels, lambda _line, _where: None, clock)
        take(second, lambda taken: taken == Taken())
        second.close()
        (sample,) = store.last_samples("a84041000181c2b3", 2)
    assert sample.good() == {"rain_mm": 0.2}


def test_a_broker_that_is_away_for_a_month_costs_one_sentence(tmp_path: Path) -> None:
    device = Device(tmp_path, MqttSettings("127.0.0.1", TOPIC, port=1))
    attempts = 0
    for _ in range(300):
        before = device.source._connection
        device.source.poll(1000)
        attempts += before is None and device.source._connection is not None
        if device.source._connection is not None:
            wait_until(lambda: device.source.poll(1000) == [] and device.source._connection is None)
        device.now_s += 30.0 * 86_400.0 / 300
    assert len(device.told) == 1
    assert device.told[0].startswith("the broker 127.0.0.1:1 is away: [Errno 111] Connection refused")
    assert device.source.note is not None
    device.source.close()


def test_it_is_tried_again_later_and_later(tmp_path: Path) -> None:
    device = Device(tmp_path, MqttSettings("127.0.0.1", TOPIC, port=1))
    waits = []
    for _ in range(12):
        wait_until(lambda: device.source.poll(0) == [] and device.source._connection is None)
        waits.append(device.source._due_s - device.now_s)
        device.now_s = device.source._due_s
    assert waits[:4] == [2.0, 4.0, 8.0, 16.0]
    assert waits[-1] == 300.0


@needs_mosquitto
def test_a_wrong_password_is_named(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "station", "right"], check=True)
    passwords.chmod(0o644)
    broker = Broker(tmp_path / "broker", ["allow_anonymous false", f"password_file {passwords}"])
    broker.start()
    secret = tmp_path / "password"
    secret.write_text("wrong\n")
    settings = settings_of(broker, username="station", password_file=secret)
    device = Device(tmp_path, settings)
    wait_until(lambda: device.source.poll(0) == [] and bool(device.told))
    assert device.told == [
        f"the broker 127.0.0.1:{broker.port} does not let user station in: it refuses: Not authorized; "
        "mend username, password_file or its rights there; trying again"
    ]
    secret.write_text("right\n")  # mended on the way: no restart needed
    device.now_s += 10.0
    device.connect()
    broker.publish("farm/north/samples", "1", username="station")
    assert device.take(1) == ["1"]
    device.source.close()
    broker.stop()


CONNACK, GRANTED, REFUSED, TAKEN_OVER = b"\x20\x03\x00\x00\x00", b"\x01", b"\x87", b"\xe0\x02\x8e\x00"


@contextmanager
def scripted_broker(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of something that takes one connection and answers as it is told to."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(10_000)
                answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def take_subscription(connection: socket.socket, granted: bytes) -> None:
    """Let the client in, and answer its SUBSCRIBE (MQTT 5, 3.9)."""
    connection.sendall(CONNACK)
    subscribe = connection.recv(10_000)
    connection.sendall(b"\x90\x04" + subscribe[2:4] + b"\x00" + granted)


def test_a_topic_that_the_broker_does_not_give_is_named(tmp_path: Path) -> None:
    with scripted_broker(lambda connection: take_subscription(connection, REFUSED)) as port:
        device = Device(tmp_path, MqttSettings("127.0.0.1", TOPIC, port=port))
        wait_until(lambda: device.source.poll(0) == [] and bool(device.told))
    assert "it refuses the topic farm/+/samples: Not authorized; mend username" in device.told[0]


def test_two_devices_of_one_name_are_told(tmp_path: Path) -> None:
    def take_over(connection: socket.socket) -> None:
        take_subscription(connection, GRANTED)
        connection.sendall(TAKEN_OVER)

    with scripted_broker(take_over) as port:
        device = Device(tmp_path, MqttSettings("127.0.0.1", TOPIC, port=port))
        wait_until(lambda: device.source.poll(0) == [] and bool(device.told))
    assert "another client has this device's name there" in device.told[0]


def test_what_is_no_broker_is_survived(tmp_path: Path) -> None:
    with scripted_broker(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        device = Device(tmp_path, MqttSettings("127.0.0.1", TOPIC, port=port))
        wait_until(lambda: device.source.poll(0) == [] and bool(device.told))
    assert "is away" in device.told[0]


def test_a_broker_that_sends_more_than_was_agreed_is_left(tmp_path: Path) -> None:
    def answer(connection: socket.socket) -> None:
        take_subscription(connection, GRANTED)
        connection.sendall(b"\x32\xff\xff\xff\x7f" + b"x" * 10_000)
        connection.recv(1000)

    with scripted_broker(answer) as port:
        device = Device(tmp_path, MqttSettings("127.0.0.1", TOPIC, port=port))
        wait_until(lambda: device.source.poll(0) == [] and bool(device.told))
    assert "larger than was agreed" in device.told[0]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_from_the_network_end_the_source(
    tmp_path_factory: pytest.TempPathFactory, sent: bytes, is_up: bool
) -> None:
    def answer(connection: socket.socket) -> None:
        if is_up:
            take_subscription(connection, GRANTED)
        connection.sendall(sent)

    with scripted_broker(answer) as port:
        device = Device(tmp_path_factory.mktemp("fuzz"), MqttSettings("127.0.0.1", TOPIC, port=port))
        wait_until(lambda: device.source.poll(0) is not None and bool(device.told))
        device.source.close()


def test_a_flood_is_neither_dropped_nor_held_in_memory(broker: Broker, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(mqtt_module, "MAX_WAITING_MESSAGES", 50)
    device = Device(tmp_path, settings_of(broker))
    device.connect()
    broker.publish("farm/north/samples", *(str(n) for n in range(500)))
    taken: list[str] = []

    def take_some() -> bool:
        deliveries = device.source.poll(100)
        assert len(device.source._waiting) <= 50
        for delivery in deliveries:
            delivery.done()
        taken.extend(payloads(deliveries))
        return len(taken) >= 500

    wait_until(take_some)
    assert taken == [str(n) for n in range(500)]
    device.source.close()


def test_reading_stops_while_there_is_no_room(broker: Broker, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(mqtt_module, "MAX_WAITING_MESSAGES", 20)
    device = Device(tmp_path, settings_of(broker))
    device.connect()
    broker.publish("farm/north/samples", *(str(n) for n in range(100)), qos=0)
    assert len(device.receive(20)) == 20
    for _ in range(5):
        device.source.poll(1000)
        pause()
    assert len(device.source._waiting) == 20
    taken: list[str] = []
    while len(taken) < 100:
        taken += device.take(min(20, 100 - len(taken)))
    assert taken == [str(n) for n in range(100)]
    device.source.close()


def test_a_message_too_large_for_the_device_does_not_stop_the_others(broker: Broker, tmp_path: Path) -> None:
    device = Device(tmp_path, settings_of(broker))
    device.connect()
    broker.publish("farm/north/samples", "1", "x" * 2_000_000, "3")
    assert device.take(2) == ["1", "3"]
    device.source.close()


def test_a_topic_of_former_settings_is_given_up(broker: Broker, tmp_path: Path) -> None:
    former = Device(tmp_path, settings_of(broker, topic="old/samples"))
    former.connect()
    former.source.close()
    device = Device(tmp_path, settings_of(broker))
    device.connect()
    broker.publish("old/samples", "old")
    broker.publish("farm/north/samples", "new")
    assert device.take(1) == ["new"]
    device.source.close()


def test_a_broker_that_forgot_the_device_is_told(broker: Broker, tmp_path: Path) -> None:
    device = Device(tmp_path, settings_of(broker))
    device.connect()
    device.source.close()
    broker.stop()
    (tmp_path / "broker" / "mosquitto.db").unlink()
    broker.start()
    device = Device(tmp_path, settings_of(broker))
    device.connect()
    assert device.told == [
        f"the broker 127.0.0.1:{broker.port} no longer knew this device: what it had held for it is gone there"
    ]
    device.source.close()


@needs_mosquitto
def test_tls_is_checked_both_ways(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    certificate(folder)
    tls = [f"certfile {folder}/cert.pem", f"keyfile {folder}/key.pem"]
    broker = Broker(folder, tls=tls)
    broker.start()
    device = Device(tmp_path, settings_of(broker, tls=True, ca_file=folder / "cert.pem"))
    device.connect()
    stranger = Device(tmp_path, settings_of(broker, tls=True), "fieldedge-dev-01-farm")
    wait_until(lambda: stranger.source.poll(0) == [] and bool(stranger.told))
    assert "certificate verify failed" in stranger.told[0]
    device.source.close()
    broker.stop()


def certificate(folder: Path) -> None:
    """A certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    for file in folder.iterdir():
        file.chmod(0o644)


def test_a_broker_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        device = Device(tmp_path, MqttSettings("127.0.0.1", TOPIC, port=server.getsockname()[1]))
        device.source.poll(0)
        device.now_s += 21.0
        wait_until(lambda: device.source.poll(0) == [] and bool(device.told))
    assert "no answer within 20 s" in device.told[0]


def test_without_paho_the_settings_say_what_to_install(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"pip install 'fieldedge\[mqtt\]'"):
        Device(tmp_path, MqttSettings("127.0.0.1", TOPIC))


def read(tmp_path: Path, **values: Any) -> MqttSettings:
    return read_mqtt_settings(Table("device.toml, [[source]] farm", values), tmp_path)


def test_settings_are_read_with_their_defaults(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("right")
    assert read(tmp_path, host="broker", topic="a/b") == MqttSettings("broker", "a/b", 1883)
    found = read(tmp_path, host="b", topic="a", tls=True, username="u", password_file=file.name)
    assert found == MqttSettings("b", "a", 8883, "u", file, tls=True)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"topic": "a"}, "device.toml, [[source]] farm has no host"),
        ({"host": "b"}, "has no topic"),
        ({"host": "b", "topic": "a/#/c"}, "topic is 'a/#/c'; expected one like farm/+/samples"),
        ({"host": "b", "topic": ""}, "topic is ''"),
        ({"host": "b", "topic": "a", "port": 0}, "port is 0"),
        (
            {"host": "mqtt://b", "topic": "a"},
            "host is 'mqtt://b'; expected a name or an address like broker.example.org",
        ),
        ({"host": "b:1883", "topic": "a"}, "host is 'b:1883'; expected a name"),
        ({"host": "", "topic": "a"}, "host is ''; expected a name"),
        ({"host": "b", "topic": "a", "password_file": "gone"}, "password_file is 'gone', which cannot be read"),
        ({"host": "b", "topic": "a", "password_file": "there"}, "has a password_file but no username"),
        ({"host": "b", "topic": "a", "ca_file": "there"}, "names certificates but tls is not on"),
        ({"host": "b", "topic": "a", "pasword_file": "there"}, "pasword_file is not a setting here"),
    ],
)
def test_a_broken_setting_is_named(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    (tmp_path / "there").write_text("x")
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, **values)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "origin"),
    [
        ("station", "station", "farm"),
        ("farm/+/samples", "farm/north/samples", "farm/north"),
        ("application/+/device/+/event/up", "application/1/device/a84041/event/up", "farm/1/a84041"),
        ("#", "a/b/c", "farm/a/b/c"),
        ("a/#", "a", "farm"),
    ],
)
def test_the_origin_is_what_the_wildcards_stand_for(topic_filter: str, topic: str, origin: str) -> None:
    assert origin_of("farm", topic_filter, topic) == origin


@given(st.text("ab/+#\0", max_size=12))
def test_a_topic_filter_is_what_paho_takes_for_one(text: str) -> None:
    from paho.mqtt.client import topic_matches_sub

    if is_topic_filter(text):
        plain = text.replace("+", "x").replace("#", "y/z")
        assert topic_matches_sub(text, plain)
    else:
        assert not text or set("+#\0") & set(text)
