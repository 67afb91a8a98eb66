"""Onset's CSV exports: a title, a zone in the header, serial numbers in every column, events between the values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.acquisition.formats import FORMATS
from fieldedge.acquisition.headers import cut
from fieldedge.acquisition.raw import Parsed, RawSample, Unreadable

FORMAT = FORMATS["hobo"]
TITLE = '"Plot Title: North 40"\n'
COLUMNS = (
    '"#","Date Time, GMT-05:00","Temp, °C (LGR S/N: 10345678, SEN S/N: 10345670, LBL: Air)",'
    '"Temp, °C (LGR S/N: 10345678, SEN S/N: 10345671)","Temp, °C (LGR S/N: 10345678, SEN S/N: 10345672)",'
    '"RH, % (LGR S/N: 10345678, SEN S/N: 10345671)","Host Connected (LGR S/N: 10345678)"\n'
)
ROWS = (
    "1,05/01/26 12:15:00 PM,21.3,20.1,19.8,45.2,\n"
    "2,05/01/26 12:20:11 PM,,,,,Logged\n"
    "3,05/01/26 12:30:00 PM,21.4,,19.9,45,\n"
)


def parsed(text: str, first_line: int = 1) -> list[Parsed]:
    return list(FORMAT.parse(text.encode(), "hobo.csv", first_line))


@pytest.mark.parametrize("title", ["", TITLE])
def test_columns_have_their_label_or_where_two_are_called_alike_their_sensor(title: str) -> None:
    first, second = parsed(title + COLUMNS + ROWS)
    assert isinstance(first, RawSample) and isinstance(second, RawSample)
    assert (first.origin, first.time, first.utc_offset_h) == ("10345678", "05/01/26 12:15:00 PM", -5.0)
    assert {name: value for name, value in first.fields.items() if value is not None} == {
        "#": "1",
        "Date Time": "05/01/26 12:15:00 PM",
        "Temp / Air": "21.3",
        "Temp (S/N 10345671)": "20.1",
        "Temp (S/N 10345672)": "19.8",
        "RH": "45.2",
    }
    assert first.units == {
        "Temp / Air": "°C", "Temp (S/N 10345671)": "°C", "Temp (S/N 10345672)": "°C", "RH": "%"
    }  # fmt: skip
    assert second.fields["Temp (S/N 10345671)"] is None


def test_a_row_that_only_notes_an_event_is_no_sample() -> None:
    assert [found.where for found in parsed(TITLE + COLUMNS + ROWS)] == ["hobo.csv, line 3", "hobo.csv, line 5"]


@pytest.mark.parametrize(
    ("zone", "offset_h"), [("GMT+05:30", 5.5), ("GMT-0330", -3.5), ("GMT+00:00", 0.0), ("Standard Time", None)]
)
def test_the_header_says_the_zone_of_its_times(zone: str, offset_h: float | None) -> None:
    (found,) = parsed(f'"#","Date Time, {zone}","Temp, °F"\n1,2026-05-01 12:15:00,70.3\n')
    assert isinstance(found, RawSample)
    assert (found.utc_offset_h, found.units) == (offset_h, {"Temp": "°F"})


def test_what_the_telephone_s_program_exports_is_read_too() -> None:
    text = "#,Date-Time (EST),Ch: 1 - Temperature   (°C ),Ch: 2 - RH   (%)\n1,05/01/2026 12:15:00,21.3,44\n"
    (found,) = parsed(text)
    assert isinstance(found, RawSample)
    assert found.fields == {"#": "1", "Date Time": "05/01/2026 12:15:00", "Temperature": "21.3", "RH": "44"}
    assert found.units == {"Temperature": "°C", "RH": "%"}


@pytest.mark.parametrize("separator", [";", "\t"])
def test_semicolons_tabs_and_decimal_commas_are_read(separator: str) -> None:
    text = separator.join(('"#"', '"Date Time, GMT+01:00"', '"Temp, °C (LGR S/N: 1, SEN S/N: 2)"'))
    (found,) = parsed(f"{text}\n{separator.join(('1', '01.05.26 12:15:00', '21,3'))}\n")
    assert isinstance(found, RawSample)
    assert (found.fields["Temp"], found.origin) == ("21.3", "1")


def test_date_and_time_in_columns_of_their_own_are_told_of() -> None:
    header, row = parsed('"#","Date","Time, GMT-05:00","Temp, °C"\n1,05/01/26,12:15:00,21.3\n')
    assert isinstance(header, Unreadable) and isinstance(row, Unreadable)
    assert "export them as one" in header.reason


@pytest.mark.parametrize("title", ["", TITLE])
def test_later_lines_of_a_growing_file_carry_its_header(title: str) -> None:
    whole = (title + COLUMNS + ROWS).encode()
    assert FORMAT.header_bytes(whole) == (title + COLUMNS).encode()
    assert cut(FORMAT, b"", title.encode(), True).lines == b""
    assert cut(FORMAT, (title + COLUMNS).encode(), ROWS.encode(), True).header == (title + COLUMNS).encode()


@given(text=st.text(max_size=300))
def test_whatever_comes_is_read_or_set_aside(text: str) -> None:
    for found in parsed(TITLE + COLUMNS + text):
        assert isinstance(found, RawSample | Unreadable)
