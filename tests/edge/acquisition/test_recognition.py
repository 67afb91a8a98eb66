"""What a file is, by how it begins, and how to get it in where it is not read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.acquisition.formats import FORMATS
from fieldedge.acquisition.recognition import advice, recognised

READ = [
    ("toa5", b'"TOA5","Station","CR1000","1048","OS","CPU:x","1","Met15"\n'),
    ("zentra", b"z6-12345;Port1;Port1\r\n"),
    ("hobo", b'"Plot Title: North"\n"#","Date Time, GMT-05:00","Temp, C"\n'),
    ("hobo", "\ufeff#,Date-Time (EST),Ch: 1 - Temperature (°C)\n".encode()),
    ("weatherlink", b'"Orchard"\n"Vantage Pro2"\n"Date & Time","Temp - F"\n'),
    ("jsonlines", b'{"time": "2026-05-01T12:15:00Z", "rain_mm": 0}\n'),
    ("chirpstack", b'{"deduplicationId": "3a", "deviceInfo": {"devEui": "a84041000181c2b3"}}'),
    ("thethingsstack", b'{"end_device_ids": {"device_id": "p"}, "uplink_message": {}}'),
    ("thethingsstack", b'[{"name": "gs.up.receive"}, {"name": "as.up.data.forward"}]'),
]
NOT_READ = [
    (b'"TOACI1","Station","Met15"\n', "TOACI1", "TOA5"),
    (b'"TOB1","Station","CR1000"\n', "binary TOB1", "TOA5"),
    (b'"TOB3","Station","CR1000"\n', "binary TOB3", "TOA5"),
    (b"HOBO\x01\x00\x00", ".hobo", 'format = "hobo"'),
    (b"PK\x03\x04\x14\x00" + bytes(24) + b"[Content_Types].xml", "Excel workbook", "CSV"),
    (b"PK\x03\x04\x14\x00" + bytes(24) + b"z6-12345.csv", "ZIP file", "unpack"),
    (b"\xff\xfet\x00i\x00", "UTF-16", "utf-8"),
    (b"\x1f\x8b\x08\x00", "compressed", "unpack"),
    (b"<!DOCTYPE html><title>Log in</title>", "web page", "downloaded"),
    (b"0+21.3+45.1\r\n0+21.4+45.0\r\n", "SDI-12", "JSON lines"),
    (b"\t\tTemp\tHi\r\n  Date\tTime\tOut\tTemp\r\n05/01/26\t12:15p\t70.3\t71\r\n", "Download.txt", "weatherlink.com"),
    (b'[\n  {"time": "2026-05-01T12:15:00Z"}\n]\n', "list of JSON", "jq"),
    (b'{\n  "time": "2026-05-01T12:15:00Z",\n  "rain_mm": 0\n}\n', "JSON over many lines", "jq"),
    (b'"TOA5","Station"\r"TIMESTAMP"\r"TS"\r""\r', "CR alone", "tr"),
    (b'"Time","Temperature(C)"\r\n"26/11/2026 00:30","21.3"\r\n', "no format of ours", "--ojsonl"),
    (b"date;temp\n2026-11-26;21,3\n", "no format of ours", "JSON lines"),
]


@pytest.mark.parametrize(("name", "begins"), READ)
def test_what_is_read_is_known_by_how_it_begins(name: str, begins: bytes) -> None:
    found = recognised(begins)
    assert found is not None and found.format == name
    assert advice(begins, FORMATS[name]) is None
    other = FORMATS["zentra" if name != "zentra" else "toa5"]
    assert f'set format = "{name}"' in str(advice(begins, other))


@pytest.mark.parametrize(("begins", "what", "todo"), NOT_READ)
def test_what_is_not_read_is_called_by_its_name_with_how_to_get_it_in(begins: bytes, what: str, todo: str) -> None:
    found = recognised(begins)
    assert found is not None and found.format is None
    assert what in found.words
    assert todo in found.todo
    for logger_format in FORMATS.values():
        assert what in str(advice(begins, logger_format))


@pytest.mark.parametrize("begins", [b"", b"\n", b"2026-05-01,21.3,0.2\n", b"time,temp\n", b"0\n", b"12:15 21.3\n"])
def test_of_anything_else_nothing_is_said(begins: bytes) -> None:
    assert recognised(begins) is None
    assert advice(begins, FORMATS["jsonlines"]) is None


@given(begins=st.binary(max_size=400))
def test_whatever_a_file_begins_with_is_looked_at(begins: bytes) -> None:
    recognised(begins)
