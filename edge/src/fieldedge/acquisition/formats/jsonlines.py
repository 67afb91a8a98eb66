"""JSON lines: one object a line, its keys the fields, `time` its moment.

`{"time": "2026-05-01T12:15:00Z", "air_temperature_c": 21.3, "soil": {"vwc": [0.21, 0.24]}}` has the fields
`air_temperature_c`, `soil.vwc.0` and `soil.vwc.1`. An `origin`, if there is one, names the logger. An object with a
`kind` is no sample but a message for the agent and goes there untouched.
"""

from collections.abc import Iterator

from fieldedge.acquisition.logger_format import LoggerFormat
from fieldedge.acquisition.raw import (
    Line,
    Message,
    Parsed,
    RawSample,
    Unreadable,
    flattened,
    identity,
    lines,
    read_json,
)


def parse(payload: bytes, where: str, first_line: int = 1) -> Iterator[Parsed]:
    """The samples and messages of a payload; never raises for its content."""
    for line in lines(payload, where, first_line):
        yield line if isinstance(line, Unreadable) else _parsed(line)


def header(payload: bytes) -> bytes:
    """JSON lines have no header."""
    return payload[:0]


def _parsed(line: Line) -> Parsed:
    try:
        value = read_json(line.text)
        if not isinstance(value, dict):
            return line.unreadable(f"the line holds {type(value).__name__}; expected an object with time and fields")
        if "kind" in value:
            return Message(line.where, line.text)
        fields = flattened(value)
    except ValueError as error:
        return line.unreadable(f"the line is not a readable JSON object: {error}")
    return RawSample(line.where, fields.get("time"), fields, identity(fields.get("origin")))


FORMAT = LoggerFormat(parse, header)
