"""A real Mosquitto on a free loopback port, with its persistence in a folder of the test's own."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

import pytest

pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is the device's extra [mqtt]")

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.edge.patience import PATIENCE_S
from tests.edge.ports import free_port

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")

needs_mosquitto = pytest.mark.skipif(
    MOSQUITTO is None, reason="no mosquitto on this machine; apt-get install mosquitto runs these tests"
)


class Broker:
    """One Mosquitto. It can be stopped and started again on the same port, and knows then what it knew."""

    def __init__(self, folder: Path, lines: Sequence[str] = ("allow_anonymous true",), tls: Sequence[str] = ()) -> None:
        self._folder = folder
        self._lines = [*lines]
        self._tls = [*tls]
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        folder.mkdir(exist_ok=True)

    def start(self) -> None:
        """Start and wait until it listens. The port is chosen at the first start; another may be faster to take it."""
        for _ in range(10):
            if self._begin(self.port or free_port()):
                return
        raise AssertionError(f"mosquitto does not start: {(self._folder / 'log').read_text()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def publish(self, topic: str, *payloads: str, qos: int = 1, username: str | None = None) -> None:
        """Send messages and wait until the broker has them."""
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.max_inflight_messages_set(1000)
        if username is not None:
            client.username_pw_set(username, "right")
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        for sent in [client.publish(topic, payload, qos) for payload in payloads]:
            sent.wait_for_publish(PATIENCE_S)
        client.disconnect()
        client.loop_stop()

    def _begin(self, port: int) -> bool:
        settings = [
            f"listener {port} 127.0.0.1",
            *self._tls,
            "user root",  # only counts where root starts it: the test's files are root's then
            "persistence true",
            f"persistence_location {self._folder}/",
            "max_queued_messages 0",
            "set_tcp_nodelay true",
            *self._lines,
        ]
        (self._folder / "conf").write_text("\n".join(settings) + "\n")
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [str(MOSQUITTO), "-c", str(self._folder / "conf")], stdout=log, stderr=subprocess.STDOUT
            )
        until_s = monotonic() + PATIENCE_S
        while process.poll() is None and monotonic() < until_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    self._process, self.port = process, port
                    return True
            pause()
        process.kill()
        process.wait()
        return False


def wait_until(is_so: Callable[[], bool]) -> None:
    """Call again and again until it is so. What is waited for is another process."""
    until_s = monotonic() + PATIENCE_S
    while not is_so():
        assert monotonic() < until_s, "it did not become so"
        pause()


def pause() -> None:
    """Let the other process run."""
    threading.Event().wait(0.005)
