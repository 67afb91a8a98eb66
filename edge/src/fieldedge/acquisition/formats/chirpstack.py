"""LoRaWAN uplinks as a network server publishes them: ChirpStack v4 events, and The Things Stack v3 uplinks.

What The Things Stack's console exports is read too: of its events those that forward an uplink; the others tell how
the same uplink travelled, and are passed over.

A payload is one object, or one a line, or a list of them. The fields are what the device profile's codec decoded
(`object`, or `decoded_payload`), nested ones named with dots; the origin is the device's EUI; the time is the
network's. An uplink that nobody decoded cannot be read here: what its bytes mean is the codec's to say. Joins,
acknowledgements and the like hold no readings and are set aside with the reason.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fieldedge.acquisition.logger_format import LoggerFormat
from fieldedge.acquisition.raw import (
    BOM,
    KEPT_CHARACTERS,
    Line,
    Parsed,
    RawSample,
    Unreadable,
    flattened,
    identity,
    lines,
    read_json,
)

MAX_WHOLE_BYTES = 300_000  # a piece of a file that a folder hands over
_FORWARDED = "as.up.data.forward"
_ON_ITS_WAY = ("as.", "ns.", "gs.", "js.", "end_device.", "device.")
_FAILED = ("as.up.data.decode.fail", "as.up.data.drop")

_EUI = re.compile(r"[0-9A-Fa-f]{16}")


def parse(payload: bytes, where: str, first_line: int = 1) -> Iterator[Parsed]:
    """The uplinks of a payload; never raises for its content."""
    whole = _whole(payload)
    if whole is not None:
        line = Line(where, payload[: 4 * KEPT_CHARACTERS].decode(errors="backslashreplace").strip())
        uplinks = whole if isinstance(whole, list) else [whole]
        yield from (_uplink(uplink, line) for uplink in uplinks if not _is_on_its_way(uplink))
        return
    for line_or_not in lines(payload, where, first_line):
        if isinstance(line_or_not, Unreadable):
            yield line_or_not
        else:
            yield from _read(line_or_not)


def header(payload: bytes) -> bytes:
    """JSON has no header."""
    return payload[:0]


def awaits_more(payload: bytes) -> bool:
    """Whether a document over many lines, indented as a console exports it, is not there to its end yet."""
    whole = payload.removeprefix(BOM).strip(b"\r\n")
    begins, _, rest = whole.partition(b"\n")
    if begins.strip() not in (b"[", b"{", b"[{") or len(payload) > MAX_WHOLE_BYTES:
        return False
    last = rest.rpartition(b"\n")[2]
    return not rest or last[:1] in (b" ", b"\t")


def _whole(payload: bytes) -> Any:
    """The payload as one value, over however many lines; None where it is several, or none."""
    if len(payload) > MAX_WHOLE_BYTES:
        return None
    try:
        return read_json(payload.removeprefix(BOM).decode())
    except ValueError:
        return None


def _read(line: Line) -> Iterator[Parsed]:
    try:
        value = read_json(line.text)
    except ValueError as error:
        yield line.unreadable(f"the line is not readable JSON: {error}")
        return
    if not _is_on_its_way(value):
        yield _uplink(value, line)


def _is_on_its_way(value: Any) -> bool:
    """Whether it is an event of The Things Stack's console that tells how an uplink travels, and not what it says."""
    if not isinstance(value, dict) or "identifiers" not in value:
        return False
    name = value.get("name")
    return isinstance(name, str) and name != _FORWARDED and name.startswith(_ON_ITS_WAY) and name not in _FAILED


def _uplink(value: Any, line: Line) -> Parsed:
    if not isinstance(value, dict):
        return line.unreadable(f"it is {type(value).__name__}; expected an object of a LoRaWAN network server")
    # The Things Stack's storage answers so, and its console exports so.
    wrapped = value.get("data") if value.get("name") == _FORWARDED else value.get("result")
    uplink = wrapped if isinstance(wrapped, dict) else value
    try:
        if "uplink_message" in uplink:
            return _of_the_things_stack(uplink, line)
        if "deviceInfo" in uplink:
            return _of_chirpstack(uplink, line)
    except ValueError as error:
        return line.unreadable(str(error))
    return line.unreadable(
        "it is no uplink: expected ChirpStack v4's deviceInfo or The Things Stack v3's uplink_message; "
        "subscribe to .../event/up or .../up"
    )


def _of_chirpstack(event: Mapping[str, Any], line: Line) -> Parsed:
    origin = _device(_object(event, "deviceInfo").get("devEui"))
    decoded = event.get("object")
    if not isinstance(decoded, dict):
        if event.get("data"):
            raise ValueError(
                f"the uplink of {origin} is not decoded: set a codec in the device's profile in ChirpStack"
            )
        raise ValueError(f"the event of {origin} holds no readings: subscribe to .../event/up only")
    return RawSample(line.where, event.get("time"), flattened(decoded), origin)


def _of_the_things_stack(message: Mapping[str, Any], line: Line) -> Parsed:
    device, uplink = _object(message, "end_device_ids"), _object(message, "uplink_message")
    origin = _device(device.get("dev_eui") or device.get("device_id"))
    decoded = uplink.get("decoded_payload")
    if not isinstance(decoded, dict):
        if uplink.get("frm_payload"):
            raise ValueError(f"the uplink of {origin} is not decoded: set an uplink payload formatter for the device")
        raise ValueError(f"the uplink of {origin} holds no readings")
    time = message.get("received_at") or uplink.get("received_at")
    return RawSample(line.where, time, flattened(decoded), origin)


def _object(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = holder.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"{name} is {type(found).__name__}; expected an object")
    return found


def _device(value: Any) -> str:
    origin = identity(value)
    if origin is None:
        raise ValueError(f"the device is {str(value)[:40]!r}; expected an EUI like a84041000181c2b3")
    return origin.lower() if _EUI.fullmatch(origin) else origin


FORMAT = LoggerFormat(parse, header, awaits_more)
