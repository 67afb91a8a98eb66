"""CSV under header rows that say the logger, its fields and their units, and that may come again at any line.

What the rows say is each format's own; how a payload is walked through is here. Cells are separated as the header's
are: by commas, semicolons or tabs. Where it is not by commas, a comma within a number is the decimal one, as half of
the world writes it; among commas it is so only where it can be nothing else (`"0,213"`, not `"1,013"`).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from fieldedge.acquisition.logger_format import LoggerFormat
from fieldedge.acquisition.raw import (
    BOM,
    COMMA,
    SEPARATORS,
    Line,
    Parsed,
    RawSample,
    RawValue,
    Unreadable,
    cells,
    decimal_mark,
    first_lines,
    lines,
    needs_mark,
    row,
    with_decimal_point,
)


@dataclass(frozen=True)
class Header:
    """What the header rows say: the columns, which of them is the time, their units, and the logger's identity.

    `serial` is its serial number, where its name is not one. `utc_offset_h` is the zone of the times where the header
    states it, and `events` are columns that measure nothing.
    """

    names: list[str]
    time_name: str
    units: dict[str, str]
    origin: str | None
    serial: str | None = None
    utc_offset_h: float | None = None
    events: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class HeadedCsv:
    """One such format.

    `begins` knows a file by its first bytes, `is_first` the first header row by its cells, `is_last` the one that ends
    the header, by all of them up to there, and `is_data` a row that cannot belong to a header. `read` makes sense of
    all header rows, or raises ValueError. `at_most` bounds how many they are. With `has_preamble` any row that is no
    data begins a header where there is none yet.
    """

    name: str
    at_most: int
    begins: Callable[[bytes], bool]
    is_first: Callable[[list[str]], bool]
    is_last: Callable[[list[list[str]]], bool]
    is_data: Callable[[list[str]], bool]
    read: Callable[[list[list[str]]], Header]
    has_preamble: bool = False

    def as_format(self) -> LoggerFormat:
        return LoggerFormat(self.parse, self.header, self.awaits_header, self.begins)

    def parse(self, payload: bytes, where: str, first_line: int = 1) -> Iterator[Parsed]:
        """The samples of a payload that begins with its header; never raises for its content."""
        head: list[list[str]] = []
        header: Header | None = None
        former: Header | None = None
        separator = COMMA
        for line in lines(payload, where, first_line, fallback="latin-1"):
            if isinstance(line, Unreadable):
                yield line
                continue
            try:
                separator, found, is_first = self._cells(
                    line.text, separator, has_begun=bool(head) or header is not None
                )
                if self._starts(found, is_first, bool(head), header is not None):
                    head, former, header = [found], header or former, None
                elif head and self.is_data(found):
                    seen, head = len(head), []
                    raise ValueError(f"the line stands where header row {seen + 1} of a {self.name} file should")
                elif head:
                    head.append(found)
                elif header is None:
                    raise ValueError(f"the line comes before the header rows of a {self.name} file")
                else:
                    sample = _sample(line, header, found, separator)
                    if sample is not None:
                        yield sample
                    continue
                if self.is_last(head):
                    whole, head = head, []
                    header = self.read(whole)
                    if header.origin is None and former is not None:
                        header = replace(
                            header, origin=former.origin, serial=former.serial
                        )  # the columns alone came again
                elif len(head) == self.at_most:
                    head = []
                    raise ValueError(f"no header of a {self.name} file ends within {self.at_most} rows")
            except ValueError as error:
                yield line.unreadable(str(error))

    def header(self, payload: bytes) -> bytes:
        """The leading bytes of a file that are its header; none where it has no whole one."""
        if not self.begins(payload):
            return payload[:0]
        head: list[list[str]] = []
        separator = COMMA
        for number in range(1, self.at_most + 1):
            first = first_lines(payload, number)
            if first.count(b"\n") < number:
                break
            begun = [*lines(first, "", 1, fallback="latin-1")]
            line = begun[-1] if begun else None
            if not isinstance(line, Line):
                break
            try:
                separator, found, is_first = self._cells(line.text, separator, has_begun=bool(head))
            except ValueError:
                break
            head = [found] if is_first else [*head, found]
            if self.is_last(head):
                return first
        return payload[:0]

    def awaits_header(self, payload: bytes) -> bool:
        """Whether a file begins with a header that is not wholly there yet."""
        return payload.count(b"\n") < self.at_most and not self.header(payload) and self.begins(payload)

    def _starts(self, found: list[str], is_first: bool, is_within: bool, has_header: bool) -> bool:
        """Whether a header begins with this row."""
        if self.has_preamble and not has_header:
            return not is_within and not self.is_data(found)
        return is_first

    def _cells(self, text: str, separator: str, *, has_begun: bool) -> tuple[str, list[str], bool]:
        """The separator of a line, its cells, and whether it is the first of a header: that one says the separator.

        Raises:
            ValueError: it is no CSV.
        """
        found: list[str] = []
        fault: ValueError | None = None
        try:
            found = cells(text, separator)
        except ValueError as error:
            fault = error
        is_first = bool(found) and self.is_first(found)
        if is_first or not has_begun or len(found) <= 1:
            for other in SEPARATORS:
                with suppress(ValueError):
                    split = cells(text, other) if other in text and other != separator else []
                    if len(split) > len(found) and self.is_first(split):
                        separator, found, is_first, fault = other, split, True, None
        if fault is not None:
            raise fault
        return separator, found, is_first


def begins_with(payload: bytes, is_first_row: Callable[[list[str]], bool]) -> bool:
    """Whether a file's first line is such a row, whatever parts its cells."""
    text = first_lines(payload, 1).removeprefix(BOM).decode(errors="replace")
    for separator in SEPARATORS:
        with suppress(ValueError):
            if is_first_row(cells(text, separator)):
                return True
    return False


def _sample(line: Line, header: Header, found: list[str], separator: str) -> RawSample | None:
    """The sample of a data row; None where it only notes an event."""
    fields = row(header.names, found)
    numbers = [value for name, value in fields.items() if name != header.time_name and isinstance(value, str)]
    mark = decimal_mark(numbers) if any(map(needs_mark, numbers)) else None
    measured: dict[str, RawValue] = {
        name: with_decimal_point(value, separator, mark)
        if isinstance(value, str) and name != header.time_name
        else value
        for name, value in fields.items()
    }
    if header.events and _is_event(measured, header):
        return None
    time = measured[header.time_name]
    return RawSample(line.where, time, measured, header.origin, header.units, header.serial, header.utc_offset_h)


def _is_event(fields: Mapping[str, RawValue], header: Header) -> bool:
    has_event = any(fields[name] is not None for name in header.events)
    return has_event and all(
        value is None for name, value in fields.items() if name not in header.events and name != header.time_name
    )
