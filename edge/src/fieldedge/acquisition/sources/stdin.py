"""Lines from standard input, as a program before us in a pipe writes them.

Nothing is read while something that was handed over is not done: a full pipe holds the writer back. A pipe cannot be
asked twice, so what a crash takes with it is for the writer to repeat; repeats are known again. A last line without an
end is taken when the input ends.
"""

import os
import select
from functools import partial

from fieldedge.acquisition.headers import cut
from fieldedge.acquisition.logger_format import LoggerFormat
from fieldedge.acquisition.raw import MAX_LINE_BYTES
from fieldedge.acquisition.source import Delivery, Look, Opening

SHOWN_BYTES = 1_000  # of a line that is too long


def open_here(opening: Opening) -> "StdinSource":
    """Standard input; it has no settings."""
    opening.table.end()
    return StdinSource(opening.name, opening.logger_format)


def look(opening: Opening) -> Look:
    """Standard input is whoever starts the service's."""
    opening.table.end()
    return Look("ok", "standard input of `fieldedge serve`")


class StdinSource:
    """The lines of one descriptor, all of one logger's format. Later lines carry the header too."""

    note: str | None = None

    def __init__(self, name: str, logger_format: LoggerFormat, descriptor: int = 0) -> None:
        self.name = name
        self._format = logger_format
        self._descriptor = descriptor
        self._header = b""
        self._buffer = b""
        self._lines = 0
        self._is_in_long_line = False
        self._is_at_end = False
        self._number = 0
        self._undone: Delivery | None = None

    @property
    def is_ended(self) -> bool:
        return self._is_at_end and not self._buffer and self._undone is None

    def poll(self, limit_bytes: int) -> list[Delivery]:
        """The whole lines that are there."""
        if self._undone is None:
            self._fill(max(limit_bytes, MAX_LINE_BYTES))
            self._undone = self._next()
        return [] if self._undone is None else [self._undone]

    def close(self) -> None:
        """Nothing to let go of: the descriptor is the process's."""

    def _fill(self, limit_bytes: int) -> None:
        while not self._is_at_end and len(self._buffer) < limit_bytes and self._is_readable():
            piece = os.read(self._descriptor, limit_bytes - len(self._buffer))
            self._is_at_end = not piece
            self._buffer += piece

    def _is_readable(self) -> bool:
        return bool(select.select([self._descriptor], [], [], 0)[0])

    def _next(self) -> Delivery | None:
        if self._is_in_long_line:
            self._skip()
        end = len(self._buffer) if self._is_at_end else self._buffer.rfind(b"\n") + 1
        if end:
            return self._delivery(self._buffer[:end])
        if len(self._buffer) < MAX_LINE_BYTES:
            return None
        beginning, self._buffer, self._is_in_long_line = self._buffer[:SHOWN_BYTES], b"", True
        fault = f"the line is longer than {MAX_LINE_BYTES} bytes; its beginning is kept"
        return self._of(beginning, self._lines + 1, fault)

    def _skip(self) -> None:
        """Pass over more of a line that was too long; its beginning has been kept."""
        end = self._buffer.find(b"\n") + 1
        self._buffer = self._buffer[end:] if end else b""
        self._is_in_long_line = not end
        self._lines += 1 if end else 0

    def _delivery(self, lines: bytes) -> Delivery | None:
        header = self._header
        taken = cut(self._format, header, lines, is_all=not self._is_at_end and len(lines) < MAX_LINE_BYTES)
        if not taken.lines:
            return None
        first_line = self._lines + 1 - header.count(b"\n")
        self._buffer, self._header = self._buffer[len(taken.lines) :], taken.header
        self._lines += taken.lines.count(b"\n")
        return self._of(header + taken.lines, first_line)

    def _of(self, payload: bytes, first_line: int, fault: str | None = None) -> Delivery:
        self._number += 1
        return Delivery(payload, self.name, self.name, partial(self._done, self._number), first_line, fault)

    def _done(self, number: int) -> None:
        if number == self._number:
            self._undone = None
