"""What loggers write: bytes in, raw samples out, a module a format. A new one is a module here and one line below.

A format knows no source, no channel and no unit. It never raises for what a logger sends.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from fieldedge.acquisition.formats import chirpstack, jsonlines
from fieldedge.acquisition.formats.headed import HeadedCsv
from fieldedge.acquisition.formats.raw import Message, Parsed, RawSample, RawValue, Unreadable
from fieldedge.acquisition.formats.toa5 import TOA5
from fieldedge.acquisition.formats.zentra import ZENTRA

__all__ = ["FORMATS", "LoggerFormat", "Message", "Parsed", "RawSample", "RawValue", "Unreadable"]


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
    """

    parse: Parse
    header_bytes: Callable[[bytes], bytes]
    awaits_header: Callable[[bytes], bool] = _never


def _headed(csv: HeadedCsv) -> LoggerFormat:
    return LoggerFormat(csv.parse, csv.header, csv.awaits_header)


FORMATS: dict[str, LoggerFormat] = {
    "jsonlines": LoggerFormat(jsonlines.parse, jsonlines.header),
    "zentra": _headed(ZENTRA),
    "toa5": _headed(TOA5),
    "chirpstack": LoggerFormat(chirpstack.parse, chirpstack.header),
}
