"""Which header the later lines of a growing file need.

A logger writes its header once and then goes on for months; what is read later means nothing without it. A logger
that was given another program may write a new header into the same file: from there on that one counts. A header is
never cut in two.
"""

import re
from dataclasses import dataclass

from fieldedge.acquisition.logger_format import LoggerFormat
from fieldedge.acquisition.raw import BOM


@dataclass(frozen=True)
class Cut:
    """The lines to take now, and the header that counts after them. `start` is where in them it begins, if it does."""

    lines: bytes
    header: bytes
    start: int | None = None


def cut(logger_format: LoggerFormat, header: bytes, lines: bytes, is_all: bool) -> Cut:
    """What to take of whole lines before which `header` counts. `is_all` says that no more are there yet."""
    if not header and is_all and logger_format.awaits_header(lines):
        return Cut(b"", header)
    first = header or logger_format.header_bytes(lines)
    start = _last_start(logger_format, first, lines)
    if start is None:
        return Cut(lines, header) if header or not first else Cut(lines, first, 0)
    new = logger_format.header_bytes(lines[start:])
    if new:
        return Cut(lines, new, start)
    if start:
        return cut(logger_format, header, lines[:start], is_all=False)
    return Cut(b"" if is_all else lines, header)


def _last_start(logger_format: LoggerFormat, header: bytes, lines: bytes) -> int | None:
    """Where the last header begins that is within `lines`, whole or not: its first cell is that of the one before."""
    first_cell = _first_cell(header)
    end = len(lines)
    while first_cell and end > 0:
        start = lines.rfind(b"\n" + first_cell, 0, end) + 1
        if not lines.startswith(first_cell, start):
            return None
        rest = lines[start:]
        if logger_format.header_bytes(rest) or logger_format.awaits_header(rest):
            return start
        end = start
    return None


def _first_cell(header: bytes) -> bytes:
    """What a header begins with, and what separates it from what follows: a header of one cell ends with its line."""
    return re.split(rb"(?<=[,;\t\r\n])", header.removeprefix(BOM), maxsplit=1)[0]
