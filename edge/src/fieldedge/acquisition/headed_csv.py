"""CSV under several header rows that say the logger, its fields and their units, and that may come again at any line.

What the rows say is each format's own; how a payload is walked through is here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fieldedge.acquisition.logger_format import LoggerFormat
from fieldedge.acquisition.raw import Parsed, RawSample, Unreadable, cells, first_lines, lines, row


@dataclass(frozen=True)
class Header:
    """What the header rows say: the columns, which of them is the time, their units, and the logger's identity.

    `serial` is its serial number, where its name is not one.
    """

    names: list[str]
    time_name: str
    units: dict[str, str]
    origin: str | None
    serial: str | None = None


@dataclass(frozen=True)
class HeadedCsv:
    """One such format.

    `begins` knows a file by its first bytes, `is_first` the first of the `rows` header rows by its cells, and `is_data`
    a row that cannot belong to a header. `read` makes sense of all header rows, or raises ValueError.
    """

    name: str
    rows: int
    begins: Callable[[bytes], bool]
    is_first: Callable[[list[str]], bool]
    is_data: Callable[[list[str]], bool]
    read: Callable[[list[list[str]]], Header]

    def as_format(self) -> LoggerFormat:
        return LoggerFormat(self.parse, self.header, self.awaits_header)

    def parse(self, payload: bytes, where: str, first_line: int = 1) -> Iterator[Parsed]:
        """The samples of a payload that begins with its header; never raises for its content."""
        head: list[list[str]] = []
        header: Header | None = None
        for line in lines(payload, where, first_line, fallback="latin-1"):
            if isinstance(line, Unreadable):
                yield line
                continue
            try:
                found = cells(line.text)
                if self.is_first(found):
                    head, header = [found], None
                elif head:
                    if self.is_data(found):
                        seen, head = len(head), []
                        raise ValueError(f"the line stands where header row {seen + 1} of a {self.name} file should")
                    head.append(found)
                    if len(head) == self.rows:
                        whole, head = head, []
                        header = self.read(whole)
                elif header is None:
                    raise ValueError(f"the line comes before the {self.rows} header rows of a {self.name} file")
                else:
                    fields = row(header.names, found)
                    time = fields[header.time_name]
                    yield RawSample(line.where, time, fields, header.origin, header.units, header.serial)
            except ValueError as error:
                yield line.unreadable(str(error))

    def header(self, payload: bytes) -> bytes:
        """The leading bytes of a file that are its header; none where it has no whole one."""
        head = first_lines(payload, self.rows)
        return head if head.count(b"\n") == self.rows and self.begins(payload) else payload[:0]

    def awaits_header(self, payload: bytes) -> bool:
        """Whether a file begins with a header that is not wholly there yet."""
        return payload.count(b"\n") < self.rows and self.begins(payload)
