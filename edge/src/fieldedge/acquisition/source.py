"""What a source is: it hands over payloads, and is told when each is durable.

A kind of source is a module in `sources/`, called as the kind: its `open_here` opens one, its `look` says of one that
is not opened whether it would work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from fieldedge.acquisition.logger_format import LoggerFormat
from fieldedge.device.config import Table

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Opening:
    """What a source is opened with.

    `table` holds the settings that its kind alone knows, `state_path` is a file of its own, and `client_id` is what it
    calls itself elsewhere. Paths in settings may be relative to `root`. `tell` hears a sentence of each change of its
    state.
    """

    name: str
    table: Table
    root: Path
    state_path: Path
    client_id: str
    logger_format: LoggerFormat
    tell: Tell
    monotonic: Callable[[], float]
    now: Callable[[], datetime]


@dataclass(frozen=True)
class Look:
    """What is found of a source that was only looked at, and what to do where it is not ok."""

    state: Literal["ok", "warn", "fail"]
    found: str
    todo: str = ""


@dataclass(frozen=True)
class Delivery:
    """Bytes from outside, whole lines or one message, that are to be stored and then called `done`.

    `where` names them for people, `origin` is the logger that the samples are of, unless it says so itself. The
    payload's first line is line `first_line` of what `where` names; a header that is repeated in front moves that back.
    `fault` is set where the bytes cannot be taken at all; the payload is then only their beginning.
    """

    payload: bytes
    where: str
    origin: str
    done: Callable[[], None]
    first_line: int = 1
    fault: str | None = None


class Source(Protocol):
    """What delivers readings. It is used from one thread."""

    @property
    def name(self) -> str: ...

    @property
    def note(self) -> str | None:
        """What is wrong with it at the moment, for a person; None when nothing is."""
        ...

    @property
    def is_ended(self) -> bool:
        """Whether nothing will ever come again."""
        ...

    def poll(self, limit_bytes: int) -> list[Delivery]:
        """What has come, about `limit_bytes` at most. Never waits. What was handed over and not done comes again."""
        ...

    def close(self) -> None:
        """Keep what is done and let go of the outside. What is not done comes again after the next start."""
        ...


class SourceKind(Protocol):
    """What a module of `sources/` offers."""

    def open_here(self, opening: Opening) -> Source:
        """A source with these settings.

        Raises:
            ConfigError: one is missing, broken or unknown; the message says which and what to set.
        """
        ...

    def look(self, opening: Opening) -> Look:
        """What is found where it would take from; nothing is taken. Within seconds.

        Raises:
            ConfigError: as `open_here`.
        """
        ...
