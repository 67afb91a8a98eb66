"""A narrow and lossy link: two network namespaces, and a process between them that passes packets on.

What `tc qdisc add netem rate 64kbit loss 10% delay 100ms limit 32` does, done outside of the kernel, for not every
kernel has netem: the packets are real, and so is TCP on both sides. It needs Linux, root and /dev/net/tun.
"""

import fcntl
import os
import random
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
NEAR, FAR = "10.213.0.1", "10.213.0.2"
QUEUE_PACKETS = 32


@dataclass(frozen=True)
class Conditions:
    """Of each direction. `loss` is drawn for every packet on its own."""

    rate_bit_s: float = 64_000.0
    loss: float = 0.10
    delay_s: float = 0.1


UNHINDERED = Conditions(1e9, 0.0, 0.0)


@dataclass
class Link:
    """What joins the two namespaces. Counts whole IP packets, as they are sent, lost ones too."""

    near: str
    far: str
    conditions: Conditions = UNHINDERED
    is_up: bool = True
    up_bytes: int = 0
    down_bytes: int = 0
    lost_packets: int = 0
    _dice: random.Random = field(default_factory=lambda: random.Random(13))  # noqa: S311

    def command(self, namespace: str, *command: str) -> list[str]:
        return ["ip", "netns", "exec", namespace, *command]

    @property
    def bytes(self) -> int:
        return self.up_bytes + self.down_bytes

    def carry(self, source: int, sink: int, *, is_up: bool) -> None:
        """Pass on what comes in one direction, for ever."""
        waiting: deque[bytes] = deque()
        came = threading.Condition()

        def read() -> None:
            while (packet := _packet(source)) is not None:
                with came:
                    if len(waiting) < QUEUE_PACKETS or self.conditions is UNHINDERED:
                        waiting.append(packet)
                        came.notify()

        threading.Thread(target=read, daemon=True).start()
        while True:
            with came:
                while not waiting:
                    came.wait()
                packet = waiting.popleft()
            self._count(len(packet), is_up)
            time.sleep(len(packet) * 8.0 / self.conditions.rate_bit_s)
            if not self.is_up or self._dice.random() < self.conditions.loss:
                self.lost_packets += 1
            elif self.conditions.delay_s:
                threading.Timer(self.conditions.delay_s, _send, (sink, packet)).start()
            else:
                _send(sink, packet)

    def _count(self, size: int, is_up: bool) -> None:
        if is_up:
            self.up_bytes += size
        else:
            self.down_bytes += size


@contextmanager
def narrow_link(name: str = "fieldota") -> Iterator[Link]:
    """Two namespaces and the link; both are gone afterwards.

    Raises:
        OSError, CalledProcessError: this machine does not let it be made.
    """
    near, far = f"{name}-near", f"{name}-far"
    ends = []
    try:
        for namespace, own, other in ((near, NEAR, FAR), (far, FAR, NEAR)):
            _run("ip", "netns", "add", namespace)
            ends.append(_tunnel(f"{name}{len(ends)}"))
            _run("ip", "link", "set", f"{name}{len(ends) - 1}", "netns", namespace)
            device = ("dev", f"{name}{len(ends) - 1}")
            _run("ip", "-n", namespace, "address", "add", own, "peer", other, *device)
            _run("ip", "-n", namespace, "link", "set", *device, "up")
            _run("ip", "-n", namespace, "link", "set", "lo", "up")
        link = Link(near, far)
        for source, sink, is_up in ((ends[0], ends[1], True), (ends[1], ends[0], False)):
            threading.Thread(target=link.carry, args=(source, sink), kwargs={"is_up": is_up}, daemon=True).start()
        yield link
    finally:
        for namespace in (near, far):
            if Path("/run/netns", namespace).exists():
                _run("ip", "netns", "delete", namespace)


def _tunnel(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def _packet(source: int) -> bytes | None:
    """The next one; None where the namespace is gone."""
    try:
        return os.read(source, 65_536)
    except OSError:
        return None


def _send(sink: int, packet: bytes) -> None:
    with suppress(OSError):  # the namespace is gone
        os.write(sink, packet)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
