"""What a format of loggers is: how its payloads are read, and which header the later lines of a file need."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from fieldedge.acquisition.raw import Parsed


class Parse(Protocol):
    """The contents of a payload of whole lines, in their order. `where` and `first_line` name a line for people."""

    def __call__(self, payload: bytes, where: str, first_line: int = 1) -> Iterator[Parsed]: ...


def _never(_: bytes) -> bool:
    return False


@dataclass(frozen=True)
class LoggerFormat:
    """One format.

    `header_bytes` gives the leading bytes of a file that must come before any later part of it, for that part to be
    read. `awaits_header` says of a file's beginning that its header is not wholly there yet: wait for more of it.
    `begins` says of a file's beginning that it can be no other format's; for people, who set a wrong one.
    """

    parse: Parse
    header_bytes: Callable[[bytes], bytes]
    awaits_header: Callable[[bytes], bool] = _never
    begins: Callable[[bytes], bool] = _never
