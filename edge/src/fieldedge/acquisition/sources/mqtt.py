"""Messages from an MQTT broker, on the machine or in the farm's network.

A message is acknowledged when it is durable and not before, so that the broker brings it again after a crash; the
session lives on at the broker while the device is away. The broker never sends more unacknowledged messages than fit
in here, and where it sends faster than the store takes, reading stops: nothing is dropped and memory stays bounded.
That bound is MQTT 5's, so the broker must speak it (Mosquitto since 1.6). What the broker itself holds for a device
that is away is the broker's to bound: `max_queued_messages` in mosquitto.conf.

A broker that is away costs one sentence per change of state. Only dialling happens in a thread of its own; the rest
happens within `poll`, which never waits.
"""

import importlib.util
import json
import logging
import random
import select
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldedge.acquisition.source import Delivery, Look, Opening, Tell
from fieldedge.device.config import Table
from fieldedge.system.addresses import is_host
from fieldedge.system.durable import write_durably
from fieldedge.system.errors import ConfigError
from fieldedge.system.plain_files import read_own
from fieldedge.system.scheduler import back_off_s

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

PORT, TLS_PORT = 1883, 8883
MAX_SECRET_BYTES = 1_000_000  # of a password, a key, a chain of certificates
MAX_STATE_BYTES = 100_000
MAX_MESSAGE_BYTES = 262_144
MAX_UNACKNOWLEDGED = 1_000
MAX_WAITING_MESSAGES = 2_000
MAX_WAITING_BYTES = 8_000_000
MAX_READ_AT_ONCE = 2_000
DIAL_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 20.0
GREETING_TIMEOUT_S = 5.0
STEADY_S = 60.0  # a connection that lasted so long was a good one
LAST_BACK_OFF_S = 300.0
NEVER_EXPIRES = 0xFFFFFFFF

_CREDENTIALS_REFUSED = (134, 135)  # MQTT 5, 3.2.2.2: bad user name or password, not authorized
_TAKEN_OVER = 142

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MqttSettings:
    """Which broker, which topic, and as whom. Paths are absolute; `topic` may hold the wildcards `+` and `#`."""

    host: str
    topic: str
    port: int = PORT
    username: str | None = None
    password_file: Path | None = None
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    keepalive_s: int = 60

    @property
    def broker(self) -> str:
        return f"the broker {self.host}:{self.port}"


def read_mqtt_settings(table: Table, root: Path) -> MqttSettings:
    """The settings of a source of kind mqtt. Files may be named relative to the device's directory.

    Raises:
        ConfigError: one is missing, broken or unknown, or a file that one names cannot be read.
    """
    tls = table.claim("tls", False)

    def file(name: str) -> Path | None:
        value = table.text(name, "")
        if not value:
            return None
        path = root / value
        try:
            read_own(path, MAX_SECRET_BYTES)
        except OSError as error:
            raise ConfigError(f"{table.where}: {name} is {value!r}, which cannot be read: {error.strerror}") from error
        return path

    settings = MqttSettings(
        host=table.text("host"),
        topic=table.text("topic"),
        port=table.whole("port", TLS_PORT if tls else PORT, 1, 65_535),
        username=table.text("username", "") or None,
        password_file=file("password_file"),
        tls=tls,
        ca_file=file("ca_file"),
        cert_file=file("cert_file"),
        key_file=file("key_file"),
        keepalive_s=table.whole("keepalive_s", 60, 5, 65_535),
    )
    table.end()
    if not is_host(settings.host):
        raise ConfigError(
            f"{table.where}: host is {settings.host!r}; expected a name or an address like broker.example.org: the "
            "port is a setting of its own, and TLS is `tls = true`"
        )
    if not is_topic_filter(settings.topic):
        raise ConfigError(
            f"{table.where}: topic is {settings.topic!r}; expected one like farm/+/samples: '+' stands for a whole "
            "level, '#' only at the end"
        )
    if settings.password_file is not None and settings.username is None:
        raise ConfigError(f"{table.where} has a password_file but no username; add a line `username = ...`")
    if not tls and (settings.ca_file or settings.cert_file or settings.key_file):
        raise ConfigError(f"{table.where} names certificates but tls is not on; add a line `tls = true`")
    return settings


def open_here(opening: Opening) -> "MqttSource":
    """A broker with these settings."""
    settings = read_mqtt_settings(opening.table, opening.root)
    return MqttSource(
        opening.name, settings, opening.client_id, opening.state_path, opening.tell, monotonic=opening.monotonic
    )


def look(opening: Opening) -> Look:
    """Whether the broker lets the device in."""
    settings = read_mqtt_settings(opening.table, opening.root)
    if importlib.util.find_spec("paho") is None:
        return Look("fail", "paho-mqtt is not installed", "install it: sh install.sh --with-mqtt")
    try:
        refusal = _greet(settings, f"{opening.name}-doctor")
    except (OSError, ValueError) as error:
        found = f"{settings.broker} does not answer: {error}"
        return Look("warn", found, "start the broker, or mend host, port and tls; it keeps what comes meanwhile")
    if refusal is not None:
        found = f"{settings.broker} refuses: {refusal}"
        return Look("fail", found, "mend username and password_file, or the rights at the broker")
    return Look("ok", f"{settings.broker} lets the device in; topic {settings.topic}")


def _greet(settings: MqttSettings, client_id: str) -> str | None:
    """Connect under a name of its own, so that the service's session is left alone; why it was refused, if it was."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    answers: list[Any] = []
    client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
    client.connect_timeout = GREETING_TIMEOUT_S
    client.on_connect = lambda _client, _user, _flags, reason, _properties: answers.append(reason)
    if settings.username is not None:
        client.username_pw_set(settings.username, read_password(settings.password_file))
    if settings.tls:
        ca, certificate, key = (
            None if path is None else str(path) for path in (settings.ca_file, settings.cert_file, settings.key_file)
        )
        client.tls_set(ca, certificate, key)
    client.connect(settings.host, settings.port, clean_start=True)
    until_s = time.monotonic() + GREETING_TIMEOUT_S
    while not answers and time.monotonic() < until_s and client.loop(timeout=0.2) == 0:
        pass
    client.disconnect()
    if not answers:
        raise TimeoutError(f"no MQTT 5 answer in {GREETING_TIMEOUT_S:.0f} s")
    return str(answers[0]) if answers[0].is_failure else None


def is_topic_filter(topic: str) -> bool:
    """Whether a topic may be subscribed to (MQTT 5, 4.7.1)."""
    levels = topic.split("/")
    is_plain = all(not set("+#") & set(level) for level in levels if level not in ("+", "#"))
    return bool(topic) and len(topic.encode()) <= 65_535 and "\0" not in topic and is_plain and "#" not in levels[:-1]


def origin_of(name: str, topic_filter: str, topic: str) -> str:
    """The logger that a topic stands for: the source's name, and the levels that the wildcards stand for."""
    levels = topic.split("/")
    varying: list[str] = []
    for position, level in enumerate(topic_filter.split("/")):
        if level == "#":
            varying += levels[position:]
        elif level == "+":
            varying += levels[position : position + 1]
    return "/".join([name, *varying])


@dataclass(frozen=True, eq=False)
class _Message:
    """What came, and on which connection: a message can be acknowledged only there."""

    topic: str
    payload: bytes
    number: int | None  # None where it was sent without a promise (QoS 0)
    connection: "_Connection"


class _Connection:
    """One connection to the broker, from dialling to its end. It is never used again."""

    def __init__(
        self, settings: MqttSettings, client_id: str, former_topic: str | None, receive: Callable[["_Message"], None]
    ) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        self._settings = settings
        self._former_topic = former_topic
        self._receive = receive
        self._dial_error: str | None = None
        self.ended: str | None = None
        self.is_refused = False
        self.is_up = False
        self.had_session = False
        self.client: Client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        self.client.connect_timeout = DIAL_TIMEOUT_S
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = self._on_subscribe
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = self._on_message
        self._thread = threading.Thread(target=self._dial, name="mqtt dial", daemon=True)
        self._thread.start()

    def step(self, has_room: Callable[[], bool]) -> None:
        """Do what there is to do on the socket now, without waiting. Reads only while there is room."""
        if self._thread.is_alive():
            return
        if self._dial_error is not None:
            self.end(self._dial_error)
            return
        try:
            reads = 0
            while self.ended is None and reads < MAX_READ_AT_ONCE and has_room() and self._is_readable():
                self.client.loop_read()
                reads += 1
                if _announced_bytes(self.client) > MAX_MESSAGE_BYTES:
                    self.end("it sends a message that is larger than was agreed")
            if self.client.want_write():
                self.client.loop_write()
            self.client.loop_misc()
        except Exception as error:  # noqa: BLE001  (whatever the other side sent: this connection is over, no more)
            self.end(f"it sent what is not MQTT 5 ({error!r})")
        if self.client.socket() is None:
            self.end("the connection ended")

    def acknowledge(self, number: int) -> None:
        if self.ended is None:
            self.client.ack(number, 1)

    def close(self) -> None:
        """Say good-bye, so that the broker sends no last will and holds the session."""
        self.ended = self.ended or "closed"
        if not self._thread.is_alive():
            self.client.disconnect()

    def _dial(self) -> None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is not typed
        properties.SessionExpiryInterval = NEVER_EXPIRES
        properties.ReceiveMaximum = MAX_UNACKNOWLEDGED
        properties.MaximumPacketSize = MAX_MESSAGE_BYTES
        settings = self._settings
        try:
            if settings.username is not None:
                self.client.username_pw_set(settings.username, read_password(settings.password_file))
            if settings.tls:
                self.client.tls_set_context(_tls_context(settings))
            self.client.connect(
                settings.host, settings.port, settings.keepalive_s, clean_start=False, properties=properties
            )
        except (OSError, ValueError) as error:  # no way there, no such name, a certificate that does not fit
            self._dial_error = f"{error}" or type(error).__name__
        if self.ended is not None:  # closed meanwhile
            self.client.disconnect()

    def _is_readable(self) -> bool:
        socket = self.client.socket()
        if socket is None:
            return False
        if isinstance(socket, ssl.SSLSocket) and socket.pending():
            return True
        return bool(select.select([socket], [], [], 0)[0])

    def end(self, why: str) -> None:
        if self.ended is None:
            self.ended = why
            self.is_up = False

    def _on_connect(self, client: "Client", _user: Any, flags: Any, reason: Any, _properties: Any) -> None:
        from paho.mqtt.subscribeoptions import SubscribeOptions

        if reason.is_failure:
            self.is_refused = reason.value in _CREDENTIALS_REFUSED
            self.end(f"it refuses: {reason}")
            return
        self.had_session = flags.session_present
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        if self._former_topic is not None:
            client.unsubscribe(self._former_topic)
        client.subscribe(self._settings.topic, options=options)

    def _on_subscribe(self, _client: Any, _user: Any, _number: int, reasons: Any, _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self.is_refused = True
            self.end(f"it refuses the topic {self._settings.topic}: {', '.join(str(reason) for reason in reasons)}")
        else:
            self.is_up = True

    def _on_disconnect(self, _client: Any, _user: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.value == _TAKEN_OVER:
            self.end("another client has this device's name there; give every device and source a name of its own")
        else:
            self.end(f"the connection ended: {reason}")

    def _on_message(self, _client: Any, _user: Any, message: "MQTTMessage") -> None:
        number = message.mid if message.qos else None
        self._receive(_Message(message.topic, bytes(message.payload), number, self))


class MqttSource:
    """One topic at one broker, under one client identity.

    Raises:
        ConfigError: paho-mqtt is not installed.
    """

    is_ended = False

    def __init__(
        self,
        name: str,
        settings: MqttSettings,
        client_id: str,
        state_path: Path,
        tell: Tell,
        *,
        monotonic: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        _check_paho(name)
        self.name = name
        self.note: str | None = f"{settings.broker} has not answered yet"
        self._settings = settings
        self._client_id = client_id
        self._state_path = state_path
        self._tell = tell
        self._monotonic = monotonic
        self._chance = chance
        self._waiting: deque[_Message] = deque()
        self._waiting_bytes = 0
        self._connection: _Connection | None = None
        self._began_s = 0.0
        self._up_s: float | None = None
        self._failures = 0
        self._due_s = monotonic()
        self._told: str | None = None

    def poll(self, limit_bytes: int) -> list[Delivery]:
        """The messages that wait to be stored, oldest first."""
        self._step()
        deliveries: list[Delivery] = []
        room = limit_bytes
        for message in self._waiting:
            if room <= 0:
                break
            deliveries.append(self._delivery(message))
            room -= len(message.payload)
        return deliveries

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _step(self) -> None:
        if self._connection is None:
            if self._monotonic() < self._due_s:
                return
            self._began_s, self._up_s = self._monotonic(), None
            self._connection = _Connection(self._settings, self._client_id, self._former_topic(), self._receive)
        connection = self._connection
        connection.step(self._has_room)
        if connection.ended is None and connection.is_up and self._up_s is None:
            self._came_up(connection)
        if connection.ended is None and self._up_s is None and self._monotonic() - self._began_s > ANSWER_TIMEOUT_S:
            connection.end(f"no answer within {ANSWER_TIMEOUT_S:.0f} s")
        if connection.ended is not None:
            self._went_down(connection, connection.ended)

    def _came_up(self, connection: _Connection) -> None:
        self._up_s = self._monotonic()
        self.note = None
        if not connection.had_session and self._subscribed().get("broker") == self._settings.broker:
            self._tell(f"{self._settings.broker} no longer knew this device: what it had held for it is gone there")
        elif self._told is not None:
            self._tell(f"{self._settings.broker} is there again")
        self._told = None
        self._keep_subscribed()

    def _went_down(self, connection: _Connection, why: str) -> None:
        """The connection is over. What came on it and is not done is sent again by the broker on the next one."""
        connection.close()
        self._connection = None
        self._waiting = deque(m for m in self._waiting if m.number is None or m.connection is not connection)
        self._waiting_bytes = sum(len(message.payload) for message in self._waiting)
        if self._up_s is not None and self._monotonic() - self._up_s >= STEADY_S:
            self._failures = 0
        self._failures += 1
        self._due_s = self._monotonic() + back_off_s(self._failures, 0.0, LAST_BACK_OFF_S, self._chance())
        kind = "refused" if connection.is_refused else "away"
        self.note = self._refusal(why) if connection.is_refused else f"{self._settings.broker} is away: {why}"
        if kind != self._told:
            self._tell(f"{self.note}; trying again")
            self._told = kind

    def _refusal(self, why: str) -> str:
        user = "a client without a user name" if self._settings.username is None else f"user {self._settings.username}"
        return (
            f"{self._settings.broker} does not let {user} in: {why}; mend username, password_file or its rights there"
        )

    def _has_room(self) -> bool:
        return len(self._waiting) < MAX_WAITING_MESSAGES and self._waiting_bytes < MAX_WAITING_BYTES

    def _receive(self, message: _Message) -> None:
        self._waiting.append(message)
        self._waiting_bytes += len(message.payload)

    def _delivery(self, message: _Message) -> Delivery:
        return Delivery(
            payload=message.payload,
            where=f"{self.name}/{message.topic}",
            origin=origin_of(self.name, self._settings.topic, message.topic),
            done=partial(self._done, message),
        )

    def _done(self, message: _Message) -> None:
        try:
            self._waiting.remove(message)
        except ValueError:
            return  # its connection ended meanwhile: the broker brings it again
        self._waiting_bytes -= len(message.payload)
        if message.number is not None:
            message.connection.acknowledge(message.number)

    # What the broker knows of us

    def _subscribed(self) -> dict[str, Any]:
        try:
            state = json.loads(read_own(self._state_path, MAX_STATE_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        return state if isinstance(state, dict) else {}

    def _former_topic(self) -> str | None:
        """The topic that the broker's session may still have from other settings."""
        state = self._subscribed()
        topic = state.get("topic")
        is_former = state.get("broker") == self._settings.broker and topic != self._settings.topic
        return topic if is_former and isinstance(topic, str) else None

    def _keep_subscribed(self) -> None:
        state = {"broker": self._settings.broker, "topic": self._settings.topic}
        if state == self._subscribed():
            return
        try:
            self._state_path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._state_path, json.dumps(state).encode())
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._state_path, error)


def _announced_bytes(client: "Client") -> int:
    """The size of the message whose beginning has come. paho would collect it in memory, however large, and has no
    public word for it."""
    size: int = getattr(client, "_in_packet", {}).get("remaining_length", 0)
    return size


def _check_paho(name: str) -> None:
    if importlib.util.find_spec("paho") is None:
        raise ConfigError(
            f"[[source]] {name} is of kind mqtt, which needs a package more: pip install 'fieldedge[mqtt]'"
        )


def read_password(path: Path | None) -> str | None:
    """The password, read anew at each connection so that a mended file counts at once."""
    return None if path is None else read_own(path, MAX_SECRET_BYTES).decode().rstrip("\r\n")


def _tls_context(settings: MqttSettings) -> ssl.SSLContext:
    for path in (settings.ca_file, settings.cert_file, settings.key_file):
        if path is not None:
            read_own(path, MAX_SECRET_BYTES)  # what OpenSSL opens by its name it may wait for
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.cert_file is not None:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    return context
