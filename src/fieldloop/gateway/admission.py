"""Admission: whose batches are read now, so that what is held in memory has a bound.

A batch is taken into memory whole before its signature can be judged, and a device's name is no secret. So there is a
bound on the bytes that are read at once and on the batches of one device. Who stops sending, or is slower than a slow
link, makes room for who comes; the others wait a moment, the newest of a device first, and are told to come again.

A sender who has proven whose batch it is stands before all who have not: it is counted apart from those who use its
name, they make room for it however well they send, and wait while it waits for more than its own turns. The same batch
again ends the former try.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from fieldedge.system.errors import TransientError


class Busy(TransientError):  # noqa: N818 - the name says what is so
    """As much is being read as may be. Send it again later."""


class TooSlow(TransientError):  # noqa: N818 - the name says what is so
    """The batch came slower than it may. Send it again over a better link."""


@dataclass(frozen=True)
class AdmissionLimits:
    """What may be read at once.

    A batch has `patience_s`, and then must have come at `bytes_per_s` or more. `pause_s` is how long it may pause while
    others wait, who do so for `wait_s` at most.
    """

    bytes: int = 64_000_000
    batches: int = 256
    per_device: int = 2
    waiting: int = 64
    waiting_per_device: int = 4
    wait_s: float = 12.0
    pause_s: float = 5.0
    patience_s: float = 10.0
    bytes_per_s: float = 1_000.0


@dataclass(frozen=True)
class Sender:
    """Under whose name a batch comes, and whether that was proven before it is read."""

    device_id: str
    is_proven: bool


@dataclass(eq=False)
class Turn:
    """A batch that is being read: `bytes` is what it may take, `received` what has come; `batch` as it was proven."""

    sender: Sender
    batch: str | None
    bytes: int
    began_s: float
    timeout: asyncio.Timeout
    received: int = 0
    moved_s: float = 0.0

    def has(self, received: int) -> None:
        """So many bytes have come by now."""
        self.received, self.moved_s = received, asyncio.get_running_loop().time()

    @property
    def is_coming(self) -> bool:
        """Whether its sender is still to send some of it."""
        return self.timeout.when() is not None and not self.timeout.expired()

    def is_read(self) -> None:
        """All has come: what is left of the turn is ours, and takes as long as it takes."""
        self.timeout.reschedule(None)


class Admission:
    """The turns of one gateway. Used in its event loop alone."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._turns: list[Turn] = []
        self._waiting: list[_Waiting] = []
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def turn(self, device_id: str, size: int, batch: str | None = None) -> AsyncIterator[Turn]:
        """Read a batch of at most `size` bytes in a `with` block.

        Args:
            batch: its SHA-256, where the device has proven that it is its own.

        Raises:
            Busy: there was no room in time.
            TooSlow: the batch did not come in time, or made room for others.
        """
        sender = Sender(device_id, batch is not None)
        await self._room(sender, batch, size)
        loop, limits = asyncio.get_running_loop(), self._limits
        turn: Turn | None = None
        try:
            async with asyncio.timeout(limits.patience_s + size / limits.bytes_per_s) as timeout:
                turn = Turn(sender, batch, size, loop.time(), timeout, moved_s=loop.time())
                self._turns.append(turn)
                yield turn
        except TimeoutError:
            received = 0 if turn is None else turn.received
            raise TooSlow(
                f"only {received} bytes of the batch came in time; {limits.bytes_per_s:g} a second are the least, and "
                "who proves whose the batch is goes first. Send it again"
            ) from None
        finally:
            if turn in self._turns:
                self._turns.remove(turn)
            self._freed.set()

    async def _room(self, sender: Sender, batch: str | None, size: int) -> None:
        if not any(other.sender == sender for other in self._waiting) and self._has_room(sender, batch, size):
            return
        with self._queue(sender) as waiting:
            loop = asyncio.get_running_loop()
            until_s = loop.time() + self._limits.wait_s
            while not (self._is_newest(waiting) and self._has_room(sender, batch, size)):
                left_s = until_s - loop.time()
                if left_s <= 0 or waiting.is_pushed_out:
                    raise Busy("as many batches are being read as can be; keep it and send it again later")
                self._freed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._freed.wait(), min(left_s, self._limits.pause_s / 4))

    @contextmanager
    def _queue(self, sender: Sender) -> Iterator["_Waiting"]:
        own = [other for other in self._waiting if other.sender == sender and not other.is_pushed_out]
        if len(own) >= self._limits.waiting_per_device:
            own[0].is_pushed_out = True
        elif sum(other.sender.is_proven == sender.is_proven for other in self._waiting) >= self._limits.waiting:
            raise Busy("as many batches are waiting as can be; keep it and send it again later")
        waiting = _Waiting(sender)
        self._waiting.append(waiting)
        try:
            yield waiting
        finally:
            self._waiting.remove(waiting)
            self._freed.set()

    def _is_newest(self, waiting: "_Waiting") -> bool:
        own = [other for other in self._waiting if other.sender == waiting.sender]
        return own[-1] is waiting

    def _has_room(self, sender: Sender, batch: str | None, size: int) -> bool:
        """Whether one more may be read; who must make room goes where not."""
        limits = self._limits
        own = [turn for turn in self._turns if turn.sender == sender]
        if sender.is_proven and any(turn.batch == batch for turn in own):
            self._end(turn for turn in own if turn.batch == batch)
            return False
        if not sender.is_proven and any(self._goes_first(waiting.sender) for waiting in self._waiting):
            return False
        if len(own) >= limits.per_device:
            self._end(self._slow(own))
            return False
        if len(self._turns) >= limits.batches or sum(turn.bytes for turn in self._turns) + size > limits.bytes:
            unproven = [turn for turn in self._turns if not turn.sender.is_proven]
            alike = [turn for turn in self._turns if turn.sender.is_proven == sender.is_proven]
            self._end(unproven if sender.is_proven and unproven else self._slow(alike))
            return False
        return True

    def _goes_first(self, sender: Sender) -> bool:
        """Whether the others' turns keep a proven sender waiting, and not its own alone."""
        own = sum(turn.sender == sender for turn in self._turns)
        return sender.is_proven and own < self._limits.per_device

    def _slow(self, turns: list[Turn]) -> list[Turn]:
        now_s = asyncio.get_running_loop().time()
        turns = [turn for turn in turns if turn.is_coming]
        paused = [turn for turn in turns if now_s - turn.moved_s > self._limits.pause_s]
        patient = [turn for turn in turns if now_s - turn.began_s > self._limits.patience_s]
        return paused or [turn for turn in patient if turn.received < self._limits.bytes_per_s * (now_s - turn.began_s)]

    def _end(self, turns: Iterable[Turn]) -> None:
        """End the one of these turns that moved least lately; one that is read is ours to finish."""
        stillest = min((turn for turn in turns if turn.is_coming), key=lambda turn: turn.moved_s, default=None)
        if stillest is not None:
            stillest.timeout.reschedule(asyncio.get_running_loop().time())


@dataclass(eq=False)
class _Waiting:
    sender: Sender
    is_pushed_out: bool = False
