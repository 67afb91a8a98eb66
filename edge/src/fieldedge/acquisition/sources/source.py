"""What a source is: it hands over payloads, and is told when each is durable."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Tell = Callable[[str], None]


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
