"""What time it is, on a computer that may have no clock of its own.

Time here never runs backwards by itself: it goes on from a floor on disk, by the time since the computer's start,
whatever the system clock does. The system clock is believed where it is plausible (not before the floor, no jump within
one boot) or where the kernel says that it is synchronised. A start far beyond the floor is believed for the moment, but
moves the floor only once something confirms it: a year too far today must not keep out the right time tomorrow.

A trusted time corrects what was believed before, in either direction. Where there is none, the sources that a person
configured are the witnesses: several readings in a row of most of a source's loggers, and most of the sources that
speak, confirm a time, carry it forward, or take back what nobody confirmed, but never to before the floor. A logger's
name is its own word and makes no second witness. One source alone is followed only where it contradicts nobody, and no
further than `MAX_ALONE` beyond what was confirmed; it confirms no time that it carried here itself. Every correction is
told. What order things happened in does not depend on any of it: that is the store's sequence.

Beside that time runs the one without the loggers' word alone (`reading().sure`): whether a release has expired is
judged by it, so that no logger can make one expire. Processes of one boot go on from the same note, by its seconds.
"""

import ctypes
import functools
import json
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fieldedge.system.durable import write_durably
from fieldedge.system.plain_files import read_own

MAX_NOTE_BYTES = 100_000
MAX_STEP = timedelta(days=2)  # a system clock that moves further within one boot is not believed unconfirmed
MAX_OFF = timedelta(days=400)  # nor one that starts further beyond the floor
MAX_ALONE = timedelta(days=240)  # one source carries the time over a winter in which nobody comes by
TOLERANCE = timedelta(minutes=5)  # smaller corrections are not worth telling
KEEP_EVERY = timedelta(minutes=10)
WITNESSES = 4  # readings in a row that must agree before they count
MAX_WITNESSES = 100  # of one source
SPEAKS_S = 86_400.0  # who was heard within a day has a voice
MAX_UNTOLD = 100
AGREEMENT = timedelta(days=1)  # between a logger's time and ours
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)  # no later time is a time
LIVE_S, LIVE_STEP_S = 3600.0, 1800.0  # readings come live if they keep pace with us for an hour, within half of one

UNKNOWN_BOOT = "unknown"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")
_STA_UNSYNC, _TIME_ERROR = 0x0040, 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stamp:
    """When and in which boot something was stored, and whether that time was confirmed by anyone."""

    boot_id: str
    utc: str
    is_trusted: bool


@dataclass(frozen=True)
class Reading:
    """What the clock says to whoever judges by it.

    `sure` is the time without what loggers alone say, never later than `now`. It is confirmed where nothing far beyond
    its floor is believed on the system clock's word alone; trusted, where something keeps the system clock right.
    """

    now: datetime
    sure: datetime
    is_confirmed: bool
    is_trusted: bool


@dataclass(frozen=True)
class _Note:
    """What the file says: how far time had run, how far without loggers, and at which second of which boot."""

    floor: datetime
    sure: datetime
    is_grounded: bool
    boot_id: str | None
    at_s: float | None


@dataclass(frozen=True)
class Correction:
    """Time was set to something else than it had run to, and why."""

    before: datetime
    after: datetime
    why: str

    def text(self) -> str:
        hours = (self.after - self.before).total_seconds() / 3600.0
        return f"the time was corrected by {hours:+.1f} h to {format_utc(self.after)}: {self.why}"


@dataclass
class _Witness:
    """What one logger has said of the time, with our seconds: its last readings and some of before; how many agreed.

    `marks` are readings a quarter of `LIVE_S` apart or more, so many that they reach back as far as that.
    """

    heard_s: float
    seen: list[tuple[datetime, float]] = field(default_factory=list)
    marks: list[tuple[datetime, float]] = field(default_factory=list)
    agreeing: int = 0

    def add(self, seen: datetime, at_s: float) -> None:
        self.heard_s = at_s
        self.seen = [*self.seen, (seen, at_s)][-WITNESSES:]
        if not self.marks or at_s - self.marks[-1][1] >= LIVE_S / 4:
            self.marks = [*self.marks, (seen, at_s)][-5:]

    def forget(self) -> None:
        """What it said was of another time than ours is now. That it speaks stays known."""
        self.seen, self.marks, self.agreeing = [], [], 0

    def says(self, time_: datetime, at_s: float) -> bool:
        """Whether its last reading, run on to that second, is that time."""
        if not self.seen:
            return False
        seen, seen_s = self.seen[-1]
        return abs((seen - time_).total_seconds() + at_s - seen_s) <= AGREEMENT.total_seconds()

    @property
    def is_steady(self) -> bool:
        """Whether enough readings came one after the other, and none ran ahead by more than a day."""
        if len(self.seen) < WITNESSES:
            return False
        times, (first, first_s), (last, last_s) = [seen for seen, _ in self.seen], self.seen[0], self.seen[-1]
        ran_s = (last - first).total_seconds() - (last_s - first_s)
        return times == sorted(times) and ran_s < AGREEMENT.total_seconds()

    @property
    def is_live(self) -> bool:
        """Whether they came as they were measured, and not from a memory."""
        if not self.is_steady:
            return False
        (first, first_s), (last, last_s) = self.marks[0], self.seen[-1]
        took_s = last_s - first_s
        return took_s >= LIVE_S and abs((last - first).total_seconds() - took_s) < LIVE_STEP_S


class Clock:
    """The device's time. `now` is cheap and may be asked by any thread; `keep` writes the floor when it is due.

    Each correction and each refusal is a sentence. It is logged at once, and `keep` hands it to `tell`, which may be
    replaced after construction by whoever keeps the device's events: never in the middle of something else.
    """

    def __init__(
        self,
        path: Path,
        *,
        wall: Callable[[], datetime] | None = None,
        monotonic: Callable[[], float] | None = None,
        boot_id: str | None = None,
        is_synchronised: Callable[[], bool] | None = None,
    ) -> None:
        self._path = path
        self._wall = wall or system_time
        self._monotonic = monotonic or seconds_since_boot
        self._is_synchronised = is_synchronised or kernel_is_synchronised
        self._mutex = threading.RLock()
        self.boot_id = boot_id or read_boot_id()
        self.tell: Callable[[str], None] = lambda _text: None
        self._untold: deque[str] = deque(maxlen=MAX_UNTOLD)
        self._witnesses: dict[tuple[str, str], _Witness] = {}  # by source and logger
        self._carried_by: str | None = None
        self._is_vouched_for = False  # a source that did not carry it here kept pace with it in this process
        self._is_trusted = False
        self._refused: str | None = None
        note = _read_note(path)
        self._is_grounded = note is not None and note.is_grounded
        wall_now = self._wall()
        since = None if note is None else self._since(note)
        start = wall_now if note is None else self._start(note.floor, since, wall_now)
        sure = wall_now if note is None else self._start(note.sure, since, wall_now)
        if abs(start - wall_now) > TOLERANCE:
            self._refused = _unbelieved(wall_now, start)
        self._kept = None if note is None else note.floor
        self._floor = start if note is None else note.floor + (since or timedelta(0))
        self._sure_floor = sure if note is None else note.sure + (since or timedelta(0))
        self._is_confirmed = start - self._floor <= MAX_STEP
        self._is_sure_confirmed = sure - self._sure_floor <= MAX_STEP
        self._set(start)
        self._sure = sure, self._anchor[1]

    @property
    def is_trusted(self) -> bool:
        """Whether a trusted time was seen since this process began."""
        return self._is_trusted

    @property
    def note(self) -> str | None:
        """What is wrong with the system clock, if anything."""
        return self._refused

    def now(self) -> datetime:
        """The time, UTC. It never runs backwards but by a correction, which is told."""
        wall = self._wall()
        if self._is_synchronised():
            self.correct(wall, "the system clock is synchronised")
            return wall
        with self._mutex:
            ran = self._ran()
            if abs(wall - self._wall_offset - ran) > TOLERANCE:
                self._system_clock_moved(ran, wall)
            return self._ran()

    def stamp(self) -> Stamp:
        """The time as records carry it."""
        now = self.now()
        return Stamp(self.boot_id, format_utc(now), self._is_trusted)

    def reading(self) -> Reading:
        """The time, and how far it is known."""
        now = self.now()
        with self._mutex:
            sure = self._ran(self._sure)
            is_confirmed = self._is_confirmed if sure >= now else self._is_sure_confirmed
            return Reading(now, min(now, sure), is_confirmed, self._is_trusted)

    def confirmed(self) -> datetime:
        """The time that someone confirmed, run on: it is later, or now. Where nobody ever did, there is no such time.

        What is too old is judged by it: a time that was only believed makes nothing old.
        """
        reading = self.reading()
        with self._mutex:
            if not self._is_grounded:
                return EARLIEST
            return min(reading.now, reading.sure if self._is_sure_confirmed else self._sure_floor)

    def correct(self, trusted: datetime, why: str) -> None:
        """Take over a trusted time, and tell where it differs from what was believed."""
        with self._mutex:
            before = self._ran()
            self._set(trusted)
            self._sure, self._is_sure_confirmed = self._anchor, True
            self._is_trusted = self._is_confirmed = self._is_grounded = True
            self._refused = self._carried_by = None
            if abs(trusted - before) > TOLERANCE:
                self._say(Correction(before, trusted, why).text())
                self._write(trusted, trusted)

    def witness(self, seen: datetime, source: str = "", origin: str = "") -> None:
        """The time of a reading that came just now from a source, by one of its loggers.

        Where nobody confirmed ours, sources are believed.
        """
        now = self.now()
        with self._mutex:
            if self._is_trusted:
                return
            witness = self._witness(source, origin)
            if witness is None:
                return
            witness.add(seen, self._monotonic())
            witness.agreeing = witness.agreeing + 1 if abs(seen - now) <= AGREEMENT else 0
            if witness.agreeing >= WITNESSES:
                self._confirm(now, witness, source)
            if self._is_believed(witness, seen, now):
                self._follow(seen, now, source)

    def keep(self) -> None:
        """Write the floor, if it has moved on enough since it was last written, and tell what there is to tell."""
        with self._mutex:
            floor = self._ran() if self._is_confirmed else self._floor
            if self._kept is None or floor - self._kept >= KEEP_EVERY:
                self._write(floor, self._ran(self._sure) if self._is_sure_confirmed else self._sure_floor)
        while self._untold:
            self.tell(self._untold[0])
            self._untold.popleft()

    def _witness(self, source: str, origin: str) -> _Witness | None:
        """Who speaks by that name in that source; None where as many speak there as are listened to."""
        at_s, known = self._monotonic(), [key for key in self._witnesses if key[0] == source]
        if (source, origin) not in known and len(known) >= MAX_WITNESSES:
            silent = [key for key in known if at_s - self._witnesses[key].heard_s > SPEAKS_S]
            if not silent:
                return None
            for key in silent:
                del self._witnesses[key]
        return self._witnesses.setdefault((source, origin), _Witness(at_s))

    def _count_sources(self, says_so: Callable[[_Witness], bool]) -> int:
        """How many sources say so: those where more than half of the loggers do. None where most sources do not.

        Who was not heard within a day has no voice.
        """
        at_s = self._monotonic()
        heard: dict[str, list[bool]] = {}
        for (source, _), witness in self._witnesses.items():
            if at_s - witness.heard_s <= SPEAKS_S:
                heard.setdefault(source, []).append(says_so(witness))
        count = sum(2 * sum(said) > len(said) for said in heard.values())
        return count if 2 * count > len(heard) else 0

    def _is_believed(self, witness: _Witness, seen: datetime, now: datetime) -> bool:
        """Whether a source's time takes the place of ours: ahead of it, or behind where only the system clock led."""
        at_s = self._monotonic()
        if seen > now + AGREEMENT:
            if not (witness.is_steady and all(time_ > now + AGREEMENT for time_, _ in witness.seen)):
                return False
            count = self._count_sources(lambda other: other.is_steady and other.says(seen, at_s))
            return count > 0 and seen <= self._latest_carried(now, count, witness)
        if seen >= now - AGREEMENT or self._is_confirmed or seen < self._floor or not witness.is_live:
            return False
        return self._count_sources(lambda other: other.is_live and other.says(seen, at_s)) > 0

    def _latest_carried(self, now: datetime, count: int, witness: _Witness) -> datetime:
        """How far so many sources carry the time: from what was confirmed, and not from where another left it.

        One alone carries it further only where nobody ever confirmed a time, and not from a memory.
        """
        is_sure = self._is_sure_confirmed or not self._is_grounded
        start = min(now, self._ran(self._sure) if is_sure else self._sure_floor)
        if count == 1 and self._is_vouched_for:
            return now
        if count > 1 or (witness.is_live and not self._is_grounded):
            return self._latest_after(start)
        return min(start + MAX_ALONE, LATEST)

    def _confirm(self, now: datetime, witness: _Witness, source: str) -> None:
        """A source that agrees with our time confirms it, unless it carried it here or most that speak disagree."""
        agreeing = self._count_sources(lambda one: one.agreeing >= WITNESSES)
        if not agreeing:
            return
        if source != self._carried_by:
            self._is_confirmed = self._is_grounded = True
            self._is_vouched_for = self._is_vouched_for or witness.is_live
        self._confirm_sure(now, agreeing)

    def _confirm_sure(self, now: datetime, agreeing: int) -> None:
        """Two that agree confirm a time: a source and the system clock, or two sources. One alone never does."""
        if abs(now - self._ran(self._sure)) <= AGREEMENT:
            self._is_sure_confirmed = True
        elif agreeing > 1:
            self._sure, self._is_sure_confirmed = self._anchor, True

    def _follow(self, seen: datetime, now: datetime, source: str) -> None:
        """Take over a source's time. It moves the floor only if it is near, or once another source agrees."""
        self._set(seen)
        for witness in self._witnesses.values():
            witness.forget()
        self._carried_by = source
        without = self._ran(self._sure) if self._is_sure_confirmed else self._sure_floor
        self._is_confirmed = seen - without <= MAX_STEP
        self._refused = _unbelieved(self._wall(), seen) if abs(self._wall_offset) > TOLERANCE else None
        self._say(Correction(now, seen, f"{WITNESSES} readings in a row say so, and nothing else is known").text())

    def _system_clock_moved(self, ran: datetime, wall: datetime) -> None:
        """Believe a small step forward, if ours was never confirmed; anything else waits for someone to confirm it."""
        self._wall_offset = wall - ran
        if abs(wall - ran) <= TOLERANCE:  # it is back where it was believed
            self._refused = None
        elif timedelta(0) < wall - ran <= MAX_STEP and not self._is_trusted:
            self._set(wall)
            if wall - self._ran(self._sure) <= MAX_STEP:
                self._sure = self._anchor
            self._refused = None
            self._say(Correction(ran, wall, "the system clock was set").text())
        else:
            self._refused = _unbelieved(wall, ran)
            self._say(self._refused)

    def _latest_after(self, floor: datetime) -> datetime:
        """The latest time that is plausible from there on. Where nobody ever confirmed any, every later one is."""
        return min(floor + MAX_OFF, LATEST) if self._is_grounded else LATEST

    def _since(self, note: _Note) -> timedelta | None:
        """How long ago the note was written, if that was in this boot."""
        if note.at_s is None or note.boot_id != self.boot_id or self.boot_id == UNKNOWN_BOOT:
            return None
        ago_s = self._monotonic() - note.at_s
        return timedelta(seconds=ago_s) if ago_s >= 0.0 else None

    def _start(self, floor: datetime, since: timedelta | None, wall: datetime) -> datetime:
        """Where time begins: at the system clock's word where that is plausible, else where it had run to."""
        if since is None:
            return wall if floor <= wall <= self._latest_after(floor) else floor
        is_plausible = floor + since - TOLERANCE <= wall <= floor + since + MAX_STEP
        return max(wall, floor) if is_plausible else floor + since

    def _ran(self, since: tuple[datetime, float] | None = None) -> datetime:
        anchor, anchor_s = self._anchor if since is None else since
        return min(anchor + timedelta(seconds=self._monotonic() - anchor_s), LATEST)

    def _set(self, time_: datetime) -> None:
        self._anchor = time_, self._monotonic()
        self._wall_offset = self._wall() - time_

    def _say(self, text: str) -> None:
        _log.warning("%s", text)
        self._untold.append(text)

    def _write(self, floor: datetime, sure: datetime) -> None:
        is_run = self._is_confirmed and self._is_sure_confirmed  # else a later process cannot go on from these seconds
        note = {
            "floor_utc": format_utc(floor),
            "sure_utc": format_utc(min(sure, floor)),
            "is_grounded": self._is_grounded,
            "boot_id": self.boot_id,
            "at_s": round(self._monotonic(), 3) if is_run else None,
        }
        write_durably(self._path, json.dumps(note).encode())
        self._floor = self._kept = floor
        self._sure_floor = sure


def _unbelieved(wall: datetime, ran: datetime) -> str:
    return (
        f"the system clock says {format_utc(wall)}, the device has run to {format_utc(ran)}: "
        "it is not believed until a trusted time confirms it"
    )


def system_time() -> datetime:
    """What the system clock says, UTC."""
    return datetime.now(UTC)


def format_utc(time_: datetime) -> str:
    """A time as records hold it: `2006-05-01T12:15:00Z`."""
    return time_.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_utc(text: str) -> datetime:
    """The time that `format_utc` wrote, or any ISO time with its offset.

    Raises:
        ValueError: it is none, or carries no offset.
    """
    time_ = datetime.fromisoformat(text)
    if time_.tzinfo is None:
        raise ValueError(f"{text} has no offset from UTC")
    try:
        return time_.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text} is no time that UTC has") from None


def read_boot_id() -> str:
    """The kernel's name for this boot; `UNKNOWN_BOOT` where there is none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return UNKNOWN_BOOT


def seconds_since_boot() -> float:
    """Seconds that only run forward, and on while the computer sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def kernel_is_synchronised() -> bool:
    """Whether something (NTP, PTP, GNSS) keeps the system clock: the kernel says so, or systemd where it may not."""
    try:
        buffer = ctypes.create_string_buffer(256)  # struct timex with modes 0: ask only
        state = _libc().adjtimex(buffer)
        status = int.from_bytes(buffer.raw[_STATUS_OFFSET : _STATUS_OFFSET + 4], "little", signed=True)
    except (OSError, AttributeError):
        return False
    if state == -1:
        return _TIMESYNCD.exists()
    return bool(state != _TIME_ERROR and not status & _STA_UNSYNC)


# modes (int, padded), offset, freq, maxerror, esterror (long each), then status: int
_STATUS_OFFSET = 5 * ctypes.sizeof(ctypes.c_long)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _read_note(path: Path) -> _Note | None:
    """What was kept, or None at the first start and where the note is damaged: it is written anew."""
    try:
        note = json.loads(read_own(path, MAX_NOTE_BYTES))
        floor = parse_utc(note["floor_utc"])
        sure = parse_utc(note.get("sure_utc", note["floor_utc"]))
        boot_id, at_s = note.get("boot_id"), note.get("at_s")
        if not EARLIEST <= floor <= LATEST:
            return None
        is_timed = isinstance(at_s, int | float) and math.isfinite(at_s)
        return _Note(
            floor, min(sure, floor), note.get("is_grounded") is not False, boot_id, float(at_s) if is_timed else None
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None
