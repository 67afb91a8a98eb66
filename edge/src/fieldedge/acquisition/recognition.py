"""What a file is, by how it begins: one of our formats, or a format that is known and not read, and how to get it in.

For people: nothing is read by what is found here. A source reads what its settings say.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from fieldedge.acquisition.formats import FORMATS
from fieldedge.acquisition.logger_format import LoggerFormat
from fieldedge.acquisition.raw import BOM

LOOKED_AT_BYTES = 65_536

_AS_TOA5 = "have LoggerNet's Split or CardConvert write it as TOA5, or set the table's output to TOA5"
_SDI12 = re.compile(rb"[0-9A-Za-z](?:[+-][0-9]+(?:\.[0-9]+)?){1,20}\r?\n")
_UPLINK = re.compile(rb'"(?:uplink_message|deviceInfo|end_device_ids)"|"as\.up\.data\.forward"')
_THINGS_STACK = re.compile(rb'"(?:uplink_message|end_device_ids)"|"as\.up\.data\.forward"')


@dataclass(frozen=True)
class Recognised:
    """What a file is. `format` is how it is read here, None where it is not; `todo` says then how to get it in."""

    words: str
    format: str | None = None
    todo: str = ""


def recognised(begins: bytes) -> Recognised | None:
    """What begins so; None where nothing is known of it."""
    head = begins[:LOOKED_AT_BYTES]
    for is_so, found in _NOT_READ:
        if is_so(head):
            return found
    plain = head.removeprefix(BOM).lstrip()
    if plain[:1] in (b"{", b"["):
        return _json(plain)
    for name, logger_format in FORMATS.items():
        if logger_format.begins(head):
            return Recognised(_WORDS.get(name, name), name)
    for is_so, found in _PERHAPS:
        if is_so(head):
            return found
    return None


def advice(begins: bytes, logger_format: LoggerFormat) -> str | None:
    """What to say of a file that could not be read in this format; None where no other is known that it has."""
    found = recognised(begins)
    if found is None:
        return None
    if found.format is None:
        return f"it looks like {found.words}: {found.todo}"
    if FORMATS[found.format] is logger_format:
        return None
    return f'it looks like {found.words}: set format = "{found.format}"'


def _json(plain: bytes) -> Recognised:
    if _THINGS_STACK.search(plain):
        return Recognised("uplinks of The Things Stack", "thethingsstack")
    if _UPLINK.search(plain):
        return Recognised("uplinks of ChirpStack", "chirpstack")
    if plain[:1] == b"[":
        return Recognised("a list of JSON", None, "write one object a line: jq -c '.[]' FILE")
    if plain.partition(b"\n")[0].strip() == b"{":
        return Recognised("JSON over many lines", None, "write one object a line: jq -c . FILE")
    return Recognised("JSON, one object a line", "jsonlines")


def _begins_with(*marks: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.removeprefix(BOM).startswith(marks)


def _is_workbook(head: bytes) -> bool:
    """A ZIP file that has a part of a workbook, in whatever order they were written."""
    return head.startswith(b"PK\x03\x04") and re.search(rb"\[Content_Types\]\.xml|xl/w", head) is not None


def _names_toaci1(head: bytes) -> bool:
    return head.removeprefix(BOM).startswith((b'"TOACI1"', b"TOACI1"))


def _is_davis_download(head: bytes) -> bool:
    """Two header rows, of which the second begins with Date and Time, as the older program on a PC writes it."""
    lines = head.split(b"\n", 3)
    return len(lines) > 2 and re.match(rb"\s*Date\s+Time\s", lines[1]) is not None and b"\t" in lines[1]


def _has_units_of_weatherlink(head: bytes) -> bool:
    """A header row whose columns end with their unit, as only WeatherLink.com writes them: `Temp. ext. - °C`."""
    return any(
        len(re.findall(r' - (?:°[CF]|%|km/h|m/s|mph|knots|kt|mm|in|hPa|mb|W/m\^2)"?(?=[,;\t]|$)', line)) > 1
        for line in head[:24_000].decode(errors="replace").splitlines()[:12]
    )


def _names_sensors_of_meter(head: bytes) -> bool:
    return re.search(rb"\b(?:TEROS|ATMOS|ECRN|ZENTRA|z6-[0-9])", head[:4_000]) is not None


def _has_hobos_serials(head: bytes) -> bool:
    return b"LGR S/N: " in head[:8_000]


def _is_sdi12(head: bytes) -> bool:
    first = b"".join(head.splitlines(keepends=True)[:3])
    return bool(first) and re.fullmatch(rb"(?:" + _SDI12.pattern + rb"){1,3}", first) is not None


def _ends_lines_with_cr(head: bytes) -> bool:
    return b"\n" not in head and head.rstrip(b"\r").count(b"\r") > 0


def _is_plain_csv(head: bytes) -> bool:
    """A row of names, then rows of as many cells of which one is a number."""
    for separator in (b",", b";", b"\t"):
        named, *following = [line.strip().split(separator) for line in head.splitlines()[:3]] or [[]]
        has_numbers = any(re.search(rb"[0-9]", cell) for row in following for cell in row)
        if len(named) > 1 and following and len(following[0]) == len(named) and has_numbers:
            return all(re.search(rb"[A-Za-z]", cell) for cell in named)
    return False


_WORDS = {
    "toa5": "Campbell Scientific's TOA5",
    "zentra": "METER ZENTRA's CSV",
    "hobo": "Onset HOBO's CSV",
    "weatherlink": "Davis WeatherLink's CSV",
}

# By marks that nothing else begins with.
_NOT_READ: tuple[tuple[Callable[[bytes], bool], Recognised], ...] = (
    (_names_toaci1, Recognised("Campbell Scientific's TOACI1, which says no units", None, _AS_TOA5)),
    (_begins_with(b'"TOB1"', b"TOB1"), Recognised("Campbell Scientific's binary TOB1", None, _AS_TOA5)),
    (_begins_with(b'"TOB2"', b"TOB2"), Recognised("Campbell Scientific's binary TOB2", None, _AS_TOA5)),
    (_begins_with(b'"TOB3"', b"TOB3"), Recognised("Campbell Scientific's binary TOB3", None, _AS_TOA5)),
    (
        _begins_with(b"HOBO"),
        Recognised("Onset's own .hobo file", None, 'export it as CSV in HOBOware, and read that with format = "hobo"'),
    ),
    (
        _is_workbook,
        Recognised(
            "an Excel workbook",
            None,
            "save its sheet as CSV, with the header rows; ZENTRA Cloud and ZENTRA Utility export CSV themselves",
        ),
    ),
    (_begins_with(b"PK\x03\x04"), Recognised("a ZIP file", None, "unpack it first")),
    (
        _begins_with(b"\xd0\xcf\x11\xe0"),
        Recognised("a workbook of an older Excel", None, "save the sheet as CSV"),
    ),
    (_begins_with(b"\x1f\x8b", b"BZh", b"\xfd7zXZ"), Recognised("a compressed file", None, "unpack it first")),
    (
        _begins_with(b"\xff\xfe", b"\xfe\xff"),
        Recognised("text in UTF-16, as Excel's 'Unicode text'", None, "save it as UTF-8: iconv -f utf-16 -t utf-8"),
    ),
    (_begins_with(b"SQLite format 3\x00"), Recognised("a database", None, "export its table as CSV or JSON lines")),
    (
        _begins_with(b"<!DOCTYPE", b"<!doctype", b"<html", b"<HTML"),
        Recognised("a web page, such as a login's", None, "see what was really downloaded"),
    ),
    (_begins_with(b"<?xml"), Recognised("XML", None, "export CSV or JSON")),
    (
        _ends_lines_with_cr,
        Recognised("text whose lines end with CR alone", None, "end them with LF: tr '\\r' '\\n' < FILE > OTHER"),
    ),
)
# By their form alone: after all that has marks.
_PERHAPS: tuple[tuple[Callable[[bytes], bool], Recognised], ...] = (
    (
        _has_units_of_weatherlink,
        Recognised(
            "Davis WeatherLink's CSV in another language than English",
            None,
            "set the language of your account at weatherlink.com to English, export it again, and read that with "
            'format = "weatherlink"',
        ),
    ),
    (
        _names_sensors_of_meter,
        Recognised(
            "a file of METER's loggers, without the three header rows of ZENTRA's CSV",
            None,
            'export it as CSV in ZENTRA Cloud or ZENTRA Utility, in English, and read that with format = "zentra"',
        ),
    ),
    (
        _has_hobos_serials,
        Recognised(
            "Onset HOBO's CSV in a language that is not read",
            None,
            'set the language of HOBOware to English, export it again, and read that with format = "hobo"',
        ),
    ),
    (
        _is_davis_download,
        Recognised(
            "Download.txt of Davis' older WeatherLink, which says no units",
            None,
            'export CSV at weatherlink.com, and read that with format = "weatherlink"',
        ),
    ),
    (
        _is_sdi12,
        Recognised(
            "answers of SDI-12 sensors, without times and names",
            None,
            'have the reader write JSON lines, {"time": ..., "vwc": ...}, one a measurement',
        ),
    ),
    (
        _is_plain_csv,
        Recognised(
            "CSV with a row of names that is no format of ours",
            None,
            "write it as JSON lines, by mlr --icsv --ojsonl cat FILE, say, and name its columns in [source.fields]",
        ),
    ),
)
